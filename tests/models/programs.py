"""Tiny networks in every format that an engine reads, all from the same seeded values, and what they compute in numpy."""

import functools
import struct
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.artifacts.folders import write_manifest
from models.pdmodel.wire import encode

Array = NDArray[np.float32]
SIDE, STRIDE, DIM, BINS = 32, 8, 6, 4  # the detector has one level: 4 x 4 cells of 1 score and 4 sides of 4 bins
CHANNELS = 1 + 4 * BINS
SHORT, LABELS = 37, ["tea", "oat milk", "cola", "cocoa", "rice", "salt"]  # of the classifier, which gives logits
CALM = {"thresholds": {}, "recipe": {}, "data": [], "metrics": {}, "licence": "Apache-2.0"}
INPUT = {"height": SIDE, "width": SIDE, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


@functools.cache
def kernel(channels: int) -> Array:
    """(channels, 3, STRIDE, STRIDE): one convolution whose windows don't overlap is the whole network."""
    random = np.random.RandomState(channels)
    return np.asarray(random.standard_normal((channels, 3, STRIDE, STRIDE)) * 0.2, np.float32)


def convolved(pixels: Array, channels: int) -> Array:
    """(N, 3, SIDE, SIDE) -> (N, channels, 4, 4), by the definition."""
    cells = SIDE // STRIDE
    windows = pixels.reshape(-1, 3, cells, STRIDE, cells, STRIDE)
    return np.einsum("nchiwj,kcij->nkhw", windows.astype(np.float64), kernel(channels)).astype(np.float32)


def embedded(pixels: Array) -> Array:
    """What the embedder answers, before its length is made 1, and the classifier, before its softmax: (N, DIM)."""
    return np.maximum(convolved(pixels, DIM), 0).mean(axis=(2, 3))


def detector_heads(pixels: Array) -> tuple[Array, Array]:
    """What the detector answers: scores (N, 1, 4, 4), distances (N, 16, 4, 4)."""
    planes = convolved(pixels, CHANNELS)
    return 1 / (1 + np.exp(-planes[:, :1])), planes[:, 1:]


def save_ir(folder: Path, task: str) -> None:
    """`inference.xml` and `.bin`, for OpenVINO."""
    import openvino as ov
    from openvino import opset13 as ops

    pixels = ops.parameter([-1, 3, SIDE, SIDE], np.float32, name="x")
    channels = DIM if task != "detect" else CHANNELS
    planes = ops.convolution(pixels, ops.constant(kernel(channels)), [STRIDE, STRIDE], [0, 0], [0, 0], [1, 1])
    if task != "detect":
        outputs = [ops.reduce_mean(ops.relu(planes), ops.constant(np.array([2, 3])), False)]
    else:
        split = ops.variadic_split(planes, ops.constant(1), ops.constant(np.array([1, 4 * BINS])))
        outputs = [ops.sigmoid(split.output(0)), ops.relu(split.output(1))]
        outputs[1] = ops.add(split.output(1), ops.constant(np.float32(0)))
    pixels.output(0).get_tensor().set_names({"x"})
    for i, output in enumerate(outputs):
        output.output(0).get_tensor().set_names({f"fetch_name_{i}"})
    folder.mkdir(parents=True, exist_ok=True)
    ov.save_model(ov.Model(outputs, [pixels], "tiny"), folder / "inference.xml", compress_to_fp16=False)


def save_json(folder: Path, task: str) -> None:
    """`inference.json` and `.pdiparams`, for Paddle Inference."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, raw in json_program(task).items():
        (folder / name).write_bytes(raw)


@functools.cache
def json_program(task: str) -> dict[str, bytes]:
    """These files by name."""
    import paddle
    from paddle import nn

    class Tiny(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            channels = DIM if task != "detect" else CHANNELS
            self.conv = nn.Conv2D(3, channels, STRIDE, STRIDE, bias_attr=False)
            self.conv.weight.set_value(kernel(channels))

        def forward(self, pixels: Any) -> Any:
            planes = self.conv(pixels)
            if task != "detect":
                return nn.functional.relu(planes).mean(axis=[2, 3])
            return nn.functional.sigmoid(planes[:, :1]), planes[:, 1:] * 1.0

    network = Tiny()
    network.eval()
    spec = paddle.static.InputSpec([None, 3, SIDE, SIDE], "float32", name="x")
    with tempfile.TemporaryDirectory() as folder:
        paddle.jit.save(network, f"{folder}/inference", input_spec=[spec])
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def save_onnx(folder: Path, task: str) -> None:
    """`inference.onnx` made from Paddle's program, as the exporter makes it; both stay in the folder."""
    import paddle2onnx

    save_json(folder, task)
    program, parameters, onnx = (str(folder / f"inference.{end}") for end in ("json", "pdiparams", "onnx"))
    paddle2onnx.export(program, parameters, onnx, opset_version=13, optimize_tool="None")


def artifact(folder: Path, task: str, *, paddle_too: bool = False) -> Path:
    """A model folder with its manifest, for OpenVINO and, if requested, for Paddle."""
    save_ir(folder, task)
    if paddle_too:
        save_json(folder, task)
    heads = [{"scores": "fetch_name_0", "distances": "fetch_name_1", "stride": STRIDE}]
    outputs = {
        "embed": {"name": "fetch_name_0", "dim": DIM},
        "detect": {"heads": heads, "reg_max": BINS - 1},
        "classify": {"name": "fetch_name_0", "labels": LABELS, "logits": True},
    }
    interpolation = "linear" if task != "detect" else "cubic"
    given = {**INPUT, "name": "x", "interpolation": interpolation}
    if task == "classify":
        given["resize_short"] = SHORT
    write_manifest(
        folder, name=f"tiny-{task}", task=task, network="one convolution", input=given, output=outputs[task], **CALM
    )
    return folder


def official_archive(folder: Path, task: str) -> Path:
    """The same networks as an official archive holds them; the detector's program continues into control flow."""
    folder.mkdir(parents=True, exist_ok=True)
    channels = DIM if task != "detect" else CHANNELS
    (folder / "inference.pdmodel").write_bytes(old_program(task, channels))
    (folder / "inference.pdiparams").write_bytes(parameter(kernel(channels)))
    if task == "detect":
        (folder / "infer_cfg.yml").write_text(
            "arch: PicoDet\nPreprocess:\n"
            f"- {{type: Resize, interp: 2, keep_ratio: false, target_size: [{SIDE}, {SIDE}]}}\n"
            "- {type: NormalizeImage, is_scale: true, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]}\n"
            "- {type: Permute}\nlabel_list: [foreground]\n"
        )
    return folder


def old_program(task: str, channels: int) -> bytes:
    """A ProgramDesc as Paddle wrote them before version 3."""
    cells = SIDE // STRIDE
    variables = [
        _variable("feed", kind=9, persistable=True),
        _variable("fetch", kind=10, persistable=True),
        _variable("w", (channels, 3, STRIDE, STRIDE), persistable=True),
        _variable("image", (-1, 3, SIDE, SIDE)),
        _variable("planes", (-1, channels, cells, cells)),
    ]
    pair = [STRIDE, STRIDE]
    attributes = [
        *(_ints("strides", pair), _ints("paddings", [0, 0]), _ints("dilations", [1, 1]), _int("groups", 1)),
        *(_text("padding_algorithm", "EXPLICIT"), _text("data_format", "NCHW")),
    ]
    operators = [
        _operator("feed", {"X": ["feed"]}, {"Out": ["image"]}, [_int("col", 0)]),
        _operator("conv2d", {"Input": ["image"], "Filter": ["w"]}, {"Output": ["planes"]}, attributes),
    ]
    blocks = []
    if task != "detect":
        variables += [_variable("positive", (-1, channels, cells, cells))]
        variables += [_variable(name, (-1, channels)) for name in ("features", "sure", "scaled")]
        scores = task == "classify"  # official classifiers give probabilities
        same = [_float("scale", 1.0), _float("bias", 0.0), _bool("bias_after_scale", value=True)]
        over = [_ints("dim", [2, 3]), _bool("keep_dim", value=False), _bool("reduce_all", value=False)]
        operators += [
            _operator("relu", {"X": ["planes"]}, {"Out": ["positive"]}, []),
            _operator("reduce_mean", {"X": ["positive"]}, {"Out": ["features"]}, over),
            *([_operator("softmax", {"X": ["features"]}, {"Out": ["sure"]}, [_int("axis", -1)])] if scores else []),
            # As many official programs end.
            _operator("scale", {"X": ["sure" if scores else "features"]}, {"Out": ["scaled"]}, same),
            _operator("fetch", {"X": ["scaled"]}, {"Out": ["fetch"]}, [_int("col", 0)]),
        ]
    else:
        variables += [
            _variable("frame", (-1, 2)), _variable("logits", (-1, 1, cells, cells)),
            _variable("bins", (-1, 4 * BINS, cells, cells)), _variable("turned", (-1, cells, cells, 1)),
            _variable("shape", (0,)), _variable("scores", (-1, cells, cells, 1)), _variable("unused", (-1, 9)),
            _variable("found", (-1, 6)), _variable("scopes", kind=11),
        ]  # fmt: skip
        looped = ["scores", "bins", "frame"]  # a loop lists what it reads as made again
        operators += [
            _operator("feed", {"X": ["feed"]}, {"Out": ["frame"]}, [_int("col", 1)]),
            _operator("split", {"X": ["planes"]}, {"Out": ["logits", "bins"]}, [_int("axis", 1), _int("num", 0), _ints("sections", [1, 4 * BINS])]),
            _operator("transpose2", {"X": ["logits"]}, {"Out": ["turned"], "XShape": ["shape"]}, [_ints("axis", [0, 2, 3, 1])]),
            _operator("sigmoid", {"X": ["turned"]}, {"Out": ["scores"]}, []),
            _operator("while", {"X": looped}, {"Out": [*looped, "found"], "StepScopes": ["scopes"]}, [_block("sub_block", 1)]),
            _operator("fetch", {"X": ["found"]}, {"Out": ["fetch"]}, [_int("col", 0)]),
        ]  # fmt: skip
        blocks = [(1, encode([(1, 1), (2, 0)]))]
    first = encode([(1, 0), (2, -1), *((3, raw) for raw in variables), *((4, raw) for raw in operators)])
    return encode([(1, first), *blocks, (4, encode([(1, 0)]))])


def parameter(values: Array) -> bytes:
    """One parameter of a `.pdiparams` file."""
    dims = encode([(1, 5), *((2, size) for size in values.shape)])
    return struct.pack("<IQIi", 0, 0, 0, len(dims)) + dims + np.ascontiguousarray(values, "<f4").tobytes()


def _variable(name: str, shape: tuple[int, ...] | None = None, *, kind: int = 7, persistable: bool = False) -> bytes:
    dense: list[tuple[int, int | bytes]] = []
    if shape is not None:
        dense = [(3, encode([(1, encode([(1, 5), *((2, size) for size in shape)])), (2, 0)]))]
    return encode([(1, name.encode()), (2, encode([(1, kind), *dense])), (3, int(persistable))])


def _operator(kind: str, inputs: dict[str, list[str]], outputs: dict[str, list[str]], attributes: list[bytes]) -> bytes:
    def slots(number: int, table: dict[str, list[str]]) -> list[tuple[int, bytes]]:
        return [
            (number, encode([(1, slot.encode()), *((2, name.encode()) for name in names)]))
            for slot, names in table.items()
        ]

    return encode([*slots(1, inputs), *slots(2, outputs), (3, kind.encode()), *((4, raw) for raw in attributes)])


def _int(name: str, value: int) -> bytes:
    return encode([(1, name.encode()), (2, 0), (3, value)])


def _float(name: str, value: float) -> bytes:
    return encode([(1, name.encode()), (2, 1)]) + b"\x25" + struct.pack("<f", value)  # field 4, four bytes


def _text(name: str, value: str) -> bytes:
    return encode([(1, name.encode()), (2, 2), (5, value.encode())])


def _ints(name: str, values: list[int]) -> bytes:
    return encode([(1, name.encode()), (2, 3), *((6, value) for value in values)])


def _bool(name: str, *, value: bool) -> bytes:
    return encode([(1, name.encode()), (2, 6), (10, int(value))])


def _block(name: str, index: int) -> bytes:
    return encode([(1, name.encode()), (2, 8), (12, index)])
