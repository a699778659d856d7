"""Boxes in a request: every mistake that shows before the photo is decoded is named, in a form and in JSON."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.web.pictures import picture  # 96 x 64


def ask(client: FlaskClient, gallery: str, options: dict[str, Any], *, as_json: bool) -> Any:
    if as_json:
        image = {"base64": base64.b64encode(picture()).decode()}
        return client.post("/v1/recognitions", json={"gallery": gallery, "image": image, "options": options})
    form = {"gallery": gallery, "options": json.dumps(options), "image": (io.BytesIO(picture()), "a.jpg")}
    return client.post("/v1/recognitions", data=form)


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize(
    ("options", "pointers"),
    [
        ({"boxes": []}, ["/options/boxes"]),
        ({"boxes": [[0, 0, 5]]}, ["/options/boxes/0"]),
        ({"boxes": [[0, 0, 5, 5.5], [0, 0, 2_000_000, 5]]}, ["/options/boxes/0/3", "/options/boxes/1/2"]),
        ({"boxes": [[5, 0, 5, 9], [0, 0, 5, 5], [0, 9, 5, 3]]}, ["/options/boxes/0", "/options/boxes/2"]),
        ({"boxes": [[96, 0, 99, 9], [0, 0, 5, 5]]}, ["/options/boxes/0"]),
        ({"boxes": [[0, 0, 5, 5]], "compat": "paddleclas", "max_detections": 2}, ["/options/max_detections", "/options/compat"]),
    ],
)  # fmt: skip
def test_every_mistake_is_named(
    client: FlaskClient, drinks: str, options: dict[str, Any], pointers: list[str], as_json: bool
) -> None:
    refused = ask(client, drinks, options, as_json=as_json)
    assert (refused.status_code, refused.get_json()["code"]) == (422, "invalid_options")
    assert [error["pointer"] for error in refused.get_json()["errors"]] == pointers


@pytest.mark.parametrize("boxes", [None, [[0, 0, 5, 5]], [[-5, -5, 500, 500]], [[0, 70, 60, 90]]])
def test_what_may_lie_in_the_photo_is_taken(client: FlaskClient, drinks: str, boxes: Any) -> None:
    """The last only if the photo is upright the other way, which its header does not say."""
    taken = ask(client, drinks, {"boxes": boxes}, as_json=False)
    assert taken.status_code == 202
    assert taken.get_json()["request"]["options"] == {"boxes": boxes}


def test_of_a_photo_by_url_only_the_worker_can_say(client: FlaskClient, drinks: str) -> None:
    body = {
        "gallery": drinks,
        "image": {"url": "https://93.184.216.34/a.jpg"},
        "options": {"boxes": [[900, 0, 999, 9]]},
    }
    assert client.post("/v1/recognitions", json=body).status_code == 202
    body["options"] = {"boxes": [[9, 0, 9, 9]]}
    assert client.post("/v1/recognitions", json=body).status_code == 422
