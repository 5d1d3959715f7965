"""The short name in /tmp of a long state folder, which no other user can replace."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from scripts.local import alias, lifecycle
from scripts.local.alias import alias_of, make_alias, remove_alias
from scripts.local.errors import StackError
from scripts.local.settings import Settings
from scripts.local.stack import Stack

NOBODY = 65534


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for /tmp."""
    folder = tmp_path / "tmp"
    folder.mkdir(mode=0o777)
    monkeypatch.setattr(alias, "TEMPORARY", folder)
    return folder


@pytest.fixture
def names(temporary: Path) -> Path:
    """The folder of this user's short names."""
    return temporary / f"cluster-cpu-{os.geteuid()}"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    folder.mkdir()
    return folder


def test_the_alias_is_a_link_in_a_folder_that_only_its_owner_can_open(names: Path, state: Path) -> None:
    make_alias(state)
    make_alias(state)
    assert alias_of(state).parent == names
    assert alias_of(state).readlink() == state
    assert names.lstat().st_mode & 0o777 == 0o700


def test_removing_an_alias_keeps_other_aliases_and_removes_the_empty_folder(
    names: Path, state: Path, tmp_path: Path
) -> None:
    (other := tmp_path / "other").mkdir()
    make_alias(state)
    make_alias(other)
    remove_alias(state)
    assert [one.readlink() for one in names.iterdir()] == [other]
    remove_alias(other)
    assert not names.exists()


def test_a_folder_of_aliases_that_is_open_to_others_is_refused(names: Path, state: Path) -> None:
    names.mkdir()
    names.chmod(0o755)
    with pytest.raises(StackError, match=r"open to other users \(mode 0755, not 0700\): remove it"):
        make_alias(state)


def test_a_link_in_place_of_the_folder_of_aliases_is_refused(
    names: Path, state: Path, tmp_path: Path
) -> None:
    (trap := tmp_path / "trap").mkdir(mode=0o700)
    names.symlink_to(trap)
    with pytest.raises(StackError, match="is not a folder"):
        make_alias(state)
    assert list(trap.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_aliases_of_another_user_is_refused(names: Path, state: Path) -> None:
    names.mkdir(mode=0o700)
    os.chown(names, NOBODY, NOBODY)
    with pytest.raises(StackError, match=f"belongs to the user with id {NOBODY}"):
        make_alias(state)


def test_a_link_to_elsewhere_in_place_of_the_alias_is_refused(
    names: Path, state: Path, tmp_path: Path
) -> None:
    names.mkdir(mode=0o700)
    alias_of(state).symlink_to(tmp_path)
    with pytest.raises(StackError, match=f"does not lead to {state}"):
        make_alias(state)


def test_no_socket_is_used_in_a_folder_of_aliases_that_is_open_to_others(names: Path, tmp_path: Path) -> None:
    settings = Settings(tmp_path / ("long" * 25))
    names.mkdir()
    names.chmod(0o777)
    with pytest.raises(StackError, match="open to other users"):
        _ = settings.supervisor_socket
    with pytest.raises(StackError, match="open to other users"):
        _ = settings.postgres_socket_folder


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_state_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    (folder := tmp_path / "state").mkdir()
    os.chown(folder, NOBODY, NOBODY)
    with pytest.raises(StackError, match="belongs to another user: choose a folder of yours with --state"):
        lifecycle.up(Stack.describe(Settings(folder)), print)
    assert list(folder.iterdir()) == []
