"""A whole training: from whatever holds labels to a bundle that classifies, whichever way it is asked for."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.doubles import MakeModel
from tests.models import Theirs, changed, opened, tensors_of
from tests.train.moods import (
    FILLERS,
    MOODS,
    QUICK,
    bare,
    encoder_tensors,
    everything,
    some,
    tagged,
    weights_bytes,
    write_tsv,
)
from tonewise import Classifier
from tonewise.config import Config, EngineConfig, RunConfig, SourceConfig
from tonewise.engines import choose_threads
from tonewise.errors import ConfigError, InputError, ModelError, OutputError
from tonewise.source.labelled import Labels, read_labelled
from tonewise.store import Bundle
from tonewise.train import Plan, Recipe, Terms, prepare, train

FROZEN = Recipe(freeze_encoder=True, precision="fp32")


@pytest.fixture
def base(model: MakeModel) -> Path:
    return model("bert", seed=3)


def quick(data: Any, output: Path, base: Path, **options: Any) -> Bundle:
    """A training of seconds: one epoch, no int8."""
    given: dict[str, Any] = {"recipe": QUICK, "int8": False} | options
    return train(data, output, base=base, **given)


def logits_of(folder: Path, texts: list[str], head: str | None = None) -> np.ndarray[Any, Any]:
    """Scores of one head, float64[N, L], in the order of its labels."""
    with Classifier.load(folder, engine="reference") as classifier:
        name = head or next(iter(classifier.bundle.heads))
        labels = classifier.bundle.heads[name].labels
        found = classifier.classify(texts)
    return np.log([[one.heads[name].scores[label] for label in labels] for one in found])


def training_of(folder: Path) -> Any:
    return json.loads((folder / "training.json").read_text())


def test_every_kind_of_data_gives_the_same_bundle(base: Path, tmp_path: Path) -> None:
    import datasets
    import pandas as pd

    rows = some(60)
    kinds = {
        "dicts": rows,
        "file": write_tsv(tmp_path / "moods.tsv", rows),
        "files": [write_tsv(tmp_path / "a.tsv", rows[:30]), write_tsv(tmp_path / "b.tsv", rows[30:])],
        "glob": str(tmp_path / "[ab].tsv"),
        "frame": pd.DataFrame(rows),
        "datasets": datasets.Dataset.from_list(rows),
        "labelled": read_labelled(rows),
    }
    found = {name: quick(data, tmp_path / name, base, recipe=FROZEN) for name, data in kinds.items()}
    assert {weights_bytes(tmp_path / name) for name in found} == {weights_bytes(tmp_path / "dicts")}
    assert {one.heads["label"] for one in found.values()} == {found["dicts"].heads["label"]}
    assert "moods.tsv" in (tmp_path / "file" / "README.md").read_text()
    assert "b.tsv" in (tmp_path / "files" / "README.md").read_text()
    assert "b.tsv" in (tmp_path / "glob" / "README.md").read_text()


def test_a_mood_is_learned_and_calibrated_for_int8_too(base: Path, tmp_path: Path) -> None:
    told: list[str] = []
    recipe = Recipe(epochs=4, batch_size=8, learning_rate=3e-3, pooling="first", precision="fp32")
    validation = some(120, seed=1)
    bundle = train(
        some(300), tmp_path / "out", base=base, recipe=recipe, validation=validation, tell=told.append
    )
    figures = next(line for line in told if line.startswith("label: Accuracy"))
    assert float(figures.split()[2].rstrip(",")) > 0.9
    assert "120 held-out rows" in figures
    assert bundle.manifest.activation_ranges
    assert set(bundle.manifest.agreement) >= {"onnxruntime"}
    assert bundle.manifest.parent == opened(base).digest
    assert bundle.heads["label"].temperature != 1
    with Classifier.load(tmp_path / "out", engine="onnxruntime", precision="int8") as classifier:
        answers = classifier.classify([one["text"] for one in validation])
    right = np.mean([a.label == one["label"] for a, one in zip(answers, validation, strict=True)])
    assert right > 0.9
    assert everything(tmp_path) == sorted(
        ["out", *(f"out/{name}" for name in everything(tmp_path / "out"))]
    ), "nothing is left beside it"


def test_validation_is_given_or_by_hash_or_out_of_fold(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def held(**options: Any) -> tuple[int, int, str]:
        (task,) = prepare(Plan(some(60), tmp_path / "out", base=base, **options)).tasks
        return len(task.learn), 0 if task.held is None else len(task.held), task.split_name

    assert held() == (60, 0, "out-of-fold")
    assert held(validation=some(30, seed=5)) == (60, 30, "validation")
    monkeypatch.setattr("tonewise.train.task.FEW", 60)
    assert held() == (54, 6, "validation")


def test_a_single_and_a_multi_label_head_learn_side_by_side(base: Path, tmp_path: Path) -> None:
    told: list[str] = []
    recipe = Recipe(epochs=4, batch_size=8, learning_rate=3e-3, precision="fp32")
    heads = {
        "mood": (some(240), some(60, seed=1)),
        "tags": (tagged(120, seed=2), tagged(60, seed=3)),
    }
    bundle = quick(None, tmp_path / "out", base, heads=heads, recipe=recipe, tell=told.append)
    assert list(bundle.heads) == ["mood", "tags"]
    assert bundle.heads["mood"].labels == tuple(MOODS)
    assert set(bundle.heads["tags"].labels) == {*MOODS, "time"}
    assert bundle.heads["tags"].problem_type == "multi_label_classification"
    assert len(bundle.heads["tags"].thresholds or ()) == 4
    assert bundle.heads["mood"].thresholds is None
    figures = {line.partition(":")[0]: line for line in told if "held-out rows" in line}
    assert "Accuracy" in figures["mood"]
    assert "Exact match" in figures["tags"]
    with Classifier.load(tmp_path / "out", engine="reference") as classifier:
        answers = classifier.classify([one["text"] for one in tagged(60, seed=4)])
    right = [
        a.heads["mood"].label in one["label"] for a, one in zip(answers, tagged(60, seed=4), strict=True)
    ]
    assert np.mean(right) > 0.8
    assert sorted(name for name in everything(tmp_path / "out") if name.endswith(".png")) == [
        "confusion-mood.png",
        "reliability-mood.png",
        "reliability-tags.png",
        "training-mood.png",
        "training-tags.png",
    ]


def test_one_head_may_have_another_validation_and_another_none(base: Path, tmp_path: Path) -> None:
    heads = {"mood": (some(60), some(30, seed=1)), "other": some(90, seed=2)}
    tasks = prepare(Plan(None, tmp_path / "out", heads=heads, base=base)).tasks
    assert [(len(task.learn), len(task.held or ())) for task in tasks] == [(60, 30), (81, 9)]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"data": None}, "nothing to learn from: name a labelled file, or --head NAME=FILE"),
        ({"heads": {"mood": some(30)}}, "give one set with its validation, or --head NAME=FILE for each"),
        (
            {"retain": ("old", None), "base": "other"},
            "--retain old is the base itself; leave out --base other",
        ),
    ],
)
def test_options_that_contradict_are_refused(options: dict[str, Any], told: str, tmp_path: Path) -> None:
    given = {"data": some(30)} | options
    with pytest.raises(ConfigError, match=told):
        train(given.pop("data"), tmp_path / "out", **given)
    assert everything(tmp_path) == []


@pytest.mark.parametrize("knob", [{"freeze_encoder": True}, {"lora_rank": 2}])
def test_retain_is_for_an_encoder_that_learns(base: Path, tmp_path: Path, knob: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="--retain is for an encoder that learns"):
        train(some(30), tmp_path / "out", retain=(base, None), recipe=Recipe(**knob))


def test_an_output_that_is_there_is_refused_before_anything_is_read(base: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="is there already"):
        quick(tmp_path / "no such file.tsv", tmp_path / "out", base)
    assert everything(tmp_path) == ["out", "out/mine.txt"]


def test_a_base_of_another_architecture_or_without_a_tensor_is_refused(base: Path, tmp_path: Path) -> None:
    other = changed(base, tmp_path / "gpt", config={"model_type": "gpt2", "architectures": ["GPT2Model"]})
    with pytest.raises(ModelError, match="model_type 'gpt2' is not supported"):
        quick(some(30), tmp_path / "out", other)
    tensors = tensors_of(base)
    name = "bert.encoder.layer.1.output.dense.weight"
    del tensors[name]
    broken = changed(base, tmp_path / "broken", tensors=tensors)
    with pytest.raises(ModelError, match=name):
        quick(some(30), tmp_path / "out", broken)
    assert everything(tmp_path / "out") == []


def test_a_head_of_another_size_is_replaced_and_that_is_told_once(model: MakeModel, tmp_path: Path) -> None:
    told: list[str] = []
    bundle = quick(
        some(60), tmp_path / "out", model("bert", labels=("a", "b")), tell=told.append, recipe=QUICK
    )
    assert bundle.heads["label"].labels == tuple(MOODS)
    replaced = [line for line in told if "takes its place" in line]
    assert len(replaced) == 1
    assert "'label' (2 labels); a new head of 3 labels takes its place" in replaced[0]


def test_training_goes_on_from_a_head_of_the_same_labels_in_another_order(base: Path, tmp_path: Path) -> None:
    told: list[str] = []
    slow = Recipe(epochs=1, learning_rate=1e-12, pooling="first", precision="fp32")
    order = ("anger", "sadness", "joy")
    bundle = quick(
        some(60),
        tmp_path / "out",
        base,
        recipe=slow,
        validation=some(10, seed=1),
        labels=Labels(names=order),
        tell=told.append,
    )
    assert any("goes on from the head 'label'" in line for line in told)
    assert bundle.heads["label"].labels == order
    texts = [one["text"] for one in some(12, seed=2)]
    old = opened(base).heads["label"].labels
    before = logits_of(base, texts)[:, [old.index(label) for label in order]]
    np.testing.assert_allclose(logits_of(tmp_path / "out", texts), before, atol=1e-5)


def test_labels_stand_as_first_seen_or_as_given(base: Path, tmp_path: Path) -> None:
    rows = some(60)[1:]
    assert quick(rows, tmp_path / "a", base, recipe=FROZEN).heads["label"].labels == (
        "joy",
        "anger",
        "sadness",
    )
    order = ("anger", "joy", "sadness", "none")
    given = quick(rows, tmp_path / "b", base, recipe=FROZEN, labels=Labels(names=order))
    assert given.heads["label"].labels == order


@pytest.mark.parametrize("way", ["few", "validation"])
@pytest.mark.parametrize("pooling", ["auto", "first", "mean"])
def test_a_frozen_encoder_stays_as_it_was_bit_for_bit(
    base: Path, tmp_path: Path, pooling: Any, way: str
) -> None:
    recipe = Recipe(freeze_encoder=True, pooling=pooling, precision="fp32")
    validation = some(60, seed=1) if way == "validation" else None
    told: list[str] = []
    quick(some(120), tmp_path / "out", base, recipe=recipe, validation=validation, tell=told.append)
    was, now = encoder_tensors(base), encoder_tensors(tmp_path / "out")
    assert was.keys() == now.keys()
    assert all(was[name].tobytes() == now[name].tobytes() for name in was)
    with Classifier.load(tmp_path / "out", engine="reference") as classifier:
        answers = classifier.classify([one["text"] for one in some(120)])
    right = np.mean([a.label == one["label"] for a, one in zip(answers, some(120), strict=True)])
    assert right > 0.7, "what answers is what was fitted"


def test_low_rank_updates_are_merged_into_plain_weights(base: Path, tmp_path: Path) -> None:
    recipe = Recipe(
        epochs=2, learning_rate=1e-2, batch_size=16, lora_rank=2, pooling="first", precision="fp32"
    )
    quick(some(120), tmp_path / "out", base, recipe=recipe, validation=some(30, seed=1))
    was, now = encoder_tensors(base), encoder_tensors(tmp_path / "out")
    assert was.keys() == now.keys()
    differing = {name for name in was if not np.array_equal(was[name], now[name])}
    assert differing
    assert all(name.endswith("weight") and "layer." in name and "Norm" not in name for name in differing)
    change = now["encoder.layer.0.output.dense.weight"] - was["encoder.layer.0.output.dense.weight"]
    assert np.linalg.matrix_rank(change, tol=1e-5) <= 2
    texts = ["i am so happy", "they hate it"]
    theirs = Theirs(tmp_path / "out").logits(texts, 64)
    temperature = opened(tmp_path / "out").heads["label"].temperature
    assert_same_scores(theirs / temperature, logits_of(tmp_path / "out", texts))


def test_low_rank_updates_that_lose_to_a_frozen_encoder_leave_it_alone(base: Path, tmp_path: Path) -> None:
    recipe = Recipe(epochs=1, learning_rate=1e-12, lora_rank=2, precision="fp32")
    bundle = quick(some(60), tmp_path / "out", base, recipe=recipe)
    assert training_of(tmp_path / "out")["frozen"]
    assert all(
        np.array_equal(one, encoder_tensors(bundle.folder)[name])
        for name, one in encoder_tensors(base).items()
    )


def assert_same_scores(logits: Any, logs: Any) -> None:
    shifted = logits - logits.max(axis=1, keepdims=True)
    expected = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(logs, expected, atol=1e-4)


def test_soft_labels_are_learned_as_shares(base: Path, tmp_path: Path) -> None:
    rows = [
        {"text": one["text"], **{mood: 0.8 if mood == one["label"] else 0.1 for mood in MOODS}}
        for one in some(120)
    ]
    labels = Labels(label_columns=tuple(MOODS))
    recipe = Recipe(epochs=8, learning_rate=3e-3, batch_size=8, precision="fp32")
    bundle = quick(rows, tmp_path / "out", base, labels=labels, recipe=recipe)
    assert bundle.heads["label"].labels == tuple(MOODS)
    assert bundle.heads["label"].problem_type == "single_label_classification"
    scores = np.exp(logits_of(tmp_path / "out", [one["text"] for one in rows]))
    assert 0.6 < np.median(scores.max(axis=1)) < 0.95


def test_six_texts_are_enough_for_an_answer_and_one_label_is_a_clear_error(
    base: Path, tmp_path: Path
) -> None:
    bundle = quick(some(6), tmp_path / "out", base)
    assert set(bundle.heads["label"].labels) == set(MOODS)
    assert bundle.heads["label"].temperature == 1, "under 20 rows there is none to fit"
    with pytest.raises(InputError, match="in 2 rows no label of column 'label' occurs twice"):
        quick([{"text": "a", "label": "x"}, {"text": "b", "label": "y"}], tmp_path / "two", base)
    with pytest.raises(InputError, match="all 6 rows have the same label"):
        quick([{**one, "label": "x"} for one in some(6)], tmp_path / "one", base)


def test_texts_that_differ_in_case_alone_are_one_when_folds_are_made(base: Path, tmp_path: Path) -> None:
    rows = [{"text": text, "label": label} for text, label in zip("aAbBcC", "xxyyxx", strict=True)]
    assert quick(rows, tmp_path / "out", base, recipe=FROZEN).heads


def test_a_small_set_with_validation_of_its_own_can_keep_the_encoder_frozen(
    base: Path, tmp_path: Path
) -> None:
    assert quick(some(3), tmp_path / "out", base, recipe=FROZEN, validation=some(9, seed=1)).heads


def test_pairs_are_learned_from_both_texts(base: Path, tmp_path: Path) -> None:
    rows = [{"first": "film", "second": one["text"], "label": one["label"]} for one in some(90)]
    config = Config(source=SourceConfig(text_column="first", text_pair_column="second"))
    recipe = Recipe(epochs=6, learning_rate=3e-3, batch_size=8, precision="fp32")
    quick(rows, tmp_path / "out", base, config=config, recipe=recipe)
    with Classifier.load(tmp_path / "out", engine="reference") as classifier:
        answers = classifier.classify([(one["first"], one["second"]) for one in rows])
    assert np.mean([a.label == one["label"] for a, one in zip(answers, rows, strict=True)]) > 0.8


def test_empty_texts_are_told_and_learned(base: Path, tmp_path: Path) -> None:
    told: list[str] = []
    rows = [*some(30), {"text": "", "label": "joy"}]
    quick(rows, tmp_path / "out", base, recipe=FROZEN, tell=told.append)
    assert "empty texts: 1 (text 31)" in told


def test_texts_over_the_limit_are_counted_as_cut(base: Path, tmp_path: Path) -> None:
    rows = [*some(30), *({"text": " ".join(FILLERS) + f" {i}", "label": "joy"} for i in range(3))]
    session = prepare(Plan(rows, tmp_path / "out", base=base, recipe=Recipe(max_length=12)))
    assert session.cut == {"label": 3}
    quick(rows, tmp_path / "out", base, recipe=Recipe(max_length=12, freeze_encoder=True))
    card = (tmp_path / "out" / "README.md").read_text()
    assert "In training 3 were" in card
    assert "on the first 12 tokens of a text, of which it reads no more unless --max-length" in card
    stated = json.loads((tmp_path / "out" / "tokenizer_config.json").read_text())
    assert stated == {"do_lower_case": True, "model_max_length": 12}
    with Classifier.load(tmp_path / "out", engine="stub") as classifier:
        assert classifier.tokenizer.max_length == 12
    from transformers import AutoTokenizer

    long = " ".join(FILLERS)
    theirs = AutoTokenizer.from_pretrained(tmp_path / "out")(long, truncation=True)["input_ids"]
    assert len(theirs) == 12, "transformers cuts as training did"
    quick(rows, tmp_path / "again", tmp_path / "out", recipe=FROZEN)
    stated = json.loads((tmp_path / "again" / "tokenizer_config.json").read_text())
    assert stated["model_max_length"] == 64, "what a base was trained on is not what this was"
    assert "exceeds 64 tokens of a text is cut off" in (tmp_path / "again" / "README.md").read_text()


def test_terms_reach_manifest_and_card(base: Path, tmp_path: Path) -> None:
    terms = Terms("moods", "mit", "moods of May", "cc-by-4.0", "for research")
    bundle = quick(some(30), tmp_path / "out", base, recipe=FROZEN, terms=terms)
    assert (bundle.manifest.name, bundle.manifest.licence) == ("moods", "mit")
    assert bundle.manifest.data_terms == "for research"
    card = (tmp_path / "out" / "README.md").read_text()
    assert all(word in card for word in ("moods of May", "cc-by-4.0", "for research"))


def test_no_place_and_no_text_is_told_in_the_bundle(base: Path, tmp_path: Path) -> None:
    rows = [{**one, "text": f"{one['text']} zebrafish{i}"} for i, one in enumerate(some(60))]
    path = write_tsv(tmp_path / "secret moods.tsv", rows)
    train(path, tmp_path / "out", base=base, recipe=QUICK, validation=path)
    for name in ("README.md", "training.json", "tonewise.json", "config.json"):
        text = (tmp_path / "out" / name).read_text()
        assert str(tmp_path) not in text
        assert str(base.parent) not in text
        assert "zebrafish" not in text
    assert "secret moods.tsv" in (tmp_path / "out" / "README.md").read_text()


def test_a_bare_encoder_takes_a_head(base: Path, tmp_path: Path) -> None:
    bundle = quick(some(60), tmp_path / "out", bare(base, tmp_path / "bare"))
    assert list(bundle.heads) == ["label"]


def test_what_is_found_and_skipped_is_told_with_the_head_where_there_are_several(
    base: Path, tmp_path: Path
) -> None:
    told: list[str] = []
    config = Config(run=RunConfig(on_error="skip"))
    rows = [*some(60), {"text": None, "label": "joy"}, {"text": "", "label": "joy"}]
    prepare(Plan(rows, tmp_path / "out", base=base, config=config, tell=told.append))
    skipped = "rows skipped: 1; the first: text 61: column 'text' is null; a text is wanted"
    assert told == [skipped, "empty texts: 1 (text 62)"]
    told.clear()
    heads = {"mood": rows, "other": some(60)}
    prepare(Plan(None, tmp_path / "out", heads=heads, base=base, config=config, tell=told.append))
    assert told == [f"mood: {skipped}", "mood: empty texts: 1 (text 62)"]


def test_a_frozen_encoder_refuses_knobs_that_it_has_no_use_for(base: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"dropout is 0\.3, which freeze_encoder makes no use of"):
        quick(some(30), tmp_path / "out", base, recipe=replace(FROZEN, dropout=0.3))
    assert everything(tmp_path) == []


def test_a_length_that_the_base_does_not_read_is_refused(base: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="max_length is 65, but this model takes 64 tokens at most"):
        quick(some(30), tmp_path / "out", base, recipe=replace(FROZEN, max_length=65))


def test_threads_are_those_that_were_asked_for(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tonewise.train.session.choose_threads", choose_threads)
    plan = Plan(some(30), tmp_path / "out", base=base, config=Config(engine=EngineConfig(threads=3)))
    session = prepare(plan)
    assert session.identity(QUICK)["threads"] == "3"
    seen: list[int] = []
    monkeypatch.setattr(session, "_few", lambda *rest: seen.append(torch.get_num_threads()))
    session.run(session.settled(FROZEN))
    assert seen == [3]
    quick(some(30), tmp_path / "out", base, recipe=FROZEN, config=plan.config)
    assert ", 3 threads; seed 0." in (tmp_path / "out" / "README.md").read_text()
