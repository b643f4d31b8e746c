"""What was learned as a folder that both libraries open: the same answers, nothing half written."""

import json
import resource
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.doubles import MakeModel
from tests.models import FAMILIES, Theirs, as_stored_int8, changed, opened, tensors_of
from tests.train.moods import MOODS, QUICK, everything, some, tagged
from tonewise import Classifier
from tonewise.config import Config, TokenizerConfig
from tonewise.errors import ConfigError, EngineError, InputError, ModelError, OutputError, RowError
from tonewise.quantize import Quantized, quantize
from tonewise.store import verify
from tonewise.store.writing import write_manifest
from tonewise.train import Plan, Recipe, Terms, prepare
from tonewise.train.network import HeadForm
from tonewise.train.publish import Learned, LearnedHead, opens_in_transformers, with_ranges, write_folder
from tonewise.train.run import publish
from tonewise.train.session import Fitted, Session

FIRST = replace(QUICK, pooling="first")
TEXTS = [one["text"] for one in some(5)]
"""Of words that every training here has: the learner holds no others."""


def fitted(
    output: Path, data: Any, base: Path, recipe: Recipe, **options: Any
) -> tuple[Plan, Session, Fitted]:
    plan = Plan(data, output, base=base, recipe=recipe, int8=False, **options)
    session = prepare(plan)
    return plan, session, session.run(session.settled(recipe))


def scores_of(folder: Path, texts: Sequence[str], head: str) -> NDArray[np.float64]:
    with Classifier.load(folder, engine="reference") as classifier:
        labels = classifier.bundle.heads[head].labels
        answers = classifier.classify(list(texts))
    return np.array([[one.heads[head].scores[label] for label in labels] for one in answers])


def learner_scores(session: Session, done: Fitted, texts: Sequence[str], head: str) -> NDArray[np.float64]:
    """What the learner itself answers, divided by the temperature that was fitted."""
    rows = [one.rows[0] for one in session.base.tokenizer.encode_each(list(texts))]  # type: ignore[union-attr]
    logits = done.learner.logits(rows, [head])[head].astype(np.float64) / done.outcomes[head].temperature
    if session.tasks[0].learn.multi_label or head == "tags":
        return np.asarray(1 / (1 + np.exp(-logits)))
    exponent = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(exponent / exponent.sum(axis=1, keepdims=True))


@pytest.mark.parametrize("family", FAMILIES)
def test_transformers_opens_the_classifier_and_answers_alike(
    model: MakeModel, tmp_path: Path, family: str
) -> None:
    plan, session, done = fitted(
        tmp_path / "out", some(60), model(family), FIRST, validation=some(30, seed=1)
    )
    bundle = publish(plan, session, done, 1.0)
    rows = [one.rows[0] for one in session.base.tokenizer.encode_each(TEXTS)]  # type: ignore[union-attr]
    ours = done.learner.logits(rows)["label"]
    np.testing.assert_allclose(Theirs(tmp_path / "out").logits(TEXTS, 64), ours, atol=1e-4)
    np.testing.assert_allclose(
        scores_of(tmp_path / "out", TEXTS, "label"), learner_scores(session, done, TEXTS, "label"), atol=1e-5
    )
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["id2label"] == {str(i): label for i, label in enumerate(MOODS)}
    assert config["architectures"][0].endswith("ForSequenceClassification")
    assert all(one.state == "ok" for one in verify(bundle.folder))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("way", ["heads", "mean"])
def test_transformers_opens_the_encoder_of_several_heads_or_of_the_mean(
    model: MakeModel, tmp_path: Path, family: str, way: str
) -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer

    heads = {"mood": (some(30), some(9, seed=1)), "tags": (tagged(30, seed=2), tagged(9, seed=3))}
    if way == "heads":
        plan, session, done = fitted(tmp_path / "out", None, model(family), FIRST, heads=heads)
    else:
        recipe = replace(QUICK, pooling="mean")
        plan, session, done = fitted(
            tmp_path / "out", some(30), model(family), recipe, validation=some(9, seed=1)
        )
    bundle = publish(plan, session, done, 1.0)
    for head in bundle.heads:
        found = scores_of(tmp_path / "out", TEXTS, head)
        np.testing.assert_allclose(found, learner_scores(session, done, TEXTS, head), atol=1e-5)
    tokenizer, theirs = AutoTokenizer.from_pretrained(bundle.folder), AutoModel.from_pretrained(bundle.folder)
    with torch.no_grad():
        state = theirs.eval()(**tokenizer([TEXTS[1]], return_tensors="pt")).last_hidden_state[0]
    rows = [one.rows[0] for one in session.base.tokenizer.encode_each([TEXTS[1]])]  # type: ignore[union-attr]
    np.testing.assert_allclose(state[0].numpy(), done.learner.states(rows, "first")[0], atol=1e-4)
    np.testing.assert_allclose(state.mean(0).numpy(), done.learner.states(rows, "mean")[0], atol=1e-4)


def test_a_bare_bert_keeps_its_own_pooler(model: MakeModel, tmp_path: Path) -> None:
    base = model("bert", seed=5)
    plan, session, done = fitted(tmp_path / "out", some(30), base, QUICK)
    publish(plan, session, done, 1.0)
    kept = tensors_of(tmp_path / "out")["pooler.dense.weight"]
    np.testing.assert_array_equal(kept, tensors_of(base)["bert.pooler.dense.weight"])


def test_weights_stored_in_other_types_are_written_and_read_in_float32(
    model: MakeModel, tmp_path: Path
) -> None:
    base = changed(
        model("bert"),
        tmp_path / "stored",
        tensors=as_stored_int8(tensors_of(model("bert"))),
        config={"torch_dtype": "float16", "dtype": "float16"},
    )
    plan, session, done = fitted(tmp_path / "out", some(30), base, FIRST, validation=some(9, seed=1))
    publish(plan, session, done, 1.0)
    assert {tensor.dtype.name for tensor in tensors_of(tmp_path / "out").values()} == {"float32"}
    rows = [one.rows[0] for one in session.base.tokenizer.encode_each(TEXTS)]  # type: ignore[union-attr]
    ours = done.learner.logits(rows)["label"]
    np.testing.assert_allclose(Theirs(tmp_path / "out").logits(TEXTS, 64), ours, atol=1e-4)


def test_a_base_states_its_terms_for_what_comes_of_it(model: MakeModel, tmp_path: Path) -> None:
    base = changed(model(), tmp_path / "base")
    manifest = replace(opened(base).manifest, licence="mit", data_terms="for research", languages=("en",))
    write_manifest(base, manifest)
    plan, session, done = fitted(tmp_path / "out", some(30), base, QUICK, terms=Terms(data_terms="no resale"))
    found = publish(plan, session, done, 1.0).manifest
    assert found.parent == opened(base).digest
    assert found.origin["base"] == "base"
    assert (found.licence, found.languages) == ("mit", ()), "the texts that it learned from may be of any"
    assert found.data_terms == "for research; no resale"
    other, more = tmp_path / "other", Plan(None, tmp_path / "other", terms=Terms(licence="gpl-3.0"))
    again = publish(replace(plan, output=other, terms=more.terms), session, done, 1.0).manifest
    assert (again.licence, again.data_terms) == ("gpl-3.0", "for research")


def test_card_and_pictures_are_pinned(model: MakeModel, tmp_path: Path) -> None:
    plan, session, done = fitted(tmp_path / "out", some(60), model(), FIRST, validation=some(30, seed=1))
    bundle = publish(plan, session, done, 1.0)
    assert set(everything(tmp_path / "out")) == {*bundle.manifest.files, "tonewise.json"}
    assert {"README.md", "training.json", "confusion.png", "reliability.png", "training.png"} <= set(
        bundle.manifest.files
    )
    (tmp_path / "out" / "README.md").write_text("another")
    assert [one.name for one in verify(bundle.folder) if one.state != "ok"] == ["README.md"]


@pytest.mark.parametrize("fails", ["tonewise.train.publish.save", "tonewise.train.publish.write_card"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), ValueError("a mistake of ours")])
def test_nothing_is_left_where_writing_fails(
    model: MakeModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str, error: Exception
) -> None:
    def failing(*_: Any, **__: Any) -> None:
        raise error

    plan, session, done = fitted(tmp_path / "deep" / "out", some(30), model(), QUICK)
    monkeypatch.setattr(fails, failing)
    expected = OutputError if isinstance(error, OSError) else ValueError
    with pytest.raises(expected):
        publish(plan, session, done, 1.0)
    assert everything(tmp_path) == []


def test_a_file_that_the_system_cuts_short_is_one_line(model: MakeModel, tmp_path: Path) -> None:
    plan, session, done = fitted(tmp_path / "out", some(30), model(), QUICK)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(OutputError, match="cannot write") as caught:
            publish(plan, session, done, 1.0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(caught.value)
    assert everything(tmp_path) == []


def test_int8_ranges_that_cannot_be_had_are_told(
    model: MakeModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    assert with_ranges(model(), tmp_path / "out", (TEXTS, []), Config(), told.append) is None
    assert told == ["no activation ranges for int8: 5 texts are too few to fit them on"]

    def refuse(*_: Any, **__: Any) -> None:
        raise ModelError("too few labels agree")

    monkeypatch.setattr("tonewise.train.publish.quantize", refuse)
    assert with_ranges(model(), tmp_path / "out", (TEXTS * 4, []), Config(), told.append) is None
    assert told[1:] == [
        "int8 is fitted whole, for whoever asks for it: too few labels agree",
        "no activation ranges for int8: too few labels agree",
    ]


def test_int8_that_agrees_too_seldom_is_there_for_whoever_asks(
    model: MakeModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def strict(*given: Any, target: float, **options: Any) -> Quantized:
        if target:
            raise ModelError("int8 agrees on 98.40% of labels")
        return quantize(*given, target=target, **options)

    monkeypatch.setattr("tonewise.train.publish.quantize", strict)
    plan, session, done = fitted(tmp_path / "out", some(60), model(), FIRST, validation=some(120, seed=1))
    told: list[str] = []
    bundle = publish(replace(plan, int8=True, tell=told.append), session, done, 1.0)
    assert "int8 is fitted whole, for whoever asks for it: int8 agrees on 98.40% of labels" in told
    assert bundle.manifest.activation_ranges
    assert "onnxruntime" in bundle.manifest.agreement


def test_int8_ranges_do_not_change_who_the_parent_is(model: MakeModel, tmp_path: Path) -> None:
    plan, session, done = fitted(tmp_path / "out", some(60), model(), FIRST, validation=some(120, seed=1))
    bundle = publish(replace(plan, int8=True), session, done, 1.0)
    assert bundle.manifest.activation_ranges
    assert bundle.manifest.parent == opened(model()).digest
    assert "onnxruntime" in bundle.manifest.agreement
    assert "On how many of 120 texts, none learned from" in (tmp_path / "out" / "README.md").read_text()


def test_int8_is_compared_on_texts_that_were_not_learned_from(
    model: MakeModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, asked = some(120, seed=1), []

    def watched(*given: Any, **options: Any) -> Quantized:
        asked.append((list(given[1]), list(options["compared"])))
        return quantize(*given, **options)

    monkeypatch.setattr("tonewise.train.publish.quantize", watched)
    plan, session, done = fitted(tmp_path / "out", some(60), model(), FIRST, validation=held)
    publish(replace(plan, int8=True), session, done, 1.0)
    ((learned, compared),) = asked
    assert compared == [row["text"] for row in held]
    assert learned == [row["text"] for row in some(60)]


def test_where_nearly_all_was_learned_from_int8_states_no_agreement(model: MakeModel, tmp_path: Path) -> None:
    plan, session, done = fitted(tmp_path / "out", some(60), model(), FIRST, validation=some(30, seed=1))
    told: list[str] = []
    bundle = publish(replace(plan, int8=True, tell=told.append), session, done, 1.0)
    assert bundle.manifest.activation_ranges
    assert bundle.manifest.agreement == {}
    assert "(30 texts were not learned from, and 100 are wanted), so auto leaves it" in told[-1]
    assert "`auto` does not choose that" in (tmp_path / "out" / "README.md").read_text()


def test_only_one_head_of_the_first_token_is_a_classifier_of_transformers(
    model: MakeModel, tmp_path: Path
) -> None:
    def learned(*forms: HeadForm) -> Learned:
        return Learned(None, {str(i): LearnedHead(form, {}) for i, form in enumerate(forms)})  # type: ignore[arg-type]

    dense = HeadForm(("a", "b"), "single_label_classification", "first", dense=True, activation="relu")
    assert opens_in_transformers(learned(dense))
    assert not opens_in_transformers(learned(dense, dense))
    assert not opens_in_transformers(learned(replace(dense, pooling="mean")))
    assert not opens_in_transformers(learned(replace(dense, dense=False)))


@pytest.mark.parametrize("too_long", ["error", "window"])
def test_int8_ranges_are_fitted_on_texts_as_training_read_them(
    model: MakeModel, tmp_path: Path, too_long: Any
) -> None:
    config = Config(tokenizer=TokenizerConfig(max_length=8, too_long=too_long, stride=2))
    texts = [*some(60), *({"text": f"happy {'day ' * 90}{i}", "label": "joy"} for i in range(3))]
    plan, session, done = fitted(
        tmp_path / "out", texts, model(), FIRST, validation=some(30, seed=1), config=config
    )
    told: list[str] = []
    bundle = publish(replace(plan, int8=True, tell=told.append), session, done, 1.0)
    assert not [line for line in told if line.startswith("no activation ranges")]
    assert bundle.manifest.activation_ranges


@pytest.mark.parametrize(
    "error",
    [EngineError("it failed"), ConfigError("it failed"), RowError("", InputError("it failed"))],
    ids=lambda error: type(error).__name__,
)
def test_whatever_keeps_int8_from_being_fitted_is_told(
    model: MakeModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise error

    told: list[str] = []
    monkeypatch.setattr("tonewise.train.publish.quantize", refuse)
    assert with_ranges(model(), tmp_path / "out", (TEXTS * 4, []), Config(), told.append) is None
    assert told == ["no activation ranges for int8: it failed"]


def test_copies_on_the_way_stand_beside_the_output(
    model: MakeModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places: list[Path] = []

    def watched(folder: Path, *rest: Any) -> Any:
        places.append(folder)
        return write_folder(folder, *rest)

    monkeypatch.setattr("tonewise.train.run.write_folder", watched)
    plan, session, done = fitted(tmp_path / "deep" / "out", some(30), model(), QUICK)
    publish(plan, session, done, 1.0)
    (place,) = places
    assert place.parent.parent == tmp_path / "deep"
    assert place.parent.name.startswith(".out.")
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["out"]


def test_a_tokenizer_config_that_is_none_stays_as_it_is(model: MakeModel, tmp_path: Path) -> None:
    base = changed(model("roberta"), tmp_path / "base")
    (base / "tokenizer_config.json").write_text("{")
    plan, session, done = fitted(tmp_path / "out", some(30), base, QUICK)
    publish(plan, session, done, 1.0)
    assert (tmp_path / "out" / "tokenizer_config.json").read_text() == "{"
