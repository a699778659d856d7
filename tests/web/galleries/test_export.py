"""A gallery leaves the service as one file, which is what the command writes and an import takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from flask.testing import FlaskClient

from infra.galleries import bundles
from tests.web.refusals import refused
from web.services import Services


def test_an_exported_gallery_is_whole(client: FlaskClient, service: Services, drinks: str, tmp_path: Path) -> None:
    client.delete("/v1/galleries/drinks/items?label=cola")
    for query, version in (("", 3), ("?version=2", 2)):
        answer = client.get(f"/v1/galleries/drinks/export{query}")
        assert (answer.status_code, answer.mimetype) == (200, "application/zip")
        (tmp_path / "drinks.zip").write_bytes(answer.data)
        with bundles.opened(tmp_path / "drinks.zip") as file:
            bundle = bundles.read(file)
            manifest, items, embeddings = service.galleries.load("drinks", version)
            assert (bundle.version, bundle.items, bundle.embedder_digest) == (version, items, manifest.embedder_digest)
            np.testing.assert_array_equal(bundle.embeddings, embeddings)
            assert all(bundles.picture(file, item) == service.objects.get(item.image_key) for item in items)


def test_what_is_not_there_is_reported(client: FlaskClient, drinks: str) -> None:
    refused(client.get("/v1/galleries/none/export"), 404, "gallery_not_found")
    refused(client.get("/v1/galleries/drinks/export?version=9"), 404, "gallery_version_not_found")
    refused(client.get("/v1/galleries/drinks/export?verson=9"), 400, "invalid_request")
