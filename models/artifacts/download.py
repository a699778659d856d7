"""Pulls official models: resumable downloads, pinned or recorded checksums, safe unpacking, a cache keyed by digest.

In the cache folder: `downloads/NAME.part` while a download runs, `<sha256 of the archive>/NAME/` when it is unpacked, and
`NAME.json`, the record of what NAME was when it was pulled first. PaddlePaddle publishes no checksums, so this record is
what every later pull is held to.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import requests

from models.artifacts.folders import CHECKSUMS, pulled, read_receipt
from models.artifacts.official import PARAMETERS, PROGRAM, is_official, official_manifest, sha256_of
from models.artifacts.unpacking import unpack
from models.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Progress = Callable[[int, int | None], None]  # bytes done, bytes in all if known

BASE = "https://paddle-imagenet-models-name.bj.bcebos.com/dygraph"
ARCHIVES, CLASSIFIER_ARCHIVES = f"{BASE}/rec/models/inference", f"{BASE}/inference"
ATTEMPTS = 4  # connections for one pull; each resumes where the one before was cut
TIMEOUT_S = (10.0, 30.0)  # to connect, between two pieces
CHUNK_BYTES = 1 << 14  # at most so much is lost when a connection is cut
MAX_BYTES = 1 << 30


@dataclass(frozen=True)
class OfficialModel:
    """A published archive. `sha256` is the archive's, `contents` those of files in it, `blobs` git's SHA-1 of files in it."""

    task: str
    about: str
    url: str
    sha256: str | None = None
    contents: Mapping[str, str] = field(default_factory=dict)
    blobs: Mapping[str, str] = field(default_factory=dict)


# The archive's SHA-256 of V2 and the blobs are what third parties saw and committed; the programs were read here.
OFFICIAL: dict[str, OfficialModel] = {
    "ppshitu-v2-embedder": OfficialModel(
        "embed",
        "PP-ShiTuV2: PP-LCNetV2, 224 px, 512 dimensions",
        f"{ARCHIVES}/PP-ShiTuV2/general_PPLCNetV2_base_pretrained_v1.0_infer.tar",
        "b55f63f2f93eb42b0ff232154180f5e54d99da0891a200a2439d7a0a0ef8c026",
        {PROGRAM: "3e0ade05639ff7b5fe450a55883a8087dc2b5c2349fe6b73897cbe2a5eeb6ee8"},
        {PARAMETERS: "a51dbdda74cac57039f82d0e46544b41d8d61aa9"},
    ),
    "ppshitu-v1-embedder": OfficialModel(
        "embed",
        "PP-ShiTuV1: PP-LCNet x2.5, 224 px, 512 dimensions",
        f"{ARCHIVES}/general_PPLCNet_x2_5_lite_v1.0_infer.tar",
        None,
        {PROGRAM: "67a6c2544357a259996e9aac37464996d6a7f884638329a678641f95afb2703d"},
        {PARAMETERS: "014e7c2215edcdfeaaab35a69f24695f67bb87fd"},
    ),
    "ppshitu-mainbody-detector": OfficialModel(
        "detect",
        "PP-ShiTu's main bodies: PicoDet-LCNet x2.5, 640 px",
        f"{ARCHIVES}/picodet_PPLCNet_x2_5_mainbody_lite_v1.0_infer.tar",
        None,
        {PROGRAM: "aef54d49af0ed0b38334c1da9939ff8a5e2a19229f9a21147521cdf22b456280"},
        {PARAMETERS: "58e120cc8fb5fdb0418fb1c63e30e54b1212226f"},
    ),
}

# ImageNet's 1,000 classes, without their names: a class map names them. Nothing of these archives was read here, so the
# first pull records their checksums. `_ssld` were distilled.
CLASSIFIERS = {
    **{f"PPLCNet_x{scale}": "PP-LCNet" for scale in ("0_25", "0_35", "0_5", "0_75", "1_0", "1_5", "2_0", "2_5")},
    **{f"PPLCNet_x{scale}_ssld": "PP-LCNet, distilled" for scale in ("0_5", "1_0", "2_5")},
    "PPLCNetV2_base": "PP-LCNetV2",
    "PPLCNetV2_base_ssld": "PP-LCNetV2, distilled",
}
# PaddleX 3's own exports of them, in Paddle 3's form; nothing of these archives was read here either.
PADDLEX = "https://paddle-model-ecology.bj.bcebos.com/paddlex/official_inference_model/paddle3.0.0"
OFFICIAL |= {
    name: OfficialModel(task, about, f"{PADDLEX}/{name}_infer.tar")
    for name, task, about in (
        ("PP-ShiTuV2_rec", "embed", "PP-ShiTuV2's embedder as PaddleX 3 publishes it"),
        ("PP-ShiTuV2_det", "detect", "PP-ShiTuV2's main bodies as PaddleX 3 publishes it"),
    )
}
OFFICIAL |= {
    name: OfficialModel("classify", f"{network}: ImageNet's classes, 224 px", f"{CLASSIFIER_ARCHIVES}/{name}_infer.tar")
    for name, network in CLASSIFIERS.items()
}


def pull(
    name: str,
    cache_dir: Path,
    progress: Progress | None = None,
    *,
    url: str | None = None,
    table: Mapping[str, OfficialModel] = OFFICIAL,
) -> Path:
    """The folder of the official model `name`, downloaded unless it is there already. `url` is a mirror to use instead.

    Raises ArtifactError: model_unknown, download_failed, checksum_mismatch, archive_unsafe, artifact_invalid.
    """
    if name not in table:
        raise ArtifactError(f"There is no official model {name!r}; there are {', '.join(table)}.", "model_unknown")
    model = table[name]
    present = pulled(name, cache_dir)
    if present is not None:
        return present
    try:
        (cache_dir / "downloads").mkdir(parents=True, exist_ok=True)
        with _only_one(cache_dir / "downloads" / f"{name}.lock"):
            return pulled(name, cache_dir) or _pull(name, model, url or model.url, cache_dir, progress or _silently)
    except OSError as error:
        raise ArtifactError(f"The model can't be written to {str(cache_dir)!r}: {error.strerror}.") from error


def _pull(name: str, model: OfficialModel, url: str, cache_dir: Path, progress: Progress) -> Path:
    part = cache_dir / "downloads" / f"{name}.part"
    download(url, part, progress)
    receipt = read_receipt(name, cache_dir)
    expected = model.sha256 or (receipt["sha256"] if receipt else None)
    sha256 = sha256_of(part)
    if expected is not None and sha256 != expected:
        _forget(part)
        source = "published" if model.sha256 else "recorded at the first pull"
        detail = f"{url} gave another file than the one {source}: SHA-256 {sha256} instead of {expected}."
        raise ArtifactError(detail, "checksum_mismatch")
    with tempfile.TemporaryDirectory(dir=part.parent) as scratch:
        unpacked = Path(scratch, sha256)
        content = unpacked / name  # the folder's name becomes the model's
        content.mkdir(parents=True)
        try:
            unpack(part, content)
            _check_contents(content, model)
        except ArtifactError as error:  # the archive is at fault, not this machine
            _forget(part)
            raise ArtifactError(f"{url} is no archive of {name}: {error.detail}", error.code) from error
        folder = cache_dir / sha256
        if folder.exists():  # left by a pull that ended before its record was written
            shutil.rmtree(folder)
        unpacked.replace(folder)
    _write(cache_dir / f"{name}.json", json.dumps({"url": url, "sha256": sha256}) + "\n")
    _forget(part)
    return folder / name


def download(url: str, part: Path, progress: Progress) -> None:
    """Completes `part` from `url`, resuming after what it holds already. Raises ArtifactError: download_failed."""
    problem = ""
    for _ in range(ATTEMPTS):
        try:
            _fetch_rest(url, part, progress)
            return
        except requests.Timeout:
            problem = "the server stopped answering"
        except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError) as error:
            unreachable = isinstance(error, requests.ConnectionError) and "Max retries" in str(error)
            problem = f"{urlsplit(url).hostname} can't be reached" if unreachable else "the connection was cut"
        except requests.RequestException as error:
            problem = f"the request is not possible ({type(error).__name__})"
            break
    raise ArtifactError(f"Downloading {url} failed: {problem}. What has arrived is kept; try again.", "download_failed")


def _fetch_rest(url: str, part: Path, progress: Progress) -> None:
    """One request, for all or for the rest; raises what `requests` raises when it breaks off."""
    state = _read_state(part, url)
    held = part.stat().st_size if state and part.is_file() else 0
    headers = {"Accept-Encoding": "identity"}  # bytes as they are stored, so that their number counts
    if held:
        headers |= {"Range": f"bytes={held}-", "If-Range": state}
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as answer:
        if answer.status_code == requests.codes.requested_range_not_satisfiable:
            _forget(part)  # the file there has changed or is complete here already: once more from the start
            raise requests.exceptions.ChunkedEncodingError
        if answer.status_code not in {requests.codes.ok, requests.codes.partial_content}:
            detail = f"Downloading {url} failed: the server answers {answer.status_code} {answer.reason}."
            raise ArtifactError(detail, "download_failed")
        resumes = answer.status_code == requests.codes.partial_content
        if resumes and not answer.headers.get("Content-Range", "").startswith(f"bytes {held}-"):
            _forget(part)
            raise requests.exceptions.ChunkedEncodingError
        done = held if resumes else 0
        length = answer.headers.get("Content-Length", "")
        total = done + int(length) if length.isdecimal() else None
        _write(_state_file(part), json.dumps({"url": url, "validator": _validator(answer)}))
        progress(done, total)
        with part.open("ab" if resumes else "wb") as file:
            for chunk in answer.iter_content(CHUNK_BYTES):
                done += len(chunk)
                if done > MAX_BYTES:
                    raise ArtifactError(f"{url} is larger than {MAX_BYTES} bytes.", "download_failed")
                file.write(chunk)
                progress(done, total)
        if total is not None and done != total:
            raise requests.exceptions.ChunkedEncodingError


def _validator(answer: requests.Response) -> str:
    """What shows whether the file is still the same when a download resumes; "" if the server gives nothing of use."""
    etag = answer.headers.get("ETag", "")
    return answer.headers.get("Last-Modified", "") if etag.startswith("W/") or not etag else etag


def _read_state(part: Path, url: str) -> str:
    """The validator of a part that was begun from `url`, or "": such a part is begun again."""
    try:
        state = json.loads(_state_file(part).read_bytes())
        return str(state["validator"]) if state["url"] == url else ""
    except (OSError, ValueError, LookupError, TypeError):
        return ""


def _state_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _check_contents(folder: Path, model: OfficialModel) -> None:
    """Holds the unpacked files to what is known of them, sees that they are a model, and records their checksums."""
    if not is_official(folder):
        held = ", ".join(sorted(file.name for file in folder.iterdir())) or "no files"
        detail = f"it holds {held}, and no program of PaddlePaddle's (inference.pdmodel or inference.json)."
        raise ArtifactError(detail, "artifact_incomplete")
    for name, expected in model.contents.items():
        if not (folder / name).is_file() or sha256_of(folder / name) != expected:
            raise ArtifactError(f"{name} in the archive is not the published one.", "checksum_mismatch")
    for name, expected in model.blobs.items():
        if not (folder / name).is_file() or _git_blob(folder / name) != expected:
            raise ArtifactError(f"{name} in the archive is not the published one.", "checksum_mismatch")
    manifest = official_manifest(folder)
    if manifest.task != model.task:
        raise ArtifactError(f"The archive holds a model to {manifest.task}, not to {model.task}.")
    lines = "".join(f"{sha256}  {name}\n" for name, sha256 in sorted(manifest.files.items()))
    _write(folder / CHECKSUMS, lines)


def _silently(done: int, total: int | None) -> None:
    """Nobody watches."""
    del done, total


def _git_blob(file: Path) -> str:
    """The SHA-1 under which git keeps a file: a checksum that others published, not a safeguard in itself."""
    data = file.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def _write(file: Path, text: str) -> None:
    part = file.with_name(f"{file.name}.new")
    part.write_text(text, encoding="utf-8")
    part.replace(file)


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _state_file(part).unlink(missing_ok=True)


@contextmanager
def _only_one(lock: Path) -> Iterator[None]:
    """Two pulls of one model: the second waits, and then finds it there."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
