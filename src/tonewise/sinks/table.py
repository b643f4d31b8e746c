"""A table for the terminal: one line a text, shortened to the width, a bar for each score."""

import re
import shutil
import time
from io import StringIO
from pathlib import Path

from tonewise.config import SinkConfig
from tonewise.head import HeadPrediction, HeadShape, Prediction, best_scores
from tonewise.sinks.base import Sink
from tonewise.sinks.partial import Target
from tonewise.sinks.record import AnswerSchema
from tonewise.source import Example

CHUNK_ROWS = 50
CHUNK_SECONDS = 0.2
TEXT_CELLS = 16  # at least, however narrow the terminal is
BAR_CELLS = 8
SCORE_CELLS = BAR_CELLS + 6
UNCERTAINTY_CELLS = 7
EIGHTHS = " ▏▎▍▌▋▊▉"
# what would move the cursor, colour the screen or turn the line around
CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")


class TableSink(Sink):
    """Rows in columns of fixed width, so that they can be shown as they come."""

    def __init__(
        self,
        target: Target,
        schema: AnswerSchema,
        config: SinkConfig,
        *,
        colour: bool = False,
        width: int | None = None,
        encoding: str = "utf-8",
    ) -> None:
        self._target = target
        self._schema = schema
        self._config = config
        self._colour = colour
        self._width = width or shutil.get_terminal_size((100, 24)).columns
        self._encoding = encoding
        self._pending: list[tuple[Example, Prediction]] = []
        self._widths: list[int] = []
        self._shown_at = time.monotonic()

    @property
    def partial_path(self) -> Path | None:
        """The unfinished file, while there is one."""
        return self._target.partial_path

    def write(self, example: Example, prediction: Prediction) -> None:
        """Add one row; shown at once when rows come slowly. Raises OutputError, BrokenPipeError."""
        self._pending.append((example, prediction))
        self.rows_written += 1
        if len(self._pending) >= CHUNK_ROWS or time.monotonic() - self._shown_at > CHUNK_SECONDS:
            self._show()

    def close(self) -> None:
        """Show the rest. Raises OutputError, BrokenPipeError."""
        if self._pending or not self._widths:
            self._show()
        self._target.finish()

    def stop(self) -> None:
        """Leave the rows that were shown."""
        self.rows_written -= len(self._pending)
        self._target.abandon()

    def _show(self) -> None:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        first = not self._widths
        self._widths = self._widths or self._measure()
        table = Table(box=None, show_header=first, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        for name, width in zip(self._headers(), self._widths, strict=True):
            table.add_column(Text(name), width=width, no_wrap=True, overflow="ellipsis")
        for example, prediction in self._pending:
            table.add_row(*(Text(text, style) for text, style in self._cells(example, prediction)))
        console = Console(
            file=StringIO(),
            width=max(self._width, sum(self._widths) + 2 * len(self._widths)),
            force_terminal=self._colour,
            no_color=not self._colour,
        )
        with console.capture() as captured:
            console.print(table)
        lines = "".join(f"{line.rstrip()}\n" for line in captured.get().splitlines())
        self._pending.clear()
        self._shown_at = time.monotonic()
        self._target.write(lines.encode(self._encoding, "replace"))

    def _headers(self) -> list[str]:
        names = ["id", "text"]
        for head in self._schema.heads:
            names += [head, "score", *(("entropy", "margin") if self._config.uncertainty else ())]
        return names

    def _measure(self) -> list[int]:
        """Cells of each column; the text has what the others leave."""
        ids = [6, *(len(str(example.id)) for example, _ in self._pending)]
        widths = [min(max(ids), 16)]
        for head, shape in self._schema.heads.items():
            widths += [_label_cells(head, shape, self._scores_shown(shape)), SCORE_CELLS]
            widths += [UNCERTAINTY_CELLS] * 2 if self._config.uncertainty else []
        rest = self._width - sum(widths) - 2 * (len(widths) + 1)
        return [widths[0], max(TEXT_CELLS, rest), *widths[1:]]

    def _scores_shown(self, shape: HeadShape) -> int:
        return self._config.top_k or (len(shape.labels) if self._config.scores else 1)

    def _cells(self, example: Example, prediction: Prediction) -> list[tuple[str, str]]:
        text = example.text if example.text_pair is None else f"{example.text} ⏐ {example.text_pair}"
        cells = [(str(example.id), "dim"), (CONTROLS.sub(" ", text[:1000]), "")]
        for head, shape in self._schema.heads.items():
            answer = prediction.heads[head]
            cells += [(_label(answer, self._scores_shown(shape)), "bold cyan"), (_bar(answer), "cyan")]
            if self._config.uncertainty:
                cells += [(_number(value), "") for value in (answer.entropy, answer.margin)]
        return cells


def _label_cells(head: str, shape: HeadShape, shown: int) -> int:
    longest = max(map(len, (head, *shape.labels)))
    if shown > 1:
        return min(48, (longest + 7) * shown)
    return min(24, longest * (2 if shape.multi_label else 1))


def _label(answer: HeadPrediction, shown: int) -> str:
    if shown > 1:
        return "  ".join(f"{label} {score:.2f}" for label, score in best_scores(answer, shown).items())
    if answer.labels is not None:
        return ", ".join(answer.labels) or "—"
    return answer.label or "—"


def _number(value: float | None) -> str:
    return "—" if value is None else f"{value:.2f}"


def _bar(answer: HeadPrediction) -> str:
    """`0.87 ██████▉`; of a regression the value alone."""
    if answer.label is None and answer.labels is None and not answer.abstained:
        return f"{answer.score:.4g}"
    full, part = divmod(round(min(max(answer.score, 0.0), 1.0) * BAR_CELLS * 8), 8)
    return f"{answer.score:.2f} {'█' * full}{EIGHTHS[part].strip()}"
