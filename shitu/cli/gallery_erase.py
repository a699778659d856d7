"""`shitu gallery erase`: items, labels or a whole gallery for good, and the receipt."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from infra.erasure.eraser import Eraser, erased_digests, kept_pictures, pending_digests
from infra.objects.opening import open_store
from infra.runtime.settings import load_settings
from shitu.cli.galleries import writing_store
from shitu.cli.options import GALLERY_NAME, JSON, SERVER, examples
from shitu.cli.progress import working
from shitu.cli.terminal import errors

if TYPE_CHECKING:
    from infra.erasure.records import Erasure


@click.command(
    epilog=examples(
        "gallery erase drinks --label 'Green tea'",
        "gallery erase drinks --item itm_0123456789abcdef01234567 --yes",
        "gallery erase drinks --whole --server http://127.0.0.1:8000",
    )
)
@GALLERY_NAME
@click.option("--label", "labels", multiple=True, help="All items of this label; may be repeated.")
@click.option("--item", "items", multiple=True, help="The item of this id; may be repeated.")
@click.option("--whole", is_flag=True, help="The gallery, and all that could be restored of its name.")
@click.option("--yes", is_flag=True, help="Erase without confirmation.")
@JSON
@SERVER
def erase(
    name: str,
    labels: tuple[str, ...],
    items: tuple[str, ...],
    whole: bool,
    yes: bool,
    as_json: bool,
    server: str | None,
) -> None:
    """Erase items of the gallery NAME, or all of it, from every version, with their pictures. This cannot be undone."""
    if whole == bool(labels or items):
        raise click.UsageError("name what to erase: --label or --item, or --whole")
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("standard input is no terminal to confirm at; pass --yes to erase it")
        what = "the whole gallery" if whole else ", ".join((*labels, *items))
        click.confirm(f"Erase {what} from {name!r} for good?", abort=True, err=True)
    with errors(), working("Erasing"):
        report = _stored(name, labels, items, whole) if server is None else _served(server, name, labels, items, whole)
    if as_json:
        click.echo(json.dumps(report, ensure_ascii=False, indent=2))
        return
    for one in report:
        counts = {state: len(one["pictures"][state]) for state in ("erased", "kept", "pending")}
        pictures = ", ".join(f"{count} {state}" for state, count in counts.items() if count or state == "erased")
        click.echo(f"{one['id']} is {one['status']}: {one['vectors']} vectors erased; pictures: {pictures}")


def _stored(name: str, labels: tuple[str, ...], items: tuple[str, ...], whole: bool) -> list[dict[str, Any]]:
    settings = load_settings()
    if settings.redis_url is None:
        raise click.ClickException(
            "set REDIS_URL to the service's Redis, or use --server: jobs may still need a picture"
        )
    from infra.jobs.ledger import open_ledger
    from infra.redis.client import open_client

    store = writing_store(settings, open_store(settings.objects, settings.data_dir))
    grace_s, tombstone_s = settings.galleries.picture_grace_s, settings.jobs.tombstone_s
    eraser = Eraser(store, open_client(settings), open_ledger(settings), grace_s, tombstone_s)
    done = eraser.erase_gallery(name) if whole else eraser.erase_items(name, items, labels)
    return [_described(done)]


def _served(url: str, name: str, labels: tuple[str, ...], items: tuple[str, ...], whole: bool) -> list[dict[str, Any]]:
    from shitu.cli.server import Server

    server, path = Server(url), f"/galleries/{quote(name, safe='')}"
    if whole:
        return [server.delete(path, erase="true")]
    report = [server.delete(f"{path}/items/{quote(one, safe='')}", erase="true") for one in items]
    if labels:
        report.append(server.delete(f"{path}/items", label=list(labels), erase="true"))
    return report


def _described(done: Erasure) -> dict[str, Any]:
    """As docs/api.md has it, without the links."""
    names = (
        "id",
        "kind",
        "requested_at",
        "completed_at",
        "gallery",
        "item_ids",
        "job_id",
        "vectors",
        "feedback",
        "messages",
    )
    return {
        **{name: getattr(done, name) for name in names},
        "status": "pending" if done.completed_at is None else "done",
        "pictures": {
            "erased": erased_digests(done),
            "kept": [asdict(one) for one in kept_pictures(done)],
            "pending": pending_digests(done),
        },
    }
