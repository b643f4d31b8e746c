import json
from dataclasses import replace

import pytest

from tonewise.errors import InputError
from tonewise.head import HeadPrediction, Prediction
from tonewise.sinks import (
    AnswerSchema,
    HeadShape,
    answer_cells,
    answer_columns,
    columns,
    record,
    row,
    to_json,
)

from .answers import LABELS, MODEL, MOOD, example, mood

TOPICS = HeadPrediction(None, 0.9, {"a": 0.9, "b": 0.6, "c": 0.1}, ("a", "b"))
STARS = HeadPrediction(None, 3.25, {"stars": 3.25})


def test_the_one_record_shape() -> None:
    assert record(example("good", 7, id=7, stars=5), mood(), MODEL) == {
        "id": 7,
        "text": "good",
        "fields": {"id": 7, "stars": 5},
        "predictions": {
            "mood": {
                "label": "joy",
                "score": 0.7,
                "scores": {"joy": 0.7, "fear": 0.2, "love": 0.1},
                "abstained": False,
            }
        },
        "n_tokens": 5,
        "truncated": False,
        "model": MODEL,
    }


def test_a_pair_stands_beside_its_text() -> None:
    pair = replace(example("good"), text_pair="why")
    assert list(record(pair, mood(), MODEL))[:3] == ["id", "text", "text_pair"]


def test_several_labels_are_a_list_and_a_number_has_none() -> None:
    answers = record(example(), Prediction({"topics": TOPICS, "stars": STARS}, 3), MODEL)["predictions"]
    assert answers["topics"]["labels"] == ["a", "b"]
    assert "label" not in answers["topics"]
    assert answers["stars"] == {"label": None, "score": 3.25, "scores": {"stars": 3.25}, "abstained": False}


def test_top_k_keeps_the_best_scores_best_first() -> None:
    answer = record(example(), mood("love", 0.1, 0.3, 0.6), MODEL, top_k=2)["predictions"]["mood"]
    assert list(answer["scores"].items()) == [("love", 0.6), ("fear", 0.3)]


def test_scores_have_six_significant_digits() -> None:
    answer = record(example(), mood("joy", 0.98765432109876, 1.23456789e-9, 0.0), MODEL)["predictions"][
        "mood"
    ]
    assert answer["score"] == 0.987654
    assert answer["scores"] == {"joy": 0.987654, "fear": 1.23457e-09, "love": 0.0}


def test_uncertainty_is_told_where_it_is_asked_for() -> None:
    answer = record(example(), mood(), MODEL, uncertainty=True)["predictions"]["mood"]
    assert list(answer) == ["label", "score", "entropy", "margin", "scores", "abstained"]
    assert (answer["entropy"], answer["margin"]) == (0.801819, 0.5)
    value = record(example(), Prediction({"stars": STARS}, 3), MODEL, uncertainty=True)["predictions"]
    assert (value["stars"]["entropy"], value["stars"]["margin"]) == (None, None)
    names = ["mood", "mood_score", "mood_entropy", "mood_margin"]
    assert answer_columns(MOOD, uncertainty=True) == names
    assert answer_cells(mood(), MOOD, uncertainty=True) == ["joy", 0.7, 0.801819, 0.5]
    assert columns(MOOD, scores=True, uncertainty=True)[5:] == [
        "mood_entropy",
        "mood_margin",
        *(f"mood_score_{label}" for label in LABELS),
    ]


def test_a_record_is_json_whatever_it_holds() -> None:
    line = to_json(
        record(example("a\u2028\n\0😀", x=float("nan")), mood("joy", float("inf"), 0.1, 0.1), MODEL)
    )
    assert "\n" not in line
    read = json.loads(line)
    assert (read["text"], read["fields"]) == ("a\u2028\n\0😀", {"x": None})
    assert read["predictions"]["mood"]["score"] is None


def test_a_flat_row_has_the_inputs_columns_then_the_answers() -> None:
    assert columns(MOOD) == ["id", "text", "stars", "mood", "mood_score"]
    assert row(example("good", 7, id=7, stars=5), mood(), MOOD) == [7, "good", 5, "joy", 0.7]


def test_scores_are_a_column_for_each_label() -> None:
    assert columns(MOOD, scores=True)[3:] == [
        "mood",
        "mood_score",
        *(f"mood_score_{label}" for label in LABELS),
    ]
    assert answer_cells(mood(), MOOD, scores=True) == ["joy", 0.7, 0.7, 0.2, 0.1]
    assert answer_cells(mood(), MOOD, scores=True, top_k=2) == ["joy", 0.7, 0.7, 0.2, None]


def test_bare_texts_get_a_text_column() -> None:
    schema = AnswerSchema({"mood": HeadShape(LABELS)}, MODEL)
    assert columns(schema) == ["text", "mood", "mood_score"]
    assert row(example("good"), mood(), schema) == ["good", "joy", 0.7]


def test_an_abstention_and_a_number_leave_the_label_empty() -> None:
    schema = AnswerSchema({"mood": HeadShape(LABELS), "stars": HeadShape(("stars",))}, MODEL)
    both = Prediction({**mood(None).heads, "stars": STARS}, 3)
    assert answer_cells(both, schema) == [None, 0.7, None, 3.25]


@pytest.mark.parametrize(
    ("labels", "joined"), [(("a", "b", "c"), "a,b"), (("a", "b", "x,y"), "a|b"), (("a|", "b", "x,"), "a;b")]
)
def test_several_labels_are_joined_by_what_no_label_holds(labels: tuple[str, ...], joined: str) -> None:
    answer = HeadPrediction(None, 0.9, dict.fromkeys(labels, 0.5), ("a", "b"))
    schema = AnswerSchema({"topics": HeadShape(labels, multi_label=True)}, MODEL)
    assert answer_cells(Prediction({"topics": answer}, 1), schema)[0] == joined


def test_a_pair_keeps_its_column() -> None:
    schema = replace(MOOD, columns=("why", "text"), text_pair_column="why")
    assert row(replace(example("good"), text_pair="so"), mood(), schema)[:2] == ["so", "good"]


def test_a_column_of_the_answers_name_is_an_error() -> None:
    with pytest.raises(InputError, match="the input has a column 'mood_score'"):
        columns(replace(MOOD, columns=("text", "mood_score")))
    taken = replace(MOOD, columns=("text", "mood_score_joy"))
    assert columns(taken)
    with pytest.raises(InputError, match="the input has a column 'mood_score_joy'"):
        columns(taken, scores=True)


def test_a_row_may_lack_a_field_but_not_have_a_new_one() -> None:
    assert row(example("good", id=1), mood(), MOOD)[:3] == [1, "good", None]
    with pytest.raises(InputError, match=r"x\.csv line 2: column 'new' was not in the first row"):
        row(example("good", new=1), mood(), MOOD)
