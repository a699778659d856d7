"""docs/moving.md: each line of its table of galleries, evaluation and clients runs, in its order."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from models.recognition.paddleclas import read_their_gallery
from shitu.cli.main import main
from tests.docs_reader import ROOT
from tests.models.programs import artifact
from tests.shitu.paddleclas.conftest import SEEDS
from tests.shitu.paddleclas.test_paddleclas import script

PAGE = (ROOT / "docs" / "moving.md").read_text(encoding="utf-8")
TABLE = PAGE.partition("\n## Galleries, evaluation and clients\n")[2].partition("\n## ")[0]
LINES = re.findall(r"^\| .*? \| `(shitu .*?)` \| .* \|$", TABLE, re.MULTILINE)


def test_each_line_of_the_table_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHITU_DATA_DIR", str(folder / "data"))
    script("build_gallery")
    script(
        "build_gallery",
        "IndexProcess.dist_type=hamming",
        "IndexProcess.index_method=Flat",
        "IndexProcess.index_dir=codes",
    )
    (folder / "paddlex").mkdir()
    shutil.copy(folder / "index" / "vector.index", folder / "paddlex")
    names = {"index_type": "HNSW32", "metric_type": "IP", "id_map": dict(enumerate(SEEDS))}
    (folder / "paddlex" / "id_map.yaml").write_text(yaml.safe_dump(names, allow_unicode=True), encoding="utf-8")
    shutil.copytree(folder / "gallery", folder / "shelf")
    for name, ids in (("train", ""), ("query", " 1")):
        lines = [f"{seed}.png {place}{ids}" for place, seed in enumerate(SEEDS.values())]
        (folder / "shelf" / f"{name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    shutil.copy(Path(__file__).parent / "configs" / "recognition.yaml", folder / "theirs.yaml")
    artifact(folder / "tiny", "embed")
    assert len(LINES) == 10
    for line in LINES:
        result = CliRunner().invoke(main, shlex.split(line)[1:])
        assert result.exit_code == 0, f"{line}: {result.output} {result.exception}"
        assert result.stdout, line
    for name in ("listed", "drinks", "coded", "shop"):
        shown = CliRunner().invoke(main, ["gallery", "show", name])
        assert all(label in shown.stdout for label in SEEDS), shown.output
    items, index = read_their_gallery(folder / "theirs" / "index")
    assert (sorted(item.label for item in items), index.distance) == (sorted(SEEDS), "IP")
