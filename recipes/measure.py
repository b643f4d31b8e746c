"""Measure packaged models, a seed each: every head on all validation texts, and on the unseen half."""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import yaml
from recipes.models import MODELS, Model

from tonewise.evaluate import Evaluation, evaluate
from tonewise.source.labelled import Labelled

MARKS = ("<!-- figures -->", "<!-- /figures -->")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("bundles", nargs="+", help="packaged ones, a seed each")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, help="JSON")
    parser.add_argument("--card", type=Path, help="whose figures become those of the first bundle")
    options = parser.parse_args()

    seeds = [measured(bundle, MODELS[options.model], options.data) for bundle in options.bundles]
    found = {head: [seed[head] for seed in seeds] for head in seeds[0]}
    table = {head: {"median": middle(some), "seeds": some} for head, some in found.items()}
    told = json.dumps(table, indent=2) + "\n"
    if options.output:
        options.output.write_text(told, "utf-8")
    if options.card:
        write_card(options.card, options.model, MODELS[options.model], seeds[0])
    for head, of in table.items():
        print(head)
        for name, value in of["median"].items():
            each = ", ".join(f"{seed[name]['value']:.4f}" for seed in of["seeds"] if name in seed)
            print(f"  {name:<32} {value:.4f}  ({each})")


def measured(bundle: str, model: Model, data: Path) -> dict[str, dict[str, Any]]:
    """By head the figures of all validation texts, and of the half that nothing was chosen on."""
    found: dict[str, dict[str, Any]] = {}
    for name, _, seen, unseen in model.halves(data):
        whole = model.heads[name].held(data)
        parts = {"": whole, " (chosen on)": seen, " (unseen)": unseen}
        found[name] = {}
        for told, rows in parts.items():
            found[name] |= {f"{key}{told}": one for key, one in figures(bundle, rows, name).items()}
    return found


def figures(bundle: str, rows: Labelled, head: str) -> dict[str, Any]:
    """The headline figures with their intervals, and each label's F1."""
    of = evaluate(bundle, rows, head=head, worst=0)
    wanted = ("subset_accuracy", "micro_f1") if of.multi_label else ("accuracy",)
    found = {key: as_json(of, key) for key in (*wanted, "macro_f1", "ece")}
    if len(of.labels) < 4:
        found |= {f"f1 of {row['label']}": {"value": row["f1"]} for row in of.label_rows()}
    return found


def as_json(of: Evaluation, key: str) -> dict[str, Any]:
    """A figure and its 95% interval."""
    figure = of.figures[key]
    ends = (figure.interval.low, figure.interval.high)
    return {"value": round(figure.value, 5), "interval": [round(one, 5) for one in ends]}


def write_card(card: Path, name: str, model: Model, found: dict[str, dict[str, Any]]) -> None:
    """Put the figures into a card: the table between its marks, and `model-index` in its front matter."""
    front, page = card.read_text("utf-8").removeprefix("---\n").split("\n---\n", 1)
    table = yaml.safe_load(front)
    results = [result(head, model, found[head]) for head in model.heads]
    table["model-index"] = [{"name": name, "results": results}]
    front = yaml.safe_dump(table, sort_keys=False, allow_unicode=True, width=1000)
    before, rest = page.split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    figures = "\n".join(lines(found))
    card.write_text(f"---\n{front}---\n{before}{MARKS[0]}\n{figures}\n{MARKS[1]}{after}", "utf-8")


def result(name: str, model: Model, found: dict[str, Any]) -> dict[str, Any]:
    """One head's figures on all validation texts, as `model-index` has them."""
    head = model.heads[name]
    dataset = {"type": head.hub, "name": Path(head.validation).parent.name, "split": "validation"}
    if head.hub_config:
        dataset["config"] = head.hub_config
    metrics = []
    if "accuracy" in found:
        metrics.append({"type": "accuracy", "name": "Accuracy", "value": found["accuracy"]["value"]})
    f1 = {"type": "f1", "name": "Macro F1", "value": found["macro_f1"]["value"], "args": {"average": "macro"}}
    task = "Text classification" if len(model.heads) == 1 else f"Head {name}"
    return {
        "task": {"type": "text-classification", "name": task},
        "dataset": dataset,
        "metrics": [*metrics, f1],
    }


def lines(found: dict[str, dict[str, Any]]) -> Iterator[str]:
    """A row a head: figures of all validation texts, and of the half that nothing was chosen on."""
    yield "| head | on | accuracy | macro F1 | ECE |"
    yield "|---|---|---|---|---|"
    for head, of in found.items():
        for told, ending in (("all", ""), ("the unseen half", " (unseen)")):
            hits = told_figure(of.get(f"accuracy{ending}"), 100, "%")
            f1 = told_figure(of[f"macro_f1{ending}"], 1, "")
            yield f"| `{head}` | {told} | {hits} | {f1} | {told_figure(of[f'ece{ending}'], 100, '%')} |"


def told_figure(figure: dict[str, Any] | None, times: int, unit: str) -> str:
    """A value with its interval; nothing of a figure that a head does not have."""
    if figure is None:
        return ""
    digits = 2 if times == 100 else 3
    low, value, high = (
        f"{times * one:.{digits}f}" for one in (figure["interval"][0], figure["value"], figure["interval"][1])
    )
    return f"{value}{unit} ({low} to {high})"


def middle(seeds: list[dict[str, Any]]) -> dict[str, float]:
    """The median of each figure."""
    return {name: median(seed[name]["value"] for seed in seeds) for name in seeds[0]}


if __name__ == "__main__":
    main()
