"""`shitu export phone`: detector and embedder as ONNX Runtime Mobile runs them."""

from __future__ import annotations

import json
from pathlib import Path

import click
from rich.table import Table
from rich.text import Text

from contracts.names import shown
from shitu.cli.options import DETECTOR, EMBEDDER, FOLDER, JSON, examples, out
from shitu.cli.progress import working
from shitu.cli.tables import print_table
from shitu.cli.terminal import errors

MEGABYTE = 1e6


@click.command(
    "phone",
    epilog=examples(
        "export phone --out phone", "export phone --embedder runs/mine/artifact --detector none --out phone"
    ),
)
@DETECTOR
@EMBEDDER
@out("The folder to write.", FOLDER, required=True)
@JSON
def export_phone_command(detector: str, embedder: str, out: Path, as_json: bool) -> None:
    """Write the detector and the embedder for ONNX Runtime Mobile, each in one .ort file, and models.json, which says how to use them.

    Each is compared with the program that is served, and refused if their answers differ.
    """
    from models.artifacts.folders import resolve
    from models.export.phone import export_phone

    with errors():
        sources = {"detector": detector, "embedder": embedder}
        chosen = {role: resolve(name) for role, name in sources.items() if name != "none"}
        if not chosen:
            raise click.UsageError("--detector none and --embedder none leave nothing to export")
        with working("Converting, and comparing with the served programs"):
            made = export_phone(chosen, out)
    if as_json:
        rows = {
            role: {
                "name": one.name, "file": str(one.file), "bytes": one.size_bytes, "onnx_bytes": one.source_bytes,
                "difference": one.difference,
            }
            for role, one in made.items()
        }  # fmt: skip
        click.echo(json.dumps(rows, ensure_ascii=False))
        return
    table = Table()
    for name in ("", "model", "file", "size", "of ONNX", "difference"):
        table.add_column(name, justify="right" if name in {"size", "of ONNX", "difference"} else "left")
    for role, one in made.items():
        sizes = (f"{size / MEGABYTE:.2f} MB" for size in (one.size_bytes, one.source_bytes))
        table.add_row(role, Text(shown(one.name)), Text(shown(one.file)), *sizes, f"{one.difference:.1e}")
    print_table(table)
