"""Models to export: with ranges, without a head, with two; and one that is written wrongly."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.doubles import MakeModel, write_bundle
from tests.models import batch_of, changed, opened, some_rows
from tonewise.encoder.forward import NumpyOps, run_numpy
from tonewise.encoder.int8 import Ranges
from tonewise.encoder.weights import NetworkSpec, load_weights
from tonewise.export import _writer
from tonewise.export.network import Network
from tonewise.store import HeadSpec

Spoil = Callable[..., None]


@pytest.fixture(scope="session")
def ranged(model: MakeModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier with activation ranges, and with a channel that is smoothed."""
    source = opened(model())
    ranges = Ranges()
    ops = NumpyOps(
        load_weights(source.weights, NetworkSpec.from_config(source.network, ""), ""), observe=ranges.observe
    )
    run_numpy(ops, batch_of(source, some_rows(source, (5, 9, 20))), ("first",))
    found = ranges.found()
    smoothing = {"layer.0.up": {"3": 4.0}}
    kept = {name: pair for name, pair in found.ranges.items() if name != "layer.1.down"}
    return write_bundle(
        tmp_path_factory.mktemp("ranged") / "bundle",
        model(),
        dict(source.heads),
        activation_ranges=kept,
        smoothing=smoothing,
    )


@pytest.fixture(scope="session")
def bare(model: MakeModel, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """`bare("bert")`: an encoder without a head."""

    def make(family: str) -> Path:
        name = {"distilbert": "DistilBertModel", "roberta": "RobertaModel"}[family]
        to = tmp_path_factory.mktemp("bare") / "model"
        return changed(model(family, layers=1), to, config={"architectures": [name]})

    return make


@pytest.fixture
def two_heads(model: MakeModel, tmp_path: Path) -> Path:
    heads = {
        "mood": HeadSpec(("low", "high", "flat"), "classifier", dense="pre_classifier", activation="relu"),
        "topic": HeadSpec(("food", "work"), "topic", "multi_label_classification", "mean"),
    }
    return write_bundle(tmp_path / "two", model(), heads, licence="mit")


@pytest.fixture
def spoil(monkeypatch: pytest.MonkeyPatch) -> Spoil:
    """`spoil("onnx", "layer.1.down")`: what is written has one number of that layer's bias off by a tenth."""

    def arrange(to: str, layer: str) -> None:
        writer: Any = _writer(to)
        write = writer.write

        def wrong(network: Network, folder: Path) -> None:
            linear = network.weights.linears[layer]
            bias = linear.bias.copy()
            bias[0] += 0.1
            linears = {**network.weights.linears, layer: replace(linear, bias=bias)}
            write(replace(network, weights=replace(network.weights, linears=linears)), folder)

        monkeypatch.setattr(writer, "write", wrong)

    return arrange
