"""PaddleClas' quick start of PP-ShiTu, step by step with one word changed, and the configurations of deploy/configs that belong to it."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from models.synth.designs import design_product
from models.synth.products import packshot
from tests.models.programs import DIM, SIDE, official_archive
from tests.shitu.paddleclas.conftest import GENERAL, SEEDS
from tests.shitu.paddleclas.test_paddleclas import answers, run

NEW, NEW_SEED = "汽水", 120


def test_a_new_product_is_recognised_once_its_line_is_added(folder: Path) -> None:
    """Recognise one photo, then a folder; a product that is unknown; add its picture and line; recognise it."""
    shot = Image.fromarray(packshot(design_product(NEW_SEED), 96)).resize((96, 96))
    shot.save(folder / "unknown.jpg", quality=92)

    def recognised(photos: str) -> list[list[dict[str, Any]]]:
        result = run("predict_system", "-c", "general.yaml", "-o", f"Global.infer_imgs={photos}")
        assert result.exit_code == 0, result.output
        return answers(result)

    built = run("build_gallery", "-c", "general.yaml")
    assert built.exit_code == 0, built.output
    assert [one["rec_docs"] for one in recognised("photos/3.jpg")[0]] == ["cola"]
    assert sorted(found[0]["rec_docs"] for found in recognised("photos")) == sorted(SEEDS)
    assert all(one["rec_docs"] != NEW for found in recognised("unknown.jpg") for one in found)

    shot.save(folder / "gallery" / "new.png")
    with (folder / "gallery" / "list.txt").open("a", encoding="utf-8") as listed:
        listed.write(f"new.png\t{NEW}\n")
    again = run("build_gallery", "-c", "general.yaml", "-o", "IndexProcess.index_dir=./index_all")
    assert again.exit_code == 0, again.output
    result = run(
        "predict_system", "-c", "general.yaml", "-o", "Global.infer_imgs=unknown.jpg", "-o", "IndexProcess.index_dir=./index_all"
    )  # fmt: skip
    ((found,),) = answers(result)
    assert (found["rec_docs"], found["rec_scores"] > 0.9) == (NEW, True)


def changed(**groups: dict[str, Any] | None) -> dict[str, Any]:
    """The general configuration with other values in some groups; None leaves a group out."""
    table = copy.deepcopy(GENERAL)
    table["Global"]["det_inference_model_dir"] = "shitu-detector"
    for group, values in groups.items():
        if values is None:
            del table[group]
        else:
            table[group] = {**(table.get(group) or {}), **values}
    return table


CONFIGS = {
    "inference_general.yaml": (changed(), "predict_system"),
    "inference_drink.yaml": (
        changed(Global={"enable_mkldnn": False}, IndexProcess={"score_thres": 0.4}), "predict_system",
    ),
    "inference_general_binary.yaml": (
        changed(
            IndexProcess={"index_method": "Flat", "dist_type": "hamming", "hamming_radius": 100, "index_dir": "./index_bin"},
            RecPostProcess={"main_indicator": "Binarize", "Binarize": {"method": "sign"}},
        ), "predict_system",
    ),
    "inference_det.yaml": (
        changed(Global={"max_det_results": 1}, RecPreProcess=None, RecPostProcess=None, IndexProcess=None), "predict_det",
    ),
    "inference_rec.yaml": (
        changed(Global={"use_gpu": False}, DetPreProcess=None, DetPostProcess=None, IndexProcess=None), "predict_rec",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CONFIGS)
def test_each_of_their_configurations_runs(folder: Path, name: str) -> None:
    table, script = CONFIGS[name]
    (folder / name).write_text(yaml.safe_dump(table, allow_unicode=True), encoding="utf-8")
    if script == "predict_system":
        built = run("build_gallery", "-c", name)
        assert built.exit_code == 0, built.output
    result = run(script, "-c", name, "-o", "Global.infer_imgs=photos")
    assert result.exit_code == 0, result.output
    if script == "predict_system":
        best = [max(found, key=lambda one: one["rec_scores"])["rec_docs"] for found in answers(result) if found]
        assert sorted(best) == sorted(SEEDS)
    elif script == "predict_det":
        assert len(answers(result)) == len(SEEDS)
    else:
        assert len(result.stdout.splitlines()) == len(SEEDS)


def test_their_classification_script_runs(folder: Path) -> None:
    official_archive(folder / "models" / "PPLCNet_x1_0_infer", "classify")
    (folder / "names.txt").write_text("".join(f"{number} thing {number}\n" for number in range(DIM)), encoding="utf-8")
    normalize = {"scale": 0.00392157, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "order": ""}
    table = {
        "Global": {
            "infer_imgs": "./photos", "inference_model_dir": "./models/PPLCNet_x1_0_infer", "batch_size": 1,
            "use_gpu": True, "enable_mkldnn": True, "cpu_num_threads": 10, "enable_benchmark": True, "use_fp16": False,
            "ir_optim": True, "use_tensorrt": False, "gpu_mem": 8000, "enable_profile": False,
        },
        "PreProcess": {
            "transform_ops": [
                {"ResizeImage": {"resize_short": 37}}, {"CropImage": {"size": SIDE}}, {"NormalizeImage": normalize},
                {"ToCHWImage": None},
            ]
        },
        "PostProcess": {
            "main_indicator": "Topk", "Topk": {"topk": 2, "class_id_map_file": "names.txt"},
            "SavePreLabel": {"save_dir": "./pre_label/"},
        },
    }  # fmt: skip
    (folder / "inference_cls.yaml").write_text(yaml.safe_dump(table), encoding="utf-8")
    result = run("predict_cls", "-c", "inference_cls.yaml")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert [line.partition(":\t")[0] for line in lines] == ["3.jpg", "40.jpg", "77.jpg"]
    for line in lines:
        found = re.fullmatch(
            r"\S+:\tclass id\(s\): \[(\d), (\d)\], score\(s\): \[(0\.\d\d), (0\.\d\d)\], "
            r"label_name\(s\): \['thing (\d)', 'thing (\d)'\]",
            line,
        )
        assert found is not None, line
        assert found.group(1, 2) == found.group(5, 6)
        assert found[3] >= found[4]
    assert "PostProcess.SavePreLabel.save_dir: no effect here" in result.stderr
    one = run(
        "predict_cls",
        "-c",
        "inference_cls.yaml",
        "-o",
        "PostProcess.Topk.topk=1",
        "-o",
        "Global.infer_imgs=photos/3.jpg",
    )
    assert one.stdout.count("thing") == 1
    other = run(
        "predict_cls", "-c", "inference_cls.yaml", "-o", "PreProcess.transform_ops.0.ResizeImage.resize_short=256"
    )
    assert other.exit_code == 1
    assert "resize_short 256, where 37 is used" in other.stderr
    pulc = run("predict_cls", "-c", "inference_cls.yaml", "-o", "PostProcess.main_indicator=ThreshOutput")
    assert pulc.exit_code == 1, pulc.output
    assert "ThreshOutput" in pulc.stderr
