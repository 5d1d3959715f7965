"""The store's lists and its history, with many objects."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.kube.objects import EVENTS, PODS, SECRETS, Json
from scripts.kube.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "objects.sqlite")
    yield store
    store.close()


def pod(name: str, namespace: str = "default") -> Json:
    return {"metadata": {"name": name, "namespace": namespace}, "status": {"phase": "Pending"}}


def names(things: object) -> list[str]:
    assert isinstance(things, list)
    return [thing["metadata"]["name"] for thing in things]


def test_thousands_of_events_do_not_push_the_changes_of_pods_out_of_the_history(store: Store) -> None:
    start = store.version
    store.create(PODS, pod("a"))
    for number in range(25_000):
        store.create(EVENTS, pod(f"event-{number}"))
    assert store.since(EVENTS, start) is None
    changes = store.since(PODS, start)
    assert changes is not None
    assert [(change.type, change.new["metadata"]["name"]) for change in changes] == [("ADDED", "a")]


def test_the_history_goes_back_over_the_last_changes_only(store: Store) -> None:
    start = store.version
    for number in range(20_000):
        store.create(EVENTS, pod(f"event-{number}"))
    assert store.since(EVENTS, start) is not None
    store.create(EVENTS, pod("one more"))
    assert store.since(EVENTS, start) is None
    assert store.since(EVENTS, start + 1) is not None
    assert store.list_at(EVENTS, "", start) is None


def test_a_list_at_a_version_undoes_what_has_changed_since(store: Store) -> None:
    kept, gone, other = (store.create(PODS, pod(name)) for name in ("kept", "gone", "other"))
    version = store.version
    store.update(PODS, {**kept, "status": {"phase": "Running"}})
    store.delete(PODS, ("default", "gone"))
    store.delete(PODS, ("default", "other"))
    store.create(PODS, pod("other"))
    store.create(PODS, pod("new"))
    store.create(PODS, pod("elsewhere", "b"))
    assert store.list_at(PODS, "default", version) == [gone, kept, other]
    assert store.list_at(PODS, "b", version) == []
    assert names(store.list(PODS, "default")) == ["kept", "new", "other"]


def test_a_list_of_a_namespace_has_no_object_of_one_whose_name_begins_alike(store: Store) -> None:
    for namespace in ("a", "a-b", "ab", "b"):
        store.create(SECRETS, pod("s", namespace))
    assert names(store.list(SECRETS, "a")) == ["s"]
    assert len(store.list(SECRETS)) == 4


def test_objects_and_growing_versions_outlive_the_process(tmp_path: Path) -> None:
    first = Store(tmp_path / "objects.sqlite")
    for name in "cab":
        first.create(PODS, pod(name))
    first.delete(PODS, ("default", "b"))
    newest = first.version
    first.close()
    second = Store(tmp_path / "objects.sqlite")
    assert names(second.list(PODS)) == ["a", "c"]
    assert second.version > newest
    second.close()
