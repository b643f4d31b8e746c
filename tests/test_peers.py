"""The comparison itself: what is counted, who stands beside whom, and that no rival is dropped silently."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench import peers
from bench.rivals import BASELINES, ENVIRONMENTS, OUR_VECTORS, OURS, RIVALS, Rival, process
from bench.rivals.ceiling import Shape, ceiling
from bench.rivals.process import Process, RivalError
from bench.rivals.protocol import Job
from bench.rivals.random_model import write_random_distilbert
from bench.rivals.sets import quarter

from tests.models import Theirs
from tonewise import Classifier

DISTILBERT = Shape(layers=6, hidden=768, inner=3072)

RIVAL = """
from bench.rivals.protocol import serve
def opened(job):
    print("noise of a library")
    def answer(texts):
        if "poison" in texts:
            raise ValueError("cannot read\\nthis")
        return [("joy", len(text) / 10) for text in texts][: job.options.get("most")]
    return answer, {"threads": 1}
serve(opened, ("numpy",))
"""


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(str(tmp_path / "model"), str(tmp_path / "kept"), str(tmp_path / "calibration.json"), {})


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where rivals' programs are looked for: a `bench` of the test's own, that finds the real protocol."""
    bench = tmp_path / "root" / "bench"
    (bench / "rivals").mkdir(parents=True)
    real = process.ROOT / "bench" / "rivals"
    (bench / "rivals" / "protocol.py").write_text((real / "protocol.py").read_text("utf-8"))
    (bench / "rivals" / "talker.py").write_text(RIVAL)
    monkeypatch.setattr(process, "ROOT", tmp_path / "root")
    return bench / "rivals"


def texts_file(folder: Path, texts: list[str]) -> str:
    path = folder / "texts.json"
    path.write_text(json.dumps(texts))
    return str(path)


def test_a_text_of_22_tokens_costs_what_a_count_by_hand_gives() -> None:
    t, h, f = 22, 768, 3072
    weights = 2 * (4 * h * h + 2 * h * f)
    by_hand = 5 * t * (weights + 4 * t * h)  # five whole layers
    by_hand += t * 2 * 2 * h * h  # the last one's keys and values
    by_hand += 2 * 2 * h * h + 2 * 2 * h * f + 4 * t * h  # and the first token's way through it
    assert DISTILBERT.operations(t) == by_hand


def test_the_ceiling_is_of_the_order_that_the_bf16_rate_promises() -> None:
    low, high = (ceiling(DISTILBERT, [22], rate)["texts_per_second"] for rate in (950, 1010))
    assert 1130 < low < high < 1260


def test_a_long_text_costs_more_than_its_share_of_tokens() -> None:
    assert DISTILBERT.operations(440) > 20 * DISTILBERT.operations(22)


def test_a_slow_rival_reads_a_quarter_of_like_lengths_in_the_order_given() -> None:
    texts = [f"text {i}" for i in range(64)]
    tokens = {text: (i * 37) % 64 for i, text in enumerate(texts)}
    some = quarter(texts, tokens)
    assert len(some) == 16
    assert some == [text for text in texts if text in some]
    assert sum(tokens[text] for text in some) / 16 == sum(tokens.values()) / 64


def test_every_figure_stands_beside_the_pipeline_at_its_best_and_ours_beside_the_best_rival() -> None:
    rates = {BASELINES[0]: 40.0, BASELINES[1]: 50.0, "openvino int8": 400.0, OURS: 800.0}
    found = peers.compared({name: {"texts_per_second": rate} for name, rate in rates.items()})
    assert found["baseline"] == BASELINES[1]
    assert {name: one["of_pipeline"] for name, one in found["rivals"].items()} == {
        BASELINES[0]: 0.8,
        BASELINES[1]: 1.0,
        "openvino int8": 8.0,
        OURS: 16.0,
    }
    assert found["classify"] == {"best_rival": "openvino int8", "ours_of_best_rival": 2.0}


def test_vectors_are_compared_with_vectors() -> None:
    rates = {OUR_VECTORS: 300.0, "sentence-transformers fp32": 100.0, OURS: 900.0, BASELINES[0]: 50.0}
    found = peers.compared({name: {"texts_per_second": rate} for name, rate in rates.items()})
    assert found["embed"] == {"best_rival": "sentence-transformers fp32", "ours_of_best_rival": 3.0}
    assert found["classify"]["best_rival"] == BASELINES[0]


def test_a_rival_that_failed_is_named_with_its_reason() -> None:
    found: dict[str, Any] = {
        BASELINES[0]: {"texts_per_second": 50.0},
        "openvino int8": {"failed": "no wheel"},
    }
    assert peers.compared(found)["rivals"]["openvino int8"] == {"failed": "no wheel"}
    figures = {
        "texts": {"emotion": {"mean_tokens": 22}},
        "rivals": {"openvino int8": {"failed": {"distilbert-base": "no wheel"}}},
        "models": {"distilbert-base": {"emotion": {"rivals": {"openvino int8": {"failed": "no wheel"}}}}},
    }
    assert peers.table(figures).count("no wheel") == 2


def test_figures_that_lack_ours_or_the_ceiling_are_not_kept() -> None:
    whole = {"models": {"distilbert-base": {"emotion": {"baseline": "x", "ceiling": {"ours_of_ceiling": 1}}}}}
    peers.check_complete(whole)
    del whole["models"]["distilbert-base"]["emotion"]["ceiling"]["ours_of_ceiling"]  # type: ignore[attr-defined]
    with pytest.raises(SystemExit, match=r"distilbert-base, emotion: .* nothing was written"):
        peers.check_complete(whole)


def test_every_rival_has_a_program_and_an_environment_with_torch_pinned() -> None:
    for rival in RIVALS.values():
        assert (process.ROOT / "bench" / "rivals" / f"{rival.program}.py").is_file()
        assert rival.environment is None or "torch==2.13.0" in ENVIRONMENTS[rival.environment]


def test_a_rival_answers_whatever_its_libraries_print(root: Path, job: Job, tmp_path: Path) -> None:
    talker = Process("talker", Rival("talker", None), job, tmp_path)
    assert talker.chosen == {"threads": 1}
    assert set(talker.versions) == {"numpy"}
    answer = talker.ask(**{"pass": texts_file(tmp_path, ["a", "bc"])})
    assert answer["answers"] == [["joy", 0.1], ["joy", 0.2]]
    assert answer["seconds"] > 0
    assert 1 < float(talker.ask(peak="")["peak_mb"]) < 2000
    talker.close()


def test_a_set_that_a_rival_cannot_read_is_told_and_is_not_its_end(
    root: Path, job: Job, tmp_path: Path
) -> None:
    talker = Process("talker", Rival("talker", None), job, tmp_path)
    with pytest.raises(RivalError, match=r"^ValueError: cannot read this$"):
        talker.ask(**{"pass": texts_file(tmp_path, ["poison"])})
    assert talker.ask(warm=texts_file(tmp_path, ["a"]))["answers"]
    talker.close()


def test_a_rival_that_leaves_texts_unanswered_is_no_fast_one(root: Path, job: Job, tmp_path: Path) -> None:
    job.options["most"] = 1
    talker = Process("talker", Rival("talker", None), job, tmp_path)
    with pytest.raises(RivalError, match="1 answers to 2 texts"):
        talker.ask(**{"pass": texts_file(tmp_path, ["a", "b"])})
    talker.close()


def test_a_rival_that_does_not_start_gives_its_reason(root: Path, job: Job, tmp_path: Path) -> None:
    (root / "talker.py").write_text("import no_such_runtime\n")
    with pytest.raises(RivalError, match=r"^ModuleNotFoundError: No module named 'no_such_runtime'$"):
        Process("talker", Rival("talker", None), job, tmp_path)


def test_a_rival_that_dies_in_a_pass_gives_its_reason(root: Path, job: Job, tmp_path: Path) -> None:
    (root / "talker.py").write_text(
        RIVAL.replace('raise ValueError("cannot read\\nthis")', "import os; os._exit(3)")
    )
    talker = Process("talker", Rival("talker", None), job, tmp_path)
    with pytest.raises(RivalError, match="noise of a library"):  # the last that it said
        talker.ask(**{"pass": texts_file(tmp_path, ["poison"])})
    talker.close()


def test_an_environment_that_cannot_be_installed_is_a_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(process, "ENVIRONMENTS", {"nowhere": (str(tmp_path / "no-such.whl"),)})
    with pytest.raises(RivalError, match=r"pip install .*no-such.whl"):
        process.environment("nowhere", tmp_path)
    assert process.environment(None, tmp_path) == Path(sys.executable)


@pytest.mark.slow
def test_the_random_model_is_a_distilbert_that_classifies(model: Callable[..., Path], tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    bert = tmp_path / "bert"
    shutil.copytree(model("bert"), bert)
    AutoTokenizer.from_pretrained(bert).save_pretrained(bert)
    folder = write_random_distilbert(tmp_path / "random", bert)
    assert Shape.of(json.loads((folder / "config.json").read_text())) == DISTILBERT
    theirs = Theirs(folder).logits(["i am happy", "not a good film"], 512)
    with Classifier.load(folder, engine="reference") as classifier:
        ours = classifier.logits(["i am happy", "not a good film"])["label"]
    assert np.abs(ours - theirs).max() < 1e-4
    assert np.abs(ours).max() > 1e-3
