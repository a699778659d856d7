"""`shitu completion`: scripts that a shell takes, put where it looks; and what they are answered."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import BashComplete
from click.testing import CliRunner

from shitu.cli.completion import place
from shitu.cli.main import main
from tests.docs_reader import ROOT


def completed(words: str) -> list[str]:
    """What a shell is answered for the last of the words."""
    *before, last = words.split(" ")
    return [item.value for item in BashComplete(main, {}, "shitu", "_SHITU_COMPLETE").get_completions(before, last)]


def test_commands_and_options_are_completed() -> None:
    assert completed("se") == ["settings"]
    assert completed("gallery ver") == ["versions"]
    assert completed("gallery show --v") == ["--version"]
    assert completed("recognize --format p") == ["paddleclas"]
    assert completed("--ver") == ["--version"]


def test_no_command_is_loaded_for_the_names_of_all() -> None:
    loaded = "import sys; sys.argv[0] = 'shitu'; from shitu.cli.main import main\ntry: main()\nexcept SystemExit: pass\nprint([name for name in sys.modules if name.startswith('shitu.cli.')])"
    answer = subprocess.run(
        [sys.executable, "-c", loaded], cwd=ROOT, capture_output=True, text=True, timeout=100, check=True,
        env={"PATH": "/usr/bin:/bin", "_SHITU_COMPLETE": "bash_complete", "COMP_WORDS": "shitu ", "COMP_CWORD": "1"},
    )  # fmt: skip
    assert answer.stdout.endswith(
        "['shitu.cli.suggestions', 'shitu.cli.main']\n"
    )  # what names a mistyped one, and no command
    assert "plain,gallery\n" in answer.stdout


@pytest.mark.parametrize(
    ("shell", "place"),
    [
        ("bash", "data/bash-completion/completions/shitu"),
        ("zsh", ".zfunc/_shitu"),
        ("fish", "config/fish/completions/shitu.fish"),
    ],
)
def test_a_script_is_printed_and_installed(
    shell: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    printed = CliRunner().invoke(main, ["completion", shell])
    assert printed.exit_code == 0, printed.output
    assert f"_SHITU_COMPLETE={shell}_complete" in printed.stdout
    installed = CliRunner().invoke(main, ["completion", shell, "--install"])
    assert installed.exit_code == 0, installed.output
    assert installed.stdout == f"{tmp_path / place}\n"
    assert (tmp_path / place).read_text(encoding="utf-8") == printed.stdout
    if shutil.which(shell):
        assert subprocess.run([shell, "-n", tmp_path / place], check=False).returncode == 0


def test_the_shell_in_use_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELL", "/bin/zsh")
    assert "#compdef shitu" in CliRunner().invoke(main, ["completion"]).stdout
    monkeypatch.setenv("SHELL", "/bin/dash")
    answer = CliRunner().invoke(main, ["completion"])
    assert (answer.exit_code, "name your shell: bash, zsh, fish" in answer.stderr) == (2, True)


@pytest.mark.parametrize(
    ("shell", "where"),
    [
        ("bash", ".local/share/bash-completion/completions/shitu"),
        ("fish", ".config/fish/completions/shitu.fish"),
    ],
)
def test_without_xdg_variables_the_folders_are_those_of_the_specification(
    shell: str, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    assert place(shell) == tmp_path / where
