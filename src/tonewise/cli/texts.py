"""The texts of one file, at hand all at once, and the line that tells how far their command is."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tonewise.config import SourceConfig
from tonewise.errors import RowError
from tonewise.source import open_source
from tonewise.tokenizer import Text


def read_texts(name: str, config: SourceConfig, most: int | None = None) -> tuple[list[Text], bool]:
    """A file's texts, up to `most`, and whether these are all. Raises InputError, RowError for a bad row."""
    found: list[Text] = []
    with open_source([name], config) as source:
        for item in source:
            if isinstance(item, RowError):
                raise item
            if len(found) == most:
                return found, False
            found.append(item.text if item.text_pair is None else (item.text, item.text_pair))
    return found, True


@contextmanager
def told_on_terminal() -> Iterator[Callable[[str], None]]:
    """A line that changes on a terminal; nothing in a pipe."""
    if not sys.stderr.isatty():
        yield lambda told: None
        return
    from rich.console import Console
    from rich.text import Text as Line

    with Console(stderr=True).status("") as status:
        yield lambda told: status.update(Line(told))
