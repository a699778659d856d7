"""`shitu compare`: another system's procedure next to ours on the same photos and gallery."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table
from rich.text import Text

from contracts.names import shown
from shitu.cli.options import DETECTOR, EMBEDDER, JSON, PRESENT_FOLDER, examples, gallery, out
from shitu.cli.suggestions import Group
from shitu.cli.tables import print_table
from shitu.cli.terminal import errors, given
from shitu.paddleclas.command import CONFIG, OVERRIDES

if TYPE_CHECKING:
    from shitu.paddleclas.compare import Answer, Pair
    from shitu.paddleclas.config import Config


@click.group(cls=Group, epilog=examples("compare paddleclas photos --gallery index"))
def compare() -> None:
    """Compare another system's procedure with ours, on the same photos and gallery."""


@compare.command(
    "paddleclas",
    epilog=examples(
        "compare paddleclas photos --gallery index",
        "compare paddleclas photos -c inference_general.yaml --compat --out side-by-side",
    ),
)
@click.argument("folder", type=PRESENT_FOLDER)
@CONFIG
@OVERRIDES
@gallery("Their folder with vector.index and id_map.pkl; default: IndexProcess.index_dir.")
@DETECTOR
@EMBEDDER
@click.option("--compat", is_flag=True, help="Ours with the option compat, which reproduces theirs.")
@out("Where a picture of each photo is written; default: compare.")
@JSON
def paddleclas(
    folder: Path,
    config: Path | None,
    overrides: Sequence[str],
    gallery: str | None,
    detector: str,
    embedder: str,
    compat: bool,
    out: Path | None,
    as_json: bool,
) -> None:
    """Recognise the photos of FOLDER by PaddleClas' procedure and by ours, and show what differs. Exit status 1 where a photo can't be read."""
    from models.errors import ImageError
    from shitu.cli.annotate import own_name
    from shitu.cli.searched import found_photos, read_bytes
    from shitu.paddleclas.compare import Comparison, picture

    with errors():
        target = out or Path("compare")
        photos = list(found_photos([folder]))
        if not photos:
            raise click.ClickException(f"there are no pictures in {shown(folder)}")
        comparison = Comparison(_config(config, overrides, gallery, detector, embedder), compat=compat)
        target.mkdir(parents=True, exist_ok=True)
        taken: set[str] = set()
        rows: list[dict[str, Any]] = []
        table = _table()
        failed = []
        for path in photos:
            name = str(path.relative_to(folder))
            try:
                image, pairs = comparison(read_bytes(path))
            except ImageError as error:
                failed.append({"photo": name, "error": {"code": error.code, "message": error.detail}})
                click.echo(f"{shown(name)}: {error.detail} ({error.code})", err=True)
                continue
            file = target / own_name(Path(name).stem, ".png", taken)
            picture(image, pairs).save(file)
            rows.append({"photo": name, "picture": str(file), "answers": [pair.to_dict() for pair in pairs]})
            _add(table, name, pairs)
    answers = [answer for row in rows for answer in row["answers"]]
    same = sum(not answer["differs"] for answer in answers)
    if as_json:
        counts = {"photos": len(rows), "answers": len(answers), "alike": same}
        report = {"counts": counts, "engines": comparison.engines, "photos": rows, "failed": failed}
        click.echo(json.dumps(report, ensure_ascii=False))
    else:
        print_table(table)
        engines = ", ".join(f"{who} on {' and '.join(names)}" for who, names in comparison.engines.items())
        click.echo(
            f"{same} of {len(answers)} answers alike in {len(rows)} photos ({engines}); pictures in {shown(target)}"
        )
    if failed:
        raise SystemExit(1)


def _config(file: Path | None, overrides: Sequence[str], gallery: str | None, detector: str, embedder: str) -> Config:
    """Theirs where one is given, else what their inference_general.yaml says; options of the command line win."""
    from shitu.paddleclas.api import GENERAL
    from shitu.paddleclas.config import Config, ConfigError, read_config

    read = read_config(file, overrides)
    if file is None:
        table = {group: {**values, **(read.table.get(group) or {})} for group, values in GENERAL.items()}
    else:
        table = {**read.table, **{group: dict(read.table.get(group) or {}) for group in GENERAL}}
    for name, option, value in (
        ("det_inference_model_dir", "detector", None if detector == "none" else detector),
        ("rec_inference_model_dir", "embedder", embedder),
    ):
        if given(option) or (file is None and name not in table["Global"]):
            table["Global"][name] = value
    if gallery is not None:
        table["IndexProcess"]["index_dir"] = gallery
    if not table["IndexProcess"].get("index_dir"):
        raise ConfigError("--gallery names their gallery, or IndexProcess.index_dir does.")
    config = Config(table)
    config.checked()
    return config


def _table() -> Table:
    table = Table()
    for name in ("photo", "differs", "their label", "our label", "their score", "our score", "their box", "our box"):
        table.add_column(name, overflow="fold", justify="right" if name.endswith("score") else "left")
    return table


def _add(table: Table, name: str, pairs: Sequence[Pair]) -> None:
    if not pairs:
        table.add_row(Text(shown(name)), "–", *[""] * 6)
    for pair in pairs:
        cells = zip(_cells(pair.theirs), _cells(pair.ours), strict=True)
        table.add_row(
            Text(shown(name)), ", ".join(pair.differs) or "–", *(Text(cell) for both in cells for cell in both)
        )


def _cells(answer: Answer | None) -> tuple[str, str, str]:
    """Label, score and box."""
    if answer is None:
        return "", "", ""
    return shown(answer.label), f"{answer.score:.3f}", " ".join(map(str, answer.box))
