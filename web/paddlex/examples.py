"""Examples of what the routes of PaddleX serving are sent and answer."""

from __future__ import annotations

from typing import Any

KEY = "paddlex-0d9a1c5e6f7a4b8c9d0e1f2a3b4c5d6e"
PICTURE = "aGVsbG8="
PAIRS = [{"image": PICTURE, "label": "cola"}, {"image": "https://shop.example/milk.jpg", "label": "milk"}]
NUMBERS = {"187723572702975": "cola", "20015998343868": "milk"}
SUCCESS = {"logId": "6b1f0c1e4b8f4b0f9d8f0f4b6e1c2a3d", "errorCode": 0, "errorMsg": "Success"}

EXAMPLES: dict[str, Any] = {
    "IndexBuildRequest": {"imageLabelPairs": PAIRS},
    "IndexAddRequest": {"imageLabelPairs": PAIRS, "indexKey": KEY},
    "IndexRemoveRequest": {"ids": [20015998343868], "indexKey": KEY},
    "InferRequest": {"image": PICTURE, "indexKey": KEY, "topk": 2},
    "ClassifyRequest": {"image": PICTURE, "topk": 2},
    "IndexAnswer": {**SUCCESS, "result": {"indexKey": KEY, "idMap": NUMBERS}},
    "InferAnswer": {
        **SUCCESS,
        "result": {
            "detectedObjects": [
                {"bbox": [60.0, 90.0, 260.0, 420.0], "recResults": [{"label": "cola", "score": 0.91}], "score": 0.93}
            ]
        },
    },
    "PaddleXError": {
        "logId": "6b1f0c1e4b8f4b0f9d8f0f4b6e1c2a3d",
        "errorCode": 404,
        "errorMsg": "There is no gallery 'paddlex-1'.",
        "code": "gallery_not_found",
    },
    "ClassifyAnswer": {**SUCCESS, "result": {"categories": [{"id": 7, "name": "bottle", "score": 0.82}]}},
}
