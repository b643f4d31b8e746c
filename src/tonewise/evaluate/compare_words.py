"""A comparison as tables of words, for a terminal or a page, and what a reader of them must know."""

from dataclasses import dataclass

from tonewise.benchmark.results import three_digits
from tonewise.evaluate.compare import Comparison, Difference, Row
from tonewise.evaluate.quality import Figure
from tonewise.metrics import Interval

BEST = "▸ "
LEGEND = (
    "Intervals hold 95% of {draws:,} bootstrap samples of the rows; that of ECE is the basic one, as chance "
    "only adds to it. Beside the best by {leading} (▸): the "
    "difference in points, its interval, and p, the chance of such a difference between models that are "
    "alike: McNemar's exact test for accuracy, a paired bootstrap for macro F1; each p is its pair's own.",
    "Speed: {turns} over {timed:,} of the texts, each in a process of its own. "
    "texts/s: many texts at once; p50: one at a time. memory: the peak of the process that answers many. "
    "per million: of texts like these, on this machine alone.",
)


@dataclass(frozen=True, slots=True)
class Table:
    """Columns and cells as words.

    left  columns that are names, from the first on
    best  places of the best model's rows
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: int
    best: frozenset[int]


def quality_table(comparison: Comparison) -> Table:
    """Accuracy, macro F1 and ECE, all models under each, and how the first two stand beside the best's."""
    exact = "all labels right" if comparison.multi_label else "accuracy"
    rows = []
    for name, title in (("accuracy", exact), ("macro_f1", "macro F1"), ("ece", "ECE")):
        for place, row in enumerate(comparison.rows):
            figure: Figure = getattr(row, name)
            cells = (f"{figure.value:.1%}", _range(figure.interval, "{:.1f}"))
            than = _difference((row.than_best or {}).get(name))
            rows.append(("" if place else title, _name(comparison, place), *cells, *than))
    models = len(comparison.rows)
    best = frozenset(range(comparison.best, len(rows), models))
    return Table(("figure", "model", "value", "95%", "beside the best", "p"), tuple(rows), 2, best)


def cost_table(comparison: Comparison) -> Table:
    """What each model takes to run, and on which terms."""
    priced = comparison.timing.price is not None
    cost = ("cost/million",) if priced else ()
    columns = ("model", "runs on", "texts/s", "p50 ms", "memory MB", "files MB", "h/million", *cost)
    rows = []
    for place, row in enumerate(comparison.rows):
        figures = (row.texts_per_second, row.p50_ms, row.peak_memory_mb, row.size_mb, row.hours_per_million)
        cells = [three_digits(one) or "–" for one in (*figures, *([row.cost_per_million] if priced else []))]
        rows.append((_name(comparison, place), f"{row.engine} {row.precision}", *cells))
    return Table(columns, tuple(rows), 1, frozenset([comparison.best]))


def terms(comparison: Comparison) -> list[str]:
    """A line a model: licence, terms of the data behind it, and why it has no speed, where it has none."""
    found = []
    for row in comparison.rows:
        told = [f"licence {row.licence or 'not stated'}", row.data_terms and f"data: {row.data_terms}"]
        mapped = row.map and f"labels mapped by {row.map}"
        broken = row.error and f"speed could not be measured: {row.error}"
        found.append(f"{row.ref}: {'; '.join(filter(None, (*told, mapped, broken)))}")
    return list(dict.fromkeys(found))


def legend(comparison: Comparison) -> list[str]:
    """How the figures are to be read: of quality, then of speed."""
    leading = "macro F1" if comparison.multi_label else "accuracy"
    rounds = comparison.timing.rounds
    known = {
        "leading": leading,
        "draws": comparison.draws,
        "turns": "one turn" if rounds == 1 else f"medians of {rounds} turns",
        "timed": comparison.timed,
    }
    return [line.format(**known) for line in LEGEND]


def heading(comparison: Comparison) -> str:
    """The data and the machine, in a line."""
    data, machine = comparison.data, comparison.machine
    on = f"{machine['processor']}, {machine['processors']} processors, {machine['memory_gb']:.0f} GB"
    return f"{data['rows']:,} texts, {len(data['labels'])} labels: {', '.join(data['files'])} · {on}"


def _name(comparison: Comparison, place: int) -> str:
    row: Row = comparison.rows[place]
    return f"{BEST if place == comparison.best else ''}{row.ref}"


def _difference(one: Difference | None) -> tuple[str, str]:
    """In points, with its interval; and p."""
    if one is None:
        return "", ""
    return f"{100 * one.value:+.1f} ({_range(one.interval, '{:+.1f}')})", _p(one.p)


def _range(interval: Interval, form: str) -> str:
    return " to ".join(form.format(100 * one) for one in (interval.low, interval.high))


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
