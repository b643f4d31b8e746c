"""The model card: README.md and its pictures, written from the facts of a training and from nothing else."""

import html
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tonewise.evaluate.pictures import as_png, confusion_matrix, reliability_diagram
from tonewise.metrics import ece_of
from tonewise.store.licence import ALL_OF, UNSTATED
from tonewise.train.card_limits import limits
from tonewise.train.card_metadata import front_matter
from tonewise.train.facts import CardFacts, DataFacts, Figure, HeadFacts, Tuning
from tonewise.train.pictures import training_curve, tuning_history

__all__ = ["write_card"]

CARD, TUNING = "README.md", "tuning.png"
MARKDOWN = re.compile(r"([\\`*\[\]|~#]|(?<![^\W_])_|_(?![^\W_]))")
"""An underscore within a word marks nothing."""
PATH_STARTS = ("/", "./", "../", "~")


def write_card(folder: Path, facts: CardFacts) -> None:
    """Write README.md, and `confusion.png`, `reliability.png`, `training.png`, `tuning.png` as there is need.

    With several heads a picture's name ends in the head's. The bundle's manifest is to be written after
    this, so that it names the pictures too. Raises OSError.
    """
    pictures = {head.name: _pictures(head, _ending(facts, head)) for head in facts.heads}
    for drawn in pictures.values():
        for name, (_, png) in drawn.items():
            (folder / name).write_bytes(png)
    if facts.tuning:
        (folder / TUNING).write_bytes(as_png(tuning_history(facts.tuning)))
    shown = {head: {name: told for name, (told, _) in drawn.items()} for head, drawn in pictures.items()}
    (folder / CARD).write_text(front_matter(facts) + "\n".join(_page(facts, shown)) + "\n", "utf-8")


def _ending(facts: CardFacts, head: HeadFacts) -> str:
    """What is added to the names of a head's pictures, which stand in one folder."""
    if len(facts.heads) == 1:
        return ""
    names = [re.sub(r"[^A-Za-z0-9]+", "-", one.name).strip("-").lower() for one in facts.heads]
    place = [one.name for one in facts.heads].index(head.name)
    clear = names[place] and names.count(names[place]) == 1
    return f"-{names[place]}" if clear else f"-{place + 1}"


def _pictures(head: HeadFacts, ending: str) -> dict[str, tuple[str, bytes]]:
    """By file name what each shows, and the PNG."""
    found = {}
    if head.confusion is not None:
        drawn = as_png(confusion_matrix(head.labels, head.confusion))
        found[f"confusion{ending}.png"] = ("Confusion matrix: rows gold, columns found", drawn)
    if head.reliability is not None:
        drawn = as_png(reliability_diagram(head.reliability, ece_of(head.reliability)))
        several = head.problem_type == "multi_label_classification"
        what = "labels of a score hold" if several else "answers of a confidence are right"
        told = f"Reliability: how many of the {what}"
        found[f"reliability{ending}.png"] = (told, drawn)
    if head.history:
        drawn = as_png(training_curve(head.history, head.metric, head.best))
        unmeasured = all(math.isnan(one.metric) for one in head.history)
        told = "loss" if unmeasured else f"loss and {head.metric}"
        found[f"training{ending}.png"] = (f"Training: {told} by epoch", drawn)
    return found


def _page(facts: CardFacts, pictures: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    yield f"\n# {_plain(facts.name)}\n"
    yield _opening(facts)
    yield from _use(facts)
    for head in facts.heads:
        several = len(facts.heads) > 1 or facts.kept
        yield f"\n## {f'Head {_plain(head.name)}' if several else 'Quality'}\n"
        yield from _head(head, pictures[head.name], tuned=facts.tuning is not None)
    yield from _int8(facts)
    yield from _retained(facts)
    yield from _made(facts)
    yield "\n## Limits\n"
    yield from (f"- {_plain(one)}" for one in limits(facts))
    yield "\n## Licence and data\n"
    yield from _terms(facts)


def _opening(facts: CardFacts) -> str:
    base = f"Trained by Tonewise from `{_code(_last(facts.base.ref))}`"
    if not facts.heads:
        return f"A text encoder. It has no head: it embeds. {base}."
    kinds = {
        "single_label_classification": "one of {n} labels",
        "multi_label_classification": "any of {n} labels",
        "regression": "a number",
    }
    told = [(head.name, kinds[head.problem_type].format(n=len(head.labels))) for head in facts.heads]
    told += [(name, kinds[kind].format(n=count)) for name, (kind, count) in facts.kept.items()]
    if len(told) == 1:
        return f"Gives a text {told[0][1]}. {base}."
    heads = "; ".join(f"**{_plain(name)}** {kind}" for name, kind in told)
    return f"Gives a text several answers in one pass: {heads}. {base}."


def _use(facts: CardFacts) -> Iterator[str]:
    """How to run it; the folder is taken to bear the model's name."""
    place = f"./{_last(facts.name)}"
    yield "\n## Use\n"
    verb = "classify" if facts.heads else "embed"
    if facts.heads:
        yield f'```sh\ntonewise classify --model "{_code(place)}" "a text"\n```\n'
    yield "```python\nfrom tonewise import Classifier\n"
    yield f'with Classifier.load("{_code(place)}") as classifier:'
    yield f'    print(classifier.{verb}(["a text"]))\n```'
    if facts.in_transformers:
        yield "\n```python\nfrom transformers import pipeline\n"
        yield f'print(pipeline("text-classification", "{_code(place)}")("a text"))\n```'
        if any(head.temperature != 1 or head.thresholds for head in facts.heads):
            yield "\nTransformers reads neither temperature nor thresholds: its scores are those before both."


def _head(head: HeadFacts, pictures: Mapping[str, str], *, tuned: bool) -> Iterator[str]:
    yield _measured(head, tuned=tuned)
    if head.figures:
        rows = [(_plain(one.name), _share(one.value), _interval(one)) for one in head.figures]
        yield from _table(("figure", "value", "95% interval"), rows)
    yield from _calibration(head)
    yield from _labels(head)
    for name, told in pictures.items():
        yield f"\n![{_plain(told)}]({name})"


def _measured(head: HeadFacts, *, tuned: bool) -> str:
    data = head.data
    precision = f" in {_plain(head.precision)}" if head.precision else ""
    told = f"Measured{precision} on {data.held_rows:,} rows: {_plain(data.split)}."
    if data.chosen or tuned:
        chosen = _listed([*["the recipe"][: int(tuned)], *data.chosen])
        told += f" The same rows chose {_plain(chosen)}, so the figures flatter it."
    return told


def _calibration(head: HeadFacts) -> Iterator[str]:
    if head.problem_type == "regression":
        return
    told = f"Logits are divided by the temperature {head.temperature:.4g}."
    if head.ece:
        before, after = head.ece
        error = "expected calibration error (15 bins of equal mass)"
        over = " over all labels of all texts" * (head.problem_type == "multi_label_classification")
        told += f" The {error}{over} is {_with_interval(before)} before that, {_with_interval(after)} after."
    yield f"\n{told}"


def _labels(head: HeadFacts) -> Iterator[str]:
    """A row per label."""
    columns = ["label", "training rows"]
    cells = [[_plain(name), f"{count:,}"] for name, count in zip(head.labels, head.data.counts, strict=True)]
    if head.by_label is not None:
        columns += ["held-out rows", "precision", "recall", "F1"]
        found = head.by_label
        for i, row in enumerate(cells):
            figures = (found.precision[i], found.recall[i], found.f1[i])
            known = [_share(float(one)) for one in figures] if found.support[i] else ["–"] * 3
            row += [f"{found.support[i]:,}", *known]
    if head.thresholds:
        columns.append("holds from score")
        for row, least in zip(cells, head.thresholds, strict=True):
            row.append(f"{least:.3f}")
    yield from _table(columns, cells)


def _int8(facts: CardFacts) -> Iterator[str]:
    if not facts.has_int8:
        return
    yield "\n## int8\n"
    if not facts.agreement:
        yield (
            "It runs in int8 when asked to, but `auto` does not choose that: too few texts were not learned "
            "from to say how often its labels are those of fp32. `tonewise quantize` tells it on others."
        )
        return
    yield f"On how many of {facts.agreement_rows:,} texts, none learned from, int8 gives the labels of fp32:"
    rows = [(_plain(engine), _share(share)) for engine, share in facts.agreement.items()]
    yield from _table(("engine", "agreement"), rows)


def _retained(facts: CardFacts) -> Iterator[str]:
    if not facts.retained:
        return
    yield "\n## What it knew before\n"
    yield "Heads that were there before the training, on the same rows before and after:"
    rows = [
        (_plain(one.head), _plain(one.figure), _share(one.before), _share(one.after), f"{one.rows:,}")
        for one in facts.retained
    ]
    yield from _table(("head", "figure", "before", "after", "rows"), rows)


def _made(facts: CardFacts) -> Iterator[str]:
    yield "\n## How it was made\n"
    base = facts.base
    yield f"Base: `{_code(_last(base.ref))}`, digest `{_code(base.digest)}`, licence {_stated(base.licence)}."
    for head in facts.heads:
        yield from _data(head.data, head.name if len(facts.heads) > 1 else None)
    hardware = f"{_plain(facts.processor)}, {facts.threads} thread{'s' * (facts.threads != 1)}"
    yield f"\nTrained in {_duration(facts.seconds)} on {hardware}; seed {facts.seed}."
    if facts.tuning:
        yield from _tuned(facts.tuning)
    yield from _table(("knob", "value"), [(f"`{_code(name)}`", _knob(v)) for name, v in facts.recipe.items()])
    yield (
        "\n" + ", ".join(f"{_plain(name)} {_plain(number)}" for name, number in facts.versions.items()) + "."
    )


def _tuned(tuning: Tuning) -> Iterator[str]:
    best, first = tuning.trials[tuning.best].metric, tuning.trials[0].metric
    counted = [f"{tuning.count(end)} {end}" for end in ("stopped", "diverged") if tuning.count(end)]
    ends = f" ({', '.join(counted)} early)" if counted else ""
    told = (
        f"The recipe is the best of {len(tuning.trials)} that were tried in {_duration(tuning.seconds)}{ends}"
    )
    against = f", against {_share(first)} of the defaults" if first is not None else ""
    yield f"\n{told}: macro F1 {_share(best or 0.0)} on the held-out rows{against}. All are in `tuning.json`."
    yield f"\n![The study: macro F1 of each trial]({TUNING})"


def _data(data: DataFacts, head: str | None) -> Iterator[str]:
    of = f" of head {_plain(head)}" if head else ""
    prints = f" Fingerprint of its texts and labels: sha256 `{data.fingerprint}`." if data.fingerprint else ""
    yield f"\nData{of}: {_plain(data.name)}, {data.rows:,} training rows.{prints}"
    rows = [(_plain(Path(one.name).name), f"{one.rows:,}", f"`{_code(one.sha256)}`") for one in data.files]
    if rows:
        yield from _table(("file", "rows", "sha256"), rows)


def _terms(facts: CardFacts) -> Iterator[str]:
    """Whose terms a user of the model meets."""
    yield f"- the model: {_stated(facts.licence)}"
    yield f"- its base `{_code(_last(facts.base.ref))}`: {_stated(facts.base.licence)}"
    for head in facts.heads:
        yield f"- the data {_plain(head.data.name)}: {_stated(head.data.licence)}"
    for terms in dict.fromkeys(filter(None, (facts.data_terms, facts.base.data_terms))):
        yield f"- terms of data behind it: {_plain(terms)}"


# How a thing is written.


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A Markdown table; all columns but the first are aligned to the right. Cells are escaped already."""
    yield ""
    yield f"| {' | '.join(columns)} |"
    yield f"|{'|'.join(['---', *['---:'] * (len(columns) - 1)])}|"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _plain(text: str) -> str:
    """One line in which nothing is Markdown or HTML, whatever a label or a file is called."""
    return MARKDOWN.sub(r"\\\1", html.escape(" ".join(text.split()), quote=False))


def _code(text: str) -> str:
    """One line to stand between backticks or in a quoted argument."""
    return re.sub(r'[`"$\\|]', "", " ".join(text.split()))


def _last(name: str) -> str:
    """A folder's own name: where it lay is no part of a card. Other names as they are."""
    return Path(name).name if name.startswith(PATH_STARTS) else name


def _knob(value: Any) -> str:
    if value is None or value == "":
        return "–"
    if isinstance(value, float):
        return f"{value:g}"
    return _plain(_last(str(value)))


def _stated(licence: str | None) -> str:
    if not licence or licence == UNSTATED:
        return "not stated"
    return _plain(", ".join(licence.split(ALL_OF)))


def _share(value: float) -> str:
    return f"{value:.1%}" if math.isfinite(value) else "–"


def _interval(figure: Figure) -> str:
    """From … to …, or nothing."""
    if figure.interval is None:
        return "–"
    return f"{_share(figure.interval.low)} to {_share(figure.interval.high)}"


def _with_interval(figure: Figure) -> str:
    told = f" ({_interval(figure)})" if figure.interval else ""
    return f"{_share(figure.value)}{told}"


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"
