"""The picture of an eval set frames each neighbour by whether it is right."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.evaluation.contact_sheets import CELL_PX, FRAME_PX, GAP_PX, RIGHT, WRONG
from models.evaluation.eval_sets import EvalSet
from models.evaluation.neighbours import draw_eval_set

STEP = CELL_PX + 2 * FRAME_PX + GAP_PX


@pytest.mark.parametrize(
    ("gallery", "neighbours"), [([False, True, True], [[RIGHT, WRONG]]), ([False] * 3, [[RIGHT, WRONG]] * 2)]
)
def test_frames_say_what_was_answered_rightly(
    tmp_path: Path, gallery: list[bool], neighbours: list[list[tuple[int, int, int]]]
) -> None:
    split = EvalSet("e", np.full((3, 8, 8, 3), 9, np.uint8), np.array([4, 4, 7]), np.array(gallery))
    rows = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]], np.float32)
    draw_eval_set(split, rows, tmp_path / "e.png")
    with Image.open(tmp_path / "e.png") as picture:
        pixels = np.asarray(picture)
    tops = [y for y in range(len(pixels)) if (pixels[y, GAP_PX] != 255).any() and (pixels[y - 1, GAP_PX] == 255).all()]
    framed = []
    for top in tops:
        colours = [pixels[top + FRAME_PX // 2, GAP_PX + column * STEP + 1] for column in (1, 2)]
        framed.append([tuple(map(int, colour)) for colour in colours])
    assert [row for row in framed if row[0] == RIGHT] == neighbours
