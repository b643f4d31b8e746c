"""`map` and `classify --map`: the consumer's labels, the same ones either way."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cli.conftest import Cli
from tests.doubles import MakeModel
from tests.evaluate.cards import card, joined, with_card
from tests.evaluate.conftest import Bundles, bundles
from tests.models import LABELS
from tonewise import Classifier
from tonewise.errors import ConfigError, ModelError
from tonewise.evaluate.claims import read_claims
from tonewise.export import export
from tonewise.store import resolve
from tonewise.store.writing import pinned_files, write_manifest

__all__ = ["bundles"]  # a fixture
MERGED = dict(zip(LABELS, ("down", "up", "down"), strict=True))


@pytest.fixture
def file(here: Path) -> str:
    (here / "mine.json").write_text(json.dumps(MERGED))
    return "mine.json"


def test_a_written_mapping_and_one_that_is_named_answer_alike(cli: Cli, model: MakeModel, file: str) -> None:
    done = cli("map", model(), file, "-o", "new")
    assert (done.status, done.err) == (0, "")
    assert done.text.splitlines()[1] == "label: sadness → down, joy → up, anger → down"
    plain = json.loads(cli("classify", "so happy", "--model", model()).text)["predictions"]["label"]
    named = json.loads(cli("classify", "so happy", "--model", model(), "--map", file).text)["predictions"]
    written = json.loads(cli("classify", "so happy", "--model", "./new").text)["predictions"]
    assert named == written
    scores = plain["scores"]
    assert named["label"]["scores"] == pytest.approx(
        {"down": scores["sadness"] + scores["anger"], "up": scores["joy"]}, abs=2e-6
    )
    assert cli("verify", "./new").status == 0
    assert "sadness → down, joy → up" in cli("show", "./new").text


def test_a_mapping_that_misses_a_label_is_one_line(cli: Cli, model: MakeModel, here: Path) -> None:
    (here / "less.csv").write_text("model,mine\nsadness,down\njoy,up\n")
    for command in (
        ("classify", "x", "--model", model(), "--map", "less.csv"),
        ("map", model(), "less.csv", "-o", "new"),
    ):
        done = cli(*command)
        assert (done.status, done.out) == (2, b"")
        assert "less.csv: no label for 'anger' of head 'label'" in done.err
        assert done.err.count("\n") == 1
    assert not (here / "new").exists()


def test_a_card_of_mapped_labels_states_no_figure_of_the_old_ones(
    cli: Cli, model: MakeModel, here: Path, file: str
) -> None:
    stated = card([{"type": "accuracy", "value": 0.95}])
    assert cli("map", with_card(model, here / "old", stated), file, "-o", "new").status == 0
    text = (here / "new" / "README.md").read_text("utf-8")
    assert text == (
        "---\nlicense: mit\n---\n# A model\n\n## Mapped: head label\n\nBy `tonewise map` its answers have "
        "other labels. What stands above was measured before. The figures of it that the front matter stated "
        "are left out.\n"
    )
    done = cli("reproduce", "./new", "--data", "rows.csv")
    assert (done.status, "its card has no model-index" in done.err) == (4, True)
    assert cli("verify", "./new").status == 0
    (here / "same.json").write_text(json.dumps({label: label for label in LABELS}))
    assert cli("map", "./old", "same.json", "-o", "same").status == 0
    assert (here / "same" / "README.md").read_text("utf-8") == stated


def test_figures_of_heads_that_are_not_mapped_stay(cli: Cli, bundles: Bundles, here: Path) -> None:
    folder = bundles(one={}, other={})
    stated = [
        card([{"type": "accuracy", "value": value}], head=name)
        for name, value in (("one", 0.8), ("other", 0.9))
    ]
    (folder / "README.md").write_text(joined(*stated), "utf-8")
    write_manifest(folder, replace(resolve(folder).manifest, files=pinned_files(folder)))
    (here / "one.json").write_text(json.dumps({"one": MERGED}))
    assert cli("map", folder, "one.json", "-o", "new").status == 0
    (claim,) = read_claims(here / "new" / "README.md", "new")
    assert (claim.head, claim.value) == ("other", 0.9)
    text = (here / "new" / "README.md").read_text("utf-8")
    assert text.count("## Mapped: head ") == text.count("## Mapped: head one\n") == 1


def test_python_takes_a_file_or_a_table(model: MakeModel, file: str) -> None:
    with Classifier.load(model(), map=file) as one, Classifier.load(model(), map=MERGED) as two:
        assert one.classify("so happy") == two.classify("so happy")
        assert one.heads["label"].labels == ("down", "up")


def test_uncertainty_is_told_on_request(cli: Cli, model: MakeModel, here: Path) -> None:
    plain = json.loads(cli("classify", "so happy", "--model", model()).text)["predictions"]["label"]
    assert "entropy" not in plain
    asked = cli("classify", "so happy", "--model", model(), "--uncertainty")
    answer = json.loads(asked.text)["predictions"]["label"]
    best, second, _ = sorted(answer["scores"].values(), reverse=True)
    assert answer["margin"] == pytest.approx(best - second, abs=1e-5)
    assert 0 < answer["entropy"] < 1.1
    (here / "in.txt").write_text("so happy\n")
    for name in ("out.csv", "out.parquet"):
        assert cli("classify", "in.txt", "--model", model(), "--uncertainty", "-o", name).status == 0
    header, row = (here / "out.csv").read_text().splitlines()
    assert header == "text,label,label_score,label_entropy,label_margin"
    assert row.split(",")[3:] == [str(answer["entropy"]), str(answer["margin"])]
    pytest.importorskip("pyarrow")
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(here / "out.parquet").to_pylist()
    assert table[0]["label_entropy"] == answer["entropy"]


def test_a_frame_has_uncertainty_on_request(model: MakeModel) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"text": ["so happy", "so sad"]})
    with Classifier.load(model()) as classifier:
        found = classifier.classify(frame, uncertainty=True)
        assert list(found.columns) == ["text", "label", "label_score", "label_entropy", "label_margin"]
        assert found["label_margin"][0] == pytest.approx(
            classifier.classify("so happy").only.margin, abs=1e-5
        )
        with pytest.raises(ConfigError, match="are named for data frames"):
            classifier.classify("so happy", uncertainty=True)


def test_an_export_carries_new_names_and_refuses_what_logits_cannot_hold(
    cli: Cli, model: MakeModel, here: Path, file: str
) -> None:
    (here / "names.json").write_text(json.dumps({label: label.upper() for label in LABELS}))
    assert cli("map", model(), file, "-o", "merged").status == 0
    assert cli("map", model(), "names.json", "-o", "named").status == 0
    export("./named", "onnx", here / "onnx")
    config = json.loads((here / "onnx" / "config.json").read_text())
    assert config["id2label"] == {"0": "SADNESS", "1": "JOY", "2": "ANGER"}
    with pytest.raises(ModelError, match="head 'label' merges labels, which an export of logits cannot hold"):
        export("./merged", "onnx", here / "no")
