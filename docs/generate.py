"""Write what is derived: help pages, the code map, the benchmark table. `--check` tells what is stale."""

import argparse
import ast
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src" / "tonewise"
WIDTH = {"max_content_width": 100}
RESULTS = ROOT / "bench" / "results"
ROOMS = (
    *("errors", "config", "store", "source", "tokenizer", "batching", "encoder", "engines"),
    *("head", "embedding", "classifier", "sinks", "pipelines", "jobs", "cli"),
)


def help_pages() -> str:
    """docs/cli.md: every command's help, as the command prints it."""
    from tonewise.cli.commands import tonewise

    parts = ["# The command line\n\nWritten by `make docs` from the commands themselves.\n"]
    for path, command in _commands("tonewise", tonewise):
        context = click.Context(
            command, info_name=path, terminal_width=100, **(command.context_settings | WIDTH)
        )
        parts.append(f"## {path}\n\n```\n{command.get_help(context)}\n```\n")
    return "\n".join(parts)


def _commands(path: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name in sorted(command.commands):
            yield from _commands(f"{path} {name}", command.commands[name])


def code_map() -> str:
    """One line a module, in reading order, from its first line."""
    lines = ["```"]
    for room in ROOMS:
        folder = SRC / room
        inside = [folder / "__init__.py", *sorted(folder.glob("[!_]*.py"))]
        paths = inside if folder.is_dir() else [SRC / f"{room}.py"]
        for path in paths:
            name = f"{room}/" if path.name == "__init__.py" else path.name
            indent = "  " if folder.is_dir() and path.name != "__init__.py" else ""
            lines.append(f"{indent + name:<22} {_first_line(path)}")
    return "\n".join([*lines, "```"])


def _first_line(path: Path) -> str:
    return (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").splitlines()[0]


def figures() -> str:
    """The measured figures beside what was asked of them."""
    results = sorted(RESULTS.glob("*.json"))
    found = {path.stem: json.loads(path.read_text())["figures"] for path in results}
    rows = ["| measured | | asked |", "|---|---|---|", *_figure_rows(found)]
    return "\n".join(rows)


def _figure_rows(found: dict[str, dict[str, Any]]) -> Iterator[str]:
    speed, start = found["throughput"], found["startup"]
    memory, quality = found["memory"], found["quality"]
    ours = speed["whole_command_texts_per_second"]
    peer = speed["transformers_pipeline_texts_per_second"]
    yield f"| 16,000 short texts, file to file, 2 processors | {ours:,} texts/s | ≥ 1,000 |"
    yield f"| the same network in `transformers.pipeline(batch_size=32)`, same run | {peer:,} texts/s | |"
    yield f"| so many times faster | {speed['ratio']} × | ≥ 4 × |"
    yield f"| one text, whole process | {start['classify_one_text_seconds']} s | ≤ 0.7 s |"
    yield f"| the same by a `transformers` pipeline | {start['transformers_pipeline_seconds']} s | |"
    imported = start["import_above_bare_python_seconds"]
    yield f"| `import tonewise`, above bare Python | {imported} s | ≤ 0.15 s |"
    yield f"| memory, 1,000,000 rows against 50,000 (stub engine) | +{memory['growth_mb']} MB | ≤ 50 MB |"
    yield f"| memory, 1,000,000 rows, the real engine | {memory['real_1000000_rows_mb']} MB | ≤ 500 MB |"
    yield f"| accuracy of `emotion`, 2,000 validation texts | {quality['int8_accuracy']:.1%} | ≥ 93.3% |"
    yield f"| labels on which int8 and fp32 agree | {quality['agreement']:.1%} | ≥ 99.5% |"


def between(path: Path, name: str, content: str) -> str:
    """The text of a page with what stands between two markers replaced."""
    text = path.read_text("utf-8")
    start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    if start not in text or end not in text:
        sys.exit(f"{path}: the markers {start} and {end} are missing")
    return re.sub(f"{start}.*?{end}", lambda _: f"{start}\n{content}\n{end}", text, flags=re.DOTALL)


PAGES: dict[str, Callable[[Path], str]] = {
    "docs/cli.md": lambda _: help_pages(),
    "ARCHITECTURE.md": lambda path: between(path, "map", code_map()),
    "README.md": lambda path: between(path, "figures", figures()),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a page is stale")
    check = parser.parse_args().check
    stale = []
    for name, page in PAGES.items():
        path = ROOT / name
        wanted = page(path)
        if not path.is_file() or path.read_text("utf-8") != wanted:
            stale.append(name)
            if not check:
                path.write_text(wanted, "utf-8")
    if check and stale:
        sys.exit(f"stale: {', '.join(stale)}; run: make docs")


if __name__ == "__main__":
    main()
