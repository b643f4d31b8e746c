"""Our own dialect: one record a text, as files hold it; models, health and readiness."""

import time
from typing import Annotated, Any, Literal

import msgspec

from tonewise.errors import RequestError, RowError
from tonewise.head import rounded_score
from tonewise.serve.dialects.base import STATUSES, Asked, Dialect, FromOne, Reply, Route, stated
from tonewise.serve.models import Model
from tonewise.serve.service import Call, Classified, Policy
from tonewise.sinks.record import record
from tonewise.source import Example
from tonewise.store import HeadSpec
from tonewise.tokenizer import Text

DIFFERENT = {
    **{"bad_config": 400, "bad_input": 422, "too_long": 422, "bad_model": 422, "altered": 422},
    **{"hub_failed": 502, "missing_extra": 501},
}
Pair = Annotated[list[str], stated(minItems=2, maxItems=2)]


def _told(code: str, status: int, message: str) -> Any:
    return {"error": {"code": code, "message": message}}


def _stages(call: Call) -> list[tuple[str, str]]:
    """`server-timing` (W3C), in milliseconds: what browsers and proxies read."""
    took = {**call.times, "total": time.monotonic() - call.begun}
    return [("server-timing", ", ".join(f"{stage};dur={each * 1000:.2f}" for stage, each in took.items()))]


OWN = Dialect("tonewise", STATUSES | DIFFERENT, _told, _stages)


class ClassifyRequest(msgspec.Struct, forbid_unknown_fields=True):
    """`POST /classify`.

    texts        one text, or many; a pair of texts is a list of two strings inside of the list
    model        by name; default: the first one served
    heads        to answer with; default: all of the model's
    top_k        scores kept a head, best first; default: all, in the model's order
    too_long     truncate | error | window; default: as the server was started
    max_length   tokens of a text; default: the model's
    logits       add each head's raw outputs
    uncertainty  add each head's entropy (nats) and margin
    """

    texts: str | list[str | Pair]
    model: str | None = None
    heads: list[str] = []
    top_k: FromOne = None
    too_long: Literal["truncate", "error", "window"] | None = None
    max_length: int | None = None
    logits: bool = False
    uncertainty: bool = False


class HeadAnswer(msgspec.Struct, omit_defaults=True):
    """What one head says of a text; a multi-label head has `labels` in place of `label`."""

    score: float
    scores: dict[str, float]
    abstained: bool
    label: str | None = None
    labels: list[str] | None = None
    entropy: float | None = None
    margin: float | None = None
    logits: dict[str, float] | None = None


class Problem(msgspec.Struct):
    """Why a text, or a request, has no answer: a stable word, and words for a person."""

    code: str
    message: str


class Record(msgspec.Struct, omit_defaults=True):
    """One text: its answers by head, or `error` in their place. `n_tokens` is before any cut."""

    id: int
    text: str
    text_pair: str | None = None
    fields: dict[str, Any] = {}
    predictions: dict[str, HeadAnswer] = {}
    n_tokens: int = 0
    truncated: bool = False
    model: dict[str, str] = {}
    error: Problem | None = None


class ClassifyResponse(msgspec.Struct):
    """One record a text, in the order of the texts."""

    answers: list[Record]
    usage: dict[str, int]


class HeadInfo(msgspec.Struct):
    """What a head answers; `thresholds` are those of a multi-label head, from which a label holds."""

    labels: list[str]
    problem_type: str
    thresholds: list[float] | None


class ModelInfo(msgspec.Struct):
    """A model that is served: what it is, whether it is in memory, and on which terms it may be used."""

    id: str
    object: str
    created: int
    owned_by: str
    name: str
    ref: str
    digest: str
    licence: str | None
    data_terms: str | None
    state: str
    heads: dict[str, HeadInfo]
    engine: str | None
    precision: str | None
    max_length: int | None
    memory_bytes: int | None
    default: bool


class ModelList(msgspec.Struct):
    """`GET /v1/models`, as OpenAI's clients read it."""

    object: str
    data: list[ModelInfo]


class LoadRequest(msgspec.Struct, forbid_unknown_fields=True):
    """`POST /v1/models/{name}/load`; `ref` names another version, to take the present one's place."""

    ref: str | None = None


class Status(msgspec.Struct):
    """Of `/health` and `/ready`."""

    status: str


async def classify(asked: Asked) -> Reply:
    """Every text answered or told why not."""
    body: ClassifyRequest = asked.body
    if body.top_k is not None and body.top_k < 1:
        raise RequestError(f"top_k is {body.top_k}; the least is 1")
    model = asked.service.models.find(body.model)
    given = [body.texts] if isinstance(body.texts, str) else body.texts
    texts = [_text(one, i) for i, one in enumerate(given)]
    found = await asked.service.predictions(
        asked.call,
        model,
        texts,
        Policy(body.too_long, body.max_length),
        heads=body.heads,
        logits=body.logits,
    )
    answers = [_answer(body, model, i, *one) for i, one in enumerate(zip(texts, found, strict=True))]
    return Reply({"answers": answers, "usage": {"texts": len(texts), "tokens": asked.call.tokens}})


def _text(given: str | list[str], place: int) -> Text:
    if isinstance(given, str):
        return given
    if len(given) != 2:
        raise RequestError(f"texts[{place}] is a list of {len(given)} strings; a pair has two")
    return given[0], given[1]


def _answer(
    body: ClassifyRequest, model: Model, place: int, text: Text, found: Classified | RowError
) -> dict[str, Any]:
    first, second = (text, None) if isinstance(text, str) else text
    if isinstance(found, RowError):
        error = {"code": found.code, "message": found.reason}
        return {"id": place + 1, "text": first, "error": error}
    prediction, logits = found
    about = {"ref": model.ref, "digest": model.bundle.digest}
    told = record(Example(first, second, id=place + 1), prediction, about, body.top_k, body.uncertainty)
    for head in prediction.heads if logits else ():
        labels = model.bundle.heads[head].labels
        values = [rounded_score(value) for value in logits[head].tolist()]
        told["predictions"][head]["logits"] = dict(zip(labels, values, strict=True))
    return told


async def models(asked: Asked) -> Reply:
    """What is served."""
    every = asked.service.models
    return Reply(ModelList("list", [info(one, one is every.default) for one in every]))


async def model(asked: Asked) -> Reply:
    """One of them."""
    found = asked.service.models.find(asked.path["name"])
    return Reply(info(found, found is asked.service.models.default))


async def load(asked: Asked) -> Reply:
    """Open a model, or another version of it; requests in flight are answered by the one they met."""
    ref = asked.body.ref if asked.body is not None else None
    found = await asked.service.models.load(asked.path["name"], ref)
    return Reply(info(found, found is asked.service.models.default))


async def unload(asked: Asked) -> Reply:
    """Free a model's memory; the next request for it opens it again."""
    found = asked.service.models.unload(asked.path["name"])
    return Reply(info(found, found is asked.service.models.default))


async def health(asked: Asked) -> Reply:
    """Alive: the loop answers."""
    return Reply(Status("ok"))


async def ready(asked: Asked) -> Reply:
    """Ready: a real forward pass succeeded lately."""
    if await asked.service.is_ready():
        return Reply(Status("ready"))
    return Reply(Status("not ready"), 503)


def info(one: Model, default: bool) -> ModelInfo:
    """What is told of a model."""
    manifest, opened = one.bundle.manifest, one.opened
    classifier = opened.classifier if opened else None
    return ModelInfo(
        id=one.id,
        object="model",
        created=0,
        owned_by=one.id.partition("/")[0],
        name=one.name,
        ref=one.ref,
        digest=one.bundle.digest,
        licence=manifest.licence,
        data_terms=manifest.data_terms,
        state=one.state,
        heads={
            name: HeadInfo(list(head.answers), head.problem_type, _thresholds(head))
            for name, head in one.bundle.heads.items()
        },
        engine=classifier.engine.name if classifier else None,
        precision=classifier.engine.precision if classifier else None,
        max_length=classifier.tokenizer.max_length if classifier else None,
        memory_bytes=opened.bytes if opened else None,
        default=default,
    )


def _thresholds(head: HeadSpec) -> list[float] | None:
    """None too where labels were mapped: several thresholds may stand behind one of those."""
    if head.problem_type != "multi_label_classification" or head.mapping is not None:
        return None
    return list(head.thresholds or [0.5] * len(head.labels))


NAMED = "/v1/models/{name:path}"
ROUTES = (
    Route(
        "POST",
        "/classify",
        OWN,
        classify,
        "Classify texts with one model's heads, in one forward pass.",
        asks=ClassifyRequest,
        answers=ClassifyResponse,
        infers=True,
    ),
    Route("GET", "/v1/models", OWN, models, "The models that are served.", answers=ModelList),
    Route(
        "POST",
        f"{NAMED}/load",
        OWN,
        load,
        "Open a model, or put another version in its place.",
        asks=LoadRequest | None,
        answers=ModelInfo,
        role="admin",
    ),
    Route(
        "POST",
        f"{NAMED}/unload",
        OWN,
        unload,
        "Free a model's memory.",
        answers=ModelInfo,
        role="admin",
    ),
    Route("GET", NAMED, OWN, model, "One of the models.", answers=ModelInfo),
    Route("GET", "/health", OWN, health, "Whether the server is alive.", answers=Status, role=None),
    Route("GET", "/ready", OWN, ready, "Whether a forward pass succeeded lately.", answers=Status, role=None),
)
