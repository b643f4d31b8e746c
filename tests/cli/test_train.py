"""`train`: what it shows and writes, how it ends, and what it refuses before anything is half there."""

import json
import os
import pty
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.conftest import Cli, Popen
from tests.cli.test_bad_input import is_one_line
from tests.cli.test_terminal import read_terminal
from tests.doubles import MakeModel
from tests.models import changed, opened
from tests.train.moods import Dicts, some, tagged, write_tsv
from tonewise.cli.commands import tonewise
from tonewise.train import Recipe

QUICK = ("--epochs", 1, "--batch-size", 32, "--pooling", "mean", "--precision", "fp32")
LONG = ("--epochs", 12, "--patience", 12, *QUICK[2:], "--no-int8")


def on_one_processor() -> None:
    """For processes of their own; models so small lose by a second thread."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


@pytest.fixture(autouse=True)
def one_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tonewise.train.session.choose_threads", lambda threads: 1)


@pytest.fixture
def base(model: MakeModel) -> str:
    return str(model("bert", seed=3))


@pytest.fixture
def files(here: Path) -> Path:
    write_tsv(here / "moods.tsv", [*some(60), some(60)[0]])
    write_tsv(here / "held.tsv", some(30, seed=1))
    write_joined(here / "tags.tsv", tagged(60, seed=2))
    write_joined(here / "tags-held.tsv", tagged(30, seed=3))
    return here


def write_joined(path: Path, rows: Dicts) -> None:
    write_tsv(path, [{**one, "label": "+".join(one["label"])} for one in rows])


def test_files_become_a_bundle_and_what_was_found_is_told(cli: Cli, base: str, files: Path) -> None:
    write_tsv(files / "held.tsv", some(120, seed=1))
    before = set(os.listdir())
    done = cli("train", "moods.tsv", "--validation", "held.tsv", "--base", base, *QUICK, "--output", "out")
    assert done.status == 0, done.err
    first, figures, int8, following = done.text.splitlines()
    assert first == f"out  {opened(Path('out')).digest}"
    assert figures.startswith("label: Accuracy 0.")
    assert " → " in figures.partition("; ECE ")[2]
    assert figures.endswith(" (120 held-out rows)")
    assert int8.startswith("int8: labels as in fp32: onnxruntime ")
    assert following == 'next: tonewise classify --model ./out "a text"; tonewise evaluate ./out FILE'
    findings = done.err.splitlines()
    assert findings[0] == "tonewise: rows that repeat a text and its label: 1 (moods.tsv line 62)"
    assert all(line.startswith("tonewise: ") for line in findings)
    assert "epoch" not in done.err
    assert set(os.listdir()) - before == {"out"}
    assert cli("classify", "i am happy", "--model", "./out").status == 0


def test_a_set_may_come_through_stdin(cli: Cli, base: str, files: Path) -> None:
    command = ("train", "-", "--input-format", "csv", "--delimiter", "\t", "--base", base, "--no-int8")
    content = Path("moods.tsv").read_bytes()
    done = cli(*command, "--freeze-encoder", "--precision", "fp32", "--output", "out", stdin=content)
    assert done.status == 0, done.err
    assert set(opened(Path("out")).heads["label"].labels) == {"sadness", "joy", "anger"}


def test_a_single_and_a_multi_label_head_learn_side_by_side(cli: Cli, base: str, files: Path) -> None:
    heads = ("--head", "mood=moods.tsv", "--multi-head", "tags=tags.tsv", "--label-separator", "+")
    held = ("--head-validation", "mood=held.tsv", "--head-validation", "tags=tags-held.tsv")
    done = cli("train", *heads, *held, "--base", base, *QUICK, "--no-int8", "--output", "out")
    assert done.status == 0, done.err
    assert [line.partition(" ")[0] for line in done.text.splitlines()[1:3]] == ["mood:", "tags:"]
    assert not any(line.startswith("int8") for line in done.text.splitlines())
    found = opened(Path("out")).heads
    assert found["mood"].problem_type == "single_label_classification"
    assert found["tags"].problem_type == "multi_label_classification"
    assert set(found["tags"].labels) == {*found["mood"].labels, "time"}


def test_each_heads_data_has_terms_of_its_own(cli: Cli, base: str, files: Path) -> None:
    heads = ("--head", "one=moods.tsv", "--head", "two=held.tsv")
    command = ("train", *heads, "--base", base, *QUICK, "--no-int8", "--output", "out")
    done = cli(*command, "--data-licence", "one=mit", "--data-name", "two=Moods of others")
    assert done.status == 0, done.err
    card = Path("out/README.md").read_text()
    assert "- the data moods.tsv: mit" in card
    assert "- the data Moods of others: not stated" in card
    assert done.text.count("so few tell little") == 2
    done = cli(*command[:-1], "other", "--data-licence", "mit")
    is_one_line(done, 2, "--data-licence 'mit': of which head? write --data-licence one=mit")
    done = cli(*command[:-1], "other", "--data-licence", "three=mit")
    is_one_line(done, 2, "--data-licence names 'three'; the heads are one, two")


def test_the_old_models_texts_may_stand_behind_its_name(cli: Cli, base: str, files: Path) -> None:
    done = cli("train", "moods.tsv", "--base", base, *QUICK, "--no-int8", "--output", "old")
    assert done.status == 0, done.err
    command = ("train", "--head", "new=held.tsv", *QUICK, "--no-int8", "--output", "out")
    is_one_line(cli(*command, "--retain", "./old:gone.tsv"), 3, "gone.tsv")
    is_one_line(cli(*command, "--retain", "./old:moods.tsv", "--retain-data", "moods.tsv"), 2, "give one of")
    done = cli(*command, "--retain", "./old:moods.tsv")
    assert done.status == 0, done.err
    assert "label, kept: accuracy " in done.err


def test_knobs_and_terms_reach_the_training_and_the_card(cli: Cli, base: str, files: Path) -> None:
    knobs = {"seed": 7, "dropout": 0.25, "label_smoothing": 0.125, "average": 0.5, "max_length": 9}
    given = [part for name, value in knobs.items() for part in (f"--{name.replace('_', '-')}", value)]
    terms = ("--name", "mine", "--licence", "mit", "--data-name", "Moods", "--data-terms", "research only")
    command = ("train", "moods.tsv", "--validation", "held.tsv", "--base", base, *QUICK, "--no-int8")
    done = cli(*command, *given, "--lora", 2, *terms, "--data-licence", "cc0-1.0", "--output", "out")
    assert done.status == 0, done.err
    recipe = json.loads(Path("out/training.json").read_text())["recipe"]
    assert {name: recipe[name] for name in knobs} == knobs
    assert (recipe["lora_rank"], recipe["epochs"], recipe["batch_size"]) == (2, 1, 32)
    card = Path("out/README.md").read_text()
    assert "# mine" in card
    assert all(told in card for told in ("Moods", "cc0-1.0", "research only", "- the model: mit"))


def test_the_options_are_the_recipe_and_say_its_defaults() -> None:
    shown = {one.name: getattr(one, "help", "") for one in tonewise.commands["train"].params}
    usual = Recipe().settled(2_000, "first").stated()
    assert usual.keys() <= shown.keys()
    said = {name: shown[name].partition("[default: ")[2].rstrip("]") for name in usual}
    told = {name: one for name, one in said.items() if one and name != "pooling"}
    assert len(told) > 10
    assert {name: type(usual[name])(one) for name, one in told.items()} == {
        name: usual[name] for name in told
    }


def test_tuned_the_best_recipe_is_published_and_each_trial_told(cli: Cli, base: str, files: Path) -> None:
    command = ("train", "moods.tsv", "--validation", "held.tsv", "--base", base, *QUICK, "--no-int8")
    done = cli(*command, "--tune", 2, "--study", "mine.db", "--output", "out")
    assert done.status == 0, done.err
    lines = [
        line for line in done.err.splitlines() if line.startswith(("tonewise: trial", "tonewise: tuned"))
    ]
    assert [line[:22] for line in lines] == [
        "tonewise: trial 1 of 2",
        "tonewise: trial 2 of 2",
        "tonewise: tuned: the b",
    ]
    assert lines[0].endswith("(learning_rate 0.0002, label_smoothing 0, frozen_layers 0, layer_decay 1)")
    trials = json.loads(Path("out/tuning.json").read_text())["trials"]
    assert list(trials[1]["knobs"]) == ["learning_rate", "label_smoothing", "frozen_layers", "layer_decay"]
    assert Path("mine.db").exists()
    again = cli(*command, "--tune", 2, "--study", "mine.db", "--output", "other", "--resume")
    assert again.status == 0, again.err
    assert "tonewise: trial" not in again.err, "none is repeated"
    assert Path("other/model.safetensors").read_bytes() == Path("out/model.safetensors").read_bytes()


def python(*lines: str) -> subprocess.CompletedProcess[str]:
    program = "\n".join(lines)
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)


def test_help_opens_nothing_heavy() -> None:
    done = python(
        "import sys",
        "from tonewise.cli import run",
        "assert run(['train', '--help']) == 0",
        "heavy = {'torch', 'sklearn', 'optuna', 'numpy', 'matplotlib', 'rich'} & sys.modules.keys()",
        "assert not heavy, heavy",
    )
    assert done.returncode == 0, done.stderr
    assert "--learning-rate" in done.stdout


@pytest.mark.parametrize(
    ("module", "options"), [("torch", ""), ("sklearn", ""), ("optuna", "'--tune', '2', ")]
)
def test_without_the_extra_the_error_names_it(files: Path, module: str, options: str) -> None:
    done = python(
        "import sys",
        "class Hidden:",
        "    def find_spec(self, name, path=None, target=None):",
        f"        if name == '{module}':",
        "            raise ModuleNotFoundError(name, name=name)",
        "sys.meta_path.insert(0, Hidden())",
        "from tonewise.cli import run",
        f"raise SystemExit(run(['train', 'moods.tsv', {options}'--output', 'out']))",
    )
    assert done.returncode == 8
    assert done.stderr == f"tonewise: {module} is not installed; run: pip install 'tonewise[train]'\n"
    assert not Path("out").exists()


def test_a_terminal_shows_how_far_it_is(start: Popen, base: str, files: Path) -> None:
    ours, theirs = pty.openpty()
    command = ("train", "moods.tsv", "--validation", "held.tsv", "--base", base, *LONG, "--output", "out")
    process = start(*command, stdout=theirs, stderr=theirs, preexec_fn=on_one_processor)
    os.close(theirs)
    shown = read_terminal(process, ours)
    assert process.returncode == 0, shown
    assert "training" in shown
    assert ", loss " in shown
    assert ", macro F1 0." in shown
    assert "tonewise: rows that repeat a text and its label: 1" in shown


@pytest.mark.parametrize(("number", "said"), [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "terminated")])
def test_a_signal_ends_the_run_and_resume_goes_on(
    start: Popen, spawn: Cli, base: str, files: Path, number: signal.Signals, said: str
) -> None:
    command = ("train", "moods.tsv", "--validation", "held.tsv", "--base", base, *LONG, "--output", "out")
    process = start(*command, preexec_fn=on_one_processor)
    saved = Path("out.training/state.pt")
    deadline = time.monotonic() + 50
    while not saved.exists() and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(number)
    _, err = process.communicate(timeout=50)
    assert process.returncode == 128 + number, err
    told = f"{said}; the same command with --resume goes on from out.training"
    assert err.decode().splitlines()[-1] == f"tonewise: {told}"
    assert not Path("out").exists()
    refused = spawn(*command, preexec_fn=on_one_processor)
    assert refused.status == 7
    assert refused.err.splitlines()[-1].endswith(
        "out.training holds an unfinished run; --resume continues it, or remove it"
    )
    done = spawn(*command, "--resume", preexec_fn=on_one_processor)
    assert done.status == 0, done.err
    assert Path("out/README.md").exists()
    assert not Path("out.training").exists()


BAD_DATA = {
    "the label column is missing": ("text\tmood\na\tx\n", "no label column 'label'; columns beside the text"),
    "one class only": ("text\tlabel\na\tx\nb\tx\n", "all 2 rows have the same label (x); two are the least"),
    "all texts the same": ("text\tlabel\na\tx\na\ty\n", "all 2 texts are the same"),
    "an empty label": ("text\tlabel\na\tx\nb\t\nc\ty\n", "bad.tsv line 3: column 'label' is empty"),
    "an id as label": (
        "text\tlabel\n" + "".join(f"text {i}\tid{i}\n" for i in range(10_000)),
        "10,000 different labels in 10,000 rows: is column 'label' an id or a text?",
    ),
    "no byte": ("", "bad.tsv"),
    "no row": ("text\tlabel\n", "bad.tsv: no row has a text and a label"),
}


@pytest.mark.parametrize("case", BAD_DATA)
def test_bad_data_is_one_line_and_nothing_is_written(cli: Cli, base: str, here: Path, case: str) -> None:
    written, told = BAD_DATA[case]
    Path("bad.tsv").write_text(written)
    done = cli("train", "bad.tsv", "--base", base, "--output", "out")
    is_one_line(done, 3, told)
    assert os.listdir() == ["bad.tsv"]


def test_a_null_label_is_named_by_its_line(cli: Cli, base: str, here: Path) -> None:
    rows = [*some(12), {"text": "i am", "label": None}, {"text": "you are", "label": float("nan")}]
    for row in rows[12:]:
        Path("bad.jsonl").write_text("".join(json.dumps(one) + "\n" for one in [*rows[:12], row]))
        done = cli("train", "bad.jsonl", "--base", base, "--output", "out")
        is_one_line(done, 3, "bad.jsonl line 13: column 'label' is null; a label is wanted")
    assert os.listdir() == ["bad.jsonl"]


BAD_OPTIONS = {
    ("--epochs", -1): (2, "epochs is -1; wanted: a whole number from 1 on"),
    ("--learning-rate", "inf"): (2, "learning_rate is inf; wanted: a number above 0"),
    ("--pooling", "best"): (2, "pooling is best; wanted: one of auto, first, mean"),
    ("--precision", "int8"): (2, "precision is int8; wanted: one of auto, fp32, bf16"),
    ("--epochs", "many"): (2, "'many' is not a valid integer"),
    ("--head", "mood=moods.tsv"): (2, "give one set with its validation, or --head NAME=FILE for each head"),
    ("--head", "moods.tsv"): (2, "--head is 'moods.tsv'; wanted: NAME=FILE"),
    ("--head-validation", "a=moods.tsv"): (2, "--head-validation names 'a', which no --head does"),
    ("--head", "a=moods.tsv", "--multi-head", "a=tags.tsv"): (2, "--head and --multi-head both name 'a'"),
    ("--multi-head", "a=tags.tsv", "--multi-label"): (2, "leave out --multi-label"),
    ("--retain-data", "moods.tsv"): (2, "--retain-data is of the model that --retain names"),
    ("--study", "a.db"): (2, "--study keeps the trials of --tune; add --tune N"),
    ("--tune", 0): (2, "the number of trials is 0; the least is 1"),
    ("--tune", 2, "--freeze-encoder"): (2, "a frozen encoder leaves nothing to tune"),
    ("--lora", 2, "--freeze-encoder"): (2, "freeze_encoder leaves nothing of the encoder to learn"),
    ("--base", "nonsense"): (4, "no model is called 'nonsense'"),
    ("--validation", "gone.tsv"): (3, "gone.tsv"),
    ("--device", "tpu"): (2, "wanted: cpu | cuda"),
}


@pytest.mark.parametrize("options", BAD_OPTIONS)
def test_bad_options_are_one_line_and_nothing_is_written(
    cli: Cli, base: str, files: Path, options: tuple[str | int, ...]
) -> None:
    status, told = BAD_OPTIONS[options]
    write_tsv(files / "moods.tsv", some(60))
    before = os.listdir()
    place = () if "--base" in options else ("--base", base)
    done = cli("train", "moods.tsv", *place, *map(str, options), "--output", "out")
    is_one_line(done, status, told)
    assert os.listdir() == before


def test_nothing_to_learn_from_is_an_error(cli: Cli, base: str, here: Path) -> None:
    done = cli("train", "--base", base, "--output", "out")
    is_one_line(done, 2, "nothing to learn from: name a labelled file, or --head NAME=FILE")


def test_a_base_of_another_architecture_refused(cli: Cli, base: str, files: Path) -> None:
    write_tsv(files / "moods.tsv", some(60))
    changed(Path(base), Path("gpt"), config={"model_type": "gpt2"})
    done = cli("train", "moods.tsv", "--base", "./gpt", "--output", "out")
    is_one_line(done, 4, "model_type 'gpt2' is not supported; supported: ")
    assert not Path("out").exists()


def test_an_output_that_is_there_is_left_alone(cli: Cli, base: str, files: Path) -> None:
    Path("out").mkdir()
    Path("out/mine.txt").write_text("mine")
    done = cli("train", "moods.tsv", "--base", base, "--output", "out")
    is_one_line(done, 7, "out is there already; name a folder that is not")
    assert os.listdir("out") == ["mine.txt"]


@pytest.mark.parametrize(
    ("knobs", "told"),
    [
        (QUICK, "cannot write out.training/"),
        (("--freeze-encoder",), "cannot write out: "),
        (("--tune", 2), "cannot use out.study.db: disk I/O error"),
    ],
)
def test_a_full_disk_is_one_line_and_no_bundle(
    spawn: Cli, base: str, files: Path, knobs: tuple[str | int, ...], told: str
) -> None:
    write_tsv(files / "moods.tsv", some(60))

    def small_files_only() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    command = ("train", "moods.tsv", "--validation", "held.tsv", "--base", base, *knobs, "--output", "out")
    done = spawn(*command, preexec_fn=small_files_only)
    assert done.status == 7, done.err
    assert not Path("out.study.db").exists()
    assert done.err.splitlines()[-1].startswith(f"tonewise: {told}")
    assert "Traceback" not in done.err
    assert not Path("out").exists()
    assert not list(Path().glob(".out.*"))
