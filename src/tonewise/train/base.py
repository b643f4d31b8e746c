"""The model that training begins with: its encoder, its tokenizer, and the heads that it has already."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tonewise.config import Config, TokenizerConfig
from tonewise.encoder.naming import head_names
from tonewise.encoder.weights import Checkpoint, NetworkSpec, Weights, load_weights, read_head
from tonewise.errors import InputError, RowError
from tonewise.source.labelled import Labelled
from tonewise.store import Activation, Bundle, HeadSpec, Pooling, resolve
from tonewise.tokenizer import Row, Tokenizer, open_tokenizer
from tonewise.train.dropout import Dropout
from tonewise.train.network import HeadForm, HeadModule, Network

Floats = NDArray[np.float32]
POOLER_PLACES = ("bert.pooler.dense", "pooler.dense", "roberta.pooler.dense")
"""Where a bare encoder keeps the layer that its pre-training put before the output."""


@dataclass(frozen=True, slots=True, eq=False)
class Base:
    """A resolved bundle, ready to learn.

    cut  texts that were longer than `max_length` so far
    """

    bundle: Bundle
    spec: NetworkSpec
    weights: Weights
    tokenizer: Tokenizer

    @classmethod
    def open(cls, ref: str | Path, config: Config, max_length: int | None) -> "Base":
        """Resolve and read. Raises ModelError and its kin, for a missing tensor too.

        Raises ConfigError for a `max_length` that is more than it reads.
        """
        bundle = resolve(ref, config.store)
        spec = NetworkSpec.from_config(bundle.network, bundle.ref)
        weights = load_weights(bundle.weights, spec, bundle.ref)
        asked = TokenizerConfig(max_length=max_length or spec.max_length)
        tokenizer = open_tokenizer(bundle, asked, max_length=spec.max_length, types=spec.type_count > 1)
        return cls(bundle, spec, weights, tokenizer)

    def rows(self, labelled: Labelled) -> tuple[list[Row], int]:
        """Each text as one row of tokens, and how many were cut. Raises RowError for one that cannot be."""
        rows, cut = [], 0
        found = self.tokenizer.encode_each(labelled.texts)
        for example, encoding in zip(labelled.examples, found, strict=True):
            if isinstance(encoding, InputError):
                raise RowError(example.where, encoding)
            rows.append(encoding.rows[0])
            cut += encoding.truncated
        return rows, cut

    def network(self, rows: Iterable[Sequence[Row]], dropout: Dropout) -> Network:
        """The encoder as a module, for texts of these rows."""
        ids = {self.tokenizer.padding_id}
        for some in rows:
            for row in some:
                ids.update(row.input_ids)
        return Network(self.weights, np.array(sorted(ids), np.int64), dropout)

    @property
    def embedding_pooling(self) -> Pooling:
        """What its vectors are pooled by: the best guess at what a linear head reads well."""
        pooling: Pooling = self.bundle.manifest.embedding.get("pooling", "mean")
        return pooling

    def new_form(
        self, labels: tuple[str, ...], *, multi_label: bool, pooling: Pooling, linear: bool = False
    ) -> HeadForm:
        """A head of its family's form where it reads the first token; of the mean, or if told so, linear."""
        problem = "multi_label_classification" if multi_label else "single_label_classification"
        activation: Activation = head_names(self.spec.family).activation  # type: ignore[assignment]
        if pooling == "first" and not linear:
            return HeadForm(labels, problem, pooling, dense=True, activation=activation)  # type: ignore[arg-type]
        return HeadForm(labels, problem, pooling, dense=False, activation="none")  # type: ignore[arg-type]

    def new_head(self, form: HeadForm, dropout: Dropout) -> HeadModule:
        """A head that has learned nothing, but for the dense layer that a BERT was pre-trained with."""
        head = HeadModule(form, self.spec.hidden_size, dropout)
        if form.dense and form.activation == "tanh":
            checkpoint = Checkpoint(self.bundle.weights, self.bundle.ref)
            for name in POOLER_PLACES:
                if checkpoint.has(f"{name}.weight"):
                    found = read_head(self.bundle.weights, None, name, self.bundle.ref)
                    head.fill({f"dense.{kind}": found[f"output.{kind}"] for kind in ("weight", "bias")})
                    break
        return head

    def own_form(self, name: str) -> HeadForm:
        """A head that the base has."""
        spec = self.bundle.heads[name]
        dense = spec.dense is not None
        return HeadForm(spec.labels, spec.problem_type, spec.pooling, dense, spec.activation)

    def own_head(self, name: str, dropout: Dropout) -> HeadModule:
        """That head with what it has learned."""
        spec = self.bundle.heads[name]
        head = HeadModule(self.own_form(name), self.spec.hidden_size, dropout)
        head.fill(read_head(self.bundle.weights, spec.dense, spec.output, self.bundle.ref))
        return head

    def head_for(
        self, form: HeadForm, dropout: Dropout, tell: Callable[[str], None] = lambda told: None
    ) -> HeadModule:
        """The base's own head where it has one of this form and these labels; a new one else, which is told.

        A linear one is always new: it begins as a regression on the base's states.
        """
        for name, spec in self.bundle.heads.items():
            if form.dense and _continues(spec, form):
                head = self.own_head(name, dropout)
                tell(f"goes on from the head '{name}' of {self.bundle.ref}")
                return _permuted(head, form, spec)
        if self.bundle.heads:
            old = ", ".join(f"'{name}' ({len(one.labels)} labels)" for name, one in self.bundle.heads.items())
            tell(f"{self.bundle.ref} has {old}; a new head of {len(form.labels)} labels takes its place")
        return self.new_head(form, dropout)


def _continues(spec: HeadSpec, form: HeadForm) -> bool:
    same = (spec.problem_type, spec.pooling, spec.dense is not None, spec.activation)
    return set(spec.labels) == set(form.labels) and same == (
        form.problem_type,
        form.pooling,
        form.dense,
        form.activation,
    )


def _permuted(head: HeadModule, form: HeadForm, spec: HeadSpec) -> HeadModule:
    """The same head with its labels in the order of the form."""
    order = [spec.labels.index(label) for label in form.labels]
    tensors = head.tensors()
    head.form = form
    head.fill({name: tensors[name][order] for name in ("output.weight", "output.bias")})
    return head


def counts(labelled: Labelled) -> tuple[int, ...]:
    """Rows of each label."""
    return tuple(int(count) for count in labelled.gold.sum(axis=0))
