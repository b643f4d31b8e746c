"""What training begins with: encoder, tokenizer and heads as a model's folder has them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.doubles import MakeModel, write_bundle
from tests.models import FAMILIES, LABELS, as_stored_int8, changed, opened, tensors_of
from tests.train.moods import base_of, some
from tonewise.config import Config
from tonewise.encoder.forward import NumpyOps, run_numpy
from tonewise.encoder.weights import load_weights
from tonewise.errors import ConfigError, ModelError, RowError
from tonewise.source.example import Example
from tonewise.source.labelled import Labelled, read_labelled
from tonewise.store import HeadSpec
from tonewise.train.base import Base, counts
from tonewise.train.dropout import Dropout
from tonewise.train.network import HeadForm
from tonewise.train.parts import in_order


def own(base: Base, labels: tuple[str, ...] = LABELS) -> HeadForm:
    return replace(base.own_form("label"), labels=labels)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("stored", [False, True])
def test_the_network_is_that_of_the_folder(
    model: MakeModel, tmp_path: Path, family: str, stored: bool
) -> None:
    folder = model(family)
    if stored:
        folder = changed(folder, tmp_path / "stored", tensors=as_stored_int8(tensors_of(folder)))
    base = base_of(folder)
    rows, cut = base.rows(read_labelled(some(12)))
    assert cut == 0
    network = base.network([rows[:6], rows[6:]], Dropout(0.1))
    exact = NumpyOps(load_weights(opened(folder).weights, base.spec, ""), np.float64)
    for batch in in_order(rows, base.tokenizer.padding_id, 100):
        with torch.inference_mode():
            found = network(batch, ["first", "mean"])
        expected = run_numpy(exact, batch, ("first", "mean"))
        for i, pooling in enumerate(("first", "mean")):
            np.testing.assert_allclose(found[pooling].numpy(), expected[:, i], atol=1e-5)


def test_texts_are_cut_at_the_length_that_is_asked_for_or_at_the_models_limit(
    model: MakeModel,
) -> None:
    labelled = read_labelled([{"text": "happy " * n, "label": f"{n % 2}"} for n in (1, 5, 6, 7, 90)])
    short, whole = (Base.open(model(), Config(), length) for length in (8, None))
    rows, cut = short.rows(labelled)
    assert (max(len(row.input_ids) for row in rows), cut) == (8, 2)
    rows, cut = whole.rows(labelled)
    assert (max(len(row.input_ids) for row in rows), cut) == (64, 1)
    with pytest.raises(ConfigError, match="max_length is 900, but this model takes 64 tokens at most"):
        Base.open(model(), Config(), 900)
    with pytest.raises(ConfigError, match="max_length is 3; the least is 4"):
        Base.open(model(), Config(), 3)


def test_a_text_that_is_none_names_its_row(model: MakeModel) -> None:
    bad = Example(3, labels=("a",), where="moods.csv line 7")  # type: ignore[arg-type]
    targets = np.ones((1, 1), np.float32)
    with pytest.raises(RowError, match=r"moods\.csv line 7"):
        base_of(model()).rows(Labelled((bad,), ("a",), targets, "single"))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_head_of_the_same_labels_goes_on_in_their_order(model: MakeModel, family: str) -> None:
    told: list[str] = []
    base = base_of(model(family))
    order = ("anger", "sadness", "joy")
    head = base.head_for(own(base, order), Dropout(0.0), told.append)
    state = torch.from_numpy(np.random.default_rng(0).normal(0, 1, (5, 32)).astype(np.float32))
    before = base.own_head("label", Dropout(0.0))(state).detach().numpy()
    found = head(state).detach().numpy()
    np.testing.assert_array_equal(found, before[:, [LABELS.index(label) for label in order]])
    assert head.form.labels == order
    assert told == [f"goes on from the head 'label' of {base.bundle.ref}"]


@pytest.mark.parametrize(
    "change",
    [
        {"labels": ("joy", "anger")},
        {"labels": ("joy", "anger", "sadness", "fear")},
        {"problem_type": "multi_label_classification"},
        {"pooling": "mean", "dense": False, "activation": "none"},
    ],
)
def test_a_head_of_another_form_is_new_and_that_is_told(model: MakeModel, change: dict[str, object]) -> None:
    told: list[str] = []
    base = base_of(model())
    form = replace(own(base), **change)  # type: ignore[arg-type]
    head = base.head_for(form, Dropout(0.0), told.append)
    assert head.output.out_features == len(form.labels)
    size = f"a new head of {len(form.labels)} labels takes its place"
    assert told == [f"{base.bundle.ref} has 'label' (3 labels); {size}"]


def test_a_linear_head_of_the_same_labels_is_new(model: MakeModel, tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "own", model(), {"label": HeadSpec(LABELS, "own", pooling="mean")})
    base, told = base_of(folder), list[str]()
    head = base.head_for(base.own_form("label"), Dropout(0.0), told.append)
    assert not np.array_equal(head.tensors()["output.weight"], tensors_of(folder)["own.weight"])
    assert "takes its place" in told[0]


@pytest.mark.parametrize("architecture", ["BertModel", "BertForSequenceClassification"])
def test_a_new_bert_head_has_the_dense_layer_of_its_pre_training(
    model: MakeModel, tmp_path: Path, architecture: str
) -> None:
    base = base_of(changed(model("bert"), tmp_path / "base", config={"architectures": [architecture]}))
    form = base.new_form(("a", "b"), multi_label=False, pooling="first")
    assert (form.dense, form.activation) == (True, "tanh")
    found = base.new_head(form, Dropout(0.0)).tensors()
    for kind in ("weight", "bias"):
        np.testing.assert_array_equal(
            found[f"dense.{kind}"], tensors_of(model("bert"))[f"bert.pooler.dense.{kind}"]
        )


def test_a_new_head_is_linear_where_it_reads_the_mean_or_is_told_so(model: MakeModel) -> None:
    base = base_of(model())
    mean = base.new_form(("a", "b"), multi_label=True, pooling="mean")
    assert (mean.dense, mean.activation, mean.problem_type) == (False, "none", "multi_label_classification")
    linear = base.new_form(("a", "b"), multi_label=False, pooling="first", linear=True)
    assert (linear.dense, linear.pooling, linear.activation) == (False, "first", "none")
    dense = base.new_form(("a", "b"), multi_label=False, pooling="first")
    assert (dense.dense, dense.activation) == (True, "relu")


def test_a_missing_tensor_is_named(model: MakeModel, tmp_path: Path) -> None:
    tensors = tensors_of(model())
    del tensors["distilbert.embeddings.position_embeddings.weight"]
    folder = changed(model(), tmp_path / "less", tensors=tensors)
    with pytest.raises(ModelError, match="position_embeddings"):
        base_of(folder)


def test_rows_are_counted_by_label() -> None:
    assert counts(read_labelled(some(7))) == (3, 2, 2)
