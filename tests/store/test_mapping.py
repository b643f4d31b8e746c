"""A mapping names every label once, and becomes part of a new bundle."""

from pathlib import Path
from typing import Any

import pytest

from tonewise.errors import ConfigError, OutputError
from tonewise.store import Bundle, mapped, open_bundle, write_mapped
from tonewise.store.mapping import read_mapping

from .conftest import write_bundle

MOOD = {"low": "bad", "high": "good"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("m.json", '{"low": "bad", "high": "good"}'),
        ("m.toml", 'low = "bad"\nhigh = "good"\n'),
        ("m.csv", "model,mine\nlow,bad\nhigh,good\n"),
        ("m.CSV", '\ufeffmodel,mine\r\n"low",bad\r\n\r\nhigh,good\r\n'),
    ],
)
def test_a_mapping_is_read_from_any_of_its_formats(home: Path, name: str, text: str) -> None:
    Path(name).write_text(text, "utf-8", newline="")
    assert read_mapping(Path(name)) == MOOD


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("m.yaml", "", r"m\.yaml: its name tells no format; wanted: \.json, \.toml, \.csv"),
        ("m.json", "{", r"m\.json: not a mapping: "),
        ("m.json", "[" * 100_000, r"m\.json: not a mapping: "),
        ("m.json", "[1]", r"m\.json: not a mapping: wanted a table of labels"),
        ("m.json", '{"a": "x", "a": "y"}', r"m\.json: not a mapping: 'a' is there twice"),
        ("m.toml", "low", r"m\.toml: not a mapping: "),
        ("m.csv", "model,mine\nlow,bad,worse\n", r"m\.csv: not a mapping: row 2 has 3 columns; wanted: 2"),
        ("m.csv", "model,mine\nlow,bad\nlow,good\n", r"m\.csv: not a mapping: 'low' is there twice"),
        ("m.csv", 'model,mine\n"low,bad\n', r"m\.csv: not a mapping: "),
    ],
)
def test_a_file_that_is_no_mapping_is_named(home: Path, name: str, text: str, told: str) -> None:
    Path(name).write_text(text)
    with pytest.raises(ConfigError, match=f"^{told}"):
        read_mapping(Path(name))
    with pytest.raises(ConfigError, match=r"^gone\.json: no such file"):
        read_mapping(Path("gone.json"))


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({"low": "bad"}, "the mapping: no label for 'high' of head 'mood'; every one"),
        ({**MOOD, "mid": "x"}, "the mapping: head 'mood' has no label 'mid'; it has 'low', 'high'"),
        ({"low": "bad", "high": ""}, "the mapping: 'high' of head 'mood' becomes no label; a label cannot"),
        ({"low": "bad", "high": None}, "'high' of head 'mood' becomes no label"),
        ({"low": "bad", "high": 1}, "'high' of head 'mood' becomes no label"),
        ({}, "no label for 'low', 'high' of head 'mood'"),
        ({"mood": MOOD, "low": "bad"}, "the mapping: 'mood' is a table and 'low' is not; write labels, or"),
        ({"tone": MOOD}, "the mapping: b#mood has no head 'tone'; it has mood, topic"),
    ],
)
def test_labels_that_do_not_fit_are_named(home: Path, table: dict[str, Any], told: str) -> None:
    bundle = open_bundle(write_bundle(home / "b"), "b#mood").select(["mood"])
    with pytest.raises(ConfigError, match=told):
        mapped(bundle, table)


def test_a_flat_mapping_is_for_one_head(home: Path) -> None:
    bundle = open_bundle(write_bundle(home / "b"), "b")
    with pytest.raises(ConfigError, match=r"b has these: mood, topic; select one as REF#HEAD, or write a"):
        mapped(bundle, MOOD)
    found = mapped(bundle, {"mood": MOOD})
    assert found.heads["mood"].answers == ("bad", "good")
    assert found.heads["topic"] == bundle.heads["topic"]
    one = mapped(bundle.select(["topic"]), {"mood": MOOD})
    assert one.heads == {"topic": bundle.heads["topic"]}, "a head that is not selected is not asked"


def as_it_is(card: str, bundle: Bundle) -> str:
    return card


def test_a_mapped_bundle_is_a_new_one_with_its_card(home: Path) -> None:
    bundle = open_bundle(write_bundle(home / "b"), "b").select(["mood"])
    digest = write_mapped(mapped(bundle, MOOD), home / "new", as_it_is)
    found = open_bundle(home / "new", "new")
    assert (found.digest, found.manifest.parent) == (digest, bundle.digest)
    assert digest != bundle.digest
    assert list(found.heads) == ["mood"]
    assert (found.heads["mood"].labels, found.heads["mood"].mapping) == (("low", "high"), ("bad", "good"))
    assert (home / "new" / "README.md").read_bytes() == (home / "b" / "README.md").read_bytes()
    with pytest.raises(OutputError, match="new is there already"):
        write_mapped(bundle, home / "new", as_it_is)


def test_a_card_becomes_what_is_made_of_it_and_is_pinned_so(home: Path) -> None:
    bundle = mapped(open_bundle(write_bundle(home / "b"), "b").select(["mood"]), MOOD)
    before = (bundle.folder / "README.md").read_text("utf-8")
    write_mapped(bundle, home / "new", lambda card, of: f"{card}{of.heads['mood'].answers[1]}")
    assert (home / "new" / "README.md").read_text("utf-8") == f"{before}good"
    assert open_bundle(home / "new", "new").manifest.files["README.md"].size == len(before) + 4
    (bundle.folder / "README.md").unlink()
    write_mapped(bundle, home / "bare", as_it_is)
    assert not (home / "bare" / "README.md").exists()


def test_a_mapped_head_is_mapped_on_from_what_it_answers(home: Path) -> None:
    bundle = open_bundle(write_bundle(home / "b"), "b").select(["mood"])
    once = mapped(bundle, MOOD)
    with pytest.raises(ConfigError, match="has no label 'low', 'high'; it has 'bad', 'good'"):
        mapped(once, MOOD)
    twice = mapped(once, {"bad": "x", "good": "x"})
    assert (twice.heads["mood"].mapping, twice.heads["mood"].answers) == (("x", "x"), ("x",))
