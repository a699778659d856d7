"""axe-core on a page as it is now: no rule may be broken, in any state, at any width, light or dark."""

from __future__ import annotations

from pathlib import Path

import axe_playwright_python
from playwright.sync_api import Page

AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js")
STATES = ((1280, 900, "light"), (390, 844, "dark"))


def expect_accessible(page: Page) -> None:
    """No violation on a desk's screen in the light and on a phone's in the dark; nor anything wider than the screen."""
    loaded = page.evaluate("typeof axe !== 'undefined'")
    if not loaded:
        page.evaluate(
            AXE.read_text(encoding="utf-8")
        )  # evaluated, not added as a script: the page's policy forbids that
    before = page.viewport_size
    for width, height, scheme in STATES:
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        found = page.evaluate(
            "axe.run().then(({ violations }) => violations.map((v) => "
            "`${v.id}: ${v.nodes.map((n) => n.target.join(' ') + ' ' + (n.any[0]?.message ?? '')).join('; ')}`))"
        )
        assert found == [], f"{width} px, {scheme}"
        overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert overflow <= 0, f"the page is wider than {width} px"
    page.emulate_media(color_scheme="light")
    if before:
        page.set_viewport_size(before)
