"""`shitu gallery add | remove --server`: pictures sent to a running service, a few at a time, and items removed from it."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from shitu.cli.galleries import print_counts
from shitu.cli.progress import tracked
from shitu.cli.server import Server, ServerError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from shitu.cli.searched import Passed

FILES_AT_ONCE = 20
BYTES_AT_ONCE = 16 * 1024 * 1024
TOO_MUCH = {"too_many_files", "body_too_large"}

Picture = tuple["Path", str, bytes]  # file, label, bytes


def add(url: str, gallery: str, pictures: Sequence[tuple[Path, str]], passed: Passed, *, skip: bool = False) -> None:
    """Adds the pictures (file, label) to the service's gallery, made if there is none, and prints what was done.

    What can't be used is counted in `passed`; `skip` leaves near duplicates out. Raises ServerError; what was sent before stays, and adding again is harmless.
    """
    server = Server(url)
    try:
        server.post("/galleries", json={"name": gallery})
    except ServerError as error:
        if error.code != "gallery_exists":
            raise
    done: Counter[str] = Counter()
    for batch in _batches(pictures, passed):
        done += _sent(server, gallery, batch, passed, skip)
    about = server.get(f"/galleries/{gallery}")
    print_counts(gallery, done["added"], done["duplicate"], about["version"], about["item_count"])


def remove(url: str, gallery: str, items: Sequence[str], labels: Sequence[str]) -> dict[str, Any]:
    """Removes the items of the labels, or one item, and gives the new version. Raises ServerError.

    The service makes a version of each request, so that what must go together has to be in one.
    """
    if len(items) > 1 or (items and labels):
        raise click.UsageError(
            "with --server name one --item, or only --label: what else goes together needs the store"
        )
    items_path = f"/galleries/{quote(gallery, safe='')}/items"
    server = Server(url)
    if items:
        return server.delete(f"{items_path}/{quote(items[0], safe='')}")
    return server.delete(items_path, label=list(labels))


def _batches(pictures: Sequence[tuple[Path, str]], passed: Passed) -> Iterator[list[Picture]]:
    batch: list[Picture] = []
    held = 0
    for path, label in tracked(pictures, "Sending"):
        try:
            data = path.read_bytes()
        except OSError as error:
            passed.refuse(path, str(error.strerror), "unreadable")
            continue
        if batch and (len(batch) == FILES_AT_ONCE or held + len(data) > BYTES_AT_ONCE):
            yield batch
            batch, held = [], 0
        batch.append((path, label, data))
        held += len(data)
    if batch:
        yield batch


def _sent(server: Server, gallery: str, batch: Sequence[Picture], passed: Passed, skip: bool) -> Counter[str]:
    """How many of the batch were added and duplicates. What is more than the service takes at once is sent in halves."""
    try:
        report = server.enrolled(gallery, batch, skip_near_duplicates=skip)
    except ServerError as error:
        if error.code in TOO_MUCH and len(batch) > 1:
            middle = len(batch) // 2
            halves = batch[:middle], batch[middle:]
            return sum((_sent(server, gallery, half, passed, skip) for half in halves), Counter[str]())
        if error.code not in {"image_rejected", "body_too_large"}:
            raise
        reasons = _reasons(error)
        for number, (path, _, _) in enumerate(batch):
            detail, code = reasons.get(number, (error.detail, error.code))
            passed.refuse(path, f"{detail} ({code})", code)
        return Counter()
    done: Counter[str] = Counter()
    for (path, _, _), item in zip(batch, report, strict=True):
        done[item["status"]] += 1
        if item["status"] == "rejected":
            passed.refuse(path, f"{item['error']['message']} ({item['error']['code']})", item["error"]["code"])
    return done


def _reasons(error: ServerError) -> dict[int, tuple[str, str]]:
    """Why each picture is refused, by its place."""
    reasons = {}
    for fault in error.errors:
        place = re.fullmatch(r"/images/(\d+)", fault["pointer"])
        if place is not None:
            reasons[int(place[1])] = (fault["detail"], fault.get("code", error.code))
    return reasons
