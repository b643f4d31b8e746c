"""Where a run stands, on disk: written whole or not at all, read only by the run that wrote it."""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from tonewise.errors import OutputError
from tonewise.store.files import reason

STATE = "state.pt"


class Checkpoints:
    """The folder of one unfinished run.

    identity  what the run is: recipe, data, base, versions. Another run's checkpoints are refused.
    bf16      what the precision `auto` came to where the run began; None: it has not begun
    """

    def __init__(self, folder: Path, identity: Mapping[str, str], *, resume: bool) -> None:
        """Take the folder. Raises OutputError for one of another run, or one that is not to be resumed."""
        self.folder, self.identity = folder, dict(identity)
        try:
            found = self._read(STATE) if (folder / STATE).is_file() else None
            if found is not None and not resume:
                raise OutputError(f"{folder} holds an unfinished run; --resume continues it, or remove it")
            self._state = found
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot use {folder}: {reason(error)}") from None
        if found is not None:
            self._check(found["identity"])
        self.bf16: bool | None = None if found is None else found.get("bf16")

    @property
    def found(self) -> bool:
        """Whether the run had begun before, or has by now."""
        return self._state is not None

    def _check(self, stored: Mapping[str, str]) -> None:
        differing = sorted(
            name for name in stored.keys() | self.identity if stored.get(name) != self.identity.get(name)
        )
        if differing:
            name = differing[0]
            told = f"{name} was {stored.get(name)} and is {self.identity.get(name)}"
            raise OutputError(
                f"{self.folder} holds another run: {told}; remove the folder, or change it back"
            )

    def read(self, name: str) -> dict[str, Any] | None:
        """What the named stage of the run saved last; None where it has not begun."""
        if self._state is None or name not in self._state["stages"]:
            return None
        found: dict[str, Any] = self._state["stages"][name]
        return found

    def read_best(self, name: str) -> dict[str, Any]:
        """The weights of the named stage's best epoch so far. Raises OutputError where they are not whole."""
        return self._read(_best(name))

    def write(self, name: str, stage: Mapping[str, Any]) -> None:
        """Save where the named stage stands, beside what finished stages left. Raises OutputError."""
        stages = {} if self._state is None else dict(self._state["stages"])
        stages[name] = dict(stage)
        self._state = {"identity": self.identity, "bf16": self.bf16, "stages": stages}
        self._write(STATE, self._state)

    def write_best(self, name: str, weights: Mapping[str, Any]) -> None:
        """Save the weights of the named stage's best epoch. Raises OutputError."""
        self._write(_best(name), dict(weights))

    def drop_best(self, name: str) -> None:
        """Remove them: what was wanted of them is kept elsewhere."""
        (self.folder / _best(name)).unlink(missing_ok=True)

    def remove(self) -> None:
        """The run is finished: its checkpoints are of no use."""
        for path in (*self.folder.glob("*.pt"), *self.folder.glob("*.tmp")):
            path.unlink(missing_ok=True)
        if not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _read(self, name: str) -> dict[str, Any]:
        path = self.folder / name
        try:
            found = torch.load(path, map_location="cpu", weights_only=True)
        except OSError as error:
            raise OutputError(f"cannot read {path}: {reason(error)}; remove {self.folder}") from None
        except Exception as error:  # torch raises what zip files and its unpickler raise
            raise self._foreign(path, " ".join(str(error).split())[:200]) from None
        if not isinstance(found, dict) or (name == STATE and not found.keys() >= {"identity", "stages"}):
            raise self._foreign(path, "it holds something else")
        return found

    def _foreign(self, path: Path, said: str) -> OutputError:
        return OutputError(f"{path} is no checkpoint of ours: {said}; remove {self.folder}")

    def _write(self, name: str, table: Mapping[str, Any]) -> None:
        path = self.folder / name
        work = path.with_suffix(".tmp")
        try:
            with work.open("wb") as file:
                torch.save(table, file)
                file.flush()
                os.fsync(file.fileno())
            work.replace(path)
        except BaseException as error:
            with suppress(OSError):
                work.unlink()
            cause = _behind(error)
            if isinstance(cause, OSError):
                said = reason(cause)
            elif isinstance(cause, RuntimeError):
                said = " ".join(str(cause).split())[:200]
            else:
                raise cause from None
            raise OutputError(f"cannot write {path}: {said}") from None


def _behind(error: BaseException) -> BaseException:
    """What stopped a write: torch's writer, closed half way, raises a RuntimeError over it."""
    found = error
    while isinstance(found, RuntimeError) and found.__context__ is not None:
        found = found.__context__
    return found


def _best(name: str) -> str:
    return f"best-{name}.pt"
