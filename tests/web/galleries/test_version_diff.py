"""The difference of two versions over HTTP."""

from __future__ import annotations

from flask.testing import FlaskClient

from tests.openapi_checks import check
from tests.web.refusals import refused
from web.routes import description

URL = "/v1/galleries/drinks/versions"


def test_two_versions_are_compared_by_pages(client: FlaskClient, drinks: str) -> None:
    client.patch("/v1/galleries/drinks/items?label=tea", json={"label": "green tea"})
    client.delete("/v1/galleries/drinks/items?label=cola")
    whole = client.get(f"{URL}/2/diff").get_json()
    check(whole, "VersionDiff", description())
    assert (whole["version"], whole["to"], whole["next_after"]) == (2, 4, None)
    assert whole["counts"] == {"removed": 2, "relabelled": 2, "moved": 0, "added": 0, "unchanged": 0}
    assert whole["labels"] == [
        {"label": "cola", "before": 2, "after": 0},
        {"label": "green tea", "before": 0, "after": 2},
        {"label": "tea", "before": 2, "after": 0},
    ]
    assert {(one["before"]["label"], one["after"]["label"]) for one in whole["changes"] if one["after"]} == {
        ("tea", "green tea")
    }
    pages = [client.get(f"{URL}/2/diff?limit=3").get_json()]
    client.post(f"{URL}/2/activate")  # hides nothing
    pages.append(client.get(f"{URL}/2/diff?limit=3&after={pages[0]['next_after']}").get_json())
    assert [one for page in pages for one in page["changes"]] == whole["changes"]
    assert client.get(f"{URL}/4/diff?to=2").get_json()["counts"]["added"] == 2
    assert client.get(f"{URL}/2/diff").get_json()["counts"]["unchanged"] == 4
    some = client.get(f"{URL}/2/diff?to=4&kind=removed").get_json()
    assert [one["kind"] for one in some["changes"]] == ["removed", "removed"]
    assert len(client.get(f"{URL}/2/diff?to=4&label=green%20tea").get_json()["changes"]) == 2


def test_what_is_not_there_is_reported(client: FlaskClient, drinks: str) -> None:
    refused(client.get(f"{URL}/9/diff"), 404, "gallery_version_not_found")
    refused(client.get(f"{URL}/1/diff?to=9"), 404, "gallery_version_not_found")
    refused(client.get("/v1/galleries/none/versions/1/diff"), 404, "gallery_not_found")
    refused(client.get(f"{URL}/1/diff?kind=odd"), 400, "invalid_request")
    refused(client.get(f"{URL}/1/diff?after=x"), 400, "invalid_cursor")
