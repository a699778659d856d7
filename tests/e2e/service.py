"""A client of the running service, as a user would write one: plain HTTP and polling; and pictures to send."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import cv2
import numpy as np
import requests
from numpy.typing import NDArray
from PIL import Image

from models.training.data.pool import on_grey, product_views

ANSWER_WITHIN_S = 60.0


@dataclass
class Service:
    """The service at `base_url`. Every method raises AssertionError if the service does not answer as documented."""

    base_url: str
    http: requests.Session = field(default_factory=requests.Session)

    def ask(
        self,
        photo: bytes,
        gallery: str,
        *,
        options: str = "{}",
        name: str = "photo.jpg",
        webhook_url: str | None = None,
    ) -> requests.Response:
        """POSTs a photo."""
        fields = {"gallery": gallery, "options": options}
        if webhook_url is not None:
            fields["webhook_url"] = webhook_url
        return self.http.post(
            f"{self.base_url}/v1/recognitions", data=fields, files={"image": (name, photo)}, timeout=30
        )

    def accepted(self, answer: requests.Response) -> dict[str, Any]:
        """The job of an accepted request."""
        assert answer.status_code == 202, answer.text
        job: dict[str, Any] = answer.json()
        assert answer.headers["Location"] == job["links"]["self"]
        return job

    def finished(self, job: dict[str, Any], within_s: float = ANSWER_WITHIN_S) -> dict[str, Any]:
        """The job once it has ended, by polling."""
        deadline = time.monotonic() + within_s
        while True:
            current = self.get(job["links"]["self"])
            if current["status"] in {"succeeded", "failed", "canceled"}:
                return current
            assert time.monotonic() < deadline, f"not finished within {within_s} s: {current}"
            time.sleep(0.02)

    def recognized(self, photo: bytes, gallery: str, *, options: str = "{}") -> dict[str, Any]:
        """The result of a photo that must succeed."""
        job = self.finished(self.accepted(self.ask(photo, gallery, options=options)))
        assert job["status"] == "succeeded", job["error"]
        result: dict[str, Any] = job["result"]
        return result

    def create_gallery(self, name: str) -> None:
        """An empty gallery."""
        answer = self.http.post(f"{self.base_url}/v1/galleries", json={"name": name}, timeout=10)
        assert answer.status_code == 201, answer.text

    def enroll(self, gallery: str, pictures: dict[str, bytes], *, crop: str = "whole") -> dict[str, Any]:
        """Adds one picture for each label and returns the job's result."""
        answer = self.http.post(
            f"{self.base_url}/v1/galleries/{gallery}/items",
            data={"labels": list(pictures), "crop": crop},
            files=[("images", (f"{label}.jpg", picture)) for label, picture in pictures.items()],
            timeout=30,
        )
        job = self.finished(self.accepted(answer))
        assert job["status"] == "succeeded", job["error"]
        result: dict[str, Any] = job["result"]
        return result

    def get(self, path: str) -> dict[str, Any]:
        """The JSON at `path`."""
        answer = self.http.get(self.base_url + path, timeout=10)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found


def labels(result: dict[str, Any]) -> list[str]:
    """What was recognised."""
    return [recognition["label"] for recognition in result["recognitions"]]


def encode(image: NDArray[np.uint8], file_format: str = "JPEG", **parameters: Any) -> bytes:
    """An image (H, W, 3) or (H, W) as a file."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, file_format, **parameters)
    return buffer.getvalue()


def pattern(seed: int, side_px: int = 160) -> NDArray[np.uint8]:
    """A picture like no other: a rendered product that no training saw, filling it, (side, side, 3)."""
    return np.asarray(cv2.resize(_product(seed), (side_px, side_px), interpolation=cv2.INTER_AREA), np.uint8)


@cache
def _product(seed: int) -> NDArray[np.uint8]:
    (view,) = product_views(4_000_000 + 4 * seed, 1, 320)  # four in a row are flavours of one design
    return on_grey(view)


def wait_for(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    """Returns once `condition` holds; fails after `timeout_s` seconds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.005)
