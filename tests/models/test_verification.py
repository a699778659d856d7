"""Local features: what must agree does, what must not does not, and what is stored comes back."""

from __future__ import annotations

import struct
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from models import verification
from models.errors import GalleryError
from models.synth.designs import design_product
from models.synth.products import ViewParams, packshot, render_product
from models.verification import Features, agree, describe, pack, rerank_bonus, unpack

Picture = NDArray[np.uint8]
MANY = 8  # features that pictures of two things do not agree in
GREY = (128, 128, 128)  # around what was turned


@cache
def label(seed: int, height: int = 300, width: int = 240) -> Picture:
    """A picture with much to hold on to: irregular patches, no two alike, none its own mirror image."""
    random = np.random.default_rng(seed)
    image = np.full((height, width, 3), 225, np.uint8)
    for _ in range(160):
        middle = random.uniform(0, 1, 2) * (width, height)
        corners = middle + random.normal(0, random.uniform(4, 30), (int(random.integers(3, 7)), 2))
        colour = tuple(int(value) for value in random.integers(0, 256, 3))
        cv2.fillPoly(image, [np.rint(corners).astype(np.int32)], colour, cv2.LINE_AA)
    image.flags.writeable = False
    return image


def turned(image: Picture, degrees: float, scale: float, size: tuple[int, int] = (420, 400)) -> tuple[Picture, Picture]:
    """The picture turned about its middle into the middle of a grey (height, width), and the (2, 3) transform of pixels."""
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, scale)
    matrix[:, 2] += size[1] / 2 - width / 2, size[0] / 2 - height / 2
    moved = cv2.warpAffine(image, matrix, size[::-1], flags=cv2.INTER_AREA, borderValue=GREY)
    noise = np.random.default_rng(1).normal(0, 4, moved.shape)
    return np.clip(moved * 0.85 + 10 + noise, 0, 255).astype(np.uint8), matrix


@pytest.mark.parametrize(("degrees", "scale"), [(0, 1.0), (25, 0.8), (-90, 1.1), (180, 0.6), (50, 1.5)])
@pytest.mark.parametrize("stored", [False, True])
def test_a_turned_darker_noisy_copy_agrees_where_it_lies(degrees: float, scale: float, stored: bool) -> None:
    query, matrix = turned(label(1), degrees, scale)
    item = describe(label(1))
    found = agree(describe(query), unpack(pack(item)) if stored else item)
    assert found.inliers >= 25
    assert found.query_points.shape == found.item_points.shape == (found.inliers, 2)
    assert found.query_points.dtype == found.item_points.dtype == np.float32
    pixels = found.item_points * (240, 300)
    expected = pixels @ matrix[:, :2].T + matrix[:, 2]
    errors = np.linalg.norm(found.query_points * (400, 420) - expected, axis=1)
    assert np.median(errors) < 2
    assert errors.max() < 20


def test_a_small_part_agrees_with_the_whole() -> None:
    found = agree(describe(label(2)[60:200, 40:160]), describe(label(2)))
    assert found.inliers >= 25
    assert (found.item_points > (40 / 240 - 0.05, 60 / 300 - 0.05)).all()
    assert (found.item_points < (160 / 240 + 0.05, 200 / 300 + 0.05)).all()


def test_different_pictures_do_not_agree() -> None:
    described = [describe(label(seed)) for seed in range(10, 20)]
    stored = [unpack(pack(features)) for features in described]
    counts = [agree(described[a], stored[b]).inliers for a in range(10) for b in range(10) if a != b]
    assert np.mean(np.array(counts) > 0) < 0.05
    assert max(counts) < MANY


@pytest.mark.parametrize("axis", [0, 1])
def test_a_mirrored_picture_does_not_agree(axis: int) -> None:
    for seed in (1, 2, 3):
        mirrored = np.flip(label(seed), axis)
        assert agree(describe(mirrored), describe(label(seed))).inliers < MANY


DESIGNS = (0, 8, 24, 40, 48, 80)  # of different families: flavours of one design agree, for most of them is the same


def test_views_of_a_rendered_product_agree_and_other_products_do_not() -> None:
    shots = [describe(packshot(design_product(seed), 300)) for seed in DESIGNS]
    random = np.random.default_rng(0)
    cuts = [render_product(design_product(seed), 260, random, view=ViewParams()) for seed in DESIGNS]
    views = [describe(cut[..., :3]) for cut in cuts]
    counts = np.array([[agree(view, shot).inliers for shot in shots] for view in views])
    assert (np.diag(counts) >= MANY).all()
    others = np.where(np.eye(len(DESIGNS), dtype=bool), 0, counts)
    assert (np.diag(counts) > 2 * others.max(axis=1)).all()  # letters of one size in two designs agree a little


def test_flavours_of_one_design_gain_the_same() -> None:
    peach, plum = (describe(packshot(design_product(seed), 300)) for seed in (0, 1))
    assert rerank_bonus(agree(peach, plum).inliers) == rerank_bonus(agree(peach, peach).inliers)


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 400, 3), (8, 8, 3), (9, 3000, 3), (3000, 9, 3), (200, 200, 3)])
def test_what_has_no_features_agrees_with_nothing(shape: tuple[int, int, int]) -> None:
    empty = describe(np.full(shape, 90, np.uint8))
    assert (len(empty), empty.height, empty.width) == (0, *shape[:2])
    assert empty.points.shape == (0, 2)
    assert empty.descriptors.shape == (0, verification.KEPT)
    stored = unpack(pack(empty))
    assert (len(stored), stored.width, stored.height) == (0, shape[1], shape[0])
    full = describe(label(1))
    for query, item in ((empty, full), (full, empty), (stored, stored)):
        found = agree(query, item)
        assert found.inliers == 0
        assert found.query_points.shape == found.item_points.shape == (0, 2)


@pytest.mark.parametrize("shape", [(13, 11), (16, 16), (17, 300), (40, 31), (2000, 120)])
def test_noise_of_any_shape_is_described_within_its_borders(shape: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype(np.uint8)
    features = describe(noise)
    assert len(features) <= verification.MOST_POINTS
    assert ((features.points >= 0) & (features.points <= 1)).all()
    assert len(pack(features)) <= verification.MOST_BYTES


def test_huge_pictures_are_described_as_small_ones() -> None:
    huge = cv2.resize(label(4), (4800, 6000), interpolation=cv2.INTER_CUBIC)
    features = describe(huge)
    assert (features.width, features.height) == (4800, 6000)
    assert agree(features, describe(label(4))).inliers >= 100


def test_views_into_pictures_and_read_only_ones_are_taken() -> None:
    whole = label(5)
    np.testing.assert_array_equal(
        describe(whole[20:220, 30:200]).descriptors, describe(whole[20:220, 30:200].copy()).descriptors
    )


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_a_few_features_are_no_evidence(count: int) -> None:
    full = describe(label(1))
    few = only(full, np.arange(count))
    assert agree(few, full).inliers == agree(full, few).inliers == agree(few, few).inliers == 0


def test_places_along_a_line_or_folded_into_a_point_are_no_evidence() -> None:
    full = only(describe(label(1)), np.arange(60))
    assert agree(full, full).inliers >= 30
    line = np.stack([np.linspace(0.1, 0.9, 60), np.full(60, 0.5)], axis=1).astype(np.float32)
    frames = np.tile(np.array([[8.0, 1.0]], np.float32), (60, 1))
    flat = replace(full, points=line, frames=frames)
    assert agree(flat, flat).inliers == 0
    folded = replace(full, points=full.points * 0.01 + 0.5, frames=full.frames * (0.01, 1))
    assert agree(full, folded).inliers == agree(folded, full).inliers == 0


def test_a_place_with_several_angles_counts_once() -> None:
    full = only(describe(label(1)), np.arange(40))
    found = agree(full, full)
    cells = {tuple(cell) for cell in np.floor(found.item_points * 256).astype(int).tolist()}
    assert len(cells) == found.inliers


def test_threads_find_what_one_finds() -> None:
    pictures = [turned(label(seed), 10 * seed, 0.9)[0] for seed in range(6)]
    alone = [describe(picture) for picture in pictures]
    items = [describe(label(seed)) for seed in range(6)]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(describe, pictures * 3))
        agreed = list(pool.map(agree, together, items * 3))
    for number, (features, found) in enumerate(zip(together, agreed, strict=True)):
        assert pack(features) == pack(alone[number % 6])
        expected = agree(alone[number % 6], items[number % 6])
        np.testing.assert_array_equal(found.query_points, expected.query_points)
        np.testing.assert_array_equal(found.item_points, expected.item_points)
        assert found.inliers == expected.inliers > 0


def test_what_is_stored_is_small_near_the_described_and_stays() -> None:
    features = describe(label(6, 600, 500))
    data = pack(features)
    stored = unpack(data)
    count = len(stored)
    assert len(data) <= verification.MOST_BYTES
    assert len(features) > count > 300  # the strongest, as many as fit
    np.testing.assert_allclose(stored.points, features.points[:count], atol=1 / 512 + 1e-6)
    np.testing.assert_allclose(stored.frames[:, 0], features.frames[:count, 0], rtol=0.03)
    turn = (stored.frames[:, 1] - features.frames[:count, 1] + np.pi) % (2 * np.pi) - np.pi
    assert np.abs(turn).max() <= np.pi / 256 + 1e-5
    assert np.abs(stored.descriptors.astype(int) - features.descriptors[:count]).max() <= 8
    assert pack(stored) == data
    assert (stored.width, stored.height) == (500, 600)


def test_damaged_data_is_reported() -> None:
    data = pack(describe(label(1)))
    bad = (
        b"",
        data[:9],
        data[:-1],
        data + b"\0",
        b"XXXX" + data[4:],
        data[:4] + b"\x09" + data[5:],  # version
        data[:5] + b"\x07" + data[6:],  # length of a descriptor
        data[:6] + struct.pack("<H", 3) + data[8:],  # points
        data[:6] + struct.pack("<H", 400) + data[8:16] + bytes(400 * (verification.KEPT // 2 + 4)),  # too many
    )
    for broken in bad:
        with pytest.raises(GalleryError, match="local features"):
            unpack(broken)


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=200), st.booleans())
def test_no_bytes_break_it_otherwise(noise: bytes, begun: bool) -> None:
    data = pack(describe_once())[:16] + noise if begun else noise
    try:
        features = unpack(data)
    except GalleryError:
        return
    assert agree(features, features).inliers <= len(features)


@cache
def describe_once() -> Features:
    return only(describe(label(1)), np.arange(5))


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 60), st.integers(0, 1 << 32))
def test_stored_values_of_any_kind_can_be_compared(count: int, seed: int) -> None:
    head = struct.pack("<4sBBHII", b"SHVF", 1, verification.KEPT // 2, count, 0, 100000)
    features = unpack(head + np.random.default_rng(seed).bytes(count * (verification.KEPT // 2 + 4)))
    assert agree(features, describe_once()).inliers <= count
    assert agree(features, features).inliers <= count


def test_the_bonus_grows_from_enough_features_to_its_top() -> None:
    assert rerank_bonus(0) == rerank_bonus(verification.BONUS_FROM - 1) == 0
    values = [rerank_bonus(count) for count in range(verification.BONUS_FROM, verification.BONUS_UP_TO + 1)]
    assert all(a < b for a, b in pairwise([0.0, *values]))
    assert rerank_bonus(1000) == values[-1]


def only(features: Features, rows: NDArray[np.intp]) -> Features:
    return replace(
        features,
        points=features.points[rows],
        descriptors=features.descriptors[rows],
        frames=features.frames[rows],
    )
