"""huggingface_hub's InferenceClient in three major versions: right answers, and errors of its own kinds."""

from typing import Any

import numpy as np
import pytest

from tests.contracts.conftest import Answers, Run
from tests.contracts.environments import python_of

pytestmark = pytest.mark.contracts


@pytest.fixture(scope="module", params=["hub-0.36", "hub-1", "hub-2"])
def found(request: pytest.FixtureRequest, run: Run) -> Any:
    """What one version of the client got."""
    answered = run([str(python_of(request.param))], "with_hub.py")
    assert f"hub-{answered['version']}".startswith(f"{request.param}.")
    return answered


def check_scores(elements: Any, wanted: list[tuple[str, float]]) -> None:
    assert isinstance(elements, list), f"one {elements} in place of a list"
    assert [label for label, _ in elements] == [label for label, _ in wanted]
    assert [score for _, score in elements] == pytest.approx([score for _, score in wanted], abs=1e-4)


@pytest.mark.parametrize("asked", ["string", "named", "right key"])
def test_a_string_gives_a_list_of_every_label(asked: str, found: Any, answers: Answers) -> None:
    check_scores(found[asked], answers.scores)


def test_top_k_keeps_the_best(found: Any, answers: Answers) -> None:
    check_scores(found["top_k"], answers.scores[:2])


def test_a_function_is_applied_in_place_of_the_models_own(found: Any, answers: Answers) -> None:
    check_scores(found["softmax"], answers.uncalibrated)


def test_of_several_texts_this_client_hands_on_the_first_alone(found: Any, answers: Answers) -> None:
    check_scores(found["list"], answers.first)


def test_the_shape_of_tei_is_the_one_that_this_client_gets_wrong(found: Any) -> None:
    assert found["predict"] == "TextClassificationOutputElement"


def test_vectors_are_a_row_a_text(found: Any, answers: Answers) -> None:
    np.testing.assert_allclose(found["vectors"], answers.vectors, atol=1e-4)
    np.testing.assert_allclose(found["vector"], [answers.vector], atol=1e-4)


def test_vectors_are_not_normalized_where_that_is_asked(found: Any, answers: Answers) -> None:
    (raw,) = np.array(found["raw"])
    length = np.linalg.norm(raw)
    assert abs(length - 1) > 0.01
    np.testing.assert_allclose(raw / length, answers.vector, atol=1e-4)


def test_sentences_are_compared(found: Any, answers: Answers) -> None:
    assert found["similarity"] == pytest.approx(answers.similarity, abs=1e-4)


def test_health_and_info_are_there(found: Any, answers: Answers) -> None:
    assert found["health"] is True
    assert found["info"]["model_id"] == "tonewise/emotion"
    labels = found["info"]["model_type"]["classifier"]["id2label"].values()
    assert set(labels) == {label for label, _ in answers.scores}


@pytest.mark.parametrize(
    ("asked", "status", "told"),
    [
        ("wrong key", 401, "Invalid credentials in Authorization header"),
        ("no model", 404, "no model is called 'nobody/none' here; there are: emotion, base"),
        ("too long", 400, "tokens"),
        ("no text", 400, "sentences is empty"),
    ],
)
def test_a_refusal_is_the_clients_own_error_with_our_words(
    asked: str, status: int, told: str, found: Any
) -> None:
    error = found[asked]
    assert error["status"] == status
    assert told in error["told"]
    assert "HfHubHTTPError" in error["kinds"]
    assert ("BadRequestError" in error["kinds"]) == (status == 400)
