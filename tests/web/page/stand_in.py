"""A worker's part in a thread, for the page: enrols, and answers every photo with the same boxes."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np

from infra.galleries.store import GalleryStore, Item, item_id
from infra.jobs.ledger import Job, JobLedger, Lease, open_ledger
from infra.objects.opening import open_store
from infra.runtime.settings import Settings
from tests.web.conftest import EMBEDDER, recognition_result

PLACES = ((0.2, 0.2), (0.8, 0.3), (0.3, 0.8), (0.7, 0.6))  # of agreeing points in a box


class Worker:
    """Does a worker's part in a thread: enrols what is requested, and answers every photo with the same two boxes."""

    def __init__(self, settings: Settings) -> None:
        self.ledger: JobLedger = open_ledger(settings)
        self._store = GalleryStore(open_store(settings.objects, settings.data_dir))
        self._stop = threading.Event()
        self.may_finish = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Worker:
        self.ledger.presence.worker_ready("worker-1", {}, ttl_s=600)
        self.ledger.presence.consumed("recognize")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.may_finish.set()
        self._stop.set()
        self._thread.join()

    def _answer(self, lease: Lease, job: Job) -> None:
        name = job.request["image"]["name"]
        if name == "broken.jpg":
            self.ledger.fail(
                lease, {"code": "image_truncated", "message": "The picture ends too early.", "retryable": False}
            )
            return
        while not self.may_finish.wait(0.02) and self.ledger.renew(lease):
            pass
        if self.ledger.get(job.id).cancel_requested:
            self.ledger.finish_canceled(lease)
        else:
            answer = self._recognize(job.request)
            self.ledger.succeed(lease, of_an_earlier_version(answer) if name == "old.jpg" else answer)

    def _run(self) -> None:
        while not self._stop.wait(0.02):
            for job_id in self.ledger.sweeper.overdue(now=time.time() + 1e6):
                lease = self.ledger.start(job_id)
                if lease is None:
                    continue
                job = self.ledger.get(job_id)
                if job.kind == "enrollment":
                    self.ledger.succeed(lease, self._enroll(job.request))
                else:
                    self._answer(lease, job)

    def _enroll(self, request: dict[str, object]) -> dict[str, object]:
        entries = request["items"]
        assert isinstance(entries, list)
        items = [
            Item(
                item_id(entry["sha256"], entry["label"], tuple(entry["box"]) if entry.get("box") else None),
                entry["label"],
                entry["image_key"],
                entry["sha256"],
                tuple(entry["box"]) if entry.get("box") else None,
                "2026",
            )
            for entry in entries
            if "error" not in entry
        ]
        name = str(request["gallery"])
        self._store.add(name, items, np.eye(len(items), 8, dtype=np.float32), EMBEDDER)
        ids = iter(item.id for item in items)
        outcomes = []
        for entry in entries:
            error = entry.get("error")
            outcome = {"status": "rejected", "item_id": None} if error else {"status": "added", "item_id": next(ids)}
            outcomes.append({"name": entry["name"], "label": entry["label"], "error": error, **outcome})
        return {"items": outcomes, "gallery": {"name": name, "version": 2, "items": len(items)}}

    def _recognize(self, request: dict[str, object]) -> dict[str, Any]:
        name = str(request["gallery"])
        result = recognition_result(name)
        result["image"] = {"width": 640, "height": 480}
        stored = self._store.items(name)
        matches = [
            {"label": item.label, "similarity": 0.91 - 0.2 * n, "item_id": item.id, "image_key": item.image_key}
            for n, item in enumerate(stored)
        ]
        guesses = [{**match, "probability": 0.97 - 0.5 * n} for n, match in enumerate(matches[:2])]
        points = [[0.14, 0.25, 0.3, 0.2], [0.36, 0.3, 0.68, 0.25], [0.2, 0.8, 0.4, 0.9], [0.35, 0.55, 0.65, 0.55]]
        evidence = {"inliers": 23, "points": points, "item_id": stored[0].id, "item_box": [20, 0, 100, 160]}
        first = {
            **result["recognitions"][0],
            "label": matches[0]["label"],
            "matches": matches,
            "candidates": guesses,
            "verification": evidence,
        }
        second = {
            **first,
            "box": [430, 10, 620, 300],
            "label": matches[1]["label"],
            "similarity": 0.688,
            "probability": 0.912,
            "verification": None,
        }
        result["recognitions"] = [first, second]
        corrected = next((item for item in stored if item.box == tuple(result["dropped"][0]["box"])), None)
        unsure = [{**guess, "probability": 0.4 - 0.25 * n} for n, guess in enumerate(guesses)]
        result["dropped"][0] = {**result["dropped"][0], "matches": matches, "candidates": unsure}
        if request["image"]["name"] == "unsure.jpg":  # type: ignore[index]
            left, top, right, bottom = result["dropped"][0]["box"]
            inside = [[(left + x * (right - left)) / 640, (top + y * (bottom - top)) / 480] for x, y in PLACES]
            seen = [[*place, *point[2:]] for place, point in zip(inside, points, strict=True)]
            result["dropped"][0]["verification"] = {**evidence, "points": seen, "item_id": stored[1].id}
            covered = {**second, "source": "detection", "reason": "suppressed", "suppressed_by": first["box"]}
            del covered["label"]
            result["dropped"].append({**covered, "verification": evidence})
        if corrected is not None:  # what was corrected is recognised the next time
            match = {
                "label": corrected.label,
                "similarity": 0.99,
                "item_id": corrected.id,
                "image_key": corrected.image_key,
            }
            known = {
                **second,
                "box": list(corrected.box),
                "label": corrected.label,
                "probability": 0.98,
                "matches": [match],
            }
            result["recognitions"].append({**known, "candidates": [{**match, "probability": 0.98}]})
            del result["dropped"][0]
        boxes = request["options"].get("boxes")  # type: ignore[attr-defined]
        if boxes is not None:
            result["recognitions"] = [{**first, "box": box, "confidence": None, "source": "request"} for box in boxes]
            result["dropped"] = []
        return result


def of_an_earlier_version(result: dict[str, Any]) -> dict[str, Any]:
    """The answer as it was kept before there were probabilities."""
    later = {"probability", "candidates", "verification"}
    del result["decision"]
    for part in ("recognitions", "dropped"):
        result[part] = [{key: value for key, value in one.items() if key not in later} for one in result[part]]
    return result
