"""`train`: from labelled sets to a published bundle; every step in the order in which it happens."""

import platform
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypedDict, Unpack

from tonewise import __version__
from tonewise.config import Config
from tonewise.engines.machine import processor
from tonewise.errors import ConfigError
from tonewise.source.labelled import Labels
from tonewise.store import Bundle, open_bundle
from tonewise.store.writing import check_new_folder, copy_files, new_folder
from tonewise.train import facts
from tonewise.train.base import Base, counts
from tonewise.train.checkpoint import Checkpoints
from tonewise.train.loop import Moment, Stage
from tonewise.train.outcome import LEAST_ROWS
from tonewise.train.publish import (
    Learned,
    LearnedHead,
    finish,
    new_manifest,
    opens_in_transformers,
    with_ranges,
    write_folder,
)
from tonewise.train.recipe import Recipe
from tonewise.train.retain import Kept, read_old
from tonewise.train.session import Fitted, Session, stated
from tonewise.train.task import Task, read_task, told_skipped

BASE = "base"
HEAD = "label"
FEW_HELD = 50
SUFFIX, STUDY = ".training", ".study.db"
"""Beside the output: the folder where an unfinished run keeps its checkpoints, and the file of its study."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What the card says that no file of the run tells.

    name          of the bundle; default: that of its folder
    licence       of the bundle; default: the base's
    data_name     of the data set; default: its file's
    data_licence  of the labelled texts
    data_terms    what they may be used for, where that is restricted

    Of several heads `data_name` and `data_licence` are by head.
    """

    name: str | None = None
    licence: str | None = None
    data_name: str | Mapping[str, str] | None = None
    data_licence: str | Mapping[str, str] | None = None
    data_terms: str | None = None

    def name_of(self, head: str) -> str | None:
        """Of a head's data."""
        return self.data_name if isinstance(self.data_name, str) else (self.data_name or {}).get(head)

    def licence_of(self, head: str) -> str | None:
        """Of a head's data."""
        given = self.data_licence
        return given if isinstance(given, str) else (given or {}).get(head)

    def check(self, heads: Sequence[str]) -> None:
        """Raise ConfigError for a word about data that could be any head's, or none's."""
        for option, given in (("--data-name", self.data_name), ("--data-licence", self.data_licence)):
            if isinstance(given, str) and len(heads) > 1:
                raise ConfigError(f"{option} '{given}': of which head? write {option} {heads[0]}={given}")
            if isinstance(given, Mapping) and (unknown := given.keys() - set(heads)):
                raise ConfigError(f"{option} names '{min(unknown)}'; the heads are {', '.join(heads)}")


class Options(TypedDict, total=False):
    """What `train` takes beside data and output; each is told in `Plan`."""

    validation: Any
    heads: Mapping[str, Any]
    base: str | Path
    recipe: Recipe
    labels: Labels
    head_labels: Mapping[str, Labels]
    config: Config
    retain: tuple[str | Path, Any]
    resume: bool
    int8: bool
    terms: Terms
    tell: Callable[[str], None]
    watch: Callable[[Moment], None]


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """One training as it was asked for.

    data        one head's labelled set: a file or several, a frame, a data set, dicts or a `Labelled`
    validation  a set of its own to choose and measure on; default: a tenth of the data by hash of the text,
                and under 1,000 examples out-of-fold answers
    heads       several heads by name in place of `data`, each a set, or a (set, validation) pair
    head_labels those of a head whose file is written otherwise than `labels` says
    base        the model to begin with
    retain      (old model, its texts, labelled or not, or None): learn beside its heads without forgetting
                them; it is the base
    resume      go on where an unfinished run was left
    int8        fit activation ranges
    tell        is told what is found and done, a line each time
    watch       is shown each step
    """

    data: Any
    output: Path
    validation: Any = None
    heads: Mapping[str, Any] = field(default_factory=dict)
    base: str | Path = BASE
    recipe: Recipe = field(default_factory=Recipe)
    labels: Labels = field(default_factory=Labels)
    head_labels: Mapping[str, Labels] = field(default_factory=dict)
    config: Config = field(default_factory=Config)
    retain: tuple[str | Path, Any] | None = None
    resume: bool = False
    int8: bool = True
    terms: Terms = field(default_factory=Terms)
    tell: Callable[[str], None] = lambda told: None
    watch: Callable[[Moment], None] = lambda moment: None


def train(data: Any, output: str | Path, **options: Unpack[Options]) -> Bundle:
    """Fine-tune a base on labelled texts, and write the bundle that came of it to the new folder `output`.

    `options` are the fields of `Plan`. The bundle is calibrated on rows that were not learned from, has
    activation ranges for int8 and a card with all figures. An unfinished run leaves its checkpoints in
    `OUTPUT.training`, and `resume=True` goes on from there to the same weights.

    Raises InputError for data from which nothing sensible can be learned, ModelError and its kin for the
    base, ConfigError for options that contradict each other, EngineError when training diverges,
    OutputError when something cannot be written.
    """
    plan = Plan(data, Path(output), **options)
    done = run(plan)
    for line in told_outcomes(done.fitted):
        plan.tell(line)
    return done.bundle


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """What a training came to: the bundle, and the fit that it holds."""

    bundle: Bundle
    fitted: Fitted


def run(plan: Plan) -> Trained:
    """Train as planned. Raises as `train` does."""
    check_new_folder(plan.output)
    session = prepare(plan)
    return fit_and_publish(plan, session, session.settled(plan.recipe))


def fit_and_publish(
    plan: Plan, session: Session, recipe: Recipe, tuning: facts.Tuning | None = None
) -> Trained:
    """Train by a settled recipe and write the bundle, with the study that chose the recipe."""
    place = beside(plan.output, SUFFIX)
    checkpoints = Checkpoints(place, session.identity(recipe), resume=plan.resume)
    if plan.resume and not checkpoints.found:
        plan.tell(f"nothing to go on with in {place}: the run begins")
    if checkpoints.bf16 is not None:
        session.auto_bf16 = checkpoints.bf16
    checkpoints.bf16 = session.bf16(recipe)
    start = time.monotonic()
    fitted = session.run(recipe, Stage("fit", checkpoints, plan.watch))
    seconds = time.monotonic() - start if not fitted.fit.seconds else fitted.fit.seconds
    bundle = publish(plan, session, fitted, seconds, tuning)
    checkpoints.remove()
    return Trained(bundle, fitted)


def beside(output: Path, suffix: str) -> Path:
    """Where a run keeps what is not yet, or not only, its output."""
    return output.with_name(output.name + suffix)


def prepare(plan: Plan) -> Session:
    """Read, check and tokenize. Raises as `train` does."""
    plan.recipe.check_used()
    plan.terms.check(tuple(plan.heads) or (_only_head(plan),))
    tasks = list(_tasks(plan))
    for task in tasks:
        for line in _told(task, alone=len(tasks) == 1):
            plan.tell(line)
    ref = plan.retain[0] if plan.retain else plan.base
    if plan.retain and plan.base not in (BASE, ref):
        raise ConfigError(f"--retain {ref} is the base itself; leave out --base {plan.base}")
    base = Base.open(ref, plan.config, plan.recipe.max_length)
    kept = None
    if plan.retain:
        if plan.recipe.freeze_encoder or plan.recipe.lora_rank:
            raise ConfigError("--retain is for an encoder that learns; leave out --freeze-encoder and --lora")
        old = None if plan.retain[1] is None else read_old(plan.retain[1], plan.labels, plan.config)
        for line in told_skipped("old rows", old) if old else ():
            plan.tell(line)
        kept = Kept.of(base, [task.name for task in tasks], old)
    engine = plan.config.engine
    return Session(tasks, base, kept, engine.device, plan.tell, engine.threads)


def _told(task: Task, *, alone: bool) -> Iterable[str]:
    """What was found in a head's set, a line each."""
    of = "" if alone else f"{task.name}: "
    yield from (f"{of}{line}" for line in task.skipped)
    for finding in task.findings:
        rows = f" ({', '.join(finding.rows[:3])})" if finding.rows else ""
        yield f"{of}{finding.message}{rows}"


def _only_head(plan: Plan) -> str:
    """Its name: beside heads that are kept, that of the data where one is given."""
    told = plan.terms.data_name
    return told if plan.retain and isinstance(told, str) else HEAD


def _tasks(plan: Plan) -> Iterable[Task]:
    if not plan.heads:
        if plan.data is None:
            raise ConfigError("nothing to learn from: name a labelled file, or --head NAME=FILE")
        alone = plan.retain is None
        yield read_task(_only_head(plan), plan.data, plan.validation, plan.labels, plan.config, alone=alone)
        return
    if plan.data is not None or plan.validation is not None:
        raise ConfigError("give one set with its validation, or --head NAME=FILE for each head, not both")
    alone = len(plan.heads) == 1 and plan.retain is None
    for name, given in plan.heads.items():
        data, validation = given if isinstance(given, tuple) else (given, None)
        labels = plan.head_labels.get(name, plan.labels)
        yield read_task(name, data, validation, labels, plan.config, alone=alone)


def publish(
    plan: Plan, session: Session, fitted: Fitted, seconds: float, tuning: facts.Tuning | None = None
) -> Bundle:
    """Write the bundle: whole, or not at all. Raises OutputError."""
    terms, base = plan.terms, session.base
    learned = _learned(session, fitted)
    origin = {"tonewise": __version__, "base": Path(base.bundle.ref).name or base.bundle.ref}
    manifest = new_manifest(
        base,
        name=terms.name or plan.output.name,
        origin=origin,
        licence=terms.licence,
        data_terms=terms.data_terms,
    )
    with (
        new_folder(plan.output) as folder,
        tempfile.TemporaryDirectory(prefix=f"{folder.name}.", dir=folder.parent) as scratch,
    ):
        first, second = Path(scratch, "float"), Path(scratch, "int8")
        first.mkdir()
        manifest = write_folder(first, base, learned, manifest)
        texts = [text for task in session.tasks for text in task.learn.texts]
        unseen = [text for task in session.tasks if task.held is not None for text in task.held.texts]
        config = replace(plan.config, tokenizer=base.tokenizer.config)  # as texts were read in training
        ranges = with_ranges(first, second, (texts, unseen), config, plan.tell) if plan.int8 else None
        whole = open_bundle(second if ranges else first, str(plan.output))
        copy_files(whole, folder)
        card = _card(plan, session, fitted, learned, seconds, whole)
        compared = ranges.compared if ranges else 0
        agreement, has_int8 = whole.manifest.agreement, ranges is not None
        card = replace(card, agreement=agreement, agreement_rows=compared, has_int8=has_int8, tuning=tuning)
        for one in card.retained:
            figures = f"{one.before:.4f} → {one.after:.4f}"
            plan.tell(f"{one.head}, kept: {one.figure} {figures} ({one.rows:,} rows)")
        # The bundle without ranges was passed through: the parent is the base.
        stating = replace(whole.manifest, parent=manifest.parent)
        finish(folder, stating, card, stated(fitted))
    return open_bundle(plan.output, str(plan.output))


def _learned(session: Session, fitted: Fitted) -> Learned:
    learner = fitted.learner
    heads = {}
    for name in learner.numbers:
        outcome = fitted.outcomes.get(name)
        module = learner.head(name)
        if outcome is not None:
            heads[name] = LearnedHead(module.form, module.tensors(), outcome.temperature, outcome.thresholds)
        else:
            old = session.base.bundle.heads[name]
            fitted_before = (old.temperature, old.thresholds, old.abstain_below, old.mapping)
            heads[name] = LearnedHead(module.form, module.tensors(), *fitted_before)
    return Learned(learner.network.weights(), heads)


def told_outcomes(fitted: Fitted) -> Iterable[str]:
    """A line for each head: what it came to on held-out rows."""
    for name, outcome in fitted.outcomes.items():
        told = ", ".join(f"{one.name} {one.value:.4f}" for one in outcome.figures)
        errors = f"; ECE {outcome.ece[0].value:.4f} → {outcome.ece[1].value:.4f}" if outcome.ece else ""
        few = "; so few tell little" if outcome.rows < FEW_HELD else ""
        yield f"{name}: {told}{errors} ({outcome.rows:,} held-out rows{few})"


def _card(
    plan: Plan, session: Session, fitted: Fitted, learned: Learned, seconds: float, whole: Bundle
) -> facts.CardFacts:
    base, terms = session.base.bundle, plan.terms
    return facts.CardFacts(
        name=terms.name or plan.output.name,
        base=facts.Base(
            base.ref,
            base.digest,
            base.manifest.origin.get("hub"),
            base.manifest.licence,
            base.manifest.data_terms,
        ),
        heads=tuple(_head_facts(plan, session, fitted, task) for task in session.tasks),
        recipe=fitted.recipe.stated() | {"computed_in": fitted.computed_in},
        seed=fitted.recipe.seed,
        versions=_versions(),
        processor=processor(),
        threads=session.threads,
        seconds=seconds,
        max_length=session.base.tokenizer.max_length,
        limit=session.base.spec.max_length,
        licence=whole.manifest.licence,
        data_terms=whole.manifest.data_terms,
        in_transformers=opens_in_transformers(learned),
        retained=session.kept.report(fitted.learner) if session.kept else (),
        kept={
            name: (base.heads[name].problem_type, len(base.heads[name].labels))
            for name in (session.kept.heads if session.kept else ())
        },
    )


def _head_facts(plan: Plan, session: Session, fitted: Fitted, task: Task) -> facts.HeadFacts:
    outcome, done = fitted.outcomes[task.name], fitted.fit
    chosen = ["the temperature"] if outcome.rows >= LEAST_ROWS else []
    chosen += [] if outcome.thresholds is None else ["the thresholds"]
    if task.held is not None and done.history:
        chosen = ["the best epoch", *chosen]
    if task.held is not None and fitted.scores:
        chosen = ["whether the encoder learns", *chosen]
    data = facts.DataFacts(
        name=plan.terms.name_of(task.name) or (task.files[0].name if task.files else task.name),
        files=task.files,
        counts=counts(task.learn),
        rows=len(task.learn),
        held_rows=outcome.rows,
        split=task.split,
        split_name=task.split_name,
        chosen=tuple(chosen),
        fingerprint=task.given.fingerprint(),
        licence=plan.terms.licence_of(task.name),
        measured=None if plan.terms.name_of(task.name) else task.measured,
        cut=session.cut[task.name],
    )
    return facts.HeadFacts(
        name=task.name,
        labels=task.learn.names,
        problem_type=session.form(task, fitted.recipe).problem_type,
        data=data,
        figures=outcome.figures,
        temperature=outcome.temperature,
        thresholds=outcome.thresholds,
        ece=outcome.ece,
        by_label=outcome.by_label,
        confusion=outcome.confusion,
        reliability=outcome.reliability,
        precision="fp32",
        history=tuple(
            facts.Epoch(one.epoch, one.loss, one.metrics.get(task.name, float("nan")), one.rate)
            for one in done.history
        ),
        best=done.best if done.best and task.held is not None else None,
    )


def _versions() -> dict[str, str]:
    packages = ("torch", "numpy", "tokenizers", "scikit-learn")
    return {
        "python": platform.python_version(),
        "tonewise": __version__,
        **{name: version(name) for name in packages},
    }
