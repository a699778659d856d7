"""The wheel in an empty environment, beside a user's folders that have the names of our packages."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
from pathlib import Path

import pytest

import shitu.packages
from tests.shitu.client.core import core

ROOT = Path(__file__).resolve().parent.parent
WHEEL = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
OWN = tuple(pattern.rstrip("*") for pattern in WHEEL["packages"]["find"]["include"])  # whatever the wheel has


def test_every_package_of_the_wheel_is_looked_for() -> None:
    assert {*shitu.packages.OWN, "shitu"} == set(OWN)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel; its path has spaces."""
    place = tmp_path_factory.mktemp("a path with spaces")
    build = ("pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--wheel-dir", str(place))
    sources = place / "sources"
    sources.mkdir()
    for name in OWN:
        shutil.copytree(ROOT / name, sources / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, sources)
    subprocess.run([sys.executable, "-m", *build, str(sources)], check=True, timeout=110, env=bare())
    (built,) = place.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path) -> Path:
    """An interpreter with the wheel, and behind it the packages of this one."""
    env, site = with_wheel(wheel, wheel.parent / "env")
    (site / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")  # only the folder: no .pth of it is read
    return env


def with_wheel(wheel: Path, place: Path) -> tuple[Path, Path]:
    """A new environment with the wheel and nothing else: its interpreter, and where its packages are."""
    venv.create(place, with_pip=False, symlinks=True)
    env = place / "bin/python"
    site = Path(
        subprocess.run(
            [env, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    )
    install = ("pip", "install", "--no-deps", "--no-index", "--quiet", "--target", str(site), str(wheel))
    subprocess.run([sys.executable, "-m", *install], check=True, timeout=60, env=bare())
    return env, site


def bare(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SHITU_", "PYTHON"))}
    kept.pop("REDIS_URL", None)
    return {**kept, **more}


def beside(folder: Path, *names: str) -> Path:
    """A user's folder with packages of these names, which must never be imported."""
    for name in names:
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text("raise RuntimeError('the wrong package')\n")
    return folder


def run(python: Path, folder: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, *words], cwd=folder, env=bare(**env), capture_output=True, text=True, timeout=100, check=False
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", shitu.packages.OWN)
def test_an_import_next_to_such_a_folder_is_one_sentence(python: Path, tmp_path: Path, name: str) -> None:
    done = run(python, beside(tmp_path, name), "-c", "import shitu")
    last = done.stderr.splitlines()[-1]
    assert (done.returncode, last.split(":")[0]) == (1, "ImportError"), done.stderr
    assert f"needs its own package {name!r}" in last
    assert "wrong package" not in done.stderr


@pytest.mark.slow
def test_an_import_next_to_a_folder_of_web_pages_works(python: Path, tmp_path: Path) -> None:
    (tmp_path / "web").mkdir()
    done = run(python, tmp_path, "-c", "from shitu import Recognizer; print(Recognizer.__name__)")
    assert (done.returncode, done.stdout) == (0, "Recognizer\n"), done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "report"),
    [
        (("-m", "shitu", "models", "list"), "shitu-embedder"),
        (("-m", "celery", "-A", "worker.app", "worker"), "REDIS_URL is not set"),
        (("-m", "gunicorn", "web.app:create_app()", "-b", "127.0.0.1:0", "--no-control-socket"), "REDIS_URL"),
        (("-m", "worker.keeper"), "REDIS_URL is not set"),
        (("-m", "infra.stack.health"), "REDIS_URL"),
    ],
)
def test_our_own_processes_find_our_packages(python: Path, tmp_path: Path, words: tuple[str, ...], report: str) -> None:
    others = set(shitu.packages.OWN) - {words[-1].split(".")[0], words[1].split(".")[0]}
    others -= {"worker"} if "celery" in words else {"web"} if "gunicorn" in words else set()
    done = run(python, beside(tmp_path, *sorted(others)), *words)
    assert report in done.stdout + done.stderr
    assert "wrong package" not in done.stderr


@pytest.mark.slow
def test_the_stack_starts_next_to_such_folders_and_relative_paths_are_the_users(python: Path, tmp_path: Path) -> None:
    """The data folder has a space, and the launcher ends as soon as the service says that it is ready."""
    script = (
        "import sys; sys.argv[0] = 'shitu'; import os, signal; from shitu.cli import main, stack\n"
        "stack.banner = lambda started: os.kill(os.getpid(), signal.SIGTERM) or 'READY ' + started.base_url\n"
        "main.main(['up', '--port', '0'])"
    )
    folder = beside(tmp_path / "my shop", *shitu.packages.OWN)
    done = run(python, folder, "-c", script, SHITU_DATA_DIR="my data", OMP_NUM_THREADS="1", PYTHONPATH=".")
    assert "READY http://127.0.0.1" in done.stdout or "stopped; the data stay in" in done.stdout, (
        done.stdout + done.stderr
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert {"logs", "objects", "redis", "webhook_secret"} <= {path.name for path in (folder / "my data").iterdir()}
    assert "wrong package" not in done.stdout + done.stderr


@pytest.mark.slow
def test_with_its_core_dependencies_alone_the_wheel_is_a_client(wheel: Path, tmp_path: Path) -> None:
    env, site = with_wheel(wheel, tmp_path / "env")
    for name in core():
        for file in importlib.metadata.distribution(name).files or ():
            top = site / file.parts[0]
            if file.parts[0] != ".." and not top.exists():
                top.symlink_to(Path(str(importlib.metadata.distribution(name).locate_file(file.parts[0]))))
    program = """
import importlib.util, json, shitu
from shitu import AsyncClient, Client, ClientError, verify_webhook
here = [name for name in ("openvino", "faiss", "redis", "flask", "paddle", "numpy", "click") if importlib.util.find_spec(name)]
try:
    Client("127.0.0.1:1").recognize(b"", "drinks")
except ClientError as error:
    told = str(error)
try:
    shitu.Recognizer
except ModuleNotFoundError as error:
    missing = str(error)
print(json.dumps([here, told, missing]))
"""
    done = run(env, tmp_path, "-c", program)
    assert done.stderr == ""
    here, report, missing = json.loads(done.stdout)
    assert here == []
    assert "nothing listens" in report
    assert "pip install 'shitu[serve]'" in missing
    done = run(env, tmp_path, "-m", "shitu", "--help")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "Only ShiTu's client is installed here; the commands need more: pip install 'shitu[serve]'\n"
