"""Galleries searched as one give what one gallery of all their items would give, and name themselves."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.errors import GalleryError
from models.galleries.binary_gallery import BinaryGallery
from models.galleries.gallery import Gallery
from models.galleries.joined import JoinedGallery
from models.options import RecognizeOptions
from models.recognition.pipeline import Recognizer
from models.vectors import unit_rows
from tests.models.recognition.test_pipeline import SCENE, ColorDetector, ColorEmbedder, Named, color_row

Make = Callable[..., Gallery]


def random_items(seed: int, labels: list[str]) -> tuple[list[Named], NDArray[np.float32]]:
    rows = np.random.default_rng(seed).standard_normal((len(labels), 64)).astype(np.float32)
    return [Named(f"itm_{seed}_{at}", label) for at, label in enumerate(labels)], unit_rows(rows)


@pytest.mark.parametrize("make", [Gallery, partial(BinaryGallery, rerank=50), BinaryGallery])
def test_it_finds_what_one_gallery_of_all_would_find(make: Make) -> None:
    parts = [
        random_items(1, ["a", "a", "b", "c"]),
        random_items(2, ["b", "d"]),
        random_items(3, ["a", "e", "e", "f", "g"]),
    ]
    joined = JoinedGallery([make(items, rows, f"g{at}") for at, (items, rows) in enumerate(parts)])
    whole = make([item for items, _ in parts for item in items], np.concatenate([rows for _, rows in parts]))
    queries = unit_rows(np.random.default_rng(9).standard_normal((7, 64)).astype(np.float32))
    for one, other in zip(joined.search_labels(queries, 11), whole.search_labels(queries, 11), strict=True):
        assert {m.item.id: round(m.similarity, 5) for m in one.matches} == {
            m.item.id: round(m.similarity, 5) for m in other.matches
        }
        assert [m.similarity for m in one.matches] == sorted((m.similarity for m in one.matches), reverse=True)
        assert {(x.label, round(x.score, 5), x.pictures) for x in one.labels} == {
            (x.label, round(x.score, 5), x.pictures) for x in other.labels
        }
        galleries: Any = {m.item.id: m.item for m in one.matches}
        assert all(item.gallery == f"g{int(name.split('_')[1]) - 1}" for name, item in galleries.items())


def named(name: str, *labels: str, features: Any = None) -> Gallery:
    items = [Named("itm_0", label) for label in labels]  # the same id in every gallery
    return Gallery(items, np.stack([color_row(label) for label in labels]), name, 1, None, features)


def test_every_answer_names_its_gallery_and_nothing_is_embedded_twice() -> None:
    embedder = ColorEmbedder()
    joined = JoinedGallery(
        [named("one", "red"), named("two", "blue"), Gallery([], np.empty((0, 0), np.float32), "none")]
    )
    found = Recognizer(ColorDetector(), embedder)(SCENE, joined).to_dict()
    assert embedder.batches == [3]
    assert {one["label"]: one["gallery"] for one in found["recognitions"]} == {"red": "one", "blue": "two"}
    for one in found["recognitions"]:
        assert one["matches"][0]["gallery"] == one["candidates"][0]["gallery"] == one["gallery"]
    assert found["decision"] is not None
    assert found["decision"]["calibration"] == "embedder"


def test_a_label_that_two_galleries_have_is_one_and_does_not_rival_itself() -> None:
    once = Recognizer(ColorDetector(), ColorEmbedder())(SCENE, named("one", "red", "green"))
    twice = JoinedGallery([named("one", "red", "green"), named("two", "red")])
    found = Recognizer(ColorDetector(), ColorEmbedder())(SCENE, twice)
    assert [one.label for one in found.recognitions] == ["red"]
    assert found.recognitions[0].probability >= once.recognitions[0].probability
    assert [match.item.label for match in found.recognitions[0].matches][:2] == ["red", "red"]


def test_local_features_are_those_of_the_item_s_own_gallery() -> None:
    one, two = (named(name, "red", features=lambda item_id, name=name: f"{name} {item_id}") for name in ("one", "two"))
    joined = JoinedGallery([one, two])
    assert [joined.features_of(item) for item in joined.items] == ["one itm_0", "two itm_0"]


def test_what_can_not_be_joined_is_reported() -> None:
    items, rows = random_items(1, ["a"])
    with pytest.raises(GalleryError, match="not of one embedder"):
        JoinedGallery([named("one", "red"), Gallery(items, rows)])
    with pytest.raises(GalleryError, match="binary codes and of floats"):
        JoinedGallery([Gallery(items, rows), BinaryGallery(items, rows)])
    assert len(JoinedGallery([])) == 0
    assert Recognizer(None, ColorEmbedder())(SCENE, JoinedGallery([]), RecognizeOptions()).reason == "empty_gallery"


def test_items_are_named_when_they_are_needed() -> None:
    one, two = named("one", "red", "green"), named("two", "blue")
    items = JoinedGallery([one, Gallery([], np.empty((0, 0), np.float32), "none"), two]).items
    assert [(item.label, getattr(item, "gallery", None)) for item in items] == [
        ("red", "one"),
        ("green", "one"),
        ("blue", "two"),
    ]
    assert [items[at] for at in (0, 1, 2, -1)] == [*items, items[2]]
    assert list(items[1:]) == list(items)[1:]
    for place in (3, -4):
        with pytest.raises(IndexError):
            items[place]
