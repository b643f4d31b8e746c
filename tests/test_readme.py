"""The words of README and guide are tried: Python runs, commands run, figures are the measured ones."""

import json
import re
import shlex
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.cli.test_serve import started
from tests.models import WORDS
from tonewise.cli import run

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
PAGES = README + (ROOT / "docs/training.md").read_text("utf-8")
MOODS = {"sad": "sadness", "happy": "joy", "angry": "anger"}
CARD = """---
license: apache-2.0
model-index:
- name: my-model
  results:
  - task: {type: text-classification}
    dataset: {name: held-out, type: held-out, split: validation}
    metrics:
    - {type: accuracy, value: 1.0}
---
"""
"""A claim that a random model does not keep."""
BLOCKS = re.findall(r"```python\n(.*?)```", PAGES, flags=re.DOTALL)
COMMANDS = re.findall(r"^\$ (.*)$", PAGES, flags=re.MULTILINE)


def test_the_readme_shows_python_and_commands() -> None:
    assert len(BLOCKS) >= 2
    assert len(COMMANDS) >= 6


@pytest.mark.parametrize("code", BLOCKS, ids=range(len(BLOCKS)))
def test_the_python_of_the_readme_runs(code: str, here: Path) -> None:
    exec(compile(code, "README.md", "exec"), {"__name__": "readme"})


ELSEWHERE = ("pip ", "curl ", "tonewise serve ", "tonewise pull ", "cat ")
"""Their commands are run by tests of their own, or need a network."""


@pytest.mark.parametrize("line", sorted({line for line in COMMANDS if not line.startswith(ELSEWHERE)}))
def test_the_commands_of_the_readme_run(
    line: str, here: Path, model: object, capfd: pytest.CaptureFixture[str]
) -> None:
    Path("reviews.csv").write_text("id,review\n1,so good\n2,so bad\n")
    Path("docs").symlink_to(ROOT / "docs")
    Path("logs").mkdir()
    Path("logs/a.jsonl").write_text('{"message": "well done"}\n{"message": null}\n')
    Path("unlabelled.csv").write_text("text\n" + "".join(f"{word} so happy\n" for word in WORDS[5:40]))
    rows = [f"{word} so {mood},{label}" for mood, label in MOODS.items() for word in WORDS[5:40]]
    for name in ("labelled.csv", "held-out.csv"):
        Path(name).write_text("text,label\n" + "\n".join(rows) + "\n")
    Path("labels.csv").write_text("label,ours\nsadness,low\njoy,high\nanger,high\n")
    folder = Path(shutil.copytree(model(), "my-model"))  # type: ignore[operator]
    (folder / "README.md").write_text(CARD)
    if "./my-moods" in line:
        shutil.copytree(folder, "my-moods")
    line = line.replace(".jsonl.gz", ".jsonl")
    program, *arguments = shlex.split(line, comments=True)
    assert program == "tonewise"
    if arguments[0] == "bench":  # all of it would take minutes
        arguments += ["--engines", "onnxruntime", "--rounds", "1"]
    if arguments[0] == "compare":
        arguments += ["--rounds", "1"]
    if arguments[0] == "train":  # the packaged encoder would take minutes
        arguments += ["--base", "./my-model", "--epochs", "1"]
    assert run(arguments) == (9 if arguments[0] == "reproduce" else 0), capfd.readouterr().err


def test_stdin_and_a_folder_of_ones_own_run_as_the_readme_says(
    here: Path, model: object, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert any(line.startswith("cat notes.txt | tonewise classify - --model ./my-model") for line in COMMANDS)
    Path("notes.txt").write_text("so happy\nnot good\n")
    Path("my-model").symlink_to(model(), target_is_directory=True)  # type: ignore[operator]
    with Path("notes.txt").open() as file:
        monkeypatch.setattr("sys.stdin", file)
        assert run(["classify", "-", "--model", "./my-model"]) == 0
    assert capfd.readouterr().out.count("\n") == 2


def test_a_server_answers_as_the_readme_says() -> None:
    (line,) = (line for line in COMMANDS if line.startswith("tonewise serve "))
    (asked,) = (line for line in COMMANDS if line.startswith("curl "))
    with started(*shlex.split(line, comments=True)[2:]) as (process, url):
        command = shlex.split(asked.replace("http://127.0.0.1:8321", url))
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert json.loads(done.stdout)["usage"]["texts"] == 1
        process.send_signal(signal.SIGTERM)
    assert process.returncode == 0


def test_every_link_of_the_readme_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
