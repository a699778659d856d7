"""What is kept of an enrolled picture: always the same for the same picture, and never a reason to refuse it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from models import enrolment, verification
from models.enrolment import calibrator, embed_lone_views, embed_views, packed_features
from models.errors import EngineError
from models.galleries.calibration import Calibration, from_threshold

HASHES = [f"{number:08x}" + 56 * "0" for number in range(3)]


class Mean:
    """The mean colours of a picture's four quarters as its embedding; black pictures have none."""

    dim = 12
    calibration = from_threshold(0.5)
    unknowns = np.eye(12, dtype=np.float32)[6:]

    def __call__(self, crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        rows = [np.zeros((0, self.dim), np.float32)]
        for one in crops:
            height, width = one.shape[0] // 2, one.shape[1] // 2
            quarters = [
                half[:, columns]
                for half in (one[:height], one[height:])
                for columns in (slice(width), slice(width, None))
            ]
            row = np.concatenate([quarter.mean(axis=(0, 1)) for quarter in quarters]).astype(np.float32)
            if row.max() < 30:
                raise EngineError("no direction", "embedding_invalid")
            rows.append(row[None] / np.linalg.norm(row))
        return np.concatenate(rows)


class Broken(Mean):
    """Its engine fails."""

    def __call__(self, crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        raise EngineError("out of order")


def picture(seed: int) -> NDArray[np.uint8]:
    noise = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    return np.repeat(np.repeat(noise, 12, axis=0), 12, axis=1)


@pytest.mark.parametrize("group", [1, 16])
def test_only_a_labels_only_picture_has_its_view_made(group: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enrolment, "GROUP", group)
    images = [picture(0), picture(1), picture(2), np.zeros((90, 90, 3), np.uint8), picture(4)]
    hashes = [f"{number:08x}" + 56 * "0" for number in range(5)]
    read: list[int] = []

    def give(at: int) -> tuple[NDArray[np.uint8], str]:
        read.append(at)
        return images[at], hashes[at]

    views = embed_lone_views(["cola", "tea", "cola", "milk", "juice"], give, Mean())
    assert read == [1, 3, 4]
    assert not views[[0, 2, 3]].any()  # a black picture has no embedding
    np.testing.assert_array_equal(views[[1, 4]], embed_views([images[1], images[4]], [hashes[1], hashes[4]], Mean()))
    assert embed_lone_views([], give, Mean()).shape == (0, Mean.dim)


def test_a_view_is_like_its_picture_and_always_the_same() -> None:
    images = [picture(seed) for seed in range(3)]
    views = embed_views(images, HASHES, Mean())
    assert views.shape == (3, Mean.dim)
    np.testing.assert_array_equal(views[1:], embed_views(images[1:], HASHES[1:], Mean()))
    assert not np.array_equal(views[:1], embed_views(images[:1], HASHES[1:2], Mean()))  # by its hash, not its place
    assert (np.einsum("nd,nd->n", views, Mean()(images)) > 0.95).all()
    assert embed_views([], [], Mean()).shape == (0, Mean.dim)


def test_a_view_that_has_no_embedding_is_left_out_alone() -> None:
    images = [picture(0), np.zeros((64, 64, 3), np.uint8), picture(2)]
    views = embed_views(images, HASHES, Mean())
    assert views.any(axis=1).tolist() == [True, False, True]
    with pytest.raises(EngineError, match="out of order"):
        embed_views(images, HASHES, Broken())


def test_features_fit_their_place_in_a_gallery() -> None:
    packed = packed_features(picture(1))
    assert 0 < len(packed) <= 8192
    assert packed == packed_features(picture(1))
    assert len(verification.unpack(packed)) > 20
    assert len(verification.unpack(packed_features(np.zeros((64, 64, 3), np.uint8)))) == 0


def test_only_a_fit_of_the_gallery_is_kept() -> None:
    rng = np.random.default_rng(0)
    rows = np.abs(rng.normal(size=(60, Mean.dim)) + 3 * np.eye(12)[np.arange(60) % 12]).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    labels = [str(number % 12) for number in range(60)]
    fitted = calibrator(Mean())(labels, rows, None)
    assert fitted is not None
    assert Calibration.from_dict(fitted).source == "gallery"
    assert calibrator(Mean())(labels[:2], rows[:2], None) is None  # the embedder's own holds
