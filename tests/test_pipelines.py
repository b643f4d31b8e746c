"""Side by side with transformers.pipeline: the same arguments give the same shapes, labels and scores."""

import itertools
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer
from transformers import pipeline as their_pipeline

import tonewise
from tests.models import changed, one_thread
from tonewise.config import EngineConfig
from tonewise.errors import ConfigError, EngineError, InputError, ModelError, RowError

pipeline: Callable[..., Any] = tonewise.pipeline
Make = Callable[..., Path]
TEXT = "The day was good !"
PAIR = {"text": "the film was slow", "text_pair": "i love it"}
FUNCTIONS = ("softmax", "sigmoid", "none", "SOFTMAX", "Sigmoid", "None")
KINDS: dict[str, dict[str, Any]] = {
    "single label": {"labels": ("sadness", "joy", "anger", "fear")},
    "single label, named": {"problem_type": "single_label_classification"},
    "two labels": {"labels": ("NEGATIVE", "POSITIVE")},
    "one output": {"labels": ("spam",)},
    "multi label": {"problem_type": "multi_label_classification"},
    "regression": {"labels": ("stars",), "problem_type": "regression"},
    "regressions": {"labels": ("warmth", "length"), "problem_type": "regression"},
}
INPUTS: dict[str, Any] = {
    "text": TEXT,
    "empty text": "",
    "list": [TEXT, "i am sad", "", "日本語 🙂"],
    "list of one": [TEXT],
    "pair": PAIR,
    "text in a dict": {"text": TEXT},
    "pair with an empty second": {"text": TEXT, "text_pair": ""},
    "pair without a second": {"text": TEXT, "text_pair": None},
    "list of pairs": [PAIR, {"text": "the food", "text_pair": "not bad"}],
    "list of one pair": [PAIR],
    "texts and pairs": [PAIR, TEXT, {"text": TEXT}],
}


class Both:
    """One model as each side opens it, with the same arguments."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.ours = pipeline(model=folder, precision="fp32", threads=1, **options)
        self.theirs = their_pipeline(
            "text-classification",
            model=str(folder),
            tokenizer=AutoTokenizer.from_pretrained(folder),
            **options,
        )

    def assert_same(self, inputs: Any, **options: Any) -> Any:
        found, wanted = self.ours(inputs, **options), self.theirs(inputs, **options)
        _assert_like(found, wanted)
        return found


def _assert_like(found: Any, wanted: Any) -> None:
    assert type(found) is type(wanted)
    if isinstance(wanted, list):
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            _assert_like(one, other)
    elif isinstance(wanted, dict):
        assert list(found) == list(wanted)
        for key in wanted:
            _assert_like(found[key], wanted[key])
    elif isinstance(wanted, float):
        assert found == pytest.approx(wanted, abs=1e-5)
    else:
        assert found == wanted


@pytest.fixture(scope="module", autouse=True)
def alone_on_a_processor() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(scope="module")
def both(model: Make) -> Callable[..., Both]:
    made: dict[str, Both] = {}

    def make(family: str, **options: Any) -> Both:
        key = f"{family} {options!r}"
        if key not in made:
            made[key] = Both(model(family, **options))
        return made[key]

    return make


Make2 = Callable[..., Both]


@pytest.mark.parametrize("inputs", INPUTS.values(), ids=INPUTS)
@pytest.mark.parametrize("family", ["distilbert", "bert", "roberta"])
def test_every_shape_of_input_gives_their_shape_of_answer(both: Make2, family: str, inputs: Any) -> None:
    for options in ({}, {"top_k": 1}, {"top_k": 2}, {"top_k": None}):
        both(family).assert_same(inputs, **options)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_model_gives_their_labels_and_scores(both: Make2, kind: str) -> None:
    sides = both("bert", **KINDS[kind])
    for options in ({}, {"top_k": 1}, {"top_k": 2}, {"top_k": 100}, {"top_k": None}):
        sides.assert_same(TEXT, **options)
        sides.assert_same([TEXT, "i am sad", PAIR], **options)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("kind", ["single label", "one output", "multi label", "regressions"])
def test_a_function_that_is_asked_for_is_applied_instead(both: Make2, kind: str, function: str) -> None:
    sides = both("bert", **KINDS[kind])
    for options in ({}, {"top_k": None}):
        sides.assert_same(TEXT, function_to_apply=function, **options)
        sides.assert_same([TEXT, PAIR], function_to_apply=function, **options)


@pytest.mark.parametrize("top_k", [1, 2, None])
@pytest.mark.parametrize("function", [None, "sigmoid"])
def test_what_was_said_when_it_was_made_holds_until_a_call_says_else(
    model: Make, top_k: int | None, function: str | None
) -> None:
    sides = Both(model("distilbert"), top_k=top_k, function_to_apply=function)
    for inputs in (TEXT, [TEXT, ""], PAIR, [PAIR]):
        sides.assert_same(inputs)
        sides.assert_same(inputs, top_k=3)
        sides.assert_same(inputs, function_to_apply="none")


def test_the_function_alone_keeps_the_plain_shape(model: Make) -> None:
    sides = Both(model("distilbert"), function_to_apply="none")
    assert isinstance(sides.assert_same(TEXT)[0], dict)


def test_no_texts_have_no_answers(both: Make2) -> None:
    """Where transformers 5 fails."""
    assert both("distilbert").ours([]) == []


def test_a_generator_is_answered(both: Make2) -> None:
    """One by one, so that an input may have no end."""
    texts = [TEXT, "i am sad"]
    sides = both("distilbert")
    _assert_like(list(sides.ours(iter(texts))), [sides.theirs(one)[0] for one in texts])
    endless = sides.ours(itertools.repeat(TEXT), top_k=1, function_to_apply="none")
    _assert_like(next(endless), sides.theirs(TEXT, top_k=1, function_to_apply="none"))


def test_a_pipeline_takes_what_changes_nothing_and_refuses_the_rest(model: Make) -> None:
    same = pipeline(model=model("distilbert"), device=-1, batch_size=8, truncation=True, framework="pt")
    assert same(TEXT) == pipeline(model=model("distilbert"))(TEXT)
    assert len(pipeline(model=model("distilbert"), return_all_scores=True)([TEXT])[0]) == 3
    with pytest.raises(RowError, match="where the model takes"):
        pipeline(model=model("distilbert"), truncation=False)("so sad " * 200)


def test_options_that_ask_for_what_is_done_anyway_are_accepted(both: Make2) -> None:
    long = "the day was good " * 40
    sides = both("distilbert")
    found = sides.ours([TEXT, long], truncation=True, padding=True, max_length=64, batch_size=8)
    _assert_like(found, sides.theirs([TEXT, long], truncation=True, max_length=64))
    _assert_like(sides.ours([long], truncation="longest_first"), found[1:])


def test_a_policy_of_ours_fits_its_own_truncation(model: Make) -> None:
    strict = pipeline(model=model("distilbert"), too_long="error")
    assert strict(TEXT, truncation=False) == pipeline(model=model("distilbert"))(TEXT)
    with pytest.raises(RowError, match=r"^text 1: \d+ tokens, where the model takes 64"):
        strict("the day was good " * 40)
    with pytest.raises(ConfigError, match="truncation=True is not what is done"):
        strict(TEXT, truncation=True)
    with pytest.raises(ConfigError, match="truncation=True is not what is done"):
        pipeline(model=model("distilbert"), too_long="window")(TEXT, truncation=True)


def test_a_sentiment_analysis_is_the_same_task(model: Make) -> None:
    assert pipeline("sentiment-analysis", model=model("distilbert"))(TEXT) == pipeline(
        "text-classification", model("distilbert")
    )(TEXT)


def test_the_package_offers_it_whatever_was_imported_before() -> None:
    program = "import tonewise.pipelines, tonewise; assert callable(tonewise.pipeline)"
    subprocess.run([sys.executable, "-c", program], check=True, stderr=subprocess.DEVNULL)


@pytest.mark.parametrize("task", ["fill-mask", "zero-shot-classification", ""])
def test_another_task_is_refused(model: Make, task: str) -> None:
    with pytest.raises(
        ConfigError, match=f"no task '{task}'; there are: text-classification, sentiment-analysis"
    ):
        pipeline(task, model=model("distilbert"))


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"return_tensors": "pt"}, "no option 'return_tensors'"),
        ({"return_all_scores": True}, "no option 'return_all_scores'"),
        ({"topk": 3}, "no option 'topk'"),
        ({"max_length": 20}, r"max_length is chosen when the pipeline is made"),
        ({"truncation": False}, "truncation"),
        ({"truncation": "only_second"}, "truncation"),
        ({"top_k": 0}, "top_k is 0"),
        ({"top_k": "all"}, "top_k is 'all'"),
        ({"top_k": 2.0}, "top_k is 2.0"),
        ({"top_k": True}, "top_k is True"),
        ({"function_to_apply": "argmax"}, "function_to_apply is 'argmax'; wanted: softmax, sigmoid or none"),
        ({"function_to_apply": 3}, "function_to_apply is 3"),
    ],
    ids=str,
)
def test_an_option_that_would_change_the_answer_is_never_ignored(
    both: Make2, options: dict[str, Any], part: str
) -> None:
    with pytest.raises(ConfigError, match=part):
        both("distilbert").ours(TEXT, **options)


@pytest.mark.parametrize(
    "options", [{"top_k": 0}, {"function_to_apply": "argmax"}, {"device": 1}, {"topk": 2}]
)
def test_an_option_of_the_constructor_that_means_nothing_is_refused(
    model: Make, options: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError):
        pipeline(model=model("distilbert"), **options)


@pytest.mark.parametrize(
    "inputs",
    [
        [["the day", "was good"]],
        [[["the day", "was good"]]],
        [("the day", "was good")],
        {"text_pair": "alone"},
        {"text": TEXT, "extra": 1},
        {},
        [{"text": TEXT}, {"label": "joy"}],
    ],
    ids=repr,
)
def test_an_input_of_another_shape_is_refused(both: Make2, inputs: Any) -> None:
    with pytest.raises(InputError, match="dict"):
        both("distilbert").ours(inputs)


@pytest.mark.parametrize("inputs", [None, 3, b"bytes", ("the day", "was good")], ids=repr)
def test_what_is_no_input_is_refused(both: Make2, inputs: Any) -> None:
    with pytest.raises(InputError, match=r"^cannot classify \w+; wanted: a text, a dict, or a list of them$"):
        both("distilbert").ours(inputs)


def test_a_model_with_several_heads_must_say_which(model: Make, tmp_path: Path) -> None:
    from dataclasses import replace

    from tonewise.store.bundle import MANIFEST, HeadSpec, open_bundle

    folder = changed(model("distilbert"), tmp_path / "two")
    manifest = open_bundle(folder, "two").manifest
    mood = manifest.heads["label"]
    heads = {"mood": mood, "other": HeadSpec(mood.labels, mood.output)}
    (folder / MANIFEST).write_text(replace(manifest, heads=heads, licence="apache-2.0").to_json())
    with pytest.raises(ModelError, match=r"a pipeline needs one head \(it has: mood, other\); add #HEAD"):
        pipeline(model=folder)
    found = pipeline(model=f"{folder}#mood")(TEXT)
    _assert_like(found, pipeline(model=model("distilbert"))(TEXT))


def test_a_model_without_a_head_is_refused(model: Make, tmp_path: Path) -> None:
    bare = changed(model("distilbert"), tmp_path / "bare", config={"architectures": ["DistilBertModel"]})
    with pytest.raises(ModelError, match=r"a pipeline needs one head \(it has: none\)"):
        pipeline(model=bare)


def test_windows_are_pooled_as_the_classifier_pools_them(model: Make) -> None:
    long, how = "so happy not good " * 40, {"too_long": "window", "window_pooling": "max"}
    found = pipeline(model=model("distilbert"), **how)(long)
    answer = tonewise.Classifier.load(model("distilbert"), **how).classify(long)
    assert found == [{"label": answer.label, "score": pytest.approx(answer.score)}]
    with pytest.raises(ConfigError, match="function_to_apply works on the mean over windows"):
        pipeline(model=model("distilbert"), function_to_apply="softmax", **how)(long)


DEVICES = [
    (None, "cpu"),
    (-1, "cpu"),
    ("cpu", "cpu"),
    (torch.device("cpu"), "cpu"),
    (0, "cuda"),
    ("cuda", "cuda"),
    ("cuda:0", "cuda"),
    (torch.device("cuda", 0), "cuda"),
]


@pytest.mark.parametrize(("device", "wanted"), DEVICES, ids=repr)
def test_their_numbers_and_names_of_a_device_reach_the_engine(
    model: Make, monkeypatch: pytest.MonkeyPatch, device: object, wanted: str
) -> None:
    asked: list[EngineConfig] = []

    def choose(config: EngineConfig, *told: object) -> None:
        asked.append(config)
        raise EngineError("far enough")

    monkeypatch.setattr("tonewise.classifier.choose", choose)
    with pytest.raises(EngineError, match="far enough"):
        pipeline(model=model("distilbert"), device=device)
    assert [config.device for config in asked] == [wanted]


def test_a_device_that_is_named_covers_the_settings(model: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TONEWISE_DEVICE", "cuda")
    found = pipeline(model=model("distilbert"), device=-1, engine="onnxruntime")
    assert found.classifier.config.engine.device == "cpu"


@pytest.mark.parametrize("device", [1, "cuda:1", "mps", "tpu", True, 0.0], ids=repr)
def test_a_device_that_is_not_known_is_refused(model: Make, device: object) -> None:
    told = f"^device {device} is not known here; wanted: -1, 'cpu', 0 or 'cuda'$"
    with pytest.raises(ConfigError, match=told):
        pipeline(model=model("distilbert"), device=device)


def test_transformers_words_for_cutting_and_for_the_processor_mean_the_same_here(model: Make) -> None:
    folder = model("distilbert")
    assert pipeline(model=folder, device=torch.device("cpu"))(TEXT) == pipeline(model=folder)(TEXT)
    whole = pipeline(model=folder, truncation="do_not_truncate")
    assert whole.classifier.config.tokenizer.too_long == "error"
    with pytest.raises(ConfigError, match="truncation='only_second': a single text is cut"):
        pipeline(model=folder, truncation="only_second")
    assert len(pipeline(model=folder, top_k=1, return_all_scores=True)([TEXT])[0]) == 1


def test_a_mapped_model_answers_in_its_consumers_labels(model: Make) -> None:
    pipe = pipeline(model=model(), map={"sadness": "down", "joy": "up", "anger": "down"})
    assert {one["label"] for one in pipe(TEXT, top_k=None)} == {"down", "up"}
    with pytest.raises(ConfigError, match="function_to_apply works on the model's own labels, and these are"):
        pipe(TEXT, function_to_apply="none")
