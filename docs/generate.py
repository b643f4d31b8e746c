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
    *("metrics", "calibration", "dense", "head", "embedding", "classifier", "sinks"),
    *("quantize", "export", "benchmark", "evaluate", "train", "pipelines", "jobs", "client", "serve", "cli"),
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
        deeper = sorted(folder.glob("*/__init__.py")) if room in ("cli", "serve") else []
        inside = [folder / "__init__.py", *deeper, *sorted(folder.glob("[!_]*.py"))]
        paths = inside if folder.is_dir() else [SRC / f"{room}.py"]
        for path in paths:
            name = f"{path.parent.name}/" if path.name == "__init__.py" else path.name
            indent = "" if path in (folder / "__init__.py", SRC / f"{room}.py") else "  "
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
    yield f"| 16,000 short texts, file to file, 2 processors | {ours:,} texts/s | ≥ 1,800 |"
    yield f"| the same network in `transformers.pipeline(batch_size=32)`, same run | {peer:,} texts/s | |"
    yield f"| so many times faster | {speed['ratio']} × | ≥ 4 × |"
    yield f"| one text, whole process | {start['classify_one_text_seconds']} s | ≤ 0.7 s |"
    yield f"| the same by a `transformers` pipeline | {start['transformers_pipeline_seconds']} s | |"
    imported = start["import_above_bare_python_seconds"]
    yield f"| `import tonewise`, above bare Python | {imported} s | ≤ 0.15 s |"
    yield f"| memory, 1,000,000 rows against 50,000 (stub engine) | +{memory['growth_mb']} MB | ≤ 50 MB |"
    real = "memory, 1,000,000 rows, ONNX Runtime (OpenVINO takes more: docs/log.md)"
    yield f"| {real} | {memory['real_1000000_rows_mb']} MB | ≤ 500 MB |"
    for name, asked in (("onnxruntime_int8", "99.5"), ("openvino_int8", "99.5"), ("openvino_bf16", "99.9")):
        one, told = quality[name], f"`emotion`, {name.replace('_', ' in ')}"
        yield f"| {told}: accuracy, 2,000 validation texts | {one['accuracy']:.2%} | ≥ 93.3% |"
        yield f"| {told}: labels as in fp32 | {one['agreement']:.2%} | ≥ {asked}% |"
    if "large" in found:
        yield from _large_rows(found["large"])


def _large_rows(large: dict[str, Any]) -> Iterator[str]:
    bulk, single = large["bulk"], large["single_ms"]
    told = f"{bulk['sentences']:,} review sentences through DistilBERT-base's shape in int8, file to file"
    yield f"| {told} | {bulk['seconds']} s | ≤ {bulk['bound_seconds']} s |"
    for engine in ("openvino", "onnxruntime"):
        one = single[engine]
        told = f"one text of unseen length through it, {engine}: p50, p99"
        yield f"| {told} | {one['p50']} ms, {one['p99']} ms | ≤ 3 ms, ≤ 3 × p50 |"


def rivals() -> str:
    """Tonewise beside its rivals: texts per second, and how many times transformers' pipeline that is."""
    path = RESULTS / "peers.json"
    if not path.is_file():
        return "Not measured yet: `make peers`."
    found = json.loads(path.read_text())["figures"]
    lines = []
    for model, sets in found["models"].items():
        names = list(dict.fromkeys(name for one in sets.values() for name in one["rivals"]))
        lines += [f"**{model}**, texts/s (times the pipeline):", ""]
        lines += [f"| | {' | '.join(sets)} |", "|---|" + "---|" * len(sets)]
        for name in names:
            cells = (_rival_cell(one["rivals"].get(name)) for one in sets.values())
            lines.append(f"| {name} | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines).rstrip()


def _rival_cell(one: dict[str, Any] | None) -> str:
    if one is None or "texts_per_second" not in one:
        return "does not run"
    rate = one["texts_per_second"]
    return f"{rate:,.0f} ({one['of_pipeline']} ×)" if "of_pipeline" in one else f"{rate:,.0f}"


def small_data() -> str:
    """How `train` does with few examples, beside others, in percent of right answers."""
    path = RESULTS / "small_data.json"
    means = json.loads(path.read_text())["figures"]["means"]
    cells = {(one["set"], one["examples"], one["method"]): one for one in means}
    methods = ("tonewise", "regression", "setfit")
    lines = [
        "| set | examples | draws | `tonewise train` | regression | SetFit | least above regression |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, examples in dict.fromkeys((one["set"], one["examples"]) for one in means):
        ours, regression, setfit = (cells.get((name, examples, method)) for method in methods)
        if ours is None or regression is None:
            continue
        theirs = "–" if setfit is None else f"{setfit['accuracy']:.1%} ({setfit['draws']} of the draws)"
        least = f"{100 * ours['least_over_regression']:+.1f}"
        told = f"{ours['draws']} | {ours['accuracy']:.1%} | {regression['accuracy']:.1%} | {theirs} | {least}"
        lines.append(f"| {name} | {examples:,} | {told} |")
    return "\n".join(lines)


def between(path: Path, name: str, content: str) -> str:
    """The text of a page with what stands between two markers replaced."""
    return _filled(path.read_text("utf-8"), name, content)


def _filled(text: str, name: str, content: str) -> str:
    start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    if start not in text or end not in text:
        sys.exit(f"the markers {start} and {end} are missing")
    return re.sub(f"{start}.*?{end}", lambda _: f"{start}\n{content}\n{end}", text, flags=re.DOTALL)


PAGES: dict[str, Callable[[Path], str]] = {
    "docs/cli.md": lambda _: help_pages(),
    "ARCHITECTURE.md": lambda path: between(path, "map", code_map()),
    "docs/training.md": lambda path: between(path, "small-data", small_data()),
    "README.md": lambda path: _filled(between(path, "figures", figures()), "rivals", rivals()),
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
