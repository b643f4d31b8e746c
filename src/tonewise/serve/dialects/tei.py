"""Text Embeddings Inference 1.9: its routes, shapes, its trap of pairs, its statuses."""

from typing import Annotated, Any

import msgspec

from tonewise import __version__
from tonewise.errors import InputError, ModelError, RequestError, RowError
from tonewise.head import rounded_score
from tonewise.serve.dialects.base import (
    STATUSES,
    Asked,
    AtTheEnd,
    Dialect,
    FromOne,
    NoPrompt,
    Reply,
    Route,
    TextsOrIds,
    stated,
)
from tonewise.serve.dialects.huggingface import Element, Sentences, similarities
from tonewise.serve.models import Model
from tonewise.serve.service import Call, Classified, Policy
from tonewise.tokenizer import Encoding, Text

DIFFERENT = {
    **{"bad_input": 422, "too_long": 422},
    **{"bad_model": 424, "engine_failed": 424, "out_of_memory": 424},
}
KINDS = {424: "Backend", 429: "Overloaded", 503: "Unhealthy", 500: "Backend", 504: "Overloaded"}


def _told(code: str, status: int, message: str) -> Any:
    kind = "Empty" if message.startswith("inputs is empty") else KINDS.get(status, "Validation")
    return {"error": message, "error_type": kind}


def _headers(call: Call) -> list[tuple[str, str]]:
    """Milliseconds, as TEI has them."""
    times = {stage: f"{call.times.get(stage, 0.0) * 1000:.0f}" for stage in ("tokenize", "queue", "compute")}
    return [
        ("x-compute-type", "cpu"),
        ("x-compute-characters", str(call.characters)),
        ("x-compute-tokens", str(call.tokens)),
        ("x-compute-time", f"{sum(call.times.values()) * 1000:.0f}"),
        ("x-total-time", f"{sum(call.times.values()) * 1000:.0f}"),
        ("x-tokenization-time", times["tokenize"]),
        ("x-queue-time", times["queue"]),
        ("x-inference-time", times["compute"]),
    ]


TEI = Dialect("tei", STATUSES | DIFFERENT, _told, _headers)
OneOrPair = Annotated[list[str], stated(minItems=1, maxItems=2)]


class PredictRequest(msgspec.Struct):
    """`POST /predict`. A list of two strings is one pair; a batch is a list of lists of one or two."""

    inputs: Annotated[
        str | list[str | OneOrPair],
        stated(
            minItems=1,
            oneOf=[
                {"type": "string"},
                {"type": "array", "items": {"type": "string"}, "maxItems": 2},
                {"type": "array", "items": {"type": "array"}},
            ],
        ),
    ]
    truncate: bool | None = None
    truncation_direction: AtTheEnd = None
    raw_scores: bool = False


class EmbedRequest(msgspec.Struct):
    """`POST /embed`."""

    inputs: TextsOrIds
    truncate: bool | None = None
    truncation_direction: AtTheEnd = None
    prompt_name: NoPrompt = None
    normalize: bool = True
    dimensions: FromOne = None


class SimilarityParameters(msgspec.Struct):
    """Of `POST /similarity`."""

    truncate: bool | None = None
    truncation_direction: AtTheEnd = None
    prompt_name: NoPrompt = None


class SimilarityRequest(msgspec.Struct):
    """`POST /similarity`."""

    inputs: Sentences
    parameters: SimilarityParameters | None = None


class TokenizeRequest(msgspec.Struct):
    """`POST /tokenize`."""

    inputs: Annotated[str | list[str], stated(minItems=1)]
    add_special_tokens: bool = True
    prompt_name: NoPrompt = None


class Token(msgspec.Struct):
    """One token; `start` and `stop` count characters of the text."""

    id: int
    text: str
    special: bool
    start: int | None
    stop: int | None


class Info(msgspec.Struct):
    """`GET /info`."""

    model_id: str
    model_sha: str | None
    model_dtype: str
    served_model_name: str
    model_type: dict[str, Any]
    max_concurrent_requests: int
    max_input_length: int
    max_batch_tokens: int
    max_batch_requests: int | None
    max_client_batch_size: int
    auto_truncate: bool
    tokenization_workers: int
    version: str
    sha: str | None
    docker_label: str | None


async def predict(asked: Asked) -> Reply:
    """Labels and scores, best first: a list for one text or pair, a list of lists for a batch."""
    body: PredictRequest = asked.body
    model = _one_head(asked.service.models.default)
    texts, single = _predicted(body.inputs)
    policy = _policy(body.truncate, body.truncation_direction)
    found = await asked.service.predictions(asked.call, model, texts, policy, logits=body.raw_scores)
    rows = [_elements(model, one, body.raw_scores) for one in found]
    return Reply(rows[0] if single else rows)


def _one_head(model: Model) -> Model:
    if len(model.heads) != 1:
        raise ModelError(f"/predict answers with one head, and {model.name} has {len(model.heads)}")
    return model


def _predicted(inputs: str | list[str | list[str]]) -> tuple[list[Text], bool]:
    """The texts, and whether the answer is flat."""
    if isinstance(inputs, str):
        return [inputs], True
    if not inputs:
        raise RequestError("inputs is empty")
    if all(isinstance(one, str) for one in inputs):
        if len(inputs) > 2:
            raise InputError(f"inputs is a list of {len(inputs)} strings; a batch is a list of lists")
        return [_sequence(inputs)], True
    if any(isinstance(one, str) for one in inputs):
        raise RequestError("inputs mixes strings and lists; a batch is a list of lists")
    return [_sequence(one) for one in inputs], False


def _sequence(parts: Any) -> Text:
    if not 1 <= len(parts) <= 2:
        raise InputError(
            f"a text of a batch is a list of {len(parts)} strings; wanted: one, or two for a pair"
        )
    return parts[0] if len(parts) == 1 else (parts[0], parts[1])


def _elements(model: Model, found: Classified | RowError, raw: bool) -> list[dict[str, Any]]:
    if isinstance(found, RowError):
        raise found
    prediction, logits = found
    (head,) = model.heads
    scores = prediction.heads[head].scores
    if raw:
        scores = dict(zip(model.bundle.heads[head].labels, logits[head].tolist(), strict=True))
    ordered = sorted(scores.items(), key=lambda item: -item[1])
    return [{"score": rounded_score(score), "label": label} for label, score in ordered]


def _policy(truncate: bool | None, direction: str | None) -> Policy:
    if (direction or "right").lower() != "right":
        raise InputError("truncation_direction is 'left'; texts are cut at their end here")
    return Policy(None if truncate is None else "truncate" if truncate else "error")


async def embed(asked: Asked) -> Reply:
    """A vector a text."""
    body: EmbedRequest = asked.body
    _no_prompt(body.prompt_name)
    texts = _embedded(body.inputs)
    policy = _policy(body.truncate, body.truncation_direction)
    vectors = await asked.service.vectors(
        asked.call,
        asked.service.models.default,
        texts,
        policy,
        normalize=body.normalize,
        dimensions=body.dimensions,
    )
    return Reply(vectors.tolist())


def _embedded(inputs: str | list[str | int | list[int]]) -> list[Text | Encoding]:
    given: list[Any] = [inputs] if isinstance(inputs, str) else inputs
    if not given:
        raise RequestError("inputs is empty")
    if all(isinstance(one, int) for one in given):
        given = [given]
    if any(isinstance(one, int) for one in given):
        raise RequestError("inputs mixes token ids and texts")
    return [Encoding.of(one) if isinstance(one, list) else one for one in given]


def _no_prompt(name: str | None) -> None:
    if name is not None:
        raise InputError(f"prompt_name is '{name}'; the models here have no prompts")


async def similarity(asked: Asked) -> Reply:
    """A cosine a sentence."""
    body: SimilarityRequest = asked.body
    given = body.parameters or SimilarityParameters()
    _no_prompt(given.prompt_name)
    policy = _policy(given.truncate, given.truncation_direction)
    model, inputs = asked.service.models.default, body.inputs
    return Reply(await similarities(asked, model, inputs.source_sentence, inputs.sentences, policy))


async def tokenize(asked: Asked) -> Reply:
    """The tokens of each text, whole, with their places in it."""
    body: TokenizeRequest = asked.body
    _no_prompt(body.prompt_name)
    texts = [body.inputs] if isinstance(body.inputs, str) else body.inputs
    if not texts:
        raise RequestError("inputs is empty")
    found = await asked.service.tokens(asked.call, asked.service.models.default, texts)
    rows = [
        [
            {"id": one.id, "text": one.text, "special": one.special, "start": one.start, "stop": one.stop}
            for one in row
            if body.add_special_tokens or not one.special
        ]
        for row in found
    ]
    return Reply(rows)


async def about(asked: Asked) -> Reply:
    """What is served, in TEI's words."""
    service, model = asked.service, asked.service.models.default
    opened = await service.models.use(model)
    try:
        classifier, origin = opened.classifier, model.bundle.manifest.origin
        kind: dict[str, Any] = {"embedding": {"pooling": "mean"}}
        if len(model.heads) == 1:
            names = dict(enumerate(model.bundle.heads[model.heads[0]].answers))
            labels = {"id2label": {str(i): name for i, name in names.items()}}
            kind = {"classifier": labels | {"label2id": {name: i for i, name in names.items()}}}
        serve = service.config.serve
        return Reply(
            Info(
                model_id=model.id,
                model_sha=origin.get("commit") or model.bundle.digest,
                model_dtype=classifier.engine.precision,
                served_model_name=model.name,
                model_type=kind,
                max_concurrent_requests=serve.max_texts,
                max_input_length=classifier.tokenizer.max_length,
                max_batch_tokens=classifier.config.batch.budget,
                max_batch_requests=classifier.config.batch.max_batch_rows,
                max_client_batch_size=serve.max_texts,
                auto_truncate=classifier.tokenizer.config.too_long == "truncate",
                tokenization_workers=1,
                version=__version__,
                sha=None,
                docker_label=None,
            )
        )
    finally:
        opened.release()


ROUTES = (
    Route(
        "POST",
        "/predict",
        TEI,
        predict,
        "TEI: labels and scores of a text, a pair (two strings), or a batch (a list of lists).",
        asks=PredictRequest,
        answers=(list[Element], list[list[Element]]),
        infers=True,
    ),
    Route(
        "POST",
        "/embed",
        TEI,
        embed,
        "TEI: a vector a text.",
        asks=EmbedRequest,
        answers=list[list[float]],
        infers=True,
    ),
    Route(
        "POST",
        "/similarity",
        TEI,
        similarity,
        "TEI: how near sentences are to one.",
        asks=SimilarityRequest,
        answers=list[float],
        infers=True,
    ),
    Route(
        "POST",
        "/tokenize",
        TEI,
        tokenize,
        "TEI: the tokens of texts.",
        asks=TokenizeRequest,
        answers=list[list[Token]],
        infers=True,
    ),
    Route("GET", "/info", TEI, about, "TEI: what is served.", answers=Info),
)
