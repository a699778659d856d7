"""A gallery in Milvus with real processes: the service, its keeper that fills a server, a server that is away, and the way back."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from infra.stack.launcher import Stack
from shitu.cli.main import main
from tests.e2e.conftest import stack_settings
from tests.e2e.service import Service, encode, pattern, wait_for
from tests.e2e.test_search import AT_ONCE, TIMES, built, check_filters, enrolled, nearest
from tests.milvus_server import MilvusLite

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_gallery_moves_to_milvus_and_back_and_an_outage_costs_no_job(tmp_path: Path) -> None:
    from pymilvus import MilvusClient  # half a second, which no collection need pay

    milvus = MilvusLite(tmp_path / "milvus")
    milvus.start()
    settings = stack_settings(
        tmp_path / "data", SHITU_MILVUS__URI=milvus.uri, SHITU_MILVUS__INDEX_TYPE="FLAT", SHITU_MILVUS__TIMEOUT_S="5"
    )
    try:
        with Stack(settings) as stack:
            service = Service(stack.base_url)
            url = f"{service.base_url}/v1/galleries"
            service.create_gallery("indexed")
            for start in range(0, AT_ONCE * TIMES, AT_ONCE):
                enrolled(service, list(range(start, start + AT_ONCE)))

            index(stack, "Milvus")
            check_filters(service)  # searched from the files
            assert built(service)["in_use"] == "Milvus"
            time.sleep(3)  # the worker looks for it every two seconds
            check_filters(service)
            enrolled(service, [1000])
            assert nearest(service, 1000) == "pattern 1000"
            gone = service.http.delete(f"{url}/indexed/items", params={"label": "pattern 4"}, timeout=10)
            assert gone.json()["index"]["state"] == "built"
            assert nearest(service, 4) != "pattern 4"
            service.http.post(f"{url}/indexed/undo", timeout=10)
            assert nearest(service, 4) == "pattern 4"

            milvus.stop()
            photo = encode(pattern(7), quality=80)
            waiting = service.accepted(service.ask(photo, "indexed", options='{"boxes": [[0, 0, 160, 160]]}'))
            wait_for(lambda: service.get(waiting["links"]["self"])["status"] == "queued")
            gone = service.http.delete(f"{url}/indexed/items", params={"label": "pattern 8"}, timeout=10)
            assert gone.status_code == 200  # needs no server
            milvus.start()
            done = service.finished(waiting)
            assert done["status"] == "succeeded", done["error"]
            enrolled(service, [1001])
            assert nearest(service, 1001) == "pattern 1001"

            client = MilvusClient(milvus.uri)
            assert len(client.list_collections()) == 1
            index(stack, "auto")
            assert nearest(service, 4) == "pattern 4"
            index(stack, "Milvus")
            service.http.delete(f"{url}/indexed?erase=true", timeout=60)
            wait_for(lambda: client.list_collections() == [], 60)
            client.close()
    finally:
        milvus.stop()


def index(stack: Stack, method: str) -> None:
    """The command that moves it."""
    done = CliRunner().invoke(
        main, ["gallery", "index", "indexed", "--index-method", method, "--server", stack.base_url]
    )
    assert done.exit_code == 0, done.output
