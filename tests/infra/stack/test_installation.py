"""A Redis prefix belongs to one installation: its keys, its object store, and processes that started before Redis did."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import urllib.error
import urllib.request
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import redis

from contracts.jobs import JobKind
from infra.errors.service import RedisMisconfigured, RedisUnavailable
from infra.jobs.ledger import open_ledger
from infra.jobs.queue import Queue, make_celery
from infra.objects.opening import open_store
from infra.redis.client import connect
from infra.redis.server import RedisServer
from infra.runtime.settings import Settings
from infra.stack.commands import ROOT, courier_command, keeper_command, web_command
from infra.stack.installation import ID_KEY, Ownership, claim, verify
from tests.infra.processes import eventually


def test_every_key_of_an_installation_has_its_prefix(settings: Settings, redis_client: redis.Redis) -> None:
    shop = replace(settings, redis_prefix="shop:a")
    verify(shop)
    ledger = open_ledger(shop)
    job = ledger.create("recognition", {"image": {"key": "photos/aa/bb"}}, webhook_url="http://x/")
    assert Queue(make_celery(shop)).publish(JobKind.RECOGNITION, job.id)
    assert ledger.stats().messages["recognize"] == 1
    ledger.presence.worker_ready("shitu:17", {}, ttl_s=60)
    assert [worker.name for worker in ledger.presence.workers()] == ["shitu:17"]
    lease = ledger.start(job.id)
    assert lease is not None
    assert ledger.succeed(lease, {})
    (delivery,) = ledger.deliveries.due()
    assert ledger.deliveries.take(delivery)
    assert ledger.get(job.id).finished
    keys = [str(key) for key in redis_client.scan_iter()]
    assert len(keys) > 8
    assert [key for key in keys if not key.startswith("shop:a:")] == []
    assert open_ledger(settings).stats().messages["recognize"] == 0  # another installation sees nothing of it


def test_a_prefix_belongs_to_one_object_store(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.stack.installation.FIRST_PUT_S", 0.3)  # nobody is writing the other's id
    verify(settings)
    verify(settings)
    moved = replace(settings, data_dir=tmp_path / "moved")
    shutil.copytree(settings.data_dir, moved.data_dir)
    verify(moved)  # the same objects elsewhere
    other = replace(settings, data_dir=tmp_path / "other")
    with pytest.raises(RedisMisconfigured) as caught:
        verify(other)
    assert str(settings.data_dir) in caught.value.detail
    assert str(other.data_dir) in caught.value.detail
    verify(replace(other, redis_prefix="other"))
    with pytest.raises(RedisMisconfigured):
        verify(other)
    objects = open_store(settings.objects, settings.data_dir)
    objects.delete(ID_KEY)
    client = connect(settings.redis_url or "")
    claim(client, objects, settings)  # written again from what Redis noted
    client.close()
    verify(settings)


def test_who_started_without_redis_looks_when_it_comes(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.stack.installation.FIRST_PUT_S", 0.3)  # nobody is writing the other's id
    verify(settings)
    own, other = Ownership(partial(verify, settings)), replace(settings, data_dir=tmp_path / "other")
    away = Ownership(partial(verify, replace(other, redis_url="redis://127.0.0.1:1/0")))
    foreign = Ownership(partial(verify, other))
    assert (own.foreign(), away.foreign()) == (None, None)
    assert "Two installations share" in str(foreign.foreign())
    with pytest.raises(RedisUnavailable):
        away.require()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["web", "courier", "keeper"])
def test_a_process_that_outwaited_redis_touches_no_other_installation(
    settings: Settings, tmp_path: Path, name: str
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    with socket.create_server(("127.0.0.1", 0)) as free:
        web = replace(settings.web, port=free.getsockname()[1])
    late = replace(settings, redis_url=f"redis://127.0.0.1:{port}/0", web=web)
    with RedisServer(tmp_path / "r", port=port):
        verify(late)  # it belongs to the first installation, and is away then
    other = replace(late, data_dir=tmp_path / "other", worker=replace(settings.worker, heartbeat_s=0.5))
    command = {"web": web_command, "courier": courier_command, "keeper": lambda _: keeper_command()}[name](other)
    said = tmp_path / "said"
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), **other.to_env()}
    with said.open("wb") as output, subprocess.Popen(
        command, env=environment, cwd=ROOT, stdout=output, stderr=output
    ) as process:  # fmt: skip
        try:
            eventually(lambda: "started nevertheless" in said.read_text(), timeout_s=40)
            with RedisServer(tmp_path / "r", port=port) as server:
                assert server.url == late.redis_url
                if name == "web":
                    client = connect(server.url)
                    keys = set(client.scan_iter())
                    request = urllib.request.Request(
                        f"http://127.0.0.1:{web.port}/v1/galleries",
                        b'{"name": "g"}',
                        {"Content-Type": "application/json"},
                    )

                    def refused() -> bool:
                        with contextlib.suppress(ConnectionError):
                            with pytest.raises(urllib.error.HTTPError) as caught:
                                urllib.request.urlopen(request, timeout=20)
                            return b"redis_misconfigured" in caught.value.read()
                        return False

                    eventually(refused, timeout_s=40)
                    assert set(client.scan_iter()) == keys
                    client.close()
                else:
                    assert process.wait(40) == 1, said.read_text()
        finally:
            process.terminate()
    report = said.read_text()
    assert all(isinstance(json.loads(line), dict) for line in report.splitlines())
    if name != "web":
        assert "Two installations share the Redis prefix" in report
        assert "Traceback" not in report
