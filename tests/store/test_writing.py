"""A new bundle's folder appears whole, or not at all."""

import errno
import os
import shutil
from pathlib import Path

import pytest

from tonewise.errors import OutputError
from tonewise.store import Manifest, open_bundle
from tonewise.store.writing import check_new_folder, copy_files, new_folder, pinned_files, write_manifest

from .conftest import is_root, write_bundle, write_folder
from .hub_server import tiny_model


def everything(folder: Path) -> list[str]:
    """All below the folder, hidden ones too."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.mark.parametrize("name", ["out", "a/b/out", "there", "link/out"])
def test_a_folder_appears_under_its_name_when_the_block_ends(tmp_path: Path, name: str) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there")
    before = everything(tmp_path)
    with new_folder(tmp_path / name) as folder:
        (folder / "file").write_text("x")
        assert not (tmp_path / name / "file").exists()
    assert (tmp_path / name / "file").read_text() == "x"
    new = set(everything(tmp_path)) - set(before)
    assert not [one for one in new if ".tmp" in one]


def test_the_folder_may_be_the_empty_one_that_one_is_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").mkdir()
    monkeypatch.chdir(tmp_path / "in")
    with new_folder(Path()) as folder:
        (folder / "file").write_text("x")
    assert everything(tmp_path / "in") == ["file"]


@pytest.mark.parametrize("name", ["out", "a/b/out"])
@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_nothing_is_left_of_a_block_that_fails(home: Path, name: str, error: BaseException) -> None:
    before = everything(home)

    def write() -> None:
        with new_folder(home / name) as folder:
            (folder / "file").write_text("x")
            raise error

    with pytest.raises(type(error)):
        write()
    assert everything(home) == before


def test_a_full_disk_is_told_by_the_name_that_was_asked_for(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = open_bundle(write_bundle(home / "m"), "./m")
    before = everything(home)

    def full(source: Path, target: Path) -> None:
        target.write_bytes(b"a part")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))

    monkeypatch.setattr(shutil, "copyfile", full)
    with (
        pytest.raises(OutputError, match=rf"^cannot write {home}/out: the disk is full$"),
        new_folder(home / "out") as folder,
    ):
        copy_files(bundle, folder)
    assert everything(home) == before


@pytest.mark.parametrize("name", ["file", "full"])
def test_what_is_there_is_left_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / ".hidden").write_text("y")
    before = everything(tmp_path)
    for refused in (check_new_folder, lambda path: new_folder(path).__enter__()):
        with pytest.raises(OutputError, match=rf"{name} is there already; name a folder that is not$"):
            refused(tmp_path / name)
    assert everything(tmp_path) == before


def test_a_folder_that_came_meanwhile_is_not_replaced(home: Path) -> None:
    with (
        pytest.raises(OutputError, match=r"cannot write .*out: directory not empty"),
        new_folder(home / "out"),
    ):
        write_folder(home / "out", {"theirs": b"x"})
    assert everything(home / "out") == ["theirs"]


def test_a_place_that_cannot_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with (
        pytest.raises(OutputError, match=r"cannot write .*file/out: not a directory"),
        new_folder(tmp_path / "file" / "out"),
    ):
        pytest.fail("opened")


@pytest.mark.skipif(is_root(), reason="modes do not bind this user")
def test_a_folder_without_the_right_to_write_is_told(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir(mode=0o500)
    with (
        pytest.raises(OutputError, match=r"cannot write .*in/out: permission denied"),
        new_folder(tmp_path / "in" / "out"),
    ):
        pytest.fail("opened")


def test_a_copy_is_the_same_model_and_takes_nothing_else_along(home: Path) -> None:
    bundle = open_bundle(write_bundle(home / "m"), "./m")
    (home / "m" / "notes.txt").write_text("of no concern")
    with new_folder(home / "copy") as folder:
        copy_files(bundle, folder)
        assert pinned_files(folder) == bundle.manifest.files
        write_manifest(folder, bundle.manifest)
        assert pinned_files(folder) == bundle.manifest.files, "a manifest does not pin itself"
    assert open_bundle(home / "copy", "./copy").digest == bundle.digest


def test_a_plain_folder_is_copied_with_what_lies_below_it(home: Path) -> None:
    pooling = {"1_Pooling/config.json": b"{}", "tonewise.json.bak": b"", "extra.bin": b""}
    plain = open_bundle(write_folder(home / "m", tiny_model() | pooling), "./m")
    with new_folder(home / "copy") as folder:
        copy_files(plain, folder)
        write_manifest(folder, Manifest(files=pinned_files(folder)))
    wanted = {*tiny_model(), "1_Pooling", "1_Pooling/config.json", "tonewise.json"}
    assert set(everything(home / "copy")) == wanted
