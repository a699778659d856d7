"""The version has one source, and is told where the package is not installed, as in the container image."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import click

from infra.version import VERSION
from web.routes import description

ROOT = Path(__file__).parents[1]
COPIED = re.compile(r"^COPY (\S+) (?:\S+)$", re.MULTILINE)


def test_the_version_is_reported_without_the_package_s_metadata(tmp_path: Path) -> None:
    """With what the image copies, and of the installed packages only click."""
    dockerfile = (ROOT / "infra/deploy/docker/Dockerfile").read_text(encoding="utf-8")
    app, packages = tmp_path / "app", tmp_path / "packages"
    for name in COPIED.findall(dockerfile):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, app / name, ignore=shutil.ignore_patterns("__pycache__", "bundled"))
        elif source.suffix == ".py":
            app.mkdir(exist_ok=True)
            shutil.copy(source, app)
    packages.mkdir()
    (packages / "click").symlink_to(Path(click.__file__).parent)
    report = subprocess.run(
        [sys.executable, "-S", "-m", "shitu", "--version"],  # -S: without the environment's own packages
        cwd=app,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(packages)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (report.returncode, report.stdout) == (0, f"shitu, version {VERSION}\n"), report.stderr


def test_packaging_and_the_api_s_description_read_the_same() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "version" not in project["project"]
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "infra.version.VERSION"}
    assert description()["info"]["version"] == VERSION
