"""A service on all addresses that asks for keys: the first is made while it runs, and two keys share it fairly."""

from __future__ import annotations

import io
import time
from pathlib import Path

import numpy as np
import pytest
import requests
from click.testing import CliRunner
from PIL import Image

from infra.stack.launcher import Stack
from shitu.cli.main import main
from tests.e2e.conftest import stack_settings

PHOTOS = 30


def photo(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (480, 640, 3), np.uint8)
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "JPEG")
    return data.getvalue()


def made(data_dir: Path, scope: str) -> dict[str, str]:
    done = CliRunner().invoke(main, ["keys", "create", "--scope", scope], env={"SHITU_DATA_DIR": str(data_dir)})
    assert done.exit_code == 0, done.output
    return {"Authorization": f"Bearer {done.stdout.strip()}"}


@pytest.mark.slow
def test_the_first_key_is_made_and_many_photos_of_one_do_not_hold_up_another(tmp_path: Path) -> None:
    settings = stack_settings(
        tmp_path, SHITU_WEB__HOST="0.0.0.0", SHITU_KEYS__REQUIRED="true", SHITU_WORKER__CONCURRENCY="1"
    )
    with Stack(settings) as stack:
        url = stack.base_url
        assert requests.get(f"{url}/v1/galleries", timeout=10).json()["code"] == "key_missing"
        boss, many, one = (made(tmp_path, scope) for scope in ("manage", "recognize", "recognize"))
        answer = requests.post(f"{url}/v1/galleries", json={"name": "drinks"}, headers=boss, timeout=10)
        assert answer.status_code == 201
        files = [("images", (f"{n}.jpg", photo(n))) for n in range(PHOTOS)]
        batch = requests.post(f"{url}/v1/batches", data={"gallery": "drinks"}, files=files, headers=many, timeout=30)
        assert batch.status_code == 202, batch.text
        job = requests.post(
            f"{url}/v1/recognitions",
            data={"gallery": "drinks"},
            files={"image": ("one.jpg", photo(99))},
            headers={**one, "Prefer": "wait=30"},
            timeout=60,
        )
        assert job.json()["status"] == "succeeded", job.text
        counts = requests.get(f"{url}{batch.json()['links']['self']}", headers=many, timeout=10).json()["counts"]
        assert counts["queued"] > PHOTOS / 2, counts
        deadline = time.monotonic() + 60
        while counts["succeeded"] < PHOTOS and time.monotonic() < deadline:
            time.sleep(0.2)
            counts = requests.get(f"{url}{batch.json()['links']['self']}", headers=many, timeout=10).json()["counts"]
        assert counts["succeeded"] == PHOTOS
