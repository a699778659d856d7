"""Hostile and damaged archives are refused, and nothing is written outside their folder."""

import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from models.artifacts.unpacking import unpack
from models.errors import ArtifactError


def a_tar(*names: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in names:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, link
            tar.addfile(info)
    return buffer.getvalue()


def a_zip(*names: str, mode: int = 0o100644) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in names:
            entry = zipfile.ZipInfo(name)
            entry.external_attr = mode << 16
            packed.writestr(entry, b"content")
    return buffer.getvalue()


def damaged(packing: str) -> bytes:
    """An archive whose beginning is sound and whose compressed content is not."""
    content = bytes(np.random.default_rng(0).integers(97, 108, 300_000, dtype=np.uint8))
    buffer = io.BytesIO()
    if packing == "zip":
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
            packed.writestr("a", content)
    else:
        with tarfile.open(None, f"w:{packing}", buffer) as tar:  # type: ignore[call-overload]  # the mode is a variable
            info = tarfile.TarInfo("a")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    data = bytearray(buffer.getvalue())
    data[9000:9900] = b"\xff" * 900  # so early, deflate's references lead to before the beginning
    return bytes(data)


def zeros() -> bytes:
    """Two megabytes in a kilobyte."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        info = tarfile.TarInfo("large")
        info.size = 2 << 20
        tar.addfile(info, io.BytesIO(bytes(2 << 20)))
    return buffer.getvalue()


HOSTILE = {
    "parent": a_tar("../evil"),
    "deep parent": a_tar("a/../../evil"),
    "absolute": a_tar("/tmp/evil"),
    "backslash": a_tar("a\\..\\evil"),
    "drive": a_tar("C:evil"),
    "symbolic link": a_tar("link", kind=tarfile.SYMTYPE, link="/etc/passwd"),
    "hard link": a_tar("link", kind=tarfile.LNKTYPE, link="../evil"),
    "device": a_tar("device", kind=tarfile.CHRTYPE),
    "fifo": a_tar("fifo", kind=tarfile.FIFOTYPE),
    "twice": a_tar("a/x", "b/x"),
    "too many": a_tar(*(f"f{i}" for i in range(9))),
    "too large": zeros(),
    "zip parent": a_zip("../evil"),
    "zip absolute": a_zip("/evil"),
    "zip link": a_zip("link", mode=0o120777),
    "cut short": zeros()[:-40],
    "damaged gzip": damaged("gz"),
    "damaged bzip2": damaged("bz2"),
    "damaged xz": damaged("xz"),
    "damaged zip": damaged("zip"),
    "no archive": b"<html>Not found</html>" * 60,
    "nothing": b"",
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_hostile_archive_is_refused_and_writes_nothing_outside(tmp_path: Path, name: str) -> None:
    packed, folder = tmp_path / "archive", tmp_path / "in" / "folder"
    packed.write_bytes(HOSTILE[name])
    folder.mkdir(parents=True)
    with pytest.raises(ArtifactError) as caught:
        unpack(packed, folder, max_bytes=1 << 20, max_files=8)
    assert caught.value.code == "archive_unsafe"
    assert {path for path in tmp_path.rglob("*") if not path.is_relative_to(folder)} == {packed, folder.parent}
    assert sum(file.stat().st_size for file in folder.iterdir()) <= 1 << 20


@pytest.mark.parametrize(
    "data", [a_zip("model_infer/", "model_infer/a", "model_infer/._a", "b"), a_zip("a", "b", mode=0)]
)
def test_a_zip_is_unpacked_flat(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "archive").write_bytes(data)
    (tmp_path / "folder").mkdir()
    unpack(tmp_path / "archive", tmp_path / "folder")
    assert sorted(file.name for file in (tmp_path / "folder").iterdir()) == ["a", "b"]
