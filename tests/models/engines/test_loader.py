"""Both engines give what numpy gives, for every format; whatever is wrong with a folder or an input is one clear error."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from models.engines import openvino as openvino_engine
from models.engines.loader import load_program
from models.engines.openvino import computes_bf16
from models.errors import ArtifactError, EngineError
from tests.models import programs
from tests.models.programs import DIM, SIDE, Array

MAKERS = {
    "onnx": programs.save_onnx,
    "json": programs.save_json,
    "xml": programs.save_ir,
    "pdmodel": programs.official_archive,
}
READERS = [
    ("openvino", "onnx"),
    ("openvino", "xml"),
    ("openvino", "pdmodel"),
    ("paddle", "json"),
    ("paddle", "pdmodel"),
]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    """Folders by format and task, each with one program."""
    folders = {}
    for ending, make in MAKERS.items():
        for task in ("embed", "detect"):
            folders[ending, task] = tmp_path_factory.mktemp(f"{ending}-{task}")
            make(folders[ending, task], task)
    return folders


def pixels(count: int, seed: int = 0) -> Array:
    return np.random.RandomState(seed).standard_normal((count, 3, SIDE, SIDE)).astype(np.float32)


@pytest.mark.parametrize(("engine", "ending"), READERS)
def test_every_format_on_every_engine_gives_what_numpy_gives(
    tiny: dict[tuple[str, str], Path], engine: str, ending: str
) -> None:
    program = load_program(tiny[ending, "embed"], engine=engine)
    assert program.engine == engine
    assert [spec.shape for spec in program.inputs] == [(None, 3, SIDE, SIDE)]
    assert [spec.shape for spec in program.outputs] == [(None, DIM)]
    (given,), (answer,) = ([spec.name for spec in specs] for specs in (program.inputs, program.outputs))
    for count in (1, 5, 2):
        batch = pixels(count, seed=count)
        np.testing.assert_allclose(program.run({given: batch})[answer], programs.embedded(batch), atol=1e-5)


@pytest.mark.parametrize(("engine", "ending"), [("openvino", "xml"), ("openvino", "onnx"), ("paddle", "json")])
def test_several_outputs_come_by_name(tiny: dict[tuple[str, str], Path], engine: str, ending: str) -> None:
    program = load_program(tiny[ending, "detect"], engine=engine)
    answer = program.run({"x": pixels(1)})
    for name, expected in zip(("fetch_name_0", "fetch_name_1"), programs.detector_heads(pixels(1)), strict=True):
        np.testing.assert_allclose(answer[name], expected, atol=1e-5)


@pytest.mark.parametrize("engine", ["openvino", "paddle"])
def test_an_old_program_runs_cut_before_its_loop(tiny: dict[tuple[str, str], Path], engine: str) -> None:
    program = load_program(tiny["pdmodel", "detect"], engine=engine, outputs=["scores", "bins"])
    assert [spec.name for spec in program.inputs] == ["image"]
    answer = program.run({"image": pixels(2)})
    scores, bins = programs.detector_heads(pixels(2))
    np.testing.assert_allclose(answer["scores"].reshape(scores.shape), scores, atol=1e-5)
    np.testing.assert_allclose(answer["bins"], bins, atol=1e-5)


def test_programs_of_both_paddle_formats_live_in_one_process(tiny: dict[tuple[str, str], Path]) -> None:
    loaded = [load_program(tiny[ending, "embed"], engine="paddle") for ending in ("json", "pdmodel", "json", "pdmodel")]
    for program in (*loaded, *reversed(loaded)):
        answer = program.run({program.inputs[0].name: pixels(2)})
        np.testing.assert_allclose(answer[program.outputs[0].name], programs.embedded(pixels(2)), atol=1e-5)


@pytest.mark.parametrize(("engine", "ending"), [("openvino", "xml"), ("paddle", "json")])
def test_an_answer_is_the_callers_own(tiny: dict[tuple[str, str], Path], engine: str, ending: str) -> None:
    program = load_program(tiny[ending, "embed"], engine=engine)
    first = program.run({"x": pixels(1)})["fetch_name_0"]
    before = first.copy()
    program.run({"x": pixels(1, seed=9)})
    np.testing.assert_array_equal(first, before)


@pytest.mark.parametrize(("engine", "ending"), [("openvino", "xml"), ("paddle", "json")])
def test_threads_that_share_a_program_get_their_own_answers(
    tiny: dict[tuple[str, str], Path], engine: str, ending: str
) -> None:
    program = load_program(tiny[ending, "embed"], engine=engine)
    wrong: list[int] = []

    def run(seed: int) -> None:
        expected = programs.embedded(pixels(2, seed))
        for _ in range(40):
            if not np.allclose(program.run({"x": pixels(2, seed)})["fetch_name_0"], expected, atol=1e-5):
                wrong.append(seed)

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_auto_takes_openvino_if_it_can_read_the_folder(tiny: dict[tuple[str, str], Path]) -> None:
    assert load_program(tiny["pdmodel", "embed"]).engine == "openvino"
    assert load_program(tiny["json", "embed"]).engine == "paddle"


def test_a_folder_for_the_other_engine_says_so(tiny: dict[tuple[str, str], Path]) -> None:
    with pytest.raises(EngineError, match=r"openvino reads none of the programs in .*\(inference\.json\)") as caught:
        load_program(tiny["json", "embed"], engine="openvino")
    assert caught.value.code == "program_missing"
    with pytest.raises(EngineError) as caught:
        load_program(tiny["xml", "embed"], engine="paddle")
    assert caught.value.code == "program_missing"


def test_missing_things_have_their_codes(tiny: dict[tuple[str, str], Path], tmp_path: Path) -> None:
    with pytest.raises(EngineError) as engine_error:
        load_program(tiny["xml", "embed"], engine="tensorrt")
    assert engine_error.value.code == "engine_unknown"
    with pytest.raises(ArtifactError) as error:
        load_program(tmp_path / "nowhere")
    assert error.value.code == "artifact_missing"
    with pytest.raises(EngineError) as engine_error:
        load_program(tmp_path)
    assert engine_error.value.code == "program_missing"
    (tmp_path / "inference.json").write_bytes((tiny["json", "embed"] / "inference.json").read_bytes())
    with pytest.raises(ArtifactError, match=r"inference\.pdiparams is missing") as error:
        load_program(tmp_path)
    assert error.value.code == "artifact_incomplete"


@pytest.mark.parametrize(("engine", "ending"), READERS)
def test_a_corrupt_program_is_one_line(
    tiny: dict[tuple[str, str], Path], tmp_path: Path, engine: str, ending: str
) -> None:
    for file in tiny.get((ending, "embed"), tmp_path).iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / f"inference.{ending}").write_bytes(b"this is no program" * 20)
    with pytest.raises((EngineError, ArtifactError)) as caught:
        load_program(tmp_path, engine=engine)
    assert caught.value.code in {"program_corrupt", "artifact_invalid"}
    assert "\n" not in caught.value.detail


@pytest.mark.parametrize(("engine", "ending"), READERS[1:])
def test_parameters_that_are_cut_short_are_noticed(
    tiny: dict[tuple[str, str], Path], tmp_path: Path, engine: str, ending: str
) -> None:
    for file in tiny[ending, "embed"].iterdir():
        data = file.read_bytes()
        (tmp_path / file.name).write_bytes(data[: len(data) // 2] if file.suffix in {".pdiparams", ".bin"} else data)
    with pytest.raises(EngineError) as caught:
        load_program(tmp_path, engine=engine)
    assert caught.value.code == "program_corrupt"
    assert "\n" not in caught.value.detail


@pytest.mark.parametrize(("engine", "ending"), READERS)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x.astype(np.float64), "must be float32, not float64"),
        (lambda x: x[0], "must be nx3x32x32, not 3x32x32"),
        (lambda x: x[:, :, :16], "must be nx3x32x32, not 2x3x16x32"),
        (lambda x: x[:0], "must be nx3x32x32, not 0x3x32x32"),
    ],
)
def test_an_input_that_does_not_fit_is_refused(
    tiny: dict[tuple[str, str], Path], engine: str, ending: str, change: object, message: str
) -> None:
    program = load_program(tiny[ending, "embed"], engine=engine)
    assert callable(change)
    with pytest.raises(EngineError, match=message) as caught:
        program.run({program.inputs[0].name: change(pixels(2))})
    assert caught.value.code == "input_invalid"


def test_inputs_of_other_names_are_refused(tiny: dict[tuple[str, str], Path]) -> None:
    program = load_program(tiny["xml", "embed"])
    with pytest.raises(EngineError, match=r"takes \['x'\], not \['image'\]"):
        program.run({"image": pixels(1)})


@pytest.mark.parametrize(
    ("missing", "ending", "package"), [("paddle", "json", "paddlepaddle"), ("openvino", "xml", "openvino")]
)
def test_an_engine_that_is_not_installed_is_named(
    tiny: dict[tuple[str, str], Path], missing: str, ending: str, package: str
) -> None:
    script = (
        "import importlib.util, sys\n"
        "found = importlib.util.find_spec\n"
        f"importlib.util.find_spec = lambda name, *rest: None if name == {missing!r} else found(name, *rest)\n"
        "from models.engines.loader import load_program\n"
        "from models.errors import EngineError\n"
        "try:\n    load_program(sys.argv[1])\n"
        "except EngineError as error:\n    print(error.code, error.detail)\n"
    )
    answer = run_python(script, str(tiny[ending, "embed"]))
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


@pytest.fixture
def several(tiny: dict[tuple[str, str], Path], tmp_path: Path) -> Path:
    """A folder with the embedder's program in fp32, and the detector's where fp16's and int8's would be."""
    for stem, task in (("inference", "embed"), ("inference_fp16", "detect"), ("inference_int8", "detect")):
        for ending in ("xml", "bin"):
            (tmp_path / f"{stem}.{ending}").write_bytes((tiny["xml", task] / f"inference.{ending}").read_bytes())
    return tmp_path


def test_the_precision_picks_the_program(several: Path) -> None:
    assert load_program(several).precision == "fp32"
    for precision, outputs in (("auto", 1), ("fp32", 1), ("fp16", 2), ("int8", 2)):
        program = load_program(several, precision=precision)
        assert len(program.outputs) == outputs, precision
        assert program.precision == ("fp32" if precision == "auto" else precision)


def test_auto_takes_the_most_exact_program_there_is(several: Path) -> None:
    for ending in ("xml", "bin"):
        (several / f"inference.{ending}").unlink()
    assert load_program(several).precision == "fp16"
    (several / "inference_fp16.xml").unlink()
    assert load_program(several).precision == "int8"
    with pytest.raises(EngineError, match=r"holds no program \(for fp32\)") as caught:
        load_program(several, precision="fp32")
    assert caught.value.code == "program_missing"


def test_a_precision_that_is_not_there_is_reported(several: Path, tiny: dict[tuple[str, str], Path]) -> None:
    with pytest.raises(EngineError, match="no precision 'int4'; take one of auto, fp32, fp16, bf16, int8") as caught:
        load_program(several, precision="int4")
    assert caught.value.code == "precision_unknown"
    for precision in ("fp16", "int8"):
        with pytest.raises(EngineError) as caught:
            load_program(tiny["json", "embed"], precision=precision)
        assert caught.value.code == "program_missing"
    with pytest.raises(
        EngineError,
        match=r"paddle reads none of the programs .* take the engine openvino or auto, or export .* --formats paddle",
    ):
        load_program(several, engine="paddle", precision="int8")
    with pytest.raises(EngineError, match=r"holds no program \(for bf16\)"):
        load_program(tiny["json", "embed"], precision="bf16")


@pytest.mark.parametrize("ending", ["xml", "onnx", "pdmodel"])
@pytest.mark.parametrize("has_it", [True, False])
def test_bf16_is_computed_only_where_the_processor_does(
    tiny: dict[tuple[str, str], Path], monkeypatch: pytest.MonkeyPatch, ending: str, has_it: bool
) -> None:
    if has_it and not computes_bf16():
        pytest.skip("this processor computes no bf16")
    monkeypatch.setattr(openvino_engine, "computes_bf16", lambda: has_it)
    program = load_program(tiny[ending, "embed"], precision="bf16")
    assert program.precision == ("bf16" if has_it else "fp32")
    (answer,) = program.run({program.inputs[0].name: pixels(2)}).values()
    difference = np.abs(answer - programs.embedded(pixels(2))).max()
    if has_it:
        assert 1e-5 < difference < 0.02
    else:
        assert difference < 1e-5


@pytest.mark.parametrize(
    ("text", "has_it"),
    [
        ("processor : 0\nflags\t\t: fpu avx512f avx512_bf16 sse\n", True),
        ("flags : amx_bf16\n", True),
        ("flags : avx512f avx512_bf16x\n", False),
        ("Features : bf16\n", False),
    ],
)
def test_the_processors_flags_are_read(tmp_path: Path, text: str, has_it: bool) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    assert computes_bf16(tmp_path / "cpuinfo") is has_it
    assert computes_bf16(tmp_path / "nothing") is False


def test_running_a_program_loads_no_telemetry(tiny: dict[tuple[str, str], Path]) -> None:
    script = (
        "import sys\nfrom models.engines.loader import load_program\nload_program(sys.argv[1])\n"
        "print([name for name in sys.modules if 'openvino_telemetry' in name and sys.modules[name] is not None])"
    )
    assert run_python(script, str(tiny["xml", "embed"])) == "[]\n"
