"""Pulls from a real HTTP server on loopback: cut connections, changed files, wrong checksums, a hostile archive."""

import hashlib
import io
import socket
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from models.artifacts.download import CHUNK_BYTES, OFFICIAL, OfficialModel, pull
from models.artifacts.folders import load_manifest, pulled, resolve, verify
from models.errors import ArtifactError
from tests.models.artifacts.test_unpacking import HOSTILE
from tests.models.programs import official_archive, save_json

NAME = "tiny-embedder"


@dataclass
class Server:
    """Serves `data` at any path. `cut_after` ends the connection after as many bytes of each answer."""

    data: bytes = b""
    etag: str = '"one"'
    ranges: bool = True
    status: int | None = None
    cut_after: list[int] = field(default_factory=list)
    requested: list[str | None] = field(default_factory=list)  # the Range of each request
    url: str = ""


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            start = self.headers.get("Range")
            state.requested.append(start)
            if state.status is not None:
                self.send_error(state.status)
                return
            first = 0
            if state.ranges and start is not None and self.headers.get("If-Range") == state.etag:
                first = int(start.removeprefix("bytes=").removesuffix("-"))
            body = state.data[first:]
            self.send_response(206 if first else 200)
            if first:
                self.send_header("Content-Range", f"bytes {first}-{len(state.data) - 1}/{len(state.data)}")
            self.send_header("Content-Length", str(len(body)))
            if state.etag:
                self.send_header("ETag", state.etag)
            self.end_headers()
            self.wfile.write(body[: state.cut_after.pop(0)] if state.cut_after else body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        state.url = f"http://127.0.0.1:{http.server_address[1]}/model.tar"
        threading.Thread(target=http.serve_forever, args=(0.05,), daemon=True).start()
        yield state
        http.shutdown()


@pytest.fixture
def archive(tmp_path: Path) -> bytes:
    """A tar as PaddleClas packs them: one folder, and what a Mac adds."""
    folder = official_archive(tmp_path / "published_infer", "embed")
    (folder / "inference.pdiparams.info").write_bytes(bytes(300_000))  # not needed
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.add(folder, "published_infer")
        tar.addfile(tarfile.TarInfo("published_infer/._inference.pdmodel"))
    return buffer.getvalue()


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def table(server: Server, **known: object) -> dict[str, OfficialModel]:
    return {NAME: OfficialModel("embed", "a tiny one", server.url, **known)}


def resumed(server: Server) -> list[int]:
    """Where the requests that resumed began."""
    return [
        int(requested.removeprefix("bytes=").removesuffix("-"))
        for requested in server.requested
        if requested is not None
    ]


def test_a_pulled_model_is_a_model_by_name(server: Server, archive: bytes, cache: Path) -> None:
    server.data = archive
    seen: list[tuple[int, int | None]] = []
    folder = pull(NAME, cache, lambda done, total: seen.append((done, total)), table=table(server))
    assert resolve(NAME, cache) == folder
    assert folder.parent.name == hashlib.sha256(archive).hexdigest()
    assert load_manifest(folder).name == NAME
    assert set(verify(folder)) == {"inference.pdmodel", "inference.pdiparams"}
    assert seen[0] == (0, len(archive))
    assert seen[-1] == (len(archive), len(archive))
    assert not list((cache / "downloads").glob("*.part*"))


def test_what_is_there_is_not_requested_again(server: Server, archive: bytes, cache: Path) -> None:
    server.data = archive
    assert pull(NAME, cache, table=table(server)) == pull(NAME, cache, table=table(server))
    assert len(server.requested) == 1


def test_a_cut_connection_resumes_where_it_was_cut(server: Server, archive: bytes, cache: Path) -> None:
    server.data, server.cut_after = archive, [100_000, 100_000]
    pull(NAME, cache, table=table(server))
    starts = resumed(server)
    assert 100_000 - CHUNK_BYTES <= starts[0] <= 100_000 < 200_000 - 2 * CHUNK_BYTES <= starts[1] <= 200_000


def test_a_later_pull_resumes_where_an_earlier_one_gave_up(server: Server, archive: bytes, cache: Path) -> None:
    server.data, server.cut_after = archive, [50_000] * 4
    with pytest.raises(ArtifactError, match="cut") as caught:
        pull(NAME, cache, table=table(server))
    assert caught.value.code == "download_failed"
    assert pulled(NAME, cache) is None
    pull(NAME, cache, table=table(server))
    assert 200_000 - 4 * CHUNK_BYTES <= resumed(server)[-1] <= 200_000


@pytest.mark.parametrize("change", [{"etag": '"two"'}, {"ranges": False}])
def test_a_file_that_changed_or_can_not_resume_is_begun_again(
    server: Server, archive: bytes, cache: Path, change: dict[str, object]
) -> None:
    server.data, server.cut_after = b"x" * len(archive), [50_000] * 4
    with pytest.raises(ArtifactError):
        pull(NAME, cache, table=table(server))
    server.data = archive
    for name, value in change.items():
        setattr(server, name, value)
    pull(NAME, cache, table=table(server, sha256=hashlib.sha256(archive).hexdigest()))


def test_without_a_validator_nothing_is_pieced_together(server: Server, archive: bytes, cache: Path) -> None:
    server.data, server.etag, server.cut_after = archive, "", [100_000]
    pull(NAME, cache, table=table(server))
    assert server.requested == [None, None]


def test_a_part_from_another_address_is_not_resumed(server: Server, archive: bytes, cache: Path) -> None:
    server.data, server.cut_after = archive, [50_000] * 4
    with pytest.raises(ArtifactError):
        pull(NAME, cache, table=table(server))
    pull(NAME, cache, url=f"{server.url}?mirror", table=table(server))
    assert server.requested[-1] is None


def test_a_wrong_checksum_is_refused_and_leaves_nothing(server: Server, archive: bytes, cache: Path) -> None:
    server.data = archive
    with pytest.raises(ArtifactError, match="than the one published") as caught:
        pull(NAME, cache, table=table(server, sha256="0" * 64))
    assert caught.value.code == "checksum_mismatch"
    assert pulled(NAME, cache) is None
    assert not list((cache / "downloads").glob("*.part*"))


@pytest.mark.parametrize(
    "known", [{"contents": {"inference.pdmodel": "0" * 64}}, {"blobs": {"inference.pdiparams": "0" * 40}}]
)
def test_files_inside_are_held_to_what_is_known_of_them(
    server: Server, archive: bytes, cache: Path, known: dict[str, object]
) -> None:
    server.data = archive
    with pytest.raises(ArtifactError, match="not the published one") as caught:
        pull(NAME, cache, table=table(server, **known))
    assert caught.value.code == "checksum_mismatch"
    assert pulled(NAME, cache) is None


def test_a_blob_is_hashed_as_git_does(server: Server, archive: bytes, cache: Path, tmp_path: Path) -> None:
    data = (tmp_path / "published_infer" / "inference.pdiparams").read_bytes()
    blob = hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()
    server.data = archive
    pull(NAME, cache, table=table(server, blobs={"inference.pdiparams": blob}))


def test_what_the_first_pull_recorded_holds_ever_after(server: Server, archive: bytes, cache: Path) -> None:
    server.data = archive
    folder = pull(NAME, cache, table=table(server))
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    server.data = archive + bytes(1024)  # a tar may end in more zeros: the same files, another archive
    with pytest.raises(ArtifactError, match="recorded at the first pull"):
        pull(NAME, cache, table=table(server))
    server.data = archive
    assert pull(NAME, cache, table=table(server)) == folder


def test_a_model_of_another_task_is_refused(server: Server, archive: bytes, cache: Path) -> None:
    server.data = archive
    with pytest.raises(ArtifactError, match="not to detect"):
        pull(NAME, cache, table={NAME: replace(table(server)[NAME], task="detect")})


@pytest.mark.parametrize("status", [403, 404, 500])
def test_a_server_that_refuses_is_quoted(server: Server, cache: Path, status: int) -> None:
    server.status = status
    with pytest.raises(ArtifactError, match=f"answers {status}") as caught:
        pull(NAME, cache, table=table(server))
    assert caught.value.code == "download_failed"
    assert len(server.requested) == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "no-such-host.invalid"])
def test_a_host_that_can_not_be_reached_is_one_line(server: Server, cache: Path, host: str) -> None:
    with socket.socket() as taken:  # bound, but it doesn't listen
        taken.bind(("127.0.0.1", 0))
        url = f"http://{host}:{taken.getsockname()[1]}/x.tar"
        with pytest.raises(ArtifactError, match=f"{host} can't be reached") as caught:
            pull(NAME, cache, url=url, table=table(server))
    assert caught.value.code == "download_failed"
    assert "\n" not in caught.value.detail


def test_pulls_at_the_same_time_download_once(server: Server, archive: bytes, cache: Path) -> None:
    server.data = archive
    folders: list[Path] = []
    threads = [
        threading.Thread(target=lambda: folders.append(pull(NAME, cache, table=table(server)))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(folders) == 4
    assert len(set(folders)) == 1
    assert len(server.requested) == 1


def test_an_unknown_name_lists_the_known_ones(cache: Path) -> None:
    with pytest.raises(ArtifactError, match="ppshitu-v2-embedder") as caught:
        pull("nothing", cache)
    assert caught.value.code == "model_unknown"


def test_the_official_models_have_addresses_and_pins() -> None:
    for model in OFFICIAL.values():
        assert model.url.startswith("https://")
        assert model.task in {"embed", "detect", "classify"}
        # Classifiers and PaddleX' exports have no pins: what the first pull sees is recorded.
        pins = [] if model.task == "classify" or "paddlex" in model.url else [64, 40]
        assert [len(pin) for pin in (*model.contents.values(), *model.blobs.values())] == pins


def test_a_classifier_s_archive_is_pulled_as_a_classifier_only(server: Server, cache: Path, tmp_path: Path) -> None:
    folder = official_archive(tmp_path / "published_infer", "classify")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.add(folder, "published_infer")
    server.data = buffer.getvalue()
    with pytest.raises(ArtifactError, match="a model to classify, not to embed"):
        pull(NAME, cache, table=table(server))
    known = {NAME: replace(OFFICIAL["PPLCNet_x1_0"], url=server.url)}
    assert load_manifest(pull(NAME, cache, table=known)).task == "classify"
    assert OFFICIAL["PPLCNetV2_base_ssld"].url.endswith("/dygraph/inference/PPLCNetV2_base_ssld_infer.tar")


def test_a_hostile_archive_leaves_no_model(server: Server, cache: Path, tmp_path: Path) -> None:
    server.data = HOSTILE["deep parent"]
    with pytest.raises(ArtifactError) as caught:
        pull(NAME, cache, table=table(server))
    assert caught.value.code == "archive_unsafe"
    assert pulled(NAME, cache) is None
    assert [file.name for file in (cache / "downloads").iterdir()] == [f"{NAME}.lock"]


def test_an_archive_of_something_else_is_named_with_what_it_holds(server: Server, cache: Path, tmp_path: Path) -> None:
    (tmp_path / "readme.txt").write_text("not a model")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.add(tmp_path / "readme.txt", "other/readme.txt")
    server.data = buffer.getvalue()
    with pytest.raises(ArtifactError) as caught:
        pull(NAME, cache, table=table(server))
    assert caught.value.code == "artifact_incomplete"
    assert caught.value.detail == (
        f"{server.url} is no archive of {NAME}: it holds readme.txt, and no program of PaddlePaddle's "
        "(inference.pdmodel or inference.json)."
    )
    assert not list((cache / "downloads").glob("*.part*"))


def test_a_file_that_is_no_archive_is_named(server: Server, cache: Path) -> None:
    server.data = b"<html>moved</html>" * 100
    with pytest.raises(ArtifactError, match=f"{server.url} is no archive of {NAME}: The archive can't be unpacked"):
        pull(NAME, cache, table=table(server))


def test_an_archive_of_paddle_3_is_pulled(server: Server, cache: Path, tmp_path: Path) -> None:
    save_json(tmp_path / "published_infer", "embed")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.add(tmp_path / "published_infer", "published_infer")
    server.data = buffer.getvalue()
    folder = pull(NAME, cache, table=table(server))
    assert load_manifest(folder).task == "embed"
    assert set(verify(folder)) == {"inference.json", "inference.pdiparams"}
