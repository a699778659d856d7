"""Two worker hosts, one Redis, one S3: a host lost, one cut off that comes back, one that hears nothing, a slow one.

Each host is a network namespace whose link the test cuts: nothing closes a connection for it. The lease is two seconds, so
a host that is away for longer has lost its job, and what it says of it later must not count.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from infra.jobs.records import JobStatus
from tests.e2e.cluster import Cluster, Worker, cluster
from tests.e2e.hosts import Network, thaw, why_not
from tests.e2e.service import encode, labels, pattern, wait_for
from tests.e2e.test_kill_worker import OPTIONS, slow_photo
from tests.infra.local_servers import Server, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow

GALLERY = "nodes"
LEASE_S = 2.0
BACK_WITHIN_S = 90.0
AWAY_S = 40.0  # more than the 30 s of the slowest of them, what the kernel repeats to Redis


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    if (why := why_not()) is not None:
        pytest.skip(why)
    found = Network("host-a", "host-b")
    yield found
    found.close()


@pytest.fixture(scope="module")
def running(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("nodes")
    with network.inside(), cluster(network, folder, SHITU_JOBS__QUEUED_DEADLINE_S="4") as found:
        found.service.create_gallery(GALLERY)
        found.service.enroll(GALLERY, {f"pattern {seed}": encode(pattern(seed)) for seed in (1, 2)})
        for worker in found.workers.values():
            takes_jobs_again(found, worker)
        yield found


@pytest.fixture
def nodes(running: Cluster, network: Network) -> Iterator[Cluster]:
    """The cluster, whole; the test is inside its core."""
    with network.inside():
        yield running


@pytest.fixture
def receiver(nodes: Cluster) -> Iterator[Server]:
    with serving() as found:
        found.paths["/hook"] = (204, {}, b"")
        yield found


def caught(nodes: Cluster, webhook_url: str | None = None) -> tuple[Worker, dict[str, Any]]:
    """A worker frozen in the middle of a job that shows pattern 2."""

    def ask(number: int) -> dict[str, Any]:
        photo = slow_photo(int(time.time_ns() // 1000 % 500) + number)  # another size, so that no answer is known
        asked = nodes.service.ask(photo, GALLERY, options=OPTIONS, webhook_url=webhook_url)
        return nodes.service.accepted(asked)

    return nodes.caught(ask)


def answered_once(nodes: Cluster, job: dict[str, Any], receiver: Server, attempts: int) -> dict[str, Any]:
    """The job, which must have ended well after so many attempts, with one event and one message."""
    nodes.service.finished(job)
    wait_for(lambda: nodes.service.get(job["links"]["self"])["webhook"]["status"] == "delivered")
    done = nodes.service.get(job["links"]["self"])
    assert (done["status"], done["attempts"]) == ("succeeded", attempts)
    assert set(labels(done["result"])) == {"pattern 2"}
    assert nodes.ends(job) == ["recognition.succeeded"]
    said = [json.loads(body)["data"] for _, _, _, body in receiver.requests]
    assert [one["attempts"] for one in said if one["id"] == job["id"]] == [attempts]
    return done


def accepted(nodes: Cluster, count: int) -> list[dict[str, Any]]:
    photo = encode(pattern(1))
    return [nodes.service.accepted(nodes.service.ask(photo, GALLERY)) for _ in range(count)]


def takes_jobs_again(nodes: Cluster, worker: Worker) -> None:
    """Whatever is asked now is done, and sooner or later by this worker too."""
    before, until = len(worker.attempts()), time.monotonic() + BACK_WITHIN_S
    while len(worker.attempts()) == before:
        assert time.monotonic() < until, "the worker takes no jobs"
        for job in accepted(nodes, 4):
            assert nodes.service.finished(job)["status"] == "succeeded"


def test_a_lost_host_costs_no_job_and_a_new_one_takes_its_place(nodes: Cluster, receiver: Server) -> None:
    """The link goes first: Redis keeps the dead host's connections, and hands it messages that nobody will read."""
    lost, job = caught(nodes, receiver.url("/hook"))
    nodes.network.cut(lost.host)
    lost.process.kill()
    waiting = accepted(nodes, 6)
    answered_once(nodes, job, receiver, attempts=2)
    assert {nodes.service.finished(one)["status"] for one in waiting} == {"succeeded"}
    [other] = nodes.others(lost)
    assert len(other.attempts(job["id"])) == 1
    nodes.network.join(lost.host)
    takes_jobs_again(nodes, nodes.start(lost.host.name))


def test_an_answer_that_arrives_after_the_partition_is_refused(nodes: Cluster, receiver: Server) -> None:
    """The host ends its work while it is cut off; the bytes that say so wait in its kernel, and arrive when another has answered."""
    for _ in range(6):
        away, job = caught(nodes, receiver.url("/hook"))
        nodes.network.cut(away.host)
        thaw(away.pid)
        nodes.service.finished(job)
        nodes.network.join(away.host)
        wait_for(away.idle)
        done = answered_once(nodes, job, receiver, attempts=2)
        if away.attempts(job["id"]):
            break  # else it had given up before the link was there again
    [attempt] = away.attempts(job["id"])
    assert (attempt["attempt"], attempt["recorded"]) == (1, False)
    assert answered_once(nodes, job, receiver, attempts=2) == done
    takes_jobs_again(nodes, away)


def test_a_host_that_was_away_for_long_comes_back_by_itself(nodes: Cluster, receiver: Server) -> None:
    """Longer than every time limit of its connections: all that it knew of the others has failed by then."""
    away, job = caught(nodes, receiver.url("/hook"))
    nodes.network.cut(away.host)
    thaw(away.pid)
    done = answered_once(nodes, job, receiver, attempts=2)
    waiting = accepted(nodes, 4)
    pid, until = away.pid, time.monotonic() + AWAY_S
    assert {nodes.service.finished(one)["status"] for one in waiting} == {"succeeded"}
    time.sleep(max(0.0, until - time.monotonic()))
    nodes.network.join(away.host)
    takes_jobs_again(nodes, away)
    assert away.pid == pid
    assert [one["recorded"] for one in away.attempts(job["id"])] in ([], [False])
    assert answered_once(nodes, job, receiver, attempts=2) == done


def test_an_answer_whose_receipt_is_lost_is_recorded_once(nodes: Cluster, receiver: Server) -> None:
    """A partition of one direction: what the host writes arrives, and it never hears so, and writes it again."""
    deaf, job = caught(nodes, receiver.url("/hook"))
    nodes.network.deafen(deaf.host)
    thaw(deaf.pid)
    attempts = nodes.service.finished(job)["attempts"]  # 2 if even its renewals came too late
    nodes.network.undeafen(deaf.host)
    wait_for(deaf.idle)
    answered_once(nodes, job, receiver, attempts)
    # Or it gave up listening before it could hear again.
    assert [one["recorded"] for one in deaf.attempts(job["id"])] in ([attempts == 1], [])
    takes_jobs_again(nodes, deaf)


def large_photo(number: int) -> bytes:
    """Of 8 MB, so that its packets wait in a line of many, where seldom one is dropped. Another one for each try."""
    return encode(pattern(2, 1600 + 4 * number), "BMP")


def test_a_slow_host_keeps_its_job_and_delays_no_other(nodes: Cluster, receiver: Server) -> None:
    """Its photo would take twelve leases to arrive. Renewals pass on the same link, so nobody takes the job from it."""
    slow, fast = nodes.workers["host-a"], nodes.workers["host-b"]
    nodes.network.slow(slow.host, int(8 * len(large_photo(0)) / 1000 / (12 * LEASE_S)))
    try:
        for number in range(6):
            before, photo = slow.received(), large_photo(number)
            asked = nodes.service.ask(photo, GALLERY, options=OPTIONS, webhook_url=receiver.url("/hook"))
            job = nodes.service.accepted(asked)
            wait_for(lambda before=before, job=job: slow.received() > before or nodes.ledger.get(job["id"]).finished)  # type: ignore[misc]
            if slow.received() > before:
                break
        waiting = accepted(nodes, 6)
        assert {nodes.service.finished(one)["status"] for one in waiting} == {"succeeded"}
        assert not nodes.ledger.get(job["id"]).finished, "the others waited for it"
        wait_for(lambda: time.time() - (nodes.ledger.get(job["id"]).started_at or time.time()) > 3 * LEASE_S)
        assert nodes.ledger.get(job["id"]).status is JobStatus.PROCESSING
    finally:
        nodes.network.unslow(slow.host)
    answered_once(nodes, job, receiver, attempts=1)
    [attempt] = slow.attempts(job["id"])
    assert attempt["duration_ms"] > 3000 * LEASE_S
    assert fast.attempts(job["id"]) == []
