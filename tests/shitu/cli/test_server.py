"""`--server`: pictures and photos sent to a running front end, whose worker's part a thread does through the ledger."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from infra.runtime.settings import Settings
from shitu.cli.main import main
from tests.shitu.front_end import Hand, listening
from tests.web.pictures import picture
from web.app import create_app


@pytest.fixture
def url(settings: Settings, hand: Hand) -> Iterator[str]:
    worker = replace(settings.worker, classifier="teas-and-colas")
    few = replace(settings, web=replace(settings.web, max_files=3), worker=worker)
    with listening(create_app(few)) as address:
        yield address


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five pictures of two labels."""
    for number in range(5):
        target = tmp_path / "mine" / ("tea" if number < 3 else "cola") / f"{number}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(picture(seed=number))
    return tmp_path / "mine"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, list(map(str, arguments)))


def test_a_folder_is_added_in_as_many_requests_as_the_service_wants(folder: Path, url: str, hand: Hand) -> None:
    answer = run("gallery", "add", folder, "--gallery", "drinks", "--server", url)
    assert answer.exit_code == 0, answer.output
    assert answer.stdout == "5 items added to 'drinks'; version 1 has 0\n"  # the hand counts, but adds nothing
    assert sorted(item["label"] for one in hand.requests for item in one["items"]) == ["cola"] * 2 + ["tea"] * 3
    assert max(len(one["items"]) for one in hand.requests) <= 3


def test_pictures_that_the_service_refuses_are_reported_and_the_others_added(folder: Path, url: str) -> None:
    (folder / "cola" / "bad.jpg").write_bytes(b"no picture")
    answer = run("gallery", "add", folder, "--gallery", "drinks", "--server", url)
    assert (answer.exit_code, answer.stdout.startswith("5 items added")) == (1, True)
    assert f"{folder / 'cola' / 'bad.jpg'}: " in answer.stderr
    assert "1 could not be used: 1 image_not_an_image\n" in answer.stderr
    only = folder / "none"
    (only / "x").mkdir(parents=True)
    (only / "x" / "1.jpg").write_bytes(b"no picture")
    answer = run("gallery", "add", only, "--gallery", "drinks", "--server", url)
    assert (answer.exit_code, "1 could not be used: 1 image_not_an_image\n" in answer.stderr) == (1, True)


def test_items_are_removed_by_the_service_in_one_request(url: str) -> None:
    import requests

    requests.post(f"{url}/v1/galleries", json={"name": "drinks"}, timeout=10).raise_for_status()
    for words, report in (
        (("--item", "no-such-item"), "no-such-item"),
        (("--label", "tea", "--label", "cola"), "tea"),
    ):
        answer = run("gallery", "remove", "drinks", *words, "--server", url)
        assert (answer.exit_code, answer.stdout) == (1, ""), answer.output
        assert report in answer.stderr
        assert "_not_found)" in answer.stderr
    for words in (("--item", "a", "--item", "b"), ("--item", "a", "--label", "tea")):
        answer = run("gallery", "remove", "drinks", *words, "--server", url)
        assert (answer.exit_code, "name one --item, or only --label" in answer.stderr) == (2, True)
    answer = run("gallery", "remove", "drinks", "--label", "tea", "--embedder", "x", "--server", url)
    assert (answer.exit_code, "--embedder has no effect with --server" in answer.stderr) == (2, True)


def test_photos_are_recognised_by_the_service_in_every_shape(
    folder: Path, url: str, hand: Hand, tmp_path: Path
) -> None:
    run("gallery", "add", folder, "--gallery", "drinks", "--server", url)
    hand.requests.clear()
    (folder / "cola" / "bad.jpg").write_bytes(picture(seed=9))
    command = ("recognize", folder, "--gallery", "drinks", "--server", url)
    answer = run(*command, "--json", "--top-k", 3, "--min-precision", 0.8, "--out", tmp_path / "annotated")
    assert answer.exit_code == 1, answer.output
    assert "bad.jpg: The file is cut short. (image_truncated)" in answer.stderr
    report = json.loads(answer.stdout)
    assert [Path(one["photo"]).name for one in report] == ["3.jpg", "4.jpg", "0.jpg", "1.jpg", "2.jpg"]
    assert {one["recognitions"][0]["label"] for one in report} == {"tea"}
    assert {json.dumps(one["options"], sort_keys=True) for one in hand.requests} == {
        '{"min_precision": 0.8, "top_k": 3}'
    }
    assert len(list((tmp_path / "annotated").glob("*.png"))) == 5
    table = run(*command).stdout
    assert "tea" in table
    assert "0.97" in table
    assert "{'rec_docs': 'tea'}" in run(*command, "--format", "paddleclas").stdout


def test_one_network_of_the_service_runs_on_photos(folder: Path, url: str, hand: Hand, tmp_path: Path) -> None:
    photo, black = folder / "tea" / "0.jpg", folder / "tea" / "black.jpg"
    black.write_bytes(picture(seed=9))
    (report,) = json.loads(
        run("detect", photo, "--server", url, "--json", "--max-detections", 3, "--out", tmp_path / "o").stdout
    )
    assert report == {
        "photo": str(photo),
        "detections": [{"box": [1, 2, 30, 40], "confidence": 0.8765}],
        "took_ms": 7.0,
    }
    assert hand.requests[-1]["options"]["max_detections"] == 3
    assert [path.name for path in (tmp_path / "o").iterdir()] == ["0.jpg"]
    answer = run("embed", photo, black, "--server", url, "--json", "--out", tmp_path / "rows.npy")
    assert answer.exit_code == 1, answer.output
    one, other = json.loads(answer.stdout)
    assert (one["embedding"], other["error"]) == ([0.6, 0.8], "The embedder gives no usable answer.")
    assert np.load(tmp_path / "rows.npy").tolist() == np.array([[0.6, 0.8]], np.float32).tolist()
    answer = run("classify", photo, "--server", url, "--json", "--top-k", 2)
    (report,) = json.loads(answer.stdout)
    assert report == {"class_ids": [7, 1], "scores": [0.9, 0.1], "label_names": ["tea", "cola"], "filename": str(photo)}
    assert hand.requests[-1]["options"]["top_k"] == 2
    (tmp_path / "none.jpg").write_bytes(b"no picture")
    for command in ("detect", "embed", "classify"):
        answer = run(command, tmp_path / "none.jpg", photo, "--server", url)
        assert (answer.exit_code, answer.stderr.count("none.jpg")) == (1, 1), answer.output
        assert "Traceback" not in answer.output
        answer = run(command, photo, "--server", "http://127.0.0.1:1", "--threads", 1)
        assert (answer.exit_code, "--threads has no effect with --server" in answer.stderr) == (2, True)


def test_a_gallery_that_is_not_there_is_said_once(folder: Path, url: str) -> None:
    answer = run("recognize", folder, "--gallery", "none", "--server", url)
    assert answer.exit_code == 1
    assert answer.stderr.count("gallery_not_found") == 1
    assert "Traceback" not in answer.output


@pytest.mark.parametrize("option", ["--embedder", "--detector", "--engine", "--threads", "--binary"])
def test_options_about_own_models_contradict_a_server(option: str, folder: Path) -> None:
    value = {"--binary": (), "--engine": ("auto",), "--threads": (1,)}.get(option, ("x",))
    answer = run("recognize", folder, "--gallery", "x", "--server", "http://127.0.0.1:1", option, *value)
    assert (answer.exit_code, f"{option} has no effect with --server" in answer.stderr) == (2, True)


class NoShiTu(BaseHTTPRequestHandler):
    """Something else: a page, or a way to one."""

    def do_GET(self) -> None:
        moved = self.path.startswith("/moved")
        self.send_response(308 if moved else 200)
        self.send_header("Location" if moved else "Content-Type", "https://shop.example/" if moved else "text/html")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        pass


def test_what_answers_and_is_no_service_is_said_in_one_line() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), NoShiTu) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        for address, reason in ((url, "is no ShiTu"), (f"{url}/moved", "https://shop.example/")):
            answer = run("gallery", "list", "--server", address)
            assert (answer.exit_code, answer.stderr.count("\n")) == (1, 1), answer.output
            assert reason in answer.stderr
        server.shutdown()


def test_nothing_that_listens_and_no_address_are_said_at_once(folder: Path) -> None:
    for words in (
        ("gallery", "list"),
        ("gallery", "add", folder, "--gallery", "x"),
        ("recognize", folder, "--gallery", "x"),
    ):
        answer = run(*words, "--server", "http://127.0.0.1:1")
        assert (answer.exit_code, "nothing listens" in answer.stderr) == (1, True), answer.output
        assert answer.stderr.count("\n") == 1
    answer = run("gallery", "list", "--server", "ftp://x")
    assert (answer.exit_code, "is no address" in answer.stderr) == (2, True)


def test_an_object_s_address_reaches_the_service_as_it_is_written(url: str, folder: Path) -> None:
    run("gallery", "add", folder, "--gallery", "drinks", "--server", url)
    answer = run("recognize", "s3://photos//deep/a.jpg", "--gallery", "drinks", "--server", url)
    assert answer.exit_code == 1
    assert answer.stderr.startswith("s3://photos//deep/a.jpg: ")
    assert "SHITU_OBJECTS__INPUT_BUCKETS" in answer.stderr
    assert "(bucket_forbidden)" in answer.stderr
    refused = run("recognize", "s3://photos/a.jpg", "--gallery", "drinks", "--server", url, "--out", folder / "out")
    assert refused.exit_code == 2
    assert "--out draws on files of this machine alone, not on s3://photos/a.jpg" in refused.stderr
    alone = run("recognize", "https://example.com/a.jpg", "--gallery", "drinks")
    assert alone.exit_code == 2
    assert "https://example.com/a.jpg is fetched by a service alone; add --server" in alone.stderr
