"""An export is what the classifier answers, in the format's own runtime, or it is not there at all."""

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.doubles import MakeModel, write_bundle
from tests.export.conftest import Spoil
from tonewise import Classifier
from tonewise import export as room
from tonewise.config import StoreConfig
from tonewise.errors import (
    ConfigError,
    EngineError,
    LicenceError,
    MissingExtraError,
    ModelError,
    OutputError,
)
from tonewise.export import FORMATS, _writer, export
from tonewise.store import HeadSpec

TEXT = "a text"
FAMILIES = {"jax": ("distilbert",), "tensorflow": ("distilbert", "roberta")}  # slow to compile
CASES = [(to, family) for to in FORMATS for family in FAMILIES.get(to, ("distilbert", "bert", "roberta"))]
INT8 = ("onnx", "openvino")


def used(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What the Python in the folder's README answers, run from inside the folder."""
    code = (folder / "README.md").read_text().rpartition("```python\n")[2].partition("```")[0]
    names: dict[str, Any] = {}
    with monkeypatch.context() as patch:
        patch.chdir(folder)
        exec(code, names)
    return names


def outputs(names: dict[str, Any]) -> Any:
    found = names["answer"].logits.detach().numpy() if "answer" in names else names.get("logits")
    return names["embedding"] if found is None else found


@pytest.mark.parametrize(("to", "family"), CASES)
def test_the_readme_of_an_export_answers_as_the_classifier_does(
    to: str, family: str, model: MakeModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = model(family, layers=1)
    done = export(source, to, tmp_path / "out")
    assert done.folder == tmp_path / "out"
    assert done.proof.close_rows == done.proof.rows == 35
    assert done.proof.greatest_difference < 1e-5
    with Classifier.load(source, engine="reference") as classifier:
        wanted = classifier.logits([TEXT])["label"]
    np.testing.assert_allclose(outputs(used(done.folder, monkeypatch)), wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("to", "family"),
    [("onnx", "distilbert"), ("openvino", "roberta"), ("tensorflow", "distilbert"), ("jax", "roberta")],
)
def test_a_model_without_a_head_is_exported_as_its_embedding(
    to: str,
    family: str,
    bare: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = bare(family)
    done = export(folder, to, tmp_path / "out")
    with Classifier.load(folder, engine="reference") as classifier:
        wanted = classifier.embed([TEXT])
    np.testing.assert_allclose(outputs(used(done.folder, monkeypatch)), wanted, atol=1e-5)


@pytest.mark.parametrize("to", INT8)
def test_int8_is_the_network_rounded_by_the_ranges_of_the_bundle(
    to: str, ranged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = export(ranged, to, tmp_path / "out", precision="int8")
    assert done.proof.close_rows >= 25
    exact = export(ranged, to, tmp_path / "exact")
    rounded, plain = (outputs(used(one.folder, monkeypatch)) for one in (done, exact))
    assert 1e-4 < np.abs(rounded - plain).max() < 0.5


def test_int8_without_ranges_is_refused(model: MakeModel, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no activation ranges, which int8 needs"):
        export(model(), "onnx", tmp_path / "out", precision="int8")


@pytest.mark.parametrize(
    ("to", "layer"), [*((to, "layer.0.down") for to in FORMATS), ("onnx", "head.output")]
)
def test_a_wrong_weight_is_caught_and_nothing_is_left(
    to: str, layer: str, model: MakeModel, tmp_path: Path, spoil: Spoil
) -> None:
    spoil(to, layer)
    with pytest.raises(EngineError, match=r"the export, read again, is .* from the oracle"):
        export(model(layers=1), to, tmp_path / "below" / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("to", INT8)
def test_a_wrong_weight_is_caught_in_int8(to: str, ranged: Path, tmp_path: Path, spoil: Spoil) -> None:
    spoil(to, "layer.1.down")
    with pytest.raises(EngineError, match=r"0 of 35 rows come within 0\.0001; nothing was written"):
        export(ranged, to, tmp_path / "out", precision="int8")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("raised", "wanted", "told"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), OutputError, "out: the disk is full"),
        (RuntimeError("cannot write: No space left on device"), OutputError, "out: the disk is full"),
        (OSError(errno.EIO, os.strerror(errno.EIO)), OutputError, "out: input/output error"),
        (RuntimeError("a fault\nof its own"), EngineError, "^ONNX failed: a fault of its own$"),
        (KeyboardInterrupt("SIGTERM"), KeyboardInterrupt, "SIGTERM"),
    ],
)
def test_what_stops_an_export_is_told_and_nothing_is_left(
    raised: BaseException,
    wanted: type[BaseException],
    told: str,
    model: MakeModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def write(network: Any, folder: Path) -> None:
        (folder / "model.onnx").write_bytes(b"half")
        raise raised

    monkeypatch.setattr(_writer("onnx"), "write", write)
    with pytest.raises(wanted, match=told):
        export(model(), "onnx", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_several_heads_are_one_too_many_and_a_ref_picks_one(
    two_heads: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ModelError, match=r"one head, and this has mood, topic; name one, as in .*two#mood$"):
        export(two_heads, "onnx", tmp_path / "out")
    done = export(f"{two_heads}#topic", "onnx", tmp_path / "out")
    with Classifier.load(f"{two_heads}#topic", engine="reference") as classifier:
        wanted = classifier.logits([TEXT])["topic"]
    np.testing.assert_allclose(outputs(used(done.folder, monkeypatch)), wanted, atol=1e-5)
    config = json.loads((done.folder / "config.json").read_text())
    assert config["id2label"] == {"0": "food", "1": "work"}
    assert config["problem_type"] == "multi_label_classification"


def test_the_report_tells_the_source_the_head_the_versions_and_the_proof(
    model: MakeModel, tmp_path: Path
) -> None:
    done = export(model(), "onnx", tmp_path / "out")
    report = json.loads((done.folder / "tonewise-export.json").read_text())
    with Classifier.load(model(), engine="stub") as classifier:
        digest = classifier.bundle.digest
    assert report["source"] == {"ref": str(model()), "digest": digest, "licence": None, "data_terms": None}
    assert (report["to"], report["precision"], report["head"]["name"]) == ("onnx", "fp32", "label")
    assert (report["inputs"], report["output"]) == (["input_ids", "attention_mask"], "logits")
    assert set(report["versions"]) == {"tonewise", "onnx", "onnxruntime"}
    assert report["proof"]["greatest_difference"] == done.proof.greatest_difference


@pytest.mark.parametrize(
    ("to", "precision", "told"),
    [
        ("tflite", "fp32", "no format 'tflite'; there are: transformers, onnx, openvino, tensorflow, jax"),
        ("jax", "int8", "jax is not exported in int8; choose onnx or openvino"),
        ("onnx", "bf16", "onnx is not exported in bf16; there is fp32 and int8"),
    ],
)
def test_another_format_or_precision_is_refused(to: str, precision: Any, told: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=told):
        export("no model", to, tmp_path / "out", precision=precision)


@pytest.mark.parametrize(
    ("to", "extra"), [(to, kind.extra) for to, kind in FORMATS.items() if kind.extra is not None]
)
def test_a_missing_runtime_is_told_before_the_model_is_looked_for(
    to: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=rf"pip install 'tonewise\[{extra}\]'"):
        export("no model", to, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_the_licence_is_asked_as_for_a_run(model: MakeModel, tmp_path: Path) -> None:
    heads = {"own": HeadSpec(("a", "b"), "own")}
    folder = write_bundle(tmp_path / "bundle", model(), heads, licence="cc-by-nc-4.0")
    with pytest.raises(LicenceError, match=r"--accept-licences cc-by-nc-4\.0"):
        export(folder, "onnx", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    export(folder, "onnx", tmp_path / "out", store=StoreConfig(accept_licences=("cc-by-nc-4.0",)))
