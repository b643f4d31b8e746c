"""The results as a picture: throughput beside the time of one text, grouped by model."""

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from tonewise.benchmark.results import Results, Row, three_digits
from tonewise.errors import MissingExtraError

Value = Callable[[Row], float | None]
Words = Callable[[Row], str]
COLOURS = {"int8": "#0072b2", "bf16": "#e69f00", "fp32": "#7f8c8d"}  # told apart by the colour-blind too
INK, FAINT = "#222222", "#6b6b6b"
WIDTH, ROW, HEADING, FRAME = 10.0, 0.32, 0.40, 1.4
"""Inches: of the picture, a row, a model's heading, and what stands above and below."""
MARGIN, LEFT = 0.015, 0.16
"""Of the width: where titles begin, and where bars do."""
LONGEST_REASON, LONGEST_TITLE = 130, 95
ROOM_BULK, ROOM_SINGLE = 1.25, 1.75
"""Width of a panel in longest bars: their labels stand to the right."""


@dataclass(frozen=True, slots=True)
class _Line:
    """A row of the picture and where it stands, in rows from the top; a heading has no row."""

    place: float
    title: str
    row: Row | None = None


def check_matplotlib() -> None:
    """Raise MissingExtraError unless pictures can be drawn."""
    if find_spec("matplotlib") is None:
        raise MissingExtraError("matplotlib", "plot")


def draw(results: Results) -> bytes:
    """A PNG. Raises MissingExtraError without matplotlib."""
    check_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lines = list(_lines(results))
    depth = lines[-1].place + 0.5
    height = FRAME + ROW * (depth + 0.5)
    figure = Figure(figsize=(WIDTH, height), dpi=160, facecolor="white")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, sharey=True, gridspec_kw={"width_ratios": (3, 2)})
    figure.subplots_adjust(LEFT, 0.25 / height, 0.985, 1 - (FRAME - 0.25) / height, wspace=0.04)
    left.set_ylim(depth, -0.5)
    scale = ", each model to its own scale" if len(results.models) > 1 else ""
    _panel(left, f"many texts at once, texts/s: more is better{scale}", ROOM_BULK)
    _panel(right, "one text, p50 in ms: less is better", ROOM_SINGLE)
    for model in results.models:
        some = [line for line in lines if line.row and line.row.model == model.ref]
        _bars(left, some, lambda row: row.texts_per_second)
        _bars(right, some, lambda row: row.p50_ms, lambda row: f"  (p99 {three_digits(row.p99_ms)})")
    _titles(left, lines)
    _head(figure, results, height)
    _legend(figure, results.rows, height)
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def _lines(results: Results) -> Iterator[_Line]:
    """Model by model, the fastest first, what could not be measured last."""
    place = 0.0
    for model in results.models:
        tokens = "" if model.tokens_mean is None else f"  ·  {model.tokens_mean:.0f} tokens a text"
        yield _Line(place, f"{model.ref}{tokens}")
        place += HEADING / ROW
        some = [row for row in results.rows if row.model == model.ref]
        for row in sorted(some, key=lambda row: -(row.texts_per_second or 0)):
            yield _Line(place, f"{row.engine}  {row.precision}", row)
            place += 1
        place += 0.4


def _panel(axes: Any, title: str, room: float) -> None:
    axes.set_xlim(0, room)
    axes.set_title(title, fontsize=9, loc="left", color=INK, pad=8)
    axes.patch.set_visible(False)  # what is written on the left may reach over here
    axes.axis("off")


def _bars(axes: Any, lines: Sequence[_Line], value_of: Value, more: Words = lambda row: "") -> None:
    """A model's bars in one panel, each with its value; the longest has length 1."""
    measured = [(line, line.row) for line in lines if line.row and not line.row.error]
    most = max((value_of(row) or 0 for _, row in measured), default=0) or 1
    for line, row in measured:
        length = (value_of(row) or 0) / most
        axes.barh(line.place, length, height=0.68, color=COLOURS[row.precision])
        at = {"textcoords": "offset points", "va": "center"}
        label = axes.annotate(
            three_digits(value_of(row)), (length, line.place), (4, 0), fontsize=9, color=INK, **at
        )
        axes.annotate(more(row), (1, 0.5), xycoords=label, va="center", fontsize=7.5, color=FAINT)
    if measured:
        ends = (measured[0][0].place - 0.45, measured[-1][0].place + 0.45)
        axes.plot((0, 0), ends, color="#bbbbbb", linewidth=0.8)


def _titles(axes: Any, lines: Sequence[_Line]) -> None:
    """Engines beside their bars, models above theirs, reasons where there are no bars."""
    from matplotlib.transforms import blended_transform_factory

    across = blended_transform_factory(axes.figure.transFigure, axes.transData)
    how = {"transform": across, "va": "center", "parse_math": False}
    for line in lines:
        if line.row is None:
            title = _cut(line.title, LONGEST_TITLE)
            axes.text(MARGIN, line.place, title, fontsize=10, weight="bold", color=INK, **how)
            continue
        axes.text(LEFT - 0.008, line.place, line.title, ha="right", fontsize=9, color=INK, **how)
        if line.row.error:
            told = _cut(line.row.error, LONGEST_REASON)
            axes.text(LEFT + 0.006, line.place, told, fontsize=7.5, style="italic", color=FAINT, **how)


def _head(figure: Any, results: Results, height: float) -> None:
    """What was measured, on what."""
    machine, texts = results.machine, results.texts
    on = f"{machine['processor']}, {machine['processors']} processors, {machine['memory_gb']:.0f} GB"
    what = f"{texts['count']:,} texts: {texts['source']}  ·  medians of {results.rounds}"
    how = {"va": "center", "parse_math": False}
    figure.text(MARGIN, 1 - 0.25 / height, "tonewise bench", fontsize=13, weight="bold", color=INK, **how)
    told = _cut(f"{on}  ·  {what}", LONGEST_REASON)
    figure.text(MARGIN, 1 - 0.52 / height, told, fontsize=8.5, color=FAINT, **how)


def _legend(figure: Any, rows: Sequence[Row], height: float) -> None:
    """The colours that are there, at the top right."""
    shown = {row.precision for row in rows if not row.error}
    place = 0.985
    for name in [one for one in reversed(COLOURS) if one in shown]:
        how = {"ha": "right", "va": "center", "fontsize": 9, "color": COLOURS[name]}
        figure.text(place, 1 - 0.25 / height, f"■ {name}", **how)
        place -= 0.065


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
