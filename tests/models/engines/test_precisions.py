"""The precision picks the program of a folder; bf16 is computed only where the processor does."""

from pathlib import Path

import numpy as np
import pytest

from models.engines import openvino as openvino_engine
from models.engines.loader import load_program
from models.engines.openvino import computes_bf16
from models.errors import EngineError
from tests.models import programs
from tests.models.engines.test_loader import pixels


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
    assert load_program(tiny["json", "embed"], precision="bf16").precision in {"bf16", "fp32"}


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
