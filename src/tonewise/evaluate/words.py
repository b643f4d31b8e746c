"""An evaluation's figures as words: shares in percent, intervals, and what a reader must know of them."""

import math
from collections.abc import Sequence

from tonewise.evaluate.evaluation import Evaluation
from tonewise.metrics import Interval

NAMES = {
    "accuracy": "accuracy",
    "micro_f1": "micro F1",
    "macro_f1": "macro F1",
    "weighted_f1": "weighted F1",
    "subset_accuracy": "all labels right",
    "auroc": "AUROC, macro",
    "ece": "ECE",
    "brier": "Brier",
}
LABELS_TOLD = 8


def share(value: float | None) -> str:
    """In percent; a dash for what is no number."""
    return "—" if value is None or math.isnan(value) else f"{value:.1%}"


def number(name: str, value: float) -> str:
    """A headline figure as its kind is written: Brier as it is, all others in percent."""
    if math.isnan(value):
        return "—"
    return f"{value:.3f}" if name == "brier" else f"{value:.2%}"


def interval(name: str, of: Interval) -> str:
    """`92.1 – 94.3`, in the figure's own unit; nothing where there is none."""
    if math.isnan(of.low):
        return ""
    unit, digits = (1, 3) if name == "brier" else (100, 1)
    return f"{of.low * unit:.{digits}f} – {of.high * unit:.{digits}f}"


def count(of: Evaluation) -> str:
    """How many texts, and what answered them."""
    on = f"{of.model['engine']} in {of.model['precision']}"
    return f"{len(of.gold):,} texts, {len(of.labels)} labels · {on} · {of.model['digest'][:19]}"


def shown(of: Evaluation) -> list[str]:
    """What a reader of the figures must know, a line each."""
    drawn = f"{of.made['draws']:,} bootstrap samples of the texts"
    lines = [f"Intervals hold 95% of {drawn}; that of ECE is the basic one, as chance only adds to it."]
    absent = [name for name, rows in zip(of.labels, of.by_label.support, strict=True) if not rows]
    if absent:
        more = f" and {len(absent) - LABELS_TOLD} more" if len(absent) > LABELS_TOLD else ""
        names = ", ".join(absent[:LABELS_TOLD]) + more
        lines.append(f"No text has the label {names}; macro figures are means over the other labels.")
    if of.abstained:
        lines.append(f"{of.abstained:.1%} of texts got no answer (abstained), which counts as a wrong one.")
    if of.truncated:
        most = of.model["max_length"]
        lines.append(f"{of.truncated:.1%} of texts are longer than {most} tokens and were cut.")
    return [*lines, *left_out(of.skipped)]


def left_out(skipped: Sequence[str]) -> list[str]:
    """How many rows were skipped and why the first of them was, in a line; no line where none was."""
    if not skipped:
        return []
    rows = "1 row was" if len(skipped) == 1 else f"{len(skipped):,} rows were"
    return [f"{rows} skipped; the first: {skipped[0]}"]


def label_table(of: Evaluation) -> tuple[list[str], list[list[str]]]:
    """Columns and rows: how each label fares."""
    columns = ["label", "precision", "recall", "F1", "support", "AUROC", *["threshold"] * bool(of.thresholds)]
    rows = []
    for row in of.label_rows():
        cells = [row["label"], *(share(row[name]) for name in ("precision", "recall", "f1"))]
        cells += [f"{row['support']:,}", share(row["auroc"])]
        rows.append(cells if of.thresholds is None else [*cells, f"{row['threshold']:.3f}"])
    return columns, rows


def slice_table(of: Evaluation) -> tuple[list[str], list[list[str]]]:
    """Columns and rows: how each slice fares. There must be one."""
    columns = ["column", "value", "rows"]
    for name in of.slices[0].figures:
        columns += [NAMES[name], "95%"]
    rows = []
    for one in of.slices:
        cells = [one.column, one.value, f"{one.count:,}"]
        for name, figure in one.figures.items():
            cells += [number(name, figure.value), interval(name, figure.interval)]
        rows.append(cells)
    return columns, rows
