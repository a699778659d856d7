"""Both engines give what numpy gives, for every format; whatever is wrong with a folder or an input is one clear error."""

import threading
from pathlib import Path

import numpy as np
import pytest

from models.engines.loader import load_program
from models.errors import ArtifactError, EngineError
from tests.models import programs
from tests.models.programs import DIM, SIDE, Array

READERS = [
    ("openvino", "onnx"),
    ("openvino", "xml"),
    ("openvino", "pdmodel"),
    ("paddle", "json"),
    ("paddle", "pdmodel"),
]


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
    assert load_program(tiny["json", "embed"]).engine == "openvino"


def test_a_folder_for_the_other_engine_says_so(tiny: dict[tuple[str, str], Path]) -> None:
    with pytest.raises(EngineError, match=r"paddle reads none of the programs in .*\(inference\.xml\)") as caught:
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
