"""How photos come to the page, in a real browser: chosen, taken with a camera, pasted, dropped; several at once."""

from __future__ import annotations

import base64

import pytest
from playwright.sync_api import Page, Route, expect

from tests.web.page.accessibility import expect_accessible
from tests.web.page.actions import enrolled_drinks, scene, upload
from tests.web.page.stand_in import Worker

# A transfer with files, as a paste or a drop carries it: a script cannot reach the real clipboard.
TRANSFER = """(names, data) => {
  const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0)), transfer = new DataTransfer();
  for (const name of names) transfer.items.add(new File([bytes], name, {type: "image/jpeg"}));
  return transfer;
}"""
PASTE = f"""([names, data]) => {{
  const clipboardData = ({TRANSFER})(names, data);
  document.body.dispatchEvent(new ClipboardEvent("paste", {{clipboardData, bubbles: true}}));
}}"""
DROP = f"""([names, data]) => {{
  const dataTransfer = ({TRANSFER})(names, data);
  for (const kind of ["dragenter", "dragover", "drop"]) document.querySelector("footer").dispatchEvent(new DragEvent(kind, {{dataTransfer, bubbles: true, cancelable: true}}));
}}"""


@pytest.mark.parametrize("way", ["camera", "paste", "drop"])
def test_photos_come_in_every_way(worker: Worker, page: Page, way: str) -> None:
    enrolled_drinks(page)
    worker.may_finish.set()
    data = base64.b64encode(scene()).decode()
    if way == "camera":
        camera = page.get_by_label("Take a photo")
        assert (camera.get_attribute("capture"), camera.get_attribute("accept")) == ("environment", "image/*")
        camera.set_input_files([upload("a.jpg", scene())])
    elif way == "paste":
        page.evaluate(PASTE, [["a.jpg"], data])
    else:
        page.evaluate(DROP, [["a.jpg", "b.jpg", "c.jpg", "d.jpg"], data])
        expect(page.locator("#photos li")).to_have_count(4)
        expect(page.locator("#photos li.succeeded")).to_have_count(4)
        expect_accessible(page)
    expect(page.locator("#state")).to_have_text("Done: 2 products recognised.")
    expect(page.locator("#caption")).to_have_text("a.jpg")
    expect(page.locator("#rows .sides canvas").first).to_be_visible()  # what was seen, next to the gallery's picture
    expect(page.locator("#rows .sides img").first).to_be_visible()


def test_a_photo_chosen_before_the_galleries_are_listed_waits_for_them(worker: Worker, page: Page) -> None:
    enrolled_drinks(page)
    worker.may_finish.set()
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/v1/galleries?*", hold)
    page.route("**/v1/galleries", hold)
    page.reload()
    page.get_by_label("Choose photos").set_input_files([upload("a.jpg", scene())])
    expect(page.locator("#photo-error")).to_be_empty()
    for route in held:
        route.continue_()
    expect(page.locator("#state")).to_have_text("Done: 2 products recognised.")


def test_galleries_that_cannot_be_listed_are_the_reason_given_for_a_photo_not_sent(page: Page) -> None:
    page.route("**/v1/galleries?*", lambda route: route.abort())
    page.route("**/v1/galleries", lambda route: route.abort())
    page.reload()
    page.get_by_label("Choose photos").set_input_files([upload("a.jpg", scene())])
    expect(page.locator("#photo-error")).to_contain_text("did not answer")
    expect(page.locator("#photo-error")).not_to_contain_text("No gallery yet")
