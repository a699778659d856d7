"""Manifests are read strictly, folders are held to their checksums, and names find their folders."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models.artifacts import folders as artifacts
from models.artifacts.folders import bundled, default_cache_dir, load_manifest, pulled, resolve, verify
from models.artifacts.manifest import ClassOutput, HashOutput, parse_manifest
from models.errors import ArtifactError
from tests.models.programs import DIM, artifact, official_archive


@pytest.fixture
def embedder(tmp_path: Path) -> Path:
    return artifact(tmp_path / "tiny", "embed")


def read(folder: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return data


def test_a_written_manifest_reads_back(embedder: Path) -> None:
    manifest = load_manifest(embedder)
    assert (manifest.name, manifest.task, manifest.official) == ("tiny-embed", "embed", False)
    assert manifest.to_dict()["output"] == {"name": "fetch_name_0", "dim": DIM}
    assert sorted(manifest.files) == ["inference.bin", "inference.xml"]
    assert json.loads(json.dumps(manifest.to_dict())) == read(embedder)


def test_the_digest_is_of_the_sorted_files_alone(embedder: Path) -> None:
    manifest = load_manifest(embedder)
    lines = "".join(
        f"{name} {hashlib.sha256((embedder / name).read_bytes()).hexdigest()}\n" for name in sorted(manifest.files)
    )
    assert manifest.digest == hashlib.sha256(lines.encode()).hexdigest()
    shuffled = {**read(embedder), "name": "other", "files": dict(reversed(manifest.files.items()))}
    assert parse_manifest(shuffled).digest == manifest.digest


def test_a_precision_has_the_digest_of_its_own_files(embedder: Path) -> None:
    table = read(embedder)
    digest = load_manifest(embedder).digest
    table["files"] |= {"inference_int8.xml": "1" * 64, "inference_int8.bin": "2" * 64}
    table["precisions"] = {"bf16": {"pictures": 3}, "int8": {}}
    manifest = parse_manifest(table)
    assert manifest.digest == manifest.digest_of("fp32") == manifest.digest_of("bf16") == digest
    lines = "inference_int8.bin " + "2" * 64 + "\ninference_int8.xml " + "1" * 64 + "\n"
    assert manifest.digest_of("int8") == hashlib.sha256(lines.encode()).hexdigest()
    for precision in ("auto", "fp32", "bf16", "int8"):
        manifest.require(precision)
    with pytest.raises(ArtifactError, match="tiny-embed is not made for fp16, only for fp32, bf16, int8"):
        manifest.require("fp16")


@pytest.mark.parametrize(
    ("task", "output", "read_as"),
    [
        ("hash", {"name": "y", "bits": 64}, HashOutput("y", 64)),
        ("classify", {"name": "y", "labels": ["cat", "dog"]}, ClassOutput("y", ("cat", "dog"))),
    ],
)
def test_codes_and_classes_are_outputs_too(
    embedder: Path, task: str, output: dict[str, Any], read_as: HashOutput | ClassOutput
) -> None:
    assert parse_manifest({**read(embedder), "task": task, "output": output}).output == read_as
    for key in output:
        with pytest.raises(ArtifactError, match=rf"output\.{key}: is missing"):
            parse_manifest({**read(embedder), "task": task, "output": {k: v for k, v in output.items() if k != key}})
    for wrong in ({**output, "bits": 0}, {**output, "labels": "cat"}):
        with pytest.raises(ArtifactError, match=r"output"):
            parse_manifest({**read(embedder), "task": task, "output": wrong})


def dropped(key: str) -> Callable[[dict[str, Any]], None]:
    return lambda table: table.pop(key)


def put(value: Any, *path: Any) -> Callable[[dict[str, Any]], None]:
    def change(table: Any) -> None:
        for key in path[:-1]:
            table = table[key]
        table[path[-1]] = value

    return change


BROKEN: list[tuple[Callable[[dict[str, Any]], None], str]] = [
    *((dropped(key), key) for key in ("schema", "name", "task", "network", "input", "output", "files")),
    (put(1, "colour"), "colour: is an unknown key"),
    (put(2, "schema"), "schema is 2"),
    (put("segment", "task"), "'segment'"),
    (put(True, "official"), "official: is an unknown key"),
    (put("", "name"), "name: must be text that is not empty"),
    (put(1, "input", "blur"), "input.blur: is an unknown key"),
    (put("128", "input", "height"), "input.height: must be a whole number"),
    (put(True, "input", "height"), "input.height: must be a whole number, not true"),
    (put(0, "input", "width"), "input.width: must be 1 or more, not 0"),
    (put("nearest", "input", "interpolation"), "input.interpolation: must be one of"),
    (put(3, "input", "resize_short"), "input.resize_short: must be 0, or no less than 'height' and 'width', not 3"),
    (put([1, 2], "input", "mean"), r"input\.mean: has too few entries: \[1, 2\]"),
    (put([1, 0, 1], "input", "std"), r"input\.std\[1\]: must be above 0, not 0"),
    (put(["a", 0, 1], "input", "std"), r"input\.std\[0\]: must be a number, not 'a'"),
    (put("512", "output", "dim"), "output.dim: must be a whole number, not '512'"),
    (put(3, "output"), "output: must be a table, not 3"),
    (put("x", "thresholds", "similarity"), "thresholds.similarity: must be a number"),
    (put("ABC", "files", "inference.xml"), "files: 'inference.xml' must be a plain file name with a SHA-256"),
    (put(7, "files", "inference.xml"), "files.inference.xml: must be text, not 7"),
    (put("0" * 64, "files", "../evil"), "files: '../evil' must be a plain file name"),
    (put("data", "data"), "data: must be a list"),
    (put([], "recipe"), "recipe: must be a table"),
    (put({"fp32": {}}, "precisions"), "precisions: has an unknown key 'fp32'"),
    (put({"int8": {}}, "precisions"), "none of the files is for int8"),
    (put({"bf16": 1}, "precisions"), "precisions.bf16: must be a table"),
    (put([{"source": "x"}], "credits"), "3 mistakes:\n  credits.0..kind: is missing\n"),
    (put([3], "credits"), "credits.0.: must be a table"),
]


@pytest.mark.parametrize(("change", "message"), BROKEN)
def test_whatever_is_wrong_with_a_manifest_is_named(
    embedder: Path, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    table = read(embedder)
    change(table)
    (embedder / "manifest.json").write_text(json.dumps(table))
    with pytest.raises(ArtifactError, match=message) as caught:
        load_manifest(embedder)
    assert caught.value.code == "artifact_invalid"


def test_all_mistakes_of_a_manifest_are_named_at_once(embedder: Path) -> None:
    table = read(embedder)
    table |= {"colour": 1, "licence": 3, "precisions": {"int8": {}}}
    table["input"]["height"] = 0
    table["output"] = {"dim": 0}
    table["files"]["../evil"] = "0" * 64
    (embedder / "manifest.json").write_text(json.dumps(table))
    with pytest.raises(ArtifactError) as caught:
        load_manifest(embedder)
    first, *lines = caught.value.detail.split("\n")
    assert first == "tiny/manifest.json: 7 mistakes:"
    assert sorted(line.strip() for line in lines) == [
        "colour: is an unknown key; known: name, task, network, input, output, files, thresholds, recipe, data, "
        "metrics, licence, precisions, calibration, credits",
        "files: '../evil' must be a plain file name with a SHA-256",
        "input.height: must be 1 or more, not 0",
        "licence: must be text, not 3",
        "output.dim: must be 1 or more, not 0",
        "output.name: is missing",
        "precisions: none of the files is for int8",
    ]


def test_a_detectors_heads_are_read_strictly(tmp_path: Path) -> None:
    table = read(artifact(tmp_path, "detect"))
    for broken in ([], [{"scores": "a"}], [{"scores": "a", "distances": "b", "stride": 0}], "heads"):
        with pytest.raises(ArtifactError, match=r"output\.heads"):
            parse_manifest({**table, "output": {"heads": broken, "reg_max": 7}})


@pytest.mark.parametrize("text", ["", "{", "[]", "null"])
def test_a_manifest_that_is_no_table_is_an_error(embedder: Path, text: str) -> None:
    (embedder / "manifest.json").write_text(text)
    with pytest.raises(ArtifactError):
        load_manifest(embedder)


def test_a_folder_without_a_model_is_reported_otherwise_than_no_folder(tmp_path: Path) -> None:
    for folder, code in ((tmp_path, "artifact_incomplete"), (tmp_path / "no", "artifact_missing")):
        with pytest.raises(ArtifactError) as caught:
            load_manifest(folder)
        assert caught.value.code == code


def test_verifying_notices_changed_and_missing_files(embedder: Path) -> None:
    assert sorted(verify(embedder)) == ["inference.bin", "inference.xml"]
    data = bytearray((embedder / "inference.bin").read_bytes())
    data[100] ^= 1
    (embedder / "inference.bin").write_bytes(data)
    with pytest.raises(ArtifactError) as caught:
        verify(embedder)
    assert caught.value.code == "artifact_changed"
    (embedder / "inference.bin").unlink()
    with pytest.raises(ArtifactError) as caught:
        verify(embedder)
    assert caught.value.code == "artifact_incomplete"


def test_an_archive_without_recorded_checksums_can_not_be_verified(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no checksums were recorded"):
        verify(official_archive(tmp_path / "archive", "embed"))


def test_an_official_archive_that_lacks_a_file_is_incomplete(tmp_path: Path) -> None:
    archive = official_archive(tmp_path / "archive", "embed")
    (archive / "inference.pdiparams").unlink()
    with pytest.raises(ArtifactError) as caught:
        load_manifest(archive)
    assert caught.value.code == "artifact_incomplete"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("keep_ratio: false", "keep_ratio: true"),
        ("interp: 2", "interp: 9"),
        ("Resize", "Pad"),
        ("[", "("),
        ("- {", "{{"),
    ],
)
def test_a_detectors_configuration_that_is_not_understood_is_an_error(tmp_path: Path, before: str, after: str) -> None:
    archive = official_archive(tmp_path / "archive", "detect")
    text = (archive / "infer_cfg.yml").read_text()
    assert before in text
    (archive / "infer_cfg.yml").write_text(text.replace(before, after))
    with pytest.raises(ArtifactError, match=r"infer_cfg\.yml"):
        load_manifest(archive)


def test_a_name_is_bundled_or_pulled_or_a_folder(
    embedder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert resolve(embedder, tmp_path) == embedder
    assert resolve(str(embedder), tmp_path) == embedder
    monkeypatch.setattr(artifacts, "BUNDLED", tmp_path)
    assert resolve("tiny", tmp_path / "cache") == tmp_path / "tiny"
    assert bundled() == {"tiny": tmp_path / "tiny"}
    for name in ("nothing", "../tiny", "", "."):
        assert pulled(name, tmp_path) is None
    with pytest.raises(ArtifactError, match="no model 'nothing'") as caught:
        resolve("nothing", tmp_path / "cache")
    assert caught.value.code == "artifact_missing"


def test_a_damaged_record_is_not_forgotten_silently(tmp_path: Path) -> None:
    (tmp_path / "some.json").write_text("{")
    with pytest.raises(ArtifactError, match="damaged"):
        pulled("some", tmp_path)


def test_the_cache_is_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache_dir() == tmp_path / "shitu" / "models"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative/is/ignored")
    assert default_cache_dir() == Path.home() / ".cache" / "shitu" / "models"
