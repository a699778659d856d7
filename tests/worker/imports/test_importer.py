"""Imports with a real store: what comes of each line, and that an attempt that dies costs no more than its batch."""

from __future__ import annotations

import hashlib
import io
import pickle
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
import yaml

from infra.errors.galleries import EmbedderMismatch, ImportForbidden, ImportRefused
from infra.galleries import staging
from infra.galleries.staging import Stage
from infra.jobs.records import Job
from models.errors import GalleryError
from models.pictures.image import decode
from tests.infra.local_servers import serving
from tests.worker.test_enroll import Thumbnail, ignore, picture
from worker.import_gallery import import_gallery
from worker.imports import importer
from worker.imports.leftovers import clear_imports
from worker.imports.sources import opened_files
from worker.process import Process
from worker.runtime import Runtime


class Died(Exception):  # noqa: N818
    """Stands for whatever kills a worker: nothing after it is done."""


def packed(members: dict[str, bytes], **how: Any) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", **how) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return buffer.getvalue()


def queued(process: Process, runtime: Runtime, files: dict[str, bytes], **how: Any) -> Job:
    """A queued import of files that were sent."""
    request = {
        "gallery": "drinks", "source": None, "list": None, "delimiter": None, "crop": "whole", "activate": True,
        "files": [{"name": name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in files.items()],
        **how,
    }  # fmt: skip
    job = process.ledger.create("import", request)
    stage = Stage(runtime.objects, job.id)
    for number, data in enumerate(files.values()):
        stage.put_part(number, 0, data[:1000])
        stage.put_part(number, 1, data[1000:])
    return job


def pictures(count: int) -> dict[str, bytes]:
    return {f"label {seed % 3}/{seed}.png": picture(seed) for seed in range(count)}


def statuses(runtime: Runtime, job: Job) -> list[str]:
    return [
        f"{line['status']} {(line['error'] or {}).get('code', '')}".strip()
        for line in Stage(runtime.objects, job.id).report() or []
    ]


def test_an_archive_becomes_one_version_and_again_nothing(process: Process, runtime: Runtime) -> None:
    sent = packed(
        {
            **pictures(5),
            "label 0/broken.png": picture(0)[:80],
            "label 1/note.doc": b"x",
            "label 1/again.png": picture(1),
        }
    )
    reported: list[Any] = []
    job = queued(process, runtime, {"drinks.zip": sent})
    result = import_gallery(job, runtime, lambda progress=None: reported.append(progress))
    assert result["counts"] == {"total": 8, "added": 5, "duplicate": 1, "rejected": 2}
    assert result["gallery"] == {"name": "drinks", "version": 2, "items": 5}
    assert result["activated"]
    assert result["reasons"] == {"image_truncated": 1, "not_a_picture": 1}
    assert [(line["line"], line["source"]) for line in result["rejected"]] == [
        (3, "label 0/broken.png"),
        (7, "label 1/note.doc"),
    ]
    assert reported[-1] is None or reported[-1]["done"] == 8
    assert {"done": 8, "total": 8, "rejected": 2} in reported
    assert runtime.store.load_views("drinks") is not None
    again = queued(process, runtime, {"drinks.zip": sent})
    second = import_gallery(again, runtime, ignore)
    assert second["counts"] == {"total": 8, "added": 0, "duplicate": 6, "rejected": 2}
    assert runtime.store.versions("drinks") == (1, 2)


def test_what_died_continues_after_its_finished_batches(
    process: Process,
    runtime: Runtime,
    embedder: Thumbnail,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importer, "BATCH_LINES", 4)
    job = queued(process, runtime, {"drinks.zip": packed(pictures(10))})
    seen: list[Any] = []

    def dies(progress: dict[str, Any] | None = None) -> None:
        seen.append(progress)
        if progress and progress["done"] == 8:
            raise Died

    with pytest.raises(Died):
        import_gallery(job, runtime, dies)
    assert runtime.store.versions("drinks") == (1,)  # nothing of it is seen
    embedder.batches.clear()
    result = import_gallery(job, runtime, ignore)
    assert sum(embedder.batches) == 2 * 2  # the last two pictures and a view of each
    assert result["counts"]["added"] == 10
    assert runtime.store.versions("drinks") == (1, 2)


@pytest.mark.parametrize("activate", [True, False])
def test_what_died_after_its_version_makes_no_second_one(process: Process, runtime: Runtime, activate: bool) -> None:
    job = queued(process, runtime, {"drinks.zip": packed(pictures(3))}, activate=activate)
    first = import_gallery(job, runtime, ignore)
    assert import_gallery(job, runtime, ignore) == first
    assert first["activated"] is activate
    assert runtime.store.versions("drinks") == (1, 2)
    assert runtime.store.manifest("drinks").version == (2 if activate else 1)
    assert runtime.store.manifest("drinks", 2).item_count == 3


def test_a_list_with_urls_and_paths(process: Process, runtime: Runtime) -> None:
    local = replace(runtime.settings, web=replace(runtime.settings.web, allowed_hosts=("127.0.0.1",)))
    with serving() as server:
        server.paths["/1.png"] = (200, {"Content-Type": "image/png"}, picture(1))
        rows = [
            "path,label,article", f"{server.url('/1.png')},cola,17", f"{server.url('/none.png')},cola,18",
            "shots\\2.png,tea,19", "gone.png,tea,20", "2.png,,21",
        ]  # fmt: skip
        job = queued(
            process,
            runtime,
            {"list.csv": "\r\n".join(rows).encode("utf-8-sig"), "p.zip": packed({"p/shots/2.png": picture(2)})},
        )
        import_gallery(job, replace(runtime, settings=local), ignore)
    assert statuses(runtime, job) == [
        "added", "rejected fetch_failed", "added", "rejected picture_missing", "rejected label_missing",
    ]  # fmt: skip
    assert [line["line"] for line in Stage(runtime.objects, job.id).report() or []] == [2, 3, 4, 5, 6]
    assert [item.label for item in runtime.store.items("drinks")] == ["cola", "tea"]


def index_of(rows: np.ndarray) -> bytes:
    built = faiss.IndexIDMap2(faiss.IndexFlatIP(rows.shape[1]))
    built.add_with_ids(rows, np.arange(len(rows), dtype=np.int64))
    return bytes(faiss.serialize_index(built))


def test_an_index_of_paddleclas_with_its_pictures_and_one_of_paddlex(
    process: Process, runtime: Runtime, embedder: Thumbnail
) -> None:
    shots = {f"gallery/{seed}.png": picture(seed) for seed in range(3)}
    rows = embedder([decode(data) for data in shots.values()])
    id_map = pickle.dumps(
        {number: f"{path}\tgreen tea" for number, path in enumerate([*shots][:2])} | {2: "gone.png\tcola"}
    )
    files = {"vector.index": index_of(rows), "id_map.pkl": id_map, "shots.zip": packed(shots)}
    job = queued(process, runtime, files)
    result = import_gallery(job, runtime, ignore)
    assert statuses(runtime, job) == ["added", "added", "rejected picture_missing"]
    assert result["checked"] == {"pictures": 2, "similarity": 1.0}
    np.testing.assert_array_equal(runtime.store.load("drinks")[2], rows[:2])
    names = yaml.safe_dump({"index_type": "Flat", "metric_type": "IP", "id_map": {0: "a", 1: "b", 2: "c"}}).encode()
    other = queued(process, runtime, {"vector.index": index_of(rows), "id_map.yaml": names})
    reported = import_gallery(other, runtime, ignore)
    assert (reported["counts"]["added"], reported["checked"]) == (3, {"pictures": 0, "similarity": None})
    assert (
        import_gallery(
            queued(process, runtime, {"vector.index": index_of(rows), "id_map.yaml": names}), runtime, ignore
        )["counts"]["added"]
        == 0
    )


def test_binary_codes_are_embedded_again_from_the_pictures_that_came(
    process: Process, runtime: Runtime, embedder: Thumbnail
) -> None:
    shots = {f"gallery/{seed}.png": picture(seed) for seed in range(3)}
    rows = embedder([decode(data) for data in shots.values()])
    codes = np.packbits(rows > 0, axis=1)
    built = faiss.IndexBinaryIDMap2(faiss.IndexBinaryFlat(8 * codes.shape[1]))
    built.add_with_ids(codes, np.arange(3, dtype=np.int64))
    lines = [f"{path}\tgreen tea" for path in [*shots][:2]] + ["gone.png\tcola"]
    files = {
        "vector.index": bytes(faiss.serialize_index_binary(built)),
        "id_map.pkl": pickle.dumps(dict(enumerate(lines))),
    }
    with pytest.raises(ImportRefused, match="send its pictures with it"):
        import_gallery(queued(process, runtime, files), runtime, ignore)
    named = {**files, "id_map.yaml": yaml.safe_dump({"id_map": {0: "tea", 1: "tea", 2: "cola"}}).encode()}
    del named["id_map.pkl"]
    with pytest.raises(GalleryError, match=r"names no pictures .* import the list that it was built from"):
        import_gallery(queued(process, runtime, named), runtime, ignore)
    job = queued(process, runtime, {**files, "shots.zip": packed(shots)})
    import_gallery(job, runtime, ignore)
    assert statuses(runtime, job) == ["added", "added", "rejected picture_missing"]
    np.testing.assert_allclose(runtime.store.load("drinks")[2], rows[:2], atol=1e-6)


def test_lines_of_an_index_are_cut_where_its_list_was(process: Process, runtime: Runtime, embedder: Thumbnail) -> None:
    shots = {f"my gallery/{seed}.png": picture(seed) for seed in range(4)}
    rows = embedder([decode(data) for data in shots.values()])
    commas = pickle.dumps({number: f"{path},green tea,{number}" for number, path in enumerate(shots)})
    files = {"vector.index": index_of(rows), "id_map.pkl": commas, "shots.zip": packed(shots)}
    job = queued(process, runtime, files)
    import_gallery(job, runtime, ignore)
    assert statuses(runtime, job) == ["added"] * 4
    assert {item.label for item in runtime.store.items("drinks")} == {"green tea"}
    parted = pickle.dumps({number: f"{path}::cola" for number, path in enumerate(shots)})
    other = queued(process, runtime, {**files, "id_map.pkl": parted}, delimiter="::")
    import_gallery(other, runtime, ignore)
    assert statuses(runtime, other) == ["added"] * 4
    assert {item.label for item in runtime.store.items("drinks")} == {"green tea", "cola"}


def test_an_index_of_another_embedder_is_refused(process: Process, runtime: Runtime, embedder: Thumbnail) -> None:
    shots = {f"{seed}.png": picture(seed) for seed in range(3)}
    rows = np.eye(3, embedder.dim, dtype=np.float32)
    id_map = pickle.dumps({number: f"{path}\ttea" for number, path in enumerate(shots)})
    with pytest.raises(EmbedderMismatch, match="did not build"):
        import_gallery(
            queued(process, runtime, {"vector.index": index_of(rows), "id_map.pkl": id_map, "p.zip": packed(shots)}),
            runtime,
            ignore,
        )
    with pytest.raises(EmbedderMismatch, match="dimensions"):
        import_gallery(
            queued(process, runtime, {"vector.index": index_of(rows[:, :8]), "id_map.pkl": id_map}), runtime, ignore
        )


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"a.zip": b"no zip"}, "cannot be read"),
        ({"a.zip": packed({"readme.txt": b"x"})}, "no picture"),
        ({"a.csv": b"\n"}, "no picture"),
        ({"a.doc": b"x"}, "none of the files"),
        ({"a.zip": b"", "b.zip": b""}, "two of a kind"),
        ({"vector.index": b"x"}, "send both"),
    ],
)
def test_what_cannot_be_imported_at_all_is_refused(
    process: Process,
    runtime: Runtime,
    files: dict[str, bytes],
    reason: str,
) -> None:
    with pytest.raises(ImportRefused, match=reason):
        import_gallery(queued(process, runtime, files), runtime, ignore)


def test_members_that_cannot_be_unpacked_are_refused_alone(process: Process, runtime: Runtime, tmp_path: Path) -> None:
    """A bomb is stopped at the limit of a picture, not unpacked."""
    small = replace(runtime.settings, web=replace(runtime.settings.web, max_body_bytes=100_000))
    sent = packed({"a/bomb.png": bytes(5_000_000), "a/1.png": picture(1)}, compression=zipfile.ZIP_DEFLATED)
    job = queued(process, runtime, {"a.zip": sent})
    import_gallery(job, replace(runtime, settings=small), ignore)
    assert sorted(statuses(runtime, job)) == ["added", "rejected file_too_large"]


def test_a_folder_is_imported_only_below_the_roots_that_are_allowed(
    process: Process, runtime: Runtime, tmp_path: Path
) -> None:
    for name, data in pictures(3).items():
        (tmp_path / "shop" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "shop" / name).write_bytes(data)
    (tmp_path / "link").symlink_to("/")
    (tmp_path / "shop" / "label 0" / "out.png").symlink_to(__file__)
    source = {"source": str(tmp_path / "shop")}
    with pytest.raises(ImportForbidden):
        import_gallery(queued(process, runtime, {}, **source), runtime, ignore)
    galleries = replace(runtime.settings.galleries, import_roots=(str(tmp_path),))
    allowed = replace(runtime, settings=replace(runtime.settings, galleries=galleries))
    assert import_gallery(queued(process, runtime, {}, **source), allowed, ignore)["reasons"] == {"picture_missing": 1}
    assert runtime.store.manifest("drinks").item_count == 3
    for out in (f"{tmp_path}/link/etc", f"{tmp_path}/../other", f"{tmp_path}2"):
        with pytest.raises(ImportForbidden):
            import_gallery(queued(process, runtime, {}, source=out), allowed, ignore)


def test_the_pictures_of_an_import_under_way_are_no_rubbish(
    process: Process,
    runtime: Runtime,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = queued(process, runtime, {"drinks.zip": packed(pictures(2))})

    def dies(progress: dict[str, Any] | None = None) -> None:
        if progress and progress["done"]:
            raise Died

    with pytest.raises(Died):
        import_gallery(job, runtime, dies)
    assert staging.pictures_of(runtime.objects) == set(runtime.objects.list("images/"))


def test_files_go_when_they_are_needed_no_more(process: Process, runtime: Runtime) -> None:
    ledger, objects = process.ledger, runtime.objects
    job = queued(process, runtime, {"drinks.zip": packed(pictures(2))})
    result = import_gallery(job, runtime, ignore)
    assert clear_imports(objects, ledger) == 0  # it is not over
    lease = ledger.start(job.id)
    assert lease is not None
    assert ledger.fail(lease, {"code": "x", "message": "", "retryable": False})
    assert clear_imports(objects, ledger) == 0  # it may be replayed
    ledger.replay(job.id)
    lease = ledger.start(job.id)
    assert lease is not None
    assert ledger.succeed(lease, result)  # type: ignore[arg-type]
    assert clear_imports(objects, ledger) > 0
    assert list(objects.list("imports/")) == [f"imports/{job.id}/report.jsonl"]
    Stage(objects, "imp_01jdmz4k8t9v2w3x4y5z6a7b8c").put_part(0, 0, b"x")  # of 2024: nobody promised that job
    assert clear_imports(objects, ledger) == 1


def test_names_of_old_windows_archives_are_read(tmp_path: Path, runtime: Runtime) -> None:
    data = packed({"xx/1.png": picture(1)}).replace(b"xx/1.png", "乐".encode("gbk") + b"/1.png")
    (tmp_path / "a.zip").write_bytes(data)
    with opened_files(["a.zip"], [tmp_path / "a.zip"], None, runtime.settings) as source:
        assert [line.label for line in source.lines()] == ["乐"]
