"""Programs are made once per shape, and weights become plain arrays."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.models import as_stored_int8, changed, opened, tensors_of
from tonewise.batching import Batch
from tonewise.encoder.int8 import quantize_rows
from tonewise.encoder.weights import NetworkSpec, load_weights
from tonewise.engines.buckets import Shape
from tonewise.engines.compiled import Program, Programs, failure, parameters
from tonewise.errors import EngineError, EngineMemoryError

Make = Callable[..., Path]


def program(batch: Batch) -> NDArray[np.float32]:
    raise AssertionError("not run here")


def parameters_of(folder: Path) -> dict[str, NDArray[np.float32]]:
    bundle = opened(folder)
    spec = NetworkSpec.from_config(bundle.network, bundle.ref)
    return parameters(load_weights(bundle.weights, spec, bundle.ref))


def test_parameters_are_float32_by_canonical_names(model: Make) -> None:
    named = parameters_of(model("bert"))
    assert len(named) == 3 + 2 + 2 * 12
    assert {"word.weight", "type.weight", "embedding_norm.bias", "layer.1.qkv.weight"} <= named.keys()
    assert named["layer.0.qkv.weight"].shape == (96, 32)
    assert {array.dtype for array in named.values()} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(
        named["layer.1.up.weight"],
        tensors_of(model("bert"))["bert.encoder.layer.1.intermediate.dense.weight"],
    )


def test_weights_stored_as_int8_are_dequantized(model: Make, tmp_path: Path) -> None:
    tensors = tensors_of(model())
    named = parameters_of(changed(model(), tmp_path / "stored", tensors=as_stored_int8(tensors)))
    wanted = quantize_rows(tensors["distilbert.transformer.layer.0.ffn.lin1.weight"]).dense()
    np.testing.assert_array_equal(named["layer.0.up.weight"], wanted)


def test_threads_that_meet_at_a_shape_compile_it_once() -> None:
    built: list[Shape] = []
    meeting = Barrier(4)

    def build(shape: Shape) -> Program:
        built.append(shape)
        time.sleep(0.2)  # for as long the others must wait
        return program

    programs = Programs(build)

    def ask(shape: Shape) -> Program:
        meeting.wait(timeout=30)
        return programs.at(shape)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, [(1, 8), (1, 8), (2, 8), (2, 8)])) == [program] * 4
    assert sorted(built) == [(1, 8), (2, 8)]
    assert programs.compiled == 2


def test_a_shape_that_failed_is_compiled_again() -> None:
    failing = [MemoryError("no room")]

    def build(shape: Shape) -> Program:
        if failing:
            raise failing.pop()
        return program

    programs = Programs(build)
    with pytest.raises(MemoryError):
        programs.at((1, 8))
    assert programs.compiled == 0
    assert programs.at((1, 8)) is program


def test_closed_programs_say_so() -> None:
    programs = Programs(lambda shape: program)
    programs.at((1, 8))
    programs.close()
    programs.close()
    with pytest.raises(EngineError, match="closed"):
        programs.at((1, 8))


def test_a_failure_is_one_line_of_its_kind() -> None:
    told = failure("JAX", RuntimeError("first\n  second " + "x" * 500), memory=False)
    assert type(told) is EngineError
    assert str(told).startswith("JAX failed: first second xxx")
    assert len(str(told)) < 320
    assert type(failure("JAX", RuntimeError(), memory=True)) is EngineMemoryError
    assert str(failure("JAX", MemoryError(), memory=False)) == "JAX failed: MemoryError"
