"""Pictures with several objects, found by the worker's detector where the question wants it."""

from __future__ import annotations

import io
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from infra.errors.jobs import ModelNotConfigured
from infra.galleries.store import Item, item_id
from infra.objects.store import image_digest
from models.synth.designs import design_product
from models.synth.products import packshot
from tests.linting import lint_waiting
from tests.openapi_checks import check
from tests.web.conftest import EMBEDDER
from web.routes import description
from worker.lint_gallery import lint_gallery

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask.testing import FlaskClient

    from web.services import Services

URL = "/v1/galleries/shelf/lint"


@pytest.fixture
def shelf(service: Services) -> list[Item]:
    """One object alone, two in a picture, one of these two, and an item whose picture is lost."""
    one, other = (packshot(design_product(seed), 200) for seed in (1, 2))
    both = np.concatenate([one, other], axis=1)
    items = []
    for number, (picture, box) in enumerate([(one, None), (both, None), (both, (0, 0, 200, 200))]):
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "PNG")
        sha256, label = image_digest(buffer.getvalue()), f"can {number}"
        key = service.objects.put_image(buffer.getvalue())
        items.append(Item(item_id(sha256, label, box), label, key, sha256, box, "2026-01-01T00:00:00Z"))
    lost = "0" * 64
    items.append(Item(item_id(lost, "lost"), "lost", f"images/00/{lost}", lost, None, "2026-01-01T00:00:00Z"))
    service.galleries.create("shelf", EMBEDDER)
    service.galleries.add("shelf", items, np.eye(4, 8, dtype=np.float32), EMBEDDER)
    return items


def test_they_are_found_where_that_is_wanted(client: FlaskClient, service: Services, shelf: list[Item]) -> None:
    plain = client.get(URL).get_json()
    wanted = client.get(f"{URL}?objects=true")
    assert wanted.status_code == 202
    check(wanted.get_json(), "Lint", description())
    assert wanted.get_json()["job"] != plain["job"]
    job_id = wanted.get_json()["job"]
    assert client.get(f"{URL}?objects=true").get_json()["job"] == job_id  # no second one
    assert client.get(f"/v1/lints/{job_id}").get_json()["request"]["objects"] is True
    assert lint_waiting(service.ledger, service.objects) == 2
    check(client.get(f"/v1/lints/{job_id}").get_json(), "LintJob", description())
    report = client.get(f"{URL}?objects=true").get_json()
    check(report, "Lint", description())
    (several,) = [one for one in report["findings"] if one["kind"] == "several_objects"]
    assert ([item["id"] for item in several["items"]], several["count"]) == ([shelf[1].id], 2)
    assert report["skipped"] == [{"kind": "several_objects", "reason": "1 pictures are not there or cannot be read"}]
    assert report["kinds"]["several_objects"] == report["levels"]["warning"] == 1
    without = client.get(URL).get_json()
    assert "several_objects" not in without["kinds"]
    assert without["skipped"][0]["kind"] == "several_objects"
    assert client.open(several["fix"]["path"], method=several["fix"]["method"]).status_code == 200


def test_a_look_that_dies_continues_where_it_was(
    service: Services, shelf: list[Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.several_objects.KEEP_S", -1)
    looked: list[int] = []

    def detector(image: Any) -> list[Any]:
        looked.append(image.shape[1])
        if len(looked) == 2:
            raise RuntimeError("died")
        return []

    runtime = worker(service, detector)
    job = service.ledger.create("lint", {"gallery": "shelf", "version": 2, "objects": True})
    with pytest.raises(RuntimeError, match="died"):
        lint_gallery(job, runtime, lambda _=None: None)
    lint_gallery(job, runtime, lambda _=None: None)
    assert len(looked) == 4  # the first picture once, the one that it died of again
    assert looked[1] == looked[2] != looked[0]


def test_without_a_detector_it_says_so(service: Services, shelf: list[Item]) -> None:
    job = service.ledger.create("lint", {"gallery": "shelf", "version": 2, "objects": True})
    with pytest.raises(ModelNotConfigured, match="without a detector"):
        lint_gallery(job, worker(service, None), lambda _=None: None)


def worker(service: Services, detector: Any) -> Any:
    @contextmanager
    def programs() -> Iterator[Any]:
        yield SimpleNamespace(detector=detector)

    return SimpleNamespace(
        store=service.galleries, objects=service.objects, settings=service.settings, programs=programs
    )
