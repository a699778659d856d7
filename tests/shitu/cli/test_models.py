"""`shitu models` as a user meets it, against a real server on loopback."""

import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from models.artifacts import download
from models.artifacts import folders as artifacts
from models.artifacts.download import OfficialModel
from shitu.cli.models import models_group
from tests.models.programs import artifact, official_archive

NAME = "tiny-embedder"


class QuietFiles(SimpleHTTPRequestHandler):
    """Serves a folder and says nothing."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        pass


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a published archive, and a table of official models that names it."""
    folder = official_archive(tmp_path / "published_infer", "embed")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.add(folder, "published_infer")
    served = tmp_path / "served"
    served.mkdir()
    (served / "model.tar").write_bytes(buffer.getvalue())
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietFiles, directory=str(served))) as http:
        threading.Thread(target=http.serve_forever, args=(0.05,), daemon=True).start()
        url = f"http://127.0.0.1:{http.server_address[1]}/model.tar"
        sha256 = hashlib.sha256(buffer.getvalue()).hexdigest()
        monkeypatch.setitem(download.OFFICIAL, NAME, OfficialModel("embed", "a tiny one", url, sha256))
        yield url
        http.shutdown()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setattr(artifacts, "BUNDLED", tmp_path / "bundled")
    return tmp_path / "cache" / "shitu" / "models"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(models_group, arguments)


def test_a_model_is_listed_pulled_and_verified(published: str, cache: Path) -> None:
    assert [line.split()[-2] for line in run("list").stdout.splitlines() if NAME in line] == ["here"]
    answer = run("pull", NAME)
    assert answer.exit_code == 0
    folder = Path(answer.stdout.strip())
    assert folder.is_relative_to(cache)
    assert [line.split()[-2] for line in run("list").stdout.splitlines() if NAME in line] == ["pulled"]
    answer = run("verify", NAME)
    assert answer.exit_code == 0
    assert "2 files are what they should be" in answer.stdout
    (folder / "inference.pdiparams").write_bytes(b"changed")
    answer = run("verify")
    assert answer.exit_code == 1
    assert "inference.pdiparams is not the one that was recorded" in answer.stderr


def test_a_mirror_is_held_to_the_same_checksum(published: str, tmp_path: Path) -> None:
    (tmp_path / "served" / "other.tar").write_bytes(b"something else")
    answer = run("pull", NAME, "--url", published.replace("model.tar", "other.tar"))
    assert answer.exit_code == 1
    assert "gave another file than the one published" in answer.stderr


def test_an_unreachable_host_is_one_line(published: str) -> None:
    answer = run("pull", NAME, "--url", "http://127.0.0.1:1/model.tar")
    assert answer.exit_code == 1
    assert answer.stderr.splitlines() == [
        "Error: Downloading http://127.0.0.1:1/model.tar failed: 127.0.0.1 can't be reached. "
        "What has arrived is kept; try again."
    ]
    assert "Traceback" not in answer.output


def test_a_missing_file_and_an_unknown_name_are_reported(published: str) -> None:
    answer = run("pull", NAME, "--url", published.replace("model.tar", "none.tar"))
    assert (answer.exit_code, "answers 404" in answer.stderr) == (1, True)
    answer = run("pull", "nothing")
    assert (answer.exit_code, "no official model 'nothing'" in answer.stderr) == (1, True)


def test_bundled_models_are_listed_and_verified_without_names(tmp_path: Path) -> None:
    artifact(tmp_path / "bundled" / "shipped", "embed")
    assert "one convolution" in run("list").stdout
    answer = run("verify")
    assert (answer.exit_code, answer.stdout) == (0, "shipped: 2 files are what they should be\n")


def test_verifying_what_is_not_there_fails_and_continues(tmp_path: Path) -> None:
    folder = artifact(tmp_path / "folder", "embed")
    answer = run("verify", "nothing", str(folder))
    assert answer.exit_code == 1
    assert "no model 'nothing'" in answer.stderr
    assert "2 files are what they should be" in answer.stdout
