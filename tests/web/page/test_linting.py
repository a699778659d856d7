"""The pages of a gallery's mistakes and of its versions side by side, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from infra.galleries.store import GalleryStore
from infra.objects.opening import open_store
from infra.runtime.settings import Settings
from tests.infra.galleries.lint_cases import clean
from tests.linting import linting
from tests.web.conftest import EMBEDDER
from tests.web.galleries.test_lint import mistaken
from tests.web.page.accessibility import expect_accessible
from tests.web.page.actions import keep, product

COLOURS = ("#2f7d4f", "#b3202a", "#1c57a5", "#8a5200")


@pytest.fixture
def store(settings: Settings) -> GalleryStore:
    return GalleryStore(open_store(settings.objects, settings.data_dir))


@pytest.fixture(autouse=True)
def worker(settings: Settings) -> Iterator[None]:
    with linting(settings):
        yield


def shelf(settings: Settings, store: GalleryStore, name: str = "shelf", *, bad: bool = True) -> None:
    """A gallery with mistakes, its items with pictures that can be shown."""
    objects = open_store(settings.objects, settings.data_dir)
    keys = [objects.put_image(product(colour)) for colour in COLOURS]
    made = mistaken() if bad else clean()
    items = [replace(item, image_key=keys[at % 4]) for at, item in enumerate(made.items)]
    store.create(name)
    store.add(name, items, made.embeddings, EMBEDDER)


def whole(page: Page) -> bool:
    """Once the page shows all that a worker found: until then it says how far the check has come."""
    expect(page.locator("#checked")).to_be_hidden()
    return True


def test_each_mistake_is_shown_and_fixed_by_one_tap(
    page: Page, settings: Settings, store: GalleryStore, tmp_path: Path
) -> None:
    shelf(settings, store)
    page.goto("/galleries/shelf")
    page.get_by_role("link", name="Check for mistakes").click()
    findings = page.locator(".finding")
    expect(findings).to_have_count(6)
    twice = findings.filter(has_text="One picture under two labels")
    expect(twice.locator(".pictures img")).to_have_count(2)
    expect(twice.locator(".doubted")).to_contain_text("(this one)")
    keep(page, "lint", tmp_path)
    expect_accessible(page)
    fix = twice.get_by_role("button")
    words = fix.text_content()
    fix.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#undo")).to_contain_text(f"Fixed: {words}.")
    expect(twice).to_have_count(0)
    expect(page.locator("#findings-heading")).to_be_focused()
    expect(page.locator("#facts")).to_contain_text("16 pictures")
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#undo")).to_have_text("Undone.")
    expect(twice).to_have_count(1)
    page.get_by_label("Kind").select_option("few_pictures")
    expect(findings).to_have_count(1)
    expect(findings.get_by_role("link")).to_have_attribute("href", "/galleries/shelf#adding")
    page.get_by_label("Kind").select_option("")
    page.get_by_label("Level").select_option("error")
    expect(findings.filter(has_text="hint")).to_have_count(0)
    while whole(page) and findings.count():
        before = page.locator("#facts").text_content()
        findings.first.get_by_role("button").click()
        expect(page.locator("#facts")).not_to_have_text(before or "")
    expect(page.locator("#none")).to_have_text("No problems found.")
    expect_accessible(page)
    page.get_by_role("button", name="中文").click()
    expect(page.locator("h1")).to_have_text("检查错误")
    expect_accessible(page)


def test_a_gallery_without_mistakes_and_none_at_all(page: Page, settings: Settings, store: GalleryStore) -> None:
    shelf(settings, store, "good", bad=False)
    page.goto("/galleries/good/lint")
    page.get_by_label("Level").select_option("error")
    expect(page.locator("#none")).to_have_text("No problems found.")
    for path in ("/galleries/none/lint", "/galleries/none/versions"):
        page.goto(path)
        expect(page.locator("#error")).to_contain_text("No such gallery.")
        expect_accessible(page)


def test_versions_are_compared_side_by_side(
    page: Page, settings: Settings, store: GalleryStore, tmp_path: Path
) -> None:
    shelf(settings, store)
    gone, renamed, *_ = store.items("shelf")
    assert page.request.delete(f"/v1/galleries/shelf/items/{gone.id}").ok
    assert page.request.patch(f"/v1/galleries/shelf/items/{renamed.id}", data={"label": "green tea"}).ok
    page.goto("/galleries/shelf")
    page.get_by_role("link", name="Compare version 2 with the current one").click()
    expect(page.locator("#summary")).to_have_text("0 added, 1 removed, 1 relabelled")
    expect(page.locator("#removed li")).to_contain_text([gone.label])
    expect(page.locator("#relabelled li")).to_contain_text([f"{renamed.label} → green tea"])
    expect(page.locator("#added-part")).to_be_hidden()
    for picture in page.locator(".tiles img").all():
        expect(picture).to_have_js_property("complete", True)
    assert (
        page.evaluate("[...document.querySelectorAll('.tiles img')].map((one) => one.naturalWidth > 0)") == [True] * 2
    )
    keep(page, "versions", tmp_path)
    expect_accessible(page)
    page.get_by_label("From version").select_option("4")
    page.get_by_label("To version").select_option("2")
    expect(page.locator("#summary")).to_have_text("1 added, 0 removed, 1 relabelled")
    page.get_by_label("To version").select_option("4")
    expect(page.locator("#summary")).to_have_text("Both have the same pictures under the same labels.")
    page.reload()
    expect(page.get_by_label("From version")).to_have_value("4")
    page.get_by_label("From version").select_option("2")
    page.get_by_role("button", name="Put the first one in force").click()
    expect(page.locator("#undo")).to_contain_text("Version 2 is in force.")
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#undo")).to_have_text("Undone.")
    assert page.request.get("/v1/galleries/shelf").json()["version"] == 4


def test_what_the_service_says_of_two_versions_is_shown(page: Page, settings: Settings, store: GalleryStore) -> None:
    """As its route answers it, page by page, where it has one."""
    shelf(settings, store)
    first, second, third, fourth, *_ = store.items("shelf")

    def report(kind: str, before: Any, after: Any) -> dict[str, Any]:
        both = [one and {"id": one.id, "label": one.label, "box": None} for one in (before, after)]
        return {"kind": kind, "sha256": first.sha256, "before": both[0], "after": both[1]}

    pages = [
        [report("removed", first, None), report("relabelled", first, second)],
        [report("moved", third, third), report("added", None, fourth)],
    ]

    def answer(route: Route) -> None:
        last = "after=" in route.request.url
        body = {"changes": pages[last], "next_after": None if last else "v2.2"}
        route.fulfill(json=body)

    page.route("**/v1/galleries/shelf/versions/*/diff?*", answer)
    page.goto("/galleries/shelf/versions?from=1&to=2")
    expect(page.locator("#summary")).to_have_text("1 added, 1 removed, 1 relabelled, 1 with another box")
    expect(page.locator("#moved li")).to_contain_text([third.label])
    expect(page.locator("#relabelled li")).to_contain_text([f"{first.label} → {second.label}"])


def test_a_gallery_with_one_version_has_nothing_to_compare(page: Page, store: GalleryStore) -> None:
    store.create("empty")
    page.goto("/galleries/empty/versions")
    expect(page.locator("#summary")).to_have_text("Both have the same pictures under the same labels.")
    expect_accessible(page)
