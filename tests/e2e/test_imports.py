"""Imports through the whole service: a killed worker, S3, the command line and the client."""

from __future__ import annotations

import io
import os
import signal
import zipfile
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from click.testing import CliRunner

from infra.stack.launcher import Stack
from shitu.cli.main import main
from shitu.client.blocking import Client
from tests.e2e.conftest import stack_settings
from tests.e2e.service import Service, encode, labels, pattern, wait_for
from tests.infra.local_servers import serving
from tests.infra.s3_server import CREDENTIALS, s3_server

MANY = 100  # two batches


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack of its own: its worker dies, and it may import from a bucket."""
    with s3_server() as endpoint, pytest.MonkeyPatch.context() as patch:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        bucket = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
        bucket.create_bucket(Bucket="shop")
        for seed in (1, 2):
            bucket.put_object(Bucket="shop", Key=f"drinks/p {seed}/图.jpg", Body=encode(pattern(seed)))
        bucket.put_object(
            Bucket="shop", Key="drinks/labels.csv", Body="path,label\np 1/图.jpg,one\nno.jpg,two\n".encode()
        )
        changes = {
            "SHITU_GALLERIES__IMPORT_ROOTS": "s3://shop/drinks",
            "SHITU_OBJECTS__ENDPOINT_URL": endpoint,
            "SHITU_WORKER__CONCURRENCY": "1",
        }
        with Stack(stack_settings(tmp_path_factory.mktemp("imports"), **changes)) as running:
            yield running


def archive(count: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for seed in range(count):
            file.writestr(f"drinks/p {seed % 8}/{seed}.jpg", encode(pattern(seed % 8, 64 + seed)))
        file.writestr("drinks/p 0/broken.jpg", b"\xff\xd8\xff\xe0 no more")
    return buffer.getvalue()


def test_an_import_whose_worker_is_killed_continues_where_it_was(own: Stack) -> None:
    service = Service(own.base_url)
    service.create_gallery("many")
    with serving() as receiver, Client(own.base_url) as client:
        receiver.paths["/hook"] = (200, {}, b"")
        answer = service.http.post(
            f"{own.base_url}/v1/galleries/many/imports",
            data={"webhook_url": receiver.url("/hook")},
            files={"files": ("many.zip", archive(MANY))},
            timeout=30,
        )
        job = service.accepted(answer)
        pid = own.processes["worker"].pid
        assert pid is not None
        wait_for(lambda: ((service.get(job["links"]["self"])["progress"] or {}).get("done", 0)) > 0, 60)
        os.kill(pid, signal.SIGKILL)
        before = service.get(job["links"]["self"])
        assert before["status"] == "processing"
        first = batches(own, job["id"])
        assert first
        last: dict[str, int] = {}
        wait_for(lambda: bool(last.update(batches(own, job["id"])) or len(last) == 2), 120)
        done = service.finished(job, 120)
        wait_for(lambda: bool(receiver.requests))
        report = list(client.imports.report(done))
    assert done["status"] == "succeeded", done["error"]
    assert done["attempts"] == 2
    assert done["result"]["counts"] == {"total": MANY + 1, "added": MANY, "duplicate": 0, "rejected": 1}
    assert (len(report), done["result"]["rejected"][0]["source"]) == (MANY + 1, "drinks/p 0/broken.jpg")
    assert done["result"]["gallery"] == {"name": "many", "version": 2, "items": MANY}
    assert [one["version"] for one in service.get("/v1/galleries/many/versions")["versions"]] == [1, 2]
    assert {name: at for name, at in last.items() if name in first} == first  # no finished batch was done again
    assert labels(service.recognized(encode(pattern(3)), "many"))[0] == "p 3"
    events = service.http.get(f"{own.base_url}{job['links']['events']}", stream=True, timeout=10)
    assert b'"progress"' in events.content


def batches(stack: Stack, job_id: str) -> dict[str, int]:
    """The batches that are staged, and when each was written."""
    folder = stack.settings.data_dir / "objects" / "imports" / job_id / "batches"
    return {file.name: file.stat().st_mtime_ns for file in folder.glob("*.zip")}


def test_a_bucket_is_imported_by_its_folders_and_by_its_list(own: Stack) -> None:
    with Client(own.base_url) as client:
        client.galleries.create("bucket")
        job = client.imports.wait(client.galleries.import_from("bucket", "s3://shop/drinks"), timeout_s=60)
        assert job["result"] is not None, job["error"]
        assert job["result"]["counts"] == {"total": 2, "added": 2, "duplicate": 0, "rejected": 0}
        listed = client.galleries.import_from("bucket", "s3://shop/drinks", list_name="labels.csv", activate=False)
        job = client.imports.wait(listed, timeout_s=60)
        assert job["result"] is not None, job["error"]
        assert (job["result"]["counts"]["added"], job["result"]["activated"]) == (1, False)
        assert job["result"]["reasons"] == {"picture_missing": 1}
        assert {label["label"] for label in client.galleries.labels("bucket")} == {"p 1", "p 2"}
        client.galleries.activate("bucket", job["result"]["gallery"]["version"])
        assert {label["label"] for label in client.galleries.labels("bucket")} == {"p 1", "p 2", "one"}


def test_the_command_sends_a_list_with_its_pictures_a_folder_and_a_bundle(
    own: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a/1.jpg", "a/2.jpg", "b/3.jpg"):
        Path("shots", name).parent.mkdir(parents=True, exist_ok=True)
        Path("shots", name).write_bytes(encode(pattern(int(name[2]))))
    Path("shots/list.txt").write_text("a\\1.jpg\tone\t1\nb/3.jpg\tthree\t2\nnone.jpg\tnone\t3\n", "utf-8-sig")

    def run(*words: str) -> tuple[int, str]:
        done = CliRunner().invoke(main, ["gallery", "import", *words, "--server", own.base_url])
        return done.exit_code, done.output

    code, reported = run("shots/list.txt", "--gallery", "listed")
    assert (code, "2 items added" in reported, "line 3: none.jpg" in reported) == (1, True, True), reported
    assert run("shots", "--gallery", "folder")[0] == 0
    code, reported = run("shots", "--gallery", "folder")
    assert (code, "0 items added" in reported, "3 were there already" in reported) == (0, True, True), reported
    monkeypatch.setenv("SHITU_DATA_DIR", str(own.settings.data_dir))
    assert CliRunner().invoke(main, ["gallery", "export", "folder", "--out", "f.zip"]).exit_code == 0
    code, reported = run("f.zip", "--gallery", "copy", "--stage")
    assert (code, "3 items added" in reported, "staged" in reported) == (0, True, True), reported


def test_a_version_is_staged_evaluated_activated_and_gone_back_on(own: Stack, tmp_path: Path) -> None:
    with Client(own.base_url) as client:
        client.galleries.create("tried")
        (tmp_path / "one.zip").write_bytes(archive(16))
        done = client.imports.wait(client.galleries.import_files("tried", [tmp_path / "one.zip"]), timeout_s=60)
        (tmp_path / "two.zip").write_bytes(archive(24))
        staged = client.galleries.import_files("tried", [tmp_path / "two.zip"], activate=False)
        more = client.imports.wait(staged, timeout_s=60)
        assert done["result"] is not None
        assert more["result"] is not None
        assert more["result"]["counts"] == {"total": 25, "added": 8, "duplicate": 16, "rejected": 1}
        first, second = (one["result"]["gallery"]["version"] for one in (done, more) if one["result"])
        assert client.galleries.get("tried")["version"] == first
        judged = client.evaluations.wait(client.galleries.evaluate("tried", second), timeout_s=60)
        assert judged["result"] is not None, judged["error"]
        assert judged["result"]["leave_one_out"]["version"]["queries"] == 16
        assert judged["result"]["against"]["version"] == first
        assert sum(one["kind"] == "added" for one in client.galleries.diff("tried", first, second)) == 8
        client.galleries.activate("tried", second)
        assert client.galleries.get("tried")["item_count"] == 24
        linted = client.galleries.lint("tried")  # by the worker, at the first question
        assert (linted["complete"], linted["version"], linted["checked_items"]) == (True, second, 24)
        client.galleries.activate("tried", first)
        assert client.galleries.get("tried")["item_count"] == 16
    done_here = CliRunner().invoke(main, ["gallery", "evaluate", "tried", str(second), "--server", own.base_url])
    assert done_here.exit_code == 0, done_here.output
    assert "items, each without itself" in done_here.output
