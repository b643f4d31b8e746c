"""A new bundle's folder appears whole, or not at all."""

import errno
import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tonewise.errors import OutputError
from tonewise.store import Manifest, open_bundle
from tonewise.store.writing import (
    BOOT_ID,
    check_new_folder,
    copy_files,
    new_folder,
    pinned_files,
    write_manifest,
)

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


KILLED = """
import os, signal, sys
from pathlib import Path
from tonewise.store.writing import new_folder
with new_folder(Path(sys.argv[1])) as folder:
    (folder / "part").write_text("x")
    folder.with_name(f"{folder.name}.scratch").mkdir()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def killed_while_writing(output: Path) -> set[str]:
    """What a writer who was killed left beside the output."""
    before = set(os.listdir(output.parent))
    done = subprocess.run([sys.executable, "-c", KILLED, str(output)], check=False)
    assert done.returncode == -9
    return set(os.listdir(output.parent)) - before


def write_new(output: Path) -> None:
    with new_folder(output) as folder:
        (folder / "file").write_text("x")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where outputs are written, and nothing else is."""
    (tmp_path / "place").mkdir()
    return tmp_path / "place"


@pytest.mark.skipif(not BOOT_ID.exists(), reason="this system does not tell its boots apart")
def test_what_a_killed_writer_left_goes_with_the_next_of_the_same_name(place: Path) -> None:
    left = killed_while_writing(place / "out")
    assert len(left) == 2
    others = killed_while_writing(place / "out.2")
    theirs = {".out.personal", ".out.0123abcd.tmp", ".out.txt"}
    for name in theirs:
        write_folder(place / name, {"a": b"x"})
    write_new(place / "out")
    assert set(os.listdir(place)) == {"out", *others, *theirs}


def test_the_folder_of_a_writer_who_is_alive_stays(place: Path) -> None:
    with new_folder(place / "out") as first:
        (first / "file").write_text("first")
        beside = first.with_name(f"{first.name}.scratch")
        beside.mkdir()
        write_new(place / "out")
        shutil.rmtree(place / "out")
        assert (sorted(place.iterdir()), everything(first)) == ([first, beside], ["file"])
        beside.rmdir()
    assert (place / "out" / "file").read_text() == "first"
    assert os.listdir(place) == ["out"]


@pytest.mark.parametrize("boot", ["0a1b2c3d-0000-4000-8000-000000000000\n", "none", None])
def test_what_may_be_of_another_machine_stays(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, boot: str | None
) -> None:
    left = killed_while_writing(place / "out")
    if boot is not None:
        (tmp_path / "boot").write_text(boot)
    monkeypatch.setattr("tonewise.store.writing.BOOT_ID", tmp_path / "boot")
    write_new(place / "out")
    assert set(os.listdir(place)) == {*left, "out"}


def test_where_folders_cannot_be_locked_all_is_written_and_nothing_removed(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = killed_while_writing(place / "out")

    def refuses(*_: Any) -> None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    monkeypatch.setattr(fcntl, "flock", refuses)
    write_new(place / "out")
    assert {*left, "out"} == set(os.listdir(place))


@pytest.mark.parametrize("seen", ["made", "opened", "locked"])
def test_a_folder_that_is_swept_before_it_is_locked_is_made_anew(
    place: Path, monkeypatch: pytest.MonkeyPatch, seen: str
) -> None:
    opening, locking = os.open, fcntl.flock
    swept: list[Path] = []

    def sweep() -> None:
        swept.extend(place.iterdir())
        swept[0].rmdir()

    def late_open(path: Any, how: int, *rest: Any, **more: Any) -> int:
        if seen == "made" and not swept:
            sweep()
        return opening(path, how, *rest, **more)

    def late_lock(handle: int, how: int) -> None:
        if not swept:
            sweep()
            if seen == "locked":
                raise BlockingIOError
        locking(handle, how)

    monkeypatch.setattr(os, "open", late_open)
    monkeypatch.setattr(fcntl, "flock", late_lock)
    write_new(place / "out")
    assert len(swept) == 1
    assert everything(place) == ["out", "out/file"]


def test_a_long_name_of_letters_that_take_more_bytes_is_written(place: Path) -> None:
    name = "é" * 125
    write_new(place / name)
    assert os.listdir(place) == [name]


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
