"""The pages name only what exists of the public surface: files, links, commands, options, settings, routes, metrics, imports.

Names and signatures of what is internal are not held: they may change without a page being wrong to its reader.

Every kind of name has a checker that lists the faults of a page. The last tests hold the checkers to a page of mistakes.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
import redis

import shitu
from infra.galleries.metrics import GalleryCollector
from infra.galleries.store import GalleryStore
from infra.jobs.ledger import JobLedger
from infra.jobs.load import ScalingCollector
from infra.jobs.metrics import render_metrics
from infra.objects.local import LocalStore
from infra.runtime.machine_metrics import MachineCollector
from infra.runtime.settings import ScalingSettings, variables
from shitu.cli.main import main
from tests import docs_reader as source
from tests.docs_reader import PACKAGES, ROOT, Page, read
from web.routes import description

RUNBOOK = ROOT / "docs" / "runbook.md"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
MISTAKES = re.compile(
    r"^```\n\$ \S+=.*? shitu up\nThe configuration is not valid:\n.*?^```\n", re.MULTILINE | re.DOTALL
)
TOP = (*PACKAGES, "tests", "docs", "benchmarks", "examples", "requirements", ".ci")
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
ROUTE = re.compile(
    r"(?:\b(GET|POST|PUT|PATCH|DELETE) )?(/(?:v1/[^\s`\"'|)?,;]+|healthz|readyz|metrics|openapi\.json))\b"
)
METRIC = re.compile(r"\b(shitu_[a-z0-9_]*[a-z0-9])\b(?!\w|\.py\b)")


def wrong_links(page: Page) -> Iterator[str]:
    """Links within the repository that lead nowhere."""
    for target in LINK.findall(page.prose):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.path.parent / name).resolve() if name else page.path
        if not file.exists():
            yield f"{target}: no such file"
        elif anchor and anchor not in anchors(page.text if file == page.path else file.read_text(encoding="utf-8")):
            yield f"{target}: no such heading"


def anchors(text: str) -> set[str]:
    """The anchors that a page's headings get where Markdown is shown."""
    plain = (re.sub(r"[`*]", "", heading).strip().lower() for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE))
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}


def wrong_paths(page: Page) -> Iterator[str]:
    """Files and folders of the repository that are not there."""
    for span in page.spans:
        if not re.fullmatch(r"[\w.*/-]+", span):
            continue
        inside = "/" in span and span.split("/")[0] in TOP
        at_root = "/" not in span and re.search(r"[a-z]\.(py|md)$|^(Make|Docker)file$", span)
        if (inside or at_root) and not any(ROOT.glob(span.rstrip("/"))):
            yield f"{span}: no such file"


def has_dotted(name: str) -> bool:
    """Whether `package.module.function`, or less or more of it, exists."""
    file, rest = source.module_and_rest(name)
    if file is None:
        return False
    found: dict[str, ast.AST] = source.defined(source.tree(file))
    for part in rest:
        if part not in found:
            return False
        node = found[part]
        found = source.members(node) if isinstance(node, ast.ClassDef) else {}
    return True


def wrong_commands(page: Page) -> Iterator[str]:
    """Commands of `shitu` and targets of make that do not exist, and options that they do not have."""
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for words in page.commands():
        if words[0] == "make":
            yield from (f"make {word}: no such target" for word in words[1:] if word.isalpha() and word not in targets)
        for place, word in enumerate(words):
            called = word == "shitu" and (place == 0 or words[place - 1] in ("-m", "run", "exec"))
            if called or word.endswith("/shitu"):
                yield from wrong_arguments(main, words[place + 1 :], "shitu")
                break
        if "-m" in words[:-1]:
            module = words[words.index("-m") + 1]
            if module.split(".")[0] in TOP and not has_dotted(module):
                yield f"python -m {module}: no such module"


def wrong_arguments(command: click.Command, words: list[str], called: str) -> Iterator[str]:
    """What `command` does not understand of the words behind it. `a|b` stands for either; capitals for a value."""
    options = {name: option for option in command.params for name in (*option.opts, *option.secondary_opts)}
    value_of: click.Parameter | None = None
    for place, word in enumerate(part.strip("[]") for part in words):
        if value_of is not None:
            if (
                isinstance(value_of.type, click.Choice)
                and word.islower()
                and not set(word.split("|")) <= set(value_of.type.choices)
            ):
                yield f"{called} {value_of.opts[-1]} {word}: no such choice"
            value_of = None
        elif word.startswith("--"):
            option = options.get(word.partition("=")[0])
            if option is None and word not in ("--help", "--version"):
                yield f"{called} {word}: no such option"
            flag = isinstance(option, click.Option) and option.is_flag
            value_of = None if flag or "=" in word or option is None else option
        elif isinstance(command, click.Group) and re.match(r"[a-z]", word):
            for name in word.split("|"):
                inner = command.get_command(click.Context(command), name)
                if inner is None:
                    yield f"{called} {name}: no such command"
                else:
                    yield from wrong_arguments(inner, words[place + 1 :], f"{called} {name}")
            return
        elif "recipe" in [parameter.name for parameter in command.params] and not is_recipe(word):
            yield f"{called} {word}: no such recipe"


def is_recipe(word: str) -> bool:
    """Whether `word` is a bundled recipe, or stands for a file of the reader's."""
    return not re.fullmatch(r"[a-z-]+", word) or (ROOT / "models/recipes" / f"{word}.toml").is_file()


def wrong_variables(page: Page) -> Iterator[str]:
    """Settings that do not exist."""
    known = variables()
    for name in re.findall(r"SHITU_[A-Z0-9_]*[A-Z0-9](?:__(?=[*…]))?", MISTAKES.sub("", page.text)):
        group = name.endswith("__") and any(variable.startswith(name) for variable in known)
        if name not in known and not group:
            yield f"{name}: no such setting"


def wrong_routes(page: Page) -> Iterator[str]:
    """Paths that the service does not answer, or not to that method."""
    routes = {
        re.compile("[^/]+".join(map(re.escape, re.split(r"{\w+}", path)))): {method.upper() for method in methods}
        for path, methods in description()["paths"].items()
    }
    for method, path in ROUTE.findall(page.text):
        methods = [answered for pattern, answered in routes.items() if pattern.fullmatch(path.rstrip("./"))]
        if not methods or (method and not any(method in answered for answered in methods)):
            yield f"{method} {path}: no such route".strip()


def wrong_imports(page: Page) -> Iterator[str]:
    """Python examples that are no Python, or import what is not there."""
    for block in page.blocks("python"):
        try:
            nodes = ast.walk(ast.parse(block))
        except SyntaxError as error:
            yield f"{error.text}: {error.msg}"
            continue
        for node in nodes:
            if not isinstance(node, ast.ImportFrom) or node.module is None or node.module.split(".")[0] not in PACKAGES:
                continue
            for name in (alias.name for alias in node.names):
                public = name in shitu.__all__ if node.module == "shitu" else has_dotted(f"{node.module}.{name}")
                if not public:
                    yield f"from {node.module} import {name}: no such name"


CHECKERS: list[Callable[[Page], Iterator[str]]] = [
    wrong_links, wrong_paths, wrong_commands, wrong_variables, wrong_routes, wrong_imports,
]  # fmt: skip


@pytest.mark.parametrize("checker", CHECKERS, ids=lambda checker: checker.__name__)
@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_page_names_only_what_exists(path: Path, checker: Callable[[Page], Iterator[str]]) -> None:
    assert list(checker(read(path))) == []


def test_the_recipes_on_the_pages_are_recipes(tmp_path: Path) -> None:
    from models.training.recipes.detector import DetectorRecipe
    from models.training.recipes.reading import load_recipe

    blocks = [block for path in PAGES for block in read(path).blocks("toml")]
    assert blocks
    for block in blocks:
        (tmp_path / "recipe.toml").write_text(block, encoding="utf-8")
        recipe = load_recipe(str(tmp_path / "recipe.toml"), DetectorRecipe)
        assert recipe.data[0].kind == "cutouts"


def real_metrics(redis_client: redis.Redis) -> set[str]:
    """What /metrics tells, without the times of creation that the client library adds."""
    galleries = GalleryCollector(GalleryStore(LocalStore(Path("nowhere"))))
    scaling = ScalingCollector(JobLedger(redis_client), ScalingSettings())
    collectors = (scaling, galleries, MachineCollector({"data": ROOT}))
    text = render_metrics(JobLedger(redis_client), collectors).decode()
    return {name for name in re.findall(r"^# TYPE (\w+) ", text, re.MULTILINE) if not name.endswith("_created")}


def test_metrics_are_named_as_they_are_and_the_runbook_has_them_all(redis_client: redis.Redis) -> None:
    real = real_metrics(redis_client)
    assert len(real) > 10
    for path in PAGES:
        named = {re.sub(r"_(bucket|sum|count)$", "", name) for name in METRIC.findall(read(path).text)}
        assert named - real == set(), path.name
    assert real - set(METRIC.findall(read(RUNBOOK).text)) == set()


@pytest.mark.parametrize(
    ("checker", "text"),
    [
        (wrong_links, "[a](nowhere.md)"),
        (wrong_links, "[a](docs/api.md#no-such-heading)"),
        (wrong_links, "# One\n[a](#two)"),
        (wrong_paths, "`infra/nothing.py`"),
        (wrong_paths, "`nothing.md`"),
        (wrong_commands, "`make nothing`"),
        (wrong_commands, "```sh\nA=1 shitu nothing\n```"),
        (wrong_commands, "```sh\nshitu train nothing\n```"),
        (wrong_commands, "```sh\nshitu train embedder|nothing embedder-s\n```"),
        (wrong_commands, "```sh\nshitu train embedder no-such-recipe\n```"),
        (wrong_commands, "```sh\nshitu up --nothing 3\n```"),
        (wrong_commands, "```sh\npython -m launch .venv/bin/shitu train embedder embedder-s --nothing\n```"),
        (wrong_commands, "```sh\nshitu recognize a.jpg \\\n  --gallery x --engine nothing\n```"),
        (wrong_commands, "`python -m benchmarks.nothing`"),
        (wrong_variables, "`SHITU_WEB_PORT`"),
        (wrong_variables, "`SHITU_NOTHING__*`"),
        (wrong_routes, "`POST /healthz`"),
        (wrong_routes, "curl localhost:8000/v1/nothing"),
        (wrong_imports, "```python\nfrom models.galleries.gallery import Nothing\n```"),
        (wrong_imports, "```python\nfrom shitu import Nothing\n```"),
    ],
)
def test_mistakes_are_found(checker: Callable[[Page], Iterator[str]], text: str) -> None:
    assert list(checker(Page(ROOT / "page.md", text)))


@pytest.mark.parametrize(
    "text",
    [
        "[a](docs/api.md#get-openapijson) and [b](https://example.com/nothing)",
        "`infra/jobs/ledger.py`, `models/recipes/*.toml`, `docs/`, `Makefile`, `var/demo`",
        "```sh\n$ REDIS_URL=redis://x shitu worker --name two   # it's here\nshitu train embedder|detector RECIPE --out DIR\n```",
        "`shitu models pull NAME`, `make test`, `SHITU_WEBHOOKS__*`, `SHITU_WEB__PORT`",
        "curl -s $URL/v1/galleries/drinks/items?label=x and `DELETE /v1/galleries/{name}`",
        "```python\nfrom shitu import Gallery\nfrom models.recognition.paddleclas import read_gallery\n```",
    ],
)
def test_what_is_right_is_left_alone(text: str) -> None:
    page = Page(ROOT / "page.md", text)
    assert [fault for checker in CHECKERS for fault in checker(page)] == []
