"""The OpenAPI document, made from the schemas that requests are decoded with."""

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from tonewise import __version__
from tonewise.serve.dialects import Dialect, Route
from tonewise.serve.dialects.own import OWN

REFERENCES = "#/components/schemas/{name}"
REFUSALS = {
    400: "The request is not what the route takes.",
    401: "A key is wanted.",
    403: "The key, or the page, may not do this.",
    404: "There is no such model.",
    408: "The body did not arrive in time.",
    413: "The body is too large.",
    422: "A text cannot be used, or there are too many.",
    424: "The model cannot answer this.",
    429: "More waits than can be answered soon; `retry-after` says when to come again.",
    500: "A fault of the server.",
    501: "A part that this needs is not installed.",
    502: "The hub did not give the model.",
    503: "The server is starting, stopping or mending itself.",
    504: "The answer did not come in time.",
}
TOLD = """Text classification and embeddings, on your own machine. Routes of several dialects stand side by
side: ours, Hugging Face's Inference API, Text Embeddings Inference, and OpenAI's embeddings."""


def document(routes: Sequence[Route]) -> dict[str, Any]:
    """OpenAPI 3.1 of some routes."""
    schemas = [one for route in routes for one in (route.asks, *_several(route.answers)) if one is not None]
    given, components = msgspec.json.schema_components(schemas, ref_template=REFERENCES)
    drawn = iter(given)
    paths: dict[str, Any] = {}
    for route in routes:
        asks = next(drawn) if route.asks is not None else None
        several = [next(drawn) for _ in _several(route.answers)]
        answers = {"anyOf": several} if len(several) > 1 else next(iter(several), None)
        path = re.sub(r"\{(\w+):path\}", r"{\1}", route.path)
        paths.setdefault(path, {})[route.method.lower()] = _operation(route, asks, answers)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Tonewise", "version": __version__, "description": " ".join(TOLD.split())},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _several(answers: Any) -> tuple[Any, ...]:
    return answers if isinstance(answers, tuple) else () if answers is None else (answers,)


def _operation(route: Route, asks: Any, answers: Any) -> dict[str, Any]:
    told: dict[str, Any] = {
        "summary": route.told,
        "operationId": f"{route.method.lower()}{re.sub(r'[^a-z]+', '_', route.path.lower()).rstrip('_')}",
        "tags": [route.dialect.name],
        "responses": {"200": _response("The answer.", answers)},
    }
    names = re.findall(r"\{(\w+)(?::path)?\}", route.path)
    if names:
        told["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
        ]
    if asks is not None:
        content = {"application/json": {"schema": asks}}
        told["requestBody"] = {"required": route.infers, "content": content}
    if route.role is not None:
        told["security"] = [{"key": []}, {}]
    for status in refusals(route):
        shape = answers if route.path == "/ready" and status == 503 else _problem(route.dialect)
        if status == 404 and names and route.dialect is not OWN:
            shape = {"anyOf": [shape, _problem(OWN)]}  # the path itself may be none: told before any dialect
        told["responses"][str(status)] = _response(REFUSALS[status], shape)
    return told


def refusals(route: Route) -> list[int]:
    """The statuses that a route may answer with beside 200."""
    found = {500, 403}
    if route.role is not None:
        found |= {401}
    if "{" in route.path or route.infers:
        found |= {404, 503}
    if route.asks is not None:
        found |= {400, 408, 413}
    if route.infers or route.role == "admin":
        found |= {*route.dialect.statuses.values(), 422}
    if route.path == "/ready":
        found |= {503}
    return sorted(found & REFUSALS.keys())


def _problem(dialect: Dialect) -> dict[str, Any]:
    """The shape of a dialect's error, as an example of it shows."""
    return _shape(dialect.body("code", 400, "what, where, and what to do"))


def _shape(example: Any) -> dict[str, Any]:
    if isinstance(example, dict):
        inner = {name: _shape(value) for name, value in example.items()}
        return {"type": "object", "properties": inner, "required": list(example)}
    return {"type": ["string", "null"]} if example is None else {"type": "string"}


def _response(told: str, schema: Any) -> dict[str, Any]:
    if schema is None:
        return {"description": told}
    return {"description": told, "content": {"application/json": {"schema": schema}}}
