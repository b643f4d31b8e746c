"""What a bundle for int8 states was measured, what int8 harms is left out, and nothing is half there."""

import errno
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.doubles import MakeModel, write_bundle
from tests.models import LABELS, WORDS, batch_of, changed, opened, some_rows, tensors_of
from tonewise import Classifier
from tonewise import quantize as room
from tonewise.config import Config, HeadConfig, Precision, TokenizerConfig
from tonewise.encoder.forward import NumpyOps, run_numpy
from tonewise.encoder.int8 import Ranges
from tonewise.encoder.weights import NetworkSpec, linear_names, load_weights
from tonewise.engines import ENGINES
from tonewise.errors import ConfigError, EngineError, InputError, ModelError, OutputError, RowError
from tonewise.head import Prediction
from tonewise.quantize import Compared, fit_ranges, quantize
from tonewise.store import HeadSpec, resolve, verify
from tonewise.tokenizer import Text

INT8 = [name for name, kind in ENGINES.items() if "int8" in kind.precisions and kind.installed]


def some_texts(count: int = 60, seed: int = 0) -> list[Text]:
    """Sentences of known words; every third ends in an exclamation mark."""
    rng = np.random.default_rng(seed)
    words = [word for word in WORDS if word.isalpha() and word.isascii()]
    return [" ".join(rng.choice(words, rng.integers(3, 12))) + " !" * (i % 3 == 0) for i in range(count)]


TEXTS = some_texts()


def answers(folder: Path, texts: list[Text], engine: str, precision: Precision) -> list[Prediction]:
    with Classifier.load(folder, engine=engine, precision=precision, threads=1) as classifier:
        found: list[Prediction] = classifier.classify(texts)
    return found


def everything(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.fixture
def sensitive(model: MakeModel, tmp_path: Path) -> Path:
    """A model that int8 harms in one layer.

    An exclamation mark excites ten channels of the first feed-forward a thousandfold, and they mean
    nothing: too many to be smoothed, they set the scale, and of the other channels nothing is left.
    """
    tensors = tensors_of(model())
    mark = np.random.default_rng(5).normal(0, 1, 32)
    mark -= mark.mean()
    tensors["distilbert.embeddings.word_embeddings.weight"][WORDS.index("!")] = 30 * mark
    feed_forward = "distilbert.transformer.layer.0.ffn"
    tensors[f"{feed_forward}.lin1.weight"][:10] = 1000 * mark / np.linalg.norm(mark)
    tensors[f"{feed_forward}.lin1.bias"][:10] = -3500
    tensors[f"{feed_forward}.lin2.weight"][:, :10] = 0
    return changed(model(), tmp_path / "sensitive", tensors=tensors)


# What is written.


def test_a_bundle_opens_verifies_and_names_its_parent(model: MakeModel, tmp_path: Path) -> None:
    parent = opened(model())
    done = quantize(model(), TEXTS, tmp_path / "out", target=0)
    bundle = resolve(tmp_path / "out")
    assert (done.folder, done.digest) == (tmp_path / "out", bundle.digest)
    assert (bundle.manifest.parent, bundle.heads) == (parent.digest, parent.heads)
    assert set(bundle.manifest.files) == set(parent.manifest.files)
    assert {check.state for check in verify(f"{tmp_path}/out")} == {"ok"}
    assert set(everything(tmp_path / "out")) == {*bundle.manifest.files, "tonewise.json"}
    spec = NetworkSpec.from_config(bundle.network, bundle.ref)
    assert set(bundle.manifest.activation_ranges) == set(linear_names(spec))
    assert bundle.manifest.behaviours.keys() == {"tokenizer", "head"}


@pytest.mark.parametrize("engine", ["onnxruntime", "reference"])
def test_answers_in_fp32_are_those_of_the_parent(model: MakeModel, tmp_path: Path, engine: str) -> None:
    quantize(model("bert"), TEXTS, tmp_path / "out", target=0)
    wanted = answers(model("bert"), TEXTS, engine, "fp32")
    assert answers(tmp_path / "out", TEXTS, engine, "fp32") == wanted


def test_the_agreement_that_is_stated_is_what_one_measures_anew(model: MakeModel, tmp_path: Path) -> None:
    done = quantize(model(), TEXTS, tmp_path / "out", target=0)
    held = TEXTS[1::2]
    assert (done.fitted, done.compared) == (len(TEXTS) - len(held), len(held))
    exact = answers(model(), held, "onnxruntime", "fp32")
    stated = resolve(tmp_path / "out").manifest.agreement
    assert set(stated) == set(done.agreement) == set(INT8)
    for engine in INT8:
        found = answers(tmp_path / "out", held, engine, "int8")
        pairs = list(zip(exact, found, strict=True))
        assert stated[engine] == done.agreement[engine].labels
        assert stated[engine] == np.mean([one.label == other.label for one, other in pairs])
        off = [abs(one.scores[name] - other.scores[name]) for one, other in pairs for name in one.scores]
        assert done.agreement[engine].scores == pytest.approx(np.mean(off), abs=1e-7)
        assert done.agreement[engine].scores > 0


def test_the_same_texts_give_the_same_bundle(sensitive: Path, tmp_path: Path) -> None:
    one, other = (quantize(sensitive, TEXTS, tmp_path / name, target=0.8) for name in "ab")
    assert one == replace(other, folder=one.folder)


def test_the_bundle_has_the_heads_that_are_selected(model: MakeModel, tmp_path: Path) -> None:
    heads = {"one": HeadSpec(("a", "b"), "one"), "two": HeadSpec(("c", "d"), "two")}
    folder = write_bundle(tmp_path / "m", model(), heads)
    done = quantize(f"{folder}#two", TEXTS, tmp_path / "out", target=0)
    assert list(resolve(tmp_path / "out").heads) == ["two"]
    assert done.digest == resolve(tmp_path / "out").digest
    assert resolve(tmp_path / "out").manifest.parent == opened(folder).digest


def test_a_folder_that_is_named_as_a_path_needs_no_mark(model: MakeModel, here: Path) -> None:
    shutil.copytree(model(), here / "models/mine")
    quantize(Path("models/mine"), TEXTS, Path("out"), target=0)
    assert resolve(Path("out")).manifest.activation_ranges


@pytest.mark.parametrize("smooth", [False, True])
def test_outliers_of_a_channel_are_smoothed_and_the_factors_written(
    model: MakeModel, tmp_path: Path, smooth: bool
) -> None:
    folder = model(hidden=64)
    tensors = tensors_of(folder)
    if smooth:  # one channel of 64, and what reads it takes it back
        for kind in ("weight", "bias"):
            tensors[f"distilbert.transformer.layer.0.sa_layer_norm.{kind}"][3] *= 500
        tensors["distilbert.transformer.layer.0.ffn.lin1.weight"][:, 3] /= 500
    quantize(changed(folder, tmp_path / "m", tensors=tensors), TEXTS, tmp_path / "out", target=0)
    smoothing = resolve(tmp_path / "out").manifest.smoothing
    if smooth:
        factors = smoothing["layer.0.up"]
        assert factors["3"] == max(factors.values())
        assert np.log2(factors["3"]) in range(6, 12)
    else:
        assert max(smoothing.get("layer.0.up", {}).values(), default=1) < 64


# Sensitive layers.


def test_a_layer_that_int8_harms_is_left_out_until_labels_agree(sensitive: Path, tmp_path: Path) -> None:
    every = quantize(sensitive, TEXTS, tmp_path / "every", target=0)
    assert every.kept == ()
    assert min(one.labels for one in every.agreement.values()) < 0.8
    done = quantize(sensitive, TEXTS, tmp_path / "out", target=0.8)
    assert done.kept == ("layer.0.down",)
    assert min(one.labels for one in done.agreement.values()) >= 0.8
    manifest = resolve(tmp_path / "out").manifest
    wanted = set(resolve(tmp_path / "every").manifest.activation_ranges) - {"layer.0.down"}
    assert set(manifest.activation_ranges) == wanted
    assert "layer.0.down" not in manifest.smoothing


def test_labels_that_never_agree_are_an_error_and_leave_nothing(
    sensitive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def never(trials: Any) -> dict[str, Compared]:
        asked.append(len(json.loads((trials.folder / "tonewise.json").read_text())["activation_ranges"]))
        return {"onnxruntime": Compared(0.875, 0.5), "openvino": Compared(1.0, 0.0)}

    monkeypatch.setattr(room._Trials, "agreement", never)
    before = everything(tmp_path)
    told = r"int8 agrees on 87\.50% of labels even with half of the layers left out, and 99\.50% are wanted"
    with pytest.raises(ModelError, match=told):
        quantize(sensitive, TEXTS, tmp_path / "out")
    assert asked == [8, 7, 6, 4]
    assert everything(tmp_path) == before


def test_the_most_harmed_layers_come_first(sensitive: Path) -> None:
    bundle = opened(sensitive)
    weights = load_weights(bundle.weights, NetworkSpec.from_config(bundle.network, "m"), "m")
    with Classifier.load(sensitive, engine="stub") as reader:
        groups = room._groups(reader.encode(TEXTS), reader.tokenizer.padding_id)
    assert all(batch.attention_mask.all() for batch in groups), "no padding is observed"
    assert sum(len(batch) for batch in groups) == len(TEXTS)
    found, order = fit_ranges(weights, groups)
    assert order[0] == "layer.0.down"
    assert set(order) == set(linear_names(weights.spec)) == set(found.ranges)


@pytest.mark.parametrize("activation", ["gelu", "relu", "gelu_new"])
def test_ranges_are_what_the_oracle_sees(model: MakeModel, activation: str) -> None:
    bundle = opened(model("bert", hidden_act=activation))
    weights = load_weights(bundle.weights, NetworkSpec.from_config(bundle.network, "m"), "m")
    groups = [batch_of(bundle, some_rows(bundle, [9] * 4)), batch_of(bundle, some_rows(bundle, [5, 5]))]
    found, _ = fit_ranges(weights, groups)
    seen = Ranges()
    for batch in groups:
        run_numpy(NumpyOps(weights, observe=seen.observe), batch, ("mean",))
    wanted = seen.found()
    assert found.smoothing == wanted.smoothing
    for name, pair in wanted.ranges.items():
        np.testing.assert_allclose(found.ranges[name], pair, atol=2e-5, rtol=1e-5)


def test_rows_of_one_length_are_split_where_they_are_many(
    model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "GROUP_TOKENS", 20)
    with Classifier.load(model(), engine="stub") as reader:
        groups = room._groups(reader.encode(["happy sad"] * 11 + ["love"] * 2 + ["a " * 30]), 0)
    assert [batch.input_ids.shape for batch in groups] == [(2, 3), (5, 4), (5, 4), (1, 4), (1, 32)]


# What is answered.


def test_several_labels_at_once_agree_by_their_yes_and_no(model: MakeModel, tmp_path: Path) -> None:
    heads = {
        "many": HeadSpec(("a", "b", "c", "d"), "many", "multi_label_classification", "mean"),
        "one": HeadSpec(("x", "y"), "one", abstain_below=0.9),
        "stars": HeadSpec(("stars",), "stars", "regression"),
    }
    folder = write_bundle(tmp_path / "m", model(), heads)
    done = quantize(folder, TEXTS, tmp_path / "out", target=0)
    held = TEXTS[1::2]
    exact = answers(folder, held, "onnxruntime", "fp32")
    found = answers(tmp_path / "out", held, "onnxruntime", "int8")
    same = []
    for one, other in zip(exact, found, strict=True):
        for name in ("a", "b", "c", "d"):
            here, there = (name in (each.heads["many"].labels or ()) for each in (one, other))
            same.append(0.25 * (here == there))
        pair = (one.heads["one"], other.heads["one"])
        best = [max(each.scores, key=each.scores.__getitem__) for each in pair]
        same.append(float(best[0] == best[1] and pair[0].abstained == pair[1].abstained))
    assert done.agreement["onnxruntime"].labels == pytest.approx(sum(same) / (2 * len(held)))


def test_pairs_are_fitted_and_compared_as_pairs(model: MakeModel, tmp_path: Path) -> None:
    pairs: list[Text] = [(str(one), str(other)) for one, other in zip(TEXTS, some_texts(seed=1), strict=True)]
    quantize(model("bert"), pairs, tmp_path / "pairs", target=0)
    quantize(model("bert"), TEXTS, tmp_path / "single", target=0)
    found, other = (resolve(tmp_path / name).manifest.activation_ranges for name in ("pairs", "single"))
    assert found != other


def test_texts_beyond_what_is_needed_are_passed_over_at_even_steps(
    model: MakeModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "FIT_TEXTS", 16)
    monkeypatch.setattr(room, "COMPARED_TEXTS", 10)
    monkeypatch.setattr(room, "FIT_TOKENS", 60)
    done = quantize(model(), TEXTS, tmp_path / "out", target=0)
    assert (done.fitted, done.compared) == (5, 10)
    assert list(room._spread(range(1, 60, 2), 10)) == list(range(1, 60, 6))


def test_what_goes_on_is_told(model: MakeModel, tmp_path: Path) -> None:
    told: list[str] = []
    quantize(model(), TEXTS, tmp_path / "out", target=0, progress=told.append)
    answering = ["answering 30 texts in fp32", "answering 30 texts in int8"]
    assert told == ["fitting ranges on 30 texts", *answering]


# What is refused, and what fails.


@pytest.mark.parametrize("target", [-0.1, 1.1, float("nan")])
def test_a_target_is_a_share(model: MakeModel, tmp_path: Path, target: float) -> None:
    with pytest.raises(ConfigError, match=r"^target is .*; wanted: a share from 0 to 1$"):
        quantize(model(), TEXTS, tmp_path / "out", target=target)


def test_few_texts_are_refused(model: MakeModel, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^19 texts are too few to fit ranges on; give at least 20$"):
        quantize(model(), TEXTS[:19], tmp_path / "out")
    with pytest.raises(InputError, match="there is no text to compare int8 on"):
        quantize(model(), TEXTS, tmp_path / "out", compared=[])
    assert quantize(model(), TEXTS[:20], tmp_path / "out", target=0).compared == 10


def test_an_output_that_is_there_is_refused_before_the_model_is_read(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "file").write_text("x")
    with pytest.raises(OutputError, match="out is there already; name a folder that is not"):
        quantize("no-such-model", TEXTS, tmp_path / "out")
    assert everything(tmp_path) == ["out", "out/file"]


def test_a_model_without_labels_is_refused(model: MakeModel, tmp_path: Path) -> None:
    bare = write_bundle(tmp_path / "bare", model(), {})
    with pytest.raises(ModelError, match="has no head, so there are no labels that could agree"):
        quantize(bare, TEXTS, tmp_path / "out")
    stars = {"stars": HeadSpec(("stars",), "stars", "regression")}
    numbers = write_bundle(tmp_path / "numbers", model(), stars)
    with pytest.raises(ModelError, match="only gives numbers, so there are no labels that could agree"):
        quantize(numbers, TEXTS, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("place", [0, 1, 38, 59])
def test_a_text_that_cannot_be_read_is_named_by_its_place(
    model: MakeModel, tmp_path: Path, place: int
) -> None:
    texts = [*TEXTS[:place], "half a \ud800 character", *TEXTS[place + 1 :]]
    with pytest.raises(RowError, match=rf"^text {place + 1}: "):
        quantize(model(), texts, tmp_path / "a/b/out")
    assert everything(tmp_path) == []


def test_the_policy_for_what_is_too_long_is_that_of_the_settings(model: MakeModel, tmp_path: Path) -> None:
    config = Config(tokenizer=TokenizerConfig(max_length=8, too_long="error"))
    with pytest.raises(RowError, match=r"^text 1: 1\d tokens, where the model takes 8"):
        quantize(model(), ["happy " * 9, *TEXTS], tmp_path / "out", config=config)
    config = Config(tokenizer=TokenizerConfig(max_length=8, too_long="window", stride=2))
    assert quantize(model(), TEXTS, tmp_path / "out", config=config, target=0).fitted == 30


def test_nothing_is_left_when_an_engine_fails(
    model: MakeModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tonewise.engines.onnxruntime import OnnxRuntimeEngine

    running = OnnxRuntimeEngine.run

    def fail(self: Any, batch: Any) -> Any:
        if self.precision == "int8":
            raise EngineError("it has no mind to")
        return running(self, batch)

    monkeypatch.setattr(OnnxRuntimeEngine, "run", fail)
    with pytest.raises(RowError, match="it has no mind to"):
        quantize(model(), TEXTS, tmp_path / "a/out", target=0)
    assert everything(tmp_path) == []


def test_nothing_is_left_when_the_disk_is_full(
    model: MakeModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: Path, target: Path) -> None:
        target.write_bytes(b"a part")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(OutputError, match=r"^cannot write .*/out: the disk is full$"):
        quantize(model(), TEXTS, tmp_path / "out", target=0)
    assert everything(tmp_path) == []


def test_graphs_of_trials_do_not_stay_in_the_cache(
    sensitive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    quantize(sensitive, TEXTS, tmp_path / "out", target=0.8)
    (kept,) = (path.name for path in (tmp_path / "cache").rglob("*.onnx"))
    assert "-onnxruntime-fp32-" in kept, "the parent's, which others open too"


def test_ranges_are_fitted_under_the_models_own_labels(model: MakeModel, tmp_path: Path) -> None:
    config = Config(head=HeadConfig(dict.fromkeys(LABELS, "any")))
    plain = quantize(model(), TEXTS, tmp_path / "a", target=0)
    named = quantize(model(), TEXTS, tmp_path / "b", target=0, config=config)
    assert named.agreement == plain.agreement
    assert named.digest == plain.digest
