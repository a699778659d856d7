"""The loop of correction on the page: photograph, see, say what is wrong, search again, and it is recognised."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.web.page.accessibility import expect_accessible
from tests.web.page.actions import enrolled_drinks, keep, scene, upload
from tests.web.page.stand_in import Worker


@pytest.fixture
def answered(worker: Worker, page: Page) -> Page:
    """A page with the answer to a photo: two recognised objects, one that is not sure enough."""
    enrolled_drinks(page)
    worker.may_finish.set()
    page.get_by_label("Choose photos").set_input_files(upload("shelf.jpg", scene()))
    expect(page.locator("#state")).to_have_text("Done: 2 products recognised.")
    return page


def feedback(page: Page) -> list[tuple[Any, ...]]:
    found = page.request.get("/v1/galleries/drinks/feedback").json()["feedback"]
    return [(one["box"], one["verdict"], one["answer"], one["label"]) for one in found]


def test_one_tap_confirms_and_one_ignores(answered: Page) -> None:
    page = answered
    page.get_by_role("button", name="Yes: 1 is green tea").click()
    expect(page.locator("#row-0 .status")).to_have_text("Confirmed.")
    page.get_by_role("button", name="Ignore 2").click()
    expect(page.locator("#row-1 .status")).to_have_text("Ignored.")
    assert feedback(page) == [
        ([60, 90, 260, 420], "right", "green tea", "green tea"),
        ([430, 10, 620, 300], "ignore", "cola", None),
    ]
    page.reload()
    expect(page.locator("#row-0 .status")).to_have_text("Confirmed.")  # what was said is there again
    expect(page.locator("#row-1 .status")).to_have_text("Ignored.")
    expect_accessible(page)


def test_a_wrong_answer_is_named_with_the_gallerys_labels_offered_and_recognised_next_time(
    answered: Page, tmp_path: Path
) -> None:
    page = answered
    page.get_by_role("button", name="A is something else").click()
    field = page.get_by_label("What A is")
    expect(field).to_be_focused()
    offered = page.locator(f"#{field.get_attribute('list')} option")
    expect(offered).to_have_count(2)
    field.fill("co")
    expect(offered).to_have_count(1)
    expect(offered).to_have_attribute("value", "cola")
    expect_accessible(page)
    field.fill("water <b>")
    page.locator("#unsure-A").get_by_role("button", name="Add it as this").click()
    expect(page.locator("#unsure-A .status")).to_have_text("Added as water <b>.")  # never read as HTML
    keep(page, "corrected", tmp_path)
    assert feedback(page) == [([400, 120, 560, 400], "wrong", None, "water <b>")]
    page.locator("#changed").get_by_role("button", name="Look again").click()
    expect(page.locator("#state")).to_have_text("Done: 3 products recognised.")
    expect(page.locator("#rows h3 .label")).to_have_text(["green tea", "cola", "water <b>"])


def test_a_box_is_drawn_by_hand_named_and_searched(answered: Page, tmp_path: Path) -> None:
    page = answered
    page.get_by_role("button", name="Draw a box").click()
    photo = page.locator("#shown").bounding_box()
    assert photo is not None
    scale = photo["width"] / 640
    page.mouse.move(photo["x"] + 40 * scale, photo["y"] + 20 * scale)
    page.mouse.down()
    page.mouse.move(photo["x"] + 140 * scale, photo["y"] + 90 * scale)
    page.mouse.up()
    sides = [page.locator(f"#box-{side}") for side in ("left", "top", "right", "bottom")]
    drawn = [int(side.input_value()) for side in sides]
    assert drawn == pytest.approx([40, 20, 140, 90], abs=2)
    page.mouse.move(photo["x"] + 140 * scale, photo["y"] + 90 * scale)  # a corner is pulled
    page.mouse.down()
    page.mouse.move(photo["x"] + 200 * scale, photo["y"] + 120 * scale)
    page.mouse.up()
    assert int(sides[2].input_value()) == pytest.approx(200, abs=2)
    keep(page, "drawing", tmp_path)
    expect_accessible(page)
    page.get_by_label("What is in the box").fill("juice")
    page.get_by_role("button", name="Add this box").click()
    expect(page.locator("#box-status")).to_have_text("Added as juice.")
    item = page.request.get("/v1/galleries/drinks/items?label=juice").json()["items"][0]
    assert item["box"] == [int(side.input_value()) for side in sides]
    page.get_by_role("button", name="Search this box").click()
    expect(page.locator("#state")).to_have_text("Done: 1 product recognised.")
    job = page.request.get(f"/v1/recognitions/{page.url.rpartition('#')[2]}").json()
    assert job["request"]["options"]["boxes"] == [item["box"]]


def test_a_box_is_corrected_by_keyboard_alone(answered: Page) -> None:
    page = answered
    page.get_by_role("button", name="Correct the box of 2").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#drawn")).to_be_focused()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowUp")
    values = [int(page.locator(f"#box-{side}").input_value()) for side in ("left", "top", "right", "bottom")]
    assert values == [436, 10, 626, 295]
    page.locator("#box-left").fill("420")
    page.get_by_label("What is in the box").press("Enter")  # the label of the answer stands there
    expect(page.locator("#box-status")).to_have_text("Added as cola.")
    assert feedback(page) == [([420, 10, 626, 295], "right", None, "cola")]
    page.locator("#drawn").focus()
    page.keyboard.press("Escape")
    expect(page.locator("#editor")).to_be_hidden()


def test_a_box_is_tapped(answered: Page) -> None:
    page = answered
    frame = page.locator("#frame").bounding_box()
    assert frame is not None
    page.mouse.click(frame["x"] + frame["width"] * 100 / 640, frame["y"] + frame["height"] * 300 / 480)
    expect(page.locator("#row-0 h3")).to_be_focused()
    expect(page.locator("#row-0")).to_have_class("strong")


def test_several_photos_are_sent_at_once_and_each_can_be_looked_at(worker: Worker, page: Page, tmp_path: Path) -> None:
    enrolled_drinks(page)
    worker.may_finish.set()
    names = ["one.jpg", "broken.jpg", "three.jpg", "four.jpg", "five.jpg"]
    page.get_by_label("Choose photos").set_input_files(
        [upload(name, scene() + bytes([at])) for at, name in enumerate(names)]
    )
    strip = page.locator("#photos li")
    expect(strip).to_have_count(5)
    expect(page.locator("#photos .succeeded")).to_have_count(4)
    expect(page.locator("#photos .failed .words")).to_have_text("failed")
    expect(page.locator("#caption")).to_have_text("one.jpg")
    expect(page.locator("#tags .tag")).to_have_count(3)
    keep(page, "several", tmp_path)
    expect_accessible(page)
    strip.nth(1).get_by_role("button").click()
    expect(page.locator("#photo-error")).to_contain_text("image_truncated")
    strip.nth(3).get_by_role("button").click()
    expect(page.locator("#caption")).to_have_text("four.jpg")
    expect(page.locator("#photo-error")).to_be_empty()
    expect(page.locator("#tags .tag")).to_have_count(3)


def test_tags_of_a_crowded_shelf_cover_neither_each_other_nor_their_neighbours(page: Page, tmp_path: Path) -> None:
    crowd = [
        {"box": [20 + 60 * column, 20 + 150 * row, 75 + 60 * column, 160 + 150 * row], "whole": False}
        for row in range(3)
        for column in range(10)
    ]
    covered = page.evaluate(
        """async crowd => {
          const { drawBoxes } = await import('/static/boxes.js');
          const canvas = Object.assign(document.createElement('canvas'), { width: 640, height: 480 });
          document.getElementById('shown').src = await new Promise((done) => canvas.toBlob((blob) => done(URL.createObjectURL(blob))));
          document.getElementById('picture').hidden = false;
          await document.getElementById('shown').decode();
          const objects = crowd.map((one, at) => ({ ...one, key: String(at + 1), answered: true, label: 'A product with a long name', after: '97 %', colour: '#0b6e75' }));
          drawBoxes({ width: 640, height: 480 }, objects, [], () => {});
          const area = (a, b) => Math.max(0, Math.min(a.right, b.right) - Math.max(a.left, b.left)) * Math.max(0, Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top));
          const tags = [...document.querySelectorAll('#tags .tag')].map((tag) => tag.getBoundingClientRect());
          const boxes = [...document.querySelectorAll('#boxes .line')].map((box) => box.getBoundingClientRect());
          let each = 0, others = 0;
          tags.forEach((tag, at) => {
            tags.slice(at + 1).forEach((other) => { each += area(tag, other); });
            const own = boxes.reduce((best, box) => Math.max(best, area(tag, box)), 0);
            others += boxes.reduce((sum, box) => sum + area(tag, box), 0) - own;
          });
          return [tags.length, each, others];
        }""",
        crowd,
    )
    keep(page, "crowded", tmp_path)
    count, each_other, neighbours = covered
    assert count == 30
    assert each_other == 0
    assert neighbours < 30 * 20  # a frame's width here and there, no more
