"""`shitu doctor`: whether all that the service needs is here, and what to do where it is not."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from infra.errors.service import ConfigurationError
from infra.runtime.settings import Settings, load_settings
from shitu.cli import doctor_checks as checks
from shitu.cli import doctor_services as services
from shitu.cli.doctor_checks import Finding
from shitu.cli.options import JSON, examples
from shitu.cli.progress import working

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}
WIDTH = max(len(name) for name in ("instructions", "galleries"))


@click.command(epilog=examples("doctor", "doctor --json"))
@JSON
def doctor(as_json: bool) -> None:
    """Check what the service needs on this machine: a line for each thing, ok, warn or fail, with a remedy.

    Settings, Python, cores and memory with the reason of their limits, instruction sets, engines, models, Redis, object
    store, galleries, disk and port. The exit status is 1 if a line is fail.
    """
    found = []
    for finding in _findings():
        found.append(finding)
        if not as_json:
            _print(finding)
    failed = [one for one in found if one.status == "fail"]
    warned = sum(one.status == "warn" for one in found)
    if as_json:
        report = {"ok": not failed, "findings": [asdict(one) for one in found]}
        click.echo(json.dumps(report, ensure_ascii=False, indent=2))
    else:
        click.echo(f"{len(found)} lines: {len(failed)} fail, {warned} warn")
    sys.exit(1 if failed else 0)


def _findings() -> Iterator[Finding]:
    try:
        settings = load_settings()
        yield Finding("settings", "ok", "valid; `shitu settings` shows them")
    except ConfigurationError as error:
        for problem in error.problems:
            yield Finding("settings", "fail", problem, "correct or unset that variable; docs/settings.md lists them")
        settings = Settings(data_dir=load_settings({}).data_dir)  # what else is amiss is of use all the same
    yield from checks.check_python()
    yield from checks.check_cores()
    yield from checks.check_memory(settings)
    yield from checks.check_instructions()
    yield from checks.check_engines(settings)
    for what, check in (
        ("Verifying the models", checks.check_models),
        ("Checking Redis", services.check_redis),
        ("Checking the object store", services.check_objects),
        ("Checking Milvus", services.check_milvus),
        ("Checking the disk", checks.check_disk),
        ("Checking the port", checks.check_port),
        ("Checking who may use the API", checks.check_keys),
    ):
        yield from _slow(what, check, settings)


def _slow(what: str, check: Callable[[Settings], Iterable[Finding]], settings: Settings) -> list[Finding]:
    with working(what):
        try:
            return list(check(settings))
        except Exception as error:  # the other checks are of use all the same; a text might hold a secret
            name = check.__name__.removeprefix("check_")
            return [Finding(name, "fail", f"could not be looked at ({type(error).__name__})", "report it as a bug")]


def _print(finding: Finding) -> None:
    mark = click.style(f"{finding.status:<4}", fg=COLOURS[finding.status], bold=finding.status != "ok")
    remedy = f"; remedy: {finding.remedy}" if finding.remedy else ""
    click.echo(f"{mark}  {finding.check:<{WIDTH}}  {' '.join(finding.detail.split())}{remedy}")
