"""The cache of built graphs is never needed and never believed: whatever befalls it, answers stay right."""

import errno
import hashlib
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.models import batch_of, changed, opened, some_rows, tensors_of
from tonewise import encoder
from tonewise.encoder import graph
from tonewise.encoder.int8 import Dialect, GraphPrecision, Quantization
from tonewise.engines import graph_cache
from tonewise.engines.base import Options
from tonewise.engines.graph_cache import cached_graph, quantization_of
from tonewise.engines.onnxruntime import OnnxRuntimeEngine
from tonewise.errors import EngineError, ModelError
from tonewise.store import Bundle, Pooling

Make = Callable[..., Path]
FIRST: tuple[Pooling, ...] = ("first",)

SCRIPT = """
import hashlib, sys
from pathlib import Path
from tests.models import batch_of, opened, some_rows
from tonewise.engines.base import Options
from tonewise.engines.onnxruntime import OnnxRuntimeEngine

bundle = opened(Path(sys.argv[1]))
if len(sys.argv) > 3:  # wait for the others, then all at once
    sys.stdout.write("ready\\n")
    sys.stdout.flush()
    sys.stdin.readline()
engine = OnnxRuntimeEngine(bundle, ("first",), Options("fp32", 1, 1, "cpu", Path(sys.argv[2])))
states = engine.run(batch_of(bundle, some_rows(bundle, (5, 17, 30))))
print(hashlib.sha256(states.tobytes()).hexdigest())
print(*[name for name in ("onnx", "torch", "transformers", "tonewise.encoder.graph") if name in sys.modules])
"""


def states_by(bundle: Bundle, cache: Path, precision: GraphPrecision = "fp32") -> NDArray[np.float32]:
    engine = OnnxRuntimeEngine(bundle, FIRST, Options(precision, 1, 1, "cpu", cache))
    states = engine.run(batch_of(bundle, some_rows(bundle, (5, 17, 30))))
    engine.close()
    return states


def entries(cache: Path) -> list[Path]:
    """All files under the cache, hidden ones too."""
    return sorted(path for path in cache.rglob("*") if path.is_file())


@pytest.fixture
def bundle(model: Make) -> Bundle:
    return opened(model("distilbert"))


@pytest.fixture
def right(bundle: Bundle, tmp_path: Path) -> NDArray[np.float32]:
    return states_by(bundle, tmp_path / "elsewhere")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """The warnings logged since the last call."""
    caplog.set_level(logging.INFO, "tonewise")

    def taken() -> list[str]:
        found = [record.getMessage() for record in caplog.records]
        caplog.clear()
        return found

    return taken


Warnings = Callable[[], list[str]]


def test_a_graph_is_built_once_and_then_read(
    bundle: Bundle, cache: Path, right: NDArray[Any], warnings: Warnings, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.testing.assert_array_equal(states_by(bundle, cache), right)
    assert len(entries(cache)) == 1
    monkeypatch.setattr(graph_cache, "_build", lambda *_: pytest.fail("built again"))
    np.testing.assert_array_equal(states_by(bundle, cache), right)
    assert warnings() == []


def test_a_cache_that_was_deleted_is_filled_again(
    bundle: Bundle, cache: Path, right: NDArray[Any], warnings: Warnings
) -> None:
    states_by(bundle, cache)
    for path in entries(cache):
        path.unlink()
    (cache / "graphs").rmdir()
    cache.rmdir()
    np.testing.assert_array_equal(states_by(bundle, cache), right)
    assert len(entries(cache)) == 1
    assert warnings() == []


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), cut=st.booleans())
def test_a_cut_or_altered_entry_is_built_again_with_one_warning(
    bundle: Bundle,
    cache: Path,
    right: NDArray[Any],
    warnings: Warnings,
    place: float,
    bit: int,
    cut: bool,
) -> None:
    states_by(bundle, cache)
    (path,) = entries(cache)
    whole = path.read_bytes()
    at = int(place * len(whole))
    path.write_bytes(whole[:at] if cut else whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :])
    warnings()
    np.testing.assert_array_equal(states_by(bundle, cache), right)
    assert warnings() == [f"the cached graph {path} is damaged; it is built again"]
    assert path.read_bytes() == whole
    np.testing.assert_array_equal(states_by(bundle, cache), right)
    assert warnings() == []


def test_a_file_with_more_at_its_end_is_damaged(
    bundle: Bundle, cache: Path, right: NDArray[Any], warnings: Warnings
) -> None:
    states_by(bundle, cache)
    (path,) = entries(cache)
    path.write_bytes(path.read_bytes() + b"\0")
    np.testing.assert_array_equal(states_by(bundle, cache), right)
    assert len(warnings()) == 1


def test_a_cache_that_cannot_be_made_costs_one_warning(
    bundle: Bundle, tmp_path: Path, right: NDArray[Any], warnings: Warnings
) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = tmp_path / "file" / "cache"
    np.testing.assert_array_equal(states_by(bundle, cache), right)
    (message,) = warnings()
    assert message.startswith(f"the graph cache {cache} cannot be written (not a directory)")


def test_a_read_only_cache_costs_one_warning(
    bundle: Bundle, cache: Path, right: NDArray[Any], warnings: Warnings, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening = Path.open

    def refuse(self: Path, mode: str = "r", *args: Any, **options: Any) -> Any:
        if "r" not in mode and cache in self.parents:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(self))
        return opening(self, mode, *args, **options)

    monkeypatch.setattr(Path, "open", refuse)
    np.testing.assert_array_equal(states_by(bundle, cache), right)
    (message,) = warnings()
    assert "cannot be written (read-only file system)" in message
    assert entries(cache) == []


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="modes do not bind this user")
def test_a_folder_without_the_right_to_write_costs_one_warning(
    bundle: Bundle, cache: Path, right: NDArray[Any], warnings: Warnings
) -> None:
    cache.mkdir(mode=0o500)
    np.testing.assert_array_equal(states_by(bundle, cache), right)
    (message,) = warnings()
    assert "cannot be written (permission denied)" in message


def test_a_full_disk_costs_one_warning_and_leaves_nothing_behind(
    bundle: Bundle, cache: Path, right: NDArray[Any], warnings: Warnings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        np.testing.assert_array_equal(states_by(bundle, cache), right)
    (message,) = warnings()
    assert "cannot be written (the disk is full)" in message
    assert entries(cache) == []
    np.testing.assert_array_equal(states_by(bundle, cache), right)
    assert len(entries(cache)) == 1


def test_a_folder_in_an_entrys_place_costs_one_warning(
    bundle: Bundle, cache: Path, right: NDArray[Any], warnings: Warnings
) -> None:
    states_by(bundle, cache)
    (path,) = entries(cache)
    path.unlink()
    path.mkdir()
    np.testing.assert_array_equal(states_by(bundle, cache), right)
    (message,) = warnings()
    assert "cannot be written (is a directory)" in message
    assert entries(cache) == []


def test_a_model_that_cannot_be_built_leaves_no_entry(model: Make, tmp_path: Path, cache: Path) -> None:
    tensors = tensors_of(model("bert"))
    del tensors["bert.encoder.layer.1.output.dense.weight"]
    holed = opened(changed(model("bert"), tmp_path / "holed", tensors=tensors))
    with pytest.raises(ModelError, match=r"no tensor 'bert\.encoder\.layer\.1\.output\.dense\.weight'"):
        states_by(holed, cache)
    assert entries(cache) == []


def test_a_graph_that_the_runtime_does_not_open_is_an_engine_error(bundle: Bundle, cache: Path) -> None:
    """A whole entry of another program: the hash is right, the content is no graph."""
    states_by(bundle, cache)
    (path,) = entries(cache)
    path.write_bytes(graph_cache.MAGIC + hashlib.sha256(b"nonsense").digest() + b"nonsense")
    with pytest.raises(EngineError, match="ONNX Runtime cannot open the graph") as caught:
        states_by(bundle, cache)
    assert "\n" not in str(caught.value)


def test_another_digest_pooling_precision_or_dialect_is_another_entry(model: Make, cache: Path) -> None:
    one = opened(model("distilbert"))
    other = opened(model("distilbert", seed=1))
    manifest = replace(one.manifest, activation_ranges={"layer.0.up": (-3.0, 3.0)})
    ranged = replace(one, manifest=manifest, digest=manifest.digest)
    asked: list[tuple[Bundle, tuple[Pooling, ...], GraphPrecision, Dialect]] = [
        (one, ("first",), "fp32", "onnxruntime"),
        (one, ("mean",), "fp32", "onnxruntime"),
        (one, ("first", "mean"), "fp32", "onnxruntime"),
        (one, ("mean", "first"), "fp32", "onnxruntime"),
        (one, ("first",), "int8", "onnxruntime"),
        (one, ("first",), "fp32", "standard"),
        (other, ("first",), "fp32", "onnxruntime"),
        (ranged, ("first",), "int8", "onnxruntime"),
        (ranged, ("first",), "int8", "standard"),
    ]
    graphs = [cached_graph(*each, cache) for each in asked]
    assert len(set(graphs)) == len(asked)
    assert len(entries(cache)) == len(asked)
    assert [cached_graph(*each, cache) for each in asked] == graphs


def test_what_a_manifest_states_of_activations_is_what_the_graph_is_built_with(bundle: Bundle) -> None:
    manifest = replace(
        bundle.manifest,
        activation_ranges={"layer.0.up": (-3.0, 3.0)},
        smoothing={"layer.0.up": {"0": 4.0, "31": 8.0}},
    )
    wanted = Quantization({"layer.0.up": (-3.0, 3.0)}, {"layer.0.up": {0: 4.0, 31: 8.0}})
    assert quantization_of(manifest) == wanted


def test_another_writer_of_graphs_builds_anew(
    bundle: Bundle, cache: Path, monkeypatch: pytest.MonkeyPatch, warnings: Warnings
) -> None:
    states_by(bundle, cache)
    monkeypatch.setattr(graph_cache, "_writers", lambda: "changed")
    states_by(bundle, cache)
    assert len(entries(cache)) == 2
    assert warnings() == []


def test_threads_that_build_at_once_are_all_right(
    bundle: Bundle, cache: Path, right: NDArray[Any], warnings: Warnings
) -> None:
    with ThreadPoolExecutor(4) as pool:
        for states in pool.map(lambda _: states_by(bundle, cache), range(8)):
            np.testing.assert_array_equal(states, right)
    assert len(entries(cache)) == 1
    assert warnings() == []


def _start(bundle: Bundle, cache: Path, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(bundle.folder), str(cache), *more],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )


def _outcome(process: subprocess.Popen[str]) -> tuple[str, list[str]]:
    """The hash of the states, and the modules that were imported."""
    out, told = process.communicate(timeout=120)
    assert process.returncode == 0, told
    assert told == ""
    states, modules = out.splitlines()
    return states, modules.split()


def test_processes_that_build_at_once_are_all_right_and_a_hit_needs_no_onnx(
    bundle: Bundle, cache: Path, right: NDArray[Any]
) -> None:
    wanted = hashlib.sha256(right.tobytes()).hexdigest()
    builders = [_start(bundle, cache, "wait") for _ in range(2)]
    for process in builders:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in builders:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in builders:
        assert _outcome(process) == (wanted, ["onnx", "tonewise.encoder.graph"]), "without torch"
    assert len(entries(cache)) == 1
    assert _outcome(_start(bundle, cache)) == (wanted, []), "a hit imports neither onnx nor its writer"


def test_a_change_of_the_code_that_writes_graphs_finds_none_that_it_wrote_before(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    copy = tmp_path / "encoder"
    shutil.copytree(Path(graph.__file__).parent, copy)
    before = graph_cache._writers.__wrapped__()
    monkeypatch.setattr(encoder, "__file__", str(copy / "__init__.py"))
    assert graph_cache._writers.__wrapped__() == before
    with (copy / "graph.py").open("a") as file:
        file.write("# changed\n")
    assert graph_cache._writers.__wrapped__() != before
