"""Stage 6's contract: answers in, rows out; a stop leaves whole rows behind."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Self

from tonewise.head import Prediction
from tonewise.source import Example


class Sink(ABC):
    """One output. As a context manager it closes when the block ends well and stops when it does not.

    rows_written  rows handed over; after a failure, those that the unfinished file really holds
    """

    rows_written: int = 0

    @property
    @abstractmethod
    def partial_path(self) -> Path | None:
        """The unfinished file, while there is one: what to name after a stop."""

    @abstractmethod
    def write(self, example: Example, prediction: Prediction) -> None:
        """Add one row. Raises OutputError, and BrokenPipeError when the reader of stdout has left."""

    @abstractmethod
    def close(self) -> None:
        """Make the output whole. Raises OutputError; call it once, after the last row."""

    @abstractmethod
    def stop(self) -> None:
        """Leave the rows so far in the unfinished file. Raises nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        if kind is not None:
            self.stop()
            return
        try:
            self.close()
        except BaseException:
            self.stop()
            raise
