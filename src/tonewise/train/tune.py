"""A study of recipes: what does best on held-out rows, tried in turn and kept on disk (Optuna)."""

import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from tonewise.errors import ConfigError, EngineError, EngineMemoryError, MissingExtraError, OutputError
from tonewise.store.files import reason
from tonewise.store.writing import check_new_folder
from tonewise.train.checkpoint import STATE
from tonewise.train.facts import Trial, Tuning
from tonewise.train.loop import Epoch, Moment, Stage
from tonewise.train.recipe import Recipe
from tonewise.train.run import STUDY, SUFFIX, Plan, Trained, beside, fit_and_publish, prepare
from tonewise.train.session import Session

try:
    import optuna
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )
    from optuna.trial import TrialState
    from sqlalchemy.exc import SQLAlchemyError
except ImportError as error:
    raise MissingExtraError(error.name or "optuna", "train") from None

NAME = "tonewise"
SEARCHED = ("learning_rate", "epochs", "batch_size", "label_smoothing", "frozen_layers", "layer_decay")
DRAWN = 5
"""Trials that are drawn evenly, the defaults among them, before those that went well tell where to look."""
FREE_EPOCHS, FREE_TRIALS = 1, 4
"""No trial is stopped in its first epoch, nor before so many others are finished."""

End = Literal["finished", "stopped", "diverged"]
Distribution = CategoricalDistribution | FloatDistribution | IntDistribution
Space = Mapping[str, Distribution]

optuna.logging.set_verbosity(optuna.logging.ERROR)  # what a user must know is told by us


def tune(plan: Plan, trials: int, study: Path | None = None, *, fixed: Collection[str] = ()) -> Trained:
    """Try `trials` recipes, train by the best of them and publish that, with `tuning.json` and a picture.

    The first trial has the defaults, so the best is never worse than they are on the held-out rows; further
    ones are drawn by a tree-structured Parzen estimator (Bergstra et al. 2011), and one that is behind the
    median of the others after an epoch is stopped. Searched are the knobs of SEARCHED but for those that
    are `fixed` or that the plan's recipe states. The study is kept in the SQLite file `study`; default:
    `OUTPUT.study.db`, which goes when the bundle is there. With `plan.resume` it goes on with what is there,
    to the same end as if it had not been interrupted.

    Raises as `train` does; ConfigError when nothing is left to search, OutputError for a study that is of
    another run or cannot be written, EngineError when every trial diverged.
    """
    if trials < 1:
        raise ConfigError(f"the number of trials is {trials}; the least is 1")
    check_new_folder(plan.output)
    place = study or beside(plan.output, STUDY)
    _check_place(plan, place)
    searched = _searched(plan.recipe, fixed)
    session = prepare(plan)
    first = session.settled(plan.recipe)
    space = _space(session, first, searched)
    identity = {**session.identity(first), **_ranges(space)}
    with _opened(place, identity, resume=plan.resume) as kept:
        session.auto_bf16 = kept.user_attrs.get("bf16")
        kept.set_user_attr("bf16", session.bf16(first))
        _search(kept, plan, session, first, space, trials)
        tuning = _tuning(kept)
    plan.tell(_told(tuning))
    best = replace(first, **tuning.trials[tuning.best].knobs)
    trained = fit_and_publish(plan, session, best, tuning)
    if study is None:
        place.unlink(missing_ok=True)
    return trained


def _check_place(plan: Plan, place: Path) -> None:
    """Refuse before the study what would be refused after it."""
    if "?" in str(place):
        raise ConfigError(f"a study cannot be kept in {place}; name a file without a question mark")
    checkpoints = beside(plan.output, SUFFIX)
    if not plan.resume and (checkpoints / STATE).is_file():
        raise OutputError(f"{checkpoints} holds an unfinished run; --resume continues it, or remove it")


def _searched(recipe: Recipe, fixed: Collection[str]) -> list[str]:
    if recipe.freeze_encoder:
        raise ConfigError("a frozen encoder leaves nothing to tune; leave out --freeze-encoder, or --tune")
    usual = Recipe()
    stated = {name for name in SEARCHED if getattr(recipe, name) != getattr(usual, name)}
    left = [name for name in SEARCHED if name not in stated.union(fixed)]
    if not left:
        raise ConfigError(f"all that --tune searches is given: {', '.join(SEARCHED)}; leave out one of them")
    return left


def _space(session: Session, first: Recipe, searched: Collection[str]) -> Space:
    """Where each knob may lie, around what it would be without a study."""
    epochs, size = first.epochs or 1, first.batch_size or 1
    layers = session.base.spec.layers
    space: dict[str, Distribution] = {
        "learning_rate": FloatDistribution(1e-5, 1e-3, log=True),
        "epochs": IntDistribution(max(1, epochs // 2), 2 * epochs),
        "batch_size": CategoricalDistribution((size // 2, size, 2 * size)),
        "label_smoothing": FloatDistribution(0.0, 0.2, step=0.05),
        "frozen_layers": IntDistribution(0, layers // 2),
        "layer_decay": FloatDistribution(0.7, 1.0, step=0.05),
    }
    return {name: space[name] for name in SEARCHED if name in searched}


def _ranges(space: Space) -> dict[str, str]:
    """The space as a study's file states it."""
    found = {}
    for name, one in space.items():
        told = (
            str(one.choices) if isinstance(one, CategoricalDistribution) else f"{one.low:g} to {one.high:g}"
        )
        found[f"search of {name}"] = told
    return found


@contextmanager
def _opened(place: Path, identity: Mapping[str, str], *, resume: bool) -> Iterator[optuna.Study]:
    """The study in its file. Raises OutputError for one of another run, and where it cannot be written."""
    new = not place.exists()
    if not new and not resume:
        raise OutputError(f"{place} holds a study already; --resume continues it, or remove it")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        storage = optuna.storages.RDBStorage(f"sqlite:///{place}")
    except OSError as error:
        raise OutputError(f"cannot use {place}: {reason(error)}") from None
    except (SQLAlchemyError, RuntimeError) as error:
        if new:
            place.unlink(missing_ok=True)
        raise OutputError(f"cannot use {place}: {_said(error)}") from None
    try:
        pruner = optuna.pruners.MedianPruner(FREE_TRIALS, FREE_EPOCHS + 1)
        study = optuna.create_study(
            storage=storage, study_name=NAME, pruner=pruner, direction="maximize", load_if_exists=True
        )
        _check_same(place, study, identity)
        yield study
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        raise OutputError(f"cannot write {place}: {_said(error)}") from None
    finally:
        storage.remove_session()
        storage.engine.dispose()


def _check_same(place: Path, study: optuna.Study, identity: Mapping[str, str]) -> None:
    known = study.user_attrs.get("identity")
    if known is None:
        study.set_user_attr("identity", dict(identity))
        return
    differing = sorted(name for name in known.keys() | identity if known.get(name) != identity.get(name))
    if differing:
        name = differing[0]
        told = f"{name} was {known.get(name)} and is {identity.get(name)}"
        raise OutputError(f"{place} holds another study: {told}; remove the file, or change it back")


def _said(error: Exception) -> str:
    return " ".join(str(error.__cause__ or error).split())[:200]


def _search(
    study: optuna.Study, plan: Plan, session: Session, first: Recipe, space: Space, trials: int
) -> None:
    for number in range(len(_ended(study)), trials):
        # A sampler for each trial, so that a study that was interrupted draws what it would have drawn.
        seed = (first.seed * 1_000_003 + number) % 2**32
        study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=DRAWN)
        if number == 0 and not study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            # A first trial that was interrupted has the defaults too, and is no reason not to try them.
            study.enqueue_trial({name: getattr(first, name) for name in space})
        trial = study.ask(dict(space))
        begun = time.monotonic()
        try:
            metric, end = _try(trial, plan, session, first, f"trial {number + 1} of {trials}")
        except BaseException:
            study.tell(trial, state=TrialState.FAIL)
            raise
        trial.set_user_attr("end", end)
        trial.set_user_attr("seconds", round(time.monotonic() - begun, 1))
        if metric is None:
            study.tell(trial, state=TrialState.PRUNED)
        else:
            study.tell(trial, metric)
        plan.tell(_told_trial(f"trial {number + 1} of {trials}", _ended(study)[-1]))


def _try(
    trial: optuna.Trial, plan: Plan, session: Session, first: Recipe, name: str
) -> tuple[float | None, End]:
    """Macro F1 of a trial's recipe; None where it did not come to its end."""
    recipe = replace(first, **_knobs(trial.params))

    def watch(moment: Moment) -> None:
        stage = name if moment.stage == "fit" else f"{name}, {moment.stage}"
        plan.watch(replace(moment, stage=stage))

    def on_epoch(epoch: Epoch) -> None:
        if epoch.metrics:  # none within cross-validation
            trial.report(epoch.metric, epoch.epoch)
            if epoch.epoch < (recipe.epochs or 1) and trial.should_prune():
                raise optuna.TrialPruned

    try:
        return session.run(recipe, Stage(watch=watch, on_epoch=on_epoch)).metric, "finished"
    except optuna.TrialPruned:
        return None, "stopped"
    except EngineMemoryError:
        raise
    except EngineError:  # the loss is no number any more
        return None, "diverged"


def _knobs(params: Mapping[str, Any]) -> dict[str, Any]:
    """As they are used and shown: four digits are finer than any effect."""
    return {name: float(f"{one:.4g}") if isinstance(one, float) else one for name, one in params.items()}


def _ended(study: optuna.Study) -> list[Trial]:
    """Trials in their order; those that were interrupted are none."""
    found = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
    return [
        Trial(
            {name: _knobs(one.params)[name] for name in SEARCHED if name in one.params},
            one.value if one.state == TrialState.COMPLETE else None,
            one.user_attrs["seconds"],
            one.user_attrs["end"],
        )
        for one in found
    ]


def _tuning(study: optuna.Study) -> Tuning:
    trials = _ended(study)
    finished = [place for place, one in enumerate(trials) if one.metric is not None]
    if not finished:
        raise EngineError(f"none of {len(trials)} trials learned anything; look at the data and the base")
    return Tuning(tuple(trials), max(finished, key=lambda place: trials[place].metric or 0.0))


def _told_trial(name: str, trial: Trial) -> str:
    came = trial.end if trial.metric is None else f"macro F1 {trial.metric:.4f}"
    knobs = ", ".join(f"{knob} {value:g}" for knob, value in trial.knobs.items())
    return f"{name}: {came} in {trial.seconds:.1f} s ({knobs})"


def _told(tuning: Tuning) -> str:
    best, first = tuning.trials[tuning.best], tuning.trials[0].metric
    against = "" if first is None else f", the defaults {first:.4f}"
    return (
        f"tuned: the best of {len(tuning.trials)} trials is number {tuning.best + 1}, macro F1 "
        f"{best.metric or 0.0:.4f}{against}; {tuning.count('stopped')} stopped early, "
        f"{tuning.count('diverged')} diverged, {tuning.seconds:.1f} s in all"
    )
