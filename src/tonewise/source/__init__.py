"""Stage 1 · files, streams and frames → Examples, one at a time and never all at once."""

from tonewise.source.example import Example
from tonewise.source.files import Source, open_source
from tonewise.source.frames import frame_columns, frame_texts, frame_with, kind_of_frame
from tonewise.source.inputs import format_of
from tonewise.source.python import examples_of
from tonewise.source.table import check_clash

__all__ = [
    "Example",
    "Source",
    "check_clash",
    "examples_of",
    "format_of",
    "frame_columns",
    "frame_texts",
    "frame_with",
    "kind_of_frame",
    "open_source",
]
