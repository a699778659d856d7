"""Shows that the official graphs answer alike on both engines: `python -m benchmarks.check_official_engines FOLDER`.

FOLDER holds unpacked official archives. Where an archive lacks its parameters, seeded ones are written to a temporary copy.
For a detector Paddle runs the whole official graph, suppression included, and OpenVINO the cut one followed by numpy.
"""

import shutil
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.artifacts.folders import load_manifest
from models.detector import Detector
from models.embedder import Embedder
from models.engines.loader import load_program
from models.pdmodel.program_desc import Variable, parse_program
from models.pdmodel.wire import encode
from models.pictures.image import normalize, resize

Array = NDArray[np.float32]
PASSING_LOGIT = -1.2  # so that some tens of cells of a seeded detector pass the floor of 0.025
SIDE = (480, 640)


def main() -> None:
    failed = False
    for folder in sorted(path.parent for path in Path(sys.argv[1]).glob("*/inference.pdmodel")):
        with tempfile.TemporaryDirectory() as copies:
            copy = Path(shutil.copytree(folder, Path(copies, folder.name)))
            if not (copy / "inference.pdiparams").is_file():
                (copy / "inference.pdiparams").write_bytes(seeded_parameters((copy / "inference.pdmodel").read_bytes()))
            check = check_detector if load_manifest(copy).task == "detect" else check_embedder
            failed |= not check(copy)
    sys.exit(failed)


def seeded_parameters(model: bytes) -> bytes:
    """A `.pdiparams` for `model`: He-scaled kernels, batch norms near the identity, heads whose boxes are wide."""
    program = parse_program(model)
    variances = {op.inputs["Variance"][0] for op in program.operators if op.type == "batch_norm"}
    scales = {op.inputs["Scale"][0] for op in program.operators if op.type == "batch_norm"}
    random = np.random.RandomState(0)
    parts = []
    for variable in sorted(program.variables.values(), key=lambda known: known.name):
        if variable.persistable and variable.name not in {"feed", "fetch"}:
            values = draw(variable, random, is_scale=variable.name in scales | variances)
            dims = encode([(1, 5), *((2, size) for size in values.shape)])
            header = struct.pack("<IQIi", 0, 0, 0, len(dims))
            parts.append(header + dims + np.ascontiguousarray(values, "<f4").tobytes())
    return b"".join(parts)


def draw(variable: Variable, random: np.random.RandomState, *, is_scale: bool) -> Array:
    shape = tuple(size or 1 for size in variable.shape or ())
    if is_scale:
        return random.uniform(0.7, 1.3, shape).astype(np.float32)
    if shape == (8,):  # the projection of a distance's bins
        return np.arange(8, dtype=np.float32)
    if shape == (33,):  # one class and four sides of eight bins
        bins = np.tile(-0.5 * (np.arange(8) - 4.5) ** 2, 4)
        return np.concatenate([[PASSING_LOGIT - 2.5], bins]).astype(np.float32)
    if len(shape) == 1:
        return (random.standard_normal(shape) * 0.1).astype(np.float32)
    fan_in = shape[0] if len(shape) == 2 else int(np.prod(shape[1:]))
    return np.asarray(random.standard_normal(shape) * np.sqrt(2.0 / fan_in), np.float32)


def pictures(count: int) -> list[NDArray[np.uint8]]:
    random = np.random.RandomState(1)
    coarse = random.randint(0, 256, (count, SIDE[0] // 32, SIDE[1] // 32, 3))
    noise = random.randint(-30, 30, (count, *SIDE, 3))
    return list(np.clip(coarse.repeat(32, 1).repeat(32, 2) + noise, 0, 255).astype(np.uint8))


def check_embedder(folder: Path) -> bool:
    crops = pictures(3)
    openvino, paddle = Embedder(folder, engine="openvino"), Embedder(folder, engine="paddle")
    ours, theirs = openvino(crops), paddle(crops)
    difference = float(np.abs(ours - theirs).max())
    speed = f"{timed(lambda: openvino(crops)):.1f} and {timed(lambda: paddle(crops)):.1f} ms"
    print(f"{folder.name}: {ours.shape} unit vectors, largest difference {difference:.1e}; {speed} for three")
    return difference < 1e-4


def check_detector(folder: Path) -> bool:
    """Paddle's boxes of the whole graph against the cut graph on both engines, before any threshold."""
    image = pictures(1)[0]
    spec = load_manifest(folder).input
    pixels = normalize(resize(image, spec.height, spec.width, spec.interpolation), spec.mean, spec.std)[None]
    scale = np.asarray([[spec.height / image.shape[0], spec.width / image.shape[1]]], np.float32)
    frame = np.asarray([[spec.height, spec.width]], np.float32)
    whole = load_program(folder, engine="paddle")
    rows = whole.run({spec.name: pixels, "im_shape": frame, "scale_factor": scale})[whole.outputs[0].name]
    alike = True
    for engine in ("openvino", "paddle"):
        detector = Detector(folder, engine=engine)
        boxes, scores = detector.candidates(image)
        if len(rows) != len(boxes):
            print(f"{folder.name}: {len(rows)} boxes of the whole graph, {len(boxes)} of the cut one on {engine}")
            return False
        difference = float(np.abs(rows[:, 2:] - boxes).max(initial=0))
        apart = float(np.abs(rows[:, 1] - scores).max(initial=0))
        print(
            f"{folder.name}: {len(boxes)} boxes, {engine} cut against the whole graph: largest difference "
            f"{difference:.1e} px, score {apart:.1e}; {timed(lambda d=detector: d.candidates(image)):.0f} ms"
        )
        alike &= len(boxes) > 0 and difference < 0.05 and apart < 1e-4
    return alike


def timed(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - started)


if __name__ == "__main__":
    main()
