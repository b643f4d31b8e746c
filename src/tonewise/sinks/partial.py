"""Where bytes go: OUTPUT.partial until it is whole, or a stream that is written as it comes."""

import errno
import fcntl
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import IO, Protocol

from tonewise.errors import OutputError
from tonewise.store.files import reason


class Target(Protocol):
    """Bytes in, in whole rows."""

    @property
    def partial_path(self) -> Path | None:
        """The unfinished file, while there is one."""
        ...

    def write(self, data: bytes) -> None:
        """Write all of it. Raises OutputError."""
        ...

    def finish(self) -> None:
        """Make the output whole. Raises OutputError."""
        ...

    def abandon(self) -> None:
        """Leave what is whole, under its unfinished name. Raises nothing."""
        ...


class PartialFile:
    """A file that is called `OUTPUT.partial` until `finish` gives it its name.

    After `abandon` it holds what `write` finished, and nothing of a write that failed; an empty one goes.
    """

    def __init__(self, path: Path) -> None:
        """Create it. Raises OutputError when it cannot be, or another process is writing it."""
        self.path = path
        self._goal = Path(os.path.realpath(path))  # a link stays a link
        self._partial: Path | None = self._goal.with_name(f"{self._goal.name}.partial")
        self._whole = 0
        try:
            handle = _open_locked(self._partial)
        except OSError as error:
            raise self._failure(error) from None
        self.file: IO[bytes] = os.fdopen(handle, "wb", buffering=0)

    @property
    def partial_path(self) -> Path | None:
        """The unfinished file, while there is one."""
        return self._partial

    def write(self, data: bytes) -> None:
        """Write all of it. Raises OutputError."""
        view = memoryview(data)
        try:
            while view:
                view = view[self.file.write(view) :]
        except OSError as error:
            raise self._failure(error) from None
        self._whole += len(data)

    def finish(self) -> None:
        """Sync it to the disk and give it its name. Raises OutputError."""
        try:
            os.fsync(self.file.fileno())
            # Renamed while it is still locked: another run that waits for the name must not get this file.
            if self._partial:
                self._partial.replace(self._goal)
            self.file.close()
        except OSError as error:
            raise self._failure(error) from None
        self._partial = None

    def abandon(self) -> None:
        """Cut off what is not whole and close it under its unfinished name."""
        if not self.file.closed:
            with suppress(OSError):
                os.ftruncate(self.file.fileno(), self._whole)
            self.file.close()
            if self._whole == 0:
                self.discard()

    def discard(self) -> None:
        """Remove it: nothing in it can be read."""
        self.file.close()
        if self._partial:
            self._partial.unlink(missing_ok=True)
        self._partial = None

    def keep(self) -> None:
        """Count as whole what another writer put into it."""
        self._whole = os.fstat(self.file.fileno()).st_size

    def become(self, other: "PartialFile") -> None:
        """Take over what `other` wrote, under this file's unfinished name. Raises OutputError."""
        try:
            if self._partial and other._partial:
                other._partial.replace(self._partial)
        except OSError as error:
            raise self._failure(error) from None
        self.file.close()
        self.file, self._whole, other._partial = other.file, other._whole, None

    def _failure(self, error: OSError) -> OutputError:
        if error.errno == errno.ENOENT:
            return OutputError(f"cannot write {self.path}: there is no folder {self.path.parent}")
        if error.errno == errno.EWOULDBLOCK:
            return OutputError(f"cannot write {self.path}: another run is writing it")
        return OutputError(f"cannot write {self.path}: {reason(error)}")


class Direct:
    """Stdout, a pipe or a device: no unfinished name, each row goes out at once."""

    partial_path = None

    def __init__(self, name: str, stream: IO[bytes]) -> None:
        self._name = name
        self._stream = stream

    def write(self, data: bytes) -> None:
        """Write and flush. Raises BrokenPipeError when the reader has left, OutputError for the rest."""
        try:
            self._stream.write(data)
            self._stream.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(f"cannot write {self._name}: {reason(error)}") from None

    def finish(self) -> None:
        """Nothing is left to do: what was written is out."""

    def abandon(self) -> None:
        """Nothing is left to do: what was written is out."""


class Device(Direct):
    """A pipe or a device that was opened by its name."""

    def __init__(self, path: Path) -> None:
        """Open it. Raises OutputError."""
        try:
            super().__init__(str(path), path.open("wb", buffering=0))
        except OSError as error:
            raise OutputError(f"cannot write {path}: {reason(error)}") from None

    def finish(self) -> None:
        """Close it."""
        self._stream.close()

    abandon = finish


def open_target(path: Path) -> Target:
    """The target that `path` names. Raises OutputError for a folder and for what cannot be written."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return PartialFile(path)
    if stat.S_ISDIR(mode):
        raise OutputError(f"cannot write {path}: it is a folder; name a file in it")
    return PartialFile(path) if stat.S_ISREG(mode) else Device(path)


def _open_locked(path: Path) -> int:
    """An empty file of this name that is this process's alone. Raises OSError."""
    while True:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            _lock(handle)
            # Between the two another run may have given the file its final name: then it is not ours.
            if path.exists() and os.path.samestat(os.fstat(handle), path.stat()):
                os.ftruncate(handle, 0)
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _lock(handle: int) -> None:
    """Hold the file for this process, on file systems that can. Raises OSError when another holds it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno == errno.EWOULDBLOCK:
            raise
