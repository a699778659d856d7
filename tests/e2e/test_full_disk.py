"""The whole service on a disk that fills up: nothing dies, what is kept is readable, and it recovers by itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from infra.stack.commands import ROOT

from infra.stack.launcher import Stack
from tests.e2e.conftest import stack_settings
from tests.e2e.full_disk import small_disk
from tests.e2e.service import Service, encode, pattern, wait_for


@pytest.mark.slow
def test_a_full_disk_stops_new_work_only(tmp_path: Path, record_property: pytest.FixtureRequest) -> None:
    with small_disk(tmp_path) as disk, Stack(stack_settings(disk.folder / "data")) as stack:
        record_property("file_system", disk.kind)  # type: ignore[operator]
        service = Service(stack.base_url)
        service.create_gallery("g")
        service.enroll("g", {"a": encode(pattern(1)), "b": encode(pattern(2))})
        done = service.finished(service.accepted(service.ask(encode(pattern(1)), "g")))
        worker = stack.processes["worker"].pid
        assert worker is not None
        os.kill(worker, signal.SIGSTOP)  # an enrolment that is promised, and for which there will be no room
        waiting = service.accepted(
            service.http.post(
                f"{service.base_url}/v1/galleries/g/items",
                data={"labels": ["d"]}, files=[("images", ("d.jpg", encode(pattern(6))))], timeout=30,
            )
        )  # fmt: skip
        disk.fill()
        os.kill(worker, signal.SIGCONT)

        def status(path: str) -> int:
            return service.http.get(service.base_url + path, timeout=20).status_code

        wait_for(lambda: status("/readyz") == 503)
        for _ in range(30):
            assert status("/healthz") == 200
        refused = service.ask(encode(pattern(3)), "g")
        assert (refused.status_code, refused.json()["code"]) == (503, "storage_unavailable"), (disk.kind, refused.text)
        made = service.http.post(f"{service.base_url}/v1/galleries", json={"name": "h"}, timeout=20)
        assert (made.status_code, made.json()["code"]) == (503, "storage_unavailable")

        def redis_says_so() -> bool:
            checks = service.http.get(f"{service.base_url}/readyz", timeout=20).json()["checks"]
            return "cannot write to its disk" in checks["redis"]["detail"] and not checks["objects"]["ok"]

        wait_for(redis_says_so)
        assert service.get(done["links"]["self"])["result"] == done["result"]
        assert status(done["links"]["self"] + "/image") == 200
        assert status("/metrics") == 200
        ended = subprocess.run(
            [sys.executable, "-m", "shitu", "gallery", "add", str(photos(tmp_path)), "--gallery", "g"],
            env={**os.environ, **stack.settings.to_env(), "PYTHONPATH": str(ROOT)},
            cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert ended.returncode == 1
        assert "Traceback" not in ended.stderr
        assert "storage_unavailable" in ended.stderr
        assert [process.exits for process in stack.processes.values()] == [0] * len(stack.processes)

        assert service.get(waiting["links"]["self"])["status"] == "queued"
        disk.free()
        wait_for(lambda: status("/readyz") == 200, timeout_s=60)
        enrolled = service.finished(waiting)
        assert [item["status"] for item in enrolled["result"]["items"]] == ["added"]
        again = service.finished(service.accepted(service.ask(encode(pattern(3)), "g")))
        assert again["status"] == "succeeded"
        assert [process.exits for process in stack.processes.values()] == [0] * len(stack.processes)


def photos(folder: Path) -> Path:
    (folder / "photos" / "c").mkdir(parents=True)
    (folder / "photos" / "c" / "c.jpg").write_bytes(encode(pattern(5)))
    return folder / "photos"
