"""With `compat` at "paddleclas" the numbers of a file are taken as they are, as OpenCV does; otherwise its profile counts."""

import io
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from contracts.jobs import JobKind
from infra.jobs.records import Job, JobStatus
from infra.runtime.settings import Settings
from models.pictures.colour import code_points_profile
from worker import recognize as module
from worker.answer_cache import AnswerCache


class StoppedError(Exception):
    """The pixels were seen; nothing more is wanted."""


@pytest.mark.parametrize(("options", "managed"), [({}, True), ({"compat": "paddleclas"}, False)])
def test_compat_leaves_profiles_out(options: dict[str, Any], managed: bool) -> None:
    file = io.BytesIO()
    picture = np.full((20, 20, 3), (200, 100, 100), np.uint8)
    Image.fromarray(picture).save(file, "PNG", icc_profile=code_points_profile(12, 13))
    seen: list[int] = []

    def recognizer(image: Any, *_: Any) -> None:
        seen.extend(image[0, 0].tolist())
        raise StoppedError

    class Programs:
        def __enter__(self) -> SimpleNamespace:
            return SimpleNamespace(recognizer=SimpleNamespace(look=recognizer))

        def __exit__(self, *_: object) -> None: ...

    runtime = SimpleNamespace(
        objects=SimpleNamespace(get=lambda _: file.getvalue()),
        settings=Settings(),
        galleries=SimpleNamespace(
            current=lambda *_: SimpleNamespace(
                manifest=SimpleNamespace(name="g", version=1, item_count=0, calibration=None, embedder_digest="d"),
                gallery=SimpleNamespace(filtered=lambda _: None),
            )
        ),
        embedder_of=lambda _: "d",
        answers=AnswerCache(0, 1.0),
        models={},
        programs=lambda _: Programs(),
    )
    request = {"image": {"key": "k"}, "gallery": "g", "options": options}
    job = Job("rec_0", JobKind.RECOGNITION, JobStatus.PROCESSING, request, created_at=0.0)
    with pytest.raises(StoppedError):
        module.recognize(job, runtime, lambda: None)  # type: ignore[arg-type]
    assert (seen != [200, 100, 100]) is managed
