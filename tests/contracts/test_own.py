"""Our own client beside the others: with and without a key, and where the hub is offline."""

import sys
from typing import Any

import numpy as np
import pytest

from tests.contracts.conftest import Answers, Run

pytestmark = pytest.mark.contracts


@pytest.fixture(scope="module")
def found(run: Run) -> Any:
    return run([sys.executable], "with_own.py", offline=True)


def test_a_string_gives_a_list_of_every_label(found: Any, answers: Answers) -> None:
    for asked in ("string", "named", "right key"):
        assert [label for label, _ in found[asked]] == [label for label, _ in answers.scores]
        scores = [score for _, score in answers.scores]
        assert [score for _, score in found[asked]] == pytest.approx(scores, abs=1e-4)


def test_vectors_are_a_row_a_text(found: Any, answers: Answers) -> None:
    np.testing.assert_allclose(found["vectors"], answers.vectors, atol=1e-4)
    np.testing.assert_allclose(found["vector"], [answers.vector], atol=1e-4)
    assert found["similarity"] == pytest.approx(answers.similarity, abs=1e-4)


def test_health_and_info_are_there(found: Any) -> None:
    assert found["health"] is True
    assert found["info"]["model_id"] == "tonewise/emotion"


def test_the_hub_is_offline_and_its_client_is_not_used(found: Any) -> None:
    assert found["offline"] == "1"
    assert found["hub"] is False


@pytest.mark.parametrize(
    ("asked", "kind"),
    [("wrong key", "UnauthorizedError"), ("no key", "UnauthorizedError"), ("no model", "NotFoundError")],
)
def test_a_refusal_is_an_error_of_ours(asked: str, kind: str, found: Any) -> None:
    assert found[asked] == kind
