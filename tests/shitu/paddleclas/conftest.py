"""A folder as PaddleClas' users have it: a gallery's pictures with their list, photos of the same products, a configuration."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from models.synth.designs import design_product
from models.synth.products import packshot
from shitu.paddleclas import system
from tests.docs_reader import ROOT

BUNDLED = ROOT / "models" / "bundled"
SEEDS = {"cola": 3, "绿 茶": 40, "milk": 77}
GENERAL: dict[str, Any] = {
    "Global": {
        "infer_imgs": "./photos", "det_inference_model_dir": None, "rec_inference_model_dir": "shitu-embedder",
        "rec_nms_thresold": 0.05, "batch_size": 1, "image_shape": [3, 640, 640], "threshold": 0.2, "max_det_results": 5,
        "label_list": ["foreground"], "use_gpu": True, "enable_mkldnn": True, "cpu_num_threads": 1,
        "enable_benchmark": True, "use_fp16": False, "ir_optim": True, "use_tensorrt": False, "gpu_mem": 8000,
        "enable_profile": False,
    },
    "DetPreProcess": {"transform_ops": [{"DetResize": {"interp": 2, "keep_ratio": False, "target_size": [640, 640]}}]},
    "DetPostProcess": {},
    "RecPreProcess": {"transform_ops": [{"ResizeImage": {"size": [224, 224]}}, {"ToCHWImage": None}]},
    "RecPostProcess": None,
    "IndexProcess": {
        "index_method": "HNSW32", "image_root": "./gallery", "index_dir": "./index", "data_file": "./gallery/list.txt",
        "index_operation": "new", "delimiter": "\t", "dist_type": "IP", "embedding_size": 512, "batch_size": 2,
        "return_k": 5, "score_thres": 0.5,
    },
}  # fmt: skip


@pytest.fixture(autouse=True, scope="package")
def what_ships_is_loaded_once() -> Iterator[None]:
    """Most commands load the bundled models anew, which takes longer than their work on three small pictures."""
    loaded: dict[object, Any] = {}

    def once(model: Callable[..., Any]) -> Callable[..., Any]:
        def opened(folder: Path, threads: int) -> Any:
            if BUNDLED not in folder.parents:
                return model(folder, threads=threads)
            if (key := (model, folder, threads)) not in loaded:
                loaded[key] = model(folder, threads=threads)
            return loaded[key]

        return opened

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(system, "Embedder", once(system.Embedder))
        patch.setattr(system, "Detector", once(system.Detector))
        yield


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A gallery's pictures with their list, photos of the same products, and the configuration."""
    (tmp_path / "gallery").mkdir()
    (tmp_path / "photos").mkdir()
    lines = []
    for label, seed in SEEDS.items():
        shot = Image.fromarray(packshot(design_product(seed), 96)).resize((96, 96))
        shot.save(tmp_path / "gallery" / f"{seed}.png")
        shot.save(tmp_path / "photos" / f"{seed}.jpg", quality=92)
        lines.append(f"{seed}.png\t{label}")
    (tmp_path / "gallery" / "list.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (tmp_path / "general.yaml").write_text(yaml.safe_dump(GENERAL, allow_unicode=True), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path
