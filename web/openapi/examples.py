"""Examples for /openapi.json, one for each record that is sent or answered; a test holds each to its schema."""

from __future__ import annotations

from typing import Any

from web.openapi.example_records import (
    AT,
    BATCH_SUMMARY,
    BOX,
    DELIVERY,
    DIGEST,
    ENROLLMENT_JOB,
    EVALUATION_JOB,
    EVENT,
    FEEDBACK,
    GALLERY,
    HOOK,
    IMAGE,
    IMPORT_JOB,
    IMPORT_LINE,
    INDEX,
    ITEM,
    ITEM_RECORD,
    JOB,
    KEY,
    LATER,
    LINT_JOB,
    MADE_UPLOAD,
    MADE_WEBHOOK,
    MODELS,
    PHOTO_REQUEST,
    RECEIVER,
    RECOGNITION_JOB,
    REEMBEDDING_JOB,
    REFUSED_LINE,
    SENT,
    SHA256,
    UPLOADED,
    VERSION_DIFF,
    WEBHOOK,
    photo,
)
from web.paddlex import examples as paddlex
from web.paddlex import serving_records as paddle_serving

SCHEMA_PATH = "#/components/schemas/"
NAME = "example"


# by the names of the schemas
EXAMPLES: dict[str, Any] = {
    "RecognitionRequest": {"gallery": "drinks", "image": IMAGE, "options": {"min_precision": 0.8}, "metadata": {"shelf": "3"}},
    "PhotosRequest": {"gallery": "drinks", "images": [{"url": "https://shop.example/shelf.jpg"}, {"upload": UPLOADED["id"]}]},
    "ItemsRequest": {
        "items": [
            {"image": {"url": "https://shop.example/cola.jpg"}, "label": "cola", "metadata": {"brand": "x"}},
            {"image": {"upload": UPLOADED["id"]}, "label": "tea"},
        ]
    },
    "NamedItem": {"image": {"url": "s3://shop-pictures/2026/cola.jpg"}, "label": "cola"},
    "RestoreItemsRequest": {"label": "cola"},
    "RestoredItems": {**GALLERY, "restored": 12, "duplicates": 0},
    "ItemSearchRequest": {"image": IMAGE, "filter": ["brand:x"], "options": {"limit": 12}},
    "ComparisonRequest": {"version": 3},
    "ImageUpload": {"upload": UPLOADED["id"], "name": "shelf.jpg"},
    "UploadRequest": {"size": 184_320, "media_type": "image/jpeg", "name": "shelf.jpg"},
    "UploadShown": UPLOADED,
    "UploadMade": MADE_UPLOAD,
    "PictureLink": {"url": f"https://s3.shop.example/shitu/images/9f/{SHA256}?X-Amz-Signature=…", "expires_at": LATER},
    "DetectionRequest": PHOTO_REQUEST,
    "EmbeddingRequest": {**PHOTO_REQUEST, "embedder": "ppshitu-v2-embedder"},
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
    "ReembeddingJob": REEMBEDDING_JOB,
    "ReembeddingPage": {"reembeddings": [REEMBEDDING_JOB], "next_after": None},
    "ReembeddingRequest": {"embedder": "ppshitu-v2-embedder", "activate": True},
    "ReembeddingEvent": {"type": "reembedding.succeeded", "timestamp": LATER, "data": REEMBEDDING_JOB},
    "LeftOut": {
        "item_id": ITEM, "label": "cola",
        "error": {"code": "picture_missing", "message": "The item's picture is not kept.", "retryable": False},
    },
    "ImportPage": {"imports": [IMPORT_JOB], "next_after": None},
    "ImportReport": {"lines": [IMPORT_LINE, REFUSED_LINE], "total": 2, "next_after": None},
    "ImportRequest": {"source": "s3://shop-pictures/drinks", "activate": False},
    "ImportEvent": {"type": "import.succeeded", "timestamp": LATER, "data": IMPORT_JOB},
    "EnrollmentPage": {"enrollments": [ENROLLMENT_JOB], "next_after": None},
    "DetectionJob": photo("det", "detection", {"detections": [{"box": BOX, "confidence": 0.93}]}),
    "EmbeddingJob": photo("emb", "embedding", {"dim": 3, "embeddings": [{"box": BOX, "embedding": [0.6, 0.0, 0.8]}]}),
    "ClassificationJob": photo(
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
    "VersionList": {"gallery": "drinks", "current": 3, "versions": [{**GALLERY, "staged": False}, {**GALLERY, "version": 4, "item_count": 30, "staged": True}]},
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
        "version": "0.1.0", "workers": [{"name": "worker@shop", "queues": ["recognize", "enroll"], "models": MODELS, "embedders": [{"name": "shitu-embedder", "digest": DIGEST}]}],
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
    """Puts each record's example next to every place in the document that sends or answers it."""
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
                several = [one["$ref"].removeprefix(SCHEMA_PATH) for one in content.get("schema", {}).get("oneOf", ())]
                if several:
                    content["examples"] = {name: {"value": EXAMPLES[name]} for name in several if name in EXAMPLES}
