"""What /openapi.json has besides its routes: servers, tags, examples that fit, and the messages that the service sends."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from flask.testing import FlaskClient

from contracts.events import TEST, event_types
from contracts.pictures import look
from infra.runtime.settings import Settings
from tests.openapi_checks import check
from web.openapi.example_records import IMAGE
from web.openapi.examples import EXAMPLES, SCHEMA_PATH
from web.routes import description

DOCUMENT = description()
OPERATIONS = {
    one["operationId"]: (f"{method.upper()} {path}", one)
    for path, methods in DOCUMENT["paths"].items()
    for method, one in methods.items()
}


def records_of(contents: dict[str, Any]) -> set[str]:
    """The schemas that a body names, whole or one of several."""
    report = [one for content in contents.values() for one in (content["schema"], *content["schema"].get("anyOf", ()))]
    return {one["$ref"].removeprefix(SCHEMA_PATH) for one in report if "$ref" in one}


def test_every_record_that_is_sent_or_answered_has_an_example() -> None:
    wanted: set[str] = set()
    for _, operation in OPERATIONS.values():
        bodies = operation.get("requestBody", {}).get("content", {})
        wanted |= records_of({media: one for media, one in bodies.items() if media == "application/json"})
        for response in operation["responses"].values():
            wanted |= records_of(response.get("content", {}))
    assert wanted - set(EXAMPLES) == set(), "write it in web/openapi/examples.py"
    assert set(EXAMPLES) - set(DOCUMENT["components"]["schemas"]) == set()


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_is_what_its_schema_says(name: str) -> None:
    check(EXAMPLES[name], name, DOCUMENT)


def test_examples_stand_where_they_are_looked_for() -> None:
    _, created = OPERATIONS["createRecognition"]
    sent = created["requestBody"]["content"]["application/json"]["examples"]
    assert [one["value"] for one in sent.values()] == [EXAMPLES["RecognitionRequest"]]
    assert "examples" in created["responses"]["202"]["content"]["application/json"]
    assert look(base64.b64decode(IMAGE["base64"])).width == 16


def test_every_route_has_one_of_the_tags_and_every_tag_a_route() -> None:
    report = [tag["name"] for tag in DOCUMENT["tags"]]
    used = [one["tags"] for _, one in OPERATIONS.values()]
    assert {len(one) for one in used} == {1}
    assert {name for one in used for name in one} == set(report)
    assert len(report) == len(set(report))
    assert all(tag["description"] for tag in DOCUMENT["tags"])
    assert {OPERATIONS[name][1]["tags"][0] for name in ("getHealth", "getSystem", "getDescription")} == {"The service"}
    assert OPERATIONS["addItems"][1]["tags"] == ["Galleries"]
    assert OPERATIONS["getPage"][1]["tags"] == ["Pages"]


def test_every_event_is_reported_as_a_webhook_with_the_job_as_it_is_polled() -> None:
    schemas, report = DOCUMENT["components"]["schemas"], []
    for message in DOCUMENT["webhooks"].values():
        names = {one["name"] for one in message["post"]["parameters"]}
        assert names == {"webhook-id", "webhook-timestamp", "webhook-signature"}
        (name,) = records_of(message["post"]["requestBody"]["content"])
        report += schemas[name]["properties"]["type"]["enum"]
    assert sorted(report) == sorted([*event_types(), TEST])
    assert schemas["RecognitionEvent"]["properties"]["data"] == {"$ref": f"{SCHEMA_PATH}RecognitionJob"}


def test_whatever_can_name_a_webhook_says_what_is_sent_there() -> None:
    calling = {
        name: {place for called in one["callbacks"].values() for place in called}
        for name, (_, one) in OPERATIONS.items()
        if "callbacks" in one
    }
    form, text = "{$request.body#/webhook_url}", "{$request.body#/webhook/url}"
    assert calling["createRecognition"] == {form, text}
    assert calling["addItems"] == {form, text}
    assert calling["createBatch"] == {form, text}
    assert calling["compareRecognition"] == {text}
    assert "createGallery" not in calling
    made = OPERATIONS["addItems"][1]["callbacks"]["ended"][form]["post"]
    assert records_of(made["requestBody"]["content"]) == {"EnrollmentEvent"}


def test_names_of_all_operations_differ() -> None:
    names = [message["post"]["operationId"] for message in DOCUMENT["webhooks"].values()] + list(OPERATIONS)
    names += [
        post["post"]["operationId"]
        for _, one in OPERATIONS.values()
        for called in one.get("callbacks", {}).values()
        for post in list(called.values())[:1]
    ]
    assert len(names) == len(set(names))


def test_the_server_is_the_one_that_answers(client: FlaskClient, settings: Settings) -> None:
    assert client.get("/openapi.json").get_json()["servers"] == DOCUMENT["servers"]
    below = client.get("/openapi.json", environ_overrides={"SCRIPT_NAME": "/shop"}).get_json()
    assert below["servers"][0]["url"] == "/shop"
