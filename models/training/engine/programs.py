"""A network as programs: Paddle's own, ONNX and OpenVINO IR; and the eager network's answers to hold them to."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import paddle
from numpy.typing import NDArray
from paddle import nn

import models
from models.artifacts.manifest import ImageInput
from models.engines.openvino import import_openvino
from models.training.engine.chatter import chatter_on_stderr
from models.training.engine.half_weights import keep_in_half

Array = NDArray[np.float32]


FORMATS = {  # format -> the engine that runs it
    "paddle": "paddle",
    "onnx": "openvino",
    "onnx-half": "openvino",  # weights kept in 16 bits and computed with in 32; all programs made with it have these weights
    "openvino": "openvino",
}

OPSET = 14  # the first with hard-swish as one operator: in two it made the detector 2.7 times slower on OpenVINO


def write_programs(
    serving: nn.Layer, given: ImageInput, work: Path, formats: Sequence[str], *, batched: bool
) -> dict[str, Path]:
    """Each format's `inference.*` in a folder of its own below `work`."""
    import paddle2onnx

    openvino = import_openvino()
    shape = [None if batched else 1, 3, given.height, given.width]
    folders = {name: work / name for name in FORMATS}
    for made in folders.values():
        made.mkdir()
    prefix = folders["paddle"] / "inference"
    spec = paddle.static.InputSpec(shape, "float32", name=given.name)
    save_program(serving, prefix, [spec])
    onnx = folders["onnx"] / "inference.onnx"
    if {"onnx", "onnx-half", "openvino"} & set(formats):
        with chatter_on_stderr():
            # No optimising: the default tool pip-installs what it misses, unlocked, while exporting; engines fold by themselves.
            paddle2onnx.export(
                f"{prefix}.json", f"{prefix}.pdiparams", str(onnx), opset_version=OPSET, optimize_tool="None"
            )
    if "onnx-half" in formats:
        keep_in_half(onnx, folders["onnx-half"] / onnx.name)
    if "openvino" in formats:
        network = openvino.convert_model(str(onnx))  # with batch norms folded, which reading alone leaves
        openvino.save_model(network, folders["openvino"] / "inference.xml", compress_to_fp16=False)
    return {name: folders[name] for name in FORMATS if name in formats}


def save_program(network: nn.Layer, prefix: Path, inputs: Sequence[paddle.static.InputSpec]) -> None:
    """Paddle's own program of a network in `prefix`.json, its weights in `prefix`.pdiparams.

    Our layers are traced as they are. Paddle would first rewrite their Python for control flow that depends on a tensor,
    which none has (Paddle raises for it here): the same program, in two to five times the time.
    """
    paddle.jit.ignore_module([models])
    paddle.jit.save(network, str(prefix), input_spec=list(inputs))


def answers(network: nn.Layer, pixels: Array) -> list[Array]:
    """The eager network's outputs."""
    with paddle.no_grad():
        answer = network(paddle.to_tensor(pixels))
    return [tensor.numpy() for tensor in (answer if isinstance(answer, tuple | list) else [answer])]
