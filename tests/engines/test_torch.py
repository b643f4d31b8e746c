"""The torch engine: what it computes, what it leaves alone, and what it says when torch fails."""

from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
import torch

from tests.models import batch_of, opened, some_rows
from tonewise.batching import Batch
from tonewise.classifier import Classifier
from tonewise.config import Precision
from tonewise.encoder.forward import NumpyOps, run_numpy
from tonewise.encoder.weights import NetworkSpec, load_weights
from tonewise.engines.base import Options
from tonewise.engines.torch import TorchEngine
from tonewise.errors import EngineError, EngineMemoryError
from tonewise.store import Bundle, Pooling

FIRST: tuple[Pooling, ...] = ("first",)
BOTH: tuple[Pooling, ...] = ("first", "mean")
LENGTHS = (9, 3, 9, 5)
Open = Callable[..., TorchEngine]


@pytest.fixture
def bundle(model: Callable[..., Path]) -> Bundle:
    return opened(model())


@pytest.fixture
def batch(bundle: Bundle) -> Batch:
    return batch_of(bundle, some_rows(bundle, LENGTHS))


@pytest.fixture
def engine_of(bundle: Bundle, tmp_path: Path) -> Iterator[Open]:
    engines = []

    def open_it(
        poolings: tuple[Pooling, ...] = BOTH,
        precision: Any = "fp32",
        threads: int = 1,
        streams: int = 1,
        device: Any = "cpu",
    ) -> TorchEngine:
        engine = TorchEngine(bundle, poolings, Options(precision, threads, streams, device, tmp_path))
        engines.append(engine)
        return engine

    yield open_it
    for engine in engines:
        engine.close()


def spied(monkeypatch: pytest.MonkeyPatch, name: str) -> list[list[tuple[int, ...]]]:
    """The shapes of the tensors that a function of torch is given, call by call."""
    seen: list[list[tuple[int, ...]]] = []
    function = getattr(torch.nn.functional, name)

    def spy(*tensors: torch.Tensor) -> Any:
        seen.append([tuple(tensor.shape) for tensor in tensors])
        return function(*tensors)

    monkeypatch.setattr(torch.nn.functional, name, spy)
    return seen


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_no_padding_is_computed(
    engine_of: Open, batch: Batch, precision: Precision, monkeypatch: pytest.MonkeyPatch
) -> None:
    linears, attentions = spied(monkeypatch, "linear"), spied(monkeypatch, "scaled_dot_product_attention")
    engine_of(BOTH, precision).run(batch)
    assert [shapes[0][0] for shapes in linears] == [sum(LENGTHS)] * 8  # four in each of two layers
    assert [query for query, _, _ in attentions] == [(1, 4, 3, 8), (1, 4, 5, 8), (2, 4, 9, 8)] * 2


def test_the_last_layer_computes_the_first_token_alone_where_nothing_else_is_wanted(
    engine_of: Open, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    linears, attentions = spied(monkeypatch, "linear"), spied(monkeypatch, "scaled_dot_product_attention")
    engine_of(FIRST).run(batch)
    # In the last layer all tokens give keys and values, 2 × 32 wide; four rows give all the rest.
    wide = [(shapes[0][0], shapes[1][0]) for shapes in linears[4:]]
    assert sorted(wide) == [(4, 32), (4, 32), (4, 32), (4, 64), (26, 64)]
    assert [query for query, _, _ in attentions[3:]] == [(1, 4, 1, 8), (1, 4, 1, 8), (2, 4, 1, 8)]


def test_without_onednn_the_states_are_the_same(
    engine_of: Open, bundle: Bundle, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on an ARM Mac, whose torch is built without it."""
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    spec = NetworkSpec.from_config(bundle.network, bundle.ref)
    wanted = run_numpy(NumpyOps(load_weights(bundle.weights, spec, bundle.ref)), batch, BOTH)
    np.testing.assert_allclose(engine_of().run(batch), wanted, atol=1e-5)


def threads_of_a_new_thread() -> int:
    found: list[int] = []
    asking = Thread(target=lambda: found.append(torch.get_num_threads()))
    asking.start()
    asking.join()
    return found[0]


def test_the_threads_of_the_process_stay_as_they_were(engine_of: Open, batch: Batch) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(5)
    try:
        engine = engine_of(threads=1)
        engine.run(batch)
        assert (torch.get_num_threads(), threads_of_a_new_thread()) == (5, 5)
        engine.close()
        assert (torch.get_num_threads(), threads_of_a_new_thread()) == (5, 5)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(("threads", "streams", "each"), [(1, 1, 1), (7, 1, 7), (7, 2, 3), (1, 2, 1)])
def test_streams_share_the_threads(
    engine_of: Open, batch: Batch, threads: int, streams: int, each: int
) -> None:
    engine = engine_of(threads=threads, streams=streams)
    assert engine.streams == streams
    engine.run(batch)
    assert engine._workers.submit(torch.get_num_threads).result() == each
    other = engine_of(threads=11)
    other.run(batch)
    assert other._workers.submit(torch.get_num_threads).result() == 11
    assert engine._workers.submit(torch.get_num_threads).result() == each


def test_the_callers_autocast_and_gradients_do_not_reach_the_engine(engine_of: Open, batch: Batch) -> None:
    engine = engine_of()
    wanted = engine.run(batch)
    with torch.autocast("cpu", torch.bfloat16), torch.enable_grad():
        np.testing.assert_array_equal(engine.run(batch), wanted)


def too_much(*_: Any) -> torch.Tensor:
    return torch.empty(1 << 60, dtype=torch.uint8)


def raising(error: Exception) -> Callable[..., Any]:
    def fail(*_: Any) -> Any:
        raise error

    return fail


@pytest.mark.parametrize(
    "failing",
    [
        too_much,
        raising(torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2 GiB")),
        raising(MemoryError()),
        raising(RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes.")),
        raising(RuntimeError("std::bad_alloc")),
    ],
    ids=["allocator", "cuda", "python", "windows", "c++"],
)
def test_out_of_memory_is_told_apart_and_the_engine_goes_on(
    engine_of: Open, batch: Batch, failing: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_of()
    wanted = engine.run(batch)
    with monkeypatch.context() as broken:
        broken.setattr(torch.nn.functional, "linear", failing)
        with pytest.raises(EngineMemoryError) as caught:
            engine.run(batch)
    assert "\n" not in str(caught.value)
    np.testing.assert_array_equal(engine.run(batch), wanted)


def test_any_other_failure_is_one_line(
    engine_of: Open, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_of()
    monkeypatch.setattr(torch.nn.functional, "linear", raising(RuntimeError("no kernel\nhere")))
    with pytest.raises(EngineError, match=r"^torch failed: no kernel here$") as caught:
        engine.run(batch)
    assert not isinstance(caught.value, EngineMemoryError)


def test_weights_that_do_not_fit_the_device_are_an_engine_error(
    engine_of: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "tensor", too_much)
    with pytest.raises(EngineError, match=r"cannot open the network: .*allocate memory") as caught:
        engine_of()
    assert "\n" not in str(caught.value)


def test_a_row_without_tokens_is_an_engine_error(engine_of: Open, batch: Batch) -> None:
    batch.attention_mask[1] = 0
    with pytest.raises(EngineError, match="without tokens"):
        engine_of().run(batch)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("input_ids", "vocab_size", "no token {0}; the model has {0}"),
        ("token_type_ids", "type_vocab_size", "no type {0}; the model has {0}"),
        ("attention_mask", "max_position_embeddings", "a row of 72 tokens; the model reads {0}"),
    ],
)
def test_ids_are_checked_before_torch_sees_them(
    model: Callable[..., Path],
    tmp_path: Path,
    name: str,
    value: str,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bundle = opened(model("bert"))
    engine = TorchEngine(bundle, FIRST, Options("fp32", 1, 1, "cpu", tmp_path))
    monkeypatch.setattr(torch.nn.functional, "embedding", raising(AssertionError("too late")))
    batch = batch_of(bundle, some_rows(bundle, LENGTHS))
    getattr(batch, name)[0, 0] = bundle.network[value]
    with pytest.raises(EngineError, match=said.format(bundle.network[value])):
        engine.run(batch)
    engine.close()


def test_a_padding_token_inside_a_text_has_the_oracles_position(
    model: Callable[..., Path], tmp_path: Path
) -> None:
    bundle = opened(model("roberta"))
    batch = batch_of(bundle, some_rows(bundle, LENGTHS))
    batch.input_ids[0, 4] = bundle.network["pad_token_id"]
    spec = NetworkSpec.from_config(bundle.network, bundle.ref)
    wanted = run_numpy(NumpyOps(load_weights(bundle.weights, spec, bundle.ref)), batch, BOTH)
    engine = TorchEngine(bundle, BOTH, Options("fp32", 1, 1, "cpu", tmp_path))
    np.testing.assert_allclose(engine.run(batch), wanted, atol=1e-5)
    engine.close()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_torch_does_not_see_is_named(engine_of: Open) -> None:
    with pytest.raises(EngineError, match="sees no cuda device"):
        engine_of(device="cuda")


@pytest.mark.slow
def test_bf16_agrees_with_fp32_on_real_texts(data: Path) -> None:
    lines = (data / "emotion" / "validation.tsv").read_text("utf-8").splitlines()[1:]
    texts = [line.split("\t")[0] for line in lines]
    labels, scores = {}, {}
    for precision in ("fp32", "bf16"):
        with Classifier.load("emotion", engine="torch", precision=precision, threads=1) as classifier:
            heads = [next(iter(answer.heads.values())) for answer in classifier.classify(texts)]
        labels[precision] = np.array([head.label for head in heads])
        scores[precision] = np.array([list(head.scores.values()) for head in heads])
    assert (labels["fp32"] == labels["bf16"]).mean() >= 0.999
    assert np.abs(scores["fp32"] - scores["bf16"]).mean() <= 5e-4
