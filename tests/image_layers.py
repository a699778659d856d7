"""An image of the Dockerfile without a container engine: its layers in a folder, and its commands run from there.

The Dockerfile's own lines are followed (which lock files, which code, what is deleted); the packages are installed by pip
from the lock, and processes run as another user, with the folder mounted read-only in a mount namespace of their own and
with nothing else on their path.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
DOCKERFILE = ROOT / "infra/deploy/docker/Dockerfile"
PYTHON = "/usr/bin/python3.11"  # one that other users may run; the images' own is Debian's neighbour
USER = 10001
MB = 1_000_000


class Stage(NamedTuple):
    """One stage: what it begins with, and its instructions."""

    base: str
    lines: list[tuple[str, str]]


@cache
def stages() -> dict[str, Stage]:
    found: dict[str, Stage] = {}
    for line in DOCKERFILE.read_text(encoding="utf-8").replace("\\\n", " ").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        word, rest = line.split(maxsplit=1)
        if word == "FROM":
            found[name := rest.split()[-1]] = Stage(rest.split()[0], [])
        else:
            found[name].lines.append((word, rest))
    return found


def words(target: str, instruction: str) -> list[str]:
    """The words of an ENTRYPOINT or a CMD."""
    [rest] = [rest for word, rest in stages()[target].lines if word == instruction]
    return shlex.split(rest.strip("[]").replace(",", " "))


def variables(target: str) -> dict[str, str]:
    """What the stage itself sets by ENV."""
    pairs = [pair for word, rest in stages()[target].lines if word == "ENV" for pair in shlex.split(rest)]
    return dict(pair.split("=", 1) for pair in pairs)


def build(target: str, folder: Path) -> None:
    """`folder`/venv/lib and `folder`/app, as the stage `target` and those that it copies from make them."""
    assert ("COPY", f"--from={target}-packages /venv /venv") in stages()[target].lines
    _install(f"{target}-packages", folder)
    for word, rest in stages()["code"].lines:
        *sources, to = rest.split()
        for source in sources if word == "COPY" else ():
            place = folder / "app" / to
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, place, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
            else:
                place.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / source, place)
    assert any("mv models/bundled /bundled" in rest for _, rest in stages()["code"].lines)
    networks = folder / "app/models/bundled"
    if ("COPY", "--from=code /bundled /app/models/bundled") not in stages()[target].lines:
        shutil.rmtree(networks)
    assert ("COPY", "--from=code /app /app") in stages()[target].lines


def _install(stage: str, folder: Path) -> None:
    """The packages of `stage`, after those of the one that it begins with."""
    base, lines = stages()[stage]
    if base != "base":
        _install(base, folder)
    lock = next(rest.split()[0] for word, rest in lines if word == "COPY")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--target", folder / "venv/lib", "-r", ROOT / lock],
        check=True,
        timeout=1200,
    )
    for _, rest in lines:
        if found := re.search(r"&&\s+find /venv (.*)$", rest):
            subprocess.run(f"find {folder}/venv {found[1]}", shell=True, check=True)


def size_mb(folder: Path) -> float:
    """Without what a start would compile: it is compiled in the image, from these files."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc") / MB


def start(folder: Path, data: Path, *arguments: str, **env: str) -> subprocess.Popen[str]:
    """`python ARGUMENTS` in the image: another user, a read-only root, no other packages."""
    shielded = f'mount --bind {folder} {folder} && mount -o remount,ro,bind {folder} && exec "$@"'
    user = ("setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--no-new-privs")
    return subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", shielded, "sh", *user, PYTHON, "-S", *arguments],
        cwd=folder / "app",
        env={
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": f"{folder}/app:{folder}/venv/lib",
            "PYTHONDONTWRITEBYTECODE": "1",
            "SHITU_DATA_DIR": str(data),
            "HOME": str(data),
            **env,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(folder: Path, data: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[Any]:
    """The same, to its end."""
    process = start(folder, data, *arguments, **env)
    try:
        said, errors = process.communicate(timeout=600)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return subprocess.CompletedProcess(process.args, process.returncode, said, errors)
