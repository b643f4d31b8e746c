"""`models`, `show`, `pull` and `verify`: what a model is, under which terms, and whether it is whole."""

import json
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Cli
from tests.doubles import MakeModel, write_bundle
from tonewise.store import HeadSpec, packaged_names, resolve

RESTRICTED = "tabularisai/multilingual-sentiment-analysis"


@pytest.fixture
def bundle(model: MakeModel, tmp_path: Path) -> Path:
    heads = {"mood": HeadSpec(("low", "high", "flat"), "classifier", temperature=1.5)}
    folder = write_bundle(tmp_path / "bundle", model(), heads, licence="mit", data_terms="research only")
    (folder / "NOTICE").write_text("made of thin air\n")
    return folder


def test_models_lists_what_is_packaged_and_what_is_known(cli: Cli, here: Path) -> None:
    done = cli("models")
    assert (done.status, done.err) == (0, "")
    for word in ("In the package", "emotion", "apache-2.0", "research", "sadness", "Known", "cc-by-nc-4.0"):
        assert word in done.text
    rows = json.loads(cli("models", "--json").out)
    kinds = {row["name"]: row["kind"] for row in rows}
    assert {name for name, kind in kinds.items() if kind == "packaged"} == set(packaged_names())
    assert kinds[RESTRICTED] == "catalogued"
    own = next(row for row in rows if row["name"] == "emotion")
    assert own["labels"]["emotion"] == ["sadness", "joy", "love", "anger", "fear", "surprise"]
    assert own["size"] > 1e6


def test_show_tells_the_heads_terms_hashes_and_texts_of_a_model(cli: Cli) -> None:
    done = cli("show", "emotion")
    model = resolve("emotion")
    assert (done.status, done.err) == (0, "")
    for word in (
        model.digest,
        "apache-2.0",
        "research and educational use",
        "sadness, joy, love",
        "CARD",
        "LICENCE",
    ):
        assert word in done.text
    for name, file in model.manifest.files.items():
        assert name in done.text
        assert file.sha256 in done.text


def test_show_as_json_can_be_read_by_a_program(cli: Cli, bundle: Path) -> None:
    facts = json.loads(cli("show", bundle, "--json").out)
    model = resolve(bundle)
    assert (facts["ref"], facts["digest"]) == (str(bundle), model.digest)
    assert (facts["licence"], facts["data_terms"], facts["notice"]) == (
        "mit",
        "research only",
        "made of thin air\n",
    )
    assert facts["heads"]["mood"]["labels"] == ["low", "high", "flat"]
    assert facts["heads"]["mood"]["temperature"] == 1.5
    assert facts["files"]["model.safetensors"] == {
        "sha256": model.manifest.files["model.safetensors"].sha256,
        "size": (bundle / "model.safetensors").stat().st_size,
    }


def test_a_folder_of_ones_own_without_a_licence_is_unstated(cli: Cli, model: MakeModel) -> None:
    done = cli("show", model())
    assert done.status == 0
    assert "licence      unstated" in done.text
    assert "sadness, joy, anger (single_label_classification, temperature 1)" in done.text


def test_a_selected_head_is_shown_alone(cli: Cli, model: MakeModel, tmp_path: Path) -> None:
    heads = {"a": HeadSpec(("x", "y", "z"), "classifier"), "b": HeadSpec(("p", "q"), "other")}
    folder = write_bundle(tmp_path / "two", model(), heads)
    shown = cli("show", f"{folder}#b").text
    assert "p, q" in shown
    assert "x, y, z" not in shown


def test_an_unknown_name_says_which_are_near(cli: Cli, here: Path) -> None:
    done = cli("show", "emotoin")
    assert (done.status, done.out) == (4, b"")
    assert "did you mean emotion" in done.err
    (here / "mine").mkdir()
    assert "write ./mine" in cli("show", "mine").err


def test_terms_can_be_read_before_they_are_accepted(cli: Cli, here: Path, bundle: Path) -> None:
    done = cli("show", RESTRICTED)
    assert (done.status, done.err) == (0, "")
    for word in ("cc-by-nc-4.0", "Very Negative", f"tonewise pull {RESTRICTED}"):
        assert word in done.text
    assert json.loads(cli("show", RESTRICTED, "--json").out)["licence"] == "cc-by-nc-4.0"
    restricted = here / "restricted"
    shutil.copytree(bundle, restricted)
    card = "---\nlicense: cc-by-nc-4.0\n---\n"
    (restricted / "tonewise.json").unlink(missing_ok=True)
    (restricted / "README.md").write_text(card)
    assert "cc-by-nc-4.0" in cli("show", "./restricted").text
    refused = cli("classify", "so sad", "--model", "./restricted")
    assert (refused.status, refused.out) == (5, b"")
    assert "--accept-licences cc-by-nc-4.0" in refused.err


def test_pull_has_nothing_to_fetch_for_a_model_that_is_here(cli: Cli, bundle: Path) -> None:
    for ref in ("emotion", str(bundle)):
        done = cli("pull", ref)
        assert done.status == 0
        assert done.text.startswith(f"{ref}: ")
        assert f"nothing to fetch, {resolve(ref).digest}\n" in done.text


def test_pull_offline_does_not_touch_the_network(cli: Cli, here: Path) -> None:
    done = cli("pull", "distilbert/distilbert-base-uncased-finetuned-sst-2-english", "--offline")
    assert (done.status, done.out) == (4, b"")
    assert "offline" in done.err


def test_verify_tells_each_file(cli: Cli, bundle: Path) -> None:
    for ref in ("emotion", str(bundle)):
        done = cli("verify", ref)
        assert (done.status, done.err) == (0, "")
        files = resolve(ref).manifest.files
        lines = done.text.splitlines()
        assert [line.split() for line in lines] == [
            ["ok", files[name].sha256, name] for name in sorted(files)
        ]


def test_verify_names_the_file_that_differs(cli: Cli, bundle: Path) -> None:
    (bundle / "vocab.txt").write_text((bundle / "vocab.txt").read_text().replace("happy", "hapqy"))
    (bundle / "tokenizer_config.json").unlink()
    done = cli("verify", bundle)
    states = {line.split()[-1]: line.split()[0] for line in done.text.splitlines()}
    assert states == {
        "config.json": "ok",
        "model.safetensors": "ok",
        "tokenizer_config.json": "missing",
        "vocab.txt": "differs",
    }
    assert (done.status, done.err) == (
        4,
        f"tonewise: {bundle}: not as pinned: tokenizer_config.json, vocab.txt\n",
    )


def test_what_was_told_before_an_error_reaches_a_pipe(spawn: Cli, bundle: Path) -> None:
    (bundle / "vocab.txt").unlink()
    done = spawn("verify", bundle)
    assert (done.status, len(done.out.splitlines())) == (4, 4)
    assert done.err == f"tonewise: {bundle}: not as pinned: vocab.txt\n"


def test_an_altered_model_is_not_run(cli: Cli, bundle: Path) -> None:
    (bundle / "vocab.txt").write_text((bundle / "vocab.txt").read_text().replace("happy", "hapqy"))
    for command in (["show", bundle], ["classify", "a", "--model", bundle]):
        done = cli(*command)
        assert (done.status, done.out) == (4, b"")
        assert "vocab.txt has sha256" in done.err
        assert done.err.count("\n") == 1


def test_verify_of_a_folder_without_a_manifest_vouches_for_nothing(
    cli: Cli, model: MakeModel, tmp_path: Path
) -> None:
    folder = shutil.copytree(model(), tmp_path / "plain")
    done = cli("verify", folder)
    told = "nothing vouches for these files: no manifest and no lock"
    assert (done.status, done.err) == (4, f"tonewise: {folder}: {told}\n")
    assert {line.split()[0] for line in done.text.splitlines()} == {"unpinned"}


def test_verify_refuses_a_file_that_would_stop_a_run(cli: Cli, bundle: Path) -> None:
    (bundle / "special_tokens_map.json").write_text("{}")
    assert cli("classify", "a", "--model", bundle).status == 4
    done = cli("verify", bundle)
    told = "pinned by nothing: special_tokens_map.json; move out of the folder"
    assert (done.status, done.err) == (4, f"tonewise: {bundle}: {told}\n")
    (bundle / "config.json").write_text("{}")
    told = f"not as pinned: config.json; {told}"
    assert cli("verify", bundle).err == f"tonewise: {bundle}: {told}\n"
