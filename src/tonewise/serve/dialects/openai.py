"""OpenAI's `/v1/embeddings`, as the official client speaks it: base64 unless it asks for numbers."""

from base64 import b64encode
from typing import Any, Literal

import msgspec

from tonewise.errors import RequestError
from tonewise.serve.dialects.base import STATUSES, Asked, Dialect, FromOne, Reply, Route, TextsOrIds
from tonewise.tokenizer import Encoding, Text

KINDS = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
CODES = {
    "not_found": "model_not_found",
    "unauthorized": "invalid_api_key",
    "overloaded": "rate_limit_exceeded",
}


def _told(code: str, status: int, message: str) -> Any:
    kind = KINDS.get(status, "invalid_request_error" if status < 500 else "server_error")
    return {"error": {"message": message, "type": kind, "param": None, "code": CODES.get(code, code)}}


OPENAI = Dialect("openai", STATUSES, _told)


class EmbeddingsRequest(msgspec.Struct):
    """`POST /v1/embeddings`: texts, or token ids."""

    input: TextsOrIds
    model: str
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: FromOne = None
    user: str | None = None


class Embedding(msgspec.Struct):
    """One vector: numbers, or base64 of little-endian float32."""

    object: str
    index: int
    embedding: list[float] | str


class EmbeddingsResponse(msgspec.Struct):
    """The vectors in the order of the texts."""

    object: str
    data: list[Embedding]
    model: str
    usage: dict[str, int]


async def embeddings(asked: Asked) -> Reply:
    """A vector a text."""
    body: EmbeddingsRequest = asked.body
    model = asked.service.models.find(body.model)
    vectors = await asked.service.vectors(asked.call, model, _texts(body.input), dimensions=body.dimensions)
    told: list[Any]
    if body.encoding_format == "base64":
        told = [b64encode(row.astype("<f4").tobytes()).decode() for row in vectors]
    else:
        told = vectors.tolist()
    data = [{"object": "embedding", "index": i, "embedding": one} for i, one in enumerate(told)]
    tokens = asked.call.tokens
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return Reply({"object": "list", "data": data, "model": body.model, "usage": usage})


def _texts(given: Any) -> list[Text | Encoding]:
    every = [given] if isinstance(given, str) else given
    if not every:
        raise RequestError("input is empty")
    if all(isinstance(one, int) for one in every):
        every = [every]
    if any(isinstance(one, int) for one in every):
        raise RequestError("input mixes token ids and texts")
    return [Encoding.of(one) if isinstance(one, list) else one for one in every]


ROUTES = (
    Route(
        "POST",
        "/v1/embeddings",
        OPENAI,
        embeddings,
        "OpenAI: a vector a text.",
        asks=EmbeddingsRequest,
        answers=EmbeddingsResponse,
        infers=True,
    ),
)
