"""What `auto` picks, what is measured for it and kept, and what is refused by name."""

import json
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.models import opened
from tonewise.batching import Batch
from tonewise.config import BATCH_TOKENS, EngineConfig
from tonewise.engines import ENGINES, Choice, choose, choose_threads, open_engine, open_named
from tonewise.engines.base import Options
from tonewise.engines.kinds import check_engine
from tonewise.engines.machine import memory_limit
from tonewise.engines.select import AGREEMENT, RUNTIMES, _racers, _within
from tonewise.engines.trial import TOLERANCE, Cost
from tonewise.errors import ConfigError, EngineError, MissingExtraError
from tonewise.store import Bundle

Make = Callable[..., Path]
Fault = float | Exception
SELECT = "tonewise.engines.select"


class Made:
    """An engine whose states are off by a share, or which fails."""

    def __init__(self, name: str, options: Options, off: Fault) -> None:
        self.name, self.precision, self.streams = name, str(options.precision), options.streams
        self.poolings, self.off, self.closed = ("first",), off, False

    def run(self, batch: Batch) -> NDArray[np.float32]:
        if isinstance(self.off, Exception):
            raise self.off
        return np.full((len(batch), 1, 4), 1 + self.off, np.float32)

    def close(self) -> None:
        self.closed = True


@dataclass
class Machine:
    """A machine whose processor, engines and their speed are made up.

    off        by engine and precision how wrong it is, or what it raises
    speed      by engine its tokens a second
    first      by engine the seconds of one text
    missing    modules that are not installed
    opened     what was
    """

    bundle: Bundle
    cache: Path
    off: dict[tuple[str, str], Fault] = field(default_factory=dict)
    speed: Mapping[str, float] = field(default_factory=lambda: {"openvino": 3, "onnxruntime": 2, "torch": 1})
    first: Mapping[str, float] = field(default_factory=lambda: {"openvino": 3, "onnxruntime": 2, "torch": 1})
    missing: set[str] = field(default_factory=set)
    opened: list[Made] = field(default_factory=list)

    def open(self, name: str, bundle: Bundle, poolings: Any, options: Options) -> Made:
        self.opened.append(Made(name, options, self.off.get((name, options.precision), 0.0)))
        return self.opened[-1]

    def race(self, engines: Any, rows: Any, padding_id: int) -> list[Cost]:
        return [
            Cost(
                engine.name,
                engine.precision,
                off,
                right=True,
                single_seconds=self.first[engine.name],
                tokens_per_second=self.speed[engine.name],
                batch_tokens=512,
            )
            for engine, off in engines
        ]

    def agreeing(self, share: float = AGREEMENT) -> None:
        """The bundle says that int8 agrees with fp32 so often."""
        agreement = {name: share for name in RUNTIMES if "int8" in ENGINES[name].precisions}
        manifest = replace(self.bundle.manifest, agreement=agreement)
        self.bundle = replace(self.bundle, manifest=manifest, digest=manifest.digest)

    def chosen(self, **knobs: Any) -> Choice:
        return choose(EngineConfig(**knobs), self.bundle, ("first",), str(self.cache))

    def named(self, **knobs: Any) -> tuple[str, str]:
        choice = self.chosen(**knobs)
        return choice.name, choice.options.precision

    def raced(self) -> set[tuple[str, str]]:
        """What was opened beside the yardstick."""
        return {(one.name, one.precision) for one in self.opened[1:]}


@pytest.fixture
def machine(model: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine(opened(model("distilbert")), tmp_path)
    monkeypatch.setattr(f"{SELECT}.open_named", made.open)
    monkeypatch.setattr(f"{SELECT}.race", made.race)
    monkeypatch.setattr("tonewise.engines.kinds.find_spec", lambda name: name not in made.missing or None)
    for name in ("has_int8", "has_bf16"):
        monkeypatch.setattr(f"{SELECT}.{name}", lambda: True)
    return made


# Without a record.


def test_without_a_record_auto_is_onnxruntime_in_fp32(machine: Machine) -> None:
    choice = machine.chosen()
    assert (choice.name, choice.options.precision, choice.batch_tokens) == (
        "onnxruntime",
        "fp32",
        BATCH_TOKENS,
    )
    assert (choice.options.streams, choice.options.device, choice.options.cache) == (1, "cpu", machine.cache)
    assert machine.opened == [], "nothing needs to be tried for that"


def test_int8_is_taken_where_the_bundle_agrees_the_processor_has_it_and_the_self_test_agrees(
    machine: Machine,
) -> None:
    machine.agreeing()
    assert machine.named() == ("onnxruntime", "int8")
    assert all(engine.closed for engine in machine.opened)


def test_int8_is_not_taken_where_too_few_labels_agree(machine: Machine) -> None:
    machine.agreeing(AGREEMENT - 0.001)
    assert machine.named() == ("onnxruntime", "fp32")
    assert machine.opened == []


def test_int8_that_agrees_on_another_engine_is_not_taken_on_this_one(machine: Machine) -> None:
    manifest = replace(machine.bundle.manifest, agreement={"openvino": 1.0})
    machine.bundle = replace(machine.bundle, manifest=manifest, digest=manifest.digest)
    assert machine.named() == ("onnxruntime", "fp32")
    assert machine.named(engine="openvino") == ("openvino", "int8")


def test_int8_is_not_taken_where_the_processor_has_none(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.agreeing()
    monkeypatch.setattr(f"{SELECT}.has_int8", lambda: False)
    assert machine.named() == ("onnxruntime", "fp32")
    assert machine.named(tune=True)[1] == "bf16"
    assert machine.named(precision="int8") == ("onnxruntime", "int8"), "who asks for it gets it"


@pytest.mark.parametrize(
    ("fault", "told"),
    [(0.5, "off by 50%"), (np.nan, "no answer"), (EngineError("no such instruction"), "no answer")],
    ids=["off", "nan", "error"],
)
def test_int8_that_fails_its_self_test_is_told_at_each_start_and_not_taken(
    machine: Machine, caplog: pytest.LogCaptureFixture, fault: Fault, told: str
) -> None:
    machine.agreeing()
    machine.off["onnxruntime", "int8"] = fault
    for _ in range(2):
        caplog.clear()
        assert machine.named() == ("onnxruntime", "fp32")
        assert f"onnxruntime in int8 fails its self-test here ({told}); it is not used" in caplog.messages
    assert len(machine.opened) == 2, "the second start reads what the first found"


def test_a_self_test_is_done_once(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    machine.agreeing()
    assert [machine.named() for _ in range(3)] == [("onnxruntime", "int8")] * 3
    assert len(machine.opened) == 2, "int8 and its yardstick"
    assert caplog.messages == []


# Measured.


def test_engines_of_the_lowest_right_precision_race(machine: Machine) -> None:
    machine.agreeing()
    assert machine.named(tune=True, streams=2) == ("openvino", "int8")
    assert machine.raced() == {("openvino", "int8"), ("onnxruntime", "int8")}
    assert all(engine.closed for engine in machine.opened)


def test_without_agreement_bf16_races_and_without_bf16_fp32(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert machine.named(tune=True, streams=2) == ("openvino", "bf16")
    assert machine.raced() == {("openvino", "bf16")}
    monkeypatch.setattr(f"{SELECT}.has_bf16", lambda: False)
    machine.opened.clear()
    assert machine.named(tune=True, streams=3) == ("openvino", "fp32")
    assert machine.raced() == {("openvino", "fp32"), ("onnxruntime", "fp32")}


def test_torch_races_only_where_openvino_is_not_installed(machine: Machine) -> None:
    machine.speed = {"openvino": 1, "onnxruntime": 2, "torch": 3}
    assert machine.named(precision="fp32", tune=True, streams=2) == ("onnxruntime", "fp32")
    machine.missing = {"openvino"}
    assert machine.named(precision="fp32", tune=True, streams=3) == ("torch", "fp32")


def test_many_texts_want_the_most_tokens_a_second_and_one_the_least_time(machine: Machine) -> None:
    machine.agreeing()
    assert machine.named(tune=True, streams=2) == ("openvino", "int8")
    assert machine.named(tune=True, streams=1) == ("onnxruntime", "int8")


def test_what_was_measured_is_kept_and_used_without_tune(machine: Machine) -> None:
    measured = machine.chosen(tune=True, streams=2)
    assert (measured.name, measured.batch_tokens) == ("openvino", 512)
    machine.opened.clear()
    assert machine.chosen(streams=2) == machine.chosen(tune=True, streams=2) == measured
    assert machine.opened == []
    assert len(list((machine.cache / "tuning").iterdir())) == 1


CHANGES: dict[str, Callable[[pytest.MonkeyPatch], object]] = {
    "processor": lambda patch: patch.setattr(f"{SELECT}.processor", lambda: "another"),
    "flags": lambda patch: patch.setattr(f"{SELECT}.flags", lambda: frozenset({"other"})),
    "processors": lambda patch: patch.setattr(f"{SELECT}.processors", lambda: 77),
    "versions": lambda patch: patch.setattr(f"{SELECT}._version", lambda module: f"{module} 99"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_was_measured_holds_for_that_machine_and_those_versions_alone(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    machine.chosen(tune=True, streams=2, threads=2)
    CHANGES[what](monkeypatch)
    assert machine.named(streams=2, threads=2) == ("onnxruntime", "fp32")


def test_what_was_measured_holds_for_that_model_and_that_work_alone(machine: Machine) -> None:
    machine.chosen(tune=True, streams=2, threads=2)
    assert machine.named(streams=2, threads=2) == ("openvino", "bf16")
    assert machine.named(streams=1, threads=2) == ("onnxruntime", "fp32")
    assert machine.named(streams=2, threads=4) == ("onnxruntime", "fp32")
    machine.bundle = replace(machine.bundle, digest="sha256:" + "0" * 64)
    assert machine.named(streams=2, threads=2) == ("onnxruntime", "fp32")


@pytest.mark.parametrize("fault", [0.9, EngineError("no such instruction")], ids=["off", "error"])
def test_an_engine_that_fails_its_self_test_is_told_and_does_not_race(
    machine: Machine, caplog: pytest.LogCaptureFixture, fault: Fault
) -> None:
    machine.agreeing()
    machine.off["openvino", "int8"] = fault
    assert machine.named(tune=True, streams=2) == ("onnxruntime", "int8")
    assert any("openvino in int8 fails its self-test here" in told for told in caplog.messages)
    if isinstance(fault, Exception):
        assert "openvino in int8 fails here: no such instruction" in caplog.messages
    caplog.clear()
    assert machine.named(streams=2) == ("onnxruntime", "int8")
    assert any("openvino in int8 fails its self-test here" in told for told in caplog.messages)


def test_where_a_precision_fails_on_every_engine_the_next_one_races(machine: Machine) -> None:
    machine.agreeing()
    machine.off |= {(name, "int8"): TOLERANCE["int8"] + 0.01 for name in RUNTIMES}
    assert machine.named(tune=True, streams=2) == ("openvino", "bf16")


def test_an_engine_that_wins_no_race_is_not_taken(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def race(engines: Any, rows: Any, padding_id: int) -> list[Cost]:
        found = machine.race(engines, rows, padding_id)
        return [replace(cost, right=cost.precision == "fp32") for cost in found]

    monkeypatch.setattr(f"{SELECT}.race", race)
    assert machine.named(tune=True, streams=2) == ("openvino", "fp32")


def test_nothing_that_is_right_is_an_error_that_says_so(machine: Machine) -> None:
    machine.off |= {("openvino", precision): 1.0 for precision in ("int8", "bf16", "fp32")}
    with pytest.raises(EngineError, match=r"passes its self-test; choose another engine or precision$"):
        machine.chosen(engine="openvino", tune=True)


def test_only_what_is_installed_is_measured(machine: Machine) -> None:
    machine.missing = {"openvino"}
    assert machine.named(tune=True, streams=2) == ("torch", "bf16")


def test_a_named_engine_is_measured_alone(machine: Machine) -> None:
    machine.agreeing()
    assert machine.named(engine="torch", tune=True) == ("torch", "bf16")
    assert machine.raced() == {("torch", "bf16")}


def test_a_named_precision_is_measured_alone(machine: Machine) -> None:
    machine.agreeing()
    assert machine.named(precision="fp32", tune=True, streams=2) == ("openvino", "fp32")
    assert machine.raced() == {("openvino", "fp32"), ("onnxruntime", "fp32")}


def test_what_is_named_in_full_is_not_measured(machine: Machine) -> None:
    assert machine.named(engine="openvino", precision="int8", tune=True) == ("openvino", "int8")
    assert machine.opened == []


ALTERED: dict[str, Callable[[str], str]] = {
    "cut": lambda text: text[:40],
    "no list": lambda text: '{"a": 1}',
    "no rows": lambda text: "[]",
    "a number": lambda text: "7",
    "other fields": lambda text: '[{"engine": "openvino"}]',
    "another engine": lambda text: text.replace("openvino", "abacus"),
    "another precision": lambda text: text.replace("bf16", "int1"),
    "text for a number": lambda text: text.replace("512", '"512"'),
}


@pytest.mark.parametrize("how", ALTERED)
def test_a_record_that_cannot_be_read_is_measured_again(machine: Machine, how: str) -> None:
    machine.chosen(tune=True, streams=2)
    (path,) = (machine.cache / "tuning").iterdir()
    whole = path.read_text()
    path.write_text(ALTERED[how](whole))
    assert machine.named(streams=2) == ("onnxruntime", "fp32")
    assert machine.named(streams=2, tune=True) == ("openvino", "bf16")
    assert path.read_text() == whole


def test_a_record_tells_what_was_measured(machine: Machine) -> None:
    machine.chosen(tune=True, streams=2)
    (path,) = (machine.cache / "tuning").iterdir()
    assert path.name.startswith(machine.bundle.digest.removeprefix("sha256:")[:32])
    (row,) = json.loads(path.read_text())
    assert (row["engine"], row["precision"], row["right"], row["batch_tokens"]) == (
        "openvino",
        "bf16",
        True,
        512,
    )


def test_a_cache_that_cannot_be_written_is_told_and_changes_nothing(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    (machine.cache / "tuning").write_text("a file, not a folder")
    assert machine.named(tune=True, streams=2) == ("openvino", "bf16")
    assert any("cannot be written" in told for told in caplog.messages)


def test_memory_bounds_the_batches_of_all_streams(tmp_path: Path) -> None:
    cost = Cost("onnxruntime", "int8", 0.0, right=True, batch_tokens=2048, bytes_per_token=10_000)
    assert _within(None, cost, 1) == 2048
    assert _within(10**12, cost, 1) == 2048
    assert _within(10**12, replace(cost, bytes_per_token=0), 1) == 2048
    (tmp_path / "memory.max").write_text("25000000\n")
    (tmp_path / "memory.current").write_text("5000000\n")
    limit = memory_limit(tmp_path)
    assert limit == 20_000_000
    assert _within(limit, cost, 1) == 1000, "half of what is left"
    assert _within(limit, cost, 2) == 500
    assert _within(1000, cost, 2) == 64, "less would not help"


def test_a_limit_of_memory_reaches_the_choice(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = machine.race

    def race(*told: Any) -> list[Cost]:
        return [replace(cost, bytes_per_token=1000) for cost in plain(*told)]

    monkeypatch.setattr(f"{SELECT}.race", race)
    monkeypatch.setattr(f"{SELECT}.memory_limit", lambda: 400_000)
    assert machine.chosen(tune=True, streams=2).batch_tokens == 100
    monkeypatch.setattr(f"{SELECT}.memory_limit", lambda: 800_000)
    assert machine.chosen(streams=2).batch_tokens == 200, "of the memory at this start"


# By name.


def test_a_precision_alone_takes_an_installed_engine_that_has_it(machine: Machine) -> None:
    assert machine.named(precision="int8") == ("onnxruntime", "int8")
    assert machine.named(precision="fp32") == ("onnxruntime", "fp32")
    assert machine.named(precision="bf16") == ("openvino", "bf16")
    machine.missing = {"openvino"}
    assert machine.named(precision="bf16") == ("torch", "bf16")
    machine.missing = {"openvino", "torch"}
    with pytest.raises(MissingExtraError, match=r"pip install 'tonewise\[openvino\]'$"):
        machine.named(precision="bf16")


def test_a_gpu_is_torchs_unless_another_engine_is_named(machine: Machine) -> None:
    machine.agreeing()
    assert machine.named(device="cuda") == ("torch", "fp32")
    assert machine.named(device="cuda", tune=True) == ("torch", "fp32")
    assert machine.named(device="cuda", engine="onnxruntime") == ("onnxruntime", "fp32")
    assert machine.chosen(device="cuda").options.device == "cuda"
    assert machine.opened == [], "what was measured is of the processor"


@pytest.mark.parametrize("name", ["openvino", "jax", "tensorflow", "reference", "stub"])
def test_a_device_that_an_engine_does_not_have_is_refused(machine: Machine, name: str) -> None:
    with pytest.raises(
        ConfigError, match=f"^the {name} engine does not run on cuda; onnxruntime and torch do"
    ):
        machine.chosen(engine=name, device="cuda")


def test_an_engine_that_does_not_exist_is_refused_with_those_that_do(machine: Machine) -> None:
    with pytest.raises(ConfigError, match=r"^no engine 'tpu'; there are: auto, openvino, .*, stub$"):
        machine.chosen(engine="tpu")
    with pytest.raises(ConfigError, match=r"^no engine 'auto'; there are: openvino, "):
        open_named("auto", machine.bundle, ("first",), machine.chosen().options)


@pytest.mark.parametrize(
    ("name", "precision"),
    [
        (name, precision)
        for name, kind in ENGINES.items()
        for precision in ("int8", "bf16", "fp32")
        if precision not in kind.precisions
    ],
)
def test_a_precision_that_an_engine_does_not_have_is_refused(
    machine: Machine, name: str, precision: str
) -> None:
    told = f"^the {name} engine has no {precision}; leave out the precision, or choose openvino"
    with pytest.raises(ConfigError, match=told):
        machine.chosen(engine=name, precision=precision)


@pytest.mark.parametrize("name", [name for name, kind in ENGINES.items() if kind.module])
def test_a_runtime_that_is_missing_says_what_to_install(machine: Machine, name: str) -> None:
    machine.missing = {name}
    wanted = "onnxruntime" if name == "onnxruntime" else rf"'tonewise\[{name}\]'"
    with pytest.raises(MissingExtraError, match=f"^{name} is not installed; run: pip install {wanted}$"):
        machine.chosen(engine=name)
    machine.missing = set()
    assert check_engine(name) is ENGINES[name]


def test_the_extras_are_those_of_the_package() -> None:
    import tomllib

    path = Path(__file__).parents[2] / "pyproject.toml"
    extras = tomllib.loads(path.read_text())["project"]["optional-dependencies"]
    assert {kind.extra for kind in ENGINES.values() if kind.extra} <= set(extras)


def test_a_runtime_that_is_installed_but_broken_is_an_engine_error(
    model: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*told: Any) -> None:
        raise ImportError("libcudart.so.12: cannot open\nshared object file")

    monkeypatch.setattr("tonewise.engines.kinds._opened", broken)
    options = Options("fp32", 1, 1, "cpu", tmp_path)
    told = "^torch cannot be imported: libcudart.so.12: cannot open shared object file$"
    with pytest.raises(EngineError, match=told):
        open_named("torch", opened(model("distilbert")), ("first",), options)


def test_threads_are_those_asked_for_else_the_processors_of_this_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert choose_threads(3) == 3
    monkeypatch.setattr(f"{SELECT}.processors", lambda: 5)
    assert choose_threads(None) == 5


# Real ones.


@pytest.mark.parametrize("name", ["auto", "onnxruntime", "reference", "stub"])
def test_an_engine_says_what_it_is(model: Make, name: str) -> None:
    engine = open_engine(opened(model("distilbert")), ("mean",), EngineConfig(name))
    told = "onnxruntime" if name == "auto" else name
    precision = "fp64" if name == "reference" else "fp32"
    assert (engine.name, engine.precision, engine.poolings) == (told, precision, ("mean",))
    engine.close()


def test_the_weights_are_not_read_for_the_stub(model: Make, tmp_path: Path) -> None:
    bundle = opened(model("distilbert"))
    engine = open_engine(replace(bundle, folder=tmp_path), ("mean",), EngineConfig("stub"))
    assert engine.name == "stub"


def test_what_is_installed_here_is_measured_and_then_chosen(
    model: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    bundle, cache = opened(model("distilbert")), str(tmp_path)
    config = EngineConfig(precision="fp32", tune=True, threads=2, streams=2)
    choice = choose(config, bundle, ("first",), cache)
    (path,) = (tmp_path / "tuning").iterdir()
    rows = json.loads(path.read_text())
    assert {row["engine"] for row in rows} == set(_racers())
    for row in rows:
        assert row["deviation"] <= TOLERANCE["fp32"], row
        assert row["single_seconds"] > 0
        assert row["batch_tokens"] in (512, 1024, 2048)
    fastest = max(rows, key=lambda row: float(row["tokens_per_second"]))
    assert (choice.name, choice.batch_tokens) == (fastest["engine"], fastest["batch_tokens"])
    assert choose(replace(config, tune=False), bundle, ("first",), cache) == choice
    assert caplog.messages == []
    assert os.listdir(tmp_path / "graphs"), "what the engine needs at its next start is built"
