"""Hugging Face's Inference API: what `InferenceClient` and `@huggingface/inference` send, and need back."""

from base64 import b64encode
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
import numpy as np

from tonewise.errors import ModelError, RequestError, RowError
from tonewise.head import rounded_score, sigmoid, softmax
from tonewise.serve.dialects.base import STATUSES, Asked, Dialect, Reply, Route, stated
from tonewise.serve.models import Model
from tonewise.serve.service import Call, Classified, Policy
from tonewise.tokenizer import Text

TASKS = ("text-classification", "feature-extraction", "sentence-similarity")


def _told(code: str, status: int, message: str) -> Any:
    if status == 401:
        message = "Invalid credentials in Authorization header"  # the hub's client looks for these words
    told: dict[str, Any] = {"error": message}
    if status == 503:
        told["estimated_time"] = 20.0
    return told


def _headers(call: Call) -> list[tuple[str, str]]:
    return [
        ("x-compute-type", "cpu"),
        ("x-compute-time", f"{sum(call.times.values()):.3f}"),
        ("x-compute-characters", str(call.characters)),
    ]


HUGGING_FACE = Dialect("huggingface", STATUSES, _told, _headers)


class Pair(msgspec.Struct):
    """A text with its pair, as `transformers` pipelines take it."""

    text: str
    text_pair: str | None = None


class Sentences(msgspec.Struct):
    """One sentence, and those that it is compared with."""

    source_sentence: str
    sentences: Annotated[list[str], stated(minItems=1)]


class InferenceRequest(msgspec.Struct):
    """`POST /models/{id}`, for each of the three tasks; what is not for the task is not read.

    inputs      one text, many, pairs, or sentences to compare
    parameters  top_k, function_to_apply (sigmoid | softmax | none), truncation, max_length
    options     use_cache
    """

    inputs: str | list[str | dict[str, Any]] | dict[str, Any]
    parameters: dict[str, Any] | None = None
    options: dict[str, Any] | None = None
    normalize: bool | None = None
    truncate: bool | None = None
    truncation_direction: str | None = None
    prompt_name: str | None = None
    dimensions: int | None = None
    encoding_format: Literal["float", "base64"] | None = None


class Element(msgspec.Struct):
    """One label and its score."""

    label: str
    score: float


async def infer(asked: Asked) -> Reply:
    """What the path's task says; without one, what the body's shape and the model's heads say."""
    body: InferenceRequest = asked.body
    name = asked.path.get("name")
    model = asked.service.models.find(name)
    if (body.options or {}).get("use_cache") is False:
        asked.call.use_cache = False
    task = asked.path.get("task") or _task(body, model)
    if task == "text-classification":
        return await _classify(asked, model, body)
    if task == "feature-extraction":
        return await _embed(asked, model, body)
    if task == "sentence-similarity":
        return await _compare(asked, model, body)
    raise RequestError(f"no task '{task}' here; there are: {', '.join(TASKS)}")


def _task(body: InferenceRequest, model: Model) -> str:
    if isinstance(body.inputs, dict) and "source_sentence" in body.inputs:
        return "sentence-similarity"
    return "text-classification" if model.heads else "feature-extraction"


async def _classify(asked: Asked, model: Model, body: InferenceRequest) -> Reply:
    parameters = body.parameters or {}
    known = {"top_k", "function_to_apply", "truncation", "max_length", "return_all_scores"}
    if unknown := parameters.keys() - known:
        raise RequestError(f"unknown parameter '{min(unknown)}'; known: {', '.join(sorted(known))}")
    apply = parameters.get("function_to_apply")
    if apply not in (None, "softmax", "sigmoid", "none"):
        raise RequestError(f"function_to_apply is {apply!r}; wanted: softmax | sigmoid | none")
    top_k = parameters.get("top_k")
    if top_k is not None and (not isinstance(top_k, int) or isinstance(top_k, bool) or top_k < 1):
        raise RequestError(f"top_k is {top_k!r}; wanted: a whole number from 1")
    if len(model.heads) != 1:
        several = ", ".join(f"{model.name}.{head}" for head in model.heads)
        raise ModelError(f"{model.name} has {len(model.heads)} heads; this route answers with one: {several}")
    policy = _policy(body, parameters)
    found = await asked.service.predictions(
        asked.call, model, _texts(body.inputs), policy, logits=apply is not None
    )
    rows = [_elements(model, one, apply, top_k) for one in found]
    return Reply(rows[0] if asked.query.get("shape") == "flat" and len(rows) == 1 else rows)


def _policy(body: InferenceRequest, parameters: dict[str, Any]) -> Policy:
    truncation, most = parameters.get("truncation", body.truncate), parameters.get("max_length")
    if most is not None and (not isinstance(most, int) or isinstance(most, bool)):
        raise RequestError(f"max_length is {most!r}; wanted: a whole number")
    if truncation not in (None, True, False):
        raise RequestError(f"truncation is {truncation!r}; wanted: true or false")
    if (body.truncation_direction or "right").lower() != "right":
        raise RequestError("truncation_direction is 'left'; texts are cut at their end here")
    return Policy({True: "truncate", False: "error"}.get(truncation), most)  # type: ignore[arg-type]


def _texts(inputs: Any) -> list[Text]:
    given = inputs if isinstance(inputs, list) else [inputs]
    return [one if isinstance(one, str) else _pair(one) for one in given]


def _pair(given: dict[str, Any]) -> Text:
    pair = msgspec.convert(given, Pair)
    return pair.text if pair.text_pair is None else (pair.text, pair.text_pair)


def _elements(
    model: Model, found: Classified | RowError, apply: str | None, top_k: int | None
) -> list[dict[str, Any]]:
    """All labels, or the best `top_k`, best first."""
    if isinstance(found, RowError):
        raise found
    prediction, logits = found
    (head,) = model.heads
    scores = prediction.heads[head].scores
    if apply is not None:
        raw = np.asarray(logits[head], np.float32)
        applied = softmax(raw) if apply == "softmax" else sigmoid(raw) if apply == "sigmoid" else raw
        scores = dict(zip(model.bundle.heads[head].labels, applied.tolist(), strict=True))
    ordered = sorted(scores.items(), key=lambda item: -item[1])[:top_k]
    return [{"label": label, "score": rounded_score(score)} for label, score in ordered]


async def _embed(asked: Asked, model: Model, body: InferenceRequest) -> Reply:
    if body.prompt_name is not None:
        raise RequestError(f"prompt_name is '{body.prompt_name}'; the models here have no prompts")
    vectors = await asked.service.vectors(
        asked.call,
        model,
        _texts(body.inputs),
        _policy(body, {}),
        normalize=body.normalize,
        dimensions=body.dimensions,
    )
    if body.encoding_format == "base64":
        return Reply([b64encode(row.astype("<f4").tobytes()).decode() for row in vectors])
    return Reply(vectors.tolist())


async def _compare(asked: Asked, model: Model, body: InferenceRequest) -> Reply:
    sentences = msgspec.convert(body.inputs, Sentences)
    return Reply(await similarities(asked, model, sentences.source_sentence, sentences.sentences, Policy()))


async def similarities(
    asked: Asked, model: Model, source: str, others: Sequence[str], policy: Policy
) -> list[float]:
    """The cosine of one sentence's vector and each of the others'."""
    if not others:
        raise RequestError("sentences is empty; there is nothing to compare with")
    vectors = await asked.service.vectors(asked.call, model, [source, *others], policy, normalize=True)
    return [rounded_score(value) for value in (vectors[1:] @ vectors[0]).tolist()]


def _route(path: str, *, document: bool = True) -> Route:
    told = "Hugging Face's Inference API: a list of answers, one a text, each a list of labels and scores."
    return Route(
        "POST",
        path,
        HUGGING_FACE,
        infer,
        told,
        asks=InferenceRequest,
        answers=(list[list[Element]], list[list[float]], list[float], list[str]),
        infers=True,
        document=document,
    )


ROUTES = (
    _route("/"),
    _route("/pipeline/{task}", document=False),
    _route("/models/{name:path}/pipeline/{task}"),
    _route("/models/{name:path}"),
    _route("/hf-inference/models/{name:path}/pipeline/{task}", document=False),
    _route("/hf-inference/models/{name:path}", document=False),
)
