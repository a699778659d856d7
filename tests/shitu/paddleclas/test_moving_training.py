"""docs/moving.md: each line of its table of weights and training runs, in its order, on weights as PaddleClas saves them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import paddle
import pytest
from click.testing import CliRunner
from paddle import nn

from models.artifacts.folders import load_manifest
from models.nets.embedding import EmbedderV1
from models.nets.named import build
from models.nets.picodet import PicoDet
from shitu.cli.main import main
from tests.docs_reader import ROOT
from tests.models.artifacts.test_official import paddlex
from tests.models.nets.seeded import fill, seeded_state

PAGE = (ROOT / "docs" / "moving.md").read_text(encoding="utf-8")
TABLE = PAGE.partition("\n## Weights and training\n")[2].partition("\n## ")[0]
LINES = re.findall(r"^\| .*? \| `(shitu .*?)` \| .* \|$", TABLE, re.MULTILINE)
MINE = """
name = "mine"
pool_px = 32
deploy_px = 32
evaluate_every = 2
backbone = { kind = "lcnet", width = 0.25 }
neck = { kind = "fc", size = 16 }
head = { kind = "fc" }
loss = { ce = { weight = 1.0 } }
sampler = { kind = "class", views_per_class = 1 }
data = [{ kind = "list", name = "shelf", file = "list.txt", crops = 2 }]
stages = [{ steps = 2, size_px = 32, batch = 3 }]
"""


def save(network: nn.Layer, file: Path) -> None:
    fill(network, seeded_state(network, 8))
    paddle.save(network.state_dict(), str(file))


def test_each_line_of_the_table_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    save(EmbedderV1(0.25, 16), folder / "general.pdparams")
    save(PicoDet(0.25, neck_channels=16, head_convs=1), folder / "mainbody.pdparams")
    save(build("PPLCNet_x0_25", 3), folder / "classes.pdparams")
    paddlex(folder / "paddlex", [], {"NormalizeFeatures": None})
    (folder / "mine.toml").write_text(MINE, encoding="utf-8")
    for line in LINES:
        result = CliRunner().invoke(main, shlex.split(line)[1:])
        assert result.exit_code == 0, f"{line}: {result.output} {result.exception}"
        assert result.stdout, line
    assert [load_manifest(folder / name).task for name in ("inference", "mainbody", "classes")] == [
        "embed",
        "detect",
        "classify",
    ]
    assert (folder / "run" / "artifact" / "mine.pdparams").is_file()
