"""Old program files are read and cut by hand; what stays is unchanged, and damaged files are one error."""

from pathlib import Path

import pytest

from models.artifacts.folders import load_manifest
from models.errors import ArtifactError, EngineError
from models.pdmodel.parameters import parameter_shapes
from models.pdmodel.program_desc import cut_program, parse_program
from models.pdmodel.wire import Message, WireError, encode
from tests.models.programs import BINS, CHANNELS, DIM, SIDE, STRIDE, kernel, official_archive, old_program, parameter


def test_a_program_lists_its_inputs_and_outputs() -> None:
    embedder = parse_program(old_program("embed", DIM))
    assert [(spec.name, spec.shape) for spec in embedder.inputs] == [("image", (None, 3, SIDE, SIDE))]
    assert [(spec.name, spec.shape) for spec in embedder.outputs] == [("scaled", (None, DIM))]
    detector = parse_program(old_program("detect", CHANNELS))
    assert [spec.name for spec in detector.inputs] == ["image", "frame"]
    assert detector.parameter_shapes() == [(CHANNELS, 3, STRIDE, STRIDE)]


def test_a_cut_program_holds_what_leads_to_its_outputs_and_no_more() -> None:
    program = parse_program(old_program("detect", CHANNELS))
    cut = parse_program(cut_program(program, ["scores", "bins"]))
    assert [op.type for op in cut.operators] == ["feed", "conv2d", "split", "transpose2", "sigmoid", "fetch", "fetch"]
    assert [spec.name for spec in cut.inputs] == ["image"]
    assert [spec.name for spec in cut.outputs] == ["scores", "bins"]
    assert {"feed", "fetch", "w"} <= set(cut.variables)
    assert not {"unused", "frame", "found", "scopes"} & set(cut.variables)
    kept = {op.raw for op in program.operators}
    assert all(op.raw in kept for op in cut.operators if op.type not in {"feed", "fetch"})
    assert cut.rest == program.rest


def test_the_outputs_come_in_the_order_requested() -> None:
    program = parse_program(old_program("detect", CHANNELS))
    assert [spec.name for spec in parse_program(cut_program(program, ["bins", "scores"])).outputs] == ["bins", "scores"]


@pytest.mark.parametrize(("name", "message"), [("nothing", "makes no variable 'nothing'"), ("found", "control flow")])
def test_what_cannot_be_cut_is_refused(name: str, message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        cut_program(parse_program(old_program("detect", CHANNELS)), [name])


def test_damaged_programs_are_one_error_wherever_they_end() -> None:
    whole = old_program("embed", DIM)
    parse_program(whole)
    for end in range(len(whole) - 4):  # the last field, a version, may be missing
        with pytest.raises(ArtifactError):
            parse_program(whole[:end])


def test_the_wire_format_reads_back_what_it_writes() -> None:
    inner = encode([(1, b"name"), (6, 300), (6, -2), (6, 0)])
    message = Message(encode([(2, inner), (2, b""), (15, 1 << 40)]))
    assert [len(part.fields) for part in message.messages(2)] == [4, 0]
    assert message.messages(2)[0].text(1) == "name"
    assert message.messages(2)[0].integers(6) == [300, -2, 0]
    assert message.integer(15) == 1 << 40
    assert (message.text(9), message.integer(9), message.messages(9)) == ("", 0, [])


def test_packed_numbers_and_fixed_widths_are_read() -> None:
    packed = Message(bytes([6 << 3 | 2, 3, 5, 0x80, 1]))
    assert packed.integers(6) == [5, 128]
    fixed = Message(bytes([1 << 3 | 5, 1, 2, 3, 4, 2 << 3 | 1, *range(8), 3 << 3, 7]))
    assert fixed.integer(3) == 7


@pytest.mark.parametrize("raw", [b"\x0a", b"\x0a\x05ab", b"\x08", b"\x0b", b"\x08" + b"\xff" * 11, b"\x0d\1"])
def test_what_is_no_message_is_an_error(raw: bytes) -> None:
    with pytest.raises(WireError):
        Message(raw)


def test_the_heads_of_an_official_detector_are_found(tmp_path: Path) -> None:
    manifest = load_manifest(official_archive(tmp_path / "picodet", "detect"))
    assert manifest.to_dict()["output"] == {
        "heads": ({"scores": "scores", "distances": "bins", "stride": STRIDE},),
        "reg_max": BINS - 1,
    }
    assert (manifest.name, manifest.task, manifest.official) == ("picodet", "detect", True)
    assert (manifest.input.name, manifest.input.height, manifest.input.interpolation) == ("image", SIDE, "cubic")


def test_parameters_are_counted_without_reading_them(tmp_path: Path) -> None:
    file = tmp_path / "inference.pdiparams"
    file.write_bytes(parameter(kernel(DIM)) + parameter(kernel(2)[:, 0, 0]))
    assert parameter_shapes(file) == [(DIM, 3, STRIDE, STRIDE), (2, STRIDE)]


@pytest.mark.parametrize("end", [3, 20, 25, 100, -1])
def test_parameters_that_end_early_are_an_error(tmp_path: Path, end: int) -> None:
    file = tmp_path / "inference.pdiparams"
    file.write_bytes(parameter(kernel(DIM))[:end])
    with pytest.raises(EngineError) as caught:
        parameter_shapes(file)
    assert caught.value.code == "program_corrupt"
