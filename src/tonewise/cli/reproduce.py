"""`tonewise reproduce`: stated beside measured, and an exit status that says whether they agree."""

import json
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import click

from tonewise.cli.statuses import NOT_REPRODUCED
from tonewise.cli.texts import told_on_terminal
from tonewise.config import Config
from tonewise.evaluate.reproduce import Line, OnData, Reproduction, Wanted, reproduce
from tonewise.evaluate.words import left_out
from tonewise.source.labelled import Labels

WIDTH_OF_PIPES = 120
VERDICTS = {True: "within", False: "OUTSIDE", None: "not measured"}


def reproduce_card(
    ref: str,
    config: Config,
    *,
    files: Sequence[str],
    labels: Labels | None,
    wanted: Wanted,
    head: str | None,
    tolerance: float,
    as_json: bool,
) -> None:
    """Measure, show, and exit with a status of its own unless every figure is within the tolerance.

    Raises as `tonewise.evaluate.reproduce.reproduce` does, and click's Exit.
    """
    with told_on_terminal() as progress:
        found = reproduce(
            ref,
            data=list(files) or None,
            config=config,
            labels=labels,
            wanted=wanted,
            head=head,
            tolerance=tolerance,
            progress=progress,
        )
    if as_json:
        print(json.dumps(found.to_json(), indent=2, ensure_ascii=False))
    else:
        _show(found)
    if not found.reproduced:
        raise click.exceptions.Exit(NOT_REPRODUCED)


def _show(found: Reproduction) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else WIDTH_OF_PIPES, highlight=False)
    model = found.model
    with console.capture() as captured:
        told = f"{model['ref']}  head {model['head']}, {model['precision']} on {model['engine']}"
        console.print(Text(told, "bold"), soft_wrap=True)
        for part in found.parts:
            console.print(Text(f"\n{part.data}: {_rows(part)}"), soft_wrap=True)
            console.print(_figures(part))
            for why in dict.fromkeys(line.why for line in part.lines if line.why and part.source):
                console.print(Text(f"not measured: {why}", "yellow"), soft_wrap=True)
            for told in left_out(part.skipped):
                console.print(Text(told, "yellow"), soft_wrap=True)
            for check in part.checks:
                mark = "suspect" if check.suspect else "ok"
                told = f"{mark:<8}{check.name}: {check.told}"
                console.print(Text(told, "yellow" if check.suspect else "dim"), soft_wrap=True)
        console.print(Text(f"\n{_verdict(found)}", "bold"), soft_wrap=True)
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))


def _rows(part: OnData) -> str:
    if part.source:
        return f"{part.rows:,} rows of {part.source}"
    whys = "; ".join(dict.fromkeys(line.why for line in part.lines if line.why))
    return f"cannot be measured again: {whys}" if whys else "not read, as nothing of it is measured"


def _figures(part: OnData) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for place, name in enumerate(("figure", "stated", "measured", "points", "", "")):
        table.add_column(name, justify="right" if place in (1, 2, 3) else "left", no_wrap=place in (1, 2, 3))
    for line in part.lines:
        style = "bold red" if line.within is False else ""
        table.add_row(*(Text(cell) for cell in _cells(line)), style=style)
    return table


def _cells(line: Line) -> Iterator[str]:
    yield line.claim.name
    yield line.claim.written or _value(line, line.claim.value)
    yield "—" if line.measured is None else _value(line, line.measured)
    yield "—" if line.points is None else f"{line.points:+.2f}"
    yield VERDICTS[line.within]
    yield "" if line.definition in (None, "accuracy") else str(line.definition)


def _value(line: Line, value: float) -> str:
    return f"{value:.4g}" if line.claim.metric in (None, "loss") else f"{100 * value:.2f}%"


def _verdict(found: Reproduction) -> str:
    within = [line for line in found.lines if line.within]
    measured = [line for line in found.lines if line.within is not None]
    told = f"{len(within)} of {len(measured)} figures are within ±{found.tolerance:g} points of the card's"
    left = len(found.lines) - len(measured)
    return f"{told}; {left} could not be measured" if left else told
