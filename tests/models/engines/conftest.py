"""Folders with tiny programs, one for each format and task."""

from pathlib import Path

import pytest

from tests.models import programs

MAKERS = {
    "onnx": programs.save_onnx,
    "json": programs.save_json,
    "xml": programs.save_ir,
    "pdmodel": programs.official_archive,
}


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    """Folders by format and task, each with one program."""
    folders = {}
    for ending, make in MAKERS.items():
        for task in ("embed", "detect"):
            folders[ending, task] = tmp_path_factory.mktemp(f"{ending}-{task}")
            make(folders[ending, task], task)
    return folders
