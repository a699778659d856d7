"""What the client loads: httpx and what pure data needs, so that it works where nothing of the service is installed."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import packages_distributions

from tests.shitu.client.core import ROOT, core, plain, project

OURS = ("models", "web", "worker", "shitu.cli", "infra.runtime", "infra.jobs")
SERVICE = {
    "boto3", "celery", "click", "faiss-cpu", "flask", "gunicorn", "numpy", "opencv-python-headless", "openvino",
    "paddlepaddle", "pillow", "pydantic", "redis", "requests",
}  # fmt: skip


def test_the_core_dependencies_are_few_and_the_extras_bring_the_rest() -> None:
    assert core().isdisjoint(SERVICE)
    assert len(core()) < 15
    extras = project()["optional-dependencies"]
    assert set(extras) >= {"serve", "train"}
    assert "shitu[serve]" in extras["train"]
    assert any(one.startswith("openvino") for one in extras["serve"])
    assert any(one.startswith("paddlepaddle") for one in extras["train"])


def test_the_clients_and_the_check_of_webhooks_need_the_core_dependencies_alone() -> None:
    known = core()
    absent = sorted(
        name for name, owners in packages_distributions().items()
        if not any(plain(one) in known | {"shitu"} for one in owners)
    )  # fmt: skip
    assert {"click", "numpy", "openvino", "faiss", "flask", "redis", "pydantic"} <= set(absent)
    program = f"""
import sys
sys.modules.update(dict.fromkeys({(*absent, *OURS)!r}))
import shitu
from shitu import AsyncClient, Client, ClientError, WebhookSignatureError, verify_webhook
import contracts.batches, contracts.jobs, contracts.photo_results, contracts.results
with Client("http://127.0.0.1:1") as client:
    print(client.url)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.stdout, done.stderr) == ("http://127.0.0.1:1\n", "")
