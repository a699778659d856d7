"""Every key of PaddleClas' deploy configurations: done, without effect here, or refused; none is ignored in silence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

State = Literal["done", "no effect", "refused"]


@dataclass(frozen=True)
class Key:
    """What becomes of a key. `off` are the values of a refused one that have no effect, `allowed` those of a done one."""

    state: State
    why: str = ""
    off: tuple[Any, ...] = ()
    allowed: tuple[Any, ...] = ()


_DONE = Key("done")
_ENGINE = Key("no effect", "OpenVINO chooses its kernels itself")
_GPU = Key("no effect", "CPUs alone are used")
_MEASURE = Key("no effect", "`make bench` measures")
_MODEL = Key(
    "no effect",
    "the model's own preparation is used; an official archive's is compared with this. `shitu compare` resizes theirs by it",
)
_OFF = (None, False, 0, "")

KEYS: dict[str, Key] = {
    "Global.infer_imgs": _DONE,
    "Global.det_inference_model_dir": _DONE,
    "Global.rec_inference_model_dir": _DONE,
    "Global.inference_model_dir": _DONE,
    "Global.batch_size": Key(
        "done", "of classification and of features; the pipeline takes photo by photo, as theirs does"
    ),
    "Global.image_shape": Key("no effect", "a program has its own size"),
    "Global.threshold": _DONE,
    "Global.max_det_results": _DONE,
    "Global.label_list": _DONE,
    "Global.rec_nms_thresold": _DONE,
    "Global.output_dir": _DONE,
    "Global.cpu_num_threads": Key("done", "at most as many as this machine has"),
    "Global.use_gpu": _GPU,
    "Global.gpu_mem": _GPU,
    "Global.use_tensorrt": _GPU,
    "Global.use_npu": _GPU,
    "Global.use_xpu": _GPU,
    "Global.use_mlu": _GPU,
    "Global.use_fp16": Key("no effect", "there it needs TensorRT"),
    "Global.use_int8": Key("no effect", "`shitu export precisions` makes int8 programs"),
    "Global.use_onnx": _ENGINE,
    "Global.enable_mkldnn": _ENGINE,
    "Global.ir_optim": _ENGINE,
    "Global.enable_benchmark": _MEASURE,
    "Global.benchmark": _MEASURE,
    "Global.enable_profile": _MEASURE,
    "Global.model_name": _MEASURE,
    "Global.save_log_path": _MEASURE,
    "Global.android_demo": Key("refused", "an index without ids, for their phone app", _OFF),
    "DetPreProcess.transform_ops": _MODEL,
    "DetPostProcess": Key("no effect", "empty in all of their files"),
    "RecPreProcess.transform_ops": _MODEL,
    "PreProcess.transform_ops": _MODEL,
    "RecPostProcess": Key("done", "null, or Binarize with dist_type hamming", allowed=(None, {}, "")),
    "RecPostProcess.main_indicator": Key("done", "Binarize", allowed=(None, "Binarize")),
    "RecPostProcess.Binarize.method": _DONE,
    "PostProcess.main_indicator": Key("done", "Topk", allowed=(None, "Topk")),
    "PostProcess.Topk.topk": _DONE,
    "PostProcess.Topk.class_id_map_file": _DONE,
    "PostProcess.SavePreLabel.save_dir": Key("no effect", "no copies of pictures are made"),
    "PostProcess.Topk.delimiter": Key("done", "a blank, as all of their class lists have it", allowed=(None, " ")),
    "PostProcess.ThreshOutput": Key("refused", "for PULC models", _OFF),
    "PostProcess.ScoreOutput": Key("refused", "for models of one score", _OFF),
    "PostProcess.MultiLabelThreshOutput": Key("refused", "for models of several labels", _OFF),
    "PostProcess.PersonAttribute": Key("refused", "for PULC models", _OFF),
    "PostProcess.FaceAttribute": Key("refused", "for PULC models", _OFF),
    "PostProcess.VehicleAttribute": Key("refused", "for PULC models", _OFF),
    "PostProcess.TableAttribute": Key("refused", "for PULC models", _OFF),
    "IndexProcess.index_method": _DONE,
    "IndexProcess.image_root": _DONE,
    "IndexProcess.index_dir": _DONE,
    "IndexProcess.data_file": _DONE,
    "IndexProcess.index_operation": _DONE,
    "IndexProcess.delimiter": _DONE,
    "IndexProcess.dist_type": _DONE,
    "IndexProcess.embedding_size": Key("done", "compared with the model's"),
    "IndexProcess.batch_size": _DONE,
    "IndexProcess.return_k": Key("no effect", "only the nearest item counts, as in theirs"),
    "IndexProcess.score_thres": _DONE,
    "IndexProcess.hamming_radius": _DONE,
    "Eval.name": Key("refused", "`shitu evaluate pipeline` evaluates", _OFF),
    "Eval.image_root": Key("refused", "`shitu evaluate pipeline` evaluates", _OFF),
    "Eval.cls_label_path": Key("refused", "`shitu evaluate pipeline` evaluates", _OFF),
    "Eval.output_dir": Key("refused", "`shitu evaluate pipeline` evaluates", _OFF),
}


def known(path: str) -> Key | None:
    """The entry of a key, or of the group that it stands in."""
    parts = path.split(".")
    for length in range(len(parts), 0, -1):
        if (key := KEYS.get(".".join(parts[:length]))) is not None:
            return key
    return None
