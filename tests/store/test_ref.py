"""What a model may be called, and where each name points."""

from pathlib import Path

import pytest

from tonewise.errors import ModelError
from tonewise.store.ref import Ref, parse

COMMIT = "0123456789abcdef" * 2 + "01234567"
SST2 = "distilbert/distilbert-base-uncased-finetuned-sst-2-english"


@pytest.mark.parametrize(
    ("text", "ref"),
    [
        ("mood", Ref("mood", "packaged", "mood")),
        ("mood#mood, topic", Ref("mood#mood, topic", "packaged", "mood", heads=("mood", "topic"))),
        ("acme/mood", Ref("acme/mood", "hub", "acme/mood")),
        ("hub:acme/mood", Ref("hub:acme/mood", "hub", "acme/mood")),
        (f"hub:acme/mood@{COMMIT}#a", Ref(f"hub:acme/mood@{COMMIT}#a", "hub", "acme/mood", COMMIT, ("a",))),
        (f"acme/mood@{COMMIT.upper()}", Ref(f"acme/mood@{COMMIT.upper()}", "hub", "acme/mood", COMMIT)),
        (SST2.partition("/")[2], Ref(SST2.partition("/")[2], "hub", SST2)),
        ("./mood", Ref("./mood", "folder", "mood")),
        ("../mood#a", Ref("../mood#a", "folder", "../mood", heads=("a",))),
        ("/models/mood", Ref("/models/mood", "folder", "/models/mood")),
        ("acme/mood/", Ref("acme/mood/", "folder", "acme/mood")),
        (".", Ref(".", "folder", ".")),
    ],
)
def test_each_name_points_to_one_place(packaged_mood: Path, text: str, ref: Ref) -> None:
    assert parse(text) == ref


def test_a_path_is_a_folder_whatever_its_name(packaged_mood: Path) -> None:
    assert parse(Path("mood")) == Ref("mood", "folder", "mood")
    assert parse(Path("a/b#c")).heads == ()


def test_a_tilde_is_the_home_folder(home: Path) -> None:
    assert parse("~/mood").name == str(home / "home" / "mood")
    with pytest.raises(ModelError, match="no such home folder"):
        parse("~nobody-of-this-name/mood")


@pytest.mark.parametrize("text", ["", "  ", "#a", "acme/mood#", "acme/mood#a,", "acme/mood#,"])
def test_an_empty_name_or_head_is_refused(text: str) -> None:
    with pytest.raises(ModelError, match="is not a model's name"):
        parse(text)


@pytest.mark.parametrize("text", ["hub:mood", "a/b/c", "acme/../x", "acme/m d", "acme/", "hub:/x", "-a/b"])
def test_what_is_neither_is_refused(text: str) -> None:
    if text == "acme/":
        assert parse(text).place == "folder"
        return
    with pytest.raises(ModelError, match="write owner/name"):
        parse(text)


@pytest.mark.parametrize("revision", ["main", "0123abc", ""])
def test_a_revision_is_only_ever_a_whole_commit(revision: str) -> None:
    with pytest.raises(ModelError, match=r"not a commit of 40 hex digits.*tonewise pull acme/mood"):
        parse(f"hub:acme/mood@{revision}")


def test_an_unknown_name_lists_what_was_perhaps_meant(packaged_mood: Path) -> None:
    with pytest.raises(
        ModelError, match=r"no model is called 'moood'; did you mean mood\? \(packaged: mood\)"
    ):
        parse("moood")
    with pytest.raises(ModelError, match=r"did you mean .*tabularisai/multilingual-sentiment-analysis"):
        parse("multilingual-sentiment-analysi")
    with pytest.raises(ModelError, match=r"no model is called 'zzz' \(packaged: mood\)"):
        parse("zzz")


def test_a_folder_without_a_path_mark_is_pointed_at(home: Path) -> None:
    Path("mine").mkdir()
    with pytest.raises(ModelError, match=r"for the folder of that name write \./mine"):
        parse("mine")
