"""A staged version compared with the one in force: what it answers better and worse, by its items and by feedback."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest

from contracts.indexes import IndexChoice
from infra.errors.galleries import VersionNotFound
from infra.galleries.corrections import rename_item
from infra.galleries.feedback import GalleryFeedback
from infra.galleries.store import Item, item_id
from models.pictures.image import decode
from tests.worker.test_enroll import MODELS, Thumbnail, embedder, ignore, picture, runtime
from worker.evaluate_version import evaluate_version
from worker.process import Process
from worker.runtime import Runtime

__all__ = ["embedder", "runtime"]  # fixtures


def near(seed: int, shade: int) -> bytes:
    """A picture that is nearly that of the seed."""
    import io

    from PIL import Image

    pixels = np.clip(decode(picture(seed)).astype(int) + shade, 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def add(runtime: Runtime, embedder: Thumbnail, pictures: list[tuple[str, bytes]], **how: Any) -> int:
    items = []
    for label, data in pictures:
        sha256 = hashlib.sha256(data).hexdigest()
        key = runtime.objects.put_image(data)
        items.append(Item(item_id(sha256, label), label, key, sha256, None, "2026-01-01T00:00:00Z"))
    rows = embedder([decode(data) for _, data in pictures])
    return runtime.store.add("drinks", items, rows, MODELS["embedder"]["digest"], **how).manifest.version


def evaluated(process: Process, runtime: Runtime, version: int, **more: Any) -> Any:
    job = process.ledger.create("evaluation", {"gallery": "drinks", "version": version, **more})
    report: list[Any] = []
    result = evaluate_version(job, runtime, lambda progress=None: report.append(progress))
    assert [one["done"] for one in report] == sorted(one["done"] for one in report)
    return result


def test_a_staged_version_gains_and_loses_answers(process: Process, runtime: Runtime, embedder: Thumbnail) -> None:
    # A cola that looks like the teas, until a second picture of it comes; feedback knew it.
    active = add(
        runtime,
        embedder,
        [("cola", picture(1)), ("cola", near(9, 0)), ("tea", near(9, 9)), ("tea", near(9, 14)), ("tea", picture(2))],
    )
    shot = near(9, 2)
    feedback = GalleryFeedback(runtime.objects, runtime.store)
    key = runtime.objects.put_image(shot)
    feedback.add("drinks", "rec_1", active, None, "wrong", "tea", "juice", key, (32, 32))
    feedback.add(
        "drinks", "rec_2", active, None, "ignore", "tea", None, runtime.objects.put_image(near(2, 1)), (32, 32)
    )
    feedback.add("drinks", "rec_3", active, None, "right", "tea", None, "images/00/" + "0" * 64, (32, 32))
    staged = add(runtime, embedder, [("juice", near(9, 3)), ("juice", shot)], activate=False)
    assert runtime.store.manifest("drinks").version == active
    result = evaluated(process, runtime, staged)
    assert (result["version"]["version"], result["against"]["version"]) == (staged, active)
    assert result["feedback"] == {
        "version": {"queries": 1, "right": 1, "recall_at_1": 1.0},
        "against": {"queries": 1, "right": 0, "recall_at_1": 0.0},
        "gained": 1,
        "lost": 0,
    }
    assert result["unusable_feedback"] == 1
    assert result["leave_one_out"]["version"]["queries"] == 5
    report = [one for one in result["changes"] if one["query"] == "feedback"]
    assert [(one["label"], one["effect"], one["after"]) for one in report] == [("juice", "gained", "juice")]
    back = evaluated(process, runtime, active, against=staged)
    assert (back["feedback"]["gained"], back["feedback"]["lost"]) == (0, 1)


def test_a_wrong_label_costs_recall(process: Process, runtime: Runtime, embedder: Thumbnail) -> None:
    good = add(runtime, embedder, [(f"l{seed}", near(seed, shade)) for seed in (1, 2, 3) for shade in (0, 5, 9)])
    item = runtime.store.items("drinks")[0]
    rename_item(runtime.store, "drinks", item.id, "l2")
    result = evaluated(process, runtime, runtime.store.manifest("drinks").version, against=good)
    both = result["leave_one_out"]
    assert both["against"]["recall_at_1"] == 1.0
    assert both["version"]["right"] <= both["against"]["right"]


def test_a_version_that_fuses_its_pictures_is_queried_so(
    process: Process, runtime: Runtime, embedder: Thumbnail
) -> None:
    good = add(runtime, embedder, [(f"l{seed}", near(seed, shade)) for seed in (1, 2, 3) for shade in (0, 5, 9)])
    add(runtime, embedder, [("alone", near(4, 0))])
    shot = near(2, 7)
    feedback = GalleryFeedback(runtime.objects, runtime.store)
    key = runtime.objects.put_image(shot)
    feedback.add("drinks", "rec_1", good, None, "wrong", "l1", "l2", key, (32, 32))
    add(runtime, embedder, [("l2", shot)])  # the photo itself: it answers nothing
    fused = runtime.store.choose_index("drinks", IndexChoice(fuse=True).to_dict())
    result = evaluated(process, runtime, fused.version, against=good)
    assert result["leave_one_out"]["version"] == {"queries": 9, "right": 9, "recall_at_1": 1.0}
    assert result["feedback"]["version"] == {"queries": 1, "right": 1, "recall_at_1": 1.0}
    rows = runtime.store.load("drinks")[2]
    assert len(rows) == 11


def test_versions_that_are_not_there_are_reported(process: Process, runtime: Runtime) -> None:
    with pytest.raises(VersionNotFound):
        evaluated(process, runtime, 7)
    job = process.ledger.create("evaluation", {"gallery": "drinks", "version": 1})
    empty = evaluate_version(job, runtime, ignore)
    assert empty["leave_one_out"]["version"] == {"queries": 0, "right": 0, "recall_at_1": None}
