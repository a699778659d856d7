"""The page of all galleries, in a real browser."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page, expect

from tests.web.page.accessibility import expect_accessible
from tests.web.page.actions import keep


def test_galleries_are_made_and_deleted(page: Page, tmp_path: Path) -> None:
    page.get_by_role("link", name="Galleries").click()
    expect(page.locator("#none")).to_be_visible()
    expect_accessible(page)
    for name in ("drinks", "parts"):
        page.request.post("/v1/galleries", data={"name": name})
    page.reload()
    expect(page.locator("#rows tr")).to_have_count(2)
    keep(page, "galleries", tmp_path)
    page.get_by_role("button", name="Delete the gallery parts").click()
    expect(page.get_by_role("dialog")).to_contain_text("Delete parts with its 0 pictures")
    expect_accessible(page)
    page.get_by_role("button", name="Keep it").click()
    expect(page.locator("#rows tr")).to_have_count(2)
    page.get_by_role("button", name="Delete the gallery parts").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.locator("#status")).to_contain_text("parts is deleted.")
    expect(page.locator("#rows tr")).to_have_count(1)
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#status")).to_have_text("Undone.")
    expect(page.locator("#rows tr")).to_have_count(2)
    page.get_by_label("Name", exact=True).fill("Bad!")
    page.get_by_role("button", name="Create gallery").click()
    expect(page.locator("#error")).to_contain_text("gallery_name_invalid")
    page.get_by_role("button", name="中文").click()
    expect(page.locator("h1")).to_have_text("图库")
    expect(page.get_by_role("button", name="删除图库 drinks")).to_be_visible()
    expect_accessible(page)
