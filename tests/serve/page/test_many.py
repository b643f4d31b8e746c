"""Many texts in a real browser: a CSV in and out, what fails, what is cancelled, what cannot be read."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.serve.page.conftest import HAPPY, REVIEWS, downloaded, give, give_csv, is_done, predictions

pytest.importorskip("playwright", reason="playwright is not installed")

from playwright.sync_api import Browser, Page, Request, Route, expect


def texts_of(sent: Request) -> list[str]:
    texts: list[str] = json.loads(sent.post_data or "{}")["texts"]
    return texts


def sizes_of(page: Page) -> list[int]:
    """How many texts each request from now on holds."""
    sizes: list[int] = []

    def count(sent: Request) -> None:
        if sent.method == "POST":
            sizes.append(len(texts_of(sent)))

    page.on("request", count)
    return sizes


def test_a_csv_comes_back_with_the_answers_beside_its_rows(page: Page, address: str) -> None:
    sizes = sizes_of(page)
    give_csv(page, REVIEWS)
    expect(page.locator("#column option:checked")).to_have_text("review")
    page.click("#start")
    is_done(page)
    name, (head, *rows) = downloaded(page)
    assert name == "reviews.answers.csv"
    assert head == ["id", "review", "stars", "emotion", "emotion_score", "truncated", "error"]
    assert [row[:3] for row in rows] == REVIEWS[1:]
    for row, wanted in zip(rows, predictions(address, [row[1] for row in REVIEWS[1:]]), strict=True):
        assert row[3] == wanted["emotion"]["label"]
        assert float(row[4]) == pytest.approx(wanted["emotion"]["score"], abs=0.02)
        assert row[5:] == ["false", ""]
    assert sorted(sizes) == [22, 64, 64]
    expect(page.locator("#outcome")).to_have_text("150 texts answered.")


def test_every_score_is_there_on_demand_and_the_files_own_marks_are_kept(page: Page, address: str) -> None:
    rows = [["emotion", "note"], ["5", f"{HAPPY}; very"], ["6", "so sad"]]
    written = io.StringIO()
    csv.writer(written, delimiter=";").writerows(rows)
    give(page, b"\xef\xbb\xbf" + written.getvalue().encode())
    page.select_option("#column", "note")
    page.check("#every-score")
    page.click("#start")
    is_done(page)
    with page.expect_download() as waiting:
        page.click("#download")
    content = Path(waiting.value.path()).read_bytes()
    assert content.startswith(b"\xef\xbb\xbf")
    head, first, _ = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), delimiter=";")
    wanted = predictions(address, [rows[1][1]])[0]["emotion"]
    assert head[:4] == ["emotion", "note", "emotion_2", "emotion_score"]
    assert head[4:-2] == [f"emotion_score_{label}" for label in wanted["scores"]]
    assert [float(cell) for cell in first[4:-2]] == pytest.approx(list(wanted["scores"].values()), abs=0.02)


def test_another_column_may_be_chosen_and_names_may_be_absent(page: Page, address: str) -> None:
    give_csv(page, [[HAPPY, "i am furious about the long delay"], ["so sad", "what a lovely day"]])
    expect(page.locator("#column option:checked")).to_have_text("i am furious about the long delay")
    page.uncheck("#named")
    page.select_option("#column", "column_1")
    page.click("#start")
    is_done(page)
    _, (head, *rows) = downloaded(page)
    assert head[:3] == ["column_1", "column_2", "emotion"]
    labels = [one["emotion"]["label"] for one in predictions(address, [HAPPY, "so sad"])]
    assert [row[2] for row in rows] == labels


def test_pasted_lines_are_answered_one_each(page: Page) -> None:
    page.fill("#lines", f"{HAPPY}\n\ni feel sad\n")
    page.get_by_role("button", name="Answer 3 texts").click()
    is_done(page)
    name, (head, *rows) = downloaded(page)
    assert (name, head[0]) == ("texts.answers.csv", "text")
    assert [row[0] for row in rows] == [HAPPY, "", "i feel sad"]
    assert [row[1] for row in rows][::2] == ["joy", "sadness"]


def test_a_text_that_fails_is_shown_as_such_and_stops_no_other(page: Page) -> None:
    def refuse_poison(route: Route) -> None:
        texts = texts_of(route.request)
        if "poison" in texts:
            route.fulfill(status=422, json={"error": {"code": "bad_input", "message": "it cannot be read"}})
        else:
            route.continue_()

    page.route("**/classify", refuse_poison)
    give_csv(page, [["text", "n"], *[[f"so sad {i}", "1"] for i in range(30)], ["poison", "2"], ["short"]])
    page.click("#start")
    is_done(page)
    expect(page.locator("#outcome")).to_have_text("30 texts answered · 2 without an answer.")
    poisonous, ragged = "it cannot be read", "the row has 1 field, and 2 are wanted"
    expect(page.locator("#failed li")).to_have_text([f"Row 31: {poisonous}", f"Row 32: {ragged}"])
    _, (_, *rows) = downloaded(page)
    assert [row[-1] for row in rows] == [""] * 30 + [poisonous, ragged]
    assert all(bool(row[2]) == (not row[-1]) for row in rows)


def test_an_answer_that_is_an_error_is_told_in_its_row(page: Page) -> None:
    def fail_the_second(route: Route) -> None:
        reply = route.fetch()
        told = reply.json()
        told["answers"][1] = {
            "id": 2,
            "text": "x",
            "error": {"code": "too_long", "message": "it is too long"},
        }
        route.fulfill(response=reply, json=told)

    page.route("**/classify", fail_the_second)
    page.fill("#lines", f"{HAPPY}\nx\n{HAPPY}")
    page.click("#start")
    is_done(page)
    assert [(row[1], row[-1]) for row in downloaded(page)[1][1:]] == [
        ("joy", ""),
        ("", "it is too long"),
        ("joy", ""),
    ]


def test_what_was_cancelled_is_called_partial_and_can_go_on(page: Page) -> None:
    held: list[list[str]] = []

    def hold_the_rest(route: Route) -> None:
        texts = texts_of(route.request)
        if texts[0] == REVIEWS[1][1]:
            route.continue_()
        else:
            held.append(texts)

    page.route("**/classify", hold_the_rest)
    give_csv(page, REVIEWS)
    page.click("#start")
    expect(page.locator("#pace")).to_contain_text("64 of 150 texts")
    assert page.locator("#progress").evaluate("bar => [bar.value, bar.max]") == [64, 150]
    expect(page.locator("#cancel")).to_be_focused()
    page.keyboard.press("Enter")
    is_done(page)
    expect(page.locator("#outcome")).to_have_text("Cancelled · 64 texts answered.")
    name, rows = downloaded(page)
    assert (name, len(rows)) == ("reviews.answers.partial.csv", 65)
    page.unroute("**/classify")
    sizes = sizes_of(page)
    page.get_by_role("button", name="Go on").click()
    expect(page.locator("#outcome")).to_have_text("150 texts answered.")
    name, rows = downloaded(page)
    assert (name, [row[:3] for row in rows]) == ("reviews.answers.csv", REVIEWS)
    assert sum(sizes) == 86


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b'a,b\r\n1,"never closed', "Row 2: a quoted field is never closed."),
        (b'a,b\r\n"1"2,3', "Row 2: a closing quote is followed by text"),
        (b"text\r\ncaf\xe9", "The file is not UTF-8."),
        (b"", "There are no rows in the file."),
    ],
)
def test_a_file_that_cannot_be_read_is_told_why(page: Page, content: bytes, told: str) -> None:
    give(page, content)
    expect(page.locator("#outcome")).to_contain_text(f"reviews.csv: {told}")
    expect(page.locator("#start")).to_be_disabled()
    expect(page.locator("#lines")).to_be_visible()


def test_a_file_may_be_dropped_anywhere(page: Page) -> None:
    drop = """text => { const data = new DataTransfer();
      data.items.add(new File([text], "dropped.csv", { type: "text/csv" }));
      return document.querySelector("#one").dispatchEvent(
        new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true })); }"""
    left_to_the_browser = page.evaluate(
        drop, "title, Message \na title that is longer than its text,i am so happy\n"
    )
    assert not left_to_the_browser
    expect(page.locator("#file-name")).to_have_text("dropped.csv")
    expect(page.locator("#column option:checked")).to_have_text("Message")
    page.get_by_role("button", name="Take it away").click()
    expect(page.locator("#lines")).to_be_visible()
    expect(page.locator("#file")).to_be_focused()


@given(
    st.integers(1, 4).flatmap(
        lambda width: st.lists(
            st.lists(st.text(st.sampled_from('ab ,;"\n\r|é日'), max_size=8), min_size=width, max_size=width),
            min_size=1,
            max_size=5,
        )
    )
)
@settings(max_examples=60)
def test_what_pythons_csv_writes_is_read_and_the_other_way_round(blank: Page, rows: list[list[str]]) -> None:
    rows = [["text", *["x"] * (len(rows[0]) - 1)], *rows]  # a header tells the separator
    written = io.StringIO(newline="")
    csv.writer(written).writerows(rows)
    read = """async ([text, rows]) => { const { parse, line } = await import("/page/csv.js");
      return [parse(text).rows, rows.map((row) => line(row, ",")).join("")]; }"""
    parsed, told = blank.evaluate(read, [written.getvalue(), rows])
    assert parsed == rows
    assert list(csv.reader(io.StringIO(told, newline=""), strict=True)) == rows


@pytest.fixture(scope="module")
def blank(browser: Browser, address: str) -> Iterator[Page]:
    page = browser.new_page()
    page.goto(f"{address}docs")
    yield page
    page.close()


def test_a_key_that_ends_midway_is_asked_for(page: Page) -> None:
    page.route("**/classify", lambda route: route.fulfill(status=401, json={"error": {"message": "no"}}))
    page.fill("#lines", HAPPY)
    page.click("#start")
    expect(page.locator("#key")).to_be_focused()
    page.unroute("**/classify")
    page.get_by_role("button", name="Go on").click()
    expect(page.locator("#outcome")).to_have_text("1 text answered.")
