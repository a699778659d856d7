"""`shitu settings`: what is in force, where each value comes from, and what follows from it on this machine."""

from __future__ import annotations

import importlib.util
import json
import os
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import click
from rich.table import Column, Table
from rich.text import Text

from infra.errors.service import ConfigurationError
from infra.net.webhooks import KEPT_IN
from infra.runtime.machine import planned
from infra.runtime.settings import Settings, load_settings, variables
from shitu.cli.options import JSON, examples
from shitu.cli.tables import print_table

if TYPE_CHECKING:
    from collections.abc import Mapping

HIDDEN = "***"
SECRET = "SHITU_WEBHOOKS__SECRET"  # noqa: S105 - the variable's name
KEY = "SHITU_KEY"
REDIS = "SHITU_REDIS_URL"
SECRET_PARTS = re.compile(r"pass|secret|token|key\b|credential", re.IGNORECASE)


@dataclass(frozen=True)
class InForce:
    """A setting: its value (None: not set), the source ("default", "environment" or "file"), and why it is so."""

    name: str
    value: Any
    source: str
    why: str


@click.command(epilog=examples("settings", "settings --changed", "settings --json"))
@click.option("--changed", is_flag=True, help="Only those that are not at their defaults.")
@JSON
def settings(changed: bool, as_json: bool) -> None:
    """Show the settings in force, where each comes from, and why. Secrets are masked.

    They are what a command or a process started here, in this environment, would get. A wrong one is reported with all
    others that are wrong; exit status 1.
    """
    try:
        found = in_force(load_settings(), os.environ)
    except ConfigurationError as error:
        if as_json:
            click.echo(json.dumps({"problems": error.problems}, ensure_ascii=False, indent=2))
        raise click.ClickException(f"{error.detail} ({error.code})") from error
    found = [one for one in found if one.source != "default" or not changed]
    if as_json:
        click.echo(json.dumps([asdict(one) for one in found], ensure_ascii=False, indent=2))
        return
    table = Table(Column("setting", no_wrap=True), Column("value", overflow="fold"), "from", "why")
    for one in found:
        value = "" if one.value is None else json.dumps(one.value) if isinstance(one.value, list | bool) else one.value
        table.add_row(one.name, Text(str(value)), one.source, Text(one.why))
    print_table(table)


def in_force(chosen: Settings, env: Mapping[str, str]) -> list[InForce]:
    """Every setting of `chosen`, which were read from `env`."""
    found = []
    for name, path in variables().items():
        value: Any = chosen
        for step in path:
            value = getattr(value, step)
        value = list(value) if isinstance(value, tuple) else str(value) if name == "SHITU_DATA_DIR" else value
        source, why = _source(name, env, chosen)
        if source != "environment":
            why = "; ".join(part for part in (_follows(name, chosen), why) if part)
        elif name == "SHITU_WORKER__CONCURRENCY" and value == 0:
            why = f"{why}; {_follows(name, chosen)}"
        if name == SECRET and source == "file":
            value = HIDDEN
        found.append(InForce(name, masked(name, value), source, why))
    return found


def masked(name: str, value: Any) -> Any:
    """`value` as it may be shown: secrets and what may be a password in a URL are hidden."""
    if value is None or not isinstance(value, str):
        return value
    if name in {SECRET, KEY}:
        return " ".join(HIDDEN for _ in value.split())
    return masked_url(value) if "://" in value else value


def masked_url(url: str) -> str:
    """The URL without its password, be it before the host or in the query."""
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    name, colon, _ = user.partition(":")
    query = urlencode(
        [(key, HIDDEN if SECRET_PARTS.search(key) else text) for key, text in parse_qsl(parts.query)],
        safe="/*",
        quote_via=quote,
    )
    return parts._replace(netloc=f"{name}{colon}{HIDDEN if colon else ''}{at}{host}", query=query).geturl()


def _source(name: str, env: Mapping[str, str], chosen: Settings) -> tuple[str, str]:
    if env.get(name):
        return "environment", name
    if name == REDIS and env.get("REDIS_URL"):
        return "environment", "REDIS_URL"
    if name == SECRET and (chosen.data_dir / KEPT_IN).is_file():
        return "file", str(chosen.data_dir / KEPT_IN)
    empty = name in env or (name == REDIS and "REDIS_URL" in env)
    return "default", "empty in the environment, which counts as not set" if empty else ""


def _follows(name: str, chosen: Settings) -> str:  # noqa: PLR0911 - one sentence for each setting
    """What a value that was left open means here."""
    if name == "SHITU_DATA_DIR":
        return "var/ in the folder where the command is started"
    if name == REDIS:
        return "`shitu up` starts a Redis of its own; every other process needs one"
    if name == "SHITU_OBJECTS__URL":
        return f"the folder {chosen.data_dir / 'objects'}"
    if name == SECRET:
        return (
            "" if (chosen.data_dir / KEPT_IN).is_file() else f"made at the first start, in {chosen.data_dir / KEPT_IN}"
        )
    if name == "SHITU_KEYS__REQUIRED":
        return "not on loopback; on any other address the service does not start until it is said"
    if name == "SHITU_LOG__FORMAT":
        return "`shitu up` writes text unless it is set"
    if name == "SHITU_WORKER__ENGINE":
        return f"the first that is installed and reads the model: {', '.join(installed_engines()) or 'none is'}"
    if name == "SHITU_WORKER__POOL":
        return "threads for OpenVINO, prefork for Paddle"
    if name == "SHITU_WORKER__CONCURRENCY":
        plan = planned(chosen)
        return f"{plan.concurrency} at a time: {plan.reason}"
    if name == "SHITU_WORKER__PRECISION":
        return "the most exact one that a model has"
    return ""


def installed_engines() -> list[str]:
    """The engines whose packages are here, the preferred one first."""
    return [name for name in ("openvino", "paddle") if importlib.util.find_spec(name) is not None]
