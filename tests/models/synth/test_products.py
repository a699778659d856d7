"""Rendered products: the same from the same seed, alike in a family, apart otherwise, and tight in their cut-out."""

import dataclasses
from collections import Counter

import numpy as np
import pytest

from models.synth.designs import BADGES, FLAVOURS, ICONS, KINDS, LAYOUTS, PANELS, PATTERNS, design_product, luminance
from models.synth.icons import Pen, draw_icon
from models.synth.label_art import face_texture, wrap_texture
from models.synth.lettering import text_mask
from models.synth.patterns import Field, paint_pattern
from models.synth.products import ViewParams, packshot, render_product, rephotograph

# A design of each kind, written down: finding them takes as long as a hundred tests.
ONE_OF_EACH = {"bottle": 395, "box": 371, "can": 399, "carton": 383, "jar": 255, "pouch": 391, "tub": 247}
FAMILY_TRAITS = (
    "art_seed",
    "kind",
    "brand",
    "lettering",
    "pattern",
    "panel_shape",
    "layout",
    "badge",
    "aspect",
    "shape",
)


def test_a_seed_always_gives_the_same_product() -> None:
    assert design_product(1234) == design_product(1234)
    with pytest.raises(ValueError, match="0 or more"):
        design_product(-1)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_generator_renders_the_same_pixels(kind: str) -> None:
    design = design_product(ONE_OF_EACH[kind])
    assert design.kind == kind
    first = render_product(design, 96, np.random.default_rng(5))
    again = render_product(design, 96, np.random.default_rng(5))
    other = render_product(design, 96, np.random.default_rng(6))
    np.testing.assert_array_equal(first, again)
    assert first.shape != other.shape or (first != other).any()


def test_flavours_of_a_family_share_all_but_colours_icon_and_flavour() -> None:
    for family in range(60):
        members = [design_product(4 * family + variant) for variant in range(4)]
        for trait in FAMILY_TRAITS:
            assert len({getattr(member, trait) for member in members}) == 1, (family, trait)
        assert len({member.flavour for member in members}) == 4
        assert len({member.accent for member in members}) == 4


def test_three_families_share_a_brand_and_the_next_ones_have_another() -> None:
    assert {design_product(12 * 7 + offset).brand for offset in range(12)} == {design_product(84).brand}
    assert len({design_product(seed).brand for seed in range(0, 3000, 12)}) > 200


def test_thousands_of_seeds_use_the_whole_range() -> None:
    designs = [design_product(seed) for seed in range(0, 8000, 4)]
    for trait, choices in (
        ("kind", KINDS), ("pattern", PATTERNS), ("panel_shape", PANELS), ("layout", LAYOUTS), ("icon", ICONS),
        ("badge", BADGES), ("flavour", FLAVOURS),
    ):  # fmt: skip
        seen = Counter(getattr(design, trait) for design in designs)
        assert set(seen) == set(choices), trait
    looks = {dataclasses.replace(design, seed=0, art_seed=0) for design in designs}
    assert len(looks) == len(designs)


def test_the_ink_stands_out_from_what_it_is_written_on() -> None:
    for seed in range(600):
        design = design_product(seed)
        assert abs(luminance(design.ink) - luminance(design.base)) > 0.15
        assert abs(luminance(design.panel_ink) - luminance(design.panel)) > 0.15


@pytest.mark.parametrize("seed", [*ONE_OF_EACH.values(), 17, 44, 93])
@pytest.mark.parametrize("size_px", [24, 96, 224])
def test_a_cut_out_is_tight_and_as_large_as_requested(seed: int, size_px: int) -> None:
    cut = render_product(design_product(seed), size_px, np.random.default_rng(seed))
    assert cut.dtype == np.uint8
    assert cut.shape[2] == 4
    assert max(cut.shape[:2]) == size_px
    solid = cut[..., 3] > 100
    assert all(edge.any() for edge in (solid[0], solid[-1], solid[:, 0], solid[:, -1]))
    assert solid.mean() > 0.35


@pytest.mark.parametrize("kind", KINDS)
def test_a_view_turns_lights_and_tilts_the_product(kind: str) -> None:
    design = design_product(ONE_OF_EACH[kind])

    def rendered(**changes: float) -> np.ndarray:
        cut = render_product(design, 128, np.random.default_rng(0), view=dataclasses.replace(ViewParams(), **changes))
        grey = cut[..., :3].astype(float).mean(2)
        return np.where(cut[..., 3] > 127, grey, np.nan)

    left, right = rendered(light=-0.9), rendered(light=0.9)
    if kind not in ("box", "carton"):  # whose faces are lit evenly
        third = left.shape[1] // 3
        assert np.nanmean(left[:, :third]) > np.nanmean(right[:, :third])
        assert np.nanmean(left[:, -third:]) < np.nanmean(right[:, -third:])
    assert np.nanmean(rendered(gain=0.7)) < 0.85 * np.nanmean(rendered())
    assert rendered(roll=0.3).shape != rendered().shape
    turned, still = rendered(yaw=0.5), rendered()
    same = turned.shape == still.shape
    assert not same or np.nanmean(np.abs(turned - still)) > 2


def test_a_box_shows_the_side_that_is_turned_to_the_camera() -> None:
    design = dataclasses.replace(
        design_product(0), kind="box", pattern="plain", aspect=0.7, depth=0.9, base=(250, 250, 250), gloss=0.0
    )
    to_the_right = render_product(design, 200, np.random.default_rng(0), view=ViewParams(yaw=0.6, light=-0.9))
    to_the_left = render_product(design, 200, np.random.default_rng(0), view=ViewParams(yaw=-0.6, light=0.9))
    # Lit from the other side, the side face is darker than the front, and stands where the box is turned to.
    for cut, dark_end in ((to_the_right, slice(-12, -6)), (to_the_left, slice(6, 12))):
        bright_end = slice(6, 12) if dark_end.start < 0 else slice(-12, -6)
        row = cut[cut.shape[0] // 2 - 3 : cut.shape[0] // 2 + 3, :, 0].astype(float)
        assert row[:, dark_end].max() + 15 < row[:, bright_end].max()


def test_a_packshot_is_a_product_on_near_white() -> None:
    shot = packshot(design_product(3), 128)
    assert shot.dtype == np.uint8
    assert shot.shape[2] == 3
    corners = shot[[0, 0, -1, -1], [0, -1, 0, -1]]
    assert corners.min() > 235
    np.testing.assert_array_equal(shot, packshot(design_product(3), 128))


def test_a_cut_out_can_be_photographed_again() -> None:
    cut = render_product(design_product(8), 96, np.random.default_rng(0), view=ViewParams())
    again = rephotograph(cut, 60, np.random.default_rng(1))
    assert max(again.shape[:2]) == 60
    assert again.shape[2] == 4
    with pytest.raises(ValueError, match="alpha"):
        rephotograph(np.zeros((20, 20, 4), np.uint8), 10, np.random.default_rng(0))
    with pytest.raises(ValueError, match="8 pixels"):
        render_product(design_product(0), 7, np.random.default_rng(0))


@pytest.mark.parametrize("name", ICONS)
def test_every_icon_draws_something_inside_its_circle(name: str) -> None:
    canvas = np.full((100, 100, 3), 255, np.uint8)
    draw_icon(name, Pen(canvas, 50, 50, 25, (200, 30, 40), (20, 60, 200)))
    rows, columns = np.nonzero((canvas != 255).any(2))
    assert len(rows) > 150
    assert min(rows.min(), columns.min()) >= 20
    assert max(rows.max(), columns.max()) <= 80


@pytest.mark.parametrize("name", sorted(set(PATTERNS) - {"plain"}))
def test_every_pattern_changes_the_field(name: str) -> None:
    canvas = np.empty((120, 200, 3), np.uint8)
    paint_pattern(name, Field(canvas, 100.0, (240, 240, 240), (10, 20, 120), np.random.default_rng(1)))
    assert (canvas != 240).any(2).mean() > 0.02


@pytest.mark.parametrize("panel_shape", PANELS)
def test_both_fronts_of_a_wrap_are_whole(panel_shape: str) -> None:
    shape = (0.5, 0.5, 0.5, 0.5, 0.5, 0.1)  # two fronts
    for seed in range(0, 48, 12):
        design = dataclasses.replace(design_product(seed), panel_shape=panel_shape, pattern="plain", shape=shape)
        wrap = wrap_texture(design, 120, 400).astype(int)
        np.testing.assert_array_equal(wrap[:, :200], wrap[:, 200:])


def test_texts_differ_and_their_masks_cannot_be_spoilt() -> None:
    lettering = design_product(0).lettering
    words = {text_mask(word, lettering).tobytes() for word in ("Velora", "Moxi", "KIBO")}
    assert len(words) == 3
    with pytest.raises(ValueError, match="read-only"):
        text_mask("Velora", lettering)[0, 0] = 1
    with pytest.raises(ValueError, match="read-only"):
        face_texture(design_product(0), 40, 40, "front")[0, 0] = 1


def test_a_face_seen_from_a_steep_side_leaves_no_pixel_nan() -> None:
    # Once one pixel of this very packshot was NaN, which a cast to uint8 only warns of.
    assert packshot(design_product(1_000_236), 256).min() < 250
