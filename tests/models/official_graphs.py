"""PP-ShiTu's official programs with seeded parameters: the real graphs, where they lie next to the checkout; the weights never do."""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from models.pdmodel.program_desc import parse_program
from tests.models.programs import parameter

FOLDERS = {
    "ppshitu-mainbody-detector": "picodet_PPLCNet_x2_5_mainbody_lite_v1.0_infer",
    "ppshitu-v1-embedder": "general_PPLCNet_x2_5_lite_v1.0_infer",
    "ppshitu-v2-embedder": "general_PPLCNetV2_base_pretrained_v1.0_infer",
}
# Where each level's class scores lie, so that few cells of every level pass the official threshold of 0.025.
HEAD_LOGITS = (-3.1, -6.7, -5.4, -4.5)
BINS = np.tile(-0.5 * (np.arange(8) - 4.5) ** 2, 4)  # distances near 4.5 strides: wide boxes


def official_graphs() -> Path:
    """The folder `shared/official` next to the checkout. Skips the test where there is none."""
    found = (folder / "shared" / "official" for folder in Path(__file__).parents)
    folder = next((one for one in found if all((one / name).is_dir() for name in FOLDERS.values())), None)
    if folder is None:
        pytest.skip("the official programs are not here")
    return folder


def seeded_archive(name: str, folder: Path) -> Path:
    """`folder` as the official archive of that name would unpack, but for its parameters."""
    source = official_graphs() / FOLDERS[name]
    folder.mkdir(parents=True)
    for file in source.iterdir():
        shutil.copyfile(file, folder / file.name)
    program = parse_program((source / "inference.pdmodel").read_bytes())
    roles = {one: slot for op in program.operators for slot, names in op.inputs.items() for one in names}
    heads = iter(HEAD_LOGITS)
    parameters = [
        parameter(_values(one.name, tuple(int(side or 0) for side in one.shape), roles.get(one.name, ""), heads))
        for one in program.parameters()
        if one.shape is not None
    ]
    (folder / "inference.pdiparams").write_bytes(b"".join(parameters))
    return folder


def _values(name: str, shape: tuple[int, ...], role: str, heads: Iterator[float]) -> NDArray[np.float32]:
    """He-scaled kernels, batch norms near the identity; of the detector's heads few cells pass."""
    random = np.random.RandomState(zlib.crc32(name.encode()))
    if shape == (8,):
        return np.arange(8, dtype=np.float32)  # the projection of the distances' distribution
    if shape == (33,):
        return np.concatenate([[next(heads)], BINS]).astype(np.float32)
    if role == "Variance":
        return random.uniform(0.6, 1.4, shape).astype(np.float32)
    if role == "Scale":
        return random.uniform(0.8, 1.2, shape).astype(np.float32)
    if len(shape) == 1:
        return (random.standard_normal(shape) * 0.1).astype(np.float32)
    fan_in = shape[0] if len(shape) == 2 else int(np.prod(shape[1:]))
    return np.asarray(random.standard_normal(shape) * np.sqrt(2.0 / fan_in), np.float32)
