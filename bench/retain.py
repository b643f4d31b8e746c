"""Learning banking77 on top of `emotion`: what emotion keeps with `--retain`, and what it loses without."""

import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.measure import RESULTS, data, write
from tonewise.evaluate import evaluate
from tonewise.source.labelled import Labelled, Labels, read_labelled
from tonewise.store import resolve
from tonewise.train import Plan, Recipe, prepare, train
from tonewise.train.dropout import Dropout
from tonewise.train.learner import Learner
from tonewise.train.session import Fitted, Session

OLD, NEW = "emotion", "banking77"
NAME = "retain"
WAYS = ("with the old texts", "without them", "not retained")


def main() -> None:
    ways = [way for way in WAYS if way in sys.argv] or WAYS
    labels = Labels(names=resolve(OLD).heads[OLD].labels)
    old = read_labelled(data() / "emotion/validation.tsv", None, labels)
    learn = read_labelled(data() / "banking77/train.jsonl")
    held = read_labelled(data() / "banking77/test.jsonl", None, Labels(names=learn.names))
    kept = RESULTS / f"{NAME}.json"
    found: dict[str, Any] = json.loads(kept.read_text())["figures"] if kept.exists() else {}
    found["before"] = {OLD: round(evaluate(OLD, old, worst=0).figures["accuracy"].value, 4)}
    for way in ways:
        start = time.perf_counter()
        figures = (
            forgotten(learn, held, old) if way == WAYS[2] else retained(learn, held, old, way == WAYS[0])
        )
        found[way] = figures | {"minutes": round((time.perf_counter() - start) / 60, 1)}
        write(NAME, found)


def retained(learn: Labelled, held: Labelled, old: Labelled, with_texts: bool) -> dict[str, float]:
    """Accuracy of both heads of what `tonewise train --retain` makes."""
    texts = str(data() / "emotion/train.tsv") if with_texts else None
    with tempfile.TemporaryDirectory() as scratch:
        output = Path(scratch) / "out"
        train(None, output, heads={NEW: (learn, held)}, retain=(OLD, texts), recipe=Recipe())
        sets = {OLD: old, NEW: held}
        found = {name: evaluate(output, rows, head=name, worst=0) for name, rows in sets.items()}
    return {name: round(of.figures["accuracy"].value, 4) for name, of in found.items()}


def forgotten(learn: Labelled, held: Labelled, old: Labelled) -> dict[str, float]:
    """The same where only the new head is learned, and the old one reads what became of the encoder."""
    session = prepare(Plan(None, Path("unused"), heads={NEW: (learn, held)}, base=OLD))
    fitted = session.run(session.settled(Recipe()))
    logits = answered(session, fitted, OLD, old)
    with fitted.learner.exact():
        new = fitted.learner.logits(session.held_rows[NEW], [NEW])[NEW]
    return {
        OLD: round(float(np.mean(logits.argmax(axis=1) == old.ids)), 4),
        NEW: round(float(np.mean(new.argmax(axis=1) == held.ids)), 4),
    }


def answered(session: Session, fitted: Fitted, head: str, texts: Labelled) -> NDArray[np.float32]:
    """Logits of a head of the base, on the encoder as it is now."""
    rows, dropout = session.base.rows(texts)[0], Dropout(0.0)
    # The learner holds the vectors of the words that it learned from, and these texts have others.
    network = replace(session.base, weights=fitted.learner.network.weights()).network([rows], dropout)
    heads = {head: session.base.own_head(head, dropout)}
    return Learner(network, heads, dropout, session.base.tokenizer.padding_id, bf16=False).logits(rows)[head]


if __name__ == "__main__":
    main()
