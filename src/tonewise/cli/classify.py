"""`tonewise classify`: what the arguments mean, the progress bar, and the words at the end."""

import os
import re
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path

import click

from tonewise.classifier import Classifier
from tonewise.config import Config, SourceConfig
from tonewise.engines import ENGINES, choose_threads
from tonewise.errors import ConfigError, InputError
from tonewise.jobs import Report, classify_files
from tonewise.jobs.run import Progress
from tonewise.sinks import output_format_of
from tonewise.source import Source, format_of, open_source
from tonewise.source.texts import Rows, Texts

WORTH_TUNING = 2_000_000
"""Bytes of input from which on the seconds of measuring come back."""
MANY = 1000
"""Rows from which on it is told how they would have gone faster."""
GLOB = re.compile(r"[*\[]|\?.*\w")  # a question mark at the end is punctuation


def classify(
    inputs: Sequence[str], config: Config, *, flags: Collection[str], as_text: bool, output: str | None
) -> None:
    """Open the source and the model, run, and say what happened on stderr.

    `flags` are the settings that were given in the command itself.
    """
    target = None if output in (None, "-") else Path(str(output))
    _check_effect(flags, config, target)
    with _open(inputs, config, flags=flags, as_text=as_text) as source:
        _check_not_an_input(target, source)
        config = _for_many(config, source) if isinstance(source, Source) else for_few(config)
        if config.engine.engine == "stub" and "engine" not in flags:
            _say("a setting, not the command, chose the stub engine, whose answers are made up")
        _run(source, Classifier.load(config=config), target)


def _run(source: Rows, classifier: Classifier, target: Path | None) -> None:
    with classifier:
        with _bar(source, target) as progress:
            on_error = classifier.config.run.on_error
            report = classify_files(classifier, source, target, on_error=on_error, progress=progress)
        _tell(report, classifier, target)


def _check_effect(flags: Collection[str], config: Config, target: Path | None) -> None:
    """A flag that would change nothing is a misunderstanding. Raises ConfigError, OutputError."""
    for name in ("stride", "window_pooling"):
        if name in flags and config.tokenizer.too_long != "window":
            raise ConfigError(
                f"--{name.replace('_', '-')} is about windows; add --too-long window, or drop it"
            )
    if "tune" in flags and "auto" not in (config.engine.engine, config.engine.precision):
        raise ConfigError("--tune chooses engine or precision, but both are given; drop it, or one of them")
    flat = output_format_of(target, config.sink) in ("csv", "parquet")
    if "top_k" in flags and flat and not config.sink.scores:
        raise ConfigError(
            "--top-k keeps scores, and CSV and Parquet have them with --scores; add it, or drop it"
        )


def _for_many(config: Config, source: Source) -> Config:
    """A file is read for its many texts, not for its first; a large one is worth finding what is fastest."""
    streams = config.engine.streams or choose_threads(config.engine.threads)
    tune = config.engine.tune or (source.bytes_total or 0) >= WORTH_TUNING
    return replace(config, engine=replace(config.engine, streams=streams, tune=tune))


def for_few(config: Config) -> Config:
    """For some texts in the command itself what counts is the start, and ONNX Runtime starts soonest."""
    engine = config.engine
    if engine.engine != "auto" or engine.tune or engine.precision == "bf16" or engine.device != "cpu":
        return config
    return replace(config, engine=replace(engine, engine="onnxruntime"))


def is_file_argument(argument: str) -> bool:
    """Whether an argument names a file: a known extension, a path separator, or a glob without spaces.

    By its looks alone: what an argument means does not depend on the files that are there.
    """
    if argument == "-" or format_of(argument) or os.sep in argument:
        return True
    return not re.search(r"\s", argument) and GLOB.search(argument) is not None


def _open(inputs: Sequence[str], config: Config, *, flags: Collection[str], as_text: bool) -> Rows:
    if not inputs:
        if sys.stdin.isatty():
            raise click.UsageError("nothing to classify: give a text, a file, or - for stdin")
        inputs = ["-"]
    files = [] if as_text else [one for one in inputs if is_file_argument(one)]
    if not files:
        _check_for_texts(flags)
        if not as_text:
            _point_at_files(inputs)
        return Texts(inputs)
    if len(files) < len(inputs):
        text = next(one for one in inputs if one not in files)
        looks = f"'{files[0][:40]}' looks like a file and '{text[:40]}' like a text"
        raise ConfigError(f"{looks}; give one kind, or --text if all are texts")
    try:
        return open_source(files, config.source)
    except InputError as error:
        texts = [one for one in files if format_of(one) is None and not os.path.lexists(one) and one != "-"]
        if not texts:
            raise
        raise InputError(f"{error}; if '{texts[0][:40]}' is a text, add --text") from None


def _check_for_texts(flags: Collection[str]) -> None:
    """How to read files means nothing for texts. Raises ConfigError."""
    for knob in fields(SourceConfig):
        if knob.name in flags:
            flag = f"--{knob.name.replace('_', '-')}"
            raise ConfigError(
                f"{flag} is about files, but the arguments are texts; leave it out, or name a file"
            )


def _point_at_files(texts: Sequence[str]) -> None:
    for text in texts:
        if os.path.isfile(text):
            _say(f"'{text}' was taken as a text; for the file of that name write .{os.sep}{text}")


def _check_not_an_input(target: Path | None, source: Rows) -> None:
    for path in source.paths if isinstance(source, Source) else ():
        if target and os.path.isfile(target) and path.exists() and target.samefile(path):
            raise ConfigError(f"{target} is an input too; name another --output")


@contextmanager
def _bar(source: Rows, target: Path | None) -> Iterator[Progress | None]:
    """A progress bar on a terminal that shows no answers meanwhile; nothing in a pipe."""
    if not sys.stderr.isatty() or (target is None and sys.stdout.isatty()):
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, SpinnerColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    shown = (
        SpinnerColumn(),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[told]}"),
        TimeRemainingColumn(),
    )
    with Bar(*shown, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=source.bytes_total, told="")

        def progress(done: int) -> None:
            if done % 64 == 0:
                elapsed = bar.tasks[0].elapsed or 0
                rate = done / elapsed if elapsed else 0
                bar.update(task, completed=source.bytes_read, told=f"{done:,} texts, {rate:,.0f}/s")

        yield progress


def _tell(report: Report, classifier: Classifier, target: Path | None) -> None:
    """What the reader must know in any case, and what they like to know on a terminal."""
    bundle, engine = classifier.bundle, classifier.engine
    wanted = classifier.config.engine
    able = wanted.engine == "auto" or "int8" in ENGINES[wanted.engine].precisions
    if able and wanted.precision == "auto" and report.rows >= MANY and not bundle.manifest.agreement:
        _say(
            f"{bundle.ref} ran in {engine.precision}: it has no activation ranges for int8 "
            f"(tonewise quantize {bundle.ref} --texts FILE --output DIR makes some)"
        )
    if report.truncated:
        most = classifier.tokenizer.max_length
        _say(
            f"{report.truncated:,} of {report.rows:,} texts were longer than {most} tokens and were cut "
            "(--too-long window reads them whole)"
        )
    if report.empty:
        _say(f"{report.empty:,} of {report.rows:,} texts were empty, and were answered like any other")
    if report.errors:
        where = f"they are in {report.errors_path}" if report.errors_path else "; ".join(report.reasons)
        _say(f"{report.errors:,} rows were skipped: {where}")
    if target and sys.stderr.isatty():
        rate = report.rows / report.seconds if report.seconds else 0
        _say(f"{report.rows:,} texts in {report.seconds:.1f} s ({rate:,.0f}/s) → {target}")


def _say(words: str) -> None:
    print(f"tonewise: {words}", file=sys.stderr)
