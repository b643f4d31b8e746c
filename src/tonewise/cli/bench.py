"""`tonewise bench`: the texts, the table of what was measured, JSON and a picture."""

import json
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from tonewise.benchmark import Model, Plan, Results, Row, Sample, benchmark
from tonewise.benchmark.picture import draw
from tonewise.benchmark.results import three_digits
from tonewise.cli.pages import prepared
from tonewise.cli.texts import read_texts, told_on_terminal
from tonewise.config import Config
from tonewise.errors import ConfigError, EngineError
from tonewise.store.files import write_atomically

COLUMNS = (
    *("engine", "precision", "texts/s", "p50 ms", "p95", "p99", "start s", "MB", "padding", "labels"),
    "Δscore",
)
LEGEND = (
    "texts/s: many texts at once, from strings to predictions; ▸ the most. p50, p95, p99: one text at a time",
    "after a few others. start: from a process's start to its first answer. MB: peak memory of the process",
    "that answers many. padding: of the planned batches + of shape buckets. labels, Δscore: agreement with",
    "onnxruntime in fp32, and the mean difference of scores.",
)
MOST_TEXTS = 2000
FLAGS_OF_FILES = ("max_texts", "text_column", "text_pair_column", "input_format")
WIDTH_OF_PIPES = 120


def bench(
    plan: Plan,
    config: Config,
    *,
    flags: Collection[str],
    texts: str | None,
    max_texts: int | None,
    as_json: bool,
    output: str | None,
) -> None:
    """Check what can be checked, measure, and show; `flags` are the settings that the command itself gave.

    Raises ConfigError, InputError, ModelError and its kin, MissingExtraError and OutputError before
    anything is measured, and EngineError after, when nothing could be.
    """
    about_files = [name for name in FLAGS_OF_FILES if name in flags]
    if about_files and texts is None:
        raise ConfigError(f"--{about_files[0].replace('_', '-')} is about a file; add --texts, or drop it")
    sample = None if texts is None else _read(texts, config, MOST_TEXTS if max_texts is None else max_texts)
    folder = None if output is None else prepared(Path(output))
    with told_on_terminal() as progress:
        results = benchmark(plan, config, sample, progress=progress)
    written = json.dumps(results.to_json(), indent=2, ensure_ascii=False) + "\n"
    if folder:
        write_atomically(folder / "bench.json", written)
        write_atomically(folder / "bench.png", draw(results))
    if as_json:
        print(written, end="")
    else:
        _show(results)
    if all(row.error for row in results.rows):
        raise EngineError("nothing could be measured; each row tells why")


def _read(name: str, config: Config, most: int) -> Sample:
    """The first texts of a file. Raises InputError, and RowError for a bad row."""
    if most < 1:
        raise ConfigError(f"max_texts is {most}; the least is 1")
    texts, is_all = read_texts(name, config.source, most)
    return Sample(name if is_all else f"the first {most:,} of {name}", texts)


def _show(results: Results) -> None:
    """One table a model, under what it was measured on."""
    from rich.console import Console
    from rich.text import Text as Line

    console = Console(width=None if sys.stdout.isatty() else WIDTH_OF_PIPES, highlight=False)
    machine, texts = results.machine, results.texts
    on = f"{machine['processor']}, {machine['processors']} processors, {machine['memory_gb']:.0f} GB"
    with console.capture() as captured:
        console.print(
            Line(f"{on} · {texts['count']:,} texts: {texts['source']} · medians of {results.rounds}")
        )
        for model in results.models:
            some = [row for row in results.rows if row.model == model.ref]
            console.print(Line(f"\n{_heading(model)}", "bold"))
            if any(not row.error for row in some):
                console.print(_table(some, results.best(model.ref)))
            for row in some:
                if row.error:
                    console.print(Line(f"{row.engine} {row.precision}: {row.error}", "dim"), soft_wrap=True)
        console.print()
        for told in (*results.notes, *LEGEND):
            console.print(Line(told, "dim"), soft_wrap=True)
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))


def _heading(model: Model) -> str:
    if model.tokens_mean is None:
        return model.ref
    cut = f", {model.truncated:,} of them cut" if model.truncated else ""
    return f"{model.ref} · {model.tokens_mean:.1f} tokens a text, {model.tokens_max:,} at most{cut}"


def _table(rows: Sequence[Row], best: Row | None) -> Any:
    """Those that were measured."""
    from rich.table import Table
    from rich.text import Text as Line

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for place, name in enumerate(COLUMNS):
        table.add_column(Line(name), justify="left" if place < 2 else "right", no_wrap=True)
    for row in rows:
        if not row.error:
            style = "bold cyan" if row is best else ""
            table.add_row(*(Line(cell) for cell in _cells(row, best=row is best)), style=style)
    return table


def _cells(row: Row, *, best: bool) -> list[str]:
    padding = "" if row.padding is None else f"{row.padding:.1%}"
    buckets = "" if row.bucket_padding is None else f" + {row.bucket_padding:.1%}"
    return [
        row.engine,
        row.precision,
        f"{'▸ ' if best else ''}{three_digits(row.texts_per_second)}",
        *map(three_digits, (row.p50_ms, row.p95_ms, row.p99_ms)),
        f"{row.cold_start_seconds:.2f}",
        f"{row.peak_memory_mb:,.0f}",
        padding + buckets,
        "" if row.labels_agree is None else f"{row.labels_agree:.1%}",
        "" if row.score_difference is None else f"{row.score_difference:.4f}",
    ]
