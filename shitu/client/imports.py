"""Imports: many pictures at once into a gallery. Steps without I/O."""

from __future__ import annotations

import json
import mmap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shitu.client.exchange import Pages, Ref, Steps, by_pages, call, id_of, named
from shitu.client.pictures import Upload
from shitu.client.sending import Terms

if TYPE_CHECKING:
    import os

    from contracts.imports import ImportJob, ImportLine, LineStatus
    from contracts.jobs import Priority
    from contracts.options import Crop


def import_files(
    gallery: str,
    files: Sequence[str | os.PathLike[str] | Upload],
    *,
    crop: Crop | None = None,
    activate: bool = True,
    delimiter: str | None = None,
    metadata: Mapping[str, str] | None = None,
    priority: Priority | None = None,
    webhook_url: str | None = None,
    cancel_after_s: float | None = None,
    idempotency_key: str | None = None,
) -> Steps[ImportJob]:
    """Imports what the files are together: a zip, a list, an index, an export. The job as it was accepted.

    `activate` False: the version that it makes is staged. `delimiter`: of a list. Raises OSError for a file that can't be read.
    """
    terms = Terms(metadata, priority, webhook_url, cancel_after_s, idempotency_key)
    fields: dict[str, Any] = {**terms.fields(), "activate": json.dumps(activate)}
    fields |= {name: value for name, value in (("crop", crop), ("delimiter", delimiter)) if value is not None}
    sent = [("files", _upload(file)) for file in files]
    path = f"{named(gallery)}/imports"
    found: ImportJob = yield from call("POST", path, fields=fields, files=sent, headers=terms.headers)
    return found


def import_from(
    gallery: str,
    source: str,
    *,
    list_name: str | None = None,
    crop: Crop | None = None,
    activate: bool = True,
    delimiter: str | None = None,
    metadata: Mapping[str, str] | None = None,
    priority: Priority | None = None,
    webhook_url: str | None = None,
    cancel_after_s: float | None = None,
    idempotency_key: str | None = None,
) -> Steps[ImportJob]:
    """Imports an s3:// place, or a folder of the workers' machines, where the service allows it. `list_name`: of a list in it."""
    terms = Terms(metadata, priority, webhook_url, cancel_after_s, idempotency_key)
    reported = {"source": source, "list": list_name, "crop": crop, "activate": activate, "delimiter": delimiter}
    body = {**{name: value for name, value in reported.items() if value is not None}, **terms.members()}
    found: ImportJob = yield from call("POST", f"{named(gallery)}/imports", json=body, headers=terms.headers)
    return found


def report(job: Ref, *, status: LineStatus | None = None, page_size: int = 10_000) -> Pages[ImportLine]:
    """What became of each line, in their order. Raises Conflict before the job has succeeded."""
    return by_pages(f"/imports/{id_of(job)}/report", "lines", {"status": status, "limit": page_size})


def _upload(file: str | os.PathLike[str] | Upload) -> Upload:
    """The file without being read: it may be larger than memory."""
    if isinstance(file, Upload):
        return file
    path = Path(file)
    with path.open("rb") as opened:
        empty = path.stat().st_size == 0
        data: Any = b"" if empty else mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
    return Upload(path.name.encode("utf-8", "replace").decode(), data)
