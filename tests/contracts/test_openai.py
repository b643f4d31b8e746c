"""The official openai client: vectors as base64, which is its default, and as numbers; its own errors."""

from typing import Any

import numpy as np
import pytest

from tests.contracts.conftest import Answers, Run
from tests.contracts.environments import python_of

pytestmark = pytest.mark.contracts


@pytest.fixture(scope="module")
def found(run: Run) -> Any:
    return run([str(python_of("openai"))], "with_openai.py")


@pytest.mark.parametrize("form", ["default", "float"])
def test_vectors_are_the_same_in_either_form(form: str, found: Any, answers: Answers) -> None:
    np.testing.assert_allclose(found[form], answers.vectors, atol=1e-4)


def test_a_string_gives_one_vector_and_its_tokens_are_counted(found: Any, answers: Answers) -> None:
    np.testing.assert_allclose(found["string"], answers.vector, atol=1e-4)
    assert found["usage"] == [5, 5]


def test_fewer_dimensions_are_the_first_ones_normalized(found: Any, answers: Answers) -> None:
    short = np.array(answers.vectors)[:, :8]
    np.testing.assert_allclose(
        found["short"], short / np.linalg.norm(short, axis=1, keepdims=True), atol=1e-4
    )


def test_models_are_listed_and_found(found: Any) -> None:
    assert found["right key"] == ["tonewise/emotion"]
    assert found["model"] == "tonewise/base"


@pytest.mark.parametrize(
    ("asked", "kind", "status", "code"),
    [
        ("wrong key", "AuthenticationError", 401, None),
        ("no model", "NotFoundError", 404, "model_not_found"),
        ("nothing", "BadRequestError", 400, "bad_request"),
    ],
)
def test_a_refusal_is_the_clients_own_error(
    asked: str, kind: str, status: int, code: str | None, found: Any
) -> None:
    error = found[asked]
    assert (error["kind"], error["status"]) == (kind, status)
    if code is not None:
        assert error["code"] == code
