"""OUTPUT.errors.jsonl: the rows that were skipped, where and why; no file when there are none."""

from pathlib import Path
from typing import Any, Self

from tonewise.errors import OutputError, RowError
from tonewise.sinks.partial import PartialFile
from tonewise.sinks.values import to_json
from tonewise.source import Example
from tonewise.store.files import reason


class ErrorsFile:
    """Skipped rows, each on the disk as soon as it is known.

    A row is `{"where", "code", "reason"}`, and where the input could be read also "id", "text", "fields".
    """

    def __init__(self, output: Path) -> None:
        """Name it after `output`; nothing is created before the first error."""
        self.path = output.with_name(f"{output.name}.errors.jsonl")
        self.rows_written = 0
        self._file: PartialFile | None = None

    @property
    def partial_path(self) -> Path | None:
        """The unfinished file, while there is one."""
        return self._file.partial_path if self._file else None

    def write(self, error: RowError, example: Example | None = None) -> None:
        """Add one row, with its text and fields where it could be read. Raises OutputError."""
        entry: dict[str, Any] = {"where": error.where, "code": error.code, "reason": error.reason}
        if example is not None:
            entry |= {"id": example.id, "text": example.text, "fields": example.fields}
        self._file = self._file or PartialFile(self.path)
        self._file.write(f"{to_json(entry)}\n".encode(errors="backslashreplace"))
        self.rows_written += 1

    def close(self) -> None:
        """Give the file its name; without errors, remove what an earlier run left. Raises OutputError."""
        if self._file:
            self._file.finish()
            return
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"cannot remove {self.path} of an earlier run: {reason(error)}") from None

    def stop(self) -> None:
        """Leave the rows so far in the unfinished file. Raises nothing."""
        if self._file:
            self._file.abandon()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        if kind is None:
            self.close()
        else:
            self.stop()
