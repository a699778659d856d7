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

EMBED = """
import numpy as np, sys
from models.artifacts import resolve
from models.embedder import Embedder
image = np.random.default_rng(0).integers(0, 255, (160, 160, 3), dtype=np.uint8)
np.save(sys.argv[1], Embedder(resolve("shitu-embedder"))([image]))
"""
UP = """
import os, signal, sys
sys.argv[0] = "shitu"
import shitu, commands.stack as stack
def ready(started):
    os.kill(os.getpid(), signal.SIGTERM)
    return "READY"
stack.banner = ready
shitu.main(["up", "--port", "0"])
"""


def run(*command: str, **env: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if name != "REDIS_URL" and not name.startswith("SHITU_")}
    return subprocess.run(
        command,
        env={**clean, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", **env},
        cwd=ROOT, capture_output=True, text=True, timeout=110, check=False,
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
    told = run(sys.executable, "-c", EMBED, str(tmp_path / "unused.npy"), ONEDNN_MAX_CPU_ISA=isa, ONEDNN_VERBOSE="1")
    (used,) = set(re.findall(r"cpu,isa:(.*)", told.stdout))
    assert "AVX2" in used if isa == "AVX2" else "SSE4.1" in used, used
    assert float((vectors["all"] * vectors[isa]).sum()) > 0.999


def test_a_user_without_rights_on_a_read_only_disk(tmp_path: Path) -> None:
    """All but the data folder and /tmp's replacement is read-only, and the user is not root."""
    unshare, setpriv = shutil.which("unshare"), shutil.which("setpriv")
    if unshare is None or setpriv is None or os.getuid() != 0:
        pytest.skip("needs root, unshare and setpriv")
    if run(unshare, "--mount", "true").returncode:
        pytest.skip("unshare is not allowed here")
    if run(
        setpriv,
        "--reuid=10001",
        "--regid=10001",
        "--clear-groups",
        "sh",
        "-c",
        f"'{sys.executable}' -c 'import shitu'; exit $?",
    ).returncode:
        pytest.skip("another user may not read this interpreter or these sources")
    script = (
        "mount -t tmpfs -o mode=1777 none /tmp && mkdir -m 777 /tmp/data && mount -o remount,ro,bind / && "
        "(touch /none 2>/dev/null && echo WRITABLE); "
        'exec setpriv --reuid=10001 --regid=10001 --clear-groups "$0" -c "$1"'
    )
    done = run(
        unshare, "--mount", "sh", "-c", script, sys.executable, UP, SHITU_DATA_DIR="/tmp/data", HOME="/none"
    )  # fmt: skip
    assert "WRITABLE" not in done.stdout
    assert done.returncode == 0, done.stdout + done.stderr
    assert "stopped; the data stay in" in done.stdout


def test_python_3_12(tmp_path: Path) -> None:
    """The lock file of the server installs there, and the command line recognises."""
    found = shutil.which("python3.12")
    if found is None or run(found, "--version").returncode:
        pytest.skip("no python3.12 on PATH")
    env = tmp_path / "env"
    assert run(found, "-m", "venv", str(env)).returncode == 0
    pip = (str(env / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--timeout", "5")
    try:
        done = run(*pip, "--retries", "0", "-r", str(ROOT / "requirements/serve.txt"))
    except subprocess.TimeoutExpired:
        pytest.skip("the packages did not install in time")
    if done.returncode:
        pytest.skip(f"the packages cannot be installed here: {done.stderr[-200:]}")
    embedded = run(str(env / "bin/python"), "-c", EMBED, str(tmp_path / "vector.npy"))
    assert embedded.returncode == 0, embedded.stderr
    started = run(str(env / "bin/python"), "-c", UP, SHITU_DATA_DIR=str(tmp_path / "data"))
    assert started.returncode == 0, started.stdout + started.stderr
