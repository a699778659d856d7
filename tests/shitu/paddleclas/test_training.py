"""`shitu train --config`: configurations in the form of PaddleClas' `ppcls/configs` are translated, printed and trained."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from models.nets.embedding import EmbedderV1
from models.nets.named import build
from models.training.engine.checkpoint import Checkpoint
from shitu.cli.main import main
from shitu.paddleclas.config import ConfigError
from shitu.paddleclas.training.recipe import translate
from shitu.paddleclas.training.source import read_source
from tests.models.nets.seeded import fill, seeded_state

CONFIGS = Path(__file__).parent / "configs"
KINDS = {"recognition": "metric", "classification": "classifier", "deephash": "hash", "distillation": "distill"}


@pytest.fixture(autouse=True)
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the configurations' lists and pictures are: four pictures of each of three classes, as their lists have them."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    random = np.random.default_rng(1)
    lines = []
    for label in range(3):
        colour = random.integers(0, 256, 3)
        for view in range(4):
            noise = random.integers(-30, 30, (40, 48, 3))
            Image.fromarray(np.clip(colour + noise, 0, 255).astype(np.uint8)).save(folder / f"{label}-{view}.png")
            lines.append(f"{label}-{view}.png {label}")
    (folder / "train.txt").write_text("\n".join(lines) + "\n")
    (folder / "query.txt").write_text("\n".join(f"{line} {number}" for number, line in enumerate(lines)) + "\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


def shitu(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def tables(name: str, *overrides: str) -> dict[str, Any]:
    made = translate(CONFIGS / f"{name}.yaml", Path("run"), overrides)
    assert made.kind == KINDS[name]
    return {file: tomllib.loads(text) for file, text in made.files.items()}


def spoiled(name: str, old: str, new: str, tmp_path: Path) -> Path:
    text = (CONFIGS / f"{name}.yaml").read_text()
    assert old in text
    (tmp_path / "theirs.yaml").write_text(text.replace(old, new, 1))
    return tmp_path / "theirs.yaml"


def line_of(file: Path, text: str) -> int:
    return next(number for number, line in enumerate(file.read_text().splitlines(), 1) if text in line)


@pytest.mark.parametrize("name", KINDS)
def test_each_kind_is_printed_and_trains_two_steps(name: str) -> None:
    printed = shitu("train", "--config", CONFIGS / f"{name}.yaml", "--print")
    assert printed.exit_code == 0, printed.output
    assert not Path("runs").exists()
    trained = shitu("train", "--config", CONFIGS / f"{name}.yaml", "--out", "run", "--threads", 1, "--stop-after", 2)
    assert trained.exit_code == 0, f"{trained.output} {trained.exception}"
    assert Checkpoint.load(Path("run/best.npz")).progress["step"] == 2
    assert "next: shitu export" in trained.stdout
    assert [line for line in printed.stdout.splitlines() if line.startswith("# line")]


def test_what_was_trained_is_exported_as_is_said(tmp_path: Path) -> None:
    trained = shitu(
        "train", "--config", CONFIGS / "classification.yaml", "--out", "run", "--threads", 1, "--stop-after", 2
    )
    following = trained.stdout.rpartition("next: shitu ")[2].split()
    exported = shitu(*following, "--formats", "onnx")
    assert exported.exit_code == 0, f"{exported.output} {exported.exception}"
    found = shitu("classify", tmp_path / "shelf" / "0-0.png", "--model", "run/artifact", "--json")
    assert found.exit_code == 0, found.output


def test_general_recognition_has_their_parts_and_constants() -> None:
    (recipe,) = tables("recognition").values()
    assert recipe["backbone"] == {
        "kind": "lcnetv2", "width": 1.0, "depths": [2, 2, 6, 2], "shitu_last_stage": True, "class_expand": 64, "dropout": 0.2,
    }  # fmt: skip
    assert (recipe["neck"], recipe["head"]) == ({"kind": "bnneck"}, {"kind": "fc"})
    assert recipe["loss"] == {
        "ce": {"weight": 1.0, "smoothing": 0.1},
        "triplet_angular_margin": {
            "weight": 1.0, "margin": 0.5, "ap_value": 0.8, "an_value": 0.4, "absolute_weight": 0.1, "on": "features",
        },
    }  # fmt: skip
    assert recipe["augment"] == {"kind": "pad_crop", "rotation_probability": 0.5, "rotation_deg": 90.0}
    assert recipe["sampler"] == {"kind": "class", "views_per_class": 2}
    assert recipe["stages"] == [{"steps": 12, "size_px": 32, "batch": 4}]  # 4 epochs of 12 pictures, 4 at once
    assert recipe["optimizer"] == {
        "kind": "momentum", "learning_rate": 0.06, "weight_decay": 1e-5, "ema_decay": 0.0, "warmup_steps": 3,
    }  # fmt: skip
    assert recipe["evaluate_every"] == 3
    assert recipe["data"] == [
        {"kind": "list", "name": "train", "root": "./shelf/", "file": "train.txt", "delimiter": " "}
    ]
    assert recipe["eval"] == [
        {"kind": "lists", "name": "eval", "root": "./shelf/", "file": "query.txt", "delimiter": " ", "ids": True}
    ]


def test_classification_deephash_and_distillation_have_theirs() -> None:
    (classifier,) = tables("classification").values()
    assert (classifier["network"], classifier["class_num"], classifier["epochs"]) == ("PPLCNet_x0_25", 3, 2)
    assert classifier["sampler"] == {"batch": 4, "scales": [32, 64], "divisor": 32}
    assert classifier["augment"] == {"area": [0.5, 1.0]}
    assert classifier["optimizer"]["ema_decay"] == 0.5
    (codes,) = tables("deephash").values()
    assert codes["network"] == {"bits": 16, "embedder": {"kind": "v1", "width": 0.25}}
    assert codes["loss"] == {"kind": "dshsd", "alpha": 0.05}
    several = tables("distillation")
    assert several["recipe.toml"] == {
        "name": "distillation", "method": "udml", "weight": 1.0, "distance_weight": 1.0,
        "student": "run/student.toml", "peer": "run/peer.toml",
    }  # fmt: skip
    assert several["student.toml"]["head"] == {"kind": "arcmargin", "margin": 0.2, "scale": 30.0, "easy_margin": False}
    assert several["student.toml"]["loss"] == {"ce": {"weight": 1.0, "smoothing": 0.0}}


def test_overrides_change_keys_as_there() -> None:
    (recipe,) = tables(
        "recognition", "Global.epochs=2", "Loss.Train.0.CELoss.epsilon=0.3", "DataLoader.Train.sampler.batch_size=6"
    ).values()
    assert recipe["stages"] == [{"steps": 4, "size_px": 32, "batch": 6}]
    assert recipe["loss"]["ce"]["smoothing"] == 0.3
    printed = shitu("train", "--config", CONFIGS / "recognition.yaml", "--print", "-o", "Global.epochs=2")
    assert "steps = 6\n" in printed.stdout


def test_weights_to_begin_with_are_theirs_or_ours(tmp_path: Path) -> None:
    network = build("PPLCNet_x0_25", 7)
    fill(network, seeded_state(network, 8))
    paddle.save(network.state_dict(), "imagenet.pdparams")
    made = translate(CONFIGS / "classification.yaml", Path("run"), ["Global.pretrained_model=imagenet"])
    assert made.init == Path("imagenet.pdparams")
    trained = shitu(
        "train", "--config", CONFIGS / "classification.yaml", "-o", "Global.pretrained_model=imagenet", "--out", "run",
        "--threads", 1, "--stop-after", 1, "-o", "Optimizer.lr.learning_rate=1e-9", "-o", "EMA.decay=0",
    )  # fmt: skip
    assert trained.exit_code == 0, f"{trained.output} {trained.exception}"
    held = Checkpoint.load(Path("run/best.npz")).groups["classifier"]
    name = next(name for name in held if name.endswith("conv1.conv.weight"))
    np.testing.assert_allclose(held[name], network.state_dict()[name].numpy(), atol=1e-5)
    missing = shitu("train", "--config", CONFIGS / "classification.yaml", "-o", "Global.pretrained_model=nowhere")
    assert missing.exit_code == 1
    assert "-o: Global.pretrained_model: there is no file 'nowhere.pdparams'" in missing.stderr


def test_a_frozen_teacher_is_exported_and_learned_from() -> None:
    network = EmbedderV1(0.25, 16)
    fill(network, seeded_state(network, 8))
    paddle.save(network.state_dict(), "teacher.pdparams")
    words = [
        "-o",
        "Arch.freeze_params_list=[True,False]",
        "-o",
        'Arch.pretrained_list=["teacher.pdparams",None]',
        "-o",
        "Loss.Train.2=None",
    ]
    trained = shitu(
        "train", "--config", CONFIGS / "distillation.yaml", *words, "--out", "run", "--threads", 1, "--stop-after", 1
    )
    assert trained.exit_code == 0, f"{trained.output} {trained.exception}"
    recipe = tomllib.loads(Path("run/recipe.toml").read_text())
    assert recipe["method"] == "ssld"
    assert Path(recipe["teacher"]["model"], "manifest.json").is_file()


def test_classifiers_learn_from_each_other(tmp_path: Path) -> None:
    text = (CONFIGS / "classification.yaml").read_text()
    text = text.replace(
        "  name: PPLCNet_x0_25\n  class_num: 3\n",
        "  name: DistillationModel\n  class_num: 3\n  freeze_params_list: [False, False]\n  models:\n"
        "    - Teacher: {name: PPLCNet_x0_35, class_num: 3, pretrained: False}\n"
        "    - Student: {name: PPLCNet_x0_25, class_num: 3, pretrained: False}\n",
    ).replace(
        "    - CELoss:\n        weight: 1.0\n        epsilon: 0.1\n",
        "    - DistillationGTCELoss: {weight: 1.0, model_names: [Student, Teacher]}\n"
        "    - DistillationDMLLoss: {weight: 0.5, model_name_pairs: [[Student, Teacher]]}\n",
        1,
    )
    (tmp_path / "mutual.yaml").write_text(text)
    trained = shitu("train", "--config", "mutual.yaml", "--out", "run", "--threads", 1, "--stop-after", 1)
    assert trained.exit_code == 0, f"{trained.output} {trained.exception}"
    recipe = tomllib.loads(Path("run/recipe.toml").read_text())
    assert recipe["network"] == "PPLCNet_x0_25"
    assert recipe["distill"] == {"method": "dml", "weight": 0.5, "peer": "PPLCNet_x0_35"}


SPOILED = [
    ("recognition", "  epochs: 4", "  epoches: 4", "Global.epoches: not known here; did you mean Global.epochs?"),
    ("recognition", "  epochs: 4", "  epochs: many", "Global.epochs: must be a whole number, not 'many'"),
    ("recognition", "name: PPLCNetV2_base_ShiTu", "name: SwinTransformer_base", "Arch.Backbone.name: no network 'SwinTransformer_base' here"),
    ("recognition", "pretrained: False", "pretrained: True", "Arch.Backbone.pretrained: fetches weights there; give a file by -o"),
    ("recognition", "- TripletAngularMarginLoss:", "- MSMLoss:", "Loss.Train.1.MSMLoss: no such loss here"),
    ("recognition", "name: BNNeck", "name: VehicleNeck", "Arch.Neck.name: no neck 'VehicleNeck' here"),
    ("recognition", "    name: FC", "    name: AdaMargin", "Arch.Head.name: no head 'AdaMargin' here"),
    ("recognition", "momentum: 0.9", "momentum: 0.8", "Optimizer.momentum: 0.8: momentum is 0.9"),
    ("recognition", "name: PKSampler", "name: OddSampler", "DataLoader.Train.sampler.name: no sampler 'OddSampler' here"),
    ("recognition", "- RandomRotation:", "- AutoAugment:", "AutoAugment: no such augmentation here"),
    ("recognition", "mean: [0.485, 0.456, 0.406]", "mean: [0.5, 0.5, 0.5]", "NormalizeImage.mean: [0.5, 0.5, 0.5], where"),
    ("recognition", "./shelf/train.txt", "./shelf/gone.txt", "cls_label_path: there is no list 'shelf/gone.txt'"),
    ("recognition", "re_ranking: False", "re_ranking: True", "Global.re_ranking: True: `shitu evaluate retrieval` has no re-ranking"),
    ("recognition", "        margin: 0.5\n", "        margin: 0.5\n        softness: 3\n", "TripletAngularMarginLoss.softness: not known here"),
    ("classification", "name: PPLCNet_x0_25", "name: ResNet18", "Arch.name: no network 'ResNet18' here"),
    ("classification", "- CELoss:", "- MultiLabelLoss:", "Loss.Train.0.MultiLabelLoss: classifiers are trained by CELoss"),
    ("deephash", "name: PPLCNet_x0_25", "name: AlexNet", "Arch.Backbone.name: no network 'AlexNet' here"),
    ("distillation", "- DistillationDMLLoss:", "- DistillationRKDLoss:", "DistillationRKDLoss: no such loss of distillation here"),
    ("distillation", "infer_model_name: Student", "infer_model_name: Pupil", "Arch.models: must be Pupil and one other network"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "old", "new", "said"), SPOILED)
def test_what_can_not_be_done_is_named_with_its_line(name: str, old: str, new: str, said: str, tmp_path: Path) -> None:
    file = spoiled(name, old, new, tmp_path)
    answer = shitu("train", "--config", file, "--print")
    assert answer.exit_code == 1, answer.output
    (named,) = [line for line in answer.stderr.splitlines() if said in line]
    expected = line_of(file, "models:" if "Pupil" in new else new.strip().splitlines()[-1])
    assert f"theirs.yaml, line {expected}: " in named


def test_several_faults_are_named_at_once(tmp_path: Path) -> None:
    file = spoiled("recognition", "  epochs: 4", "  epoches: 4\n  colour: red", tmp_path)
    with pytest.raises(ConfigError) as caught:
        translate(file, Path("run"))
    assert [text.split(": ")[1] for text in caught.value.detail.splitlines()] == ["Global.epoches", "Global.colour"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- a\n- b\n", "must hold groups of keys"),
        ("Global: {epochs: 1}\nGlobal: {epochs: 2}\n", "line 2: Global is there twice"),
        ("Global: [", "no YAML"),
        ("Global: &a\n  inner: *a\n", "an anchor that holds itself"),
        ("", "Arch.name: no network '' here"),
    ],
)
def test_a_file_of_something_else_is_refused(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "theirs.yaml").write_text(text)
    answer = shitu("train", "--config", "theirs.yaml", "--print")
    assert answer.exit_code == 1, answer.output
    assert said in answer.stderr


def test_every_key_of_the_samples_is_read_or_said(tmp_path: Path) -> None:
    """A key that is put in anywhere is named: no group is ignored as a whole but those that are said to have no effect."""
    text = (CONFIGS / "recognition.yaml").read_text().splitlines()
    for place, line in enumerate(text):
        if not line.rstrip().endswith(":") or line.lstrip().startswith("-"):
            continue
        following = text[place + 1]
        if following.lstrip().startswith("-"):
            continue
        indent = len(following) - len(following.lstrip())
        changed = [*text[: place + 1], " " * indent + "put_in_here: 7", *text[place + 1 :]]
        (tmp_path / "theirs.yaml").write_text("\n".join(changed))
        (path,) = (path for path in read_source(tmp_path / "theirs.yaml").lines if path.endswith("put_in_here"))
        parents = [path[:at] for at, letter in enumerate(path) if letter == "."]
        said = everything_said(tmp_path / "theirs.yaml")
        assert f"line {place + 2}: {path}: not known here" in said or any(
            f": {parent}: " in said for parent in parents
        ), path


def everything_said(file: Path) -> str:
    """The faults of a configuration, or the notes."""
    try:
        return "\n".join(translate(file, Path("run")).notes)
    except ConfigError as error:
        return error.detail


def test_options_without_a_configuration_are_refused() -> None:
    assert shitu("train", "-o", "Global.epochs=2").exit_code == 2
    assert shitu("train", "--config", CONFIGS / "recognition.yaml", "embedder", "embedder-tiny").exit_code == 2
    assert "Usage" in shitu("train").output


def test_a_second_run_continues(tmp_path: Path) -> None:
    shutil.copy(CONFIGS / "classification.yaml", "mine.yaml")
    words = ["train", "--config", "mine.yaml", "--out", "run", "--threads", 1]
    assert shitu(*words, "--stop-after", 1).exit_code == 0
    assert shitu(*words, "--stop-after", 2).exit_code == 0
    assert Checkpoint.load(Path("run/last.npz")).progress["step"] == 2
