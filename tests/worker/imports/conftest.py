"""The worker without networks of its own, as enrolments are tested with."""

from __future__ import annotations

from tests.worker.test_enroll import embedder, runtime

__all__ = ["embedder", "runtime"]
