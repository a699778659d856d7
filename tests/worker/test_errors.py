"""What users read about a failed job: a stable code, a sentence, and never an unknown exception's text."""

from __future__ import annotations

import pytest
import redis

from infra.errors.galleries import EmbedderMismatch, GalleryBusy, GalleryNotFound
from infra.errors.service import StorageUnavailable
from models.errors import ArtifactError, EngineError, GalleryError, ImageError
from worker.errors import job_error


@pytest.mark.parametrize(
    ("error", "code", "retryable"),
    [
        (ImageError("The file ends too early.", "image_truncated"), "image_truncated", False),
        (GalleryError("The gallery's vectors are not finite."), "gallery_invalid", False),
        (ArtifactError("/srv/models is missing"), "artifact_invalid", True),
        (EngineError("out of threads"), "engine_failed", True),
        (GalleryNotFound("There is no gallery 'drinks'."), "gallery_not_found", False),
        (EmbedderMismatch("Made by another one."), "embedder_mismatch", False),
        (GalleryBusy("Another writer holds it."), "gallery_busy", True),
        (StorageUnavailable("The store does not answer."), "storage_unavailable", True),
        (redis.ConnectionError("redis://:password@host"), "redis_unavailable", True),
        (OSError(28, "No space left on device", "/srv/objects"), "storage_unavailable", True),
        (MemoryError(), "out_of_memory", True),
        (KeyError("/srv/secret"), "internal_error", True),
    ],
)
def test_every_error_has_its_code_and_says_whether_to_try_again(error: Exception, code: str, retryable: bool) -> None:
    found = job_error(error)
    assert (found.code, found.retryable) == (code, retryable)
    assert "/srv" not in found.message
    assert "password" not in found.message
    assert found.to_dict() == {"code": code, "message": found.message, "retryable": retryable}


def test_the_users_own_mistake_is_reported_in_full() -> None:
    assert job_error(ImageError("The file ends too early.")).message == "The file ends too early."
