"""The exported folder: new or not there, with its terms, its card and what the outputs mean."""

import json
import os
import stat
from pathlib import Path

import pytest

from tests.doubles import MakeModel, write_bundle
from tests.models import changed, opened
from tonewise.errors import OutputError
from tonewise.export import export
from tonewise.export.folder import check_place, config_of
from tonewise.export.network import Network
from tonewise.store import HeadSpec
from tonewise.store.writing import new_folder


def test_an_empty_folder_may_be_written_and_a_missing_one_with_its_parents(here: Path) -> None:
    (here / "empty").mkdir()
    for name in ("empty", "a/b"):
        check_place(Path(name))
        with new_folder(Path(name)) as folder:
            (folder / "file").write_text("all of it")
        assert Path(name, "file").read_text() == "all of it"
    assert sorted(os.listdir()) == ["a", "empty"]


def test_a_place_that_holds_something_is_refused(here: Path) -> None:
    (here / "full").mkdir()
    (here / "full" / "mine").write_text("kept")
    (here / "link").symlink_to("full")
    for name, told in (
        ("full", "full: it is not empty; name a new folder"),
        ("full/mine", "full/mine: it is no folder"),
        ("link", "link: it is no folder"),
        (".", r"\.: it is the working folder"),
    ):
        with pytest.raises(OutputError, match=f"cannot write {told}"):
            check_place(Path(name))
    assert (here / "full" / "mine").read_text() == "kept"


def test_what_another_wrote_meanwhile_is_not_replaced(here: Path) -> None:
    entered = new_folder(Path("out"))
    entered.__enter__()
    (here / "out").mkdir()
    (here / "out" / "theirs").write_text("kept")
    with pytest.raises(OutputError, match="cannot write out: directory not empty"):
        entered.__exit__(None, None, None)
    assert [path.name for path in here.rglob("*")] == ["out", "theirs"]


def test_card_terms_and_tokenizer_go_along_and_the_card_tells_what_the_logits_need(
    model: MakeModel, tmp_path: Path
) -> None:
    spec = HeadSpec(
        *(("food", "work"), "own", "multi_label_classification"),
        temperature=1.5,
        thresholds=(0.25, 0.5),
        abstain_below=0.125,
    )
    source = write_bundle(tmp_path / "source", model(), {"own": spec}, licence="mit")
    for name in ("README.md", "LICENSE", "NOTICE"):
        (source / name).write_text(f"the words of {name}\n")
    folder = export(source, "onnx", tmp_path / "out").folder
    assert (folder / "LICENSE").read_text() == "the words of LICENSE\n"
    assert (folder / "NOTICE").read_text() == "the words of NOTICE\n"
    assert (folder / "vocab.txt").read_bytes() == (source / "vocab.txt").read_bytes()
    card = (folder / "README.md").read_text()
    assert card.startswith("the words of README.md\n\n## This folder\n")
    for told in ("temperature 1.5", "food 0.25, work 0.5", "under 0.125", "at most 64 tokens"):
        assert told in card


def test_every_file_has_the_mode_that_others_have(model: MakeModel, tmp_path: Path) -> None:
    folder = export(model(), "transformers", tmp_path / "out").folder
    (tmp_path / "any").write_text("")
    usual = stat.S_IMODE((tmp_path / "any").stat().st_mode)
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {usual}


@pytest.mark.parametrize("family", ["distilbert", "bert", "roberta", "xlm-roberta"])
def test_the_config_is_that_of_a_float32_classifier(family: str, model: MakeModel, tmp_path: Path) -> None:
    made = json.loads((model(family) / "config.json").read_text())
    extra = {"torch_dtype": "float16", "auto_map": {"AutoModel": "elsewhere--code.Model"}}
    network = Network.read(opened(changed(model(family), tmp_path / "m", config=extra)), "fp32")
    config = config_of(network)
    assert config["architectures"] == made["architectures"]
    assert config["dtype"] == "float32"
    assert not extra.keys() & config.keys()
    assert config["label2id"] == made["label2id"]
