"""`tonewise calibrate`: where the bundle is, what was refitted, and what that gave on the other half."""

from collections.abc import Sequence
from pathlib import Path

from tonewise.cli.evaluate import for_many
from tonewise.cli.labels import read_files
from tonewise.cli.texts import told_on_terminal
from tonewise.config import Config
from tonewise.evaluate.calibrate import Calibrated, calibrate
from tonewise.evaluate.quality import Figure
from tonewise.evaluate.words import interval, left_out, number
from tonewise.source.labelled import Labels
from tonewise.store.writing import check_new_folder


def calibrate_model(
    ref: str, data: Sequence[str], config: Config, labels: Labels, *, head: str | None, output: str
) -> None:
    """Read, fit, measure, write, and tell. Raises as `tonewise.evaluate.calibrate` does."""
    check_new_folder(Path(output))
    labelled = read_files(data, config, labels)
    with told_on_terminal() as progress:
        done = calibrate(ref, labelled, Path(output), config=for_many(config), head=head, progress=progress)
    told = [f"{done.folder}  {done.digest}", _refitted(done), _measured(done), *left_out(done.skipped)]
    print("\n".join(told))


def _refitted(done: Calibrated) -> str:
    told = f"{done.head}: temperature {done.old.temperature:.4g} → {done.new.temperature:.4g}"
    if done.new.thresholds is None:
        return told
    low, high = min(done.new.thresholds), max(done.new.thresholds)
    return f"{told}, {len(done.new.thresholds)} thresholds from {low:.3f} to {high:.3f}"


def _measured(done: Calibrated) -> str:
    pairs = (
        ("ece", "ECE", done.before.ece, done.after.ece),
        ("macro_f1", "macro F1", done.before.macro_f1, done.after.macro_f1),
    )
    told = [f"{name} {_figure(key, before)} → {_figure(key, after)}" for key, name, before, after in pairs]
    rows = f"fitted on {done.fitted:,} texts and measured on {done.held:,} others"
    return f"{', '.join(told)}: {rows}; what is written is fitted on all {done.fitted + done.held:,}"


def _figure(name: str, figure: Figure) -> str:
    return f"{number(name, figure.value)} ({interval(name, figure.interval)})"
