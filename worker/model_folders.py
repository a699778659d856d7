"""The folders of the networks that the settings name; official ones are pulled at the start where they are not here yet."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from models.artifacts.download import OFFICIAL, pull
from models.artifacts.folders import default_cache_dir, resolve
from models.errors import ArtifactError

if TYPE_CHECKING:
    from pathlib import Path

REPORT_S = 5.0

log = logging.getLogger("shitu.worker")


def folder_of(name: str) -> Path:
    """The folder of a bundled, pulled or official model, or the folder of that name. Raises ArtifactError.

    Of several processes that want the same one the first downloads it; an interrupted download is resumed.
    """
    try:
        return resolve(name)
    except ArtifactError as error:
        if error.code != "artifact_missing" or name not in OFFICIAL:
            raise
    reported = time.monotonic()

    def progress(done: int, whole: int | None) -> None:
        nonlocal reported
        if time.monotonic() - reported >= REPORT_S:
            reported = time.monotonic()
            of = "" if whole is None else f" of {whole / 1e6:.1f}"
            log.info("model %s: %.1f%s MB", name, done / 1e6, of)

    log.info("model %s is not here; it is downloaded from %s", name, OFFICIAL[name].url)
    folder = pull(name, default_cache_dir(), progress)
    log.info("model %s: downloaded", name)
    return folder
