"""Few examples: `tonewise train` beside a regression on the frozen encoder and SetFit, on the same draws."""

import argparse
import json
import statistics
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.measure import RESULTS, data, write
from bench.rivals.process import environment
from tonewise import Classifier
from tonewise.metrics import macro_f1, one_hot
from tonewise.source.labelled import Labelled, Labels, read_labelled
from tonewise.train import Recipe, train

NAME = "small_data"
SETS = {
    "emotion": ("emotion/train.tsv", "emotion/validation.tsv", (100, 500, 1_000)),
    "sms-spam": ("sms-spam/train.tsv", "sms-spam/validation.tsv", (100, 500, 1_000)),
    "banking77": ("banking77/train.jsonl", "banking77/test.jsonl", (500, 1_000)),
}
DRAWS = 5
LEAST_OF_A_LABEL = 2
METHODS = ("tonewise", "regression", "setfit")
STRENGTHS = np.logspace(-2, 3, 11)
Ids = NDArray[np.int64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--sizes", nargs="+", type=int)
    parser.add_argument("--draws", nargs="+", type=int, default=list(range(DRAWS)))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--work", type=Path, help="where SetFit's environment is, or is made")
    options = parser.parse_args()
    if "setfit" in options.methods and options.work is None:
        parser.error("--work DIR is wanted for SetFit")
    for draw in options.draws:
        for name in options.sets:
            for size in SETS[name][2]:
                if size in (options.sizes or SETS[name][2]):
                    for method in options.methods:
                        measure(name, size, draw, method, options.work)


def measure(name: str, size: int, draw: int, method: str, work: Path | None) -> None:
    """Fit one method on one draw, unless its figures are there already, and keep them."""
    key = {"set": name, "examples": size, "draw": draw, "method": method}
    if any(key.items() <= row.items() for row in kept()):
        return
    learn_path, held_path, _ = SETS[name]
    whole = read_labelled(data() / learn_path)
    held = read_labelled(data() / held_path, None, Labels(names=whole.names))
    learn = drawn(whole, size, draw)
    fit = {"tonewise": ours, "regression": regression, "setfit": lambda *some: setfit(*some, work=work)}[
        method
    ]
    found = fit(learn, held, draw)
    gold = one_hot(held.ids, len(whole.names))
    figures = {
        "accuracy": round(float(np.mean(found == held.ids)), 4),
        "macro_f1": round(macro_f1(gold, one_hot(found, len(whole.names))), 4),
    }
    rows = sorted([*kept(), key | figures], key=lambda row: [str(row[one]).rjust(9) for one in key])
    write(NAME, {"rows": rows, "means": means(rows)})


def kept() -> list[dict[str, Any]]:
    """What was measured so far."""
    path = RESULTS / f"{NAME}.json"
    if not path.exists():
        return []
    rows: list[dict[str, Any]] = json.loads(path.read_text())["figures"]["rows"]
    return rows


def drawn(whole: Labelled, size: int, draw: int) -> Labelled:
    """`size` rows at random, of each label about its share, and two at least."""
    rng = np.random.default_rng(draw)
    order = rng.permutation(len(whole))
    first = [
        row
        for label in range(len(whole.names))
        for row in order[whole.ids[order] == label][:LEAST_OF_A_LABEL]
    ]
    rest = [row for row in order if row not in set(first)]
    return whole.take(np.array(sorted([*first, *rest[: size - len(first)]]), np.int64))


def ours(learn: Labelled, held: Labelled, draw: int) -> Ids:
    """`tonewise train` with its defaults and nothing to validate on; answers in float32."""
    with tempfile.TemporaryDirectory() as scratch:
        output = Path(scratch) / "out"
        train(learn, output, recipe=Recipe(seed=draw), int8=False)
        with Classifier.load(output, engine="onnxruntime", precision="fp32") as classifier:
            answers = classifier.classify(held.texts)
    return np.array([held.names.index(str(one.label)) for one in answers])


def regression(learn: Labelled, held: Labelled, draw: int) -> Ids:
    """Logistic regression on the base's vectors, its strength by cross-validation."""
    from sklearn.linear_model import LogisticRegressionCV

    with Classifier.load("base", engine="onnxruntime", precision="fp32") as classifier:
        vectors, others = classifier.embed(learn.texts), classifier.embed(held.texts)
    least = np.bincount(learn.ids, minlength=len(learn.names)).min()
    model = LogisticRegressionCV(
        Cs=STRENGTHS,
        cv=int(min(5, least)),
        max_iter=2_000,
        scoring="neg_log_loss",
        use_legacy_attributes=False,
        l1_ratios=(0,),
    )
    found = model.fit(vectors, learn.ids).predict(others)
    return np.asarray(found, np.int64)


def setfit(learn: Labelled, held: Labelled, draw: int, *, work: Path | None) -> Ids:
    """SetFit from the same base, in an environment of its own."""
    from recipes.stored import base_folder

    python = environment("setfit", work or Path())
    with tempfile.TemporaryDirectory() as scratch:
        job = {
            "base": str(base_folder()),
            "texts": list(map(str, learn.texts)),
            "ids": learn.ids.tolist(),
            "held": list(map(str, held.texts)),
            "seed": draw,
            "scratch": scratch,
        }
        child = Path(__file__).parent / "rivals" / "setfit_fit.py"
        done = subprocess.run(
            (str(python), str(child)), input=json.dumps(job), stdout=subprocess.PIPE, text=True, check=True
        )
    answer = json.loads(done.stdout.strip().splitlines()[-1])
    return np.array(answer["ids"])


def means(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """By set, size and method: means over the draws, and the worst distance from the regression."""
    table = []
    for name, size, method in dict.fromkeys((row["set"], row["examples"], row["method"]) for row in rows):
        of = {row["draw"]: row for row in rows if _is(row, name, size, method)}
        beside = {row["draw"]: row for row in rows if _is(row, name, size, "regression")}
        gaps = [row["accuracy"] - beside[draw]["accuracy"] for draw, row in of.items() if draw in beside]
        found = {key: statistics.mean(row[key] for row in of.values()) for key in ("accuracy", "macro_f1")}
        table.append(
            {
                "set": name,
                "examples": size,
                "method": method,
                "draws": len(of),
                **{key: round(value, 4) for key, value in found.items()},
                "least_over_regression": round(min(gaps), 4) if gaps else None,
            }
        )
    return table


def _is(row: dict[str, Any], name: str, size: int, method: str) -> bool:
    return (row["set"], row["examples"], row["method"]) == (name, size, method)


if __name__ == "__main__":
    main()
