"""One run: answers in order, beside them what an auditor asks, and nothing that only looks whole."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from io import BytesIO
from pathlib import Path
from threading import Event
from typing import Any

import pytest

import tonewise
from tests.doubles import MakeModel
from tests.models import WORDS
from tonewise import Classifier, Example
from tonewise.config import BatchConfig, load_config
from tonewise.engines.stub import StubEngine
from tonewise.errors import InputError, ModelError, OutputError, RowError, TonewiseError
from tonewise.jobs import classify_files
from tonewise.source import open_source
from tonewise.source.texts import Texts

TEXTS = [" ".join(WORDS[5 + i % 20 :][: 1 + i * 7 % 19]) for i in range(60)]


class Made(Texts):
    """A source that a generator makes."""

    def __init__(self, items: Iterator[Example | RowError]) -> None:
        super().__init__(())
        self.items = items

    def __iter__(self) -> Iterator[Example | RowError]:
        return self.items


def examples(texts: list[str]) -> Iterator[Example | RowError]:
    return (Example(text, id=i, where=f"text {i}") for i, text in enumerate(texts, 1))


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


@pytest.fixture
def stubbed(model: MakeModel) -> Iterator[Classifier]:
    with Classifier.load(model(), engine="stub", buffer_rows=16, max_batch_rows=4) as opened:
        yield opened


def test_answers_stand_in_the_order_of_the_input(stubbed: Classifier, tmp_path: Path) -> None:
    texts = TEXTS + TEXTS[:7]  # with duplicates, far apart
    report = classify_files(stubbed, Made(examples(texts)), tmp_path / "out.jsonl")
    found = records(tmp_path / "out.jsonl")
    assert [(one["id"], one["text"]) for one in found] == list(enumerate(texts, 1))
    wanted = [stubbed.classify(text).scores for text in texts]
    for one, scores in zip(found, wanted, strict=True):
        assert one["predictions"]["label"]["scores"] == pytest.approx(scores, abs=1e-5)
    assert (report.rows, report.errors, report.truncated, report.errors_path) == (67, 0, 0, None)


def test_beside_a_file_stands_what_an_auditor_asks(model: MakeModel, here: Path) -> None:
    Path("in.csv").write_text("id,review,stars\na,i am happy,5\nb,so sad,1\nc,i am happy you are sad,2\n")
    config = load_config({"max_length": 6, "precision": "int8", "threads": 1}, environment={})
    with Classifier.load(model(), config=config) as classifier:
        with open_source(["in.csv"]) as source:
            report = classify_files(classifier, source, Path("out.csv"))
        digest = classifier.bundle.digest
    facts = json.loads(Path("out.csv.run.json").read_text())
    started, seconds = facts.pop("started"), facts.pop("seconds")
    settings = facts.pop("settings")
    assert facts == {
        "tonewise": tonewise.__version__,
        "model": {
            "ref": str(model()),
            "digest": digest,
            "licence": "unstated",
            "data_terms": None,
            "heads": ["label"],
        },
        "engine": {"name": "onnxruntime", "precision": "int8"},
        "inputs": [{"name": "in.csv", "sha256": hashlib.sha256(Path("in.csv").read_bytes()).hexdigest()}],
        "output": "out.csv",
        "rows": {"answered": 3, "errors": 0, "truncated": 1, "empty": 0},
    }
    assert settings["run"]["on_error"] == "stop"
    assert (settings["tokenizer"]["max_length"], settings["engine"]["threads"]) == (6, 1)
    assert settings["batch"]["max_batch_tokens"] == BatchConfig().budget, "defaults too"
    assert seconds == pytest.approx(report.seconds, abs=1e-3)
    assert abs((datetime.now().astimezone() - datetime.fromisoformat(started)).total_seconds()) < 60


def test_the_licence_and_the_data_terms_are_those_of_the_bundle(here: Path) -> None:
    with Classifier.load("emotion", engine="stub") as classifier:
        classify_files(classifier, Texts(["a"]), Path("out.jsonl"))
    told = json.loads(Path("out.jsonl.run.json").read_text())["model"]
    assert (told["ref"], told["licence"], told["heads"]) == ("emotion", "apache-2.0", ["emotion"])
    assert "research and educational use" in told["data_terms"]


def test_every_input_is_named_with_its_hash(stubbed: Classifier, here: Path) -> None:
    for name in ("a.txt", "b.txt"):
        Path(name).write_text(f"{name}\n")
    with open_source(["a.txt", "b.txt"]) as source:
        classify_files(stubbed, source, Path("out.jsonl"))
    told = json.loads(Path("out.jsonl.run.json").read_text())["inputs"]
    assert told == [
        {"name": n, "sha256": hashlib.sha256(f"{n}\n".encode()).hexdigest()} for n in ("a.txt", "b.txt")
    ]


def bad_after(count: int) -> Iterator[Example | RowError]:
    yield from examples(TEXTS[:count])
    yield RowError("in.csv line 7", InputError("no text"))
    yield from examples(TEXTS)


def test_a_bad_row_stops_the_run_and_leaves_the_rows_before_it(stubbed: Classifier, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    with pytest.raises(RowError) as caught:
        classify_files(stubbed, Made(bad_after(20)), output)
    left = tmp_path / "out.jsonl.partial"
    assert str(caught.value) == f"in.csv line 7: no text; the 20 rows before it are in {left}"
    assert (caught.value.code, caught.value.exit_status) == ("bad_input", 3)
    assert [one["text"] for one in records(left)] == TEXTS[:20]
    assert os.listdir(tmp_path) == ["out.jsonl.partial"]


def test_a_run_that_fails_at_once_leaves_nothing(stubbed: Classifier, tmp_path: Path) -> None:
    with pytest.raises(RowError, match=r"^in\.csv line 7: no text$"):
        classify_files(stubbed, Made(bad_after(0)), tmp_path / "out.jsonl")
    assert os.listdir(tmp_path) == []


def test_a_failed_run_leaves_the_result_of_an_earlier_one_alone(stubbed: Classifier, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    classify_files(stubbed, Made(examples(TEXTS)), output)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(RowError):
        classify_files(stubbed, Made(bad_after(0)), output)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_skipped_rows_are_kept_beside_the_answers(stubbed: Classifier, tmp_path: Path) -> None:
    stubbed.engine = StubEngine(stubbed.engine.poolings, 32, fail_on=WORDS.index("awful"))
    items = [
        *examples(["i am happy"]),
        RowError("x line 2", InputError("no text")),
        *examples(["awful", "sad"]),
    ]
    report = classify_files(stubbed, Made(iter(items)), tmp_path / "out.jsonl", on_error="skip")
    assert (report.rows, report.errors) == (2, 2)
    assert report.errors_path == tmp_path / "out.jsonl.errors.jsonl"
    assert [one["text"] for one in records(tmp_path / "out.jsonl")] == ["i am happy", "sad"]
    first, second = records(report.errors_path)
    assert first == {"where": "x line 2", "code": "bad_input", "reason": "no text"}
    assert (second["where"], second["code"], second["id"]) == ("text 1", "engine_failed", 1)
    facts = json.loads((tmp_path / "out.jsonl.run.json").read_text())
    assert facts["rows"] == {"answered": 2, "errors": 2, "truncated": 0, "empty": 0}
    assert facts["settings"]["run"]["on_error"] == "skip"


def test_without_a_file_the_first_skipped_rows_are_told(stubbed: Classifier) -> None:
    items = [RowError(f"x line {i}", InputError("no text")) for i in range(1, 31)]
    stdout = BytesIO()
    report = classify_files(stubbed, Made(iter(items)), None, on_error="skip", stdout=stdout)
    assert (report.rows, report.errors, len(report.reasons)) == (0, 30, 20)
    assert report.reasons[0] == "x line 1: no text"
    assert stdout.getvalue() == b""


def test_a_clash_of_columns_is_an_error_before_the_first_row(stubbed: Classifier, here: Path) -> None:
    Path("in.csv").write_text("text,label\ni am happy,joy\n")
    with open_source(["in.csv"]) as source, pytest.raises(InputError, match="column 'label'"):
        classify_files(stubbed, source, Path("out.csv"))
    assert os.listdir() == ["in.csv"]


def test_an_error_of_the_reader_is_told_after_the_rows_before_it(stubbed: Classifier, tmp_path: Path) -> None:
    def breaking() -> Iterator[Example | RowError]:
        yield from examples(TEXTS[:5])
        raise InputError("in.parquet: corrupt")

    with pytest.raises(InputError, match=r"corrupt; the 5 rows before it are in .*out\.jsonl\.partial$"):
        classify_files(stubbed, Made(breaking()), tmp_path / "out.jsonl")
    assert len(records(tmp_path / "out.jsonl.partial")) == 5


def test_a_model_without_heads_is_refused(model: MakeModel, tmp_path: Path) -> None:
    bare = model(architectures=["DistilBertModel"])
    with Classifier.load(bare) as classifier, pytest.raises(ModelError, match="no head to classify with"):
        classify_files(classifier, Texts(["a"]), tmp_path / "out.jsonl")
    assert os.listdir(tmp_path) == []


class FullDisk(BytesIO):
    """Takes some bytes and then no more."""

    def write(self, data: Any) -> int:
        if self.tell() > 1000:
            raise OSError(28, "No space left on device")
        return super().write(data)


def test_a_full_disk_is_told_in_a_line(stubbed: Classifier) -> None:
    with pytest.raises(OutputError, match="cannot write stdout: the disk is full"):
        classify_files(stubbed, Made(examples(TEXTS)), None, stdout=FullDisk())


def test_facts_of_an_earlier_run_never_stand_beside_new_answers(
    stubbed: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out.jsonl"
    classify_files(stubbed, Made(examples(TEXTS[:3])), output)

    def refuse(path: Path, data: object) -> None:
        raise OutputError(f"cannot write {path}: the disk is full")

    monkeypatch.setattr("tonewise.jobs.run.write_atomically", refuse)
    with pytest.raises(OutputError, match=r"run\.json: the disk is full"):
        classify_files(stubbed, Made(examples(TEXTS)), output)
    assert not (tmp_path / "out.jsonl.run.json").exists()


def test_a_device_has_no_files_beside_it(stubbed: Classifier, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.jsonl"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as pool:
        reader = pool.submit(pipe.read_bytes)
        classify_files(stubbed, Made(examples(TEXTS)), pipe)
        assert reader.result(5).count(b"\n") == len(TEXTS)
    assert os.listdir(tmp_path) == ["pipe.jsonl"]


class Watched(BytesIO):
    """Tells when so many rows have arrived."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.rows, self.arrived = rows, Event()

    def write(self, data: Any) -> int:
        count = super().write(data)
        if self.getvalue().count(b"\n") >= self.rows:
            self.arrived.set()
        return count


def test_a_slow_source_is_not_waited_for(model: MakeModel) -> None:
    stdout = Watched(3)

    def slow() -> Iterator[Example | RowError]:
        yield from examples(TEXTS[:3])
        assert stdout.arrived.wait(20), "three rows were read, and none was answered"
        yield from examples(TEXTS[:2])

    with Classifier.load(model(), engine="stub", max_wait_seconds=0.02) as classifier:
        report = classify_files(classifier, Made(slow()), None, stdout=stdout)
    assert report.rows == 5


def test_progress_counts_every_row(stubbed: Classifier, tmp_path: Path) -> None:
    counted: list[int] = []
    items = [*examples(TEXTS[:2]), RowError("x", InputError("y")), *examples(TEXTS[:1])]
    classify_files(stubbed, Made(iter(items)), tmp_path / "o.jsonl", on_error="skip", progress=counted.append)
    assert counted == [1, 2, 3, 4]


# Signals.


@pytest.mark.parametrize(("number", "word"), [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "terminated")])
def test_a_signal_ends_a_run_after_the_row_in_hand(
    stubbed: Classifier, tmp_path: Path, number: signal.Signals, word: str
) -> None:
    before = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]

    def at_row(done: int) -> None:
        if done == 25:
            os.kill(os.getpid(), number)

    with pytest.raises(KeyboardInterrupt) as caught:
        classify_files(stubbed, Made(examples(TEXTS)), tmp_path / "out.jsonl", progress=at_row)
    left = tmp_path / "out.jsonl.partial"
    assert str(caught.value) == f"{word}; the 25 rows before it are in {left}"
    assert [one["text"] for one in records(left)] == TEXTS[:25]
    assert os.listdir(tmp_path) == ["out.jsonl.partial"]
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_run_in_a_thread_leaves_signals_alone(stubbed: Classifier, tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as pool:
        source, output = Made(examples(TEXTS)), tmp_path / "out.jsonl"
        assert pool.submit(classify_files, stubbed, source, output).result(20).rows == len(TEXTS)


# Memory.

PROGRAM = """
    import resource, sys
    from pathlib import Path
    from tonewise import Classifier, Example
    from tonewise.jobs import classify_files
    from tonewise.source.texts import Texts

    class Made(Texts):
        def __iter__(self):
            return (Example(f"i am happy {i} and {i * 7} sad", id=i) for i in range(int(sys.argv[2])))

    with Classifier.load(sys.argv[1], engine="stub") as classifier:
        report = classify_files(classifier, Made(()), Path(sys.argv[3]))
    assert report.rows == int(sys.argv[2])
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
    """


@pytest.mark.slow
def test_memory_does_not_grow_with_the_input(model: MakeModel, tmp_path: Path) -> None:
    def peak(rows: int) -> int:
        command = [
            sys.executable,
            "-c",
            textwrap.dedent(PROGRAM),
            str(model()),
            str(rows),
            str(tmp_path / "o.jsonl"),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return int(done.stdout)

    assert peak(120_000) - peak(20_000) < 30


def test_errors_of_every_kind_are_passed_on_as_they_are(stubbed: Classifier, tmp_path: Path) -> None:
    def breaking(error: BaseException) -> Iterator[Example | RowError]:
        yield from examples(TEXTS[:1])
        raise error

    for error in (OutputError("x"), InputError("y"), TonewiseError("z"), ZeroDivisionError("mine")):
        with pytest.raises(type(error)) as caught:
            classify_files(stubbed, Made(breaking(error)), tmp_path / "out.jsonl")
        assert caught.value is error
        assert not (tmp_path / "out.jsonl").exists()


def test_a_row_that_the_output_has_no_place_for_is_skipped_like_any_other(
    here: Path, model: MakeModel
) -> None:
    Path("in.jsonl").write_text('{"text": "so sad"}\n{"text": "so happy", "late": 1}\n{"text": "not good"}\n')
    with Classifier.load(model(), engine="stub") as classifier:
        with open_source(["in.jsonl"]) as source:
            report = classify_files(classifier, source, Path("out.csv"), on_error="skip")
        assert (report.rows, report.errors) == (2, 1)
        (told,) = map(json.loads, Path("out.csv.errors.jsonl").read_text().splitlines())
        assert told["where"] == "in.jsonl line 2"
        assert told["reason"].startswith("column 'late' was not in the first row")
        assert [line.split(",")[0] for line in Path("out.csv").read_text().splitlines()] == [
            "text",
            "so sad",
            "not good",
        ]
        with (
            open_source(["in.jsonl"]) as source,
            pytest.raises(InputError, match=r"in\.jsonl line 2: column"),
        ):
            classify_files(classifier, source, Path("out.csv"))
