"""Stage 5 · states → logits → scores → Prediction: what the labels are and how sure the model is."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress, repeat
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from tonewise.calibration import entropy, margin
from tonewise.config import WindowPooling
from tonewise.dense import Dense
from tonewise.encoder.weights import read_head
from tonewise.errors import ModelError
from tonewise.store import Activation, Bundle, HeadSpec, Pooling, ProblemType

Floats = NDArray[np.float32]

ACTIVATIONS: dict[Activation, Callable[[Floats], Floats]] = {
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, np.float32(0)),
    "none": lambda x: x,
}


@dataclass(frozen=True, slots=True)
class HeadPrediction:
    """One head's answer for one text.

    label      the best label; None when the head abstained, for multi label and for regression
    labels     for multi label and one-output heads: those whose score reaches their threshold
    score      of the best label; for regression the value itself
    scores     of every label, in the model's order
    abstained  the best score is under the head's `abstain_below`
    """

    label: str | None
    score: float
    scores: dict[str, float]
    labels: tuple[str, ...] | None = None
    abstained: bool = False

    @property
    def entropy(self) -> float | None:
        """Of the scores, in nats; for multi label the mean over its labels; None for regression."""
        return None if self._is_value else float(entropy(self._row, self.labels is not None)[0])

    @property
    def margin(self) -> float | None:
        """Best score minus second; for multi label the least distance from 0.5; None for regression."""
        return None if self._is_value else float(margin(self._row, self.labels is not None)[0])

    @property
    def _is_value(self) -> bool:
        return self.label is None and self.labels is None and not self.abstained

    @property
    def _row(self) -> Floats:
        return np.asarray([list(self.scores.values())], np.float32)


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer for one text; `label`, `labels`, `score`, `scores`, `abstained` when there is one head.

    n_tokens   of the whole text, special tokens included, before any cut
    truncated  a part of the text was not seen
    """

    heads: Mapping[str, HeadPrediction]
    n_tokens: int
    truncated: bool = False

    @property
    def only(self) -> HeadPrediction:
        """The one head's answer. Raises AttributeError when there are several."""
        if len(self.heads) != 1:
            raise AttributeError(f"several heads answered: use .heads[NAME]; names: {', '.join(self.heads)}")
        return next(iter(self.heads.values()))

    @property
    def label(self) -> str | None:
        """`HeadPrediction.label` of the one head."""
        return self.only.label

    @property
    def labels(self) -> tuple[str, ...] | None:
        """`HeadPrediction.labels` of the one head."""
        return self.only.labels

    @property
    def score(self) -> float:
        """`HeadPrediction.score` of the one head."""
        return self.only.score

    @property
    def scores(self) -> dict[str, float]:
        """`HeadPrediction.scores` of the one head."""
        return self.only.scores

    @property
    def abstained(self) -> bool:
        """`HeadPrediction.abstained` of the one head."""
        return self.only.abstained


SEPARATORS = (",", "|", ";", "\n")


@dataclass(frozen=True, slots=True)
class HeadShape:
    """What a head can answer, and how that stands in a flat row: a table, a data frame.

    multi_label  several labels hold at once
    """

    labels: tuple[str, ...]
    multi_label: bool = False

    @property
    def separator(self) -> str:
        """Joins the labels of a flat row: a comma, unless a label holds one."""
        return next(mark for mark in SEPARATORS if not any(mark in label for label in self.labels))

    def columns(self, name: str, *, scores: bool, uncertainty: bool = False) -> list[str]:
        """HEAD, HEAD_score; with `uncertainty` HEAD_entropy, HEAD_margin; with `scores` HEAD_score_LABEL."""
        unsure = [f"{name}_entropy", f"{name}_margin"] if uncertainty else []
        return [name, f"{name}_score", *unsure, *(f"{name}_score_{label}" for label in self.labels if scores)]

    def cells(
        self,
        answer: HeadPrediction | None,
        *,
        scores: bool,
        top_k: int | None = None,
        uncertainty: bool = False,
    ) -> list[str | float | None]:
        """The answer under `columns`: labels joined, scores beyond `top_k` None; no answer is all None."""
        if answer is None:
            return [None] * len(self.columns("", scores=scores, uncertainty=uncertainty))
        label = answer.label if answer.labels is None else self.separator.join(answer.labels)
        cells: list[str | float | None] = [label, rounded_score(answer.score)]
        if uncertainty:
            cells += rounded_uncertainty(answer).values()
        if scores:
            kept = answer.scores if top_k is None else best_scores(answer, top_k)
            cells += [rounded_score(kept[name]) if name in kept else None for name in self.labels]
        return cells


def best_scores(answer: HeadPrediction, top_k: int) -> dict[str, float]:
    """The `top_k` highest scores, best first; equal ones in the model's order."""
    return dict(sorted(answer.scores.items(), key=lambda item: -item[1])[:top_k])


def rounded_score(score: float) -> float:
    """Six significant digits: all that float32 carries, at half the length."""
    return float(f"{score:.6g}")


def rounded_uncertainty(answer: HeadPrediction) -> dict[str, float | None]:
    """`entropy` and `margin` as records hold them; None for regression."""
    found = {"entropy": answer.entropy, "margin": answer.margin}
    return {name: None if value is None else rounded_score(value) for name, value in found.items()}


class Head:
    """A small matrix product over a pooled state, and the meaning of its outputs.

    A mapped head answers in its consumer's K labels. Where one label is right, scores of those that become
    one are summed, as is the probability that one of them is right. Where several may be, the greatest
    counts, and the merged label holds when any of its own labels reaches its own threshold.

    labels  those that it answers in, in the model's order
    """

    def __init__(self, name: str, spec: HeadSpec, tensors: Mapping[str, Floats]) -> None:
        """Take `dense.*` (optional) and `output.*` from `tensors`; raises ModelError when shapes disagree."""
        self.name = name
        self.spec = spec
        self.labels = spec.answers
        self._thresholds = np.asarray(spec.thresholds or [0.5] * len(spec.labels), np.float32)
        _check_spec(name, spec)
        for part, tensor in tensors.items():
            if tensor.ndim != (2 if part.endswith("weight") else 1):
                raise ModelError(f"head '{name}': its tensor {part} has {tensor.ndim} dimensions")
        labels, (outputs, inputs) = len(spec.labels), tensors["output.weight"].shape
        if outputs != labels:
            raise ModelError(f"head '{name}' has {labels} labels but {outputs} outputs")
        if len(self._thresholds) != labels:
            raise ModelError(f"head '{name}' has {labels} labels but {len(self._thresholds)} thresholds")
        own = spec.mapping or spec.labels
        self._merged = [np.flatnonzero([label == one for one in own]) for label in self.labels]
        if spec.dense and tensors["dense.bias"].shape != (inputs,):
            raise ModelError(f"head '{name}': its dense layer does not fit the {inputs} inputs of its output")
        self._output = Dense(tensors["output.weight"], tensors["output.bias"])
        self._dense = Dense(tensors["dense.weight"], tensors["dense.bias"]) if spec.dense else None
        self.inputs = (self._dense or self._output).inputs

    @property
    def is_multi_label(self) -> bool:
        """Whether the answer is a set of labels: multi label, and a single sigmoid output."""
        problem = self.spec.problem_type
        one_output = problem != "regression" and len(self.spec.labels) == 1
        return problem == "multi_label_classification" or one_output

    @property
    def shape(self) -> HeadShape:
        """What it can answer."""
        return HeadShape(self.labels, self.is_multi_label)

    def logits(self, states: Floats) -> Floats:
        """float32[N, H] → float32[N, L], before temperature. What overflows shows in its value."""
        with np.errstate(over="ignore", invalid="ignore"):
            if self._dense:
                states = ACTIVATIONS[self.spec.activation](self._dense(states))
            return self._output(states)

    def scores(self, logits: Floats) -> Floats:
        """float32[N, L] → float32[N, L]: softmax, sigmoid or nothing, as `problem_type` says.

        Of a mapped head where one label is right the scores are merged here, before windows are pooled:
        float32[N, K]. Those of several labels stay apart until their thresholds were asked.
        """
        if self.spec.problem_type == "regression":
            return logits
        scaled = logits / np.float32(self.spec.temperature)
        return sigmoid(scaled) if self.is_multi_label else self._merge(softmax(scaled), np.sum)

    def decode(self, scores: Floats) -> list[HeadPrediction]:
        """Scores as `scores` gives them → N answers."""
        reached: Iterable[list[bool] | None] = repeat(None, len(scores))
        if self.is_multi_label:
            reached = self._merge(scores >= self._thresholds, np.any).tolist()
            scores = self._merge(scores, np.max)
        rows = zip(scores.tolist(), scores.argmax(axis=1).tolist(), reached, strict=True)
        return [self._answer(row, best, held) for row, best, held in rows]

    def _answer(self, row: list[float], best: int, held: list[bool] | None) -> HeadPrediction:
        names, score = self.labels, row[best]
        table = dict(zip(names, row, strict=True))
        if self.spec.problem_type == "regression":
            return HeadPrediction(None, score, table)
        floor = self.spec.abstain_below
        abstained = floor is not None and score < floor
        if held is not None:
            labels = () if abstained else tuple(compress(names, held))
            return HeadPrediction(None, score, table, labels, abstained)
        return HeadPrediction(None if abstained else names[best], score, table, None, abstained)

    def _merge(self, columns: NDArray[Any], join: Callable[..., NDArray[Any]]) -> NDArray[Any]:
        """[N, L] → [N, K]; as it is where nothing is mapped."""
        if self.spec.mapping is None:
            return columns
        return np.stack([join(columns[:, own], axis=1) for own in self._merged], axis=1)


def open_head(bundle: Bundle, name: str, spec: HeadSpec, hidden_size: int) -> Head:
    """Read a bundle's head. Raises ModelError for one that does not fit the encoder."""
    head = Head(name, spec, read_head(bundle.weights, spec.dense, spec.output, bundle.ref))
    if head.inputs != hidden_size:
        told = f"reads {head.inputs} numbers, but config.json tells of {hidden_size}"
        raise ModelError(f"{bundle.ref}: head '{name}' {told}")
    return head


def _check_spec(name: str, spec: HeadSpec) -> None:
    """A manifest may name what this program does not compute."""
    for what, value, known in (
        ("activation", spec.activation, get_args(Activation)),
        ("pooling", spec.pooling, get_args(Pooling)),
        ("problem_type", spec.problem_type, get_args(ProblemType)),
    ):
        if value not in known:
            raise ModelError(f"head '{name}' has {what} '{value}'; known: {', '.join(known)}")
    if len(set(spec.labels)) != len(spec.labels):
        raise ModelError(f"head '{name}' names a label twice")
    if spec.mapping is not None and len(spec.mapping) != len(spec.labels):
        raise ModelError(f"head '{name}' has {len(spec.labels)} labels but maps {len(spec.mapping)}")
    if not 0 < spec.temperature < np.inf:
        raise ModelError(f"head '{name}' has temperature {spec.temperature}; wanted: a number above 0")


def softmax(logits: Floats) -> Floats:
    """Along the last axis; shifted by the maximum, so that no finite logit overflows."""
    exponent = np.exp(logits - logits.max(axis=-1, keepdims=True))
    result: Floats = exponent / exponent.sum(axis=-1, keepdims=True)
    return result


def sigmoid(logits: Floats) -> Floats:
    """1 / (1 + e^-x) by tanh, which does not overflow."""
    result: Floats = np.float32(0.5) * (np.tanh(np.float32(0.5) * logits) + np.float32(1))
    return result


def pool_windows(scores: Floats, starts: Sequence[int], how: WindowPooling) -> Floats:
    """float32[R, L] of windows → float32[N, L] of texts; text i owns the rows from `starts[i]` on."""
    if len(starts) == len(scores):
        return scores
    if how == "max":
        best: Floats = np.maximum.reduceat(scores, starts, axis=0)
        return best
    counts = np.diff([*starts, len(scores)])[:, None].astype(np.float32)
    mean: Floats = np.divide(np.add.reduceat(scores, starts, axis=0), counts)
    return mean


def poolings_of(heads: Iterable[Head]) -> tuple[Any, ...]:
    """The poolings that these heads read, each once, in a fixed order."""
    return tuple(sorted({head.spec.pooling for head in heads}))
