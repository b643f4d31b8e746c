"""`tonewise warm`: what it measures is what later runs use."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli
from tests.doubles import MakeModel
from tonewise import Classifier
from tonewise.engines import Cost


@pytest.fixture
def ref(model: MakeModel, monkeypatch: pytest.MonkeyPatch) -> str:
    """A model, and a race that OpenVINO wins with many texts and ONNX Runtime with one."""

    def race(engines: Any, rows: Any, padding_id: int) -> list[Cost]:
        return [
            Cost(
                engine.name,
                engine.precision,
                off,
                right=True,
                single_seconds={"onnxruntime": 1.0}.get(engine.name, 2.0),
                tokens_per_second={"openvino": 2.0}.get(engine.name, 1.0),
                batch_tokens=512,
            )
            for engine, off in engines
        ]

    monkeypatch.setattr("tonewise.engines.select.race", race)
    monkeypatch.setattr("tonewise.engines.select.has_bf16", lambda: False)
    monkeypatch.setenv("TONEWISE_CACHE_DIR", "cache")
    return str(model())


def test_it_tells_what_runs_many_texts_and_one_best(cli: Cli, ref: str, here: Path) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    done = cli("warm", ref, "--threads", "2")
    assert (done.status, done.err) == (0, "")
    assert done.text.splitlines() == [
        "many texts: openvino in fp32, 2 streams, batches of 512 tokens",
        "one text: onnxruntime in fp32",
        "one text in a command: onnxruntime in fp32",
        "kept in cache",
    ]


def test_what_it_measured_is_what_later_runs_use(
    cli: Cli, ref: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    assert cli("warm", ref).status == 0

    def again(*told: object) -> None:
        raise AssertionError("it was measured again")

    monkeypatch.setattr("tonewise.engines.select.race", again)
    (here / "a.jsonl").write_text('{"text": "so sad"}\n{"text": "love"}\n')
    options = ["--model", ref]
    assert cli("classify", "a.jsonl", *options, "--tune", "-o", "out.jsonl").status == 0
    facts = json.loads((here / "out.jsonl.run.json").read_text())
    assert facts["engine"] == {"name": "openvino", "precision": "fp32"}
    assert facts["settings"]["batch"]["max_batch_tokens"] == 512
    with Classifier.load(ref) as classifier:
        assert classifier.engine.name == "onnxruntime"
        assert classifier.config.batch.max_batch_tokens == 512
    assert cli("classify", "so sad", *options).status == 0


def test_streams_of_the_settings_are_those_that_are_measured(
    cli: Cli, ref: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TONEWISE_STREAMS", "3")
    done = cli("warm", ref, "--engine", "onnxruntime")
    assert done.text.startswith("many texts: onnxruntime in fp32, 3 streams, batches of 512 tokens\n")
    assert len(list((here / "cache" / "tuning").iterdir())) == 1


def test_a_named_engine_and_precision_are_opened_as_named(cli: Cli, ref: str, here: Path) -> None:
    done = cli("warm", ref, "--engine", "onnxruntime", "--precision", "int8")
    assert done.status == 0
    assert "one text: onnxruntime in int8\n" in done.text
    assert not (here / "cache" / "tuning").exists(), "there was nothing to find out"
    assert list((here / "cache" / "graphs").iterdir())


def test_a_model_or_an_engine_that_cannot_be_had_is_one_line(cli: Cli, ref: str, here: Path) -> None:
    for arguments, status in ((["nothing-of-the-kind"], 4), ([ref, "--engine", "abacus"], 2)):
        done = cli("warm", *arguments)
        assert (done.status, done.out) == (status, b"")
        assert done.err.startswith("tonewise: ")
        assert done.err.count("\n") == 1
