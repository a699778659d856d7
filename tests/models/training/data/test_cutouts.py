"""Cut-outs: the product and nothing else from a plain photo, nothing from a busy one, and good enough for scenes."""

import cv2
import numpy as np
import pytest

from models.synth.designs import design_product
from models.synth.products import ViewParams, packshot, render_product
from models.synth.scenes import render_scene
from models.training.data.cutouts import cut_out


def overlap(seed: int, size_px: int = 200) -> float:
    """IoU of the cut-out of a packshot with the mask that the packshot was made from, both tight."""
    design = design_product(seed)
    cut = cut_out(packshot(design, size_px))
    if cut is None:
        return 0.0
    rendered = render_product(design, size_px, np.random.default_rng(0), view=ViewParams())[..., 3] > 127
    found = cut[..., 3] > 127
    height, width = max(rendered.shape[0], found.shape[0]), max(rendered.shape[1], found.shape[1])
    first, second = (
        np.pad(mask, ((0, height - mask.shape[0]), (0, width - mask.shape[1]))) for mask in (rendered, found)
    )
    return float((first & second).sum() / (first | second).sum())


def test_packshots_are_cut_along_the_product_and_not_its_shadow() -> None:
    fractions = [overlap(seed) for seed in range(3000, 3160, 4)]
    assert np.median(fractions) > 0.95
    assert np.mean(np.array(fractions) > 0.85) >= 0.85  # what is as white as its wall may fail


def test_a_label_as_white_as_the_wall_stays_whole() -> None:
    photo = np.full((120, 160, 3), 245, np.uint8)
    photo[30:90, 40:120] = (180, 20, 40)
    photo[45:75, 60:100] = 245
    cut = cut_out(photo)
    assert cut is not None
    assert abs(cut.shape[0] - 60) <= 2
    assert abs(cut.shape[1] - 80) <= 2
    assert (cut[..., 3] > 127).mean() > 0.97
    np.testing.assert_array_equal(cut[cut.shape[0] // 2, cut.shape[1] // 2, :3], (245, 245, 245))


def test_a_deep_soft_shadow_is_left_out() -> None:
    photo = np.full((140, 160, 3), 235, np.float32)
    shadow = np.zeros((140, 160), np.float32)
    shadow[50:125, 60:140] = 60
    photo -= cv2.GaussianBlur(shadow, (0, 0), 9)[..., None]
    photo[30:110, 50:110] = (20, 120, 60)
    cut = cut_out(photo.astype(np.uint8))
    assert cut is not None
    assert abs(cut.shape[0] - 80) <= 3
    assert abs(cut.shape[1] - 60) <= 3


def test_a_photo_without_a_plain_background_has_no_cut_out() -> None:
    rng = np.random.default_rng(0)
    assert cut_out(rng.integers(0, 256, (100, 100, 3)).astype(np.uint8)) is None
    assert (
        cut_out(render_scene([("a", design_product(0))], (120, 160), np.random.default_rng(1), clutter=1.0).image)
        is None
    )
    assert cut_out(np.full((100, 100, 3), 240, np.uint8)) is None  # nothing is there
    assert cut_out(np.full((3, 3, 3), 240, np.uint8)) is None


@pytest.mark.parametrize("wall", [(245, 245, 245), (30, 34, 60), (90, 170, 90)])
def test_any_plain_colour_will_do(wall: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(1)
    photo = np.clip(np.array(wall) + rng.normal(0, 2, (120, 120, 3)), 0, 255).astype(np.uint8)
    photo[20:100, 30:90] = (200, 140, 30)
    cut = cut_out(photo)
    assert cut is not None
    assert abs(cut.shape[0] - 80) <= 3
    assert abs(cut.shape[1] - 60) <= 3


def test_gallery_pictures_alone_make_scenes() -> None:
    cuts = [
        (str(seed), cut)
        for seed in range(0, 40, 4)
        if (cut := cut_out(packshot(design_product(seed), 160))) is not None
    ]
    assert len(cuts) >= 8
    labels: set[str] = set()
    for seed in range(8):
        scene = render_scene(cuts, (240, 240), np.random.default_rng(seed))
        assert len(scene.boxes) == len(scene.labels) > 0
        labels.update(scene.labels)
    assert labels <= {label for label, _ in cuts}
    assert len(labels) >= 6
