"""What a request may ask for besides the usual, through the running service with real workers."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.e2e.service import Service, encode, labels, pattern


@pytest.fixture(scope="module")
def shelf(service: Service) -> bytes:
    """A photo of three products side by side, of which the gallery `asking` knows the first two."""
    service.create_gallery("asking")
    service.enroll("asking", {f"pattern {seed}": encode(pattern(seed)) for seed in (20, 24)})
    return encode(np.hstack([pattern(seed) for seed in (20, 24, 28)]), quality=95)


def test_given_boxes_are_looked_up_and_nothing_else(service: Service, shelf: bytes) -> None:
    options = {"boxes": [[160, 0, 320, 160], [0, 0, 160, 160], [320, 0, 900, 160]]}
    result = service.recognized(shelf, "asking", options=json.dumps(options))
    by_box = {one["given"]: one for one in (*result["recognitions"], *result["dropped"])}
    assert [by_box[at].get("label") for at in range(3)] == ["pattern 24", "pattern 20", None]
    assert by_box[2]["box"] == [320, 0, 480, 160]
    assert set(labels(result)) == {"pattern 20", "pattern 24"}
