"""The tensorflow engine traces once per bucket, keeps quiet, and says what it cannot do."""

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.models import batch_of, opened, some_rows
from tonewise.batching import batches
from tonewise.config import BatchConfig
from tonewise.encoder.forward import NumpyOps, forward, run_numpy
from tonewise.encoder.weights import NetworkSpec, load_weights
from tonewise.engines import tensorflow as engine_of_tensorflow
from tonewise.engines.base import Options
from tonewise.engines.compiled import parameters
from tonewise.engines.tensorflow import TensorFlowEngine, TensorFlowOps
from tonewise.errors import EngineError, EngineMemoryError
from tonewise.store import Bundle, Pooling

Make = Callable[..., Path]
BOTH: tuple[Pooling, ...] = ("first", "mean")

SCRIPT = """
import os, sys
from pathlib import Path
from tests.models import batch_of, opened, some_rows
from tonewise.engines.base import Options
BEFORE
from tonewise.engines.tensorflow import TensorFlowEngine, tf

bundle = opened(Path(sys.argv[1]))
engine = TensorFlowEngine(bundle, ("first",), Options("fp32", 3, 1, "cpu", Path(sys.argv[2])))
engine.run(batch_of(bundle, some_rows(bundle, (5, 17, 30))))
threading = tf.config.threading
print(threading.get_intra_op_parallelism_threads(), threading.get_inter_op_parallelism_threads())
"""


def engine_on(bundle: Bundle, cache: Path) -> TensorFlowEngine:
    return TensorFlowEngine(bundle, ("first",), Options("fp32", 2, 1, "cpu", cache / "cache"))


def in_a_process_of_its_own(
    model: Path, cache: Path, before: str = "", **environment: str
) -> tuple[str, str]:
    """What it wrote to stdout and to stderr."""
    kept = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT.replace("BEFORE", before), str(model), str(cache)],
        env=kept | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    return done.stdout, done.stderr


def check_compilations(bundle: Bundle, engine: TensorFlowEngine, lengths: list[int]) -> None:
    rows = some_rows(bundle, lengths)
    planned = list(batches(rows, 0, BatchConfig()))
    with ThreadPoolExecutor(3) as pool:
        for states, batch in zip(pool.map(engine.run, planned), planned, strict=True):
            assert states.shape == (len(batch), 1, 32)
    tally = engine.buckets.tally()
    assert engine.compilations == len(tally.shapes)
    assert tally.real == sum(lengths)
    assert len(tally.shapes) < len({batch.input_ids.shape for batch in planned})


def test_mixed_lengths_are_traced_once_per_bucket(
    model: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    traced = []

    def counted(*arguments: Any) -> Any:
        traced.append(arguments)
        return forward(*arguments)

    monkeypatch.setattr(engine_of_tensorflow, "forward", counted)
    bundle = opened(model())
    engine = engine_on(bundle, tmp_path)
    check_compilations(bundle, engine, np.random.default_rng(1).integers(20, 28, 400).tolist())
    assert len(traced) == engine.compilations


@pytest.mark.slow
def test_five_thousand_texts_are_traced_once_per_bucket(model: Make, tmp_path: Path) -> None:
    bundle = opened(model(positions=512, layers=1))
    lengths = np.clip(np.random.default_rng(1).gamma(4, 6, 5000), 3, 512).astype(int).tolist()
    check_compilations(bundle, engine_on(bundle, tmp_path), lengths)


def test_stderr_stays_empty_and_the_threads_are_those_asked_for(model: Make, tmp_path: Path) -> None:
    assert in_a_process_of_its_own(model(), tmp_path) == ("3 1\n", "")


def test_who_sets_tensorflows_log_level_hears_it(model: Make, tmp_path: Path) -> None:
    _, told = in_a_process_of_its_own(model(), tmp_path, TF_CPP_MIN_LOG_LEVEL="0")
    assert told


@pytest.mark.parametrize(
    ("before", "stdout", "told"),
    [
        ("threading.set_intra_op_parallelism_threads(1)", "1 0\n", "keeps the 1 threads"),
        ("tf.constant(1)", "0 0\n", "has started with threads of its own; 3 cannot be set any more"),
    ],
    ids=["set", "started"],
)
def test_threads_that_the_program_has_fixed_are_left_and_warned_of(
    model: Make, tmp_path: Path, before: str, stdout: str, told: str
) -> None:
    lines = f"import tensorflow as tf; threading = tf.config.threading; {before}"
    found, stderr = in_a_process_of_its_own(model(), tmp_path, lines, TF_CPP_MIN_LOG_LEVEL="2")
    assert found == stdout
    assert told in stderr


@pytest.mark.parametrize("family", ["distilbert", "bert", "roberta"])
def test_the_operations_work_at_open_shapes(model: Make, family: str) -> None:
    bundle = opened(model(family))
    spec = NetworkSpec.from_config(bundle.network, bundle.ref)
    weights = load_weights(bundle.weights, spec, bundle.ref)
    ops = TensorFlowOps(spec, {name: tf.Variable(array) for name, array in parameters(weights).items()})
    ids = tf.TensorSpec([None, None], tf.int32)
    page = tf.function(lambda *inputs: forward(ops, spec, inputs, BOTH), input_signature=[ids] * 3)
    for lengths in ([5, 30, 12], [3]):
        batch = batch_of(bundle, some_rows(bundle, lengths))
        states = page(batch.input_ids, batch.attention_mask, batch.token_type_ids).numpy()
        np.testing.assert_allclose(states, run_numpy(NumpyOps(weights), batch, BOTH), atol=1e-5)
    assert page.experimental_get_tracing_count() == 1


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (tf.errors.ResourceExhaustedError(None, None, "OOM\nwhen allocating"), EngineMemoryError),
        (MemoryError(), EngineMemoryError),
        (tf.errors.InternalError(None, None, "what\nnow"), EngineError),
    ],
    ids=["exhausted", "python", "internal"],
)
def test_what_tensorflow_raises_is_an_engine_error_of_one_line(
    model: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, kind: type
) -> None:
    def fail(*_: Any) -> Any:
        raise error

    bundle = opened(model())
    engine = engine_on(bundle, tmp_path)
    batch = batch_of(bundle, some_rows(bundle, [61]))
    with monkeypatch.context() as patched:
        patched.setattr(engine_of_tensorflow, "forward", fail)
        with pytest.raises(EngineError, match=r"^TensorFlow failed: .+$") as caught:
            engine.run(batch)
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)
    assert np.isfinite(engine.run(batch)).all()
