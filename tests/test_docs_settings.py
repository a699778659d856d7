"""docs/settings.md lists exactly the settings there are, with their real defaults, and its example is what happens."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from infra.errors.service import ConfigurationError
from infra.runtime.settings import Settings, load_settings, variables

PAGE = (Path(__file__).parents[1] / "docs" / "settings.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `(SHITU_[A-Z_0-9]+)` \| (?:`([^`]*)`|–) \| \S", re.MULTILINE)
EXAMPLE = re.compile(r"^```\n\$ (.*?) shitu up\n(.*?)^```\n", re.MULTILINE | re.DOTALL)


def test_every_setting_has_a_row_with_its_default() -> None:
    rows = ROW.findall(PAGE)
    assert len(rows) == len(dict(rows)), "a setting has two rows"
    defaults = Settings().to_env()
    assert dict(rows) == {name: defaults.get(name, "") for name in variables()}


def test_the_prose_names_no_other_variable() -> None:
    named = set(re.findall(r"SHITU_[A-Z][A-Z_0-9]*", EXAMPLE.sub("", PAGE)))
    assert named - set(variables()) == set()


def test_the_example_is_what_happens() -> None:
    example = EXAMPLE.search(PAGE)
    assert example is not None
    given, answer = example.groups()
    with pytest.raises(ConfigurationError) as raised:
        load_settings(dict(word.split("=", 1) for word in given.split()))
    assert str(raised.value) == answer.strip()
