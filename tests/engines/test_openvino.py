"""OpenVINO's own: it tells nobody, it sees few shapes of single rows, and its streams start together."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.models import batch_of, opened, some_rows
from tonewise import Classifier
from tonewise.config import EngineConfig, StoreConfig
from tonewise.engines import open_engine
from tonewise.errors import EngineError, EngineMemoryError
from tonewise.store import Bundle

pytest.importorskip("openvino", reason="OpenVINO is not installed")

from tonewise.engines import openvino
from tonewise.engines.openvino import OpenVinoEngine

Make = Callable[..., Path]


def start(bundle: Bundle, cache: Path, streams: int = 1) -> OpenVinoEngine:
    engine = open_engine(
        bundle,
        ("first",),
        EngineConfig("openvino", "fp32", threads=2, streams=streams),
        StoreConfig(cache_dir=str(cache)),
    )
    assert isinstance(engine, OpenVinoEngine)
    return engine


def run(program: str, *arguments: str | Path, **variables: str) -> str:
    """What a fresh process prints; it fails when that hangs."""
    command = [sys.executable, "-c", program, *map(str, arguments)]
    environment = {**os.environ, **variables}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


QUIET = """
import os, sys, threading
from pathlib import Path
before = threading.active_count()
import tonewise.engines.openvino as ours
assert ours.ov.__version__
print("modules", *[name for name in sys.modules if name.startswith("openvino_telemetry")])
print("threads", threading.active_count() - before)
print("children", Path(f"/proc/self/task/{os.getpid()}/children").read_text())
import openvino_telemetry
print("importable", openvino_telemetry.__name__)
"""


def test_importing_it_reports_nothing_to_anybody(tmp_path: Path) -> None:
    pytest.importorskip("openvino_telemetry", reason="openvino does not bring its telemetry any more")
    told = run(QUIET, HOME=str(tmp_path)).splitlines()
    assert [line.strip() for line in told] == [
        "modules",
        "threads 0",
        "children",
        "importable openvino_telemetry",
    ]
    assert list(tmp_path.iterdir()) == [], "nothing was written into the user's folder"


def test_single_rows_are_padded_to_few_widths_and_batches_are_not(model: Make, tmp_path: Path) -> None:
    bundle = opened(model("distilbert"))
    rows = some_rows(bundle, range(1, 65))
    engine = start(bundle, tmp_path)
    for i in range(len(rows)):
        assert engine.run(batch_of(bundle, rows, [i])).shape == (1, 1, 32)
    tally = engine.buckets.tally()
    assert {count for count, _ in tally.shapes} == {1}
    assert {width for _, width in tally.shapes} == set(engine.buckets.widths)
    assert len(tally.shapes) < 40
    assert tally.bucket > 0
    for width in (3, 17, 33):
        batch = batch_of(bundle, some_rows(bundle, [width] * 3))
        assert engine.run(batch).shape == (3, 1, 32)
        assert (3, width) in engine.buckets.tally().shapes
    assert engine.buckets.tally().bucket == tally.bucket, "batches are not padded"
    engine.close()


def test_a_warm_classifier_meets_no_new_shape_in_a_single_text(model: Make, tmp_path: Path) -> None:
    options = {"engine": "openvino", "precision": "fp32", "cache_dir": str(tmp_path)}
    with Classifier.load(model("distilbert"), **options) as classifier:
        engine = classifier.engine
        assert isinstance(engine, OpenVinoEngine)
        classifier.warm()
        seen = engine.buckets.tally().shapes
        for count in (1, 5, 20, 62):
            classifier.classify(" ".join(["sad"] * count))
        assert engine.buckets.tally().shapes == seen


TOGETHER = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
import numpy as np
from tests.models import batch_of, opened, some_rows
from tonewise.config import EngineConfig, StoreConfig
from tonewise.engines import open_engine

bundle, streams = opened(Path(sys.argv[1])), 4
config = EngineConfig("openvino", "fp32", threads=2, streams=streams)
batch = batch_of(bundle, some_rows(bundle, (5, 17, 30)))
for _ in range(3):
    engine = open_engine(bundle, ("first",), config, StoreConfig(cache_dir=sys.argv[2]))
    ready = Barrier(streams)
    def first(_):
        ready.wait()
        return engine.run(batch)
    with ThreadPoolExecutor(streams) as pool:
        states = list(pool.map(first, range(streams)))
    assert all(np.array_equal(states[0], one) for one in states)
    engine.close()
print("done")
"""


def test_threads_that_infer_first_at_the_same_time_do_not_wait_for_each_other(
    model: Make, tmp_path: Path
) -> None:
    folder = Path(__file__).parents[2]
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    assert run(TOGETHER, model("distilbert"), tmp_path, PYTHONPATH=path) == "done\n"


def test_every_stream_gives_the_same_bytes(model: Make, tmp_path: Path) -> None:
    bundle = opened(model("distilbert"))
    engine = start(bundle, tmp_path, streams=3)
    assert engine.streams == 3
    batch = batch_of(bundle, some_rows(bundle, (5, 17, 30)))
    wanted = engine.run(batch)
    for _ in range(5):  # each in its turn
        np.testing.assert_array_equal(engine.run(batch), wanted)
    engine.close()


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RuntimeError("Exception from src/x.cpp:\nstd::bad_alloc"), EngineMemoryError),
        (RuntimeError("could not allocate memory"), EngineMemoryError),
        (MemoryError(), EngineMemoryError),
        (RuntimeError("shapes do not fit"), EngineError),
    ],
)
def test_what_it_raises_is_an_error_of_one_line(
    model: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, kind: type[EngineError]
) -> None:
    bundle = opened(model("distilbert"))
    engine = start(bundle, tmp_path)

    class Broken:
        model_inputs = ()

        def infer(self, *told: object, **options: object) -> None:
            raise error

    engine._free.get()
    engine._free.put(Broken())
    with pytest.raises(EngineError, match=r"^OpenVINO failed: ") as caught:
        engine.run(batch_of(bundle, some_rows(bundle, [5])))
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)

    def refuse(*told: object) -> None:
        raise error

    monkeypatch.setattr(openvino, "_compile", refuse)
    with pytest.raises(EngineError, match=r"^OpenVINO failed: "):
        start(bundle, tmp_path)
