"""The loop of correction, with real processes: a photo is answered wrongly or not at all, is corrected, and is right next time."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tests.e2e.service import Service, encode, labels, pattern


def scene(seed: int, at: tuple[int, int], side_px: int, grey: int) -> NDArray[np.uint8]:
    """A photo of one product on a plain ground, (480, 640, 3)."""
    photo = np.full((480, 640, 3), grey, np.uint8)
    view = cv2.resize(pattern(seed, 320), (side_px, side_px), interpolation=cv2.INTER_AREA)
    photo[at[1] : at[1] + side_px, at[0] : at[0] + side_px] = view
    return photo


def enrolled(service: Service, gallery: str, job: dict[str, Any], box: list[int] | None, label: str) -> dict[str, Any]:
    answer = service.http.post(
        f"{service.base_url}/v1/galleries/{gallery}/items",
        json={"from": {"job": job["id"], "box": box}, "label": label},
        timeout=30,
    )
    done = service.finished(service.accepted(answer))
    assert done["status"] == "succeeded", done["error"]
    (item,) = done["result"]["items"]
    return dict(item)


def test_a_photo_that_was_not_recognised_is_after_its_correction(service: Service) -> None:
    service.create_gallery("corrected")
    service.enroll("corrected", {f"pattern {seed}": encode(pattern(seed)) for seed in range(4)})
    photo = encode(scene(60, (180, 90), 280, 200))
    job = service.finished(service.accepted(service.ask(photo, "corrected")))
    assert "the new one" not in labels(job["result"])
    seen = [*job["result"]["recognitions"], *job["result"]["dropped"]]
    box = next(one["box"] for one in seen if one["source"] == "detection")

    item = enrolled(service, "corrected", job, box, "the new one")
    assert item["status"] == "added"
    assert enrolled(service, "corrected", job, box, "the new one")["status"] == "duplicate"

    again = service.recognized(photo, "corrected")
    assert labels(again) == ["the new one"]
    assert again["recognitions"][0]["similarity"] > 0.99  # it was enrolled as it is searched
    assert again["recognitions"][0]["matches"][0]["item_id"] == item["item_id"]
    another = service.recognized(encode(scene(60, (60, 140), 230, 120), quality=70), "corrected")
    assert labels(another) == ["the new one"]
    assert service.get("/v1/galleries/corrected/labels?prefix=THE")["labels"] == [
        {"label": "the new one", "item_count": 1, "item_id": item["item_id"]}
    ]


def test_a_box_that_only_decoding_shows_to_be_wrong_is_rejected_by_the_worker(service: Service) -> None:
    """Of a photo without an answer nobody knows which way it is turned."""
    service.create_gallery("turned")
    cut_short = encode(scene(61, (10, 10), 200, 200))[:-3000]
    job = service.finished(service.accepted(service.ask(cut_short, "turned")))
    assert job["error"]["code"] == "image_truncated"
    item = enrolled(service, "turned", job, [10, 10, 200, 200], "tea")
    assert (item["status"], item["error"]["code"]) == ("rejected", "image_truncated")


def test_a_wrong_name_is_put_right_judged_and_gone_back_on(service: Service) -> None:
    """PATCH, feedback, move and activation are searched by the next job."""
    whole = '{"whole_image": "always", "detection_threshold": 1}'
    service.create_gallery("misnamed")
    service.enroll("misnamed", {"milk": encode(pattern(62)), "tea": encode(pattern(63))})
    photo = encode(pattern(62), quality=80)
    job = service.finished(service.accepted(service.ask(photo, "misnamed", options=whole)))
    assert labels(job["result"]) == ["milk"]
    url = f"{service.base_url}/v1"
    judged = service.http.post(
        f"{url}/recognitions/{job['id']}/feedback",
        json={"box": job["result"]["recognitions"][0]["box"], "verdict": "wrong", "label": "cola"},
        timeout=10,
    )
    assert (judged.status_code, judged.json()["answer"], judged.json()["label"]) == (201, "milk", "cola")

    items = f"{url}/galleries/misnamed/items"
    renamed = service.http.patch(f"{items}?label=milk", json={"label": "cola"}, timeout=10)
    assert renamed.status_code == 200, renamed.text
    assert labels(service.recognized(photo, "misnamed", options=whole)) == ["cola"]
    back = service.http.post(f"{url}/galleries/misnamed/versions/{renamed.json()['version'] - 1}/activate", timeout=10)
    assert back.status_code == 200
    assert labels(service.recognized(photo, "misnamed", options=whole)) == ["milk"]

    service.create_gallery("named")
    moved = service.http.post(f"{items}/move", json={"to": "named", "label": "milk"}, timeout=10)
    assert moved.status_code == 200, moved.text
    assert labels(service.recognized(photo, "named", options=whole)) == ["milk"]
    assert "milk" not in labels(service.recognized(photo, "misnamed", options=whole))
    kept = service.get("/v1/galleries/misnamed/feedback")
    assert kept["counts"] == {"right": 0, "wrong": 1, "ignore": 0}
    shown = service.http.get(service.base_url + kept["feedback"][0]["links"]["image"], timeout=10)
    assert shown.content == photo
