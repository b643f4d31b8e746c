"""What is here, and whether it is whole."""

from pathlib import Path

import pytest

from tonewise.errors import HubError, ModelError
from tonewise.store import models, pull, verify
from tonewise.store.catalogue import catalogue

from .conftest import write_folder
from .hub_server import Hub, Model, tiny_model


def states(ref: str) -> dict[str, str]:
    return {check.name: check.state for check in verify(ref)}


def test_verify_names_the_file_that_differs(packaged_mood: Path) -> None:
    assert set(states("mood").values()) == {"ok"}
    (packaged_mood / "tokenizer.json").write_text("{}")
    (packaged_mood / "README.md").unlink()
    (packaged_mood / "vocab.txt").write_text("x")
    assert states("mood") == {
        "README.md": "missing",
        "config.json": "ok",
        "model.safetensors": "ok",
        "tokenizer.json": "differs",
        "vocab.txt": "unpinned",
    }
    (wrong,) = [check for check in verify("mood") if check.state == "differs"]
    assert len({wrong.expected, wrong.found, None}) == 3


def test_verify_of_a_hub_model_needs_no_network(hub: Hub, request: pytest.FixtureRequest) -> None:
    weights = pull("acme/mood").weights
    request.getfixturevalue("no_network")
    assert set(states("acme/mood").values()) == {"ok"}
    weights.resolve().write_bytes(b"damaged")
    assert states("acme/mood")["model.safetensors"] == "differs"
    weights.unlink()
    assert states("acme/mood")["model.safetensors"] == "missing"


def test_verify_of_a_plain_folder_says_that_nothing_vouches_for_it(home: Path) -> None:
    write_folder(home / "work" / "mine", tiny_model())
    assert set(states("./mine").values()) == {"unpinned"}


def test_verify_of_what_is_not_here_is_an_error(no_network: None) -> None:
    with pytest.raises(HubError, match="tonewise pull acme/mood"):
        verify("acme/mood")
    with pytest.raises(ModelError, match="there is no folder"):
        verify("./nothing")


def test_models_lists_packaged_present_and_catalogued_ones_once(packaged_mood: Path, hub: Hub) -> None:
    name = "distilbert/distilbert-base-uncased-finetuned-sst-2-english"
    hub.add(name, Model(tiny_model("apache-2.0")))
    pull("acme/mood")
    pull(name)
    rows = {row.name: row for row in models()}
    assert [row.kind for row in rows.values()] == ["packaged", "present", "present"] + ["catalogued"] * (
        len(catalogue()) - 1
    )
    mood = rows["mood"]
    assert mood.labels == {"mood": ("low", "high"), "topic": ("food", "travel", "work")}
    assert (mood.licence, mood.data_terms, mood.languages) == ("apache-2.0", "research only", ("en",))
    assert (
        mood.size
        == sum(path.stat().st_size for path in packaged_mood.iterdir())
        - (packaged_mood / "tonewise.json").stat().st_size
    )
    assert rows["acme/mood"].labels == {"label": ("low", "high")}
    assert rows["acme/mood"].size == sum(map(len, hub.models["acme/mood"].files.values()))
    assert rows["tabularisai/multilingual-sentiment-analysis"].licence == "cc-by-nc-4.0"
    assert rows["tabularisai/multilingual-sentiment-analysis"].size is None


def test_a_head_with_a_name_of_its_own_is_listed_with_its_labels(packaged_topic: Path) -> None:
    rows = {row.name: row for row in models() if row.kind == "packaged"}
    assert (list(rows["mood"].labels), rows["mood"].head_of) == (["mood", "topic"], None)
    assert (list(rows["topic"].labels), rows["topic"].head_of) == (["topic"], "mood")
    assert [check.state for check in verify("topic")] == [check.state for check in verify("mood")]


def test_a_locked_model_whose_files_are_elsewhere_is_listed_as_such(hub: Hub, home: Path) -> None:
    pull("acme/mood")
    (home / "hf").rename(home / "elsewhere")
    (row,) = [row for row in models() if row.name == "acme/mood"]
    assert (row.kind, row.licence) == ("locked", "mit")


def test_a_damaged_model_does_not_hide_the_others(hub: Hub) -> None:
    (pull("acme/mood").folder / "config.json").resolve().write_text("{")
    assert "acme/mood" in {row.name for row in models()}
