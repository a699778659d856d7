"""Galleries of different embedders in one worker: each with its own, and together by probabilities."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from infra.errors.galleries import EmbedderMismatch, EmbedderUnknown
from infra.runtime.settings import Settings
from models.embedder import identity_of
from models.errors import ModelError
from tests.models.programs import artifact
from tests.worker.test_enroll import ignore, textured
from worker.enroll import enroll
from worker.evaluate_version import evaluate_version
from worker.import_gallery import import_gallery
from worker.process import Process
from worker.recognize import recognize
from worker.runtime import Runtime, open_runtime

OPTIONS = {"similarity_threshold": 0.9, "whole_image": "always"}


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return artifact(tmp_path / "tiny", "embed")


@pytest.fixture
def runtime(settings: Settings, tiny: Path) -> Runtime:
    """A worker with the bundled embedder and a second one, and a gallery of each."""
    worker = replace(settings.worker, embedders=(str(tiny),), detector="none")
    opened = open_runtime(replace(settings, worker=worker), concurrency=1)
    opened.store.create("first")
    opened.store.create("second", identity_of(tiny).digest)
    return opened


def enrolled(process: Process, runtime: Runtime, gallery: str, pictures: Sequence[tuple[str, bytes]]) -> Any:
    items = [
        {
            "image_key": runtime.objects.put_image(data), "sha256": hashlib.sha256(data).hexdigest(),
            "name": f"{label}.png", "label": label,
        }
        for label, data in pictures
    ]  # fmt: skip
    return enroll(process.ledger.create("enrollment", {"gallery": gallery, "items": items}), runtime, ignore)


def recognized(process: Process, runtime: Runtime, data: bytes, *galleries: str, **options: Any) -> Any:
    request = {
        "gallery": galleries[0], "image": {"key": runtime.objects.put_image(data)}, "options": {**OPTIONS, **options},
    }  # fmt: skip
    if len(galleries) > 1:
        request["galleries"] = list(galleries)
    return recognize(process.ledger.create("recognition", request), runtime, ignore)


def named(result: Any) -> str:
    name: str = result["models"]["embedder"]["name"]
    return name


def test_each_gallery_is_enrolled_and_searched_with_its_own_embedder(process: Process, runtime: Runtime) -> None:
    assert named(enrolled(process, runtime, "first", [("tea", textured(1))])) == "shitu-embedder"
    done = enrolled(process, runtime, "second", [("cola", textured(2))])
    assert (named(done), done["items"][0]["status"]) == ("tiny-embed", "added")
    dims = [runtime.store.manifest(name).dim for name in ("first", "second")]
    assert dims[0] != dims[1]
    for name, label, model in (("first", "tea", "shitu-embedder"), ("second", "cola", "tiny-embed")):
        for _ in range(2):  # the second answer comes from the cache
            result = recognized(process, runtime, textured(1 if label == "tea" else 2), name)
            assert [one["label"] for one in result["recognitions"]] == [label]
            assert named(result) == model
            assert "embedders" not in result


def test_galleries_of_different_embedders_are_searched_at_once(process: Process, runtime: Runtime) -> None:
    enrolled(process, runtime, "first", [("tea", textured(1))])
    enrolled(process, runtime, "second", [("cola", textured(2))])
    seen = {}
    for seed, label, gallery in ((1, "tea", "first"), (2, "cola", "second"), (1, "tea", "first")):
        result = recognized(process, runtime, textured(seed), "second", "first")
        best = result["recognitions"][0]
        assert (best["label"], best["gallery"]) == (label, gallery)
        assert [one["name"] for one in result["embedders"]] == ["tiny-embed", "shitu-embedder"]
        assert result["models"]["embedder"] == result["embedders"][0]
        assert len(result["decisions"]) == 2
        assert {one["gallery"] for one in best["candidates"]} == {"first", "second"}
        seen[seed] = result["recognitions"]
    # Of a photo whose sight of one embedder is kept, only the other one embeds.
    alone = recognized(process, runtime, textured(2), "first")
    assert named(alone) == "shitu-embedder"
    with pytest.raises(ModelError, match="different embedders"):
        recognized(process, runtime, textured(1), "second", "first", trace=True)


def test_what_was_seen_with_one_embedder_is_not_taken_for_what_another_sees(process: Process, runtime: Runtime) -> None:
    enrolled(process, runtime, "first", [("tea", textured(1))])
    enrolled(process, runtime, "second", [("cola", textured(1))])
    for _ in range(2):
        assert [recognized(process, runtime, textured(1), name)["recognitions"][0]["label"] for name in ("first", "second")] == ["tea", "cola"]  # fmt: skip


def test_an_empty_gallery_of_no_embedder_costs_no_second_one(process: Process, runtime: Runtime) -> None:
    enrolled(process, runtime, "second", [("cola", textured(2))])
    result = recognized(process, runtime, textured(2), "first", "second")
    assert "embedders" not in result
    assert (named(result), result["recognitions"][0]["label"]) == ("tiny-embed", "cola")


def test_a_gallery_of_an_embedder_that_is_nowhere_is_refused(process: Process, runtime: Runtime) -> None:
    runtime.store.create("other", "e" * 64)
    for attempt in (
        lambda: recognized(process, runtime, textured(1), "other"),
        lambda: recognized(process, runtime, textured(1), "second", "other"),
        lambda: enrolled(process, runtime, "other", [("tea", textured(1))]),
    ):
        with pytest.raises(EmbedderMismatch, match="SHITU_WORKER__EMBEDDERS"):
            attempt()
    with pytest.raises(EmbedderUnknown, match="shitu-embedder, tiny-embed"):
        runtime.named("ppshitu-v2-embedder")
    assert runtime.named("shitu-embedder") == runtime.default_digest


def test_an_enrolment_embeds_again_where_its_gallery_was_moved_meanwhile(
    process: Process, runtime: Runtime, monkeypatch: pytest.MonkeyPatch, tiny: Path
) -> None:
    digest = identity_of(tiny).digest
    add = runtime.store.add
    moved: list[str] = []

    def moving(name: str, *rest: Any, **more: Any) -> Any:
        if not moved:  # somebody is quicker
            runtime.store.delete("first")
            runtime.store.create("first", digest)
            moved.append(name)
        return add(name, *rest, **more)

    monkeypatch.setattr(runtime.store, "add", moving)
    done = enrolled(process, runtime, "first", [("tea", textured(1))])
    assert (named(done), done["items"][0]["status"], moved) == ("tiny-embed", "added", ["first"])
    assert runtime.store.manifest("first").embedder_digest == digest


def test_an_import_that_resumes_with_another_embedder_keeps_no_batch_of_the_first(
    process: Process, runtime: Runtime, tiny: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "in" / "tea"
    folder.mkdir(parents=True)
    for seed in range(3):
        (folder / f"{seed}.png").write_bytes(textured(seed))
    galleries = replace(runtime.settings.galleries, import_roots=(str(tmp_path),))
    runtime = replace(runtime, settings=replace(runtime.settings, galleries=galleries))
    request = {
        "gallery": "first", "source": str(folder.parent), "list": None, "delimiter": None, "files": [], "crop": "whole",
        "activate": True,
    }  # fmt: skip
    job = process.ledger.create("import", request)

    class DiedError(Exception):
        pass

    def dying(progress: dict[str, Any] | None = None) -> None:
        if progress is not None and progress["done"]:
            raise DiedError

    with pytest.raises(DiedError):
        import_gallery(job, runtime, dying)
    runtime.store.delete("first")
    runtime.store.create("first", identity_of(tiny).digest)
    result = import_gallery(job, runtime, ignore)
    assert (result["counts"]["added"], named(result)) == (3, "tiny-embed")
    embeddings = runtime.store.load("first")[2]
    with runtime.programs(identity_of(tiny).digest) as programs:
        assert embeddings.shape == (3, programs.embedder.dim)


def test_versions_of_different_embedders_are_compared_by_their_own_embeddings(
    process: Process, runtime: Runtime
) -> None:
    pictures = [(label, textured(seed)) for label, seed in (("tea", 1), ("tea", 2), ("cola", 3), ("cola", 4))]
    enrolled(process, runtime, "second", pictures)
    version = runtime.store.manifest("second").version
    job = process.ledger.create("evaluation", {"gallery": "second", "version": version, "against": version})
    result = evaluate_version(job, runtime, ignore)
    assert (named(result), result["leave_one_out"]["version"]["queries"]) == ("tiny-embed", 4)
    assert np.isfinite(runtime.store.load("second")[2]).all()
