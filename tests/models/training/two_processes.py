"""Starts a script in two processes that train together, as `paddle.distributed.launch` starts them."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def run_in_two(script: str, logs: Path, *arguments: Path, timeout_s: float = 100) -> None:
    """Runs `script` with `arguments` to its end. Raises AssertionError if it fails."""
    launch = [sys.executable, "-m", "paddle.distributed.launch", "--backend", "gloo", "--nproc_per_node", "2"]
    report = subprocess.run(
        [*launch, "--log_dir", str(logs), script, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert report.returncode == 0, report.stdout[-3000:] + report.stderr[-3000:]
