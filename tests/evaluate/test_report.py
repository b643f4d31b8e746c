"""The page: whole in itself, every text escaped, one for each kind of head."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from tests.evaluate.conftest import Bundles, N, labelled_by, texts
from tests.models import LABELS
from tonewise import Classifier
from tonewise.evaluate import evaluate
from tonewise.metrics import reliability
from tonewise.source import Example
from tonewise.source.labelled import Labels, read_labelled

pytest.importorskip("matplotlib")

from matplotlib.patches import StepPatch

from tonewise.evaluate import pictures
from tonewise.evaluate.report import report

NASTY = "<script>alert('$x$')</script> & \"quoted\" http://example.org"
REFERRING = {"src", "href", "xlink:href", "action", "data", "poster", "srcset"}


class Page(HTMLParser):
    """What a page is made of; every tag that opens must close."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.references: list[str] = []
        self.words = ""
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.references += [value or "" for name, value in attrs if name in REFERRING]
        if tag not in ("meta", "br", "img"):
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.references += [value or "" for name, value in attrs if name in REFERRING]

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def test_the_page_needs_nothing_beside_itself_and_escapes_every_text(stub: Classifier) -> None:
    labelled = labelled_by(stub, columns={"<b>part": ["<i>one"] * N})
    broken = [Example(NASTY, None, NASTY, one.labels, one.fields, NASTY) for one in labelled.examples]
    found = evaluate(stub, read_labelled(broken, None, Labels(names=LABELS)), slices=["<b>part"], draws=5)
    files = {"<u>file": "0" * 64}
    again = evaluate(stub, found.gold, draws=5, slices=["<b>part"], files=files)
    mistakes = [replace(one, gold=("<s>gold",), found=("<s>found",)) for one in again.worst]
    whole = report(replace(again, worst=tuple(mistakes)))
    page = Page(whole)
    assert not {"script", "link", "iframe", "object", "b>part", "i", "u", "s"} & set(page.tags)
    assert all(one.startswith(("#", "data:image/png;base64,")) for one in page.references)
    assert not re.search(r"url\((?!#)|@import", whole)
    assert whole.replace("http://example.org", "").count("http") == 0
    for told in (
        NASTY,
        "<s>gold",
        "<s>found",
        "<b>part",
        "<i>one",
        "<u>file, sha256 " + "0" * 64,
        found.model["digest"],
    ):
        assert told in page.words


def test_the_page_tells_what_was_evaluated_and_how_it_went(stub: Classifier) -> None:
    labelled = labelled_by(stub)
    found = evaluate(stub, labelled, draws=5, slices=["length"], files={"in.csv": "ab" * 32})
    page = Page(report(found))
    assert page.tags.count("svg") == 3
    for told in ("80.00%", "stub", "fp32", "in.csv, sha256 abab", "anger", "Slices", "confidence", "rows"):
        assert told in page.words
    assert found.worst[0].text in page.words


def test_several_labels_have_thresholds_and_no_confusion(bundles: Bundles) -> None:
    folder = bundles(own={"problem_type": "multi_label_classification", "thresholds": (0.25, 0.5, 0.75)})
    rows = [Example(text, None, i, LABELS[i % 2 : 2]) for i, text in enumerate(texts(20))]
    labelled = read_labelled(rows, None, Labels(names=LABELS, multi_label=True))
    with Classifier.load(folder, engine="stub") as classifier:
        page = Page(report(evaluate(classifier, labelled, draws=5)))
    assert page.tags.count("svg") == 2
    assert "wrong" not in page.words
    holds = ("the label holds (30)", "it does not (30)", "Scores of labels that hold")
    for told in ("threshold", "0.750", "micro F1", "No text has the label anger", *holds):
        assert told in page.words


def test_the_page_tells_which_mapping_was_used(stub: Classifier) -> None:
    assert "mapping" not in Page(report(evaluate(stub, labelled_by(stub), draws=5))).words
    mapping = dict(zip(LABELS, ("down", "up", "<b>"), strict=True))
    with Classifier.load(stub.bundle.folder, engine="stub", map=mapping) as classifier:
        found = evaluate(classifier, labelled_by(classifier, 0, labels=("down", "up", "<b>")), draws=5)
    page = Page(report(found))
    assert "mapping" in page.words
    assert "sadness → down, joy → up, anger → <b>" in page.words


def test_a_legend_covers_no_bar() -> None:
    scores, holds = np.linspace(0, 1, 500), np.arange(500) % 2 > 0
    for draw in (pictures.score_histogram, pictures.scores_apart):
        figure = draw(scores, holds)
        figure.canvas.draw()
        (axes,) = figure.axes
        legend = axes.get_legend()
        assert legend is not None
        assert legend.get_window_extent().y0 >= axes.get_window_extent().y1 - 1
        assert legend.get_window_extent().x0 >= 0


def test_scores_of_rare_labels_are_as_tall_as_those_of_the_others() -> None:
    scores = np.array([0.02] * 98 + [0.98] * 2)
    (axes,) = pictures.scores_apart(scores, scores > 0.5).axes
    assert axes.get_ylim()[1] == pytest.approx(1, abs=0.1)
    tops = [patch.get_data()[0].max() for patch in axes.patches if isinstance(patch, StepPatch)]
    assert tops == [1, 1, 1, 1]
    assert pictures.as_svg(pictures.scores_apart(scores, scores < 0)).count("it does not (100)") == 1


@pytest.mark.parametrize("labels", [2, 31, 90])
def test_a_matrix_of_any_size_can_be_drawn(labels: int) -> None:
    names = [f"label $_{i}$ " + "x" * (i % 40) for i in range(labels)]
    table = np.eye(labels, labels + 1, dtype=np.int64) * 5
    svg = pictures.as_svg(pictures.confusion_matrix(names, table))
    assert svg.startswith("<svg")
    assert (">label $_1$ x</text>" in svg) == (labels < 81)
    assert "abstained" not in svg
    table[0, -1] = 3
    assert ("(abstained)" in pictures.as_svg(pictures.confusion_matrix(names, table))) == (labels < 81)


def test_pictures_are_the_same_each_time_and_can_be_png() -> None:
    confidence, right = np.linspace(0.3, 1, 50), np.arange(50) % 3 > 0
    drawn = [pictures.reliability_diagram(reliability(confidence, right), 0.1) for _ in range(2)]
    one, other = map(pictures.as_svg, drawn)
    assert one == other
    assert "currentColor" in one
    assert pictures.INK not in one
    assert pictures.as_png(pictures.score_histogram(confidence, right)).startswith(b"\x89PNG")
