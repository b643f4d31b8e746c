"""The models in the package: their names, size, cards and terms, and how good they are on the real sets."""

from pathlib import Path

import pytest

from tonewise import Classifier
from tonewise.evaluate import evaluate
from tonewise.evaluate.claims import read_claims
from tonewise.source.labelled import Labels, read_labelled
from tonewise.source.split import split
from tonewise.store import packaged, packaged_names, resolve

HEADS = ("emotion", "go-emotions", "offensive", "sentiment", "spam")
MOST_BYTES = 75_000_000
BEST = {
    "emotion": ("emotion/validation.tsv", "accuracy", 0.935),
    "sentiment": ("sst2/validation.tsv", "accuracy", 0.90),
    "go-emotions": ("goemotions/validation.tsv", "macro_f1", 0.45),
    "spam": ("sms-spam/validation.tsv", "macro_f1", 0.97),
    "offensive": ("davidson/validation.jsonl", "macro_f1", 0.73),
}
"""By head its validation texts, and what it reaches at least on the half that nothing was chosen on."""
MOST_ECE = {"emotion": 0.03, "sentiment": 0.04, "spam": 0.03, "offensive": 0.03}
"""On all validation texts. Wanted is 3% everywhere; `sentiment` misses it (docs/log.md)."""


def test_every_head_has_a_name_and_all_are_small_enough() -> None:
    assert set(packaged_names()) == {"base", "multitask", *HEADS}
    folders = {packaged.packaged_folder(name) for name in packaged_names()}
    assert sum((folder / "model.safetensors").stat().st_size for folder in folders) <= MOST_BYTES
    several = resolve("multitask").heads
    assert {name for name, of in packaged.HEADS.items() if of == "multitask"} == set(several)


@pytest.mark.parametrize("name", HEADS)
def test_each_head_is_calibrated_licensed_and_states_its_figures(name: str) -> None:
    bundle = resolve(name)
    (spec,) = bundle.heads.values()
    assert spec.temperature != 1
    assert (spec.thresholds is not None) == (name == "go-emotions")
    assert (bundle.manifest.licence, bundle.manifest.parent) == ("apache-2.0", resolve("base").digest)
    assert bundle.manifest.data_terms
    assert all(share >= 0.99 for share in bundle.manifest.agreement.values())
    claims = [one for one in read_claims(bundle.folder / "README.md", name) if one.head in (None, name)]
    assert "f1" in {one.metric for one in claims}


def test_what_a_stranger_types_first_is_read_as_a_person_would() -> None:
    meant = {
        "i love this": "love",
        "so sad today": "sadness",
        "best day ever": "joy",
        "I hate you": "anger",
        "this is scary": "fear",
        "wow, I did not expect that": "surprise",
        "thank you so much!": "joy",
        "my phone is broken again": "sadness",
    }
    with Classifier.load("emotion") as classifier:
        answers = classifier.classify(list(meant))
    assert {text: one.label for text, one in zip(meant, answers, strict=True)} == meant
    assert min(one.score for one in answers) > 0.5


def test_four_heads_answer_in_one_pass() -> None:
    with Classifier.load("multitask") as classifier:
        answer = classifier.classify("what a lovely day")
    assert list(answer.heads) == list(resolve("multitask").heads)
    with Classifier.load("spam") as classifier:
        assert classifier.classify("what a lovely day").scores == answer.heads["spam"].scores


@pytest.mark.parametrize("name", HEADS)
def test_each_head_is_as_good_as_it_must_be(name: str, data: Path) -> None:
    file, metric, least = BEST[name]
    (spec,) = resolve(name).heads.values()
    labels = Labels(names=spec.labels, separator="," if spec.thresholds else None)
    whole = read_labelled(data / file, None, labels)
    unseen, _ = split(whole, 0.5)
    assert evaluate(name, unseen, draws=20, worst=0).figures[metric].value >= least
    if name in MOST_ECE:
        assert evaluate(name, whole, draws=20, worst=0).figures["ece"].value <= MOST_ECE[name]
