"""`tonewise evaluate`: the labelled files, the tables of what was measured, JSON, and a page."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from tonewise.cli.labels import read_files
from tonewise.cli.pages import prepared
from tonewise.cli.texts import told_on_terminal
from tonewise.config import Config
from tonewise.engines import choose_threads
from tonewise.evaluate.evaluation import Evaluation, evaluate
from tonewise.evaluate.words import NAMES, count, interval, label_table, number, shown, slice_table
from tonewise.sinks.table import CONTROLS
from tonewise.source.inputs import find_inputs
from tonewise.source.labelled import Labels
from tonewise.store.files import sha256_of, write_atomically

Side = Literal["left", "right"]
WIDTH_OF_PIPES = 120
LEAST_TEXT = 30
"""Characters of a mistake's text that a table shows, however narrow it is."""
WRITTEN = ("evaluation.json", "report.html")
MISTAKES = ("gold", "found", "score", "text", "where")


def evaluate_model(
    ref: str,
    data: Sequence[str],
    config: Config,
    labels: Labels,
    *,
    head: str | None,
    slices: Sequence[str],
    worst: int,
    draws: int,
    seed: int,
    as_json: bool,
    output: str | None,
) -> None:
    """Read, answer, measure, and show.

    Raises as `tonewise.evaluate.evaluate` does; before anything is read MissingExtraError where no page can
    be drawn, and OutputError where it cannot be written.
    """

    def is_same(held: Any) -> bool:
        model = held["model"]
        return model["ref"] == ref and head in (None, model["head"]) and is_of(held, data, config)

    folder = None if output is None else prepared(Path(output), WRITTEN, is_same)
    labelled = read_files(data, config, labels)
    with told_on_terminal() as progress:
        found = evaluate(
            ref,
            labelled,
            config=for_many(config),
            head=head,
            slices=slices,
            worst=worst,
            draws=draws,
            seed=seed,
            files=hashes(data, config),
            progress=progress,
        )
    written = json.dumps(found.to_json(), indent=2, ensure_ascii=False) + "\n"
    if folder:
        from tonewise.evaluate.report import report

        for name, text in zip(WRITTEN, (written, report(found)), strict=True):
            write_atomically(folder / name, text)
    if as_json:
        print(written, end="")
    else:
        _show(found)


def for_many(config: Config) -> Config:
    """The same settings with a stream for each thread, as many texts ask for."""
    streams = config.engine.streams or choose_threads(config.engine.threads)
    return replace(config, engine=replace(config.engine, streams=streams))


def is_of(held: Any, data: Sequence[str], config: Config) -> bool:
    """Whether a JSON that was written before is of these files, by their names; stdin has none."""
    inputs = find_inputs(data, config.source)
    names = {one.name for one in inputs}
    return all(one.path is not None for one in inputs) and set(held["data"]["files"]) == names


def hashes(data: Sequence[str], config: Config) -> Mapping[str, str]:
    """sha256 of each file by its name; nothing of stdin."""
    inputs = find_inputs(data, config.source)
    return {one.name: sha256_of(one.path) for one in inputs if one.path is not None}


def _show(of: Evaluation) -> None:
    """The headline, a table of the labels, slices, and a few of the worst mistakes."""
    from rich.console import Console
    from rich.text import Text as Line

    console = Console(width=None if sys.stdout.isatty() else WIDTH_OF_PIPES, highlight=False)
    with console.capture() as captured:
        console.print(Line(f"{of.model['ref']} · {of.model['head']}", "bold"))
        console.print(Line(count(of), "dim"), soft_wrap=True)
        console.print()
        console.print(_table(("", "", "95%"), _headline(of), left=1))
        console.print()
        console.print(_table(*label_table(of), left=1))
        if of.slices:
            console.print()
            console.print(_table(*slice_table(of), left=2))
        if of.worst:
            console.print(Line("\nmistakes that were made with the most confidence", "bold"))
            console.print(_table(MISTAKES, _worst(of, console.width), left=5))
        console.print()
        for told in shown(of):
            console.print(Line(told, "dim"), soft_wrap=True)
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, left: int) -> Any:
    """Words in columns, the first `left` of them at the left."""
    from rich.table import Table
    from rich.text import Text as Line

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for place, name in enumerate(columns):
        side: Side = "left" if place < left else "right"
        table.add_column(Line(name), justify=side, overflow="fold")
    for row in rows:
        table.add_row(*(Line(cell) for cell in row))
    return table


def _headline(of: Evaluation) -> list[tuple[str, str, str]]:
    return [
        (NAMES[name], number(name, one.value), interval(name, one.interval))
        for name, one in of.figures.items()
    ]


def _worst(of: Evaluation, width: int) -> list[list[str]]:
    """Each mistake in a line: its text has the width that the others leave."""
    rows = []
    for one in of.worst:
        score = f"{one.label} {one.score:.3f}" if of.multi_label else f"{one.score:.3f}"
        names = [", ".join(some) or "—" for some in (one.gold, one.found)]
        rows.append([*names, score, CONTROLS.sub(" ", one.text), one.where or str(one.id)])
    others = (max(map(len, column)) for place, column in enumerate(zip(*rows, strict=True)) if place != 3)
    room = max(LEAST_TEXT, width - sum(max(one, 5) + 2 for one in others))
    for row in rows:
        row[3] = row[3] if len(row[3]) <= room else f"{row[3][: room - 1]}…"
    return rows
