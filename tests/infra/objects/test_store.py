"""One contract for every object store, run on a folder and on a real S3 server; and what only one of them can do."""

from __future__ import annotations

import hashlib
import http.server
import os
import socket
import threading
import time
from pathlib import Path

import pytest

from infra.errors.photos import ObjectNotFound
from infra.errors.service import (
    BucketMissing,
    ConfigurationError,
    InvalidObjectKey,
    StorageRefused,
    StorageUnavailable,
    StorageUnreachable,
)
from infra.objects.local import LocalStore
from infra.objects.opening import open_store
from infra.objects.s3 import S3Store
from infra.objects.store import ObjectStore, image_key
from infra.runtime.settings import ObjectSettings
from tests.infra.s3_server import CREDENTIALS, checking_credentials

BAD_KEYS = ["", "/a", "a/", "../a", "a/../b", "a//b", ".hidden", "a/.b", "a\\b", "a b", "ä", "a\n", "x" * 600, "a\0b"]


@pytest.fixture
def s3_settings(s3_endpoint: str, s3_bucket: str) -> ObjectSettings:
    return ObjectSettings(url=f"s3://{s3_bucket}/some/prefix", endpoint_url=s3_endpoint)


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    settings = ObjectSettings() if request.param == "folder" else request.getfixturevalue("s3_settings")
    return open_store(settings, tmp_path)


def test_what_is_put_is_got(store: ObjectStore) -> None:
    store.put("a/b.json", b"one")
    store.put("a/b.json", b"two")
    store.put("empty", b"")
    assert store.get("a/b.json") == b"two"
    assert store.get("empty") == b""
    assert store.exists("a/b.json")
    large = os.urandom(3 << 20)
    store.put("large", large)
    assert store.get("large") == large


def test_what_is_missing_is_reported(store: ObjectStore) -> None:
    assert not store.exists("nothing/here")
    with pytest.raises(ObjectNotFound):
        store.get("nothing/here")
    store.delete("nothing/here")
    store.put("a/b", b"")
    with pytest.raises(ObjectNotFound):
        store.get("a")  # a folder in one store, nothing in the other
    with pytest.raises(ObjectNotFound):
        store.get("a/b/c")
    assert not store.exists("a")


def test_delete_removes_only_its_object(store: ObjectStore) -> None:
    store.put("a/1", b"1")
    store.put("a/2", b"2")
    store.delete("a/1")
    assert not store.exists("a/1")
    assert store.get("a/2") == b"2"


def test_list_is_by_prefix_and_ascending(store: ObjectStore) -> None:
    keys = ["a.b", "a/b", "a/b.c", "a/b/c", "a-b", "ab/c", "b", "a/b-c"]
    keys.remove("a/b")  # both an object and a folder is for S3 alone
    for key in keys:
        store.put(key, key.encode())
    for prefix in ["", "a", "a/", "a/b", "a/b/", "a/b/c", "b", "c", "a/b/c/d", "zz/"]:
        assert list(store.list(prefix)) == sorted(key for key in keys if key.startswith(prefix)), prefix


def test_list_goes_over_pages(s3_settings: ObjectSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.objects.s3.PAGE_KEYS", 10)
    store = open_store(s3_settings, tmp_path)
    keys = [f"many/{number:04d}" for number in range(25)]
    for key in keys:
        store.put(key, b"")
    assert list(store.list("many/")) == keys


def test_a_key_that_is_none_is_refused(store: ObjectStore) -> None:
    for key in BAD_KEYS:
        for method in (store.get, store.exists, store.delete):
            with pytest.raises(InvalidObjectKey):
                method(key)
        with pytest.raises(InvalidObjectKey):
            store.put(key, b"")


def test_a_prefix_cannot_leave_the_store(store: ObjectStore) -> None:
    for prefix in ("/", "../", ".", "a/../", "a//"):
        with pytest.raises(InvalidObjectKey):
            list(store.list(prefix))


def test_a_picture_is_kept_once_under_its_hash(store: ObjectStore) -> None:
    picture = os.urandom(1000)
    digest = hashlib.sha256(picture).hexdigest()
    key = store.put_image(picture)
    assert key == f"images/{digest[:2]}/{digest}" == image_key(picture)
    assert store.put_image(picture) == key
    assert list(store.list("images/")) == [key]
    assert store.get(key) == picture


def test_readers_see_an_object_whole_or_not_at_all(store: ObjectStore) -> None:
    versions = [bytes([number]) * 200_000 for number in range(2)]
    store.put("shared", versions[0])
    done = threading.Event()

    def write() -> None:
        for turn in range(20):
            store.put("shared", versions[turn % 2])
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set():
        assert store.get("shared") in versions
    writer.join()


def test_a_picture_present_is_not_written_again(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    path = tmp_path / store.put_image(b"picture")
    written = path.stat()
    os.utime(path, (1, 1))
    store.put_image(b"picture")
    assert path.stat().st_mtime > 1  # but counts as put now
    assert path.stat().st_ino == written.st_ino


def test_only_an_idle_object_is_deleted(store: ObjectStore) -> None:
    key = store.put_image(b"picture")
    assert not store.delete_idle(key, time.time() - 60)
    assert store.get(key) == b"picture"
    assert store.delete_idle(key, time.time() + 60)
    assert not store.exists(key)
    assert store.delete_idle(key, time.time() + 60)
    assert store.delete_idle("nothing/here", 0)


def test_a_failed_write_leaves_the_old_object_and_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LocalStore(tmp_path)
    store.put("a/b", b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageUnavailable, match="No space left") as failed:
        store.put("a/b", b"new")
    monkeypatch.undo()
    assert str(tmp_path) not in failed.value.detail
    assert store.get("a/b") == b"old"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]


def test_hidden_files_are_no_objects(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.put("a/b", b"")
    (tmp_path / "a" / ".left.part").write_bytes(b"half")
    assert list(store.list()) == ["a/b"]


def test_the_prefix_keeps_stores_of_one_bucket_apart(s3_settings: ObjectSettings, tmp_path: Path) -> None:
    assert s3_settings.url is not None
    bucket = s3_settings.url.split("/")[2]
    one = open_store(s3_settings, tmp_path)
    other = S3Store(bucket, "other", s3_settings.endpoint_url)
    whole = S3Store(bucket, "", s3_settings.endpoint_url)
    one.put("key", b"one")
    other.put("key", b"other")
    assert one.get("key") == b"one"
    assert list(one.list()) == ["key"]
    assert list(whole.list()) == ["other/key", "some/prefix/key"]


def test_a_missing_bucket_is_refused_for_good(s3_settings: ObjectSettings, s3_endpoint: str) -> None:
    store = S3Store("no-such-bucket-here", "", s3_endpoint)
    with pytest.raises(BucketMissing, match="no such bucket") as refused:
        store.get("key")
    assert not refused.value.retryable
    with pytest.raises(BucketMissing):
        list(store.list())
    with pytest.raises(BucketMissing):
        store.put_image(b"picture")


def test_wrong_credentials_are_refused_for_good(s3_settings: ObjectSettings, tmp_path: Path) -> None:
    store = open_store(s3_settings, tmp_path)
    with checking_credentials(str(s3_settings.endpoint_url)):
        for ask in (lambda: store.get("key"), lambda: store.put("key", b""), lambda: store.exists("key")):
            with pytest.raises(StorageRefused, match=r"access key|credentials") as refused:
                ask()
            assert (refused.value.code, refused.value.retryable) == ("storage_refused", False)
    store.put("key", b"")


def test_a_request_that_failed_once_is_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    answers = iter([(500, b""), (503, b""), (200, b"whole")])

    class Stumbling(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = next(answers)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0.01)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stumbling) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            store = S3Store("bucket", "", f"http://127.0.0.1:{server.server_address[1]}")
            assert store.get("key") == b"whole"
        finally:
            server.shutdown()
            thread.join()


def test_an_unreachable_server_may_come_back(s3_settings: ObjectSettings, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        store = S3Store("bucket", "", f"http://127.0.0.1:{free.getsockname()[1]}")
        with pytest.raises(StorageUnreachable, match="no connection") as failed:
            store.get("key")
    assert failed.value.retryable


def test_missing_credentials_are_refused(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(StorageRefused):
        S3Store("bucket", "", s3_endpoint).put("key", b"")


def test_the_url_names_the_store(tmp_path: Path) -> None:
    default = open_store(ObjectSettings(), tmp_path)
    default.put("a", b"1")
    assert (tmp_path / "objects" / "a").read_bytes() == b"1"
    named = open_store(ObjectSettings(url=f"file://{tmp_path}/with%20blank"), tmp_path)
    named.put("a", b"2")
    assert (tmp_path / "with blank" / "a").read_bytes() == b"2"
    with pytest.raises(ConfigurationError):
        open_store(ObjectSettings(url="ftp://server/folder"), tmp_path)


def test_a_big_object_is_sent_in_parts_and_appears_whole(
    s3_settings: ObjectSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.objects.s3.MULTIPART_BYTES", 6 << 20)
    monkeypatch.setattr("infra.objects.s3.PART_BYTES", 5 << 20)
    store = open_store(s3_settings, tmp_path)
    assert isinstance(store, S3Store)
    for size, parts in ((11 << 20, "-3"), ((6 << 20) - 1, "")):
        data = os.urandom(size)
        store.put("galleries/big", data)
        assert store.get("galleries/big") == data
        assert store.size("galleries/big") == size
        etag = store._client.head_object(Bucket=store._bucket, Key=store._full("galleries/big"))["ETag"].strip('"')
        assert etag[32:] == parts
    missing = S3Store("never-made", "", s3_settings.endpoint_url)
    with pytest.raises(BucketMissing):
        missing.put("galleries/big", os.urandom(7 << 20))


@pytest.mark.parametrize("breaks", [1, 2])
def test_an_answer_that_breaks_off_is_asked_for_once_more(monkeypatch: pytest.MonkeyPatch, breaks: int) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    requested: list[str] = []

    class Breaking(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requested.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", "10")
            self.end_headers()
            self.wfile.write(b"01234" if len(requested) <= breaks else b"0123456789")

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Breaking) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        store = S3Store("bucket", "", f"http://127.0.0.1:{server.server_address[1]}")
        if breaks == 1:
            assert store.get("a") == b"0123456789"
        else:
            with pytest.raises(StorageUnreachable):
                store.get("a")
        server.shutdown()
    assert requested == ["/bucket/a"] * 2
