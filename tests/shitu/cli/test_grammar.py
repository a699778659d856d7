"""The command line is one: the same thing has the same name everywhere, each help has examples, mistyped words are answered."""

from __future__ import annotations

import re
import shlex
from collections import defaultdict
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from shitu.cli.main import main
from tests.docs_reader import ROOT
from tests.test_docs import wrong_arguments

PAGE = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
# Commands that list something.
LISTS = [
    "recognize", "detect", "embed", "classify", "settings", "doctor", "models list", "models verify", "data lint",
    "gallery list", "gallery show", "gallery versions", "webhooks list",
]  # fmt: skip
EARLIER = (
    "--topk",
    "--save",
    "--to",
    "--with-id",
    "--rerank-floats",
    "--k",
)  # what things were called in one command only


def commands(group: click.Group, called: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command and group with its full name, without the program's."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield f"{called}{name}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{called}{name} ")


@pytest.fixture(scope="module")
def known() -> dict[str, click.Command]:
    return dict(commands(main))


def options(command: click.Command) -> list[click.Option]:
    return [one for one in command.params if isinstance(one, click.Option)]


def test_an_option_is_of_one_kind_in_all_commands(known: dict[str, click.Command]) -> None:
    kinds: dict[str, dict[bool, list[str]]] = defaultdict(lambda: defaultdict(list))
    for name, command in known.items():
        for option in options(command) if not name.startswith("paddleclas") else ():  # these are PaddleClas' own flags
            for flag in option.opts:
                kinds[flag][option.is_flag].append(name)
    assert {flag: dict(found) for flag, found in kinds.items() if len(found) > 1} == {}
    assert not kinds.keys() & set(EARLIER)
    assert {"--top-k", "--out", "--ids", "--rerank", "--json", "--server"} <= kinds.keys()


PRIVATE = re.compile(
    r"\b(asked|ask|asks|drawn|draws?|figures?|shares?|tells?|told|strangers?|bod(?:y|ies)|behind|beside|anew|dear|goes? on"
    r"|doubles|twins?|exams?|taught|look(?:s|ed)? (?:at|through)|passed over|leaves? off)\b",
    re.IGNORECASE,
)  # what this project once called things alone, where the field has words


def test_helps_speak_the_fields_words(known: dict[str, click.Command]) -> None:
    faults = {}
    for name in ("", *known):
        report = CliRunner().invoke(main, [*name.split(), "--help"]).stdout
        if found := [word.group() for word in PRIVATE.finditer(report)]:
            faults[name] = found
    assert faults == {}


def test_every_option_says_what_it_does(known: dict[str, click.Command]) -> None:
    silent = [f"{name} {one.opts[-1]}" for name, command in known.items() for one in options(command) if not one.help]
    assert silent == []


def test_rerank_takes_a_number_and_a_service_is_named_alike(known: dict[str, click.Command]) -> None:
    served = []
    for name, command in known.items():
        for option in options(command):
            if "--rerank" in option.opts:
                assert isinstance(option.type, click.IntRange), name
            if "--server" in option.opts:
                assert option.metavar == "URL", name
                served.append(name)
    changes = {
        f"gallery {name}"
        for name in (
            "add",
            "import",
            "diff",
            "evaluate",
            "reembed",
            "remove",
            "rename",
            "merge",
            "move",
            "feedback",
            "lint",
            "list",
            "show",
            "search",
            "versions",
            "activate",
            "delete",
            "restore",
            "erase",
            "create",
            "index",
        )
    }
    hooks = {f"webhooks {name}" for name in ("list", "create", "rotate", "test", "delete")}
    keys = {f"keys {name}" for name in ("create", "list", "revoke")}
    assert set(served) == {"recognize", "batch", "detect", "embed", "classify", *changes, *hooks, *keys}


def test_whatever_lists_does_so_for_programs_too(known: dict[str, click.Command]) -> None:
    lacking = [name for name in LISTS if not any("--json" in one.opts for one in options(known[name]))]
    assert lacking == []


def test_every_help_has_examples_that_are_right(known: dict[str, click.Command]) -> None:
    faults = {}
    for name in ("", *known):
        report = CliRunner().invoke(main, [*name.split(), "--help"])
        assert report.exit_code == 0, report.output
        _, _, after = report.stdout.partition("Examples:\n")
        lines = [line.strip() for line in after.splitlines()]
        if not lines or not all(line.startswith("shitu ") for line in lines):
            faults[name] = lines
        for line in lines:
            if not line.startswith(f"shitu {name}".strip()):
                faults[name] = [line]
            if wrong := list(wrong_arguments(main, shlex.split(line)[1:], "shitu")):
                faults[name] = wrong
    assert faults == {}


def test_the_page_has_a_row_for_every_command_with_all_its_options(known: dict[str, click.Command]) -> None:
    rows = dict(re.findall(r"^\| `shitu ([^`]+?)(?: [A-Z[][^`]*)?` \| .*? \| (.*) \|$", PAGE, re.MULTILINE))
    wanted = {
        name: command for name, command in known.items() if not isinstance(command, click.Group) or command.params
    }
    assert rows.keys() == wanted.keys()
    for name, command in wanted.items():
        named = set(re.findall(r"--[a-z0-9_-]+", rows[name]))
        assert named == {option.opts[-1] for option in options(command)} - {"--no-saliency"}, name


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("galery", "'gallery'"),
        ("recognise", "'recognize'"),
        ("modles", "'models'"),
        ("gallery lst", "'list'"),
        ("gallery dlete x", "'delete'"),
        ("models verfy", "'verify'"),
        ("train embeder x", "'embedder'"),
        ("data lit x", "'lint'"),
        ("export precision x", "'precisions'"),
        ("evaluate retreival", "'retrieval'"),
        ("recognize x --galery y", "--gallery"),
        ("classify x --topk 3", "--top-k"),
        ("gallery show x --jsn", "--json"),
        ("doctor --jason", "--json"),
    ],
)
def test_a_mistyped_word_is_answered_with_what_was_meant(words: str, meant: str) -> None:
    answer = CliRunner().invoke(main, words.split())
    assert answer.exit_code == 2
    assert "Did you mean" in answer.stderr
    assert meant in answer.stderr


def test_what_is_like_nothing_is_not_guessed_at() -> None:
    answer = CliRunner().invoke(main, ["xyzzy"])
    assert (answer.exit_code, "Did you mean" in answer.stderr) == (2, False)
    assert "There is no command 'xyzzy'." in answer.stderr
