"""`shitu batch`: a folder or an S3 prefix of photos through a running service, as many as there are."""

from __future__ import annotations

import time
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import replace
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import click

from shitu.cli.batch_files import Work, need_parquet, open_work, write_out
from shitu.cli.batch_source import open_source
from shitu.cli.options import declared, examples, gallery, out
from shitu.client.blocking import Client
from shitu.client.errors import ClientError, ProblemError
from shitu.client.exchange import USUAL_RETRIES
from shitu.client.pictures import Upload

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

    from shitu.cli.batch_source import Source

REPORT_EVERY_S = 5.0
SAMPLES = 3
REFUSED = {400, 413, 415, 422}  # for what was sent
Json = dict[str, Any]


@click.command(
    epilog=examples(
        "batch photos --gallery drinks --out answers.ndjson",
        "batch s3://shop/2026/ --gallery drinks --out answers.parquet --price 0.04 --yes",
    )
)
@click.argument("source")
@gallery("Gallery in which all photos are looked up.", required=True)
@out("File of the answers: .ndjson, or .parquet.", click.Path(path_type=Path, dir_okay=False), required=True)
@click.option(
    "--server", metavar="URL", default="http://127.0.0.1:8000", show_default=True, help="The service that recognises."
)
@declared("min_precision", "Least precision of the answers.")
@click.option(
    "--per-request", type=click.IntRange(1, 1000), default=50, show_default=True, help="Photos in one request."
)
@click.option("--at-once", type=click.IntRange(1, 64), default=4, show_default=True, help="Requests at a time.")
@click.option("--price", type=click.FloatRange(0), help="Price of a core for an hour; adds the cost to the estimate.")
@click.option("--yes", is_flag=True, help="Start without a question after the estimate.")
def batch(
    source: str,
    gallery: str,
    out: Path,
    server: str,
    min_precision: float | None,
    per_request: int,
    at_once: int,
    price: float | None,
    yes: bool,
) -> None:
    """Recognise all photos of SOURCE, a folder or s3://bucket/prefix, by a running service.

    An interrupted run is resumed by the same command.
    """
    if out.suffix == ".parquet":
        need_parquet()
    if out.exists():
        raise click.ClickException(f"{out} is there already: it is not overwritten")
    photos, options = open_source(source), {} if min_precision is None else {"min_precision": min_precision}
    parameters: Json = {"source": source, "gallery": gallery, "options": options, "per_request": per_request}
    try:
        retries = replace(USUAL_RETRIES, attempts=30, within_s=600.0)
        with Client(server, retries=replace(retries, unreached=False, attempts=3)) as client:
            client.galleries.get(gallery)  # before a million photos are listed for nothing
        work = open_work(out, parameters, photos.photos(), per_request)
        if not work.total:
            work.close()
            raise click.ClickException(f"{source} has no photos")
        with Client(server, retries=retries) as client:
            _run(_Job(client, photos, work, gallery, options, at_once), price, yes)
    except ClientError as error:
        raise click.ClickException(f"{error}; the same command resumes") from error
    except ValueError:
        raise click.UsageError(f"--server {server!r} is no address like http://127.0.0.1:8000") from None
    write_out(work, out)
    work.close()
    click.echo(f"{work.total} answers in {out}", err=True)


class _Job:
    """Sends the parts that are left."""

    def __init__(self, client: Client, photos: Source, work: Work, gallery: str, options: Json, at_once: int) -> None:
        self.client, self.photos, self.work, self.gallery, self.at_once = client, photos, work, gallery, at_once
        self.options: Any = options or None

    def sample(self) -> float:
        """Seconds of a worker's place that a photo takes: the median of a few, recognised now. Raises ClientError."""
        left = self.work.left()
        took = []
        for number in left[:: max(1, len(left) // SAMPLES)][:SAMPLES]:
            photo = self.work.parts[number][0]
            try:
                upload = Upload(PurePosixPath(photo.path).name, self.photos.read(photo.path))
                done = self.client.recognitions.wait(
                    self.client.recognitions.create(upload, self.gallery, self.options)
                )
            except (OSError, ClientError):
                continue  # a bad photo is reported with the others; what is wrong with the service shows there too
            took.append(_took_s(done))
        return sorted(took)[len(took) // 2] if took else 1.0

    def part(self, number: int) -> int:
        """Has a part recognised and its answers kept. Returns how many photos it had. Raises ClientError."""
        photos = self.work.parts[number]
        answers: list[Json] = [
            {"path": one.path, "status": "rejected", "result": None, "error": None} for one in photos
        ]
        uploads, places = [], []
        for place, photo in enumerate(photos):
            try:
                uploads.append(Upload(PurePosixPath(photo.path).name, self.photos.read(photo.path)))
                places.append(place)
            except OSError as error:
                answers[place]["error"] = {"code": "photo_unreadable", "message": str(error), "retryable": True}
        if uploads:
            key = f"shitu-batch-{self.work.run}-{number}"
            for index, line in self._recognized(uploads, key):
                answers[places[index]].update(line)
        self.work.keep(number, answers)
        return len(photos)

    def _recognized(self, uploads: list[Upload], key: str) -> Iterator[tuple[int, Json]]:
        """Each photo's place and its answer. What the service refuses as a whole is sent by halves, down to the one at fault."""
        try:
            made = self.client.batches.create(uploads, self.gallery, self.options, priority="low", idempotency_key=key)
        except ProblemError as error:
            if error.status not in REFUSED:
                raise
            if len(uploads) == 1:
                report = {"code": error.code, "message": error.detail, "retryable": False}
                yield 0, {"status": "rejected", "error": report}
                return
            half = len(uploads) // 2
            yield from self._recognized(uploads[:half], f"{key}a")
            yield from ((half + index, line) for index, line in self._recognized(uploads[half:], f"{key}b"))
            return
        self.client.batches.wait(made)
        for line in self.client.batches.results(made):
            yield line["index"], {name: line[name] for name in ("status", "result", "error")}


def _took_s(job: Any) -> float:
    begun, ended = (datetime.fromisoformat(job[name]) for name in ("started_at", "completed_at"))
    return (ended - begun).total_seconds()


def _run(job: _Job, price: float | None, yes: bool) -> None:
    left = job.work.left()
    photos = sum(len(job.work.parts[number]) for number in left)
    if not photos:
        return
    if (done := job.work.total - photos) > 0:
        click.echo(f"resumed: {done} of {job.work.total} photos are done", err=True)
    core_h = photos * job.sample() / 3600
    money = "" if price is None else f", {core_h * price:.2f} at {price:g} an hour"
    click.echo(f"{photos} photos, about {core_h:.2g} core hours{money}", err=True)
    if not yes:
        click.confirm("Start?", abort=True, err=True)
    begun = report = time.monotonic()
    finished, ahead = 0, iter(left)
    with ThreadPoolExecutor(job.at_once, "batch") as pool:
        running: set[Future[int]] = set()
        try:
            while True:
                running |= {
                    pool.submit(job.part, number)
                    for _, number in zip(range(job.at_once - len(running)), ahead, strict=False)
                }
                if not running:
                    return
                ended, running = wait(running, return_when=FIRST_COMPLETED)
                finished += sum(one.result() for one in ended)
                if time.monotonic() - report > REPORT_EVERY_S:
                    report = time.monotonic()
                    left_s = (report - begun) * (photos - finished) / finished
                    click.echo(
                        f"{finished}/{photos} photos, {finished / (report - begun):.1f} a second, {left_s:.0f} s left",
                        err=True,
                    )
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
