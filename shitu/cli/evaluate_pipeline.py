"""`shitu evaluate pipeline`: photo in, labels out, on your photos."""

import json
from pathlib import Path

import click

from shitu.cli.evaluate_options import DELIMITER, WRITE_TO, check_lists, end
from shitu.cli.options import (
    DETECTOR,
    EMBEDDER,
    ENGINE,
    PRESENT,
    PRESENT_FOLDER,
    ROOT,
    examples,
    threads,
)
from shitu.cli.progress import report_progress
from shitu.cli.searched import Passed
from shitu.cli.terminal import errors


@click.command(
    "pipeline",
    short_help="Photo in, labels out, on your photos.",
    epilog=examples("evaluate pipeline --photos shelf/coco.json --gallery products"),
)
@click.option(
    "--photos",
    required=True,
    type=PRESENT,
    help="COCO file, VOC folder (annotations/*.xml), list of `path label` lines, or a folder for each label.",
)
@click.option(
    "--images", type=PRESENT_FOLDER, help="Where the photos are; default: images/ next to the boxes, or the list's own."
)
@click.option("--gallery", required=True, type=PRESENT, help="List of `path label` lines, or a folder for each label.")
@ROOT
@DELIMITER
@DETECTOR
@EMBEDDER
@ENGINE
@threads()
@click.option("--threshold", type=click.FloatRange(-1, 1), help="Least similarity; default: the embedder's own.")
@click.option("--max-detections", type=click.IntRange(1, 100), default=5, show_default=True, help="Detections a photo.")
@WRITE_TO
def pipeline(
    photos: Path,
    images: Path | None,
    gallery: Path,
    root: Path | None,
    delimiter: str | None,
    detector: str,
    embedder: str,
    engine: str,
    threads: int,
    threshold: float | None,
    max_detections: int,
    out: Path | None,
) -> None:
    """Photo in, labels out, on your photos: how many objects are found, how many answers are right, what is confused.

    With --out: metrics.json and the confusion table as JSON, CSV and PNG.
    """
    from models.artifacts.folders import resolve
    from models.detector import Detector
    from models.embedder import Embedder
    from models.evaluation.pipeline import describe, evaluate_photos, photo_gallery, write_pipeline
    from models.options import RecognizeOptions
    from models.recognition.pipeline import Recognizer
    from models.training.data.query_photos import listed_photos, read_photos

    check_lists("root", gallery)
    check_lists("delimiter", photos, gallery)
    notify = report_progress()
    passed = Passed()
    with errors():
        queries = read_photos(photos, images, delimiter, passed.leave_out)
        known = listed_photos(gallery, root, delimiter, refuse=passed.leave_out)
        embed = Embedder(resolve(embedder), engine, threads)
        recognize = Recognizer(None if detector == "none" else Detector(resolve(detector), engine, threads), embed)
        options = RecognizeOptions(similarity_threshold=threshold, max_detections=max_detections)
        searched = photo_gallery(embed, known, notify)
        measured = evaluate_photos(recognize, searched, queries, options, notify, len(queries))
        if out is not None:
            write_pipeline(measured, out)
    click.echo(json.dumps(describe(measured), indent=2))
    end(passed, photos, gallery)
