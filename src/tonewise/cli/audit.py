"""`tonewise audit`: a table of each kind of row to look at, JSON, and a file with all of them."""

import csv
import io
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tonewise.cli.labels import read_files
from tonewise.cli.texts import told_on_terminal
from tonewise.config import Config
from tonewise.errors import ConfigError, OutputError
from tonewise.evaluate.audit import BASE, KINDS, Audit, Kind, Suspect
from tonewise.evaluate.audit import audit as look_over
from tonewise.source.labelled import Labels
from tonewise.store.files import reason, write_atomically

WIDTH_OF_PIPES = 120
JOINED = ", "
GAP, LEAST_TEXT, MOST_LABEL = 2, 20, 30
"""Characters: between columns, of a text, of a label."""
SCORES: dict[Kind, str] = {
    "label_error": "quality",
    "near_conflict": "alike",
    "near_duplicate": "alike",
    "long": "tokens",
}


def audit(
    files: Sequence[str],
    config: Config,
    labels: Labels,
    *,
    validation: str | None,
    base: str | None,
    rows: int,
    as_json: bool,
    output: str | None,
) -> None:
    """Read, look over, show and write. Raises as `read_labelled` and `tonewise.evaluate.audit` do."""
    if rows < 0:
        raise ConfigError(f"rows is {rows}; the least is 0")
    target = None if output is None else Path(output)
    if target is not None and target.suffix.lower() not in (".jsonl", ".csv"):
        raise ConfigError(f"{target}: its name tells no format; wanted: a name in .jsonl or .csv")
    if target is not None:
        _check_writable(target)
    labelled = read_files(files, config, labels)
    held = None if validation is None else read_files([validation], config, labels)
    with told_on_terminal() as progress:
        found = look_over(labelled, validation=held, base=base or BASE, config=config, progress=progress)
    if target is not None:
        write_atomically(target, _lines(found) if target.suffix.lower() == ".jsonl" else _csv(found))
    if as_json:
        print(json.dumps(found.to_json(rows), indent=2, ensure_ascii=False))
    else:
        _show(found, rows)


def _check_writable(target: Path) -> None:
    """Raise OutputError, before anything is read, where the file could not be written at the end."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=target.parent):
            pass
    except OSError as error:
        raise OutputError(f"cannot write {target}: {reason(error)}") from None
    if target.is_dir():
        raise OutputError(f"cannot write {target}: is a directory")


def _lines(found: Audit) -> str:
    return "".join(json.dumps(asdict(one), ensure_ascii=False) + "\n" for one in found.suspects)


def _csv(found: Audit) -> str:
    """A row a suspect; several labels are joined by a comma."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("kind", "where", "text", "text_pair", "labels", "suggested", "score", "other"))
    for one in found.suspects:
        joined = (JOINED.join(one.labels), JOINED.join(one.suggested or ()))
        writer.writerow((one.kind, one.where, one.text, one.text_pair, *joined, one.score, one.other))
    return text.getvalue()


def _show(found: Audit, most: int) -> None:
    from rich.console import Console
    from rich.text import Text as Line

    console = Console(width=None if sys.stdout.isatty() else WIDTH_OF_PIPES, highlight=False)
    with console.capture() as captured:
        console.print(Line(f"{found.rows:,} rows, {len(found.labels):,} labels"), soft_wrap=True)
        for finding in found.findings:
            style = "bold red" if finding.severity == "fatal" else "yellow"
            console.print(Line(f"{finding.severity}: {finding.message}", style), soft_wrap=True)
        console.print(Line(_basis(found), "dim"), soft_wrap=True)
        for kind, told in KINDS.items():
            some = found.of(kind)
            if not some:
                continue
            first = f" (the first {most:,})" if 0 < most < len(some) else ""
            console.print(Line(f"\n{told}: {len(some):,}{first}", "bold"), soft_wrap=True)
            if most:
                console.print(_table(kind, some[:most], console.width))
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))


def _basis(found: Audit) -> str:
    """How much a label error means."""
    if found.agreement is None:
        return f"label errors were not looked for: {found.unjudged}"
    return (
        f"label errors by vectors of {found.base}, which tell {found.agreement:.1%} of the labels as they "
        "stand; the fewer, the less a label error means"
    )


def _table(kind: Kind, some: Sequence[Suspect], width: int) -> Any:
    """Places by their files' names, and of each text as much as the line holds."""
    from rich.cells import cell_len
    from rich.table import Table
    from rich.text import Text as Line

    columns = {"where": [_place(one.where) for one in some]}
    if any(one.other for one in some):
        columns["the other"] = [_place(one.other or "") for one in some]
    columns["label"] = [_names(one.labels) for one in some]
    if kind == "label_error":
        columns["rather"] = [_names(one.suggested or ()) for one in some]
    if kind in SCORES:
        columns[SCORES[kind]] = [_score(kind, one) for one in some]
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="dim")
    for name, cells in columns.items():
        widest = max(cell_len(cell) for cell in (name, *cells))
        width -= widest + GAP
        justify: Any = "right" if name in SCORES.values() else "left"
        table.add_column(name, justify=justify, no_wrap=True, min_width=widest)
    table.add_column("text", no_wrap=True, max_width=max(width, LEAST_TEXT))
    for one, *cells in zip(some, *columns.values(), strict=True):
        text = one.text if one.text_pair is None else f"{one.text} ‖ {one.text_pair}"
        table.add_row(*map(Line, cells), Line(" ".join(text.split()), overflow="ellipsis"))
    return table


def _place(where: str) -> str:
    return where.rpartition(os.sep)[2]


def _names(labels: Sequence[str]) -> str:
    joined = " ".join(JOINED.join(labels).split()) or "none"
    return joined if len(joined) <= MOST_LABEL else f"{joined[: MOST_LABEL - 1]}…"


def _score(kind: Kind, one: Suspect) -> str:
    score = one.score or 0
    return f"{score:,.0f}" if kind == "long" else f"{score:.3f}"
