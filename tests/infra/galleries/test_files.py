"""The files of a gallery: changed or missing ones are noticed, nothing in them is run, anybody can read them."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from infra.errors.galleries import GalleryCorrupt
from infra.galleries.files import Segment, decode_embeddings, decode_features
from infra.galleries.keys import segment_keys
from infra.galleries.store import GalleryStore
from infra.objects.local import LocalStore
from tests.infra.gallery_items import DIGEST, DIM, embedding, item, prepared


def _flip(data: bytes) -> bytes:
    return data[:-2] + bytes([data[-2] ^ 1]) + data[-1:]


READS: dict[str, Callable[[GalleryStore], object]] = {
    "[0-9].jsonl": lambda store: store.load("g"),
    "[0-9].npy": lambda store: store.load("g"),
    ".views.npy": lambda store: store.load_views("g"),
    ".features.bin": lambda store: store.load_features("g"),
}


@pytest.mark.parametrize("kind", READS)
def test_a_changed_or_missing_file_is_noticed(tmp_path: Path, kind: str) -> None:
    for number, spoil in enumerate((_flip, lambda data: data[:-3], lambda data: data[:0], None)):
        folder = tmp_path / str(number)
        objects, _ = prepared(folder, 2)
        path = next((folder / "galleries" / "files" / "g").glob(f"*/segments/*{kind}"))
        if spoil is None:
            path.unlink()
        else:
            path.write_bytes(spoil(path.read_bytes()))
        with pytest.raises(GalleryCorrupt):
            READS[kind](GalleryStore(objects))


@pytest.mark.parametrize("data", [b"\1\0\0", b"\5\0\0\0abcd", b"\1\0\0\0a" * 3, b"\1\0\0\0a", b""])
def test_features_that_do_not_fit_their_segment_are_noticed(data: bytes) -> None:
    segment = Segment("1-1", 2, "", "", files={"features": hashlib.sha256(data).hexdigest()})
    with pytest.raises(GalleryCorrupt):
        decode_features("g", segment, data)


def test_a_gallery_from_before_views_and_features_is_read_and_added_to(tmp_path: Path) -> None:
    objects = LocalStore(tmp_path)
    store = GalleryStore(objects)
    store.create("g")
    old = [item(1), item(2)]
    store.add("g", old, np.stack([embedding(one) for one in old]), DIGEST)
    for path in (tmp_path / "galleries").glob("files/g/*/manifests/*"):
        report = json.loads(path.read_bytes())
        assert report.pop("calibration") is None
        for segment in report["segments"]:
            assert segment.pop("files") == {}
        path.write_text(json.dumps(report))
    again = GalleryStore(objects)
    assert (again.load("g")[1], again.load_views("g"), again.load_features("g")) == (tuple(old), None, {})
    assert again.manifest("g").calibration is None
    removed = again.remove("g", item_ids=[old[0].id])
    assert removed.calibration is None
    seen: list[object] = []

    def fitted(
        labels: Sequence[str], embeddings: NDArray[np.float32], views: NDArray[np.float32] | None, things: object
    ) -> Any:
        assert views is not None
        assert things is None
        seen.extend([labels, len(embeddings), views.any(axis=1).tolist()])
        return {"fitted": 1}

    new = item(3)
    again.add("g", [new], embedding(new)[None], DIGEST, embedding(new)[None], [b"x"], fitted)
    assert seen == [[old[1].label, new.label], 2, [False, True]]
    assert GalleryStore(objects).manifest("g").calibration == {"fitted": 1}
    assert GalleryStore(objects).load_features("g") == {new.id: b"x"}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'{"schema": 2}', b'{"schema": 1}', b"\xff"])
def test_a_pointer_or_manifest_that_is_none_is_noticed(tmp_path: Path, content: bytes) -> None:
    for which in ("current/g/*", "files/g/*/manifests/*"):
        objects, _ = prepared(tmp_path / which[:5], 1)
        for path in (tmp_path / which[:5] / "galleries").glob(which):
            path.write_bytes(content)
        with pytest.raises(GalleryCorrupt):
            GalleryStore(objects).manifest("g")


def test_nothing_in_the_embeddings_is_run() -> None:
    class Evil:
        def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
            return (pytest.fail, ("unpickled",))

    buffer = io.BytesIO()
    np.save(buffer, np.array([Evil()], object), allow_pickle=True)
    data = buffer.getvalue()
    segment = Segment("1-1", 1, "", hashlib.sha256(data).hexdigest())
    with pytest.raises(GalleryCorrupt):
        decode_embeddings("g", segment, 1, data)


def test_the_files_are_plain(tmp_path: Path) -> None:
    objects, _ = prepared(tmp_path, 1)
    manifest = GalleryStore(objects).manifest("g")
    items_key, rows_key = segment_keys("g", manifest.generation, manifest.segments[0].id)
    lines = [json.loads(line) for line in objects.get(items_key).splitlines()]
    assert [line["label"] for line in lines] == ["label 0", "label 1"]
    assert np.load(tmp_path / rows_key, allow_pickle=False).shape == (2, DIM)
