"""@huggingface/inference on Node, which refuses whatever is not shaped as the hosted service answers."""

import shutil
from typing import Any

import numpy as np
import pytest

from tests.contracts.conftest import Answers, Run
from tests.contracts.environments import node_of

pytestmark = pytest.mark.contracts


@pytest.fixture(scope="module")
def found(run: Run) -> Any:
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed, which this client runs on")
    return run(["node"], "with_node.mjs", node_of("node"))


@pytest.mark.parametrize(
    ("asked", "most"), [("string", None), ("endpoint", None), ("right key", None), ("top_k", 2)]
)
def test_a_string_gives_a_list_of_labels(asked: str, most: int | None, found: Any, answers: Answers) -> None:
    wanted = answers.scores[:most]
    assert [one["label"] for one in found[asked]] == [label for label, _ in wanted]
    assert [one["score"] for one in found[asked]] == pytest.approx([score for _, score in wanted], abs=1e-4)


def test_the_shape_of_tei_is_one_that_this_client_refuses(found: Any) -> None:
    assert found["predict"]["kind"] == "InferenceClientProviderOutputError"


def test_vectors_are_a_row_a_text(found: Any, answers: Answers) -> None:
    np.testing.assert_allclose(found["vectors"], answers.vectors, atol=1e-4)
    np.testing.assert_allclose(found["vector"], [answers.vector], atol=1e-4)


def test_sentences_are_compared(found: Any, answers: Answers) -> None:
    assert found["similarity"] == pytest.approx(answers.similarity, abs=1e-4)


@pytest.mark.parametrize(
    ("asked", "status", "told"),
    [
        ("wrong key", 401, "Invalid credentials in Authorization header"),
        ("no model", 404, "no model is called 'nobody/none' here"),
    ],
)
def test_a_refusal_is_the_clients_own_error_with_our_words(
    asked: str, status: int, told: str, found: Any
) -> None:
    error = found[asked]
    assert (error["kind"], error["status"]) == ("InferenceClientProviderApiError", status)
    assert told in error["body"]["error"]
