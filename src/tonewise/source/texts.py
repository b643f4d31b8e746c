"""Texts that are at hand already, and what any source of rows offers to a run."""

from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Protocol, Self

from tonewise.errors import RowError
from tonewise.source.example import Example


class Rows(Protocol):
    """What a run reads: examples in order, once, and what their answers need to know of them."""

    columns: tuple[str, ...]
    text_column: str | None
    text_pair_column: str | None
    bytes_total: int | None

    @property
    def bytes_read(self) -> int:
        """Bytes that have passed so far."""
        ...

    def __iter__(self) -> Iterator[Example | RowError]: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def sha256(self) -> Mapping[str, str]:
        """Hex sha256 of each input that was read to its end, by its name."""
        ...


class Texts:
    """Rows that have no file and no columns: the arguments of a command, say."""

    columns: tuple[str, ...] = ()
    text_column: str | None = None
    text_pair_column: str | None = None
    bytes_total: int | None = None
    bytes_read = 0

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = texts

    def __iter__(self) -> Iterator[Example | RowError]:
        for number, text in enumerate(self._texts, 1):
            yield Example(text, id=number, where=f"text {number}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is open."""

    def sha256(self) -> Mapping[str, str]:
        """Nothing was read from a file."""
        return {}
