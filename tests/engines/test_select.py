"""What `auto` picks, and what is refused by name."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.models import opened
from tonewise.config import EngineConfig
from tonewise.engines import ENGINES, open_engine
from tonewise.engines.select import choose_engine, choose_precision, choose_threads
from tonewise.errors import ConfigError

Make = Callable[..., Path]


def test_auto_is_onnxruntime_and_a_name_is_itself() -> None:
    assert choose_engine("auto") == "onnxruntime"
    assert [choose_engine(name) for name in ENGINES] == list(ENGINES)


def test_an_engine_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(
        ConfigError, match=r"^no engine 'tpu'; there are: auto, onnxruntime, reference, stub$"
    ):
        choose_engine("tpu")


def test_int8_is_chosen_only_where_ranges_were_checked_for_it(model: Make) -> None:
    plain = opened(model("distilbert"))
    ranged = replace(plain, manifest=replace(plain.manifest, activation_ranges={"layer.0.up": (-1.0, 1.0)}))
    assert choose_precision("auto", plain) == "fp32"
    assert choose_precision("auto", ranged) == "int8"
    assert choose_precision("fp32", ranged) == "fp32"
    assert choose_precision("int8", plain) == "int8"


def test_threads_are_those_asked_for_else_the_processors_of_this_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert choose_threads(3) == 3
    if hasattr(os, "sched_getaffinity"):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: {4, 5, 6})
        assert choose_threads(None) == 3
        monkeypatch.delattr(os, "sched_getaffinity")
    assert choose_threads(None) == os.cpu_count()


@pytest.mark.parametrize("name", ["reference", "stub"])
def test_int8_of_an_engine_without_it_is_refused(model: Make, name: str) -> None:
    with pytest.raises(ConfigError, match=f"the {name} engine has no int8"):
        open_engine(opened(model("distilbert")), ("first",), EngineConfig(name, "int8"))


def test_an_engine_says_what_it_is(model: Make) -> None:
    bundle = opened(model("distilbert"))
    told = {}
    for name in ("auto", *ENGINES):
        engine = open_engine(bundle, ("mean",), EngineConfig(name))
        told[name] = (engine.name, engine.precision, engine.poolings)
        engine.close()
    assert told == {
        "auto": ("onnxruntime", "fp32", ("mean",)),
        "onnxruntime": ("onnxruntime", "fp32", ("mean",)),
        "reference": ("reference", "fp64", ("mean",)),
        "stub": ("stub", "fp32", ("mean",)),
    }


def test_the_weights_are_not_read_for_the_stub(model: Make, tmp_path: Path) -> None:
    bundle = opened(model("distilbert"))
    engine = open_engine(replace(bundle, folder=tmp_path), ("mean",), EngineConfig("stub"))
    assert engine.name == "stub"
