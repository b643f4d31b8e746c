"""What the OpenAPI document says is so, whatever is sent: Schemathesis draws the cases from the document."""

import os
import re
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from schemathesis.core.failures import Failure, ServerError
from schemathesis.openapi.checks import RejectedPositiveData

from tests.doubles import MakeModel, write_bundle
from tests.serve.conftest import Running, serving
from tonewise.serve.app import routes_of
from tonewise.serve.openapi import document

CASES = int(os.environ.get("TONEWISE_FUZZ_CASES", "200"))
"""Drawn in all; those at the borders of each schema come on top, the same ones every time."""
DOCUMENT = document([route for route in routes_of(None) if route.document])  # type: ignore[arg-type]
EVERY = schemathesis.openapi.from_dict(DOCUMENT)
OPEN = sum(
    "{" in path or "requestBody" in one for path, by in DOCUMENT["paths"].items() for one in by.values()
)
"""Operations that something is drawn for; each other one has a single case."""
DRAWN = settings(
    max_examples=max(CASES // OPEN, 5),
    derandomize=True,
    database=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
KNOWN = {
    "name": ("moods", "tonewise/moods", "bare"),
    "task": ("text-classification", "feature-extraction", "sentence-similarity"),
}
ANOTHER = "another version"
BEYOND = (
    *("dimensions is", "max_length is", "no head", "has 0 heads", "outside 0 to"),  # not for this model
    *("is not a model's name", "no model is called", "there is no folder", "texts in one request"),
    "Expected `int | null`, got `float`",  # 1.0 is a whole number to a schema alone
)
"""Of refusals of what the document allows: what no schema can tell."""
OF_TASKS = (
    *("truncation_direction is", "prompt_name is", "unknown parameter"),
    *("missing required field `", "Expected `object`, got `"),
)
"""The same, where one body stands for three tasks, and the path or its shape says which."""
MEANT = {("/ready", 503), ("/v1/models/{name}/load", 502)}
"""Statuses above 499 that are answers: the model is not in memory; the hub was not asked."""


@EVERY.hook
def before_generate_path_parameters(context: Any, strategy: Any) -> Any:
    """Parts that mean something, as often as ones that are drawn."""
    parts = re.findall(r"\{(\w+)\}", context.operation.path)
    known = st.fixed_dictionaries({part: st.sampled_from(KNOWN[part]) for part in parts})
    return strategy | known if parts else strategy


@EVERY.hook
def before_generate_body(context: Any, strategy: Any) -> Any:
    """So for what bodies name."""
    path = context.operation.path
    if path.endswith("/load"):
        return strategy | st.sampled_from([{"ref": ref} for ref in (ANOTHER, "/nowhere/", "owner/name")])
    if path not in ("/classify", "/v1/embeddings"):
        return strategy
    return strategy | st.builds(_of_model, strategy, st.sampled_from(KNOWN["name"]))


def _of_model(body: Any, name: str) -> Any:
    return body | {"model": name} if isinstance(body, dict) else body


@EVERY.hook
def filter_failure(context: Any, failure: Failure, case: Any, response: Any) -> bool:
    """Every check counts, but for what a check cannot know."""
    if isinstance(failure, RejectedPositiveData):
        several = "InferenceRequest" in str(case.operation.definition.raw)
        return not any(word in response.text for word in BEYOND + OF_TASKS * several)
    if isinstance(failure, ServerError):
        return (case.operation.path, response.status_code) not in MEANT
    return True


@pytest.fixture(scope="module")
def running(model: MakeModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Two models, of which one has no heads; and few texts are many."""
    bare = write_bundle(tmp_path_factory.mktemp("bare") / "bare", model(), {})
    models = (f"moods={model()}/", f"bare={bare}/")
    with serving(models=models, offline=True, streams=1, max_texts=8) as server:
        yield server


def test_the_cases_are_of_the_document_that_the_server_gives(running: Running) -> None:
    assert running.ask("/openapi.json")[1] == DOCUMENT


@EVERY.parametrize()
@DRAWN
def test_what_the_document_says_is_so(case: Any, running: Running, model: MakeModel) -> None:
    if case.body == {"ref": ANOTHER}:
        case.body = {"ref": f"{model(seed=1)}/"}
    case.call_and_validate(base_url=running.url)
    assert not [line for line in running.lines if line["event"] == "fault"]


@EVERY.include(path="/classify").parametrize()
@DRAWN
def test_a_model_that_was_unloaded_is_opened_for_whoever_asks(case: Any, running: Running) -> None:
    assert running.ask("/v1/models/moods/unload", b"")[1]["state"] == "unloaded"
    case.call_and_validate(base_url=running.url)
    asked = {"texts": ["i am happy"], "model": "moods"}
    assert running.ask("/classify", asked)[0] == 200
    assert running.ask("/v1/models/moods")[1]["state"] == "loaded"
