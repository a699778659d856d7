"""NOTICE credits whatever the bundled artifacts were made with: every source in their manifests, and every weight in their recipes."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from models.artifacts.credits import SOURCES, credits_of, named_sources, plain
from models.artifacts.folders import BUNDLED
from tests.docs_reader import ROOT

NOTICE = (ROOT / "NOTICE").read_text(encoding="utf-8")
HEADING = re.compile(r"^((?:\[[^\]\n]+\] )+)(.+)$", re.MULTILINE)
MADE_HERE = ("rendered", "drawn", "synthetic")  # pictures that are computed
MANIFESTS = sorted(BUNDLED.glob("*/manifest.json"))


def entries(notice: str) -> dict[str, str]:
    """The text of each entry by each of its names."""
    found = list(HEADING.finditer(notice))
    ends = [match.start() for match in found[1:]] + [len(notice)]
    return {
        plain(name): notice[match.start() : end]
        for match, end in zip(found, ends, strict=True)
        for name in re.findall(r"\[([^\]]+)\]", match[1])
    }


def uncredited(manifest: dict[str, Any], credited: set[str]) -> list[str]:
    """What a manifest names and nobody credits. Another bundled artifact is this project's own."""
    own = {plain(file.parent.name) for file in MANIFESTS}
    named = {*manifest["data"], *named_sources({key: manifest.get(key) for key in ("recipe", "distilled", "teachers")})}
    known = {*credited, *own, *map(plain, MADE_HERE)}
    return sorted(name for name in named if not any(source in plain(name) for source in known))


@pytest.mark.parametrize("file", MANIFESTS, ids=lambda file: file.parent.name)
def test_every_source_of_a_bundled_artifact_is_credited(file: Path) -> None:
    manifest = json.loads(file.read_text(encoding="utf-8"))
    assert manifest["data"], "an artifact names what it was made with"
    assert uncredited(manifest, set(entries(NOTICE))) == []


def test_every_entry_has_a_licence_and_none_that_forbids_derivatives() -> None:
    assert {"drinks", "grocery", "raccoon", "caltech101", "efficientnetlite0"} <= set(entries(NOTICE))
    for name, text in entries(NOTICE).items():
        licence = re.search(
            r"^    Licence: (Apache-2\.0|MIT|CC0 1\.0|Creative Commons Attribution 4\.0)\b", text, re.MULTILINE
        )
        assert licence, name


def test_the_table_that_manifests_are_credited_from_is_notices() -> None:
    credited = entries(NOTICE)
    assert {plain(name) for source in SOURCES for name in source.names} == set(credited)
    for source in SOURCES:
        for name in source.names:
            assert f"Licence: {source.licence}" in credited[plain(name)]


@pytest.mark.parametrize("file", MANIFESTS, ids=lambda file: file.parent.name)
def test_the_credits_of_a_bundled_artifact_follow_from_what_it_says(file: Path) -> None:
    manifest = json.loads(file.read_text(encoding="utf-8"))
    found = credits_of(manifest["data"], manifest["recipe"])
    assert {"grocery", "drinks", "caltech101"} <= {one["source"] for one in found}
    assert any(one["kind"] == "weights" for one in found)
    assert manifest.get("credits", found) == found


def test_what_nobody_credits_is_found() -> None:
    recipe = {
        "data": [{"root": "drinks", "teacher": "teachers/sscd.onnx"}, {"root": "", "file": "labels.tsv"}],
        "network": {"backbone": "PPLCNetV2_base", "start": "weights/efficientnet_lite0.pth"},
        "teachers": ["MobileNetV9", "shitu-embedder"],
    }
    manifest = {"data": ["rendered products", "cut-outs of drinks", "photos of cats"], "recipe": recipe}
    missing = uncredited(manifest, {"drinks", "efficientnetlite0"})
    assert missing == ["MobileNetV9", "photos of cats", "teachers/sscd.onnx"]


def test_notice_travels_with_the_licence() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["license-files"] == ["LICENSE", "NOTICE"]
    docker = ROOT / "infra/deploy/docker/Dockerfile"
    assert "COPY LICENSE NOTICE ./" in docker.read_text(encoding="utf-8").splitlines()
    for ignore in (ROOT / ".dockerignore", docker.with_name("Dockerfile.dockerignore")):
        assert {"!LICENSE", "!NOTICE"} <= set(ignore.read_text(encoding="utf-8").splitlines())
