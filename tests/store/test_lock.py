"""The lock: where it is, what it refuses, and that two writers lose nothing."""

import json
import threading
from pathlib import Path

import pytest

from tonewise.errors import ModelError, OutputError
from tonewise.store.bundle import File
from tonewise.store.lock import Pin, lock_path, pin_of, read_lock, record
from tonewise.store.ref import parse

from .conftest import is_root


def lock_text(entry: dict[str, object]) -> str:
    return json.dumps({"format": 1, "models": {"a/b": entry}})


PIN = Pin("a" * 40, {"config.json": File("0" * 64, 2)}, "mit")


def test_the_lock_is_the_users_own_outside_a_project(home: Path) -> None:
    assert lock_path() == home / "data" / "tonewise" / "tonewise.lock"


@pytest.mark.parametrize("mark", ["pyproject.toml", ".git"])
def test_a_project_gets_its_own(mark: str) -> None:
    Path(mark).mkdir()
    assert lock_path() == Path.cwd() / "tonewise.lock"


def test_the_nearest_lock_above_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path.cwd()
    Path("tonewise.lock").write_text('{"format": 1, "models": {}}')
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "b" / "pyproject.toml").touch()
    monkeypatch.chdir(root / "a" / "b")
    assert lock_path() == root / "tonewise.lock"


def test_what_is_recorded_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "tonewise.lock"
    assert read_lock(path) == {}
    assert record(path, "b/b", PIN) == PIN
    record(path, "a/a", Pin("b" * 40, {}, None))
    assert read_lock(path) == {"a/a": Pin("b" * 40, {}, None), "b/b": PIN}


def test_the_lock_is_sorted_a_line_per_fact_and_ends_in_a_newline(tmp_path: Path) -> None:
    path = tmp_path / "tonewise.lock"
    record(path, "b/b", PIN)
    record(path, "a/a", PIN)
    text = path.read_text()
    assert text == json.dumps(json.loads(text), indent=2, sort_keys=True) + "\n"
    assert [one.name for one in tmp_path.glob("*tonewise.lock*")] == ["tonewise.lock"]


def test_the_first_of_two_entries_stands(tmp_path: Path) -> None:
    path = tmp_path / "tonewise.lock"
    record(path, "a/a", PIN)
    assert record(path, "a/a", Pin("b" * 40, {})) == PIN


def test_writers_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "tonewise.lock"
    names = [f"a/{number}" for number in range(16)]
    threads = [threading.Thread(target=record, args=(path, name, PIN)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(read_lock(path)) == sorted(names)


def test_a_pinned_ref_finds_the_plain_entry_of_the_same_commit() -> None:
    record(lock_path(), "a/b", PIN)
    assert pin_of(parse(f"hub:a/b@{'a' * 40}")) == PIN
    assert pin_of(parse(f"hub:a/b@{'b' * 40}")) is None
    assert pin_of(parse("a/c")) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"format": 1}',
        '{"format": 1, "models": []}',
        '<<<<<<< HEAD\n{"format": 1, "models": {}}',
        lock_text({"commit": "main", "files": {}}),
        lock_text({"commit": "a" * 40}),
        lock_text({"commit": "a" * 40, "files": {"x": {"sha256": "no", "size": 1}}}),
        lock_text({"commit": "a" * 40, "files": {"x": {"sha256": "0" * 64, "size": "1"}}}),
        lock_text({"commit": "a" * 40, "files": {"../x": {"sha256": "0" * 64, "size": 1}}}),
    ],
)
def test_a_broken_lock_is_a_short_error_that_says_what_to_do(tmp_path: Path, text: str) -> None:
    path = tmp_path / "tonewise.lock"
    path.write_text(text)
    with pytest.raises(ModelError, match=r"tonewise\.lock: not a lock \(.*restore it") as caught:
        read_lock(path)
    assert "\n" not in str(caught.value)


def test_a_lock_of_a_later_version_is_not_guessed_at(tmp_path: Path) -> None:
    path = tmp_path / "tonewise.lock"
    path.write_text('{"format": 2, "models": {}}')
    with pytest.raises(ModelError, match="upgrade tonewise"):
        read_lock(path)


def test_a_lock_that_is_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "tonewise.lock").mkdir()
    with pytest.raises(ModelError, match=r"tonewise\.lock cannot be read: is a directory"):
        read_lock(tmp_path / "tonewise.lock")


def test_an_unwritable_lock_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"cannot write .*tonewise\.lock"):
        record(tmp_path / "file" / "tonewise.lock", "a/b", PIN)


@pytest.mark.skipif(is_root(), reason="root may write everywhere")
def test_a_read_only_folder_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(OutputError, match="permission denied"):
            record(tmp_path / "tonewise.lock", "a/b", PIN)
    finally:
        tmp_path.chmod(0o700)
