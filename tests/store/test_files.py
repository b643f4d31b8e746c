"""Files that are whole or absent, and names that stay where they belong."""

import hashlib
import os
import pwd
import stat
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tonewise.errors import ModelError, OutputError
from tonewise.store.files import (
    cache_folder,
    data_folder,
    git_blob_id,
    hub_folder,
    hub_snapshot,
    is_inside,
    parse_json,
    replacing,
    sha256_of,
    write_atomically,
)


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "out" / "x.txt"
    write_atomically(path, "old")
    file = replacing(path)
    file.__enter__().write(b"new")
    assert not file.__exit__(OSError, OSError("the disk is full"), None)
    assert [one.name for one in path.parent.iterdir()] == ["x.txt"]
    assert path.read_text() == "old"


def test_a_written_file_has_the_permissions_that_the_user_asked_for(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "x", "text")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o640


def test_an_unwritable_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"cannot write .*/file/x: "):
        write_atomically(tmp_path / "file" / "x", "text")


def test_hashes_are_those_of_sha256_and_of_git(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"what is up, doc?")
    assert sha256_of(path) == hashlib.sha256(path.read_bytes()).hexdigest()
    git = subprocess.run(["git", "hash-object", str(path)], capture_output=True, text=True, check=True)
    assert git_blob_id(path) == git.stdout.strip()


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../x", "a/../../x", "a\\..\\x"])
def test_a_name_that_leads_out_of_its_folder_is_recognised(name: str) -> None:
    assert not is_inside(name)
    assert is_inside("1_Pooling/config.json")


def test_the_hub_cache_is_where_huggingface_hub_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert hub_folder() == tmp_path / "hf" / "hub"
    assert hub_snapshot("a/b", "c" * 40) == tmp_path / "hf" / "hub" / "models--a--b" / "snapshots" / (
        "c" * 40
    )
    monkeypatch.delenv("HF_HOME")
    assert hub_folder() == tmp_path / "home" / ".cache" / "huggingface" / "hub"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert hub_folder() == tmp_path / "xdg" / "huggingface" / "hub"
    monkeypatch.setenv("HF_HUB_CACHE", "~/models")
    assert hub_folder() == tmp_path / "home" / "models"


def test_caches_and_data_follow_the_setting_and_the_xdg_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cache_folder("~/mine") == tmp_path / "home" / "mine"
    assert cache_folder() == tmp_path / "home" / ".cache" / "tonewise"
    assert data_folder() == tmp_path / "data" / "tonewise"
    monkeypatch.delenv("XDG_DATA_HOME")
    assert data_folder() == tmp_path / "home" / ".local" / "share" / "tonewise"


def test_without_a_home_folder_the_variable_to_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(uid: int) -> None:
        raise KeyError(uid)

    for name in ("HOME", "XDG_DATA_HOME", "HF_HOME"):
        monkeypatch.delenv(name)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    folders: list[tuple[Callable[[], Path], str]] = [
        (cache_folder, "set XDG_CACHE_HOME or cache_dir"),
        (partial(cache_folder, "~/mine"), "set XDG_CACHE_HOME or cache_dir"),
        (data_folder, "set XDG_DATA_HOME"),
        (hub_folder, "set HF_HOME"),
    ]
    for folder, remedy in folders:
        with pytest.raises(ModelError, match=rf"no home folder here \(HOME is not set\); {remedy}$"):
            folder()
    monkeypatch.setenv("HF_HUB_CACHE", "~/models")
    with pytest.raises(ModelError, match=r"^~/models: .*write HF_HUB_CACHE in full$"):
        hub_folder()
    assert cache_folder("/mine") == Path("/mine")


def test_json_that_is_nested_too_deeply_is_a_value_error() -> None:
    for text in ("[" * 100_000, '{"a":' * 100_000):
        with pytest.raises(ValueError, match="nested too deeply"):
            parse_json(text)
