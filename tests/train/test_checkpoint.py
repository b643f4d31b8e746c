"""Checkpoints: read as they were written by the run that wrote them; whole, or the one before."""

import errno
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from tonewise.errors import OutputError
from tonewise.train.checkpoint import STATE, Checkpoints

RUN = {"epochs": "3", "seed": "0", "data": "abc", "base": "sha256:1"}
LARGE = {"weights": {"one": torch.arange(200_000, dtype=torch.float32)}}


def opened(folder: Path, *, resume: bool = True, **changes: Any) -> Checkpoints:
    return Checkpoints(folder, RUN | changes, resume=resume)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of a run that has begun."""
    opened(tmp_path / "run", resume=False).write("fit", {"at": 3})
    return tmp_path / "run"


def test_what_was_written_is_read(tmp_path: Path) -> None:
    first = opened(tmp_path / "run", resume=False)
    assert first.read("fit") is None
    stage = {
        "at": 3,
        "loss_sum": 0.1,
        "history": [{"epoch": 1}],
        "mean": [torch.tensor([1.5])],
        "bf16": False,
    }
    first.write("fit", stage)
    first.write("fold-2", {"at": 0})
    first.write_best("fit", {"network": {"a": torch.tensor([0.1])}})
    second = opened(tmp_path / "run")
    found = second.read("fit")
    assert found is not None
    assert found.pop("mean")[0].item() == 1.5
    assert found == {name: value for name, value in stage.items() if name != "mean"}
    assert second.read("fold-2") == {"at": 0}
    assert second.read("fold-3") is None
    assert second.read_best("fit")["network"]["a"].item() == torch.tensor(0.1).item()


def test_a_stage_that_goes_on_replaces_what_it_left(folder: Path) -> None:
    second = opened(folder)
    second.write("fold-2", {"at": 9})
    second.write("fit", {"at": 4})
    third = opened(folder)
    assert (third.read("fit"), third.read("fold-2")) == ({"at": 4}, {"at": 9})


def test_an_unfinished_run_is_not_begun_anew_unasked(folder: Path) -> None:
    with pytest.raises(OutputError, match=f"{folder} holds an unfinished run; --resume continues it"):
        opened(folder, resume=False)
    assert opened(folder).read("fit") == {"at": 3}


@pytest.mark.parametrize(("name", "value"), [("epochs", "4"), ("data", "abd"), ("base", "sha256:2")])
def test_another_run_is_refused_by_the_name_of_what_differs(folder: Path, name: str, value: str) -> None:
    told = f"{folder} holds another run: {name} was {RUN[name]} and is {value}; remove the folder"
    with pytest.raises(OutputError, match=told) as caught:
        Checkpoints(folder, RUN | {name: value}, resume=True)
    assert "\n" not in str(caught.value)


def test_so_is_one_with_a_knob_more_or_less(folder: Path) -> None:
    with pytest.raises(OutputError, match="momentum was None and is 1"):
        opened(folder, momentum="1")
    less = {name: value for name, value in RUN.items() if name != "seed"}
    with pytest.raises(OutputError, match="seed was 0 and is None"):
        Checkpoints(folder, less, resume=True)


def torn(content: bytes) -> Iterator[tuple[str, bytes]]:
    yield "empty", b""
    yield "half", content[: len(content) // 2]
    yield "without its end", content[:-1]
    yield "no zip", b"hello\n" * 100


@pytest.mark.parametrize("kind", ["empty", "half", "without its end", "no zip"])
def test_a_damaged_checkpoint_is_told_in_one_line(folder: Path, kind: str) -> None:
    path = folder / STATE
    path.write_bytes(dict(torn(path.read_bytes()))[kind])
    with pytest.raises(OutputError, match=f"{path} is no checkpoint of ours: .*; remove {folder}$") as caught:
        opened(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [torch.zeros(2), {"weights": 1}, [1, 2]])
def test_so_is_another_programs(folder: Path, content: Any) -> None:
    torch.save(content, folder / STATE)
    with pytest.raises(OutputError, match="no checkpoint of ours: it holds something else; remove"):
        opened(folder)


def test_a_checkpoint_runs_no_code(folder: Path) -> None:
    torch.save({"identity": RUN, "stages": {"fit": Path("/")}}, folder / STATE)
    with pytest.raises(OutputError, match="no checkpoint of ours"):
        opened(folder)


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"")])
def test_best_weights_that_are_gone_or_damaged_are_told(folder: Path, damage: Any) -> None:
    opened(folder).write_best("fit", {"a": torch.zeros(1)})
    damage(folder / "best-fit.pt")
    with pytest.raises(OutputError, match=rf"best-fit.pt.*; remove {folder}$"):
        opened(folder).read_best("fit")


@pytest.mark.parametrize("name", ["file", "file/run"])
def test_a_place_that_is_no_folder_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match=f"cannot use {tmp_path / name}: "):
        opened(tmp_path / name, resume=False)


def test_a_finished_run_leaves_nothing_of_its_own(folder: Path) -> None:
    checkpoints = opened(folder)
    checkpoints.write_best("fit", {})
    (folder / "state.tmp").write_bytes(b"half")
    (folder / "notes.txt").write_text("a user's")
    checkpoints.remove()
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]
    (folder / "notes.txt").unlink()
    opened(folder, resume=False).remove()
    assert not folder.exists()


def test_best_weights_can_be_dropped(folder: Path) -> None:
    checkpoints = opened(folder)
    checkpoints.write_best("fold-1", {})
    checkpoints.drop_best("fold-1")
    checkpoints.drop_best("fold-1")
    assert [path.name for path in folder.iterdir()] == [STATE]


@contextmanager
def small_disk() -> Iterator[None]:
    """Files of no more than 64 KiB: what a full disk is to whoever writes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65_536, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_the_checkpoint_before(folder: Path) -> None:
    checkpoints = opened(folder)
    checkpoints.write_best("fit", {"a": torch.ones(2)})
    told = f"cannot write {folder / STATE}: file too large$"
    with small_disk(), pytest.raises(OutputError, match=told) as caught:
        checkpoints.write("fit", LARGE)
    assert "\n" not in str(caught.value)
    told = f"cannot write {folder / 'best-fit.pt'}: file too large$"
    with small_disk(), pytest.raises(OutputError, match=told):
        checkpoints.write_best("fit", LARGE)
    assert sorted(path.name for path in folder.iterdir()) == ["best-fit.pt", STATE]
    again = opened(folder)
    assert again.read("fit") == {"at": 3}
    assert again.read_best("fit")["a"].tolist() == [1, 1]


@pytest.mark.parametrize("weights", [LARGE, {}])
def test_a_full_disk_is_told_as_elsewhere(folder: Path, weights: Any) -> None:
    (folder / "state.tmp").symlink_to("/dev/full")
    with pytest.raises(OutputError, match=f"^cannot write {folder / STATE}: the disk is full$"):
        opened(folder).write("fit", weights)
    assert [path.name for path in folder.iterdir()] == [STATE]
    assert opened(folder).read("fit") == {"at": 3}


class Failing:
    """A file whose writer is stopped half way, with nothing left to be written when it is closed."""

    def __init__(self, file: Any, error: BaseException) -> None:
        self.file, self.error = file, error

    def __enter__(self) -> "Failing":
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def flush(self) -> None:
        self.file.flush()

    def write(self, data: bytes) -> int:
        if self.file.tell() > 1000:
            raise self.error
        return int(self.file.write(data))


@pytest.mark.parametrize(
    ("error", "raised", "told"),
    [
        (OSError(errno.ENOSPC, "No space left"), OutputError, "^cannot write .*state.pt: the disk is full$"),
        (OSError(errno.EIO, "Input/output error"), OutputError, "state.pt: input/output error$"),
        (RuntimeError("torch\nfails"), OutputError, "state.pt: torch fails$"),
        (KeyboardInterrupt(), KeyboardInterrupt, "^$"),
    ],
)
def test_what_stops_a_write_half_way_is_told_and_leaves_the_checkpoint_before(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    raised: type[BaseException],
    told: str,
) -> None:
    checkpoints, opening = opened(folder), Path.open
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda path, *how: Failing(opening(path, *how), error))
        with pytest.raises(raised, match=told):
            checkpoints.write("fit", LARGE)
    assert [path.name for path in folder.iterdir()] == [STATE]
    assert opened(folder).read("fit") == {"at": 3}


KILLED = """
import os, signal, sys
from pathlib import Path
import torch
from tonewise.train.checkpoint import Checkpoints
checkpoints = Checkpoints(Path(sys.argv[1]), {run!r}, resume=True)
os.fsync = lambda number: os.kill(os.getpid(), signal.SIGKILL)
checkpoints.write("fit", {{"weights": torch.zeros(100_000)}})
"""


def test_a_run_killed_while_it_writes_leaves_the_checkpoint_before(folder: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED.format(run=RUN), str(folder)], check=False)
    assert done.returncode == -9
    assert (folder / "state.tmp").stat().st_size > 100_000
    checkpoints = opened(folder)
    assert checkpoints.read("fit") == {"at": 3}
    checkpoints.write("fit", {"at": 4})
    checkpoints.remove()
    assert not folder.exists()


def test_the_precision_that_a_run_began_in_is_kept(tmp_path: Path) -> None:
    first = opened(tmp_path / "run", resume=False)
    assert first.bf16 is None
    first.bf16 = True
    first.write("fold-1", {"at": 3})
    assert opened(tmp_path / "run").bf16 is True
