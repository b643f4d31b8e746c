"""What usually explains that a stated figure is missed: tokenizer, precision, label order, split, length."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tonewise.classifier import Classifier
from tonewise.evaluate.answers import Answers
from tonewise.evaluate.claims import Claim
from tonewise.source.labelled import Labelled
from tonewise.tokenizer import Text

UNKNOWN = ("[UNK]", "<unk>")
MOST_UNKNOWN = 0.01
"""Share of tokens that are unknown, from which on the vocabulary is hardly that of the language."""
SAMPLE = 2_000
WORTH_TELLING = 0.05
"""Accuracy that another order of labels must win."""
MOST_TRUNCATED = 0.01
PROBE = "The Cat and Her Kittens Are ASLEEP"
MIXED_CASE, ONE_CASE = 0.05, 0.001
"""Shares of a vocabulary's words with a capital: of one that tells case apart, of one that does not."""


@dataclass(frozen=True, slots=True)
class Check:
    """One possible cause, looked into."""

    name: str
    suspect: bool
    told: str


def checks(
    classifier: Classifier,
    labelled: Labelled,
    answers: Answers,
    claims: Sequence[Claim],
    *,
    multi_label: bool,
) -> list[Check]:
    """Each usual cause with what was found of it."""
    found = [_vocabulary(classifier), _case(classifier), _unknown(classifier, labelled.texts)]
    found.append(_precision(classifier))
    if not multi_label:
        found.append(_order(labelled, answers))
    found.append(_rows(len(labelled), claims))
    return [*found, _length(answers, classifier.tokenizer.max_length)]


def _vocabulary(classifier: Classifier) -> Check:
    words, rows = classifier.tokenizer.vocabulary, classifier.network.vocabulary_size
    greatest = max(words.values(), default=-1)
    told = f"{len(words):,} tokens, {rows:,} embeddings"
    if greatest >= rows:
        return Check("vocabulary", True, f"{told}: token ids go up to {greatest:,}; it is another tokenizer")
    if len(words) < 0.9 * rows:
        return Check("vocabulary", True, f"{told}: the tokenizer knows far fewer")
    return Check("vocabulary", False, told)


def _case(classifier: Classifier) -> Check:
    words = [word for word in classifier.tokenizer.vocabulary if word[:1] not in "[<"]
    capitals = sum(word != word.lower() for word in words) / max(1, len(words))
    plain, lower = classifier.encode([PROBE, PROBE.lower()])
    lowers = list(plain.rows[0].input_ids) == list(lower.rows[0].input_ids)
    told = f"the tokenizer {'lowers' if lowers else 'keeps'} case, {capitals:.1%} of its words have a capital"
    suspect = capitals > MIXED_CASE if lowers else capitals < ONE_CASE
    hint = "; do_lower_case of tokenizer_config.json may be wrong" if suspect else ""
    return Check("case", suspect, told + hint)


def _unknown(classifier: Classifier, texts: Sequence[Text]) -> Check:
    ids = {
        classifier.tokenizer.vocabulary[word] for word in UNKNOWN if word in classifier.tokenizer.vocabulary
    }
    if not ids:
        return Check("unknown tokens", False, "the tokenizer knows no unknown token")
    rows = [row for one in classifier.encode(texts[:: -(-len(texts) // SAMPLE)]) for row in one.rows]
    tokens = np.concatenate([np.asarray(row.input_ids) for row in rows])
    share = float(np.isin(tokens, list(ids)).mean())
    suspect = share > MOST_UNKNOWN
    hint = "; another vocabulary, language or case" if suspect else ""
    return Check("unknown tokens", suspect, f"{share:.2%} of the tokens{hint}")


def _precision(classifier: Classifier) -> Check:
    precision, engine = classifier.engine.precision, classifier.engine.name
    if precision == "fp32":
        return Check("precision", False, f"fp32 on {engine}")
    told = f"{precision} on {engine}, where figures are mostly of fp32; --precision fp32 measures that"
    return Check("precision", True, told)


def _order(labelled: Labelled, answers: Answers) -> Check:
    """Whether labels in another order would be right more often."""
    names, gold, found = labelled.names, labelled.ids, answers.ids
    table = np.zeros((len(names), len(names)), np.int64)
    given = found >= 0
    np.add.at(table, (gold[given], found[given]), 1)
    to = _best_order(table)
    own, other = np.trace(table) / len(gold), table[to, np.arange(len(names))].sum() / len(gold)
    if other - own < WORTH_TELLING:
        return Check("label order", False, "no other order of the labels is right more often")
    swaps = ", ".join(f"{names[i]} → {names[j]}" for i, j in enumerate(to.tolist()) if i != j)
    return Check("label order", True, f"accuracy {own:.1%} would be {other:.1%} with {swaps}")


def _best_order(table: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each found label the gold label it most likely means, each once: the fullest cells first."""
    to = np.full(len(table), -1)
    cells = np.dstack(np.unravel_index(np.argsort(-table, axis=None, kind="stable"), table.shape))[0]
    for gold, found in cells.tolist():
        if to[found] < 0 and gold not in to:
            to[found] = gold
    return to


def _rows(rows: int, claims: Sequence[Claim]) -> Check:
    """Whether the figures can be those of as many rows as there are."""
    stated = {claim.data.rows for claim in claims if claim.data.rows}
    if stated and stated != {rows}:
        wanted = " or ".join(f"{one:,}" for one in sorted(stated))
        return Check("split", True, f"{rows:,} rows, where the card states {wanted}; it is another split")
    for claim in [one for one in claims if one.metric == "accuracy"]:
        unit = max(10.0**-claim.decimals, 1e-6)  # more digits are those of float32, or of a rounding
        near = round(claim.value * rows) / rows
        if claim.decimals and abs(near - claim.value) > 1.01 * unit:
            told = f"no count of right answers among {rows:,} rows makes {claim.value:.{claim.decimals}f}"
            return Check("split", True, f"{told}; the card's figure is of other rows")
    where = "as many as the card states" if stated else "the card states no count"
    return Check("split", False, f"{rows:,} rows; {where}")


def _length(answers: Answers, most: int) -> Check:
    share = float(answers.truncated.mean())
    suspect = share > MOST_TRUNCATED
    hint = "; --max-length or --too-long window reads more" if suspect else ""
    return Check("length", suspect, f"{share:.2%} of the texts are longer than {most} tokens and cut{hint}")
