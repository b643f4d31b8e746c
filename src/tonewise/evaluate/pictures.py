"""Pictures of how good a model is: confusion, reliability, a histogram of scores (extra `plot`)."""

import io
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from tonewise.metrics import Reliability

INK, BLUE, ORANGE, GREY = "#1f2328", "#3b7dd8", "#d9822b", "#8a9299"
"""Of text and axes, which a page shows in its own colour; of what is right; of what is not; of neither."""
PLAIN: dict[Any, Any] = {"font.family": "sans-serif", "font.size": 9, "text.parse_math": False}
MOST_NUMBERED, MOST_NAMED = 30, 80
"""Labels up to which a matrix has numbers in its cells, and names at its sides."""
LONGEST_NAME = 24
BINS = 20


@rc_context(PLAIN)
def confusion_matrix(labels: Sequence[str], table: NDArray[np.int64]) -> Figure:
    """Rows of gold int64[L, L or L + 1], each shaded by its shares; a last column of abstained, if any."""
    names = [_short(label) for label in labels]
    known = table if table.shape[1] > len(labels) and table[:, -1].any() else table[:, : len(labels)]
    columns = [*names, "(abstained)"][: known.shape[1]]
    shares = known / np.maximum(known.sum(axis=1, keepdims=True), 1)
    side = min(9.0, 2.2 + 0.42 * len(names))
    figure, axes = _figure(side + 0.6, side)
    axes.imshow(_shaded(shares), aspect="auto", interpolation="nearest")
    size = max(3.5, min(9.0, 170 / len(names)))
    if len(names) <= MOST_NAMED:
        axes.set_xticks(range(len(columns)), columns, rotation=45, ha="right", fontsize=size)
        axes.set_yticks(range(len(names)), names, fontsize=size)
    else:
        axes.set(xticks=[], yticks=[])
    if len(names) <= MOST_NUMBERED:
        for row, column in np.argwhere(known > 0):
            colour = "white" if shares[row, column] > 0.6 else INK
            told = f"{known[row, column]:,}"
            axes.text(column, row, told, ha="center", va="center", fontsize=size * 0.9, color=colour)
    axes.set_xlabel("found")
    axes.set_ylabel("gold")
    return figure


@rc_context(PLAIN)
def reliability_diagram(bins: Reliability, ece: float) -> Figure:
    """Accuracy over confidence, a point a bin, beside the line on which both are equal."""
    figure, axes = _figure(4.6, 4.2)
    axes.plot((0, 1), (0, 1), color=INK, linewidth=0.8, linestyle=(0, (4, 3)), alpha=0.6)
    axes.vlines(bins.confidence, bins.confidence, bins.accuracy, color=ORANGE, linewidth=2, alpha=0.7)
    axes.plot(bins.confidence, bins.accuracy, color=BLUE, marker="o", markersize=4, linewidth=1.4)
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="confidence", ylabel="accuracy")
    axes.text(0.03, 0.95, f"ECE {ece:.2%}, {len(bins.count)} bins of equal mass", color=INK)
    _as_shares(axes)
    return figure


@rc_context(PLAIN)
def score_histogram(confidence: NDArray[Any], correct: NDArray[np.bool_]) -> Figure:
    """How many answers, float[N] and bool[N], have which score: right ones below, wrong ones on top."""
    figure, axes = _figure(4.6, 4.2)
    edges = np.linspace(0, 1, BINS + 1)
    right, _ = np.histogram(confidence[correct], edges)
    wrong, _ = np.histogram(confidence[~correct], edges)
    how = {"width": 1 / BINS, "align": "edge", "linewidth": 0}
    axes.bar(edges[:-1], right, color=BLUE, label="right", **how)
    axes.bar(edges[:-1], wrong, bottom=right, color=ORANGE, label="wrong", **how)
    axes.set(xlim=(0, 1), xlabel="score", ylabel="answers")
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    _legend_above(axes)
    return figure


@rc_context(PLAIN)
def scores_apart(scores: NDArray[Any], holds: NDArray[np.bool_]) -> Figure:
    """Where the scores float[N] of labels that hold lie, bool[N], and where those of the others.

    Each as shares of its own number: of most texts few labels hold, and counts would hide these.
    """
    figure, axes = _figure(4.6, 4.2)
    edges = np.linspace(0, 1, BINS + 1)
    for some, colour, name in ((holds, BLUE, "the label holds"), (~holds, GREY, "it does not")):
        shares = np.histogram(scores[some], edges)[0] / max(1, some.sum())
        axes.stairs(shares, edges, color=colour, fill=True, alpha=0.35)
        axes.stairs(shares, edges, color=colour, linewidth=1.2, label=f"{name} ({some.sum():,})")
    axes.set(xlim=(0, 1), xlabel="score", ylabel="share")
    _as_shares(axes)
    _legend_above(axes)
    return figure


def as_svg(figure: Figure) -> str:
    """The picture as an `<svg>` for a page: its ink in the page's own colour, naming nothing outside."""
    file = io.StringIO()
    with rc_context({**PLAIN, "svg.fonttype": "none", "svg.hashsalt": "tonewise"}):
        figure.savefig(file, format="svg", transparent=True, bbox_inches="tight", metadata={"Date": None})
    whole = file.getvalue()
    drawn = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", whole[whole.index("<svg") :], flags=re.DOTALL)
    drawn = re.sub(r' xmlns(:\w+)?="[^"]*"', "", drawn)  # a page knows them
    return drawn.replace(INK, "currentColor")


def as_png(figure: Figure) -> bytes:
    """The picture on white, for a model card."""
    file = io.BytesIO()
    with rc_context(PLAIN):
        figure.savefig(file, format="png", dpi=150, facecolor="white", bbox_inches="tight")
    return file.getvalue()


def _figure(width: float, height: float) -> tuple[Figure, Any]:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes: Any = figure.subplots()
    axes.tick_params(colors=INK, length=2.5)
    for place, spine in axes.spines.items():
        spine.set_visible(place in ("left", "bottom"))
        spine.set_color(INK)
        spine.set_linewidth(0.6)
    axes.xaxis.label.set_color(INK)
    axes.yaxis.label.set_color(INK)
    return figure, axes


def _shaded(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """RGBA: blue, the less clear the smaller the share, so that it stands on any ground."""
    picture = np.empty((*shares.shape, 4))
    picture[:] = to_rgba(BLUE)
    picture[..., 3] = shares**0.7
    return picture


def _legend_above(axes: Any) -> None:
    """The legend over the axes, where it covers nothing."""
    axes.legend(frameon=False, labelcolor=INK, loc="lower right", bbox_to_anchor=(1, 1), ncols=2)


def _as_shares(axes: Any) -> None:
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1, decimals=0))


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"
