"""The one shape of an answer: a record for JSON and HTTP, a flat row for CSV, Parquet and frames."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tonewise.errors import InputError
from tonewise.head import (
    Head,
    HeadPrediction,
    HeadShape,
    Prediction,
    best_scores,
    rounded_score,
    rounded_uncertainty,
)
from tonewise.source import Example, check_clash
from tonewise.source.texts import Rows


@dataclass(frozen=True, slots=True)
class AnswerSchema:
    """What every answer of a run has in common.

    heads    by name, in the order of the columns
    model    {"ref", "digest"}, as each record quotes it
    columns  of the input, in order; () where rows are bare texts
    """

    heads: Mapping[str, HeadShape]
    model: Mapping[str, Any] = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    text_column: str | None = None
    text_pair_column: str | None = None

    @classmethod
    def of(cls, source: Rows, heads: Iterable[Head], model: Mapping[str, Any]) -> "AnswerSchema":
        """The schema of one run: these heads over this source."""
        shapes = {head.name: head.shape for head in heads}
        return cls(shapes, dict(model), source.columns, source.text_column, source.text_pair_column)


def record(
    example: Example,
    prediction: Prediction,
    model: Mapping[str, Any],
    top_k: int | None = None,
    uncertainty: bool = False,
) -> dict[str, Any]:
    """The record that files and HTTP share; `top_k` keeps the best scores, best first.

    With `uncertainty` each head's answer has its `entropy` and `margin` too. Scores have six significant
    digits, which is what float32 carries. `fields` are handed on as they are: `to_json` writes them.
    """
    result: dict[str, Any] = {"id": example.id, "text": example.text}
    if example.text_pair is not None:
        result["text_pair"] = example.text_pair
    result["fields"] = example.fields
    result["predictions"] = {name: _answer(one, top_k, uncertainty) for name, one in prediction.heads.items()}
    result["n_tokens"] = prediction.n_tokens
    result["truncated"] = prediction.truncated
    result["model"] = model
    return result


def _answer(answer: HeadPrediction, top_k: int | None, uncertainty: bool) -> dict[str, Any]:
    scores = answer.scores if top_k is None else best_scores(answer, top_k)
    rounded = {label: rounded_score(score) for label, score in scores.items()}
    named: dict[str, Any] = (
        {"label": answer.label} if answer.labels is None else {"labels": list(answer.labels)}
    )
    unsure = rounded_uncertainty(answer) if uncertainty else {}
    return {
        **named,
        "score": rounded_score(answer.score),
        **unsure,
        "scores": rounded,
        "abstained": answer.abstained,
    }


def answer_columns(schema: AnswerSchema, scores: bool = False, uncertainty: bool = False) -> list[str]:
    """Names of the answer's columns, as `HeadShape.columns` gives them for each head."""
    return [
        name
        for head, shape in schema.heads.items()
        for name in shape.columns(head, scores=scores, uncertainty=uncertainty)
    ]


def columns(schema: AnswerSchema, scores: bool = False, uncertainty: bool = False) -> list[str]:
    """Names of a flat row: the input's columns (`text` where it had none), then the answer's.

    Raises InputError, naming it, for a column that both would have.
    """
    added = answer_columns(schema, scores, uncertainty)
    own = schema.columns or ("text",)
    check_clash(own, added)
    return [*own, *added]


def answer_cells(
    prediction: Prediction,
    schema: AnswerSchema,
    scores: bool = False,
    top_k: int | None = None,
    uncertainty: bool = False,
) -> list[Any]:
    """The values of `answer_columns`: labels of a multi-label head joined, scores beyond `top_k` None."""
    return [
        cell
        for name, shape in schema.heads.items()
        for cell in shape.cells(prediction.heads[name], scores=scores, top_k=top_k, uncertainty=uncertainty)
    ]


def input_cells(example: Example, schema: AnswerSchema) -> list[Any]:
    """The input's own values, in the order of its columns; None where this row has no such field.

    Raises InputError for a field that the first row had not: a flat row has no place for it.
    """
    if not schema.columns:
        return [example.text]
    values: dict[str, Any] = {**example.fields, str(schema.text_column): example.text}
    if schema.text_pair_column is not None:
        values[schema.text_pair_column] = example.text_pair
    cells = [values.get(name) for name in schema.columns]
    if len(values) > len(cells) or not values.keys() <= set(schema.columns):
        new = next(name for name in values if name not in schema.columns)
        hint = "write .jsonl, whose rows may differ"
        raise InputError(f"{example.where}: column '{new}' was not in the first row; {hint}")
    return cells


def row(
    example: Example,
    prediction: Prediction,
    schema: AnswerSchema,
    scores: bool = False,
    top_k: int | None = None,
    uncertainty: bool = False,
) -> list[Any]:
    """The values of `columns`. Raises InputError for a field that the first row had not."""
    return input_cells(example, schema) + answer_cells(prediction, schema, scores, top_k, uncertainty)
