"""The jax engine compiles once per bucket, keeps its programs on disk, and says what it cannot do."""

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest

from tests.models import batch_of, opened, some_rows
from tonewise.batching import batches
from tonewise.config import BatchConfig
from tonewise.engines import jax as engine_of_jax
from tonewise.engines.base import Options
from tonewise.engines.jax import JaxEngine
from tonewise.engines.select import choose_threads
from tonewise.errors import EngineError, EngineMemoryError
from tonewise.store import Bundle

Make = Callable[..., Path]

SCRIPT = """
import hashlib, sys
from pathlib import Path
from tests.models import batch_of, opened, some_rows
from tonewise.engines.base import Options
from tonewise.engines.jax import JaxEngine
from tonewise.engines.select import choose_threads

bundle = opened(Path(sys.argv[1]))
options = Options("fp32", choose_threads(None), 1, "cpu", Path(sys.argv[2]))
engine = JaxEngine(bundle, ("first",), options)
states = engine.run(batch_of(bundle, some_rows(bundle, (5, 17, 30))))
print(hashlib.sha256(states.tobytes()).hexdigest())
"""


def engine_on(bundle: Bundle, cache: Path, *, threads: int | None = None) -> JaxEngine:
    return JaxEngine(
        bundle, ("first",), Options("fp32", threads or choose_threads(None), 1, "cpu", cache / "cache")
    )


def in_a_process_of_its_own(*arguments: Path, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT, *map(str, arguments)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout


def check_compilations(bundle: Bundle, engine: JaxEngine, lengths: list[int]) -> None:
    rows = some_rows(bundle, lengths)
    planned = list(batches(rows, 0, BatchConfig()))
    with ThreadPoolExecutor(3) as pool:
        for states, batch in zip(pool.map(engine.run, planned), planned, strict=True):
            assert states.shape == (len(batch), 1, 32)
    tally = engine.buckets.tally()
    assert engine.compilations == len(tally.shapes)
    assert tally.real == sum(lengths)
    assert len(tally.shapes) < len({batch.input_ids.shape for batch in planned})
    for batch in planned[::9]:
        engine.run(batch)
    assert engine.compilations == len(tally.shapes)


def test_mixed_lengths_compile_once_per_bucket(model: Make, tmp_path: Path) -> None:
    bundle = opened(model())
    lengths = np.random.default_rng(1).integers(20, 28, 400).tolist()
    check_compilations(bundle, engine_on(bundle, tmp_path), lengths)


@pytest.mark.slow
def test_five_thousand_texts_compile_once_per_bucket(model: Make, tmp_path: Path) -> None:
    bundle = opened(model(positions=512, layers=1))
    lengths = np.clip(np.random.default_rng(1).gamma(4, 6, 5000), 3, 512).astype(int).tolist()
    check_compilations(bundle, engine_on(bundle, tmp_path), lengths)


def test_models_of_one_shape_share_programs_and_keep_their_weights(model: Make, tmp_path: Path) -> None:
    bundles = [opened(model()), opened(model(seed=7))]
    engines = [engine_on(bundle, tmp_path) for bundle in bundles]
    batch = batch_of(bundles[0], some_rows(bundles[0], [9, 4]))
    first, second = (engine.run(batch) for engine in engines)
    assert np.abs(first - second).max() > 0.1
    np.testing.assert_array_equal(engines[0].run(batch), first)


def test_states_may_be_written_to(model: Make, tmp_path: Path) -> None:
    bundle = opened(model())
    states = engine_on(bundle, tmp_path).run(batch_of(bundle, some_rows(bundle, [9, 4])))
    states += 1


def test_programs_outlive_the_process(model: Make, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    first = in_a_process_of_its_own(model(), cache)
    (kept,) = [path for path in (cache / "jax").iterdir() if path.name.endswith("-cache")]
    written = kept.stat().st_mtime_ns
    assert in_a_process_of_its_own(model(), cache) == first
    assert [path for path in (cache / "jax").iterdir() if path.name.endswith("-cache")] == [kept]
    assert kept.stat().st_mtime_ns == written


def test_the_users_own_cache_of_programs_is_left_to_him(model: Make, tmp_path: Path) -> None:
    in_a_process_of_its_own(model(), tmp_path / "cache", JAX_COMPILATION_CACHE_DIR=str(tmp_path / "own"))
    assert not (tmp_path / "cache").exists()


def test_a_cache_that_cannot_be_written_costs_a_warning(
    model: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = jax.config.jax_compilation_cache_dir  # type: ignore[attr-defined]
    jax.config.update("jax_compilation_cache_dir", None)  # type: ignore[no-untyped-call]
    (tmp_path / "cache").write_text("a file, where a folder is wanted")
    try:
        engine_on(opened(model()), tmp_path)
    finally:
        jax.config.update("jax_compilation_cache_dir", before)  # type: ignore[no-untyped-call]
    (record,) = caplog.records
    assert "cannot be written (not a directory); JAX compiles at each start" in record.getMessage()


def test_threads_that_jax_cannot_be_told_are_warned_of(
    model: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    engine_on(opened(model()), tmp_path)
    assert not caplog.records
    engine_on(opened(model()), tmp_path, threads=choose_threads(None) + 1)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "JAX cannot be told to use" in record.getMessage()


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (
            jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory\nallocating 9 bytes"),
            EngineMemoryError,
        ),
        (MemoryError(), EngineMemoryError),
        (jax.errors.JaxRuntimeError("INTERNAL: what\nnow"), EngineError),
    ],
    ids=["exhausted", "python", "internal"],
)
def test_what_jax_raises_is_an_engine_error_of_one_line(
    model: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, kind: type
) -> None:
    def fail(*_: Any) -> Any:
        raise error

    bundle = opened(model())
    engine = engine_on(bundle, tmp_path)
    batch = batch_of(bundle, some_rows(bundle, [61]))
    with monkeypatch.context() as patched:
        patched.setattr(engine_of_jax, "_states", SimpleNamespace(lower=fail))
        with pytest.raises(EngineError, match=r"^JAX failed: .+$") as caught:
            engine.run(batch)
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)
    assert np.isfinite(engine.run(batch)).all()
