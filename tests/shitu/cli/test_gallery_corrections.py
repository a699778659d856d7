"""`shitu gallery rename | merge | move`: on the store, and through a service; each can be gone back on."""

from __future__ import annotations

import pytest

from infra.galleries.store import GalleryStore
from tests.shitu.cli.test_galleries import drinks, objects, report, run, served, store

__all__ = ["drinks", "objects", "served", "store"]  # fixtures

Way = tuple[str, ...]


@pytest.fixture(params=["store", "service"])
def way(request: pytest.FixtureRequest, served: tuple[str, str]) -> Way:
    return served if request.param == "service" else ()


def labels(store: GalleryStore, name: str) -> list[str]:
    return sorted(item.label for item in store.items(name))


def test_a_label_is_renamed_and_the_version_before_activated(drinks: str, store: GalleryStore, way: Way) -> None:
    answer = run("rename", drinks, "--label", "green tea", "--new-label", " Cafe\u0301 ", *way)
    assert answer.exit_code == 0, answer.output
    assert "2 items of 'drinks' are 'Café' now; version 4 has 4" in answer.stdout
    assert labels(store, drinks) == ["Café", "Café", "cola", "milk"]
    assert run("activate", drinks, 3, *way).exit_code == 0
    assert labels(store, drinks) == ["cola", "green tea", "green tea", "milk"]


def test_one_item_gets_another_label(drinks: str, store: GalleryStore, way: Way) -> None:
    item = store.items(drinks)[0]
    answer = run("rename", drinks, "--item", item.id, "--new-label", "milk", *way)
    assert answer.exit_code == 0, answer.output
    assert labels(store, drinks) == ["green tea", "green tea", "milk", "milk"]


def test_labels_are_merged_in_one_version(drinks: str, store: GalleryStore, way: Way) -> None:
    refused = run("rename", drinks, "--label", "cola", "--new-label", "milk", *way)
    assert (refused.exit_code, "several labels would become one" in refused.stderr) == (1, True), refused.output
    assert "`shitu gallery merge`" in refused.stderr
    answer = run("merge", drinks, "--label", "cola", "--label", "green tea", "--into", "milk", *way)
    assert answer.exit_code == 0, answer.output
    assert (labels(store, drinks), store.manifest(drinks).version) == (["milk"] * 4, 4)


def test_items_are_moved_to_another_gallery(
    drinks: str, store: GalleryStore, way: Way, served: tuple[str, str]
) -> None:
    store.create("hot")
    answer = run("move", drinks, "--label", "green tea", "--into", "hot", *way)
    assert answer.exit_code == 0, answer.output
    assert "2 items moved; version 4 of 'drinks' has 2, version 2 of 'hot' has 2" in answer.stdout
    assert (labels(store, drinks), labels(store, "hot")) == (["cola", "milk"], ["green tea", "green tea"])
    (boxed,) = [item for item in store.items("hot") if item.box is not None]
    assert run("move", "hot", "--item", boxed.id, "--into", drinks, *way).exit_code == 0
    assert labels(store, drinks) == ["cola", "green tea", "milk"]
    assert report("show", drinks, "--items") == report("show", drinks, "--items", *served)


@pytest.mark.parametrize(
    ("words", "status", "why"),
    [
        (("rename", "drinks", "--new-label", "x"), 2, "--label or --item"),
        (("rename", "drinks", "--label", "cola", "--item", "itm_0", "--new-label", "x"), 2, "--label or --item"),
        (("rename", "drinks", "--label", "cola"), 2, "--new-label"),
        (("rename", "drinks", "--label", "cola", "--new-label", "  "), 2, "must not be blank"),
        (("rename", "drinks", "--label", "cola", "--new-label", "a\u202eb"), 2, "invisible"),
        (("rename", "drinks", "--label", "nothing", "--new-label", "x"), 1, "no item of the label 'nothing'"),
        (("rename", "drinks", "--item", "itm_0", "--new-label", "x"), 1, "no item 'itm_0'"),
        (("rename", "drink", "--label", "cola", "--new-label", "x"), 1, "no gallery 'drink'"),
        (("merge", "drinks", "--into", "x"), 2, "--label"),
        (("merge", "drinks", "--label", "nothing", "--label", "cola", "--into", "x"), 1, "'nothing'"),
        (("move", "drinks", "--into", "x"), 2, "--label or --item"),
        (("move", "drinks", "--label", "cola"), 2, "--into"),
        (("move", "drinks", "--label", "cola", "--into", "nothing"), 1, "no gallery 'nothing'"),
        (("move", "drinks", "--label", "cola", "--into", "drinks"), 1, "another gallery"),
        (("move", "drinks", "--label", "cola", "--into", "other"), 1, "another embedder"),
    ],
)
def test_what_cannot_be_is_reported_and_changes_nothing(
    drinks: str, store: GalleryStore, way: Way, words: tuple[str, ...], status: int, why: str
) -> None:
    store.create("other", "b" * 64)
    answer = run(*words, *way)
    assert (answer.exit_code, why in answer.stderr) == (status, True), answer.output
    assert store.manifest(drinks).version == 3


def test_a_service_has_its_own_embedder_and_moves_in_one_request(drinks: str, served: tuple[str, str]) -> None:
    for words in (
        ("rename", drinks, "--label", "cola", "--new-label", "x"),
        ("merge", drinks, "--label", "cola", "--into", "x"),
        ("move", drinks, "--label", "cola", "--into", "x"),
    ):
        answer = run(*words, "--embedder", "mine", *served)
        assert (answer.exit_code, "--embedder has no effect" in answer.stderr) == (2, True), answer.output
    answer = run("move", drinks, "--label", "cola", "--label", "milk", "--into", "x", *served)
    assert (answer.exit_code, "name one --label" in answer.stderr) == (2, True)


def test_two_versions_are_compared(drinks: str, way: Way) -> None:
    run("rename", drinks, "--label", "green tea", "--new-label", "tea", *way)
    answer = run("diff", drinks, 3, *way)
    assert answer.exit_code == 0, answer.output
    assert "2 relabelled" in answer.stdout.splitlines()[-1]
    assert "2 unchanged" in answer.stdout.splitlines()[-1]
    counts = report("diff", drinks, 2, 3, "--kind", "added", *way)["counts"]
    assert counts == report("diff", drinks, 2, 3)["counts"]
    assert run("diff", drinks, 9, *way).exit_code == 1
