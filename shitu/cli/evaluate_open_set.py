"""`shitu evaluate open-set`: how well unknown queries are kept apart from known ones."""

import json
from functools import partial
from pathlib import Path

import click

from contracts.names import shown
from shitu.cli.evaluate_options import DELIMITER, WRITE_TO, check_lists, end
from shitu.cli.options import (
    EMBEDDER,
    ENGINE,
    PRESENT,
    ROOT,
    examples,
    threads,
)
from shitu.cli.progress import report_progress, working
from shitu.cli.searched import Passed, found_photos
from shitu.cli.terminal import errors


@click.command(
    "open-set",
    short_help="How well known and unknown queries are separated.",
    epilog=examples("evaluate open-set --query query.txt --gallery gallery.txt --out eval"),
)
@click.option("--query", required=True, type=PRESENT, help="List of `path label` lines, or a folder for each label.")
@click.option("--gallery", type=PRESENT, help="The same for the gallery; default: each query searches the others.")
@click.option("--unknown", type=PRESENT, help="List or folder of pictures that have no right answer.")
@ROOT
@DELIMITER
@EMBEDDER
@ENGINE
@threads()
@WRITE_TO
def open_set(
    query: Path,
    gallery: Path | None,
    unknown: Path | None,
    root: Path | None,
    delimiter: str | None,
    embedder: str,
    engine: str,
    threads: int,
    out: Path | None,
) -> None:
    """Identification rate of known queries where 1, 5 or 10 % of the unknown ones are answered at all.

    Unknown are queries with labels that the gallery lacks, and those of --unknown; without any, every query is searched
    again in the gallery without its label. Also the calibration error of the probabilities, and the precision that
    min_precision 0.9 reaches.
    """
    from models.artifacts.folders import resolve
    from models.embedder import Embedder
    from models.evaluation.open_set import describe as described
    from models.evaluation.open_set import evaluate_open_set
    from models.training.data.photos import Photo
    from models.training.data.query_photos import listed_photos
    from models.training.data.readers.pictures import faults_of

    for option in ("root", "delimiter"):
        check_lists(option, query, gallery, unknown)
    passed = Passed()
    with errors():
        read = partial(listed_photos, root=root, delimiter=delimiter, refuse=passed.leave_out)
        queries = read(query)
        alone = gallery is None or gallery.resolve() == query.resolve()
        searched = None if alone or gallery is None else read(gallery)
        if unknown is not None and unknown.is_dir():  # labels or none: they mean nothing here
            paths = list(found_photos([unknown]))
            broken = faults_of(paths)
            for path, fault in broken.items():
                passed.leave_out(f"{path}: {fault}")
            unknowns = [Photo(path, path.name, "") for path in paths if path not in broken]
            if not unknowns:
                raise click.ClickException(f"there are no pictures in {shown(unknown)} that can be used")
        else:
            unknowns = [] if unknown is None else read(unknown)
        with working("Loading the embedder"):
            embed = Embedder(resolve(embedder), engine, threads)
        report = json.dumps(
            described(evaluate_open_set(embed, queries, searched, unknowns, report_progress())), indent=2
        )
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
            (out / "metrics.json").write_text(report + "\n", encoding="utf-8")
    click.echo(report)
    end(passed, query, gallery, unknown)
