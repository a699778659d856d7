"""The service on machines that are not the developer's: without rights, without a writable disk, without new instructions.

Each runs once, in `make test-all`. What this machine cannot show is skipped with its reason.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow

INSTALLED_WITHIN_S = 900.0
EMBED = """
import numpy as np, sys
from models.artifacts.folders import resolve
from models.embedder import Embedder
image = np.random.default_rng(0).integers(0, 255, (160, 160, 3), dtype=np.uint8)
np.save(sys.argv[1], Embedder(resolve("shitu-embedder"))([image]))
"""
UP = """
import os, signal, sys
sys.argv[0] = "shitu"
from shitu.cli import main, stack
def ready(started):
    print("READY", flush=True)
    os.kill(os.getpid(), signal.SIGTERM)
    return ""
stack.banner = ready
main.main(["up", "--port", "0"])
"""


def run(*command: str, timeout_s: float = 110, **env: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if name != "REDIS_URL" and not name.startswith("SHITU_")}
    return subprocess.run(
        command,
        env={**clean, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", **env},
        cwd=ROOT, capture_output=True, text=True, timeout=timeout_s, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("isa", ["SSE41", "AVX2"])
def test_a_processor_without_new_instructions_embeds_the_same(tmp_path: Path, isa: str) -> None:
    import numpy as np

    vectors = {}
    for name, env in (("all", {}), (isa, {"ONEDNN_MAX_CPU_ISA": isa})):
        done = run(sys.executable, "-c", EMBED, str(tmp_path / f"{name}.npy"), **env)
        assert done.returncode == 0, done.stderr
        vectors[name] = np.load(tmp_path / f"{name}.npy")
    # Asked apart, and only for the name: with its verbose mode on, OpenVINO's answers are not numbers.
    report = run(sys.executable, "-c", EMBED, str(tmp_path / "unused.npy"), ONEDNN_MAX_CPU_ISA=isa, ONEDNN_VERBOSE="1")
    (used,) = set(re.findall(r"cpu,isa:(.*)", report.stdout))
    assert "AVX2" in used if isa == "AVX2" else "SSE4.1" in used, used
    assert float((vectors["all"] * vectors[isa]).sum()) > 0.999


# As root in mounts of its own. What a folder keeps from others (a home) is shown to them here, and only to them: tmpfs
# over it, and the paths that are needed bound into that. Then nothing but `free` can be written to, by uid 10001 even less.
CONFINED = """
import os, pathlib, subprocess, sys
free, *needed, code = sys.argv[1:]
mount = lambda *words: subprocess.run(["mount", *words], check=True)
mount("-t", "tmpfs", "-o", "mode=1777", "none", free)
closed = {}
for path in map(pathlib.Path, needed):
    barred = [folder for folder in reversed(path.parents) if not folder.stat().st_mode & 1]
    if barred:
        closed.setdefault(barred[0], []).append(path)
bound = []
for folder, paths in closed.items():
    for number, path in enumerate(paths):
        stash = pathlib.Path(free, "stash%d" % number)
        stash.mkdir()
        mount("--bind", path, stash)
    mount("-t", "tmpfs", "-o", "mode=755", "none", folder)
    for number, path in enumerate(paths):
        stash = pathlib.Path(free, "stash%d" % number)
        path.mkdir(parents=True, exist_ok=True)
        mount("--bind", stash, path)
        subprocess.run(["umount", stash], check=True)
        stash.rmdir()
        bound.append(path)
    bound.append(folder)
for place in (*bound, "/"):
    mount("-o", "remount,ro,bind", place)
for place in (*map(str, bound), "/", "/tmp"):
    try:
        open(os.path.join(place, "none"), "w").close()
        print("WRITABLE", place)
    except OSError:
        pass
os.execvp("setpriv", ["setpriv", "--reuid=10001", "--regid=10001", "--clear-groups", sys.executable, "-c", code])
"""


def test_a_user_without_rights_on_a_read_only_disk() -> None:
    """All but one folder, with the data and for temporary files, is read-only, and the user is not root."""
    unshare, setpriv = shutil.which("unshare"), shutil.which("setpriv")
    if unshare is None or setpriv is None or os.getuid() != 0:
        pytest.skip("needs root, unshare and setpriv")
    if run(unshare, "--mount", "true").returncode:
        pytest.skip("unshare is not allowed here")
    needed = sorted({sys.base_prefix, sys.prefix, str(ROOT), *(path for path in sys.path if Path(path).is_dir())})
    whole = [path for path in needed if not any(other != path and Path(path).is_relative_to(other) for other in needed)]
    free = next(
        place for place in ("/mnt", "/srv", "/media")
        if Path(place).is_dir() and not any(Path(path).is_relative_to(place) for path in whole)
    )  # fmt: skip
    code = "import os; assert os.getuid() == 10001; " + UP
    places = {"SHITU_DATA_DIR": f"{free}/data", "TMPDIR": free, "HOME": "/none"}
    done = run(unshare, "--mount", sys.executable, "-c", CONFINED, free, *whole, code, **places)
    assert "WRITABLE" not in done.stdout
    assert done.returncode == 0, done.stdout + done.stderr
    assert "READY" in done.stdout
    assert "stopped; the data stay in" in done.stdout


def pythons(version: str) -> list[str]:
    """Interpreters of this version: on PATH, or where pyenv, uv and conda keep theirs."""
    homes = [Path(os.environ.get("PYENV_ROOT", "~/.pyenv")), Path("~/.local/share/uv/python"), Path("/opt/conda/envs")]
    kept = [
        str(path)
        for home in homes
        for pattern in ("versions/*", "*")
        for path in sorted(home.expanduser().glob(f"{pattern}/bin/python{version}"))
    ]
    # A shim of pyenv may be on PATH without standing for anything.
    return [
        found for found in (shutil.which(f"python{version}"), *kept)
        if found and run(found, "-c", "import ssl, venv, ensurepip").returncode == 0
    ]  # fmt: skip


@pytest.mark.timeout(INSTALLED_WITHIN_S + 300)
def test_python_3_12(tmp_path: Path) -> None:
    """The lock file of the server installs there, and the command line recognises."""
    found = pythons("3.12")
    if not found:
        pytest.skip("there is no Python 3.12 here")
    env = tmp_path / "env"
    assert run(found[0], "-m", "venv", str(env)).returncode == 0
    pip = (str(env / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--timeout", "5")
    try:
        done = run(
            *pip,
            "--retries",
            "0",
            "--only-binary",
            ":all:",
            "-r",
            str(ROOT / "requirements/serve.txt"),
            timeout_s=INSTALLED_WITHIN_S,
        )
    except subprocess.TimeoutExpired:
        pytest.skip("the packages did not install in time")
    if done.returncode:
        pytest.skip(f"the packages cannot be installed here: {done.stderr[-200:]}")
    embedded = run(str(env / "bin/python"), "-c", EMBED, str(tmp_path / "vector.npy"))
    assert embedded.returncode == 0, embedded.stderr
    started = run(str(env / "bin/python"), "-c", UP, SHITU_DATA_DIR=str(tmp_path / "data"))
    assert started.returncode == 0, started.stdout + started.stderr
