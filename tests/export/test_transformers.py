"""The Hugging Face folder: float32, transformers' own names, its tokens, and nothing beside them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.doubles import TEXTS, MakeModel
from tests.models import Theirs, as_stored_int8, changed, tensors_of
from tonewise import Classifier
from tonewise.errors import EngineError, ModelError
from tonewise.export import export
from tonewise.export import transformers as writer
from tonewise.export.network import Network


@pytest.mark.parametrize("family", ["distilbert", "xlm-roberta"])
def test_weights_stored_as_int8_become_float32_under_the_original_names(
    family: str, model: MakeModel, tmp_path: Path
) -> None:
    plain = tensors_of(model(family))
    stored = changed(model(family), tmp_path / "stored", tensors=as_stored_int8(plain))
    folder = export(stored, "transformers", tmp_path / "out").folder
    found = load_file(folder / "model.safetensors")
    assert found.keys() == plain.keys()
    assert {tensor.dtype for tensor in found.values()} == {np.dtype(np.float32)}
    with Classifier.load(stored, engine="reference") as ours, Classifier.load(folder) as again:
        wanted = ours.logits(TEXTS)["label"]
        np.testing.assert_allclose(again.logits(TEXTS)["label"], wanted, atol=1e-5)
        np.testing.assert_allclose(Theirs(folder).logits(TEXTS, 64), wanted, atol=1e-5)


def test_a_bare_encoder_keeps_how_it_embeds(bare: Callable[[str], Path], tmp_path: Path) -> None:
    source = bare("roberta")
    (source / "1_Pooling").mkdir()
    (source / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    folder = export(source, "transformers", tmp_path / "out").folder
    with Classifier.load(source) as ours, Classifier.load(folder) as again:
        assert again.bundle.manifest.embedding["pooling"] == "first"
        np.testing.assert_allclose(again.embed(TEXTS), ours.embed(TEXTS), atol=1e-5)


def test_a_head_that_transformers_has_no_place_for_is_refused(two_heads: Path, tmp_path: Path) -> None:
    told = r"first token, dense and relu; this has mean token, no dense layer\); export to onnx,"
    with pytest.raises(ModelError, match=told):
        export(f"{two_heads}#topic", "transformers", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("rename", "told"),
    [("classifier.bias", "misses the weights classifier.bias"), (None, "does not know the weights other")],
)
def test_a_weight_missing_or_unexpected_is_refused(
    rename: str | None, told: str, model: MakeModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = writer.write

    def wrong(network: Network, folder: Path) -> None:
        write(network, folder)
        path = folder / "model.safetensors"
        tensors = load_file(path)
        tensors["other"] = np.ones(3, np.float32)
        if rename:
            del tensors["other"], tensors[rename]
        save_file(tensors, path, {"format": "pt"})

    monkeypatch.setattr(writer, "write", wrong)
    with pytest.raises(EngineError, match=told):
        export(model(), "transformers", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_other_tokens_than_ours_are_refused(
    model: MakeModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = writer.write

    def wrong(network: Network, folder: Path) -> None:
        write(network, folder)
        words = (folder / "vocab.txt").read_text().replace("happy\nsad\n", "sad\nhappy\n")
        (folder / "vocab.txt").write_text(words)

    monkeypatch.setattr(writer, "write", wrong)
    with pytest.raises(EngineError, match="transformers makes other tokens of 'happy"):
        export(model(), "transformers", tmp_path / "out")
