"""`shitu batch`: a folder or a bucket through a front end, resumed where it was cut off, answers in one file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from click.testing import CliRunner, Result
from pyarrow import parquet

from shitu.cli.batch_files import PART_BYTES, _parts, open_work
from shitu.cli.batch_source import Folder, Photo
from shitu.cli.main import main
from shitu.client.blocking import Batches, Client
from shitu.client.errors import ClientError
from tests.shitu.front_end import Hand, listening
from tests.web.pictures import picture
from web.app import create_app

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from infra.runtime.settings import Settings

NAMES = [f"{folder}/{number}.jpg" for folder in ("aisle", "shelf") for number in range(4)]


@pytest.fixture
def url(settings: Settings, hand: Hand) -> Iterator[str]:
    with listening(create_app(settings)) as address:
        with Client(address) as client:
            client.galleries.create("drinks")
        yield address


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for name in NAMES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(picture())
    (folder / "notes.txt").write_text("no photo")
    (folder / ".hidden.jpg").write_bytes(picture())
    return folder


def run(url: str, source: object, out: Path, *more: str) -> Result:
    words = [
        "batch",
        str(source),
        "--gallery",
        "drinks",
        "--out",
        str(out),
        "--server",
        url,
        "--per-request",
        "3",
        *more,
    ]
    return CliRunner().invoke(main, words)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_each_photo_has_its_answer_in_order_and_bad_ones_say_why(url: str, photos: Path, tmp_path: Path) -> None:
    (photos / "aisle/2.jpg").write_bytes(b"no picture")
    (photos / "shelf/bad.jpg").write_bytes(picture())
    out = tmp_path / "answers.ndjson"
    result = run(url, photos, out, "--yes", "--price", "0.04")
    assert result.exit_code == 0, result.output
    answers = lines(out)
    assert [answer["path"] for answer in answers] == [*NAMES, "shelf/bad.jpg"]
    status = {answer["path"]: answer["status"] for answer in answers}
    assert (status.pop("aisle/2.jpg"), status.pop("shelf/bad.jpg")) == ("rejected", "failed")
    assert set(status.values()) == {"succeeded"}
    assert answers[2]["error"]["code"] == "image_not_an_image"
    assert answers[0]["result"]["recognitions"]
    assert "9 photos, about" in result.stderr
    assert "at 0.04 an hour" in result.stderr
    assert not out.with_name("answers.ndjson.work").exists()


def test_a_part_of_bad_photos_alone_is_reported_for_each(url: str, tmp_path: Path) -> None:
    folder = tmp_path / "bad"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.jpg").write_bytes(b"no picture")
    out = tmp_path / "answers.ndjson"
    assert run(url, folder, out, "--yes").exit_code == 0
    assert [(one["status"], one["error"]["code"]) for one in lines(out)] == [("rejected", "image_rejected")] * 3


def test_it_confirms_first_and_no_is_an_answer(url: str, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "answers.ndjson"
    assert run(url, photos, out).exit_code == 1
    assert not out.exists()


def test_what_was_cut_off_is_resumed_and_nothing_is_sent_twice(
    url: str, photos: Path, tmp_path: Path, hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "answers.ndjson"
    results = Batches.results
    requests: list[int] = []

    def cut_off(self: Batches, *args: Any) -> Any:
        requests.append(1)
        if len(requests) == 2:  # the service has recognised the second part, and its answers are on their way
            raise ClientError("the line broke")
        return results(self, *args)

    monkeypatch.setattr(Batches, "results", cut_off)
    first = run(url, photos, out, "--yes", "--at-once", "1")
    assert first.exit_code == 1
    assert "the same command resumes" in first.output
    assert not out.exists()
    monkeypatch.setattr(Batches, "results", results)
    (photos / "shelf/new.jpg").write_bytes(picture())  # came after the manifest
    before = len(hand.requests)
    second = run(url, photos, out, "--yes")
    assert second.exit_code == 0, second.output
    assert "resumed: 3 of 8 photos are done" in second.stderr
    assert [answer["path"] for answer in lines(out)] == NAMES
    samples = 2  # one of each part that was left, for the estimate
    assert len(hand.requests) - before == samples + 2, "the second part was not recognised again"


def test_another_run_in_the_way_is_reported(url: str, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "answers.ndjson"
    run(url, photos, out)
    words = ["batch", str(photos / "aisle"), "--gallery", "drinks", "--out", str(out), "--server", url, "--yes"]
    answer = CliRunner().invoke(main, words)
    assert answer.exit_code == 1
    assert "another per_request, source" in answer.output


def test_an_existing_file_and_a_missing_source_are_refused(url: str, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "there.ndjson"
    out.write_text("mine")
    assert "is not overwritten" in run(url, photos, out).output
    assert out.read_text() == "mine"
    assert "neither a folder nor" in run(url, tmp_path / "nowhere", tmp_path / "a.ndjson").output
    assert "names no bucket" in run(url, "s3://", tmp_path / "a.ndjson").output
    (tmp_path / "empty").mkdir()
    assert "has no photos" in run(url, tmp_path / "empty", tmp_path / "b.ndjson").output
    unknown = CliRunner().invoke(
        main, ["batch", str(photos), "--gallery", "nothing", "--out", str(tmp_path / "c.ndjson"), "--server", url]
    )
    assert "gallery_not_found" in unknown.output


def test_a_photo_that_is_gone_since_the_manifest_is_reported(url: str, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "answers.ndjson"
    run(url, photos, out)  # not confirmed: only the manifest is there
    (photos / NAMES[3]).unlink()
    assert run(url, photos, out, "--yes").exit_code == 0
    gone = lines(out)[3]
    assert (gone["path"], gone["status"], gone["error"]["code"]) == (NAMES[3], "rejected", "photo_unreadable")


def test_a_bucket_is_read_and_parquet_written(
    url: str, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, s3_endpoint: str, s3_bucket: str
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_endpoint)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    client = boto3.client("s3")
    for name in ["2026/1.jpg", "2026/sub/2.jpg", "2026/readme.txt", "2025/0.jpg"]:
        client.put_object(Bucket=s3_bucket, Key=name, Body=picture())
    out = tmp_path / "answers.parquet"
    result = run(url, f"s3://{s3_bucket}/2026", out, "--yes")
    assert result.exit_code == 0, result.output
    rows = parquet.read_table(out).to_pylist()
    assert [(row["path"], row["status"], row["error"]) for row in rows] == [
        ("1.jpg", "succeeded", None),
        ("sub/2.jpg", "succeeded", None),
    ]
    assert json.loads(rows[0]["result"])["recognitions"][0]["label"] == rows[0]["labels"][0]
    assert "cannot be listed" in run(url, "s3://nowhere/x", tmp_path / "other.ndjson").output


def test_parts_keep_to_a_number_and_to_a_requests_bytes(tmp_path: Path) -> None:
    big = Photo("big.tif", PART_BYTES + 1)
    small = [Photo(f"{number}.jpg", 10) for number in range(5)]
    assert [len(part) for part in _parts([*small, big, *small], 3)] == [3, 2, 1, 3, 2]
    assert _parts([], 3) == []


def test_the_manifest_is_whole_or_not_there(tmp_path: Path, photos: Path) -> None:
    out = tmp_path / "answers.ndjson"

    def broken() -> Iterator[Photo]:
        yield from Folder(photos / "aisle").photos()
        raise OSError("the disk went away")

    with pytest.raises(OSError, match="went away"):
        open_work(out, {"source": "x"}, broken(), 3)
    assert open_work(out, {"source": "x"}, Folder(photos).photos(), 3).total == len(NAMES)
