"""Examples for /openapi.json, one for each record that is sent or answered; a test holds each to its schema."""

from __future__ import annotations

from typing import Any

from web.paddlex import examples as paddlex
from web.paddlex import serving_records as paddle_serving

SCHEMA_PATH = "#/components/schemas/"
NAME = "example"

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


def _job(job_id: str, kind: str, path: str, request: dict[str, Any], result: dict[str, Any]) -> dict[str, Any]:
    link = f"/v1/{path}/{job_id}"
    return {
        "id": job_id, "kind": kind, "status": "succeeded", "created_at": AT, "started_at": AT, "completed_at": LATER,
        "expires_at": EXPIRES, "attempts": 1, "cancel_requested": False, "progress": None,
        "links": {"self": link, "cancel": f"{link}/cancel", "events": f"{link}/events"},
        "error": None, "webhook": None, "metadata": {"shelf": "3"}, "cancel_at": None, "priority": "normal",
        "batch": None, "trace_id": TRACE, "request": request, "result": result,
    }  # fmt: skip


def _photo(prefix: str, kind: str, result: dict[str, Any]) -> dict[str, Any]:
    about = {"image": {"width": 640, "height": 480}, "models": MODELS, "timings_ms": {"decode": 5.2, "total": 30.0}}
    job_id = f"{prefix}_01jdmz4k8t9v2w3x4y5z6a7b8c"
    return _job(job_id, kind, f"{kind}s", {"image": PICTURE, "options": {}}, {**about, **result})


RECOGNITION_JOB = _job(
    JOB, "recognition", "recognitions", {"gallery": "drinks", "image": PICTURE, "options": {}}, RECOGNIZED
)
ENROLLMENT_JOB = _job(
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
IMPORT_JOB = _job(
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
EVALUATION_JOB = _job(
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
LINT_JOB = _job(
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
# by the names of the schemas
EXAMPLES: dict[str, Any] = {
    "RecognitionRequest": {"gallery": "drinks", "image": IMAGE, "options": {"min_precision": 0.8}, "metadata": {"shelf": "3"}},
    "ComparisonRequest": {"version": 3},
    "ImageUpload": {"upload": UPLOADED["id"], "name": "shelf.jpg"},
    "UploadRequest": {"size": 184_320, "media_type": "image/jpeg", "name": "shelf.jpg"},
    "UploadShown": UPLOADED,
    "UploadMade": MADE_UPLOAD,
    "PictureLink": {"url": f"https://s3.shop.example/shitu/images/9f/{SHA256}?X-Amz-Signature=…", "expires_at": LATER},
    "DetectionRequest": PHOTO_REQUEST,
    "EmbeddingRequest": PHOTO_REQUEST,
    "ClassificationRequest": PHOTO_REQUEST,
    "EnrollmentRequest": {"from": {"job": JOB, "box": BOX}, "label": "cola"},
    "FeedbackRequest": {"box": BOX, "verdict": "wrong", "label": "cola zero"},
    "GalleryRequest": {"name": "drinks"},
    "GalleryChange": {"index": {"index_method": "HNSW32"}},
    "IndexRequest": {"index_method": "auto", "dist_type": "hamming", "rerank": 100},
    "GalleryIndex": INDEX,
    "ItemCorrection": {"label": "cola zero"},
    "LabelCorrection": {"label": "Coca-Cola", "merge": True},
    "MoveRequest": {"to": "snacks", "label": "crisps"},
    "KeyRequest": {"name": "till 3", "scopes": ["recognize"], "limits": {"requests_per_minute": 60}},
    "WebhookRequest": {"url": RECEIVER, "events": ["recognition.*"], "description": "The shop"},
    "WebhookChanges": {"enabled": True},
    "RotateRequest": {"overlap_s": 86400},
    "ReplayRequest": {"since": "2026-01-31T12:00:00Z", "only": "failed"},
    "RecognitionJob": RECOGNITION_JOB,
    "RecognitionPage": {"recognitions": [RECOGNITION_JOB], "next_after": None},
    "EnrollmentJob": ENROLLMENT_JOB,
    "ImportJob": IMPORT_JOB,
    "VersionDiff": VERSION_DIFF,
    "LintJob": LINT_JOB,
    "LintEvent": {"type": "lint.succeeded", "timestamp": LATER, "data": LINT_JOB},
    "EvaluationJob": EVALUATION_JOB,
    "EvaluationPage": {"evaluations": [EVALUATION_JOB], "next_after": None},
    "EvaluationRequest": {"against": 3},
    "EvaluationEvent": {"type": "evaluation.succeeded", "timestamp": LATER, "data": EVALUATION_JOB},
    "ImportPage": {"imports": [IMPORT_JOB], "next_after": None},
    "ImportReport": {"lines": [IMPORT_LINE, REFUSED_LINE], "total": 2, "next_after": None},
    "ImportRequest": {"source": "s3://shop-pictures/drinks", "activate": False},
    "ImportEvent": {"type": "import.succeeded", "timestamp": LATER, "data": IMPORT_JOB},
    "EnrollmentPage": {"enrollments": [ENROLLMENT_JOB], "next_after": None},
    "DetectionJob": _photo("det", "detection", {"detections": [{"box": BOX, "confidence": 0.93}]}),
    "EmbeddingJob": _photo("emb", "embedding", {"dim": 3, "embeddings": [{"box": BOX, "embedding": [0.6, 0.0, 0.8]}]}),
    "ClassificationJob": _photo(
        "cls",
        "classification",
        {"classifications": [{"box": BOX, "classes": [{"class_id": 7, "label": "drink", "score": 0.91}]}]},
    ),
    "Batch": {
        **BATCH_SUMMARY,
        "jobs": [
            {"index": 0, "name": "shelf.jpg", "id": JOB, "status": "succeeded", "error": None, "links": {"self": f"/v1/recognitions/{JOB}"}},
            {
                "index": 1, "name": "notes.jpg", "id": None, "status": "rejected", "links": None,
                "error": {"code": "image_not_an_image", "message": "The file is no picture.", "retryable": False},
            },
        ],
    },
    "BatchPage": {"batches": [BATCH_SUMMARY], "next_after": None},
    "Gallery": GALLERY,
    "GalleryList": {"galleries": [GALLERY]},
    "DeletedGalleryList": {
        "galleries": [
            {
                "name": "drinks", "generation": "1769860800000", "version": 3, "item_count": 24, "embedder_digest": DIGEST,
                "deleted_at": AT, "purge_at": "2026-02-07T12:00:00Z",
                "links": {"restore": "/v1/galleries/drinks/restore?generation=1769860800000"},
            }
        ]
    },
    "VersionList": {"gallery": "drinks", "current": 3, "versions": [{**GALLERY, "version": 2, "item_count": 12}, GALLERY]},
    "ItemPage": {"gallery": "drinks", "version": 3, "total": 24, "items": [ITEM_RECORD], "next_after": "v3.1"},
    "LabelPage": {
        "gallery": "drinks", "version": 3, "labels": [{"label": "cola", "item_count": 5, "item_id": ITEM}], "next_after": None,
    },
    "RenamedGallery": {**GALLERY, "version": 4, "changed": 5, "duplicates": 0},
    "RenamedItem": {**GALLERY, "version": 4, "changed": 1, "duplicates": 0, "item_id": "itm_0f1e2d3c4b5a69788796a5b4"},
    "MovedItems": {"source": GALLERY, "target": {**GALLERY, "name": "snacks"}, "moved": 5, "duplicates": 0},
    "Feedback": FEEDBACK,
    "FeedbackPage": {"gallery": "drinks", "feedback": [FEEDBACK], "counts": {"right": 8, "wrong": 1, "ignore": 0}, "next_after": None},
    "JobFeedback": {"feedback": [FEEDBACK]},
    "Lint": {
        "gallery": "drinks", "version": 3, "item_count": 24, "checked_items": 24, "complete": True,
        "levels": {"error": 1, "warning": 0, "info": 0}, "kinds": {"two_labels": 1},
        "findings": [
            {
                "kind": "two_labels", "level": "error", "message": "Two pictures of one thing have the labels cola and Coca-Cola.",
                "labels": ["cola", "Coca-Cola"],
                "items": [
                    {"id": ITEM, "label": label, "box": None, "links": {"image": f"/v1/galleries/drinks/items/{ITEM}/image"}}
                    for label in ("cola", "Coca-Cola")
                ],
                "similarity": 0.99, "count": None, "of": None,
                "fix": {
                    "method": "PATCH", "path": "/v1/galleries/drinks/items?label=cola", "content_type": "application/json",
                    "body": {"label": "Coca-Cola", "merge": True},
                    "command": "shitu gallery merge drinks --label cola --into Coca-Cola",
                },
            }
        ],
        "skipped": [{"kind": "several_objects", "reason": "Only the command looks for it, with --objects."}],
        "next_after": None,
    },
    "Erasure": {
        "id": "era_01jdmz4k8t9v2w3x4y5z6a7b8c", "kind": "items", "status": "done", "requested_at": AT, "completed_at": LATER,
        "gallery": "drinks", "item_ids": [ITEM], "job_id": None, "vectors": 1, "feedback": [], "messages": 0,
        "pictures": {"erased": [SHA256], "kept": [], "pending": []},
        "links": {"self": "/v1/erasures/era_01jdmz4k8t9v2w3x4y5z6a7b8c"},
    },
    "WebhookList": {"webhooks": [WEBHOOK]},
    "RegisteredWebhook": WEBHOOK,
    "WebhookWithSecret": MADE_WEBHOOK,
    "Delivery": DELIVERY,
    "DeliveryPage": {"deliveries": [DELIVERY], "next_after": None},
    "DeliveryWithLog": {
        **DELIVERY,
        "body": SENT,
        "log": [{"at": LATER, "attempt": 1, "status": 204, "error": None, "answer": "", "duration_ms": 18.5}],
    },
    "Replayed": {"replayed": 12, "more": False, "next_until": None},
    "EventPage": {"events": [{"id": EVENT, "cursor": "1769860800412-0", **SENT}], "next_after": "1769860800412-0", "more": False},
    "KeyList": {"keys": [KEY]},
    "KeyMade": {**KEY, "token": "shitu_0123456789ab_" + "0" * 52},
    "Health": {"status": "ok"},
    "Readiness": {
        "status": "ready",
        "detail": "Everything that a job needs is there.",
        "checks": {"redis": {"ok": True, "detail": "Redis answers and takes writes."}},
    },
    "System": {
        "version": "0.1.0", "workers": [{"name": "worker@shop", "queues": ["recognize", "enroll"], "models": MODELS}],
        "queues": [{"name": "recognize", "messages": 0, "consumed_age_s": 1.2}], "queued": 0, "processing": 1,
        "oldest_queued_age_s": 0.0, "finished": [{"kind": "recognition", "status": "succeeded", "count": 1204}],
        "webhooks_pending": 0,
    },
    "Problem": {
        "type": "urn:shitu:problem:gallery_not_found", "title": "No such gallery", "status": 404,
        "detail": "There is no gallery 'drinks'. GET /v1/galleries lists those there are, POST /v1/galleries creates one.",
        "code": "gallery_not_found", "retryable": False,
        "request_id": "6b1f0c1e4b8f4b0f9d8f0f4b6e1c2a3d",
    },
    "RecognitionEvent": SENT,
    "EnrollmentEvent": {"type": "enrollment.succeeded", "timestamp": LATER, "data": ENROLLMENT_JOB},
    "TestEvent": {"type": "webhook.test", "timestamp": AT, "data": {"webhook_id": HOOK, "message": "This is a test: nothing has happened."}},
    **paddlex.EXAMPLES,
    **paddle_serving.EXAMPLES,
}  # fmt: skip


def add_examples(document: dict[str, Any]) -> None:
    """Puts each record's example beside every place in the document that sends or answers it."""
    places = [document["paths"], document["webhooks"]]
    while places:
        place = places.pop()
        if isinstance(place, list):
            places += place
        elif isinstance(place, dict):
            places += place.values()
            for media, content in place.get("content", {}).items() if isinstance(place.get("content"), dict) else ():
                name = content.get("schema", {}).get("$ref", "").removeprefix(SCHEMA_PATH)
                if media != "multipart/form-data" and name in EXAMPLES and name != "Problem":
                    content["examples"] = {NAME: {"value": EXAMPLES[name]}}
