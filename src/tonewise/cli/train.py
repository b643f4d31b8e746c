"""`tonewise train`: what the options mean, the progress bar, signals, and the words at the end."""

import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from threading import current_thread, main_thread
from typing import Any

from tonewise.config import Config
from tonewise.errors import ConfigError
from tonewise.jobs.stopping import Stopped
from tonewise.source.inputs import find_inputs
from tonewise.source.labelled import Labels
from tonewise.train import Plan, Recipe, Terms
from tonewise.train.checkpoint import STATE
from tonewise.train.loop import Moment
from tonewise.train.run import BASE, STUDY, SUFFIX, Trained, beside, run, told_outcomes

Tell = Callable[[str], None]
Watch = Callable[[Moment], None]


@dataclass(frozen=True, slots=True)
class Wish:
    """The options of the command that are neither settings nor about labels; `Plan` tells of each.

    recipe  knobs that were given
    terms   what the card is to say
    """

    data: tuple[str, ...]
    output: str
    validation: str | None
    heads: tuple[str, ...]
    multi_heads: tuple[str, ...]
    head_validation: tuple[str, ...]
    base: str | None
    retain: str | None
    retain_data: str | None
    resume: bool
    tune: int | None
    study: str | None
    no_int8: bool
    recipe: Mapping[str, Any]
    terms: Mapping[str, Any]

    @classmethod
    def taken_from(cls, options: dict[str, Any]) -> "Wish":
        """Take them out of all options of the command, which leaves settings."""
        knobs = {one.name: options.pop(one.name) for one in fields(Recipe) if one.name in options}
        recipe = {name: value for name, value in knobs.items() if value is not None}
        terms = {one.name: options.pop(one.name) for one in fields(Terms)}
        several = bool(options["heads"] or options["multi_heads"])
        for name in ("data_name", "data_licence"):
            terms[name] = _of_data(f"--{name.replace('_', '-')}", terms[name], by_head=several)
        names = {one.name for one in fields(cls)} - {"recipe", "terms"}
        return cls(**{name: options.pop(name) for name in names}, recipe=recipe, terms=terms)


def train_model(wish: Wish, config: Config, labels: Labels) -> None:
    """Train as was wished, and tell.

    Raises as `tonewise.train.train` does, and Stopped, which says how to go on, when a signal ends the run.
    """
    if wish.study is not None and wish.tune is None:
        raise ConfigError("--study keeps the trials of --tune; add --tune N, or leave it out")
    plan = _plan(wish, config, labels)
    with _stoppable(plan.output, wish), _followed() as (tell, watch):
        plan = replace(plan, tell=tell, watch=watch)
        done = run(plan) if wish.tune is None else _tuned(plan, wish)
    _show(done, plan.output)


def _tuned(plan: Plan, wish: Wish) -> Trained:
    from tonewise.train.tune import tune

    study = None if wish.study is None else Path(wish.study)
    return tune(plan, wish.tune or 0, study, fixed=wish.recipe.keys())


def _plan(wish: Wish, config: Config, labels: Labels) -> Plan:
    heads, head_labels = _heads(wish, config, labels)
    if wish.retain_data is not None and wish.retain is None:
        raise ConfigError("--retain-data is of the model that --retain names; add that, or leave it out")
    recipe = Recipe(**{"max_length": config.tokenizer.max_length, **wish.recipe})
    return Plan(
        _files(wish.data, config) if wish.data else None,
        Path(wish.output),
        validation=None if wish.validation is None else _files([wish.validation], config),
        heads=heads,
        base=wish.base or BASE,
        recipe=recipe,
        labels=labels,
        head_labels=head_labels,
        config=config,
        retain=_retained(wish),
        resume=wish.resume,
        int8=not wish.no_int8,
        terms=Terms(**wish.terms),
    )


def _retained(wish: Wish) -> tuple[str, str | None] | None:
    """The old model and its texts, which may be told in one word: REF:FILE."""
    if wish.retain is None:
        return None
    ref, colon, file = wish.retain.rpartition(":")
    # a folder's name may have a colon, and so has a drive of Windows
    if not colon or len(ref) < 2 or Path(wish.retain).exists():
        return wish.retain, wish.retain_data
    if wish.retain_data is not None:
        raise ConfigError(
            f"--retain {wish.retain} and --retain-data {wish.retain_data}; give one of the files"
        )
    return ref, file


def _of_data(option: str, given: Sequence[str], *, by_head: bool) -> str | dict[str, str] | None:
    """A word about the data, of several heads by head."""
    if not by_head:
        if len(given) > 1:
            raise ConfigError(f"{option} is given {len(given)} times; one head has one")
        return given[0] if given else None
    named = [one.partition("=") for one in given]
    if plain := [name for name, equals, _ in named if not equals]:
        return plain[0]
    return {name.strip(): told for name, _, told in named}


def _heads(wish: Wish, config: Config, labels: Labels) -> tuple[dict[str, Any], dict[str, Labels]]:
    """Each head's files with those of its validation, and how its labels are written."""
    several = _by_name("--multi-head", wish.multi_heads)
    given = _by_name("--head", wish.heads)
    if both := given.keys() & several.keys():
        raise ConfigError(f"--head and --multi-head both name '{min(both)}'; a head is of one kind")
    if several and labels.multi_label is not None:
        raise ConfigError("--multi-head says which heads are multi label; leave out --multi-label")
    held = _by_name("--head-validation", wish.head_validation)
    given |= several
    if unknown := held.keys() - given.keys():
        raise ConfigError(f"--head-validation names '{min(unknown)}', which no --head does")
    heads = {
        name: (_files(files, config), _files(held[name], config) if name in held else None)
        for name, files in given.items()
    }
    if not several:
        return heads, {}
    single = replace(labels, separator=None, multi_label=False)
    multi = replace(labels, label_columns=None, multi_label=True)
    return heads, {name: multi if name in several else single for name in given}


def _by_name(option: str, given: Sequence[str]) -> dict[str, list[str]]:
    """Files by the name before the first `=`; a name may have several."""
    found: dict[str, list[str]] = {}
    for one in given:
        name, equals, file = one.partition("=")
        if not (name.strip() and equals and file):
            raise ConfigError(f"{option} is '{one}'; wanted: NAME=FILE")
        found.setdefault(name.strip(), []).append(file)
    return found


def _files(named: Sequence[str], config: Config) -> list[str | Path]:
    """Globs expanded, so that the card can name each file; stdin stays `-`."""
    return [one.path or "-" for one in find_inputs(named, config.source)]


@contextmanager
def _stoppable(output: Path, wish: Wish) -> Iterator[None]:
    """SIGTERM ends the run as SIGINT does; what is said then is how it goes on."""
    ours = current_thread() is main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL

    def hear(number: int, frame: Any) -> None:
        raise Stopped(number)

    if ours:
        signal.signal(signal.SIGTERM, hear)
    try:
        yield
    except KeyboardInterrupt as stop:
        said = str(stop) or "interrupted"
        study = Path(wish.study) if wish.study else beside(output, STUDY)
        kept = [beside(output, SUFFIX) / STATE, *([study] if wish.tune else [])]
        found = [one.parent if one.name == STATE else one for one in kept if one.is_file()]
        where = f"the same command with --resume goes on from {' and '.join(map(str, found))}"
        stop.args = (f"{said}; {where if found else 'nothing was saved yet'}",)
        raise
    finally:
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def _followed() -> Iterator[tuple[Tell, Watch]]:
    """Who is told lines and who is shown steps: a bar on a terminal, in a pipe the lines alone."""
    if not sys.stderr.isatty():
        yield lambda told: print(f"tonewise: {told}", file=sys.stderr, flush=True), lambda moment: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

    shown = (
        SpinnerColumn(),
        TextColumn("{task.fields[stage]}"),
        BarColumn(bar_width=20),
        TextColumn("{task.fields[told]}"),
        TimeRemainingColumn(),
    )
    with Progress(*shown, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None, stage="reading", told="")
        at = bar.tasks[0]

        def watch(moment: Moment) -> None:
            stage = "training" if moment.stage == "fit" else moment.stage.replace("-", " ")
            if stage != at.fields["stage"]:
                bar.reset(task, total=moment.steps)
            bar.update(task, completed=moment.step, stage=stage, told=_told(moment))

        def tell(told: str) -> None:
            bar.console.print(f"tonewise: {told}", markup=False, highlight=False, soft_wrap=True)

        yield tell, watch


def _told(moment: Moment) -> str:
    metric = "" if moment.metric is None else f", macro F1 {moment.metric:.4f}"
    return f"epoch {moment.epoch}, loss {moment.loss:.4f}{metric}"


def _show(done: Trained, output: Path) -> None:
    """Where the bundle is, how good, and what one does with it."""
    print(f"{output}  {done.bundle.digest}")
    for line in told_outcomes(done.fitted):
        print(line)
    if agreement := done.bundle.manifest.agreement:
        shares = ", ".join(f"{engine} {share:.2%}" for engine, share in agreement.items())
        print(f"int8: labels as in fp32: {shares}")
    place = str(output) if output.is_absolute() or str(output).startswith("..") else f"./{output}"
    ref = shlex.quote(place)
    print(f'next: tonewise classify --model {ref} "a text"; tonewise evaluate {ref} FILE')
