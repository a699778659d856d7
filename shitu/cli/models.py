"""`shitu models list | pull | verify`: the models that ship, and the official ones that are one download away."""

from __future__ import annotations

import json
import sys

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Table
from rich.text import Text

from models.artifacts.credits import credits_of
from models.artifacts.folders import bundled, default_cache_dir, load_manifest, pulled, resolve, verify
from models.artifacts.manifest import Manifest
from models.errors import ArtifactError, ModelError
from shitu.cli.options import JSON, examples
from shitu.cli.progress import counted, tracked
from shitu.cli.suggestions import Group
from shitu.cli.tables import print_table
from shitu.cli.terminal import errors


@click.group("models", cls=Group, epilog=examples("models list", "models pull ppshitu-v2-embedder"))
def models_group() -> None:
    """List, pull and verify models."""


@models_group.command("list", epilog=examples("models list", "models list --json"))
@JSON
def list_models(as_json: bool) -> None:
    """List the bundled and the official models, and whether they are here."""
    models = _listed()
    if as_json:
        click.echo(json.dumps(models, ensure_ascii=False, indent=2))
        return
    table = Table(caption="`shitu models pull MODEL` fetches what is not here.")
    columns = (("model", True), ("task", True), ("what it is", False), ("licence", True), ("where", True))
    for column, fixed in columns:
        table.add_column(column, no_wrap=fixed)
    for one in models:
        table.add_row(one["name"], one["task"], Text(one["about"]), one["licence"], one["where"])
    print_table(table)


def _listed() -> list[dict[str, str]]:
    """All models; `where` is bundled, pulled, not here or damaged."""
    from models.artifacts.download import OFFICIAL

    models = []
    for name, folder in bundled().items():
        try:
            manifest = load_manifest(folder)
            models.append(_model(name, manifest.task, _about(manifest), manifest.licence, "bundled"))
        except ModelError as error:
            models.append(_model(name, "", error.detail, "", "damaged"))
    for name, model in OFFICIAL.items():
        try:
            here = pulled(name, default_cache_dir()) is not None
            models.append(_model(name, model.task, model.about, "", "pulled" if here else "not here"))
        except ModelError as error:
            models.append(_model(name, model.task, error.detail, "", "damaged"))
    return models


def _model(name: str, task: str, about: str, licence: str, where: str) -> dict[str, str]:
    return {"name": name, "task": task, "about": about, "licence": licence, "where": where}


def _about(manifest: Manifest) -> str:
    """The network, and what of others it was made with."""
    made_with = manifest.credits or credits_of(manifest.data, manifest.recipe)
    report = ", ".join(f"{one['source']} ({one['licence']})" for one in made_with)
    return f"{manifest.network}; made with {report}" if report else manifest.network


@models_group.command(epilog=examples("models pull ppshitu-v2-embedder"))
@click.argument("name")
@click.option("--url", help="Download from this mirror; checksums are verified as always.")
def pull(name: str, url: str | None) -> None:
    """Download the official model NAME and print its folder. An interrupted download is resumed."""
    from models.artifacts.download import pull as pull_model

    if (own := bundled().get(name)) is not None:
        with errors():
            manifest = load_manifest(own)
        click.echo(f"{name} comes with ShiTu: {_about(manifest)}; {manifest.licence}", err=True)
        click.echo(own)
        return

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(name, total=None)
        notify = None if console.is_terminal else counted("MiB of " + name)

        def arrived(done: int, total: int | None) -> None:
            bar.update(task, completed=done, total=total)
            if notify is not None:
                notify(done >> 20, None if total is None else total >> 20)

        try:
            folder = pull_model(name, default_cache_dir(), arrived, url=url)
        except ModelError as error:
            bar.stop()
            raise click.ClickException(error.detail) from error
    click.echo(folder)


@models_group.command("verify", epilog=examples("models verify", "models verify shitu-embedder --json"))
@click.argument("names", nargs=-1)
@JSON
def verify_models(names: tuple[str, ...], as_json: bool) -> None:
    """Check the files of NAMES (or folders) against their checksums; without NAMES, of all models that are here."""
    found = []
    for name in tracked(names or tuple(_present()), "Verifying"):
        try:
            files = verify(resolve(name))
            found.append({"name": name, "ok": True, "files": list(files)})
            if not as_json:
                click.echo(f"{name}: {len(files)} files are what they should be")
        except ModelError as error:
            found.append({"name": name, "ok": False, "code": error.code, "detail": error.detail})
            click.echo(f"{name}: {error.detail}", err=True)
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False, indent=2))
    sys.exit(0 if all(one["ok"] for one in found) else 1)


def _present() -> list[str]:
    from models.artifacts.download import OFFICIAL

    names = list(bundled())
    for name in OFFICIAL:
        try:
            if pulled(name, default_cache_dir()) is not None:
                names.append(name)
        except ArtifactError:  # its record is damaged; verifying it says so
            names.append(name)
    return names
