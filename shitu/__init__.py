"""ShiTu's public Python API; docs/python.md and docs/client.md have examples.

    from shitu import Recognizer, Detector, Embedder, Gallery, RecognizeOptions, resolve

    from shitu import Client, AsyncClient  # of a running service: docs/client.md

A name is loaded when it is first used: `import shitu` alone takes milliseconds and loads no engine.
Before anything else, `shitu.packages` makes sure that `models`, `web` and the like are ours.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from shitu import packages as packages

if TYPE_CHECKING:
    from contracts.webhook_signatures import WebhookSignatureError, verify_webhook
    from models.artifacts.folders import resolve
    from models.classifier import Classifier
    from models.detector import Detection, Detector
    from models.embedder import Embedder
    from models.errors import ImageError, ModelError
    from models.galleries.gallery import Gallery
    from models.galleries.joined import JoinedGallery
    from models.recognition.pipeline import RecognizeOptions, Recognizer
    from shitu.client.awaiting import AsyncClient
    from shitu.client.blocking import Client
    from shitu.client.errors import ClientError

__all__ = [
    "AsyncClient", "Classifier", "Client", "ClientError", "Detection", "Detector", "Embedder", "Gallery", "ImageError",
    "JoinedGallery", "ModelError", "RecognizeOptions", "Recognizer", "WebhookSignatureError", "resolve", "verify_webhook",
]  # fmt: skip

_API = {
    "AsyncClient": "shitu.client.awaiting",
    "Classifier": "models.classifier",
    "Client": "shitu.client.blocking",
    "ClientError": "shitu.client.errors",
    "Detection": "models.detector",
    "Detector": "models.detector",
    "Embedder": "models.embedder",
    "Gallery": "models.galleries.gallery",
    "JoinedGallery": "models.galleries.joined",
    "ImageError": "models.errors",
    "ModelError": "models.errors",
    "RecognizeOptions": "models.recognition.pipeline",
    "Recognizer": "models.recognition.pipeline",
    "WebhookSignatureError": "contracts.webhook_signatures",
    "resolve": "models.artifacts.folders",
    "verify_webhook": "contracts.webhook_signatures",
}


def __getattr__(name: str) -> Any:
    if name not in _API:
        raise AttributeError(f"module 'shitu' has no attribute {name!r}")
    try:
        module = importlib.import_module(_API[name])
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] in {*packages.OWN, "shitu"}:
            raise
        report = f"shitu.{name} needs {error.name!r}, which the client does without: pip install 'shitu[serve]'"
        raise ModuleNotFoundError(report, name=error.name) from error
    value = globals()[name] = getattr(module, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
