"""`shitu gallery reembed`: a gallery's pictures embedded again with another embedder, here or through a service."""

from __future__ import annotations

import hashlib
import json
import time
from typing import Any

import click

from contracts.jobs import JobKind
from infra.galleries.staging import Stage
from infra.jobs.records import Job, JobStatus
from infra.objects.local import LocalStore
from shitu.cli.galleries import Stored, writing_store
from shitu.cli.gallery_evaluate import print_evaluation
from shitu.cli.options import GALLERY_NAME, JSON, SERVER, examples
from shitu.cli.progress import counted
from shitu.cli.server import Server
from shitu.cli.terminal import errors

STAGED = "cache/reembeddings"  # below the data folder: what an interrupted command has done
WHY_NOT = {
    "items_left_out": "it lacks items that the version in force has",
    "recall_lower": "it answers fewer of its own items right than the version in force",
    "gallery_changed": "the gallery changed meanwhile; run the command again",
}


@click.command(epilog=examples("gallery reembed drinks --embedder ppshitu-v2-embedder", "gallery reembed drinks --embedder ppshitu-v2-embedder --activate --server http://127.0.0.1:8000"))  # fmt: skip
@GALLERY_NAME
@click.option("--embedder", required=True, help="Name or folder; with --server one of the workers' embedders.")
@click.option("--activate", is_flag=True, help="Put the new version in force if it has all items and answers no fewer of them right.")  # fmt: skip
@JSON
@SERVER
def reembed(name: str, embedder: str, activate: bool, as_json: bool, server: str | None) -> None:
    """Embed the pictures of the gallery NAME again with another embedder, as a staged version that is then evaluated.

    Items keep their ids, labels and metadata. An interrupted command resumes where it was. Exit status 1 if items were
    left out, or if --activate was given and the version is not in force.
    """
    with errors():
        result = _here(name, embedder, activate) if server is None else _served(server, name, embedder, activate)
    if as_json:
        click.echo(json.dumps(result, ensure_ascii=False, indent=2))
    else:
        _print(name, result)
    if result["left_out_count"] or (activate and not result["activated"]):
        raise click.exceptions.Exit(1)


def _served(server: str, name: str, embedder: str, activate: bool) -> Any:
    report = counted("Embedding")

    def progress(job: Any) -> None:
        if job["progress"]:
            report(job["progress"]["done"], job["progress"]["total"])

    return Server(server).reembedded(name, embedder, activate, progress)


def _here(name: str, embedder: str, activate: bool) -> Any:
    from shitu.cli.gallery_import import open_runtime
    from worker.reembed import reembed as again

    galleries = Stored()
    galleries.one(name)  # a mistyped name is reported with what is like it
    store = writing_store(galleries.settings, galleries.objects)
    runtime = open_runtime(galleries.settings, galleries.objects, store, embedder, with_detector=False, others=True)
    base = store.manifest(name)
    key = json.dumps([name, base.generation, base.id, runtime.default_digest])
    job_id = "local-" + hashlib.sha256(key.encode()).hexdigest()[:24]  # the same when the command is run again
    folder = galleries.settings.data_dir / STAGED
    wanted = {"gallery": name, "embedder": runtime.default_digest, "activate": activate}
    job = Job(job_id, JobKind.REEMBEDDING, JobStatus.PROCESSING, wanted, time.time())
    report = {"embed": counted("Embedding"), "evaluate": counted("Evaluating")}

    def checkpoint(progress: dict[str, Any] | None = None) -> None:
        if progress is not None:
            report[progress["stage"]](progress["done"], progress["total"])

    stage = Stage(LocalStore(folder), job_id)
    result = again(job, runtime, checkpoint, stage=stage)
    stage.clear(keep_report=True)
    return result


def _print(name: str, result: Any) -> None:
    version, base = result["gallery"], result["base"]
    embedder = result["models"]["embedder"]["name"]
    click.echo(
        f"version {version['version']} of {name!r} has {version['items']} items by {embedder}, "
        f"of the {base['items']} of version {base['version']}"
    )
    for one in result["left_out"]:
        click.echo(f"left out: {one['item_id']} ({one['label']}): {one['error']['code']}", err=True)
    if result["left_out_count"] > len(result["left_out"]):
        click.echo(f"… and {result['left_out_count'] - len(result['left_out'])} more", err=True)
    print_evaluation(result["evaluation"])
    if result["activated"]:
        click.echo("it is in force")
        return
    why = WHY_NOT.get(result["not_activated"])
    click.echo("it is staged" + ("" if why is None else f", not in force: {why}"))
    click.echo(f"`shitu gallery activate {name} {version['version']}` puts it in force")
