"""What every engine promises, over every engine and precision there is: one suite, one oracle."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.models import (
    FAMILIES,
    as_stored_int8,
    batch_of,
    changed,
    make_model,
    opened,
    some_rows,
    tensors_of,
)
from tonewise.batching import Batch
from tonewise.config import EngineConfig, Precision, StoreConfig
from tonewise.encoder.forward import ALL, NumpyOps, run_numpy
from tonewise.encoder.int8 import Quantization, Ranges, affine, as_int8, smoothed, symmetric
from tonewise.encoder.weights import NetworkSpec, load_weights
from tonewise.engines import ENGINES, Engine, open_engine
from tonewise.engines.graph_cache import quantization_of
from tonewise.errors import EngineError
from tonewise.store import Bundle, Pooling
from tonewise.tokenizer import Row

Poolings = tuple[Pooling, ...]
FIRST: Poolings = ("first",)
MEAN: Poolings = ("mean",)
BOTH: Poolings = ("first", "mean")
LENGTHS = (17, 1, 64, 2, 40, 3, 9, 9, 25, 33, 5, 12)


@dataclass(frozen=True)
class Case:
    """One engine at one precision, and how far its states, of standard deviation 1, may be off.

    oracle   from the float64 oracle
    company  between a row alone and the row in any batch
    rest     typically, where the oracle computes with the same 8 bit codes
    """

    engine: str
    precision: Precision = "auto"
    ranges: bool = False
    oracle: float | None = None
    company: float = 0.0
    rest: float = 1e-6

    def __str__(self) -> str:
        ranges = {"int8": "-by-range" if self.ranges else "-by-token"}.get(self.precision, "")
        return f"{self.engine}-{self.precision}{ranges}"


# Measured, over all families: fp32 1e-6 from the oracle and 5e-7 between batches; int8 0.05 and 0.06 from
# the oracle and 8e-7 between batches. A code that rounds the other way moves a state by up to 0.01.
CASES = (
    Case("openvino", "fp32", oracle=1e-5, company=1e-5),
    Case("openvino", "bf16", oracle=0.1, company=0.05),
    Case("openvino", "int8", ranges=True, oracle=0.15, company=0.05, rest=0.01),  # by bf16
    Case("onnxruntime", "fp32", oracle=1e-5, company=1e-5),
    Case("onnxruntime", "int8", oracle=0.1, company=0.02),
    Case("onnxruntime", "int8", ranges=True, oracle=0.1, company=0.02),
    Case("jax", "fp32", oracle=1e-5, company=1e-5),
    Case("tensorflow", "fp32", oracle=1e-5, company=1e-5),
    Case("torch", "fp32", oracle=1e-5, company=1e-5),
    Case("torch", "bf16", oracle=0.05, company=0.005),
    Case("reference", "fp32", oracle=1e-6, company=1e-6),
    Case("stub"),
)


@cache
def prepared(folder: Path, ranges: bool) -> tuple[Bundle, list[Row], NumpyOps]:
    """A model, some rows, and its oracle; with the ranges that these rows have, if they are wanted."""
    bundle = opened(folder)
    spec = NetworkSpec.from_config(bundle.network, bundle.ref)
    weights = load_weights(bundle.weights, spec, bundle.ref)
    rows = some_rows(bundle, LENGTHS)
    if ranges:
        seen = Ranges()
        for i in range(len(rows)):
            run_numpy(NumpyOps(weights, observe=seen.observe), batch_of(bundle, rows, [i]), BOTH)
        found = seen.found()
        smoothing = {
            name: {str(i): factor for i, factor in of.items()} for name, of in found.smoothing.items()
        }
        manifest = replace(bundle.manifest, activation_ranges=found.ranges, smoothing=smoothing)
        bundle = replace(bundle, manifest=manifest, digest=manifest.digest)
    return bundle, rows, NumpyOps(weights)


class Lab:
    """A bundle, its rows, its oracle, and the engine of the case."""

    def __init__(self, case: Case, folder: Path, family: str) -> None:
        self.case, self.folder, self.family = case, folder, family
        self.bundle, self.rows, self.ops = prepared(folder / family, case.ranges)
        self.opened: list[Engine] = []

    def engine(self, poolings: Poolings = BOTH) -> Engine:
        config = EngineConfig(self.case.engine, self.case.precision, threads=2)
        engine = open_engine(self.bundle, poolings, config, StoreConfig(cache_dir=str(self.folder / "cache")))
        self.opened.append(engine)
        return engine

    def batch(self, *chosen: int) -> Batch:
        return batch_of(self.bundle, self.rows, chosen or None)

    def exact(self, poolings: Poolings, batch: Batch) -> NDArray[np.float64]:
        found: NDArray[np.float64] = run_numpy(self.ops, batch, poolings)
        return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("contract")
    for family in FAMILIES:
        make_model(folder / family, family)
    return folder


@pytest.fixture(params=FAMILIES[:3])
def family(request: pytest.FixtureRequest) -> str:
    """XLM-R is RoBERTa with another vocabulary."""
    return str(request.param)


@pytest.fixture(params=CASES, ids=str)
def lab(request: pytest.FixtureRequest, folder: Path, family: str) -> Iterator[Lab]:
    lab = Lab(request.param, folder, family)
    yield lab
    for engine in lab.opened:
        engine.close()


networks = pytest.mark.parametrize("lab", [case for case in CASES if case.oracle], ids=str, indirect=True)
"""The engines that have tables: all but the stub."""


def assert_near(found: NDArray[Any], wanted: NDArray[Any], allowed: float, what: str) -> None:
    off = float(np.abs(found - wanted).max())
    assert off <= allowed, f"{what}: off by {off:.2e}, allowed {allowed:.0e}"


def assert_same(found: NDArray[Any], wanted: NDArray[Any], case: Case, what: str) -> None:
    """Within the case's tolerance, and typically far within: a scale of the whole batch would move all."""
    assert_near(found, wanted, case.company, what)
    typical = float(np.median(np.abs(found - wanted)))
    assert typical <= 1e-6, f"{what}: typically off by {typical:.2e}"


def test_every_engine_is_held_to_the_contract() -> None:
    assert {case.engine for case in CASES} == set(ENGINES)


@pytest.mark.parametrize("poolings", [FIRST, MEAN, BOTH, BOTH[::-1]], ids="+".join)
def test_states_are_the_oracles(lab: Lab, poolings: Poolings) -> None:
    engine, batch = lab.engine(poolings), lab.batch()
    assert engine.poolings == poolings
    assert engine.name == lab.case.engine
    assert engine.streams >= 1
    states = engine.run(batch)
    assert states.dtype == np.float32
    assert states.shape == (len(LENGTHS), len(poolings), 32)
    assert np.isfinite(states).all()
    if lab.case.oracle is not None:
        assert_near(states, lab.exact(poolings, batch), lab.case.oracle, "the oracle")


def test_an_answer_does_not_depend_on_its_company(lab: Lab) -> None:
    engine = lab.engine()
    alone = np.concatenate([engine.run(lab.batch(i)) for i in range(len(LENGTHS))])
    rng = np.random.default_rng(3)
    orders = [rng.permutation(len(LENGTHS)) for _ in range(3)]
    companies = [order[: rng.integers(2, len(LENGTHS) + 1)] for order in orders]
    for chosen in [*orders, *companies]:
        states = engine.run(lab.batch(*chosen.tolist()))
        assert_same(states, alone[chosen], lab.case, f"rows {chosen.tolist()}")


def test_an_answer_does_not_depend_on_padding(lab: Lab) -> None:
    engine = lab.engine()
    batch = lab.batch(0, 1, 3, 5)
    plain = engine.run(batch)
    wider = _padded(batch, 60, int(lab.bundle.network["pad_token_id"]))
    assert_same(engine.run(wider), plain, lab.case, "padded to 60")
    wider.input_ids[wider.attention_mask == 0] = wider.input_ids[0, 0]
    if "roberta" not in lab.bundle.network["model_type"]:  # whose positions are counted by the padding token
        assert_same(engine.run(wider), plain, lab.case, "padded with another token")


def _padded(batch: Batch, width: int, padding_id: int) -> Batch:
    room = ((0, 0), (0, width - batch.input_ids.shape[1]))
    return Batch(
        np.pad(batch.input_ids, room, constant_values=padding_id),
        np.pad(batch.attention_mask, room),
        np.pad(batch.token_type_ids, room),
        batch.rows,
    )


def test_an_extreme_neighbour_changes_nothing(lab: Lab) -> None:
    """A scale of the whole batch would follow the row with the greatest activations."""
    engine = lab.engine()
    magnitudes = [np.abs(lab.ops.weights.tables["word"].dense()[row.input_ids]).max() for row in lab.rows]
    calm, wild = int(np.argmin(magnitudes)), int(np.argmax(magnitudes))
    together = engine.run(lab.batch(calm, wild))
    assert_same(together[:1], engine.run(lab.batch(calm)), lab.case, "beside the wildest row")


def test_an_answer_does_not_depend_on_its_thread(lab: Lab) -> None:
    engine = lab.engine()
    batches = [lab.batch(i, (i + 1) % len(LENGTHS)) for i in range(len(LENGTHS))] * 4
    one_by_one = [engine.run(batch) for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        for found, wanted in zip(pool.map(engine.run, batches), one_by_one, strict=True):
            np.testing.assert_array_equal(found, wanted)


def test_the_same_batch_gives_the_same_bytes(lab: Lab) -> None:
    batch = lab.batch()
    first, again, anew = lab.engine(), lab.engine(), lab.batch()
    wanted = first.run(batch)
    np.testing.assert_array_equal(first.run(anew), wanted)
    np.testing.assert_array_equal(again.run(batch), wanted)


def test_a_batch_is_left_as_it_was(lab: Lab) -> None:
    batch, kept = lab.batch(), lab.batch()
    lab.engine().run(batch)
    for name in ("input_ids", "attention_mask", "token_type_ids", "rows"):
        np.testing.assert_array_equal(getattr(batch, name), getattr(kept, name))


def test_a_closed_engine_says_so_and_closes_twice(lab: Lab) -> None:
    engine = lab.engine()
    engine.run(lab.batch(1))
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.run(lab.batch(1))


def test_closing_under_running_threads_raises_nothing_but_engine_errors(lab: Lab) -> None:
    engine, batch = lab.engine(), lab.batch(1, 3)
    wanted = engine.run(batch)

    def run_until_closed() -> int:
        for count in range(100_000):
            try:
                np.testing.assert_array_equal(engine.run(batch), wanted)
            except EngineError:
                return count
        raise AssertionError("the engine was not closed")

    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(run_until_closed) for _ in range(4)]
        engine.close()
        assert all(one.result(timeout=60) >= 0 for one in running)


@networks
@pytest.mark.parametrize("token", [10**6, -1, -(2**31), None], ids=["above", "-1", "least", "just-above"])
def test_a_token_outside_the_vocabulary_is_an_engine_error_and_harms_nobody_else(
    lab: Lab, token: int | None
) -> None:
    engine = lab.engine()
    batch, wanted = lab.batch(1, 3), engine.run(lab.batch(1, 3))
    batch.input_ids[1, 0] = lab.bundle.network["vocab_size"] if token is None else token
    with pytest.raises(EngineError) as caught:
        engine.run(batch)
    assert "\n" not in str(caught.value)
    np.testing.assert_array_equal(engine.run(lab.batch(1, 3)), wanted)


@networks
@pytest.mark.parametrize("family", ["bert", "roberta"], indirect=True)
@pytest.mark.parametrize("kind", [9, -1])
def test_a_type_that_the_model_does_not_have_is_an_engine_error(lab: Lab, kind: int) -> None:
    batch = lab.batch(0)
    batch.token_type_ids[0, 2] = kind
    with pytest.raises(EngineError):
        lab.engine().run(batch)


@networks
def test_a_row_longer_than_the_model_is_an_engine_error(lab: Lab) -> None:
    with pytest.raises(EngineError):
        lab.engine().run(batch_of(lab.bundle, some_rows(lab.bundle, [65])))


@pytest.mark.parametrize("poolings", [(), ("first", "first"), ("last",)])
def test_poolings_that_make_no_sense_are_refused(lab: Lab, poolings: Any) -> None:
    with pytest.raises(EngineError, match="pooling"):
        lab.engine(poolings)


@networks
@pytest.mark.parametrize("family", ["distilbert", "bert"], indirect=True)
@pytest.mark.parametrize("activation", ["relu", "gelu_new"])
def test_other_activations_are_the_oracles(lab: Lab, activation: str) -> None:
    name = "activation" if lab.bundle.network["model_type"] == "distilbert" else "hidden_act"
    check_variant(
        lab, changed(lab.bundle.folder, lab.folder / f"{lab.family}-{activation}", config={name: activation})
    )


@networks
@pytest.mark.parametrize("family", ["bert", "roberta"], indirect=True)
def test_an_epsilon_of_its_own_is_the_oracles(lab: Lab) -> None:
    config = {"layer_norm_eps": 0.3}
    check_variant(lab, changed(lab.bundle.folder, lab.folder / f"{lab.family}-epsilon", config=config))


@networks
def test_weights_stored_as_int8_are_the_oracles_of_their_values(lab: Lab) -> None:
    """As packaged models are stored."""
    tensors = as_stored_int8(tensors_of(lab.bundle.folder))
    check_variant(lab, changed(lab.bundle.folder, lab.folder / f"{lab.family}-stored", tensors=tensors))


def check_variant(lab: Lab, folder: Path) -> None:
    """The engine on another folder, with ranges of its own if the case has them, beside its own oracle."""
    assert lab.case.oracle is not None
    lab.bundle, _, lab.ops = prepared(folder, lab.case.ranges)
    batch = lab.batch()
    assert_near(lab.engine().run(batch), lab.exact(BOTH, batch), lab.case.oracle, "the oracle")


class CodedOps(NumpyOps):
    """The oracle with each linear layer computed from the codes that int8 would have."""

    def __init__(self, ops: NumpyOps, quantization: Quantization, engine: str) -> None:
        super().__init__(ops.weights)
        self.quantization, self.signed = quantization, engine == "openvino"

    def linear(self, x: NDArray[Any], name: str, outputs: slice = ALL) -> NDArray[Any]:
        linear = self.weights.linears[name].rows(outputs)
        divisor = self.quantization.divisor(name, x.shape[-1])
        linear, x = smoothed(linear, divisor), x if divisor is None else x / divisor
        if (found := self.quantization.ranges.get(name)) and self.signed:
            step = float(symmetric(*found))
            seen = np.clip(np.rint(x / step), -128, 127) * step
        elif found:
            how = affine(*found)
            step, zero = float(how.scale), int(how.zero_point)
            seen = (np.clip(np.rint(x / step) + zero, 0, 255) - zero) * step
        else:
            scale = np.abs(x).max(axis=-1, keepdims=True) / 127
            seen = np.rint(x / scale) * scale
        product: NDArray[Any] = seen @ as_int8(linear.weight).dense().astype(np.float64).T
        return product + linear.bias


@pytest.mark.parametrize("lab", [case for case in CASES if case.precision == "int8"], ids=str, indirect=True)
def test_int8_is_off_by_its_codes_and_by_nothing_else(lab: Lab) -> None:
    batch = lab.batch()
    wanted = run_numpy(CodedOps(lab.ops, quantization_of(lab.bundle.manifest), lab.case.engine), batch, BOTH)
    off = np.abs(lab.engine().run(batch) - wanted)
    # A value on the edge between two codes may fall to either side, and moves its own row only.
    assert float(np.median(off)) < lab.case.rest
    assert float(off.max()) < 0.02 + 10 * lab.case.rest
