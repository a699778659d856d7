"""Two whole services on one Redis, apart by their prefixes; and what neither of them ever writes down: other people's secrets."""

from __future__ import annotations

import json
import os
import signal
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from infra.redis.client import connect
from infra.redis.server import RedisServer
from infra.runtime.logs import json_line
from infra.stack.launcher import Stack
from tests.e2e.conftest import stack_settings
from tests.e2e.service import Service, encode, labels, pattern, wait_for
from tests.infra.local_servers import Server, serving

if TYPE_CHECKING:
    from pathlib import Path

    from infra.runtime.settings import Settings

LEVELS = {"shop": "DEBUG", "b:2": "INFO"}
SECRET = "s3cret"


def installation(redis_url: str, folder: Path, prefix: str) -> Settings:
    chosen = stack_settings(folder)
    return replace(
        chosen,
        redis_url=redis_url,
        redis_prefix=prefix,
        web=replace(chosen.web, allowed_hosts=("127.0.0.1",), url_timeout_s=2.0),
        worker=replace(chosen.worker, concurrency=1),
        log=replace(chosen.log, format="json", level=LEVELS[prefix]),
    )


def by_url(service: Service, gallery: str, url: str, webhook_url: str) -> dict[str, Any]:
    body = {"gallery": gallery, "image": {"url": url}, "webhook": {"url": webhook_url}}
    return service.accepted(service.http.post(f"{service.base_url}/v1/recognitions", json=body, timeout=30))


def report(receiver: Server) -> set[str]:
    """The jobs of which the receiver heard the end."""
    return {json.loads(body)["data"]["id"] for method, _, _, body in list(receiver.requests) if method == "POST"}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_both_work_and_share_no_key_and_no_log_has_a_secret(tmp_path: Path) -> None:
    with ExitStack() as opened:
        server = opened.enter_context(RedisServer(tmp_path / "redis"))
        others = opened.enter_context(serving())
        others.paths[f"/hook/{SECRET}"] = (204, {}, b"")
        others.paths[f"/a.jpg?token={SECRET}"] = (200, {}, encode(pattern(1)))
        others.paths[f"/busy/{SECRET}"] = (503, {}, SECRET.encode())
        others.paths[f"/moved/{SECRET}"] = (302, {"Location": f"http://u:{SECRET}@127.0.0.1:9/{SECRET}"}, b"")
        hook = others.url(f"/hook/{SECRET}")
        said: list[str] = []
        stacks = {
            prefix: opened.enter_context(
                Stack(
                    installation(server.url, tmp_path / str(number), prefix),
                    say=lambda name, line: said.append(json_line(name, line)),
                )
            )
            for number, prefix in enumerate(LEVELS)
        }
        jobs = []
        for stack in stacks.values():
            service = Service(stack.base_url)
            service.create_gallery("same")
            pictures = {f"pattern {seed}": encode(pattern(seed)) for seed in range(2)}
            assert [item["status"] for item in service.enroll("same", pictures)["items"]] == ["added"] * 2
            assert set(labels(service.recognized(encode(pattern(0)), "same"))) == {"pattern 0"}
            fetched = by_url(service, "same", others.url(f"/a.jpg?token={SECRET}"), hook)
            assert set(labels(service.finished(fetched)["result"])) == {"pattern 1"}
            jobs += [service.finished(fetched)]
            for path in (f"/gone?token={SECRET}", f"/moved/{SECRET}", f"/busy/{SECRET}"):
                jobs.append(service.finished(by_url(service, "same", others.url(path), hook)))
                assert jobs[-1]["status"] == "failed"
                assert SECRET not in json.dumps(jobs[-1]["error"])
            refused = service.http.get(f"{service.base_url}/v1/recognitions?token={SECRET}", timeout=10)
            assert refused.status_code >= 400
            worker = stack.processes["worker"].pid
            assert worker is not None
            os.kill(worker, signal.SIGABRT)  # a crash with the stacks of all threads
        wait_for(lambda: {job["id"] for job in jobs} <= report(others))
        client = connect(server.url)
        keys = sorted(str(key) for key in client.scan_iter())
        client.close()
        assert [key for key in keys if not key.startswith(tuple(f"{prefix}:" for prefix in LEVELS))] == []
        for prefix in LEVELS:
            assert any(key.startswith(f"{prefix}:photo:") for key in keys)
    logs = [path for path in tmp_path.rglob("*.log*") if path.is_file() and "redis" not in path.parts]
    assert len(logs) >= 8
    lines = [*said, *(line for path in logs for line in path.read_text(encoding="utf-8").splitlines())]
    assert [line for line in lines if not isinstance(json.loads(line), dict)] == []
    assert [line for line in lines if SECRET in line] == []
