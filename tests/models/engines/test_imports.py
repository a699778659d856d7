"""What the engines import, and when: seen in fresh interpreters."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("missing", "ending", "engine", "package"),
    [("paddle", "json", "paddle", "paddlepaddle"), ("openvino", "xml", "auto", "openvino")],
)
def test_an_engine_that_is_not_installed_is_named(
    tiny: dict[tuple[str, str], Path], missing: str, ending: str, engine: str, package: str
) -> None:
    script = (
        "import importlib.util, sys\n"
        "found = importlib.util.find_spec\n"
        f"importlib.util.find_spec = lambda name, *rest: None if name == {missing!r} else found(name, *rest)\n"
        "from models.engines.loader import load_program\n"
        "from models.errors import EngineError\n"
        "try:\n    load_program(sys.argv[1], engine=sys.argv[2])\n"
        "except EngineError as error:\n    print(error.code, error.detail)\n"
    )
    answer = run_python(script, str(tiny[ending, "embed"]), engine)
    assert answer == f"engine_not_installed To run this program, install {package}.\n"


def test_importing_the_module_loads_no_engine() -> None:
    script = "import sys, models.engines.loader, models.detector, models.embedder\nprint({'openvino', 'paddle'} & set(sys.modules))"
    assert run_python(script) == "set()\n"


def test_serving_with_openvino_never_imports_paddle(tiny: dict[tuple[str, str], Path]) -> None:
    script = (
        "import sys\nfrom models.engines.loader import load_program\n"
        "load_program(sys.argv[1], outputs=['scores', 'bins'])\nprint('paddle' in sys.modules)"
    )
    assert run_python(script, str(tiny["pdmodel", "detect"])) == "False\n"


def test_threads_may_run_their_first_programs_at_the_same_time(tiny: dict[tuple[str, str], Path]) -> None:
    """OpenVINO fills its tables of element types at the first use. Here that takes long enough for the others to come.

    In a separate process: these tables are filled once, and a thread that waits for them wrongly stops all.
    """
    script = """
import faulthandler, sys, threading, time
import numpy as np
from models.engines.loader import load_program

class Slow(np.lib.NumpyVersion):  # requested while the tables are filled
    def __init__(self, version):
        time.sleep(0.3)
        super().__init__(version)

np.lib.NumpyVersion = Slow
faulthandler.dump_traceback_later(20, exit=True)
loaded = [load_program(sys.argv[1]) for _ in range(3)]
pixels = np.zeros((1, 3, 32, 32), np.float32)
threads = [threading.Thread(target=program.run, args=({"x": pixels},)) for program in loaded]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("answered")
"""
    assert run_python(script, str(tiny["xml", "embed"])) == "answered\n"


def run_python(script: str, *arguments: str) -> str:
    """What a fresh interpreter prints."""
    root = Path(__file__).parents[3]
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, cwd=root, env=os.environ, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


def test_running_a_program_loads_no_telemetry(tiny: dict[tuple[str, str], Path]) -> None:
    script = (
        "import sys\nfrom models.engines.loader import load_program\nload_program(sys.argv[1])\n"
        "print([name for name in sys.modules if 'openvino_telemetry' in name and sys.modules[name] is not None])"
    )
    assert run_python(script, str(tiny["xml", "embed"])) == "[]\n"
