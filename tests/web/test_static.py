"""What the page's scripts repeat of the models, which the web never imports."""

from __future__ import annotations

import re
from pathlib import Path

from models.pictures.image import BOX_MARGIN

PICTURES = Path(__file__).parents[2] / "web" / "static" / "pictures.js"


def test_what_is_confirmed_is_cut_with_the_margin_that_photos_are_searched_with() -> None:
    found = re.search(r"^const BOX_MARGIN = ([0-9.]+);$", PICTURES.read_text(encoding="utf-8"), re.MULTILINE)
    assert found is not None
    assert float(found[1]) == BOX_MARGIN
