"""Models × engines × precisions: what is measured, what cannot be, and in which order."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.benchmark.conftest import MadeUp
from tests.doubles import MakeModel, write_bundle
from tonewise.benchmark import Plan, Results, Sample, benchmark, default_engines
from tonewise.config import Config, EngineConfig, StoreConfig
from tonewise.engines import choose_threads
from tonewise.errors import ConfigError, InputError, ModelError
from tonewise.store import HeadSpec

TEXTS = Sample("texts of the test", [f"i am {word} today {i}" for i in range(8) for word in ("happy", "sad")])


@pytest.fixture(scope="module")
def results(model: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Results:
    """A true benchmark, small: processes and all."""
    plan = Plan([str(model())], ["stub", "onnxruntime"], ["fp32", "bf16"], rounds=1, seconds=0.01)
    store = StoreConfig(cache_dir=str(tmp_path_factory.mktemp("cache")))
    return benchmark(plan, Config(store=store), TEXTS)


def test_every_combination_is_a_row_of_figures_or_a_reason(results: Results) -> None:
    found = {(row.engine, row.precision): row for row in results.rows}
    assert list(found) == [(name, one) for name in ("stub", "onnxruntime") for one in ("fp32", "bf16")]
    for engine in ("stub", "onnxruntime"):
        row = found[engine, "fp32"]
        assert row.error is None
        assert row.texts_per_second is not None
        assert row.texts_per_second > 1
        assert 0 < (row.p50_ms or 0) <= (row.p95_ms or 0) <= (row.p99_ms or 0)
        assert 0.05 < (row.cold_start_seconds or 0) < 60
        assert 20 < (row.peak_memory_mb or 0) < 2000
        assert (row.padding, row.bucket_padding) == (0, None)  # the texts are of one length
        reason = found[engine, "bf16"].error
        assert reason is not None
        assert f"the {engine} engine has no bf16" in reason
        assert found[engine, "bf16"].texts_per_second is None


def test_agreement_is_with_onnxruntime_in_fp32(results: Results) -> None:
    stub, _, own, _ = results.rows
    assert (own.labels_agree, own.score_difference) == (1, 0)
    assert stub.labels_agree is not None
    assert stub.labels_agree < 1
    assert (stub.score_difference or 0) > 0.01
    assert results.notes == []


def test_the_results_say_what_they_were_taken_on(results: Results) -> None:
    table = json.loads(json.dumps(results.to_json()))
    assert list(table) == ["schema", "machine", "texts", "rounds", "models", "rows", "notes"]
    assert table["texts"] == {"source": "texts of the test", "count": 16, "sha256": TEXTS.sha256}
    (model,) = table["models"]
    assert (model["tokens_mean"], model["tokens_max"], model["truncated"]) == (7, 7, 0)
    assert model["digest"].startswith("sha256:")
    assert {"processor", "processors", "memory_gb", "system", "python", "versions"} == set(table["machine"])
    assert {"tonewise", "numpy", "onnxruntime"} <= set(table["machine"]["versions"])
    assert [len(row["rounds"]) for row in table["rows"]] == [1, 0, 1, 0]


def test_combinations_take_turns_and_medians_count(model: MakeModel, made_up: MadeUp) -> None:
    made_up.speeds = {"stub": [10.0, 1000.0, 20.0]}
    told: list[str] = []
    plan = Plan([str(model())], ["stub", "onnxruntime"])
    config = Config(engine=EngineConfig(threads=2))
    results = benchmark(plan, config, TEXTS, progress=told.append)
    turn = [
        (name, engine, streams)
        for engine in ("stub fp32", "onnxruntime fp32")
        for name, streams in (("single", 1), ("bulk", 2))
    ]
    before = [("answer", "stub fp32", 2), ("answer", "onnxruntime fp32", 2)]
    assert made_up.asked == before + turn * 3
    assert [row.texts_per_second for row in results.rows] == [20, 1000]
    assert results.best(results.models[0].ref) is results.rows[1]
    assert [line.partition(":")[0] for line in told[2::2]] == ["round 1 of 3", "round 2 of 3", "round 3 of 3"]


def test_streams_that_were_set_hold_for_one_text_too(model: MakeModel, made_up: MadeUp) -> None:
    plan, engine = Plan([str(model())], ["stub"], rounds=1), EngineConfig(streams=3, threads=4)
    (row,) = benchmark(plan, Config(engine=engine), TEXTS).rows
    assert {streams for *_, streams in made_up.asked} == {3}
    assert (row.threads, row.streams) == (4, 3)
    (row,) = benchmark(plan, Config(), TEXTS).rows
    assert (row.threads, row.streams) == (choose_threads(None), choose_threads(None))


def test_what_cannot_run_takes_no_turn_and_stops_no_other(model: MakeModel, made_up: MadeUp) -> None:
    made_up.broken = {"torch": "torch is not installed; run: pip install 'tonewise[torch]'"}
    results = benchmark(Plan([str(model())], ["torch", "stub"], ["fp32"]), Config(), TEXTS)
    assert [row.error for row in results.rows] == [made_up.broken["torch"], None]
    assert [name for name, engine, _ in made_up.asked if engine == "torch fp32"] == ["answer"]
    assert results.models[0].tokens_max == 300


def test_without_a_yardstick_agreement_is_not_known_and_that_is_told(
    model: MakeModel, made_up: MadeUp
) -> None:
    made_up.broken = {"onnxruntime": "it is broken"}
    results = benchmark(Plan([str(model())], ["stub"]), Config(), TEXTS)
    assert [(row.error, row.labels_agree, row.score_difference) for row in results.rows] == [(None,) * 3]
    (note,) = results.notes
    assert "agreement is not known, since onnxruntime in fp32 did not answer: it is broken" in note


def test_int8_is_measured_where_the_model_has_ranges_or_where_it_is_asked_for(
    model: MakeModel, made_up: MadeUp, tmp_path: Path
) -> None:
    head = {"mood": HeadSpec(("low", "high", "flat"), "classifier")}
    ranges = {"layer.0.up": (-1.0, 1.0)}
    ranged = str(write_bundle(tmp_path / "ranged", model(), head, activation_ranges=ranges))
    plain = str(model())
    plan = Plan([plain, ranged, plain], ["onnxruntime"], rounds=1)
    results = benchmark(plan, Config(), TEXTS)
    assert [(row.model, row.precision) for row in results.rows] == [
        (plain, "fp32"),
        (ranged, "int8"),
        (ranged, "fp32"),
    ]
    (note,) = results.notes
    assert note.startswith(f"{plain}: int8 is left out, since the model has no activation ranges")
    results = benchmark(replace(plan, refs=[plain], precisions=["int8"]), Config(), TEXTS)
    assert ([row.precision for row in results.rows], results.notes) == (["int8"], [])


def test_engines_are_those_installed_without_the_oracle_and_the_double() -> None:
    assert "onnxruntime" in default_engines()
    assert not {"reference", "stub"} & set(default_engines())


def test_what_does_not_exist_is_refused_before_anything_is_measured(made_up: MadeUp) -> None:
    with pytest.raises(ConfigError, match=r"^no engine 'abacus'; there are: openvino, onnxruntime, torch"):
        Plan(["emotion"], ["abacus"])
    with pytest.raises(ConfigError, match=r"^no precision 'int4'; there are: int8, bf16, fp32$"):
        Plan(["emotion"], precisions=["int4"])
    with pytest.raises(ConfigError, match=r"^rounds is 0; the least is 1$"):
        Plan(["emotion"], rounds=0)
    with pytest.raises(ModelError, match="did you mean emotion"):
        benchmark(Plan(["emotion", "emotoin"]))
    with pytest.raises(InputError, match=r"^empty\.csv: no text to measure with$"):
        Sample("empty.csv", [])
    assert made_up.asked == []
