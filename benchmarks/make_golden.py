"""Makes tests/golden/nets from the official static graphs, and gives how far our networks are from them.

    python -m benchmarks.make_golden FOLDER [--out tests/golden/nets]

FOLDER holds the official `*_infer/inference.pdmodel` (weights are not needed) and `state_dicts/*.tsv`. Each graph gets
parameters sampled from our parameters' names, runs on Paddle Inference, and its answer is the golden. Parameters are
matched by the order in which both networks use them.
"""

import os

# The official graphs are of the format before Paddle's new intermediate representation.
os.environ["FLAGS_enable_pir_api"] = "0"  # noqa: SIM112 - the name is Paddle's

import argparse
import hashlib
import struct
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import paddle.inference
from numpy.typing import NDArray
from paddle import nn

from models.nets.embedding import EmbedderV1, EmbedderV2
from models.nets.lcnetv2 import fused
from models.nets.names import STRIDES
from models.nets.picodet import PicoDet, ServedPicoDet
from tests.models.nets.decoding import decode, suppress
from tests.models.nets.seeded import fill, seeded_images, seeded_state

Array = NDArray[np.float32]

SEED = 1
EMBEDDERS = {
    "embedder_v2": ("general_PPLCNetV2_base_pretrained_v1.0_infer", EmbedderV2),
    "embedder_v1": ("general_PPLCNet_x2_5_lite_v1.0_infer", EmbedderV1),
}
DETECTOR = "picodet_PPLCNet_x2_5_mainbody_lite_v1.0_infer"
STATE_DICTS = {
    "PPLCNetV2_base": "PPLCNetV2_base.tsv",
    "EmbedderV2": "RecModel_PPLCNetV2_base_ShiTu.tsv",
    "EmbedderV1": "RecModel_PPLCNet_x2_5.tsv",
    "PicoDet": "picodet_lcnet_x2_5_640_mainbody.tsv",
}
SAMPLES = 2000  # cells of the raw heads that are stored, a level


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("official", type=Path)
    parser.add_argument("--out", type=Path, default=Path("tests/golden/nets"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, (folder, make) in EMBEDDERS.items():
        golden_embedder(arguments.official / folder, fused(make()), arguments.out / f"{name}.npz")
    golden_detector(arguments.official / DETECTOR, arguments.out / "picodet.npz")
    golden_digests(arguments.official / "state_dicts", arguments.out / "state_dicts.tsv")


def golden_embedder(folder: Path, network: nn.Layer, out: Path) -> None:
    model = (folder / "inference.pdmodel").read_bytes()
    images = seeded_images(SEED, count=2, side=224)
    state = seeded_state(network, SEED)
    fill(network, state)
    parameters = official_parameters(model, state, layers_in_use(network, images))
    # One picture a run: the official graph was saved for any batch, but its answer must not depend on it.
    expected = np.concatenate([run_official(model, parameters, {"x": image[None]})[0] for image in images])
    report(out.stem, expected, network(paddle.to_tensor(images)).numpy())
    np.savez_compressed(out, seed=SEED, features=expected)


def golden_detector(folder: Path, out: Path) -> None:
    model = (folder / "inference.pdmodel").read_bytes()
    detector = PicoDet(neck_channels=96, neck_kernel=3, head_convs=2, act="leaky_relu")
    network = ServedPicoDet(detector)
    images = seeded_images(SEED, count=1, side=640)
    state = seeded_state(detector, SEED)
    fill(detector, state)
    parameters = official_parameters(model, state, layers_in_use(detector, images))
    projection = next(name for name, array in program_parameters(model).items() if array == (8,))
    parameters[projection] = state["head.distribution_project.project"]

    frame = {"im_shape": np.array([[640, 640]], np.float32), "scale_factor": np.array([[1, 1]], np.float32)}
    boxes = run_official(model, parameters, {"image": images, **frame})[0]  # (n, 6): class, score, x1, y1, x2, y2
    heads = run_official(cut_before_split(model), parameters, {"image": images})

    ours = [output.numpy() for output in network(paddle.to_tensor(images))]
    golden: dict[str, Any] = {"seed": SEED, "boxes": boxes}
    for level, stride in enumerate(STRIDES):
        logits, bins = heads[level][:, :1], heads[level][:, 1:]
        scores = (1 / (1 + np.exp(-logits))).astype(np.float32)
        report(f"scores of stride {stride}", scores, ours[2 * level])
        report(f"bins of stride {stride}", bins, ours[2 * level + 1])
        picked = np.random.RandomState(stride).permutation(bins.size)[:SAMPLES]
        golden[f"scores_{stride}"] = scores.reshape(-1)[:SAMPLES]
        golden[f"picked_{stride}"] = picked.astype(np.int32)
        golden[f"bins_{stride}"] = bins.reshape(-1)[picked]
    decoded = suppress(decode(ours[0::2], ours[1::2], STRIDES, 640))
    report(f"{len(boxes)} boxes", boxes[:, 1:], decoded)
    np.savez_compressed(out, **golden)


def golden_digests(folder: Path, out: Path) -> None:
    lines = ["network\tentries\tsha256 of the sorted lines `name shape`"]
    for network, file in STATE_DICTS.items():
        rows = [line.split("\t") for line in (folder / file).read_text().splitlines()[1:]]
        text = "\n".join(sorted(f"{name} {shape}" for name, shape in rows))
        lines.append(f"{network}\t{len(rows)}\t{hashlib.sha256(text.encode()).hexdigest()}")
    out.write_text("\n".join(lines) + "\n")


def report(what: str, expected: Array, ours: Array) -> None:
    if expected.shape != ours.shape:
        raise SystemExit(f"{what}: the official graph gives {expected.shape}, ours {ours.shape}")
    difference = float(np.abs(expected - ours).max())
    print(
        f"{what}: shape {expected.shape}, magnitude {np.abs(expected).max():.3f}, largest difference {difference:.2e}"
    )


def layers_in_use(network: nn.Layer, images: Array) -> list[list[str]]:
    """The names of each layer's parameters, layers in the order in which a forward pass uses them."""
    used: list[list[str]] = []
    hooks = []
    for prefix, layer in network.named_sublayers():
        if isinstance(layer, nn.Conv2D | nn.Linear):
            names = ["weight"] if layer.bias is None else ["weight", "bias"]
        elif isinstance(layer, nn.BatchNorm1D | nn.BatchNorm2D):
            names = ["weight", "bias", "_mean", "_variance"]
        else:
            continue
        full = [f"{prefix}.{name}" for name in names]
        hooks.append(layer.register_forward_post_hook(lambda *_, full=full: used.append(full)))
    network.eval()
    network(paddle.to_tensor(images[:1]))
    for hook in hooks:
        hook.remove()
    return used


def official_parameters(model: bytes, state: Mapping[str, Array], layers: Sequence[list[str]]) -> dict[str, Array]:
    """The official graph's variables by its own names, with the values of our layers at the same places."""
    shapes = program_parameters(model)
    block = parse(model).global_block()
    places: list[list[str]] = []
    for op in block.ops:
        if op.type in {"conv2d", "depthwise_conv2d"}:
            places.append(op.input("Filter"))
        elif op.type == "matmul":
            places.append(op.input("Y"))
        elif op.type == "batch_norm":
            places.append([op.input(slot)[0] for slot in ("Scale", "Bias", "Mean", "Variance")])
        elif op.type == "elementwise_add" and op.input("Y")[0] in shapes:
            places[-1] = places[-1] + op.input("Y")
    if [len(place) for place in places] != [len(layer) for layer in layers]:
        raise SystemExit(f"the official graph has {len(places)} layers, ours {len(layers)}, or of other kinds")
    parameters: dict[str, Array] = {}
    for place, layer in zip(places, layers, strict=True):
        for theirs, ours in zip(place, layer, strict=True):
            if shapes[theirs] != state[ours].shape:
                raise SystemExit(f"{theirs} has shape {shapes[theirs]}, {ours} {state[ours].shape}")
            parameters[theirs] = state[ours]
    return parameters


@contextmanager
def static_mode() -> Iterator[None]:
    paddle.enable_static()
    try:
        yield
    finally:
        paddle.disable_static()


def parse(model: bytes) -> paddle.static.Program:
    with static_mode():
        return paddle.static.Program.parse_from_string(model)


def program_parameters(model: bytes) -> dict[str, tuple[int, ...]]:
    variables = parse(model).global_block().vars.values()
    return {v.name: tuple(v.shape) for v in variables if v.persistable and v.name not in {"feed", "fetch"}}


def cut_before_split(model: bytes) -> bytes:
    """The detector's program up to its four heads: the inputs of its `split` operators become its outputs."""
    program = parse(model)
    with static_mode():
        block = program.global_block()
        outputs = [op.input("X")[0] for op in block.ops if op.type == "split"]
        for index in reversed(range(len(block.ops))):
            if block.ops[index].type in {"feed", "fetch"}:
                block._remove_op(index)
        program = program._prune_with_input(["image"], [block.var(name) for name in outputs])
        block = program.global_block()
        kinds = paddle.base.core.VarDesc.VarType
        block.create_var(name="feed", type=kinds.FEED_MINIBATCH, persistable=True)
        block.create_var(name="fetch", type=kinds.FETCH_LIST, persistable=True)
        block._prepend_op(
            type="feed", inputs={"X": [block.var("feed")]}, outputs={"Out": [block.var("image")]}, attrs={"col": 0}
        )
        for column, name in enumerate(outputs):
            block.append_op(
                type="fetch",
                inputs={"X": [block.var(name)]},
                outputs={"Out": [block.var("fetch")]},
                attrs={"col": column},
            )
    serialized: bytes = program.desc.serialize_to_string()
    return serialized


def run_official(model: bytes, parameters: Mapping[str, Array], inputs: Mapping[str, Array]) -> list[Array]:
    """The outputs of a program on Paddle Inference with one thread."""
    with tempfile.TemporaryDirectory() as folder:
        program_file, weights_file = Path(folder, "inference.pdmodel"), Path(folder, "inference.pdiparams")
        program_file.write_bytes(model)
        weights_file.write_bytes(b"".join(packed(parameters[name]) for name in sorted(program_parameters(model))))
        config = paddle.inference.Config(str(program_file), str(weights_file))
        config.disable_gpu()
        config.disable_glog_info()
        config.disable_mkldnn()
        config.set_cpu_math_library_num_threads(1)
        predictor = paddle.inference.create_predictor(config)
    for name in predictor.get_input_names():
        predictor.get_input_handle(name).copy_from_cpu(inputs[name])
    predictor.run()
    return [predictor.get_output_handle(name).copy_to_cpu() for name in predictor.get_output_names()]


def packed(array: Array) -> bytes:
    """One parameter of a `.pdiparams` file: versions, no sequence lengths, a protobuf TensorDesc, the values."""
    desc = b"\x08\x05" + b"".join(b"\x10" + varint(size) for size in array.shape)  # field 1: float32; field 2: sizes
    return struct.pack("<IQIi", 0, 0, 0, len(desc)) + desc + np.ascontiguousarray(array, "<f4").tobytes()


def varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


if __name__ == "__main__":
    main()
