"""Compiled programs are kept for the next process: the same answers, and nothing but time is lost with a kept file."""

import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from models.embedder import Embedder
from models.engines import compiled, openvino
from models.pdmodel.program_desc import TensorSpec
from tests.models.programs import artifact

PORTS = ((TensorSpec("x", (1, 8, 8, 3)),), (TensorSpec("y", (1, None)),))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "shitu" / "compiled"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return artifact(tmp_path_factory.mktemp("embedder"), "embed")


def pictures() -> list[NDArray[np.uint8]]:
    return list(np.random.default_rng(3).integers(0, 256, (3, 40, 30, 3), dtype=np.uint8))


def test_the_second_load_compiles_nothing_and_answers_the_same(
    folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Embedder(folder)(pictures())
    assert len(list(cache.iterdir())) == 1

    def refuse(*_: object) -> None:
        raise AssertionError("compiled again")

    monkeypatch.setattr(openvino.OpenVinoProgram, "_made", refuse)
    np.testing.assert_array_equal(Embedder(folder)(pictures()), first)


@pytest.mark.parametrize("harm", ["cut short", "changed", "no JSON", "not OpenVINO's"])
def test_a_damaged_file_costs_a_compilation_and_is_replaced(folder: Path, cache: Path, harm: str) -> None:
    first = Embedder(folder)(pictures())
    (file,) = cache.iterdir()
    whole = file.read_bytes()
    if harm == "not OpenVINO's":
        compiled.keep(file.name, PORTS, b"nothing")
    else:
        file.write_bytes({"cut short": whole[:-7], "changed": whole[:-7] + b"7" * 7, "no JSON": b"{" + whole}[harm])
    np.testing.assert_array_equal(Embedder(folder)(pictures()), first)
    replaced = compiled.load(file.name)
    assert replaced is not None
    assert len(replaced[1]) > 1000


def test_other_settings_another_program_and_another_processor_have_other_files(tmp_path: Path) -> None:
    key = compiled.cache_key([b"program", "settings"])
    assert key == compiled.cache_key([b"program", "settings"])
    assert key != compiled.cache_key([b"program", "other settings"])
    assert key != compiled.cache_key([b"programsettings"])
    (tmp_path / "cpuinfo").write_text("flags : avx2\nmodel : 1\n", encoding="utf-8")
    assert compiled.processor(tmp_path / "cpuinfo") == '{"flags": "avx2", "model": "1"}'
    assert compiled.processor(tmp_path / "none") == ""


def test_the_number_of_files_is_bounded_and_those_used_last_stay(cache: Path) -> None:
    for number in range(compiled.KEPT + 3):
        compiled.keep(f"{number:064x}", PORTS, b"blob")
        os.utime(cache / f"{number:064x}", (number, number))
    assert compiled.load(f"{0:064x}") is None
    assert compiled.load(f"{compiled.KEPT + 2:064x}") == (PORTS, b"blob")
    assert len(list(cache.iterdir())) == compiled.KEPT


def test_without_a_folder_to_write_in_programs_are_compiled_each_time(folder: Path, cache: Path) -> None:
    cache.parent.write_text("in the way", encoding="utf-8")
    np.testing.assert_allclose(np.linalg.norm(Embedder(folder)(pictures()), axis=1), 1, atol=1e-6)
