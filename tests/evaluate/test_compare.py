"""Models side by side: which is best, by how much, and with what chance; what speed costs; the page."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

from tests.benchmark.conftest import MadeUp, made_up
from tests.doubles import MakeModel, write_bundle
from tonewise import Classifier
from tonewise.config import BatchConfig, Config, EngineConfig, RunConfig, StoreConfig, TokenizerConfig
from tonewise.errors import ConfigError, RowError
from tonewise.evaluate.compare import MOST_TIMED, Candidate, Comparison, Timing, compare
from tonewise.evaluate.compare_words import cost_table, legend, quality_table, terms
from tonewise.evaluate.evaluation import evaluate
from tonewise.source.labelled import Labelled, Labels, read_labelled
from tonewise.store import HeadSpec

__all__ = ["made_up"]  # a fixture

REFERENCE = Config(engine=EngineConfig("reference"))
_WORDS = (
    ("i am", "they are not", "it was"),
    ("so", "very", "never"),
    ("happy", "sad", "angry", "afraid", "good"),
)
TEXTS = [" ".join(parts) for parts in product(*_WORDS, ("today", "!"))]


def labelled_by(folder: Path, texts: list[str] = TEXTS) -> Labelled:
    """Texts whose gold labels are what this model says."""
    with Classifier.load(folder, config=REFERENCE) as classifier:
        found = [one.label for one in classifier.classify(texts)]
    assert len(set(found)) > 1
    rows = [{"text": text, "label": label} for text, label in zip(texts, found, strict=True)]
    return read_labelled(rows, labels=Labels(names=classifier.bundle.heads["label"].labels))


@pytest.fixture(scope="module")
def teacher(model: Callable[..., Path]) -> Path:
    return model("bert", seed=5)


@pytest.fixture(scope="module")
def gold(teacher: Path) -> Labelled:
    return labelled_by(teacher)


def test_a_plainly_better_model_is_the_best_and_the_other_has_a_small_p(
    teacher: Path, gold: Labelled, model: MakeModel, made_up: MadeUp
) -> None:
    other = model("bert", seed=6)
    found = compare([str(other), str(teacher)], gold, config=REFERENCE, draws=400)
    worse, best = found.rows
    assert (found.best, best.than_best, best.accuracy.value, best.macro_f1.value) == (1, None, 1, 1)
    assert worse.accuracy.value < 0.8
    assert worse.than_best is not None
    assert worse.than_best["accuracy"].value == pytest.approx(worse.accuracy.value - 1)
    for difference in worse.than_best.values():
        assert difference.p < 0.01
        assert difference.interval.low <= difference.value <= difference.interval.high < 0


def test_the_same_model_twice_is_no_different(teacher: Path, gold: Labelled, made_up: MadeUp) -> None:
    found = compare([str(teacher), str(teacher)], gold, config=REFERENCE, draws=100)
    assert found.best == 0
    (than,) = [row.than_best for row in found.rows if row.than_best]
    for difference in than.values():
        assert (difference.value, difference.p) == (0, 1)
        assert (difference.interval.low, difference.interval.high) == (0, 0)


def test_quality_is_what_evaluate_says(
    gold: Labelled, model: MakeModel, teacher: Path, made_up: MadeUp
) -> None:
    other = model("distilbert", seed=2)
    found = compare([str(teacher), str(other)], gold, config=REFERENCE, draws=50, seed=3).rows[1]
    alone = evaluate(str(other), gold, config=REFERENCE, draws=50, seed=3)
    for name, figure in (("accuracy", found.accuracy), ("macro_f1", found.macro_f1), ("ece", found.ece)):
        assert figure == alone.figures[name]
    assert (found.engine, found.precision, found.head) == ("reference", "fp64", "label")
    assert found.digest == alone.model["digest"]
    assert found.size_mb == sum(file.stat().st_size for file in other.iterdir()) / 1e6


def test_models_take_turns_on_the_engine_that_answered_and_medians_count(
    teacher: Path, gold: Labelled, made_up: MadeUp
) -> None:
    made_up.speeds = {"reference": [100.0, 5.0, 10.0, 50.0, 1000.0, 80.0]}
    timing = Timing(rounds=3, price=0.36)
    found = compare([str(teacher), str(teacher)], gold, config=REFERENCE, timing=timing, draws=5)
    assert [(name, engine) for name, engine, _ in made_up.asked] == [
        ("single", "reference auto"),
        ("bulk", "reference auto"),
    ] * 6
    assert [row.texts_per_second for row in found.rows] == [100, 50]
    first = found.rows[0]
    assert first.hours_per_million == pytest.approx(1e6 / 100 / 3600)
    assert first.cost_per_million == pytest.approx(1e6 / 100 / 3600 * 0.36)
    assert (first.p50_ms, first.peak_memory_mb) == (4, 310)
    free = compare([str(teacher), str(teacher)], gold, config=REFERENCE, timing=Timing(1), draws=5)
    assert [row.cost_per_million for row in free.rows] == [None, None]
    assert legend(found)[1].startswith(f"Speed: medians of 3 turns over {len(gold)} of the texts, each in a")
    assert legend(free)[1].startswith(f"Speed: one turn over {len(gold)} of the texts, each in a process")


def test_speed_that_cannot_be_measured_leaves_quality_and_a_reason(
    teacher: Path, gold: Labelled, made_up: MadeUp
) -> None:
    made_up.broken = {"reference": "its process ended with status 1"}
    found = compare([str(teacher), str(teacher)], gold, config=REFERENCE, draws=5)
    assert len(made_up.asked) == 2  # after an error no further turn
    for row in found.rows:
        assert (row.accuracy.value, row.error) == (1, "its process ended with status 1")
        assert (row.texts_per_second, row.hours_per_million) == (None, None)
    assert "speed could not be measured: its process ended" in terms(found)[0]


def test_speed_is_measured_on_texts_drawn_evenly(teacher: Path, gold: Labelled, made_up: MadeUp) -> None:
    many = gold.take([i % len(gold) for i in range(2 * MOST_TIMED + 1)])
    found = compare([str(teacher), str(teacher)], many, config=REFERENCE, timing=Timing(1), draws=2)
    assert 0.6 * MOST_TIMED < found.timed <= MOST_TIMED
    assert found.data["rows"] == 2 * MOST_TIMED + 1


def test_labels_are_mapped_for_the_model_that_needs_it(
    teacher: Path, gold: Labelled, model: MakeModel, made_up: MadeUp, tmp_path: Path
) -> None:
    same = model("bert", seed=5, labels=("A", "B", "C"))
    path = tmp_path / "map.json"
    path.write_text(json.dumps(dict(zip("ABC", gold.names, strict=True))))
    candidates = [Candidate(str(teacher)), Candidate(str(same), str(path))]
    found = compare(candidates, gold, config=REFERENCE, draws=5)
    assert [row.accuracy.value for row in found.rows] == [1, 1]
    assert [row.map for row in found.rows] == [None, str(path)]
    assert f"labels mapped by {path}" in terms(found)[1]


def test_of_several_labels_a_text_the_best_has_the_highest_macro_f1(
    model: MakeModel, made_up: MadeUp, tmp_path: Path
) -> None:
    kind = HeadSpec(("a", "b"), "own", "multi_label_classification", temperature=1000.0)
    specs = {name: replace(kind, thresholds=(at, at)) for name, at in (("eager", 0.01), ("shy", 0.99))}
    folders = [write_bundle(tmp_path / name, model(), {"own": spec}) for name, spec in specs.items()]
    held: list[list[str]] = [[], ["a", "b"], [], ["a"], []]
    rows = [{"text": text, "labels": held[i % 5]} for i, text in enumerate(TEXTS[:20])]
    found = compare([str(one) for one in reversed(folders)], read_labelled(rows), config=REFERENCE, draws=20)
    shy, eager = found.rows
    assert (found.best, found.multi_label) == (1, True)
    assert eager.macro_f1.value > shy.macro_f1.value == 0
    assert eager.accuracy.value == pytest.approx(0.2)
    assert shy.accuracy.value == pytest.approx(0.6)
    assert quality_table(found).rows[0][0] == "all labels right"


def test_an_abstained_row_is_right_of_no_model(model: MakeModel, made_up: MadeUp, tmp_path: Path) -> None:
    shy = HeadSpec(("a", "b"), "own", "multi_label_classification", thresholds=(1.0, 1.0))
    specs = {"shy": shy, "silent": replace(shy, abstain_below=1.0)}
    folders = [str(write_bundle(tmp_path / name, model(), {"own": spec})) for name, spec in specs.items()]
    rows = [{"text": text, "labels": [] if i else ["a"]} for i, text in enumerate(TEXTS[:20])]
    labelled = read_labelled(rows, labels=Labels(multi_label=True))
    other, silent = compare(folders, labelled, config=REFERENCE, draws=20).rows
    assert other.accuracy.value == pytest.approx(0.95)
    assert silent.accuracy.value == 0
    assert silent.than_best is not None
    assert silent.than_best["accuracy"].value == pytest.approx(-0.95)


def test_a_row_that_a_model_cannot_answer_ends_the_comparison(
    teacher: Path, gold: Labelled, made_up: MadeUp
) -> None:
    longest = gold.take([0, 1])
    long = replace(longest.examples[0], text="very " * 99)
    spoilt = replace(longest, examples=(long, longest.examples[1]))
    config = replace(REFERENCE, tokenizer=TokenizerConfig(too_long="error"), run=RunConfig(on_error="skip"))
    with pytest.raises(RowError, match="tokens"):
        compare([str(teacher), str(teacher)], spoilt, config=config, draws=2)
    assert made_up.asked == []


def test_one_model_no_turn_and_a_price_below_nothing_are_refused(gold: Labelled) -> None:
    with pytest.raises(ConfigError, match="1 model to compare; name two or more"):
        compare(["emotion"], gold)
    with pytest.raises(ConfigError, match="seed is -1; the least is 0"):
        compare(["nowhere", "nowhere"], gold, seed=-1)
    with pytest.raises(ConfigError, match="draws is 0; the least is 1"):
        compare(["nowhere", "nowhere"], gold, draws=0)
    with pytest.raises(ConfigError, match="rounds is 0; the least is 1"):
        Timing(rounds=0)
    for price in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="wanted: a number from 0 on"):
            Timing(price=price)


@pytest.fixture(scope="module")
def true(
    teacher: Path, gold: Labelled, model: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Comparison:
    """Measured in true processes."""
    store = StoreConfig(cache_dir=str(tmp_path_factory.mktemp("cache")))
    config = Config(store=store, engine=EngineConfig("reference", threads=1), batch=BatchConfig(64))
    timing = Timing(rounds=1, seconds=0.01, price=2.0)
    models = [str(teacher), str(model("bert", seed=6))]
    return compare(models, gold, config=config, timing=timing, draws=20, files={"<b>.tsv": "0" * 64})


def test_speed_and_memory_come_from_processes_of_their_own(true: Comparison) -> None:
    for row in true.rows:
        assert row.error is None
        assert (row.texts_per_second or 0) > 1
        assert 0 < (row.p50_ms or 0) < 10_000
        assert 20 < (row.peak_memory_mb or 0) < 2000


def test_the_json_has_all_of_it(true: Comparison) -> None:
    table = json.loads(json.dumps(true.to_json(), allow_nan=False))
    assert (table["schema"], table["best"], table["draws"], table["seed"]) == (1, 0, 20, 0)
    assert table["data"]["files"] == {"<b>.tsv": "0" * 64}
    assert table["timing"] == {"rounds": 1, "seconds": 0.01, "price": 2.0}
    assert set(table["rows"][1]["than_best"]) == {"accuracy", "macro_f1"}
    assert table["rows"][0]["than_best"] is None


def test_what_is_not_a_number_is_null(true: Comparison) -> None:
    row = true.rows[0]
    spoilt = replace(row, macro_f1=replace(row.macro_f1, value=float("nan")))
    table = replace(true, rows=(spoilt,)).to_json()
    assert table["rows"][0]["macro_f1"]["value"] is None


def test_tables_mark_the_best_and_tell_the_others_beside_it(true: Comparison) -> None:
    quality, cost = quality_table(true), cost_table(true)
    assert [row[0] for row in quality.rows] == ["accuracy", "", "macro F1", "", "ECE", ""]
    assert [row[1].startswith("▸ ") for row in quality.rows] == [True, False] * 3
    assert (sorted(quality.best), sorted(cost.best)) == ([0, 2, 4], [0])
    assert quality.rows[0][2:] == ("100.0%", "100.0 to 100.0", "", "")
    for row in (quality.rows[1], quality.rows[3]):
        assert re.fullmatch(r"-\d+\.\d \(-\d+\.\d to -\d+\.\d\)", row[4])
        assert row[5]
    assert quality.rows[5][4:] == ("", "")
    assert {len(row) for row in quality.rows} == {len(quality.columns)}
    assert {len(row) for row in cost.rows} == {len(cost.columns)}
    assert cost.columns[-1] == "cost/million"
    unpriced = cost_table(replace(true, timing=Timing()))
    assert unpriced.columns[-1] == "h/million"
    assert {len(row) for row in unpriced.rows} == {len(unpriced.columns)}


def test_the_page_stands_alone_and_escapes_names(true: Comparison) -> None:
    pytest.importorskip("matplotlib")
    from tonewise.evaluate.compare_report import page

    found = page(replace(true, rows=(replace(true.rows[0], ref="<script>$x$"), true.rows[1])))
    assert "<script" not in found
    assert "&lt;script&gt;$x$" in found
    assert "&lt;b&gt;.tsv" in found
    assert re.findall(r"""(?:src|href)=["'](?!#)""", found) == []
    assert re.findall(r"https?:|@import|url\((?!#)", found) == []


def test_the_picture_leaves_out_what_has_no_speed(true: Comparison) -> None:
    pytest.importorskip("matplotlib")
    from tonewise.evaluate.compare_report import picture

    fast = replace(true.rows[0], ref="fast", texts_per_second=1000.0)
    slow = replace(true.rows[1], ref="slow", texts_per_second=1.0)
    none = replace(slow, texts_per_second=None, error="why")
    for rows, named, scale in (
        ((fast, slow), ["fast", "slow"], "log"),
        ((fast, none), ["fast"], "linear"),
        ((none, none), [], "linear"),
    ):
        (axes,) = picture(replace(true, rows=rows)).axes
        assert [text.get_text().partition("\n")[0] for text in axes.texts] == named
        assert axes.get_xscale() == scale
