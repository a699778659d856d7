"""The tiny trained run and its artifact, made once for the session wherever they are asked for."""

from pathlib import Path

import pytest

from tests.models.training.tiny import Run, exported, trained


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run of the tiny recipe. Do not write into its folder."""
    return trained(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="session")
def tiny_artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The exported embedder of that run. Do not write into it."""
    return exported(tmp_path_factory.getbasetemp())
