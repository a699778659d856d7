"""The least that this machine allows: multiplications of a network over the measured peak, bytes over bandwidth."""

from functools import cache
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from models.engines.openvino import import_openvino

SIDE = 1536
BEST_OF = 8


@cache
def peak_gflops(precision: str, threads: int) -> float:
    """What a large matrix product reaches, in 1e9 operations a second; a multiplication with its addition counts as two."""
    openvino = import_openvino()
    from openvino import opset13 as ops

    left = ops.parameter([SIDE, SIDE], np.float32)
    weights = ops.constant(np.random.default_rng(0).normal(size=(SIDE, SIDE)).astype(np.float32))
    model = openvino.Model([ops.matmul(left, weights, False, False)], [left], "peak")
    settings = {
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
        "INFERENCE_NUM_THREADS": threads,
        "ENABLE_CPU_PINNING": False,
    }
    request = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()
    pixels = np.random.default_rng(1).normal(size=(SIDE, SIDE)).astype(np.float32)
    return 2 * SIDE**3 / _best_s(lambda: request.infer([pixels])) / 1e9


@cache
def bandwidth_gb_s() -> float:
    """How fast one thread reads memory that no cache holds, in 1e9 bytes a second."""
    rows = np.ones(64 * 1024 * 1024, np.float32)
    return rows.nbytes / _best_s(rows.sum) / 1e9


def _best_s(run: Any) -> float:
    best = float("inf")
    for _ in range(BEST_OF):
        started = perf_counter()
        run()
        best = min(best, perf_counter() - started)
    return best


def network_macs(model: Path | bytes, parameters: bytes | None, shape: tuple[int, ...]) -> int:
    """Multiplications of a program for one input of `shape`: its convolutions and matrix products."""
    core = import_openvino().Core()
    network = core.read_model(str(model)) if parameters is None else core.read_model(model, parameters)
    network.reshape(list(shape))
    total = 0
    for op in network.get_ops():
        kind = op.get_type_name()
        if kind not in {"Convolution", "GroupConvolution", "MatMul"}:
            continue
        made = int(np.prod(op.output(0).get_shape()))
        weights = list(op.input(1).get_shape())
        if kind == "MatMul":
            total += made * int(op.input(0).get_shape()[-1])
        else:  # (out, in, h, w), or (groups, out, in, h, w)
            total += made * int(np.prod(weights[2 if kind == "GroupConvolution" else 1 :]))
    return total
