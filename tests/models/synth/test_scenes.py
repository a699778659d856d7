"""Scenes: boxes equal to the masks, labels in order, enough of each object visible, the same from the same seed."""

import numpy as np
import pytest
from numpy.typing import NDArray

from models.synth.designs import design_product
from models.synth.scenes import LEAST_VISIBLE, Stage, render_scene, training_scene

Image = NDArray[np.uint8]
SIZE = (200, 260)


def disc(colour: tuple[int, int, int], size: int = 60) -> Image:
    """A flat disc as a cut-out: no rendered product has a part in its outline."""
    ys, xs = np.mgrid[0:size, 0:size] - (size - 1) / 2
    cut = np.zeros((size, size, 4), np.uint8)
    cut[..., :3] = colour
    cut[..., 3] = (np.hypot(xs, ys) < size / 2) * 255
    return cut


PRODUCTS = [(f"product-{seed}", design_product(seed)) for seed in range(40)]


@pytest.mark.parametrize("seed", range(12))
def test_the_same_seed_gives_the_same_scene(seed: int) -> None:
    first, again = (render_scene(PRODUCTS, SIZE, np.random.default_rng(seed), clutter=1.0) for _ in range(2))
    other = render_scene(PRODUCTS, SIZE, np.random.default_rng(seed + 100), clutter=1.0)
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.boxes, again.boxes)
    assert first.labels == again.labels
    assert (first.image != other.image).any()


def test_scenes_are_as_promised() -> None:
    counts = set()
    for seed in range(30):
        scene = render_scene(PRODUCTS, SIZE, np.random.default_rng(seed))
        counts.add(len(scene.labels))
        assert scene.image.shape == (*SIZE, 3)
        assert scene.image.dtype == np.uint8
        assert scene.boxes.dtype == np.float32
        assert scene.boxes.shape == (len(scene.labels), 4)
        assert set(scene.labels) <= {label for label, _ in PRODUCTS}
        x1, y1, x2, y2 = scene.boxes.T
        assert (x1 >= 0).all()
        assert (y1 >= 0).all()
        assert (x2 > x1 + 4).all()
        assert (y2 > y1 + 4).all()
        assert (x2 <= SIZE[1]).all()
        assert (y2 <= SIZE[0]).all()
        assert len(scene.labels) >= 1
    assert len(counts) >= 5


def test_boxes_are_those_of_the_pixels_that_show() -> None:
    """Seen from the picture alone: a saturated disc is found by its colour, its box by the colour's extent."""
    colours = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}
    sources = [(name, disc(colour)) for name, colour in colours.items()]
    checked = 0
    for seed in range(25):
        grey = [np.full((*SIZE, 3), 128, np.uint8)]
        scene = render_scene(
            sources,
            SIZE,
            np.random.default_rng(seed),
            count=3,
            scale=(0.25, 0.5),
            clutter=0.0,
            occlusion=0.3,
            backgrounds=grey,
        )
        picture = scene.image.astype(int)
        rest = np.ones(SIZE, np.bool_)
        for x1, y1, x2, y2 in scene.boxes.astype(int):
            rest[max(0, y1 - 3) : y2 + 3, max(0, x1 - 3) : x2 + 3] = False
        if (picture.max(2) - picture.min(2))[rest].max() > 25:
            continue  # a rendered background, whose colours may be the discs'
        for box, label in zip(scene.boxes, scene.labels, strict=True):
            channel = list(colours).index(label)
            others = [index for index in range(3) if index != channel]
            mine = picture[..., channel] - picture[..., others].max(2) > 60
            ys, xs = np.nonzero(mine)
            np.testing.assert_allclose(box, (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1), atol=2)
            checked += 1
    assert checked > 15


def test_a_stage_keeps_the_box_of_the_part_that_shows() -> None:
    stage = Stage(np.zeros((100, 100, 3), np.uint8))
    square = np.full((40, 40, 4), 255, np.uint8)
    stage.paint(square, 10, 20)
    stage.paint(square, 30, 20)  # hides the right half of the first
    np.testing.assert_array_equal(stage.boxes(), [[10, 20, 30, 60], [30, 20, 70, 60]])
    np.testing.assert_allclose(stage.visible(), [0.5, 1.0])
    stage.paint(square, 80, 80)  # a quarter is inside the picture
    np.testing.assert_array_equal(stage.boxes()[2], [80, 80, 100, 100])
    np.testing.assert_allclose(stage.visible(), [0.5, 1.0, 0.25])
    stage.cover(100, 20, 10, 0, np.zeros(3, np.uint8))
    np.testing.assert_allclose(stage.visible()[1:], [1.0, 0.25])
    assert stage.visible()[0] == 0.0


def test_a_stage_keeps_the_box_tight_around_a_mask_with_soft_edges() -> None:
    rng = np.random.default_rng(0)
    stage = Stage(np.zeros((90, 90, 3), np.uint8))
    soft = rng.integers(0, 256, (30, 30, 4)).astype(np.uint8)
    soft[:5, :, 3], soft[:, -7:, 3] = 127, 3
    stage.paint(soft, 20, 40)
    ys, xs = np.nonzero(soft[..., 3] > 127)
    expected = [xs.min() + 20, ys.min() + 40, xs.max() + 21, ys.max() + 41]
    np.testing.assert_array_equal(stage.boxes(), [expected])


@pytest.mark.parametrize("occlusion", [0.0, 0.5, 0.9])
def test_nothing_is_hidden_more_than_it_may_be(occlusion: float, monkeypatch: pytest.MonkeyPatch) -> None:
    stages: list[Stage] = []

    class Watched(Stage):
        def __init__(self, image: Image) -> None:
            super().__init__(image)
            stages.append(self)

    monkeypatch.setattr("models.synth.scenes.Stage", Watched)
    for seed in range(12):
        render_scene(
            PRODUCTS[:8], SIZE, np.random.default_rng(seed), count=8, occlusion=occlusion, scale=(0.3, 0.5), clutter=1.0
        )
    fractions = np.concatenate([stage.visible() for stage in stages])
    assert (fractions >= LEAST_VISIBLE).all()
    if occlusion == 0.0:
        assert (fractions == 1.0).all()
    else:
        assert (fractions < 0.95).mean() > 0.1  # hard cases happen


def test_what_is_requested_is_placed_in_turn() -> None:
    scene = render_scene(PRODUCTS[:3], (640, 800), np.random.default_rng(0), count=3, scale=(0.3, 0.4), occlusion=0.0)
    assert scene.labels == tuple(label for label, _ in PRODUCTS[:3])
    longest = (scene.boxes[:, 2:] - scene.boxes[:, :2]).max(1)
    assert ((longest > 0.28 * 640) & (longest < 0.42 * 640)).all()


def test_photos_serve_as_backgrounds() -> None:
    stripes = np.zeros((50, 300, 3), np.uint8)
    stripes[:, ::2] = (200, 0, 200)  # no rendered place looks so
    purple = 0
    for seed in range(12):
        scene = render_scene(
            PRODUCTS, SIZE, np.random.default_rng(seed), count=1, scale=(0.2, 0.2), backgrounds=[stripes]
        )
        red, green, blue = scene.image.reshape(-1, 3).mean(0)
        purple += red > green + 40 and blue > green + 40
    assert 2 <= purple <= 11


def test_a_training_scene_comes_from_its_seed_alone() -> None:
    first, again, other = (training_scene(seed, 160) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.boxes, again.boxes)
    assert first.image.shape == (160, 160, 3)
    assert (first.image != other.image).any()


def test_what_cannot_be_rendered_is_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="at least one source"):
        render_scene([], SIZE, rng)
    with pytest.raises(ValueError, match="32 pixels"):
        render_scene(PRODUCTS, (20, 200), rng)
