"""A comparison as one HTML page that needs nothing beside itself, with its picture: quality against speed."""

from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter, PercentFormatter

from tonewise.benchmark.results import three_digits
from tonewise.evaluate.compare import Comparison, Row
from tonewise.evaluate.compare_words import Table, cost_table, heading, legend, quality_table, terms
from tonewise.evaluate.pictures import BLUE, INK, as_svg
from tonewise.evaluate.report import STYLE

OTHER = "#8a9299"
"""Of the models that are not the best."""
SIZE = (8.0, 4.4)
"""Inches."""
WIDE = 4
"""Speeds that differ by more than this stand on a logarithmic axis."""
LONGEST = 40


def page(comparison: Comparison) -> str:
    """The page. Every name in it is escaped; the picture is inside."""
    return "\n".join(_page(comparison)) + "\n"


def _page(of: Comparison) -> Iterator[str]:
    yield '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>Models side by side</title>\n<style>{STYLE}tr.best .l {{ color: var(--mark) }}</style>"
    yield f"</head>\n<body>\n<h1>Models side by side</h1>\n<p>{escape(heading(of))}</p>"
    yield f"<figure>{as_svg(picture(of))}</figure>"
    on_quality, on_speed = legend(of)
    for title, table, told in (
        ("Quality", quality_table(of), [on_quality]),
        ("Speed, memory, size", cost_table(of), [on_speed]),
    ):
        yield from _section(title, [*_table(table), *_lines(told)])
    yield from _section("Terms", _lines(terms(of)))
    yield from _section("What was compared", _lines(_facts(of)))
    yield "</body>\n</html>"


def _section(title: str, inside: Sequence[str]) -> Iterator[str]:
    yield f"<section>\n<h2>{title}</h2>"
    yield from inside
    yield "</section>"


def _lines(lines: Sequence[str]) -> list[str]:
    return [f"<p>{escape(line)}</p>" for line in lines]


def _table(table: Table) -> Iterator[str]:
    """Names stand at the left."""
    yield '<div class="wide"><table>'
    yield _row("th", table.columns, table.left, "")
    for place, row in enumerate(table.rows):
        yield _row("td", row, table.left, ' class="best"' if place in table.best else "")
    yield "</table></div>"


def _row(tag: str, cells: Sequence[str], left: int, mark: str) -> str:
    sides = [' class="l"' if place < left else "" for place in range(len(cells))]
    inside = (f"<{tag}{side}>{escape(cell)}</{tag}>" for side, cell in zip(sides, cells, strict=True))
    return f"<tr{mark}>{''.join(inside)}</tr>"


def _facts(of: Comparison) -> list[str]:
    """What the figures can be had from again."""
    models = [f"{row.ref}, head {row.head}: {row.digest}" for row in of.rows]
    files = [f"{name}: sha256 {sha}" for name, sha in of.data["files"].items()]
    versions = ", ".join(f"{name} {number}" for name, number in of.machine["versions"].items())
    return [*models, *files, f"Python {of.machine['python']}, {versions}; seed {of.seed}"]


def picture(of: Comparison) -> Figure:
    """Accuracy, or macro F1 for several labels a text, with its interval, over texts/s.

    Models without a measured speed are left out.
    """
    figure = Figure(figsize=SIZE, layout="constrained")
    FigureCanvasAgg(figure)
    axes: Any = figure.subplots()
    speeds = []
    for place, row in enumerate(of.rows):
        if row.texts_per_second:
            speeds.append(row.texts_per_second)
            _point(axes, row, row.texts_per_second, of, best=place == of.best)
    _frame(axes, "macro F1" if of.multi_label else "accuracy", speeds)
    return figure


def _point(axes: Any, row: Row, speed: float, of: Comparison, *, best: bool) -> None:
    found = row.macro_f1 if of.multi_label else row.accuracy
    bars = [[max(0.0, found.value - found.interval.low)], [max(0.0, found.interval.high - found.value)]]
    axes.errorbar(speed, found.value, bars, fmt="o", color=BLUE if best else OTHER, capsize=3)
    name = row.ref if len(row.ref) <= LONGEST else f"…{row.ref[1 - LONGEST :]}"
    told = f"{name}\n{three_digits(row.size_mb)} MB, {row.engine} {row.precision}"
    how = {"textcoords": "offset points", "fontsize": 8, "color": INK, "parse_math": False}
    axes.annotate(told, (speed, found.value), (8, 4), **how)


def _frame(axes: Any, name: str, speeds: Sequence[float]) -> None:
    """The axes, with room for words to the right of the fastest."""
    if speeds and max(speeds) > WIDE * min(speeds):
        axes.set_xscale("log")
        least, most = min(speeds), max(speeds)
        axes.set_xlim(least / 1.5, most * (most / least) ** 0.45 * 1.5)
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_xlim(0, 1.45 * max(speeds, default=1))
    axes.set_xlabel("texts a second, many at once", color=INK)
    axes.set_ylabel(f"{name}, 95% interval", color=INK)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=1))
    axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.tick_params(colors=INK, labelsize=8, which="both")
    axes.grid(color=OTHER, alpha=0.2)
    axes.set_axisbelow(True)
    for place, spine in axes.spines.items():
        spine.set_visible(place in ("left", "bottom"))
        spine.set_color(INK)
