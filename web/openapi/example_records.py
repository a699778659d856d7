"""The records that the examples of /openapi.json are made of: one shop's jobs, gallery, webhook, key and uploads."""

from __future__ import annotations

from typing import Any

SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
DIGEST = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
JOB, ENROLLMENT, BATCH = "rec_01jdmz4k8t9v2w3x4y5z6a7b8c", "enr_01jdmz4k8t9v2w3x4y5z6a7b8d", "bat_01jdmz4k8t9v2w3x4y5z6a7b8e"  # fmt: skip
ITEM, HOOK, MESSAGE = "itm_5a8b9c0d1e2f3a4b5c6d7e8f", "whk_01jdmz4k8t9v2w3x4y5z6a7b8f", "dlv_01jdmz4k8t9v2w3x4y5z6a7b8g"
EVENT, TRACE = "msg_01jdmz4k8t9v2w3x4y5z6a7b8h", "0af7651916cd43dd8448eb211c80319c"
AT, LATER, EXPIRES = "2026-01-31T12:00:00.000Z", "2026-01-31T12:00:00.412Z", "2026-02-07T12:00:00.412Z"
BOX = [12, 30, 220, 410]
RECEIVER = "https://shop.example/hooks/shitu"

PICTURE = {"key": f"images/9f/{SHA256}", "name": "shelf.jpg", "width": 640, "height": 480, "format": "JPEG"}
MODELS = {
    "detector": {"name": "shitu-detector", "digest": DIGEST, "engine": "openvino", "precision": "fp32"},
    "embedder": {"name": "shitu-embedder", "digest": DIGEST, "engine": "openvino", "precision": "fp32"},
}
USED = {"name": "drinks", "version": 3, "items": 24}
MATCH = {"label": "cola", "similarity": 0.81, "item_id": ITEM, "image_key": f"images/9f/{SHA256}"}
CANDIDATE = {**MATCH, "probability": 0.97}
RECOGNIZED = {
    "image": {"width": 640, "height": 480},
    "recognitions": [
        {
            "box": BOX, "confidence": 0.93, "source": "detection", "label": "cola", "similarity": 0.81,
            "probability": 0.97, "matches": [MATCH], "candidates": [CANDIDATE],
            "verification": {"inliers": 23, "points": [[0.31, 0.42, 0.5, 0.38]], "item_id": ITEM, "item_box": None},
        }
    ],
    "dropped": [
        {
            "box": [300, 40, 420, 300], "confidence": 0.4, "source": "detection", "reason": "below_min_precision",
            "matches": [MATCH], "candidates": [{**CANDIDATE, "probability": 0.41}], "verification": None,
        }
    ],
    "reason": None,
    "decision": {
        "min_precision": 0.9, "probability_threshold": 0.62, "similarity_threshold": None, "calibration": "gallery",
        "calibration_queries": 48, "verify": "auto", "verified": 1,
    },
    "gallery": USED,
    "models": MODELS,
    "timings_ms": {"queue": 3.1, "fetch": 0.9, "decode": 5.2, "detect": 9.0, "crop": 0.3, "embed": 21.0, "search": 0.2, "total": 41.0},
}  # fmt: skip


def job(job_id: str, kind: str, path: str, request: dict[str, Any], result: dict[str, Any]) -> dict[str, Any]:
    """A succeeded job of any kind."""
    link = f"/v1/{path}/{job_id}"
    return {
        "id": job_id, "kind": kind, "status": "succeeded", "created_at": AT, "started_at": AT, "completed_at": LATER,
        "expires_at": EXPIRES, "attempts": 1, "cancel_requested": False, "progress": None,
        "links": {"self": link, "cancel": f"{link}/cancel", "events": f"{link}/events"},
        "error": None, "webhook": None, "metadata": {"shelf": "3"}, "cancel_at": None, "priority": "normal",
        "batch": None, "trace_id": TRACE, "request": request, "result": result,
    }  # fmt: skip


def photo(prefix: str, kind: str, result: dict[str, Any]) -> dict[str, Any]:
    """A succeeded job of one photo."""
    about = {"image": {"width": 640, "height": 480}, "models": MODELS, "timings_ms": {"decode": 5.2, "total": 30.0}}
    job_id = f"{prefix}_01jdmz4k8t9v2w3x4y5z6a7b8c"
    return job(job_id, kind, f"{kind}s", {"image": PICTURE, "options": {}}, {**about, **result})


RECOGNITION_JOB = job(
    JOB, "recognition", "recognitions", {"gallery": "drinks", "image": PICTURE, "options": {}}, RECOGNIZED
)
ENROLLMENT_JOB = job(
    ENROLLMENT,
    "enrollment",
    "enrollments",
    {
        "gallery": "drinks",
        "items": [{"name": "cola.jpg", "label": "cola", "image_key": f"images/9f/{SHA256}", "sha256": SHA256}],
        "crop": "whole",
    },
    {
        "items": [{"name": "cola.jpg", "status": "added", "item_id": ITEM, "label": "cola", "error": None}],
        "gallery": USED,
        "models": MODELS,
    },
)
IMPORT = "imp_01jdmz4k8t9v2w3x4y5z6a7b8c"
REFUSED_LINE = {
    "line": 3, "source": "gallery/7.jpg", "label": "milk", "status": "rejected", "item_id": None,
    "error": {"code": "image_truncated", "message": "The picture ends too early.", "retryable": False},
}  # fmt: skip
IMPORT_LINE = {"line": 1, "source": "gallery/1.jpg", "label": "cola", "status": "added", "item_id": ITEM, "error": None}
IMPORT_JOB = job(
    IMPORT,
    "import",
    "imports",
    {
        "gallery": "drinks",
        "files": [{"name": "drinks.zip", "bytes": 1048576, "sha256": SHA256}],
        "source": None,
        "list": None,
        "delimiter": None,
        "crop": "whole",
        "activate": True,
    },
    {
        "gallery": USED,
        "activated": True,
        "counts": {"total": 3, "added": 1, "duplicate": 1, "rejected": 1},
        "reasons": {"image_truncated": 1},
        "rejected": [REFUSED_LINE],
        "models": {"embedder": MODELS["embedder"]},
    },
)
INDEX = {
    "index_method": "auto", "dist_type": "IP", "in_use": "Flat", "state": "exact", "indexed_items": 0, "recall_at_1": 1.0,
    "build_s": 0.0, "size_bytes": 0,
}  # fmt: skip
SCORES = {
    "version": {"queries": 20, "right": 19, "recall_at_1": 0.95}, "against": {"queries": 20, "right": 18, "recall_at_1": 0.9},
    "gained": 1, "lost": 0,
}  # fmt: skip
EVALUATION_JOB = job(
    "evl_01jdmz4k8t9v2w3x4y5z6a7b8c",
    "evaluation",
    "evaluations",
    {"gallery": "drinks", "version": 4},
    {
        "version": {"name": "drinks", "version": 4, "items": 30},
        "against": USED,
        "leave_one_out": SCORES,
        "feedback": SCORES,
        "unusable_feedback": 0,
        "models": {"embedder": MODELS["embedder"]},
        "changes": [
            {"query": "item", "id": ITEM, "label": "cola", "effect": "gained", "before": "tea", "after": "cola"}
        ],
    },
)  # fmt: skip
REEMBEDDING_JOB = job(
    "ree_01jdmz4k8t9v2w3x4y5z6a7b8c",
    "reembedding",
    "reembeddings",
    {"gallery": "drinks", "embedder": "ppshitu-v2-embedder", "activate": True},
    {
        "gallery": {"name": "drinks", "version": 4, "items": 24},
        "base": USED,
        "activated": True,
        "not_activated": None,
        "left_out": [],
        "left_out_count": 0,
        "evaluation": EVALUATION_JOB["result"],
        "models": {"embedder": MODELS["embedder"]},
    },
)  # fmt: skip
LINT_JOB = job(
    "lnt_01jdmz4k8t9v2w3x4y5z6a7b8c",
    "lint",
    "lints",
    {"gallery": "drinks", "version": 3},
    {"gallery": USED, "levels": {"error": 1, "warning": 0, "info": 0}, "kinds": {"mislabelled": 1}},
)
VERSION_DIFF = {
    "gallery": "drinks", "version": 2, "to": 3,
    "counts": {"removed": 0, "relabelled": 1, "moved": 0, "added": 0, "unchanged": 23},
    "labels": [{"label": "cola", "before": 1, "after": 0}, {"label": "cola zero", "before": 0, "after": 1}],
    "changes": [
        {
            "kind": "relabelled", "sha256": SHA256, "before": {"id": ITEM, "label": "cola", "box": None},
            "after": {"id": "itm_0a8b9c0d1e2f3a4b5c6d7e8f", "label": "cola zero", "box": None},
        }
    ],
    "next_after": None,
}  # fmt: skip
GALLERY = {
    "name": "drinks", "version": 3, "item_count": 24, "created_at": AT, "embedder_digest": DIGEST, "dim": 512,
    "index": INDEX, "links": {"self": "/v1/galleries/drinks", "items": "/v1/galleries/drinks/items", "versions": "/v1/galleries/drinks/versions"},
}  # fmt: skip
ITEM_RECORD = {
    "id": ITEM, "label": "cola", "sha256": SHA256, "box": None, "added_at": AT, "metadata": {"brand": "x"},
    "links": {"image": f"/v1/galleries/drinks/items/{ITEM}/image"},
}  # fmt: skip
FEEDBACK = {
    "id": "fbk_01jdmz4k8t9v2w3x4y5z6a7b8c", "job_id": JOB, "gallery": "drinks", "version": 3, "box": BOX,
    "verdict": "wrong", "answer": "cola", "label": "cola zero", "created_at": AT, "image_key": f"images/9f/{SHA256}",
    "width": 640, "height": 480,
    "links": {"image": "/v1/galleries/drinks/feedback/fbk_01jdmz4k8t9v2w3x4y5z6a7b8c/image"},
}  # fmt: skip
WEBHOOK = {
    "id": HOOK, "url": RECEIVER, "events": ["recognition.*"], "description": "The shop", "enabled": True, "disabled": None,
    "failing_since": None, "failures": 0, "public_key": "whpk_Zm9yIGFuIGV4YW1wbGUgYWxvbmUsIDMyIGJ5dGVzIQA=",
    "previous_keys": None, "created_at": AT, "updated_at": AT,
    "links": {
        "self": f"/v1/webhooks/{HOOK}", "deliveries": f"/v1/webhooks/{HOOK}/deliveries",
        "test": f"/v1/webhooks/{HOOK}/test", "rotate": f"/v1/webhooks/{HOOK}/rotate",
    },
}  # fmt: skip
MADE_WEBHOOK = {**WEBHOOK, "secret": "whsec_Zm9yIGFuIGV4YW1wbGUgYWxvbmUsIDMyIGJ5dGVzIQA="}
DELIVERY = {
    "id": MESSAGE, "webhook_id": HOOK, "event_id": EVENT, "type": "recognition.succeeded", "job_id": JOB, "url": RECEIVER,
    "status": "delivered", "attempts": 1, "created_at": LATER, "next_at": None, "last_status": 204, "last_error": None,
    "links": {
        "self": f"/v1/webhooks/{HOOK}/deliveries/{MESSAGE}", "replay": f"/v1/webhooks/{HOOK}/deliveries/{MESSAGE}/replay",
        "stop": f"/v1/webhooks/{HOOK}/deliveries/{MESSAGE}/stop",
    },
}  # fmt: skip
SENT = {"type": "recognition.succeeded", "timestamp": LATER, "data": RECOGNITION_JOB}
KEY = {
    "id": "key_0123456789ab", "name": "till 3", "scopes": ["recognize"], "created_at": AT, "expires_at": None,
    "last_used_at": None, "limits": {"requests_per_minute": 60, "open_jobs": None, "bytes_per_day": None},
}  # fmt: skip
UPLOADED = {
    "id": "upl_01jdmz4k8t9v2w3x4y5z6a7b8c", "status": "open", "size": 184_320, "media_type": "image/jpeg",
    "name": "shelf.jpg", "created_at": AT, "expires_at": EXPIRES,
    "links": {"self": "/v1/uploads/upl_01jdmz4k8t9v2w3x4y5z6a7b8c"},
}  # fmt: skip
MADE_UPLOAD = {
    **UPLOADED,
    "send": {
        "method": "PUT", "url": "https://s3.shop.example/shitu/uploads/upl_01jdmz4k8t9v2w3x4y5z6a7b8c?X-Amz-Signature=…",
        "headers": {"Content-Type": "image/jpeg"}, "expires_at": LATER,
    },
}  # fmt: skip
IMAGE = {"base64": "iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAIAAACQkWg2AAAAF0lEQVR4nGNoaGggCTGMahjVMIJVAwB8ioABCKB7XQAAAABJRU5ErkJggg==", "name": "grey.png"}  # fmt: skip
PHOTO_REQUEST = {"image": IMAGE, "options": {}}

BATCH_SUMMARY = {
    "id": BATCH, "status": "completed", "created_at": AT, "completed_at": LATER, "expires_at": EXPIRES,
    "cancel_requested": False,
    "request": {"gallery": "drinks", "options": {}, "metadata": {}, "priority": "low"},
    "counts": {"total": 2, "queued": 0, "processing": 0, "succeeded": 1, "failed": 0, "canceled": 0, "rejected": 1},
    "links": {
        "self": f"/v1/batches/{BATCH}", "cancel": f"/v1/batches/{BATCH}/cancel", "events": f"/v1/batches/{BATCH}/events",
        "results": f"/v1/batches/{BATCH}/results",
    },
}  # fmt: skip
