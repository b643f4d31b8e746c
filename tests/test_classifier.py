"""The spine as users call it: one, list, iterator or frame in; the same out."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.doubles import TEXTS, MakeModel, Recorder, scores_of
from tests.models import WORDS
from tonewise import Classifier, Encoding
from tonewise.config import Config, EngineConfig, load_config
from tonewise.engines import Choice, choose
from tonewise.errors import ConfigError, EngineError, InputError, ModelError, RowError
from tonewise.head import Prediction


@pytest.fixture
def classifier(model: MakeModel) -> Iterator[Classifier]:
    with Classifier.load(model()) as opened:
        yield opened


def test_one_text_gives_one_prediction(classifier: Classifier) -> None:
    answer = classifier.classify("i am happy")
    assert isinstance(answer, Prediction)
    assert answer.label == max(answer.scores, key=answer.scores.__getitem__)
    assert answer.score == answer.scores[str(answer.label)]
    assert list(answer.scores) == ["sadness", "joy", "anger"]
    assert sum(answer.scores.values()) == pytest.approx(1, abs=1e-6)
    assert (answer.n_tokens, answer.truncated) == (5, False)


def test_a_list_gives_a_list_in_its_order(classifier: Classifier) -> None:
    answers = classifier.classify(TEXTS)
    assert isinstance(answers, list)
    alone = [classifier.classify(text) for text in TEXTS]
    np.testing.assert_allclose(scores_of(answers), scores_of(alone), atol=1e-5)
    assert classifier.classify([]) == []


def test_a_generator_and_an_iterator_give_an_iterator(classifier: Classifier) -> None:
    for texts in (iter(TEXTS), (text for text in TEXTS), map(str, TEXTS), dict.fromkeys(TEXTS).keys()):
        answers = classifier.classify(texts)
        assert iter(answers) is answers
        np.testing.assert_allclose(scores_of(answers), scores_of(classifier.classify(TEXTS)), atol=1e-5)


def test_a_tuple_is_a_pair(model: MakeModel) -> None:
    with Classifier.load(model("bert")) as classifier:
        pair = classifier.classify(("i am happy", "you are sad"))
        turned = classifier.classify(("you are sad", "i am happy"))
        listed = classifier.classify([("i am happy", "you are sad"), "i am happy you are sad"])
    assert pair.n_tokens == 9
    np.testing.assert_allclose(scores_of([pair]), scores_of(listed[:1]), atol=1e-5)
    assert not np.allclose(scores_of([pair]), scores_of([turned]), atol=1e-5)
    assert not np.allclose(scores_of([pair]), scores_of(listed[1:]), atol=1e-5)


def test_a_tuple_of_three_and_a_number_are_no_texts(classifier: Classifier) -> None:
    for wrong in (("a", "b", "c"), ("a",), [1], [None], [b"x"]):
        with pytest.raises(RowError, match="text 1: the text is "):
            classifier.classify(wrong)


def test_an_encoding_is_answered_as_its_text(classifier: Classifier) -> None:
    encodings = classifier.encode(TEXTS)
    mixed = classifier.classify([TEXTS[0], *encodings[1:]])
    np.testing.assert_allclose(scores_of(mixed), scores_of(classifier.classify(TEXTS)), atol=1e-5)
    assert classifier.classify(encodings[0]).label == classifier.classify(TEXTS[0]).label


@pytest.mark.parametrize(
    ("ids", "told"),
    [
        ([2, 10**6, 3], "token id outside 0 to"),
        ([-1], "token id outside"),
        ([2] * 65, "65 tokens; wanted: 1 to 64"),
    ],
)
def test_an_encoding_of_another_model_is_refused(classifier: Classifier, ids: list[int], told: str) -> None:
    with pytest.raises(RowError, match=told):
        classifier.classify(Encoding.of(ids))


def test_an_encoding_without_rows_is_refused(classifier: Classifier) -> None:
    with pytest.raises(RowError, match="needs at least one row"):
        classifier.classify(Encoding((), 0))


@pytest.mark.parametrize("wrong", [{"text": "i am happy"}, b"i am happy", 7, None])
def test_what_holds_no_texts_is_refused_rather_than_walked_through(
    classifier: Classifier, wrong: Any
) -> None:
    with pytest.raises(InputError, match="cannot classify"):
        classifier.classify(wrong)


def test_options_that_mean_nothing_are_errors(classifier: Classifier, model: MakeModel) -> None:
    with pytest.raises(ConfigError, match="on_error cannot be 'skip'"):
        classifier.classify(["a"], on_error="skip")
    with pytest.raises(ConfigError, match="for data frames"):
        classifier.classify(["a"], text_column="text")
    with pytest.raises(ConfigError, match="not both"):
        Classifier.load(model(), config=Config(), engine="stub")
    with pytest.raises(ConfigError, match="no setting 'enginee'; did you mean engine"):
        Classifier.load(model(), enginee="stub")


COLUMNS = {"review": ["i am happy", "so sad", "love"], "stars": [5, 1, 4]}


def pandas_frame() -> Any:
    frame = pytest.importorskip("pandas").DataFrame(COLUMNS)
    frame.index = [7, 3, 5]
    return frame


FRAMES: dict[str, Callable[[], Any]] = {
    "pandas": pandas_frame,
    "polars": lambda: pytest.importorskip("polars").DataFrame(COLUMNS),
    "pyarrow": lambda: pytest.importorskip("pyarrow").table(COLUMNS),
    "datasets": lambda: pytest.importorskip("datasets").Dataset.from_dict(COLUMNS),
}


def columns_of(frame: Any) -> dict[str, list[Any]]:
    names = getattr(frame, "column_names", None) or list(frame.columns)
    found = {}
    for name in names:
        column = frame[name]
        listed = getattr(column, "tolist", None) or getattr(column, "to_pylist", None)
        found[str(name)] = list(listed()) if listed else list(column)
    return found


@pytest.mark.parametrize("kind", FRAMES)
def test_a_frame_comes_back_with_columns(kind: str, classifier: Classifier) -> None:
    frame = FRAMES[kind]()
    answered = classifier.classify(frame)
    assert type(answered) is type(frame)
    answers = classifier.classify(COLUMNS["review"])
    found = columns_of(answered)
    assert list(found) == ["review", "stars", "label", "label_score"]
    assert found["review"] == COLUMNS["review"]
    assert found["stars"] == COLUMNS["stars"]
    assert found["label"] == [answer.label for answer in answers]
    assert found["label_score"] == pytest.approx([answer.score for answer in answers], abs=1e-5)
    assert list(columns_of(frame)) == list(COLUMNS), "the given frame is not changed"
    if kind == "pandas":
        assert list(answered.index) == [7, 3, 5]


@pytest.mark.parametrize("kind", FRAMES)
def test_a_frame_may_have_a_column_for_each_score(kind: str, classifier: Classifier) -> None:
    found = columns_of(classifier.classify(FRAMES[kind](), text_column="review", scores=True))
    names = ["label_score_sadness", "label_score_joy", "label_score_anger"]
    assert list(found)[4:] == names
    assert np.sum([found[name] for name in names], axis=0) == pytest.approx(np.ones(3), abs=1e-5)


def test_a_frame_without_that_column_says_which_it_has(classifier: Classifier) -> None:
    with pytest.raises(InputError, match="no column 'text'; columns are review, stars"):
        classifier.classify(FRAMES["pandas"](), text_column="text")


def test_a_frame_that_has_the_answers_column_is_refused(classifier: Classifier) -> None:
    frame = FRAMES["pandas"]().rename(columns={"stars": "label"})
    with pytest.raises(InputError, match="column 'label'"):
        classifier.classify(frame, text_column="review")


def test_a_null_in_a_frame_is_an_error_or_an_empty_answer(classifier: Classifier) -> None:
    frame = pytest.importorskip("pandas").DataFrame({"text": ["i am happy", None, "sad"]})
    with pytest.raises(RowError, match=r"row 2: .*null"):
        classifier.classify(frame)
    answered = classifier.classify(frame, on_error="return")
    assert answered["label"].notna().tolist() == [True, False, True]
    assert answered["label_score"].notna().tolist() == [True, False, True]


def test_int8_stays_near_fp32(model: MakeModel) -> None:
    texts = [f"{a} {b} {c}" for a in WORDS[5:15] for b in ("am", "very") for c in ("happy", "sad today", "!")]
    with (
        Classifier.load(model(), precision="int8") as small,
        Classifier.load(model(), precision="fp32") as full,
    ):
        assert (small.engine.precision, full.engine.precision) == ("int8", "fp32")
        off = np.abs(scores_of(small.classify(texts)) - scores_of(full.classify(texts)))
    assert 0 < off.max() < 0.05


def test_settings_reach_the_engine(model: MakeModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TONEWISE_ENGINE", "stub")
    with Classifier.load(model()) as classifier:
        assert classifier.engine.name == "stub"
    with Classifier.load(model(), engine="reference") as classifier:
        assert classifier.engine.name == "reference"
    with Classifier.load(model(), config=load_config({"precision": "int8"}, environment={})) as classifier:
        assert (classifier.engine.name, classifier.engine.precision) == ("onnxruntime", "int8")
    with pytest.raises(ConfigError, match="reference engine has no int8"):
        Classifier.load(model(), engine="reference", precision="int8")


def test_what_was_measured_best_is_the_budget_unless_one_is_told(
    model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measured(config: EngineConfig, *told: Any) -> Choice:
        return replace(choose(config, *told), batch_tokens=48)

    monkeypatch.setattr("tonewise.classifier.choose", measured)
    texts = [f"{word} {number}" for word in WORDS[5:45] for number in (1, 2, 3)]
    for told, most in ((None, 48), (24, 24)):
        with Classifier.load(model(), engine="stub", **({"max_batch_tokens": told} if told else {})) as one:
            assert one.config.batch.max_batch_tokens == most
            one.engine = recorder = Recorder(one.engine)
            one.classify(texts)
        assert most / 2 < max(batch.input_ids.size for batch in recorder.batches) <= most


def test_warming_runs_a_row_of_each_length_in_each_stream(classifier: Classifier) -> None:
    classifier.engine = recorder = Recorder(classifier.engine)
    classifier.warm(5)
    assert [batch.input_ids.shape for batch in recorder.batches] == [(1, n) for n in range(1, 6)]
    recorder.batches.clear()
    recorder.streams = 2
    classifier.warm()
    lengths = [n for n in range(1, 65) for _ in range(2)]  # the model takes no more than 64
    assert [batch.input_ids.shape for batch in recorder.batches] == [(1, n) for n in lengths]


def test_warming_raises_what_the_engine_does(classifier: Classifier) -> None:
    full = EngineError("no such kernel")
    classifier.engine = Recorder(
        classifier.engine, lambda batch: full if batch.input_ids.shape[1] == 3 else None
    )
    with pytest.raises(EngineError, match="no such kernel"):
        classifier.warm()


def test_the_packaged_model_tells_moods_apart() -> None:
    with Classifier.load() as classifier:
        happy, angry = classifier.classify(
            ["i feel so happy and delighted today", "i feel so angry and furious"]
        )
    assert (happy.label, angry.label) == ("joy", "anger")


def test_vectors_that_are_made_otherwise_are_refused_and_labels_are_not(
    model: MakeModel, tmp_path: Path
) -> None:
    folder = tmp_path / "pooled"
    shutil.copytree(model(), folder)
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_max_tokens": true}')
    with Classifier.load(folder) as classifier:
        assert classifier.classify("so sad").label in classifier.heads["label"].labels
        with pytest.raises(ModelError, match=r"its vectors are not computed here: .*max"):
            classifier.embed(["so sad"])


def test_the_columns_that_settings_name_hold_for_frames_too(model: MakeModel) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"text": ["so sad"], "review": ["i am happy"], "other": ["not good"]})
    folder = model()
    with Classifier.load(folder, text_column="review", text_pair_column="other") as classifier:
        found = classifier.classify(frame)["label_score"][0]
        assert found == pytest.approx(classifier.classify(("i am happy", "not good")).score, abs=1e-5)
        one = classifier.classify(frame, text_column="text", text_pair_column="review")["label_score"][0]
        assert one == pytest.approx(classifier.classify(("so sad", "i am happy")).score, abs=1e-5)


@pytest.mark.parametrize(
    "setting", [{"model": "./mine"}, {"on_error": "skip"}, {"top_k": 2}, {"output_format": "csv"}]
)
def test_a_setting_that_loading_would_ignore_is_refused(setting: Any) -> None:
    (name,) = setting
    with pytest.raises(
        ConfigError, match=f"'{name}' is a setting of the command line; load does not take it"
    ):
        Classifier.load(**setting)


def test_the_model_that_settings_name_is_the_one_that_is_loaded(
    model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = model()
    monkeypatch.setenv("TONEWISE_MODEL", f"{folder}/")
    with Classifier.load() as classifier:
        assert classifier.bundle.folder == folder
    with Classifier.load("emotion") as classifier:
        assert classifier.bundle.ref == "emotion"
