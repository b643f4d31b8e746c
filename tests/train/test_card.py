"""The model card: what the hub reads of it, what people read, and nothing that the facts do not say."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

pytest.importorskip("matplotlib")

from huggingface_hub import ModelCard

from tonewise.metrics import Interval, by_label, confusion, one_hot, reliability
from tonewise.store.licence import card_facts
from tonewise.store.writing import pinned_files
from tonewise.train.card import write_card
from tonewise.train.card_limits import limits
from tonewise.train.facts import Base, CardFacts, DataFacts, DataFile, Epoch, Figure, HeadFacts, Retained

LABELS = ("sadness", "joy", "anger")
ROWS = 600
PNG = b"\x89PNG\r\n\x1a\n"


def head_facts(name: str = "label", labels: tuple[str, ...] = LABELS, **changes: Any) -> HeadFacts:
    """One label a text, measured on 600 rows; of 200 of sadness 20 were taken for anger."""
    gold = np.arange(ROWS) % len(labels)
    found = np.where((gold == 0) & (np.arange(ROWS) % 10 == 0), len(labels) - 1, gold)
    confidence = np.linspace(0.3, 0.99, ROWS)
    data = DataFacts(
        "moods",
        (DataFile("/home/someone/secret/moods.tsv", "ab" * 32, 3000),),
        (900,) * len(labels),
        rows=2400,
        held_rows=ROWS,
        split="a fifth by hash of the text",
    )
    figures = (
        Figure("Accuracy", 0.9666, Interval(0.95, 0.98)),
        Figure("Macro F1", 0.9667, Interval(0.951, 0.981), "f1", "macro"),
    )
    facts = HeadFacts(
        name,
        labels,
        "single_label_classification",
        data,
        figures,
        temperature=1.25,
        ece=(Figure("ECE before", 0.061, None, "ece"), Figure("ECE", 0.012, Interval(0.008, 0.02), "ece")),
        by_label=by_label(one_hot(gold, len(labels)), one_hot(found, len(labels))),
        confusion=confusion(gold, found, len(labels)),
        reliability=reliability(confidence, gold == found),
        history=(Epoch(1, 0.9, 0.8, 1e-4), Epoch(2, 0.5, 0.96, 5e-5), Epoch(3, 0.3, 0.95, 0.0)),
        best=2,
    )
    return replace(facts, **changes)


def results(card: str) -> list[dict[str, Any]]:
    """What the card's model-index states."""
    found: list[dict[str, Any]] = yaml.safe_load(card.split("---\n", 2)[1])["model-index"][0]["results"]
    return found


def several(name: str = "tags") -> HeadFacts:
    """Several labels a text."""
    return head_facts(
        name, problem_type="multi_label_classification", thresholds=(0.5, 0.25, 0.125), confusion=None
    )


def card_of(*heads: HeadFacts, **changes: Any) -> CardFacts:
    facts = CardFacts(
        "moods-small",
        Base("/home/someone/base", "sha256:" + "12" * 32, "owner/base", "mit"),
        heads,
        {"epochs": 3, "learning_rate": 0.0001, "max_length": None, "resume": "/home/someone/run"},
        seed=7,
        versions={"python": "3.11.9", "torch": "2.13"},
        processor="a processor",
        threads=2,
        seconds=75.2,
        max_length=256,
        licence="apache-2.0",
        languages=("en",),
        in_transformers=len(heads) == 1,
    )
    return replace(facts, **changes)


def written(folder: Path, *heads: HeadFacts, **changes: Any) -> str:
    folder.mkdir(exist_ok=True)
    write_card(folder, card_of(*heads, **changes))
    return (folder / "README.md").read_text("utf-8")


def test_the_hub_reads_its_own_terms_out_of_the_card(tmp_path: Path) -> None:
    measured = replace(head_facts().data, held_rows=1_000)
    data: Any = ModelCard(written(tmp_path, head_facts(data=measured))).data
    assert (data.license, data.language, data.library_name) == ("apache-2.0", ["en"], "transformers")
    assert (data.pipeline_tag, data.base_model) == ("text-classification", "owner/base")
    found = {(one.metric_type, one.metric_name): one for one in data.eval_results or ()}
    assert list(found) == [("accuracy", "Accuracy"), ("f1", "Macro F1"), ("ece", "ECE")]
    f1 = found["f1", "Macro F1"]
    assert (f1.metric_value, f1.metric_args) == (0.9667, {"average": "macro"})
    assert (f1.dataset_name, f1.dataset_split) == ("moods", "validation")
    assert found["ece", "ECE"].metric_value == 0.012
    (few,) = results(written(tmp_path, head_facts()))
    assert [one["type"] for one in few["metrics"]] == ["accuracy", "f1"]


def test_the_store_reads_licence_and_languages_out_of_the_card(tmp_path: Path) -> None:
    written(tmp_path, head_facts(), licence="apache-2.0 and cc-by-4.0", languages=("en", "no"))
    found = card_facts(tmp_path / "README.md")
    assert (found.licence, found.languages) == ("apache-2.0 and cc-by-4.0", ("en", "no"))


def test_what_was_not_stated_is_not_claimed(tmp_path: Path) -> None:
    base = Base("base", "sha256:0")
    card = written(tmp_path, head_facts(), licence=None, languages=(), base=base, in_transformers=False)
    matter = card.split("---")[1]
    for key in ("license:", "language:", "base_model:"):
        assert key not in matter
    assert "library_name: tonewise" in matter
    assert "from transformers" not in card
    assert "- the model: not stated" in card
    assert "- its base `base`: not stated" in card
    assert "- the data moods: not stated" in card
    assert "The language of its texts was not stated" in card
    for heading in ("## int8", "## What it knew before"):
        assert heading not in card


def test_figures_labels_and_calibration_are_told(tmp_path: Path) -> None:
    card = written(tmp_path, head_facts(precision="int8"))
    assert "Measured in int8 on 600 rows: a fifth by hash of the text." in card
    assert "| Accuracy | 96.7% | 95.0% to 98.0% |" in card
    assert "| sadness | 900 | 200 | 100.0% | 90.0% | 94.7% |" in card
    assert "temperature 1.25" in card
    assert "is 6.1% before that, 1.2% (0.8% to 2.0%) after." in card
    assert "`learning_rate` | 0.0001" in card
    assert "`max_length` | –" in card
    assert "Trained in 75 s on a processor, 2 threads; seed 7." in card
    assert "python 3.11.9, torch 2.13." in card
    assert "ab" * 32 in card
    assert "sha256:" + "12" * 32 in card


def test_rows_that_chose_the_model_are_said_to_have(tmp_path: Path) -> None:
    head = head_facts()
    told = "The same rows chose the best epoch, the temperature and the thresholds"
    assert "The same rows chose" not in written(tmp_path, head)
    chosen = ("the best epoch", "the temperature", "the thresholds")
    assert told in written(tmp_path, replace(head, data=replace(head.data, chosen=chosen)))


def test_no_path_of_the_machine_is_in_the_card(tmp_path: Path) -> None:
    card = written(tmp_path, head_facts())
    assert "someone" not in card
    assert "secret" not in card
    assert "moods.tsv" in card
    assert "`base`" in card
    assert "`resume` | run" in card


def test_pictures_are_files_of_the_bundle_and_shown_in_the_card(tmp_path: Path) -> None:
    card = written(tmp_path, head_facts())
    names = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", card)
    assert names == ["confusion.png", "reliability.png", "training.png"]
    assert set(pinned_files(tmp_path)) == {"README.md", *names}
    for name in names:
        assert (tmp_path / name).read_bytes().startswith(PNG)


def test_each_head_has_its_section_and_its_own_pictures(tmp_path: Path) -> None:
    card = written(tmp_path, head_facts("mood"), several("Mood!"), head_facts("other one"))
    assert re.findall(r"^## Head (.*)$", card, re.MULTILINE) == ["mood", "Mood!", "other one"]
    names = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", card)
    assert len(set(names)) == len(names) == 3 + 2 + 3
    assert "confusion-other-one.png" in names
    assert set(pinned_files(tmp_path)) == {"README.md", *names}
    data: Any = ModelCard(card).data
    assert [one.task_name for one in data.eval_results if one.metric_type == "f1"] == [
        "Head mood",
        "Head Mood!",
        "Head other one",
    ]


def test_of_several_labels_a_text_thresholds_are_told(tmp_path: Path) -> None:
    card = written(tmp_path, several())
    assert "any of 3 labels" in card
    assert re.search(r"\| joy \|.*\| 0\.250 \|", card)
    assert not (tmp_path / "confusion.png").exists()


def test_an_encoder_alone_embeds(tmp_path: Path) -> None:
    card = written(tmp_path, in_transformers=False)
    assert "pipeline_tag: feature-extraction" in card
    assert "classifier.embed" in card
    assert "tonewise classify" not in card
    assert "gets one of the labels" not in card


def test_int8_and_what_was_known_before_are_tables(tmp_path: Path) -> None:
    retained = (Retained("emotion", "accuracy", 0.936, 0.931, 2000),)
    agreement = {"onnxruntime": 0.9965}
    told = {"agreement": agreement, "agreement_rows": 800, "has_int8": True, "retained": retained}
    card = written(tmp_path, head_facts(), **told)
    assert "On how many of 800 texts, none learned from" in card
    assert "| onnxruntime | 99.7% |" in card or "| onnxruntime | 99.6% |" in card
    assert "| emotion | accuracy | 93.6% | 93.1% | 2,000 |" in card


def test_a_head_that_was_kept_is_one_of_the_heads(tmp_path: Path) -> None:
    kept = {"emotion": ("single_label_classification", 6)}
    card = written(tmp_path, head_facts("topic"), kept=kept)
    assert "several answers in one pass: **topic** one of 3 labels; **emotion** one of 6 labels" in card
    assert "## Head topic" in card
    (result,) = results(card)
    assert result["task"]["name"] == "Head topic"


def test_figures_are_of_the_file_that_was_measured(tmp_path: Path) -> None:
    data = replace(head_facts().data, measured="held-out.csv", held_rows=2_000)
    (result,) = results(written(tmp_path, head_facts(data=data)))
    assert (result["dataset"]["name"], result["dataset"]["args"]) == ("held-out.csv", {"rows": 2_000})


def test_names_are_never_markup(tmp_path: Path) -> None:
    labels = ("<script>", "a|b\nc", "`*[x](y)*` _z_")
    data = replace(head_facts().data, name="# <i>data</i>", split="*x*")
    card = written(tmp_path, head_facts("he|ad", labels, data=data))
    body = card.split("---\n", 2)[2]
    assert "<script>" not in body
    assert "<i>" not in body
    assert "&lt;script&gt;" in body
    assert r"a\|b c" in body
    assert r"\`\*\[x\](y)\*\` \_z\_" in body
    tables = re.findall(r"^\| (?:label|&lt;script|a\\).*$", body, re.MULTILINE)
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in tables} == {7}


def test_limits_are_those_of_the_facts() -> None:
    head = head_facts()
    told = list(limits(card_of(head)))
    assert "Its commonest mistake: sadness answered as anger, 20 of 200." in told
    assert not [one for one in told if "Fewer than" in one or "only" in one or "No held-out" in one]
    data = replace(head.data, counts=(5, 900, 19), held_rows=60, cut=4)
    found = one_hot(np.array([1, 1, 0, 1]), 3)
    poor = replace(head, data=data, by_label=by_label(one_hot(np.array([0, 0, 0, 1]), 3), found))
    told = list(limits(card_of(poor)))
    assert "Fewer than 20 training rows of sadness (5), anger (19): expect it to err on these." in told
    assert "Measured on 60 rows only: heed the intervals." in told
    assert "No held-out row of anger: how well it finds these is not known." in told
    assert "F1 under 50% on joy (50.0%)." not in told
    assert "In training 4 were." in " ".join(told)


def test_a_weak_label_is_named() -> None:
    gold, found = np.array([0, 0, 0, 1, 2]), np.array([1, 1, 0, 1, 2])
    told = list(limits(card_of(head_facts(by_label=by_label(one_hot(gold, 3), one_hot(found, 3))))))
    assert "F1 under 50% on sadness (50.0%)." not in told
    found = np.array([1, 1, 1, 1, 2])
    told = list(limits(card_of(head_facts(by_label=by_label(one_hot(gold, 3), one_hot(found, 3))))))
    assert "F1 under 50% on sadness (0.0%), joy (40.0%)." in told


def test_limits_name_the_head_where_there_are_several() -> None:
    told = list(limits(card_of(head_facts("mood"), several())))
    assert "Head mood: Its commonest mistake: sadness answered as anger, 20 of 200." in told


def test_many_labels_make_a_card_too(tmp_path: Path) -> None:
    labels = tuple(f"intent_{i}" for i in range(77))
    data = replace(head_facts().data, counts=(3,) * 77)
    card = written(tmp_path, head_facts(labels=labels, data=data))
    assert "| intent_76 | 3 |" in card
    assert "and 67 more: expect it to err on these." in card


def test_a_curve_without_a_metric_shows_the_loss_alone(tmp_path: Path) -> None:
    plain = written(tmp_path / "a", head_facts())
    unmeasured = tuple(replace(one, metric=float("nan")) for one in head_facts().history)
    bare = written(tmp_path / "b", head_facts(history=unmeasured, best=None))
    assert f"Training: loss and {head_facts().metric} by epoch" in plain
    assert "Training: loss by epoch" in bare
