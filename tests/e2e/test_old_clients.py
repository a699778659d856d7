"""What clients of PaddleX serving and of Paddle Serving send, answered by a running service: an index, photos, errors."""

from __future__ import annotations

import ast
import base64
import json
from typing import Any

from infra.stack.launcher import Stack
from tests.e2e.service import Service, encode, pattern

TEA, COLA, RICE = (encode(pattern(seed)) for seed in (1, 9, 17))


def text(picture: bytes) -> str:
    return base64.b64encode(picture).decode()


def answered(service: Service, path: str, body: dict[str, Any], status: int = 200) -> Any:
    answer = service.http.post(f"{service.base_url}{path}", json=body, timeout=60)
    assert answer.status_code == status, answer.text
    report = answer.json()
    assert report["errorCode"] == (0 if status == 200 else status)
    return report["result"] if status == 200 else report


def test_an_index_of_paddlex_is_built_changed_and_searched(stack: Stack, service: Service) -> None:
    pairs = [{"image": text(TEA), "label": "tea"}, {"image": text(COLA), "label": "绿 茶"}]
    made = answered(service, "/shitu-index-build", {"imageLabelPairs": pairs})
    key = made["indexKey"]
    assert sorted(made["idMap"].values()) == ["tea", "绿 茶"]
    more = {"indexKey": key, "imageLabelPairs": [{"image": text(RICE), "label": "rice"}]}
    ids = answered(service, "/shitu-index-add", more)["idMap"]
    assert answered(service, "/shitu-index-add", more)["idMap"] == ids  # adding again changes nothing
    assert [one["version"] for one in service.get(f"/v1/galleries/{key}/versions")["versions"]] == [1, 2, 3]

    def labels(**options: Any) -> list[str]:
        sent = {"image": text(COLA), "indexKey": key, "recThreshold": 0.9, **options}
        found = answered(service, "/shitu-infer", sent)["detectedObjects"]
        return [label["label"] for one in found for label in one["recResults"][:1]]

    assert "绿 茶" in labels()
    assert all(
        len(one["recResults"]) <= 1
        for one in answered(service, "/shitu-infer", {"image": text(COLA), "indexKey": key, "topk": 1})[
            "detectedObjects"
        ]
    )
    (gone,) = [int(number) for number, label in ids.items() if label == "绿 茶"]
    left = answered(service, "/shitu-index-remove", {"indexKey": key, "ids": [gone]})
    assert sorted(left["idMap"].values()) == ["rice", "tea"]
    assert labels() == []
    refused = answered(service, "/shitu-index-remove", {"indexKey": key, "ids": [gone]}, 404)
    assert refused["code"] == "item_not_found"
    assert answered(service, "/image-classification", {"image": text(TEA), "topk": 2})["categories"]


def test_a_picture_that_is_none_costs_the_others_nothing(service: Service) -> None:
    pairs = [{"image": text(TEA), "label": "tea"}, {"image": text(b"no picture"), "label": "cola"}]
    refused = answered(service, "/shitu-index-build", {"imageLabelPairs": pairs}, 409)
    assert "imageLabelPairs/1: " in refused["errorMsg"]
    key = refused["errorMsg"].partition("in the index ")[2].partition(". ")[0]
    assert [item["label"] for item in service.get(f"/v1/galleries/{key}/items")["items"]] == ["tea"]
    more = {"indexKey": key, "imageLabelPairs": pairs[1:]}
    assert "None of the pictures" in answered(service, "/shitu-index-add", more, 409)["errorMsg"]
    before = [one["name"] for one in service.get("/v1/galleries")["galleries"]]
    assert key in before
    assert (
        "None of the pictures"
        in answered(service, "/shitu-index-build", {"imageLabelPairs": pairs[1:]}, 409)["errorMsg"]
    )
    assert [one["name"] for one in service.get("/v1/galleries")["galleries"]] == before


def test_paddle_serving_s_pipeline_answers_as_theirs_does(service: Service) -> None:
    service.create_gallery("served")
    service.enroll("served", {"绿 茶": TEA, "cola": COLA})
    for photo, label in ((TEA, "绿 茶"), (COLA, "cola")):
        answer = service.http.post(
            f"{service.base_url}/recognition/prediction?gallery=served",
            data=json.dumps({"key": ["image"], "value": [text(photo)]}),  # their client names no media type
            timeout=60,
        )
        report = answer.json()
        assert (answer.status_code, report["err_no"], report["key"]) == (200, 0, ["result"]), report
        best = ast.literal_eval(report["value"][0])[0]
        assert (best["rec_docs"], best["rec_scores"] > 0.9) == (label, True)
