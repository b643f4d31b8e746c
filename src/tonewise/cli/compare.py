"""`tonewise compare`: which models, on what; two tables, JSON, and a page with its picture."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tonewise.cli.evaluate import Side, hashes, is_of
from tonewise.cli.labels import read_files
from tonewise.cli.pages import prepared
from tonewise.cli.texts import told_on_terminal
from tonewise.config import Config
from tonewise.errors import ConfigError
from tonewise.evaluate.compare import Candidate, Comparison, Timing, compare
from tonewise.evaluate.compare_words import Table, cost_table, heading, legend, quality_table, terms
from tonewise.source.labelled import Labels
from tonewise.store.files import write_atomically

WIDTH_OF_PIPES = 120
WRITTEN = ("comparison.json", "compare.html")


def compare_models(
    arguments: Sequence[str],
    config: Config,
    labels: Labels,
    timing: Timing,
    *,
    maps: Sequence[str],
    draws: int,
    seed: int,
    as_json: bool,
    output: str | None,
) -> None:
    """Check what can be checked, compare, and show.

    `arguments` are two refs or more, and the labelled file last. Raises ConfigError, InputError, ModelError
    and its kin, MissingExtraError and OutputError before speed is measured.
    """
    candidates, name = _named(arguments, maps)

    def is_same(held: Any) -> bool:
        refs = [one.ref for one in candidates]
        return [row["ref"] for row in held["rows"]] == refs and is_of(held, [name], config)

    folder = None if output is None else prepared(Path(output), WRITTEN, is_same)
    labelled = read_files([name], config, labels)
    with told_on_terminal() as progress:
        found = compare(
            candidates,
            labelled,
            config=config,
            timing=timing,
            draws=draws,
            seed=seed,
            files=hashes([name], config),
            progress=progress,
        )
    written = json.dumps(found.to_json(), indent=2, ensure_ascii=False) + "\n"
    if folder:
        from tonewise.evaluate.compare_report import page

        for own, text in zip(WRITTEN, (written, page(found)), strict=True):
            write_atomically(folder / own, text)
    if as_json:
        print(written, end="")
    else:
        _show(found)


def _named(arguments: Sequence[str], maps: Sequence[str]) -> tuple[list[Candidate], str]:
    """The models, each with its map, and the labelled file."""
    *refs, name = arguments or ("",)
    if len(refs) < 2:
        raise ConfigError("name two models or more, and a labelled file last: REF REF… DATA")
    found = {}
    for told in maps:
        fitting = [ref for ref in refs if told.startswith(f"{ref}=")]
        if not fitting:
            named = ", ".join(dict.fromkeys(refs))
            raise ConfigError(f"--map {told} begins with none of the models ({named}); write REF=FILE")
        ref = max(fitting, key=len)
        found[ref] = told.removeprefix(f"{ref}=")
    return [Candidate(ref, found.get(ref)) for ref in refs], name


def _show(found: Comparison) -> None:
    """Two tables, and what a reader of them must know."""
    from rich.console import Console
    from rich.text import Text as Line

    console = Console(width=None if sys.stdout.isatty() else WIDTH_OF_PIPES, highlight=False)
    with console.capture() as captured:
        console.print(Line(heading(found)), soft_wrap=True)
        for table in (quality_table(found), cost_table(found)):
            console.print()
            console.print(_drawn(table))
        console.print()
        for told in (*terms(found), *legend(found)):
            console.print(Line(told, "dim"))
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))


def _drawn(table: Table) -> Any:
    from rich.table import Table as Drawn
    from rich.text import Text as Line

    drawn = Drawn(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for place, name in enumerate(table.columns):
        is_name = place < table.left
        side: Side = "left" if is_name else "right"
        drawn.add_column(Line(name), justify=side, no_wrap=not is_name, overflow="fold")
    for place, row in enumerate(table.rows):
        style = "bold cyan" if place in table.best else ""
        drawn.add_row(*(Line(cell) for cell in row), style=style)
    return drawn
