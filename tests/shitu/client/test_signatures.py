"""What editors and `help()` show of the clients' calls: the very parameters that they take."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import pytest

from shitu import AsyncClient, Client
from tests.shitu.client.conftest import found_at

CALLS = {
    "recognize": "photo, gallery, options",
    "recognitions.create": "photo, gallery, options",
    "recognitions.get": "job",
    "detections.wait": "job",
    "galleries.items": "gallery",
    "galleries.rename_label": "gallery, label, new",
    "keys.list": "",
}


@pytest.mark.parametrize("kind", [Client, AsyncClient])
@pytest.mark.parametrize("name", CALLS)
def test_a_call_shows_what_it_takes(kind: type[Client] | type[AsyncClient], name: str) -> None:
    shown = inspect.signature(found_at(kind("http://127.0.0.1:1"), name))
    plain = [one.name for one in shown.parameters.values() if one.kind is one.POSITIONAL_OR_KEYWORD]
    assert ", ".join(plain) == CALLS[name]
    assert shown.return_annotation is inspect.Signature.empty  # the steps' own would be wrong


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_every_call_has_a_signature_and_a_docstring(kind: type[Client] | type[AsyncClient]) -> None:
    calls = list(calls_of(kind("http://127.0.0.1:1")))
    assert len(calls) > 60
    for call in calls:
        assert "self" not in inspect.signature(call).parameters
        assert inspect.getdoc(call)


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_each_kind_of_job_has_its_own_path(kind: type[Client] | type[AsyncClient]) -> None:
    client = kind("http://127.0.0.1:1")
    for name in ("recognitions", "enrollments", "detections", "embeddings", "classifications"):
        assert found_at(client, f"{name}._kind.path") == f"/{name}"


def calls_of(client: Client | AsyncClient) -> Iterator[Any]:
    groups = [group for name, group in vars(client).items() if not name.startswith("_")]
    for group in groups:
        yield from (call for name, call in inspect.getmembers(group, callable) if not name.startswith("_"))
