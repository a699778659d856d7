"""The files of a gallery: changed or missing ones are noticed, nothing in them is run, anybody can read them."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from infra.errors import (
    GalleryCorrupt,
)
from infra.galleries import GalleryStore
from infra.gallery_files import Segment, decode_embeddings, segment_keys
from tests.infra.gallery_items import DIM, prepared


def _flip(data: bytes) -> bytes:
    return data[:-2] + bytes([data[-2] ^ 1]) + data[-1:]


def test_a_changed_or_missing_file_is_noticed(tmp_path: Path) -> None:
    for kind in ("segments/*.jsonl", "segments/*.npy"):
        for number, spoil in enumerate((_flip, lambda data: data[:-3], lambda data: data[:0], None)):
            folder = tmp_path / kind[-3:] / str(number)
            objects, _ = prepared(folder, 2)
            path = next((folder / "galleries" / "files" / "g").glob(f"*/{kind}"))
            if spoil is None:
                path.unlink()
            else:
                path.write_bytes(spoil(path.read_bytes()))
            with pytest.raises(GalleryCorrupt):
                GalleryStore(objects).load("g")


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
