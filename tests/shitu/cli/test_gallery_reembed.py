"""`shitu gallery reembed` on the store: staged, put in force, interrupted, and what was left out is reported."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.galleries.store import GalleryStore
from infra.objects.store import ObjectStore
from models.embedder import identity_of
from tests.models.programs import artifact
from tests.shitu.cli.test_galleries import drinks, objects, report, run, store
from worker import reembed as module

__all__ = ["drinks", "objects", "store"]  # fixtures


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return artifact(tmp_path / "tiny", "embed")


def test_the_pictures_are_embedded_again_and_the_version_is_staged(
    drinks: str, store: GalleryStore, tiny: Path
) -> None:
    answer = run("reembed", drinks, "--embedder", tiny)
    assert answer.exit_code == 0, answer.output
    assert "version 4 of 'drinks' has 4 items by tiny-embed, of the 4 of version 3" in answer.stdout
    assert "it is staged\n`shitu gallery activate drinks 4` puts it in force" in answer.stdout
    assert (store.manifest(drinks).version, store.versions(drinks)) == (3, (1, 2, 3, 4))
    assert store.items(drinks, 4) == store.items(drinks, 3)
    assert store.load_features(drinks, 4) == store.load_features(drinks, 3)
    assert store.manifest(drinks, 4).embedder_digest == identity_of(tiny).digest
    # Again, with what was made before: no second version, and none in force that answers less.
    again = run("reembed", drinks, "--embedder", tiny, "--activate")
    assert (again.exit_code, store.versions(drinks), store.manifest(drinks).version) == (1, (1, 2, 3, 4), 3)
    assert "not in force: it answers fewer of its own items right" in again.stdout
    assert run("activate", drinks, 4).exit_code == 0
    assert report("reembed", drinks, "--embedder", tiny, "--activate")["gallery"] == {
        "name": "drinks", "version": 5, "items": 4,
    }  # fmt: skip


def test_an_interrupted_command_resumes(
    drinks: str, store: GalleryStore, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH_ITEMS", 1)
    made: list[int] = []
    batch = module._Reembedding._batch

    def interrupted(self: module._Reembedding, chunk: object) -> object:
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(1)
        return batch(self, chunk)  # type: ignore[arg-type]

    monkeypatch.setattr(module._Reembedding, "_batch", interrupted)
    assert run("reembed", drinks, "--embedder", tiny).exit_code != 0
    assert store.versions(drinks) == (1, 2, 3)
    monkeypatch.setattr(module._Reembedding, "_batch", lambda self, chunk: made.append(1) or batch(self, chunk))
    assert run("reembed", drinks, "--embedder", tiny).exit_code == 0
    assert (len(made), store.versions(drinks)) == (4, (1, 2, 3, 4))


def test_what_is_left_out_is_reported(drinks: str, store: GalleryStore, objects: ObjectStore, tiny: Path) -> None:
    broken, gone = store.items(drinks)[1], store.items(drinks)[3]
    objects.delete(gone.image_key)
    objects.delete(broken.image_key)
    objects.put(broken.image_key, b"no picture")
    for _ in range(2):  # the second time by what the first one made
        answer = run("reembed", drinks, "--embedder", tiny, "--activate")
        assert answer.exit_code == 1
        assert f"left out: {gone.id} (milk): picture_missing" in answer.stderr
        assert f"left out: {broken.id} (green tea): image_not_an_image" in answer.stderr
        assert "not in force: it lacks items" in answer.stdout
        assert store.versions(drinks) == (1, 2, 3, 4)
    assert store.manifest(drinks).version == 3


def test_what_is_not_there_is_reported(drinks: str, tiny: Path) -> None:
    answer = run("reembed", "drink", "--embedder", tiny)
    assert (answer.exit_code, "gallery_not_found" in answer.stderr) == (1, True), answer.output
    answer = run("reembed", drinks, "--embedder", "no-such-one")
    assert (answer.exit_code, "artifact_missing" in answer.stderr) == (1, True), answer.output
