"""`--server`: the command line through a running service, from a folder of pictures to answers, and back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from infra.stack.launcher import Stack
from shitu.cli.main import main
from tests.e2e.service import encode, pattern


def run(stack: Stack, *words: object) -> Result:
    return CliRunner().invoke(main, [*map(str, words), "--server", stack.base_url])


@pytest.mark.slow
def test_a_folder_is_added_recognised_shown_and_deleted_through_a_service(stack: Stack, tmp_path: Path) -> None:
    for number in range(3):
        for view in range(2):
            target = tmp_path / "mine" / f"label {number}" / f"{view}.jpg"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(encode(pattern(40 + 4 * number), quality=95 - 10 * view))
    (tmp_path / "mine" / "label 0" / "bad.jpg").write_bytes(b"no picture")
    answer = run(stack, "gallery", "add", tmp_path / "mine", "--gallery", "lines")
    assert answer.exit_code == 1, answer.output
    assert answer.stdout == "6 items added to 'lines'; version 2 has 6\n"
    assert "1 could not be used: 1 image_not_an_image\n" in answer.stderr
    (tmp_path / "mine" / "label 0" / "bad.jpg").unlink()
    answer = run(stack, "recognize", tmp_path / "mine", "--gallery", "lines", "--min-precision", 0.5, "--json")
    assert answer.exit_code == 0, answer.output
    report = json.loads(answer.stdout)
    assert [one["recognitions"][0]["label"] for one in report] == [Path(one["photo"]).parent.name for one in report]
    shown = json.loads(run(stack, "gallery", "show", "lines", "--json").stdout)
    assert shown["labels"] == {"label 0": 2, "label 1": 2, "label 2": 2}
    assert run(stack, "gallery", "delete", "lines", "--yes").exit_code == 0
    answer = run(stack, "recognize", tmp_path / "mine", "--gallery", "lines")
    assert (answer.exit_code, answer.stderr.count("gallery_not_found")) == (1, 1)
