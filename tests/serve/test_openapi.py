"""The document tells every route as it is decoded, and the answers that the server really gives fit it."""

import re
from typing import Any

from tests.serve.conftest import Running
from tonewise.serve.dialects import ROUTES


def referenced(document: Any) -> set[str]:
    return set(re.findall(r"#/components/schemas/([\w.-]+)", str(document)))


def test_every_route_is_told(server: Running) -> None:
    status, document, _ = server.ask("/openapi.json")
    assert status == 200
    assert document["openapi"] == "3.1.0"
    for route in ROUTES:
        path = route.path.replace(":path", "")
        assert (route.method.lower() in document["paths"].get(path, {})) is route.document, path
    told = document["paths"]["/classify"]["post"]
    assert "429" in told["responses"]
    names = [one["operationId"] for path in document["paths"].values() for one in path.values()]
    assert len(names) == len(set(names))


def test_every_schema_that_is_referred_to_is_there(server: Running) -> None:
    document = server.ask("/openapi.json")[1]
    assert referenced(document) <= document["components"]["schemas"].keys()
    asked = document["components"]["schemas"]["ClassifyRequest"]
    assert asked["required"] == ["texts"]
    assert asked["additionalProperties"] is False
