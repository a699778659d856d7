"""Programs of fewer bits from an fp32 one: weights stored in 16 bits, or weights and activations computed in 8.

int8 is post-training quantisation by NNCF: ranges of activations are taken from pictures, no step is trained (Nagel et
al., "A White Paper on Neural Network Quantization", arXiv:2106.08295, section 3).
"""

import importlib.metadata
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.artifacts.manifest import ImageInput
from models.engines.openvino import import_openvino
from models.engines.pir_graph import pir_network
from models.engines.program import OTHER_STEM, STEMS
from models.errors import EngineError
from models.export.calibration_pictures import prepared
from models.pdmodel.pir import cut_pir
from models.pdmodel.program_desc import cut_program, parse_program
from models.training.engine.chatter import chatter_on_stderr

TAILED = {"HSwish", "HardSigmoid", "Swish", "Elu", "PRelu", "Gelu", "Mish"}  # activations below zero


def openvino_network(folder: Path, outputs: Sequence[str] = ()) -> Any:
    """The fp32 program of a model folder as OpenVINO's network, batch norms folded; a PaddlePaddle program is cut at `outputs`.

    Raises EngineError (program_missing) if there is none that OpenVINO reads.
    """
    openvino = import_openvino()
    stem = folder / STEMS["fp32"]
    if stem.with_suffix(".xml").is_file():
        return openvino.Core().read_model(str(stem.with_suffix(".xml")))
    if stem.with_suffix(".onnx").is_file():
        return openvino.convert_model(str(stem.with_suffix(".onnx")))
    for file in (
        folder / f"{name}{suffix}" for name in (STEMS["fp32"], OTHER_STEM) for suffix in (".pdmodel", ".json")
    ):
        if not file.is_file():
            continue
        model, parameters = file.read_bytes(), file.with_suffix(".pdiparams").read_bytes()
        if file.suffix == ".json":
            return pir_network(openvino, cut_pir(model, list(outputs)) if outputs else model, parameters)
        return openvino.Core().read_model(cut_program(parse_program(model), outputs) if outputs else model, parameters)
    raise EngineError(f"The folder {str(folder)!r} holds no program that OpenVINO reads.", "program_missing")


def save_fp32(network: Any, folder: Path) -> None:
    """`inference.xml` and `.bin`."""
    import_openvino().save_model(network, folder / f"{STEMS['fp32']}.xml", compress_to_fp16=False)


def save_fp16(network: Any, folder: Path) -> None:
    """Half the size: the weights are stored in 16 bits, and still computed with in 32."""
    import_openvino().save_model(network, folder / f"{STEMS['fp16']}.xml", compress_to_fp16=True)


def save_int8(network: Any, pictures: Sequence[NDArray[np.uint8]], given: ImageInput, folder: Path) -> dict[str, Any]:
    """A quarter of the size: `network`, whose input is `given`, quantised with RGB `pictures`.

    Returns what a manifest says of it.
    """
    openvino = import_openvino()
    import nncf  # it imports OpenVINO, whose logging must be off by then

    logging.getLogger("nncf").setLevel(logging.ERROR)  # else its progress fills the terminal
    samples = nncf.Dataset(pictures, lambda picture: {given.name: prepared(picture, given)})
    with chatter_on_stderr():
        quantised = nncf.quantize(
            network,
            samples,
            preset=nncf.QuantizationPreset.MIXED if _has_tails(network) else nncf.QuantizationPreset.PERFORMANCE,
            target_device=nncf.TargetDevice.CPU,
            subset_size=len(pictures),
        )
    openvino.save_model(quantised, folder / f"{STEMS['int8']}.xml", compress_to_fp16=False)
    return {"nncf": importlib.metadata.version("nncf"), "calibration_pictures": len(pictures)}


def _has_tails(network: Any) -> bool:
    """Whether activations go below zero, so that 8 bits need a zero point; without one they are faster and no worse."""
    return any(op.get_type_name() in TAILED for op in network.get_ops())
