"""docs/decisions.md: a paragraph a decision, each under a heading, and the page is found from where one begins to read."""

import re

import pytest

from tests.docs_reader import ROOT, read

PAGE = ROOT / "docs" / "decisions.md"
HELD = (  # what the page must speak of, by a word of the heading
    "ledger", "Lua", "Lock", "standardwebhooks", "Orientation", "Settings", "pydantic", "supervisor", "download",
    ".pdmodel", "Event streams", "OpenVINO", "Paddle for training", "EfficientNet-Lite0", "SIFT", "top-level",
)  # fmt: skip


def sections() -> dict[str, list[str]]:
    """The paragraphs below each heading."""
    _, *parts = re.split(r"^## ", read(PAGE).text, flags=re.MULTILINE)
    split = [part.strip().split("\n\n") for part in parts]
    return {heading: paragraphs for heading, *paragraphs in split}


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "docs/architecture.md"])
def test_the_page_is_linked(page: str) -> None:
    targets = re.findall(r"\]\(([^)#]+)", read(ROOT / page).text)
    assert PAGE in [(ROOT / page).parent.joinpath(target).resolve() for target in targets if "://" not in target]


def test_each_decision_is_one_paragraph_under_a_heading() -> None:
    assert {heading: len(paragraphs) for heading, paragraphs in sections().items()} == dict.fromkeys(sections(), 1)


@pytest.mark.parametrize("word", HELD)
def test_every_decision_has_its_heading(word: str) -> None:
    assert [heading for heading in sections() if word in heading]
