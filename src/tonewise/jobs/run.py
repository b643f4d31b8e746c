"""One run on one machine: read, classify, write, and tell what was done in OUTPUT.run.json."""

import json
from collections.abc import Callable, Generator
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from os.path import exists, isfile
from pathlib import Path
from time import monotonic
from typing import IO, Any

from tonewise import __version__
from tonewise.classifier import Classifier
from tonewise.config import OnError
from tonewise.errors import InputError, OutputError, RowError, TonewiseError
from tonewise.head import Prediction
from tonewise.jobs.stopping import stoppable
from tonewise.sinks import AnswerSchema, ErrorsFile, Sink, open_sink, to_json
from tonewise.source import Example
from tonewise.source.texts import Rows
from tonewise.store import UNSTATED
from tonewise.store.files import write_atomically

Progress = Callable[[int], None]


@dataclass
class Report:
    """What a run did, in rows and seconds; what made the answers is in OUTPUT.run.json."""

    rows: int = 0
    errors: int = 0
    truncated: int = 0
    empty: int = 0
    seconds: float = 0.0
    errors_path: Path | None = None
    reasons: list[str] = field(default_factory=list)
    """The first few errors that were skipped, for a run without a file to put them in."""


def classify_files(
    classifier: Classifier,
    source: Rows,
    output: Path | None,
    *,
    on_error: OnError = "stop",
    progress: Progress | None = None,
    stdout: IO[bytes] | None = None,
) -> Report:
    """Classify every row of `source` into `output` (None: stdout), in order and in bounded memory.

    Beside a file (not beside a device) stand `OUTPUT.run.json` and, with `on_error='skip'` and skipped
    rows, `OUTPUT.errors.jsonl`. A failure leaves `OUTPUT.partial` with the rows so far, and so does SIGINT or
    SIGTERM. Raises RowError for the first bad row unless skipped, OutputError, InputError, EngineError,
    and KeyboardInterrupt.
    """
    started, clock = datetime.now(UTC), monotonic()
    model = {"ref": classifier.bundle.ref, "digest": classifier.bundle.digest}
    schema = AnswerSchema.of(source, classifier.heads.values(), model)
    report = Report()
    sink: Sink | None = None
    named = output if output and (isfile(output) or not exists(output)) else None
    try:
        with ExitStack() as stack:
            sink = stack.enter_context(
                open_sink(output, classifier.config.sink, schema=schema, stdout=stdout)
            )
            errors = stack.enter_context(ErrorsFile(named)) if named else None
            answers = stack.enter_context(closing(_answers(classifier, source, on_error)))
            for example, answer in stack.enter_context(stoppable(answers)) if output else answers:
                _write(example, answer, sink, errors, report, skip=on_error == "skip")
                if progress:
                    progress(report.rows + report.errors)
            if named:  # what an earlier run told must not stand beside other answers
                _facts_path(named).unlink(missing_ok=True)
    except (TonewiseError, KeyboardInterrupt) as error:
        _name_partial(error, sink)
        raise
    report.seconds = monotonic() - clock
    if named:
        report.errors_path = errors.path if errors and report.errors else None
        facts = _run_facts(classifier, source, named, on_error, report, started)
        write_atomically(_facts_path(named), to_json_pretty(facts))
    return report


def _facts_path(output: Path) -> Path:
    return output.with_name(f"{output.name}.run.json")


def _answers(
    classifier: Classifier, source: Rows, on_error: OnError
) -> Generator[tuple[Example | None, Prediction | RowError], None, None]:
    with closing(classifier.stream(source)) as answers:
        for example, answer in answers:
            if on_error == "stop" and isinstance(answer, RowError):
                raise answer
            yield example, answer


def _write(
    example: Example | None,
    answer: Prediction | RowError,
    sink: Sink,
    errors: ErrorsFile | None,
    report: Report,
    *,
    skip: bool,
) -> None:
    if isinstance(answer, RowError):
        _set_aside(answer, example, errors, report)
        return
    if example is None:
        raise OutputError("an answer came without its example")
    try:
        sink.write(example, answer)
    except InputError as error:
        if not skip:
            raise
        reason = str(error).removeprefix(f"{example.where}: ")
        _set_aside(RowError(example.where, InputError(reason)), example, errors, report)
        return
    report.rows += 1
    report.truncated += answer.truncated
    report.empty += not example.text.strip()


def _set_aside(error: RowError, example: Example | None, errors: ErrorsFile | None, report: Report) -> None:
    report.errors += 1
    if errors:
        errors.write(error, example)
    elif len(report.reasons) < 20:
        report.reasons.append(str(error))


def _name_partial(error: BaseException, sink: Sink | None) -> None:
    """Let the error tell where the rows so far are."""
    left = sink.partial_path if sink else None
    if sink and left and left.exists():
        told = str(error) or "interrupted"
        error.args = (f"{told}; the {sink.rows_written} rows before it are in {left}",)


def _run_facts(
    classifier: Classifier, source: Rows, output: Path, on_error: OnError, report: Report, started: datetime
) -> dict[str, Any]:
    bundle, config = classifier.bundle, classifier.config
    return {
        "tonewise": __version__,
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(report.seconds, 3),
        "model": {
            "ref": bundle.ref,
            "digest": bundle.digest,
            "licence": bundle.manifest.licence or UNSTATED,
            "data_terms": bundle.manifest.data_terms,
            "heads": list(classifier.heads),
        },
        "engine": {"name": classifier.engine.name, "precision": classifier.engine.precision},
        "settings": asdict(replace(config, run=replace(config.run, on_error=on_error))),
        "inputs": [{"name": name, "sha256": digest} for name, digest in source.sha256().items()],
        "output": str(output),
        "rows": {
            "answered": report.rows,
            "errors": report.errors,
            "truncated": report.truncated,
            "empty": report.empty,
        },
    }


def to_json_pretty(facts: dict[str, Any]) -> str:
    """Indented JSON with a newline at the end."""
    return json.dumps(json.loads(to_json(facts)), indent=2, ensure_ascii=False) + "\n"
