"""`shitu webhooks`: the registered endpoints of a running service."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click
from rich.table import Table

from contracts.events import event_filters
from contracts.names import shown
from shitu.cli.options import JSON, examples
from shitu.cli.server import Server
from shitu.cli.suggestions import Group
from shitu.cli.tables import print_table
from shitu.cli.terminal import errors

if TYPE_CHECKING:
    from shitu.cli.server import Json

SERVICE = click.option(
    "--server", metavar="URL", default="http://127.0.0.1:8000", show_default=True, help="The service at this address."
)
ID = click.argument("webhook_id", metavar="ID")


@click.group(cls=Group, epilog=examples("webhooks list", "webhooks create https://example.com/hook"))
def webhooks() -> None:
    """Register, list, test and delete webhook endpoints of a running service."""


@webhooks.command("list", epilog=examples("webhooks list", "webhooks list --json --server http://127.0.0.1:8000"))
@JSON
@SERVICE
def list_webhooks(as_json: bool, server: str) -> None:
    """List all endpoints: where they are, which events they get, and whether they are enabled."""
    with errors():
        found: list[Json] = Server(server).get("/webhooks")["webhooks"]
    if as_json:
        _print_json(found)
        return
    if not found:
        click.echo("There are no webhooks. `shitu webhooks create URL` registers one.", err=True)
        return
    table = Table("id", "url", "events", "state", "description")
    for one in found:
        table.add_row(one["id"], one["url"], " ".join(one["events"]), _state(one), shown(one["description"]))
    print_table(table)


@webhooks.command(
    "create",
    epilog=examples(
        "webhooks create https://example.com/hook",
        "webhooks create https://example.com/hook --event recognition.failed",
    ),
)
@click.argument("url")
@click.option(
    "--event",
    "events",
    multiple=True,
    type=click.Choice(event_filters()),
    help="Send these events only; may be repeated. Default: all.",
)
@click.option("--description", default="", help="A note for people.")
@JSON
@SERVICE
def create(url: str, events: tuple[str, ...], description: str, as_json: bool, server: str) -> None:
    """Register the endpoint URL and print its secret, which is not shown again."""
    body: dict[str, Any] = {"url": url, "description": description}
    if events:
        body["events"] = list(events)
    with errors():
        made = Server(server).post("/webhooks", json=body)
    _print_secret(made, as_json)


@webhooks.command("rotate", epilog=examples("webhooks rotate whk_01h", "webhooks rotate whk_01h --overlap 3600"))
@ID
@click.option(
    "--overlap",
    type=click.FloatRange(0),
    default=86_400,
    show_default=True,
    metavar="SECONDS",
    help="How long the keys before are valid too; 0: they end now.",
)
@JSON
@SERVICE
def rotate(webhook_id: str, overlap: float, as_json: bool, server: str) -> None:
    """Make new keys for the endpoint ID and print its new secret."""
    with errors():
        made = Server(server).post(f"{_path(webhook_id)}/rotate", json={"overlap_s": overlap})
    _print_secret(made, as_json)


@webhooks.command("test", epilog=examples("webhooks test whk_01h", "webhooks test whk_01h --json"))
@ID
@JSON
@SERVICE
def test(webhook_id: str, as_json: bool, server: str) -> None:
    """Send a test message to the endpoint ID and print the answer; exit status 1 if it was not delivered."""
    with errors():
        service = Server(server)
        sent = service.post(f"{_path(webhook_id)}/test")
        found = service.get(f"{_path(webhook_id)}/deliveries/{quote(sent['id'])}")
    if as_json:
        _print_json(found)
    else:
        attempt = found["log"][-1] if found["log"] else None
        click.echo(f"{found['status']}: {found['url']}" + (f" ({found['last_error']})" if found["last_error"] else ""))
        if attempt is not None and attempt["status"] is not None:
            took = f" in {attempt['duration_ms']:.0f} ms" if attempt["duration_ms"] is not None else ""
            click.echo(
                f"status {attempt['status']}{took}" + (f": {shown(attempt['answer'])}" if attempt["answer"] else "")
            )
        if found["status"] == "pending":
            click.echo("No attempt was made yet; is a courier running?", err=True)
    sys.exit(0 if found["status"] == "delivered" else 1)


@webhooks.command("delete", epilog=examples("webhooks delete whk_01h", "webhooks delete whk_01h --yes"))
@ID
@click.option("--yes", is_flag=True, help="Delete without confirmation.")
@SERVICE
def delete(webhook_id: str, yes: bool, server: str) -> None:
    """Delete the endpoint ID with its log; pending messages are not sent."""
    with errors():
        service = Server(server)
        found = service.get(_path(webhook_id))
        if not yes:
            if not sys.stdin.isatty():
                raise click.UsageError("standard input is no terminal to confirm at; pass --yes to delete it")
            click.confirm(f"Delete {webhook_id} ({found['url']}) with its log?", abort=True, err=True)
        service.delete(_path(webhook_id))
    click.echo(f"deleted {webhook_id}")


def _path(webhook_id: str) -> str:
    return f"/webhooks/{quote(webhook_id, safe='')}"


def _state(one: Json) -> str:
    return "enabled" if one["enabled"] else f"disabled ({one['disabled']['reason']}, {one['disabled']['at']})"


def _print_secret(made: Json, as_json: bool) -> None:
    if as_json:
        _print_json(made)
        return
    click.echo(f"id          {made['id']}\nurl         {made['url']}\nevents      {' '.join(made['events'])}")
    click.echo(f"secret      {made['secret']}\npublic key  {made['public_key']}")
    if made["previous_keys"]:
        click.echo(f"The keys before are valid until {made['previous_keys']['valid_until']}.")
    click.echo("The secret is not shown again: keep it now.", err=True)


def _print_json(value: object) -> None:
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))
