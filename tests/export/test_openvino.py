"""OpenVINO's files: the names that others look for, float32 kept, no word over the network."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.doubles import MakeModel
from tests.models import opened
from tonewise.errors import OutputError
from tonewise.export import export
from tonewise.export import openvino as writer
from tonewise.export.network import Network


def test_both_files_are_there_and_hold_the_weights_in_full(model: MakeModel, tmp_path: Path) -> None:
    network = Network.read(opened(model()), "fp32")
    writer.write(network, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"openvino_model.xml", "openvino_model.bin"}
    word = network.weights.tables["word"].dense()
    assert np.ascontiguousarray(word).tobytes() in (tmp_path / "openvino_model.bin").read_bytes()


def test_a_disk_too_full_is_called_so(
    model: MakeModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "disk_usage", lambda folder: SimpleNamespace(free=1000))
    with pytest.raises(OutputError, match="out: the disk is full"):
        export(model(), "openvino", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_its_telemetry_is_not_opened() -> None:
    code = "import sys, tonewise.export.openvino; print('openvino_telemetry' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert (done.stdout, done.stderr) == ("False\n", "")
