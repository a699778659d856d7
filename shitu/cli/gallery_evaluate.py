"""`shitu gallery evaluate`: whether a version answers better than another, here or through a service."""

from __future__ import annotations

import json
import time
from typing import Any

import click
from rich.table import Column, Table

from contracts.jobs import JobKind
from infra.jobs.records import Job, JobStatus
from shitu.cli.galleries import Stored
from shitu.cli.options import EMBEDDER, GALLERY_NAME, JSON, SERVER, examples
from shitu.cli.progress import counted
from shitu.cli.server import Server
from shitu.cli.tables import print_table
from shitu.cli.terminal import errors, given


@click.command(epilog=examples("gallery evaluate drinks 6", "gallery evaluate drinks 6 --against 3 --json"))
@GALLERY_NAME
@click.argument("version", type=click.IntRange(1))
@click.option("--against", type=click.IntRange(1), help="The version to compare with; default: the one in force.")
@EMBEDDER
@JSON
@SERVER
def evaluate(name: str, version: int, against: int | None, embedder: str, as_json: bool, server: str | None) -> None:
    """Compare the answers of VERSION of the gallery NAME, a staged one perhaps, with those of the one in force.

    The queries are items of both versions, each searched among the others, and the feedback on earlier answers. Exit status 1
    if VERSION answers fewer of them right.
    """
    if server is not None and given("embedder"):
        raise click.UsageError("--embedder has no effect with --server: the service's workers have theirs")
    with errors():
        report = (
            _here(name, version, against, embedder)
            if server is None
            else Server(server).evaluated(name, version, against)
        )
    if as_json:
        click.echo(json.dumps(report, ensure_ascii=False, indent=2))
    else:
        print_evaluation(report)
    ways = ("leave_one_out", "feedback")
    if sum(report[way]["lost"] for way in ways) > sum(report[way]["gained"] for way in ways):
        raise click.exceptions.Exit(1)


def _here(name: str, version: int, against: int | None, embedder: str) -> Any:
    from shitu.cli.gallery_import import open_runtime
    from worker.evaluate_version import evaluate_version

    galleries = Stored()
    galleries.one(name, version)  # a mistyped name is reported with what is like it
    notify = counted("Searching")

    def checkpoint(progress: dict[str, Any] | None = None) -> None:
        if progress is not None:
            notify(progress["done"], progress["total"])

    request: dict[str, Any] = {"gallery": name, "version": version, **({} if against is None else {"against": against})}
    job = Job("", JobKind.EVALUATION, JobStatus.PROCESSING, request, time.time())
    runtime = open_runtime(
        galleries.settings, galleries.objects, galleries.store, embedder, with_detector=False, others=True
    )
    return evaluate_version(job, runtime, checkpoint)


def print_evaluation(report: Any) -> None:
    """The result of an evaluation as a table, and the first answers that changed."""
    number, other = report["version"]["version"], report["against"]["version"]
    table = Table(
        "queries", Column("count", justify="right"), Column(f"version {number}", justify="right"),
        Column(f"version {other}", justify="right"), Column("gained", justify="right"), Column("lost", justify="right"),
    )  # fmt: skip
    for way, what in (("leave_one_out", "items, each without itself"), ("feedback", "feedback")):
        one = report[way]
        scores = [
            "" if one[side]["recall_at_1"] is None else f"{one[side]['recall_at_1']:.3f}"
            for side in ("version", "against")
        ]
        table.add_row(what, str(one["version"]["queries"]), *scores, str(one["gained"]), str(one["lost"]))
    print_table(table)
    for one in report["changes"][:20]:
        click.echo(
            f"{one['effect']}: {one['label']!r} is answered {one['after']!r}, before {one['before']!r} ({one['id']})"
        )
