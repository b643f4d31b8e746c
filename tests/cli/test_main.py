"""`tonewise` itself: exit statuses, one line for each error, help, and readers who leave."""

import re
from pathlib import Path

import pytest

import tonewise
from tests.cli.conftest import Cli, Popen
from tonewise import errors
from tonewise.cli import statuses
from tonewise.errors import EngineError, InputError, MissingExtraError, RowError, TonewiseError

ERRORS = [
    kind("something is wrong")
    for kind in vars(errors).values()
    if isinstance(kind, type) and kind not in (MissingExtraError, RowError)
]
ERRORS += [
    MissingExtraError("pyarrow", "parquet"),
    RowError("x line 7", InputError("y")),
    RowError("", EngineError("z")),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: f"{type(error).__name__}-{error.code}")
def test_every_error_is_one_line_and_its_own_status(
    cli: Cli, error: TonewiseError, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**options: object) -> None:
        raise error

    monkeypatch.setattr("tonewise.cli.show.list_models", fail)
    done = cli("models")
    assert (done.status, done.out, done.err) == (error.exit_status, b"", f"tonewise: {error}\n")
    assert error.exit_status in statuses.table()


@pytest.mark.parametrize(("told", "word"), [("", "interrupted"), ("stopped at row 7", "stopped at row 7")])
def test_an_interrupt_is_130(cli: Cli, told: str, word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(**options: object) -> None:
        raise KeyboardInterrupt(*[told] * bool(told))

    monkeypatch.setattr("tonewise.cli.show.list_models", interrupt)
    done = cli("models")
    assert (done.status, done.out, done.err) == (130, b"", f"tonewise: {word}\n")


def test_help_lists_every_exit_status(cli: Cli) -> None:
    done = cli("--help")
    assert done.status == 0
    listed = dict(re.findall(r"(?m)^    (\d+) +(\S.*)$", done.text.partition("Exit statuses:")[2]))
    assert listed == {str(status): meaning for status, meaning in statuses.table().items()}
    assert {"0", "2", "3", "4", "5", "6", "7", "8", "130", "143"} <= set(listed)


def test_without_a_command_there_is_help(cli: Cli) -> None:
    assert cli().out == cli("--help").out
    assert cli().status == 0


def test_every_command_and_option_is_told(cli: Cli) -> None:
    listed = re.findall(r"(?m)^  (\w+) ", cli().text.partition("Commands:")[2].partition("\n\n")[0])
    known = {"classify", "models", "show", "pull", "verify", "warm", "bench", "quantize", "export"}
    assert known <= set(listed)
    for command in listed:
        done = cli(command, "--help")
        assert done.status == 0
        assert f"tonewise {command}" in done.text
        for option in re.findall(r"(?m)^  (-\S.*)$", done.text):
            assert re.search(r"\S  +\S|^--?\S+( \S+)?$|, ", option), option
    assert cli("classify", "-h").out == cli("classify", "--help").out


def test_the_version_is_told(cli: Cli) -> None:
    assert cli("--version").text == f"tonewise, version {tonewise.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["clasify"], "No such command 'clasify'"),
        (["classify", "--modell", "x"], "No such option '--modell'"),
        (["classify", "a", "--threads", "two"], "'two' is not a valid integer"),
        (["classify", "a", "--on-error", "ignore"], "on_error cannot be 'ignore'; wanted: stop | skip"),
        (["classify", "a", "--threads", "0"], "threads is 0; the least is 1"),
        (
            ["classify", "a", "--too-long", "cut"],
            "too_long cannot be 'cut'; wanted: truncate | error | window",
        ),
        (
            ["classify", "a", "--precision", "int4"],
            "precision cannot be 'int4'; wanted: auto | int8 | bf16 | fp32",
        ),
        (
            ["classify", "a", "--engine", "abacus"],
            "no engine 'abacus'; there are: auto, openvino, onnxruntime, ",
        ),
        (["classify", "a", "--max-length", "100000"], "max_length is 100000, but this model takes 512"),
        (["classify", "a", "--config", "none.toml"], "none.toml: "),
        (["classify", "a", "--output-format", "xml"], "output_format cannot be 'xml'; wanted: jsonl | csv"),
        (["classify", "a.csv", "--encoding", "utf-9"], "encoding cannot be 'utf-9'"),
        (["show"], "Missing argument 'REF'"),
    ],
)
def test_a_setting_that_cannot_be_used_is_one_line(
    cli: Cli, here: Path, arguments: list[str], told: str
) -> None:
    done = cli(*arguments)
    assert (done.status, done.out) == (2, b"")
    assert done.err.startswith("tonewise: ")
    assert told in done.err
    assert done.err.count("\n") == 1


def test_an_unknown_variable_is_one_line(cli: Cli, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TONEWISE_TREADS", "2")
    done = cli("classify", "a")
    told = "tonewise: environment variable TONEWISE_TREADS: no setting 'treads'; did you mean threads?\n"
    assert (done.status, done.err) == (2, told)


def test_a_settings_file_of_this_folder_is_read(cli: Cli, here: Path) -> None:
    (here / "tonewise.toml").write_text("treads = 2\n")
    done = cli("classify", "a")
    assert (done.status, done.err) == (
        2,
        "tonewise: tonewise.toml: no setting 'treads'; did you mean threads?\n",
    )


def test_python_dash_m_is_the_same_command(spawn: Cli) -> None:
    assert spawn("--version").text == f"tonewise, version {tonewise.__version__}\n"
    assert spawn("show", "nothing-of-the-kind").status == 4


def test_a_reader_who_leaves_ends_the_run_quietly(start: Popen, here: Path) -> None:
    (here / "many.txt").write_text("".join(f"i am happy {i}\n" for i in range(50_000)))
    process = start("classify", "many.txt", "--engine", "stub")
    assert process.stdout is not None
    assert process.stdout.readline().startswith(b'{"id": 1, "text": "i am happy 0"')
    process.stdout.close()
    process.stdout = None
    assert process.communicate(timeout=30)[1] == b""
    assert process.returncode == 0


def test_a_reader_who_leaves_a_page_ends_it_quietly(start: Popen) -> None:
    process = start("show", "emotion")
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    assert process.communicate(timeout=30)[1] == b""
    assert process.returncode == 0


@pytest.mark.parametrize(
    "arguments", [["models"], ["show", "emotion"], ["classify", "a", "--engine", "stub"]]
)
def test_a_full_disk_behind_stdout_is_one_line(spawn: Cli, arguments: list[str]) -> None:
    with open("/dev/full", "wb") as full:
        done = spawn(*arguments, stdout=full)
    assert (done.status, done.err) == (7, "tonewise: cannot write stdout: the disk is full\n")
