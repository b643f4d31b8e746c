"""Pictures of how a model came to be: the training curve, and the study that chose the recipe."""

from collections.abc import Sequence
from itertools import accumulate
from math import isnan
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from tonewise.evaluate.pictures import BLUE, INK, ORANGE
from tonewise.train.facts import Epoch, Tuning

SIZE, WIDE = (6.4, 3.4), (8.0, 3.4)
"""Inches."""


def training_curve(history: Sequence[Epoch], metric: str, best: float | None) -> Figure:
    """Loss and metric over the epochs, the epoch `best` marked; the loss alone where there is no metric."""
    figure = Figure(figsize=SIZE, layout="constrained")
    FigureCanvasAgg(figure)
    left: Any = figure.subplots()
    numbers = [one.number for one in history]
    left.plot(numbers, [one.loss for one in history], color=ORANGE, marker="o", markersize=4)
    curves = [(left, "loss", ORANGE)]
    if not all(isnan(one.metric) for one in history):
        right: Any = left.twinx()
        right.plot(numbers, [one.metric for one in history], color=BLUE, marker="o", markersize=4)
        right.margins(y=0.15)
        curves.append((right, metric, BLUE))
    for axes, name, colour in curves:
        axes.set_ylabel(name, color=colour, parse_math=False)
        axes.tick_params(axis="y", colors=colour, labelsize=8)
        axes.spines[["top", "left", "right"]].set_visible(False)
    left.set_xlabel("epoch", color=INK)
    left.tick_params(axis="x", colors=INK, labelsize=8)
    left.set(xlim=(min(numbers) - 0.5, max(numbers) + 0.5), ylim=(0, None))
    left.xaxis.set_major_locator(MaxNLocator(integer=True))
    for one in history:
        if one.number == best and len(curves) > 1:
            right.plot(one.number, one.metric, "o", color=BLUE, markersize=11, fillstyle="none")
            how = {"textcoords": "offset points", "ha": "center", "fontsize": 8, "color": BLUE}
            right.annotate(f"kept: {one.metric:.3f}", (one.number, one.metric), (0, -17), **how)
    return figure


def tuning_history(tuning: Tuning) -> Figure:
    """The metric of each trial and the best so far, and beside it the metric over the learning rate."""
    figure = Figure(figsize=WIDE, layout="constrained")
    FigureCanvasAgg(figure)
    ended = [(place, one) for place, one in enumerate(tuning.trials) if one.metric is not None]
    metrics = [one.metric or 0.0 for _, one in ended]
    rates = [one.knobs.get("learning_rate") for _, one in ended]
    by_rate = len({rate for rate in rates if rate is not None}) > 1
    panels: Any = figure.subplots(1, 1 + by_rate, sharey=True, squeeze=False)[0]
    numbers = [place + 1 for place, _ in ended]
    _points(panels[0], numbers, metrics, [place == tuning.best for place, _ in ended])
    so_far = [*accumulate(metrics, max), max(metrics)]
    panels[0].step([*numbers, len(tuning.trials)], so_far, where="post", color=ORANGE, linewidth=1.2)
    early = [place + 1 for place, one in enumerate(tuning.trials) if one.metric is None]
    limits = panels[0].get_ylim()
    panels[0].plot(early, [limits[0]] * len(early), "x", color=INK, markersize=5, clip_on=False, alpha=0.6)
    panels[0].set_ylim(limits)
    panels[0].set_xlim(0.5, len(tuning.trials) + 0.5)
    panels[0].set_xlabel(f"trial; 1 has the defaults{', × ended early' if early else ''}", color=INK)
    panels[0].set_ylabel("macro F1, held out", color=INK)
    panels[0].xaxis.set_major_locator(MaxNLocator(integer=True))
    if by_rate:
        _points(panels[1], rates, metrics, [place == tuning.best for place, _ in ended])
        panels[1].set_xscale("log")
        panels[1].xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panels[1].xaxis.set_major_formatter(FuncFormatter(lambda rate, _: f"{rate:.0e}".replace("e-0", "e-")))
        panels[1].xaxis.set_minor_formatter(NullFormatter())
        panels[1].set_xlabel("learning rate", color=INK)
    return figure


def _points(axes: Any, x: Sequence[Any], y: Sequence[float], best: Sequence[bool]) -> None:
    """Dots, the best one ringed."""
    axes.plot(x, y, "o", color=BLUE, markersize=4.5, alpha=0.85)
    axes.plot(
        [one for one, ringed in zip(x, best, strict=True) if ringed],
        [one for one, ringed in zip(y, best, strict=True) if ringed],
        "o",
        color=BLUE,
        markersize=11,
        fillstyle="none",
    )
    axes.tick_params(colors=INK, labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(y=0.15)
