"""`shitu keys`: API keys made, listed and revoked, in the Redis of the settings or through a service (`--server`)."""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click
import redis
from rich.table import Column, Table
from rich.text import Text

from contracts.keys import Scope, clean_key_name
from infra.jobs.records import isoformat
from infra.keys.store import Key, KeyStore, Limits
from infra.redis.check import explained
from infra.redis.client import connect, open_client
from infra.redis.server import RedisServer
from infra.runtime.settings import load_settings
from shitu.cli.options import JSON, SERVER, examples
from shitu.cli.suggestions import Group
from shitu.cli.tables import print_table
from shitu.cli.terminal import errors

if TYPE_CHECKING:
    from collections.abc import Iterator

DAY_S = 86_400.0
LIMIT = click.IntRange(0)


@click.group(cls=Group, epilog=examples("keys create --name till-3 --scope recognize", "keys list"))
def keys() -> None:
    """Make, list and revoke API keys, in the Redis of the settings or (--server) through a service."""


@keys.command(epilog=examples("keys create --scope admin", "keys create --name till-3 --scope recognize --requests-per-minute 60", "keys create --scope read --expires-days 30 --json"))  # fmt: skip
@click.option("--name", default="unnamed", show_default=True, help="What it is for.")
@click.option("--scope", "scopes", multiple=True, required=True, type=click.Choice([one.value for one in Scope]), help="read, recognize, manage or admin; each includes those before it.")  # fmt: skip
@click.option("--expires-days", type=click.FloatRange(0, 3660, min_open=True), help="Not valid any more after so many days.")  # fmt: skip
@click.option("--requests-per-minute", type=LIMIT, help="Its own limit instead of the settings'; 0: none.")
@click.option("--open-jobs", type=LIMIT, help="Its own limit instead of the settings'; 0: none.")
@click.option("--bytes-per-day", type=LIMIT, help="Its own limit instead of the settings'; 0: none.")
@JSON
@SERVER
def create(
    name: str,
    scopes: tuple[str, ...],
    expires_days: float | None,
    requests_per_minute: int | None,
    open_jobs: int | None,
    bytes_per_day: int | None,
    as_json: bool,
    server: str | None,
) -> None:
    """Make an API key and print it: it is shown this once, and only its hash is kept."""
    limits = Limits(requests_per_minute, open_jobs, bytes_per_day)
    expires_in_s = None if expires_days is None else expires_days * DAY_S
    try:
        name = clean_key_name(name)
    except ValueError as error:
        raise click.BadParameter(f"{error}.", param_hint="'--name'") from error
    with errors():
        if server is None:
            with opened() as store:
                key, token = store.create(name, [Scope(one) for one in scopes], expires_in_s, limits)
            made = {**described(key), "token": token}
        else:
            body = {"name": name, "scopes": list(scopes), "expires_in_s": expires_in_s, "limits": asdict(limits)}
            made = _served(server).post("/keys", json=body)
    if as_json:
        click.echo(json.dumps(made, ensure_ascii=False, indent=2))
        return
    click.echo(f"{made['id']} ({made['name']}), scopes: {', '.join(made['scopes'])}. Keep the key: it is not shown again.", err=True)  # fmt: skip
    click.echo(made["token"])


@keys.command("list", epilog=examples("keys list", "keys list --json"))
@JSON
@SERVER
def list_keys(as_json: bool, server: str | None) -> None:
    """List all API keys: scopes, limits, and when each was last used."""
    with errors():
        if server is None:
            with opened() as store:
                found = [described(key) for key in store.all()]
        else:
            found = _served(server).get("/keys")["keys"]
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False, indent=2))
    elif found:
        table = Table(Column("key", no_wrap=True), Column("name", overflow="fold"), "scopes", "made", "last used", "expires", "limits")  # fmt: skip
        for one in found:
            limits = ", ".join(f"{limit.replace('_', ' ')}: {most}" for limit, most in one["limits"].items() if most is not None)  # fmt: skip
            table.add_row(one["id"], Text(one["name"]), ", ".join(one["scopes"]), one["created_at"], one["last_used_at"] or "never", one["expires_at"] or "never", limits)  # fmt: skip
        print_table(table)
    else:
        click.echo("There are no keys. `shitu keys create --scope admin` makes one.", err=True)


@keys.command(epilog=examples("keys revoke key_0123456789ab"))
@click.argument("key_id", metavar="ID")
@SERVER
def revoke(key_id: str, server: str | None) -> None:
    """Revoke the API key ID: from now on it opens nothing."""
    with errors():
        if server is None:
            with opened() as store:
                store.revoke(key_id)
        else:
            _served(server).delete(f"/keys/{quote(key_id, safe='')}")
    click.echo(f"{key_id} is revoked")


@contextlib.contextmanager
def opened() -> Iterator[KeyStore]:
    """The keys in the Redis of the settings; without one, in the data folder's own server, started where it does not run.

    Raises ServiceError, ClickException.
    """
    from infra.stack.installation import verify

    settings = load_settings()
    with contextlib.ExitStack() as stack:
        if settings.redis_url is None:
            server = RedisServer(settings.data_dir / "redis")
            if not _answers(server.url):
                stack.enter_context(server)
            client = stack.enter_context(contextlib.closing(connect(server.url, settings.redis_prefix)))
        else:
            verify(settings)
            client = stack.enter_context(contextlib.closing(open_client(settings)))
        try:
            yield KeyStore(client)
        except redis.RedisError as error:
            raise explained(error) from error


def described(key: Key) -> dict[str, Any]:
    """A key as JSON, the same as over HTTP."""
    return {
        "id": key.id,
        "name": key.name,
        "scopes": [scope.value for scope in key.scopes],
        "created_at": isoformat(key.created_at),
        "expires_at": isoformat(key.expires_at),
        "last_used_at": isoformat(key.last_used_at),
        "limits": asdict(key.limits),
    }


def _answers(url: str) -> bool:
    with contextlib.closing(connect(url)) as client:
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False


def _served(url: str) -> Any:
    from shitu.cli.server import Server

    return Server(url)
