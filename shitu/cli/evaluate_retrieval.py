"""`shitu evaluate retrieval`: how an embedder ranks the photos of your lists."""

import json
from functools import partial
from pathlib import Path

import click

from shitu.cli.evaluate_options import DELIMITER, WRITE_TO, check_lists, end
from shitu.cli.options import (
    BINARY,
    EMBEDDER,
    ENGINE,
    IDS,
    PRESENT,
    RERANK,
    ROOT,
    examples,
    threads,
)
from shitu.cli.progress import report_progress, working
from shitu.cli.searched import Passed
from shitu.cli.terminal import errors


class WholeNumbers(click.ParamType[tuple[int, ...]]):
    """`1,5,10`."""

    name = "numbers"

    def convert(
        self, value: str | tuple[int, ...], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """Each once, ascending. Fails for anything else."""
        if isinstance(value, tuple):
            return value
        parts = [part.strip() for part in value.split(",")]
        if not all(part.isascii() and part.isdigit() and int(part) for part in parts):
            self.fail(f"{value!r} is not whole numbers from 1, with commas between them", param, ctx)
        return tuple(sorted({int(part) for part in parts}))


@click.command("retrieval", short_help="recall@k and more of an embedder.", epilog=examples("evaluate retrieval --query query.txt --gallery gallery.txt --root photos --top-k 1,5"))  # fmt: skip
@click.option(
    "--query", required=True, type=PRESENT, help="List of `path label [id]` lines, or a folder for each label."
)
@click.option("--gallery", type=PRESENT, help="The same for the gallery; default: each query searches the others.")
@ROOT
@DELIMITER
@IDS
@EMBEDDER
@ENGINE
@threads()
@click.option("--top-k", type=WholeNumbers(), default="1,5", show_default=True, help="For recall@k and precision@k.")
@click.option("--k-reciprocal", is_flag=True, help="Rank by k-reciprocal neighbours (Zhong et al., arXiv:1701.08398).")
@BINARY
@RERANK
@WRITE_TO
def retrieval(
    query: Path,
    gallery: Path | None,
    root: Path | None,
    delimiter: str | None,
    ids: bool,
    embedder: str,
    engine: str,
    threads: int,
    top_k: tuple[int, ...],
    k_reciprocal: bool,
    binary: bool,
    rerank: int,
    out: Path | None,
) -> None:
    """recall@k, retrieval_mAP, mINP and precision@k of an embedder on your lists; no photo is its own answer.

    With --ids photos of equal label and id are never matched. With --out: metrics.json, neighbours.png and the confusion of each query with its nearest.
    """
    from models.artifacts.folders import resolve
    from models.embedder import Embedder
    from models.evaluation.retrieval import evaluate_retrieval, summary, write_retrieval
    from models.training.data.query_photos import listed_photos

    for option in ("root", "delimiter", "ids"):
        check_lists(option, query, gallery)
    _check_ways(binary=binary, rerank=rerank, k_reciprocal=k_reciprocal)
    passed = Passed()
    with errors():
        read = partial(listed_photos, root=root, delimiter=delimiter, with_id=ids, refuse=passed.leave_out)
        queries = read(query)
        alone = gallery is None or gallery.resolve() == query.resolve()
        searched = None if alone or gallery is None else read(gallery)
        with working("Loading the embedder"):
            embed = Embedder(resolve(embedder), engine, threads)
        found = evaluate_retrieval(
            embed,
            queries,
            searched,
            embed.similarity_threshold,
            report_progress(),
            top_k,
            rerank=k_reciprocal,
            binary=binary,
            rerank_embeddings=rerank,
        )
        if out is not None:
            write_retrieval(found, out)
    click.echo(json.dumps(summary(found), indent=2))
    end(passed, query, gallery)


def _check_ways(*, binary: bool, rerank: int, k_reciprocal: bool) -> None:
    """Raises UsageError for ways of ranking that contradict each other."""
    if rerank and not binary:
        raise click.UsageError("--rerank goes with --binary; without it the ranking is by the float embeddings anyway")
    if k_reciprocal and binary:
        raise click.UsageError("--k-reciprocal ranks by the float embeddings; with --binary take --rerank N")
