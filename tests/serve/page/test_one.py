"""One text in a real browser: bars while one types, the last text wins, and a key where one is wanted."""

import json
import re
import time
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.doubles import MakeModel
from tests.serve.conftest import serving
from tests.serve.page.conftest import HAPPY, OpenPage, predictions
from tonewise.serve.keys import Key, make_key, read_keys

pytest.importorskip("playwright", reason="playwright is not installed")

from playwright.sync_api import Page, Route, expect


def bars(page: Page, head: str) -> dict[str, tuple[float, str, bool]]:
    """Of each label: the bar's width in percent, the number beside it, whether it is marked."""
    read = """items => items.map(item => [item.querySelector(".name").textContent, [
        parseFloat(item.querySelector(".fill").style.width), item.querySelector(".number").textContent,
        item.querySelector(".mark").textContent === "✓"]])"""
    found = page.locator(f"[data-head='{head}'] .bars li").evaluate_all(read)
    return {label: tuple(told) for label, told in found}


def test_a_text_is_answered_with_bars_as_it_is_typed(page: Page, address: str) -> None:
    page.locator("#text").press_sequentially(HAPPY)
    expect(page.locator("[data-head=emotion] .said")).to_have_text("joy")
    page.wait_for_function("text => document.querySelector('#tokens').textContent === text", arg="6")
    (answer,) = (one["emotion"] for one in predictions(address, [HAPPY]))
    shown = bars(page, "emotion")
    assert list(shown) == list(answer["scores"])
    for label, score in answer["scores"].items():
        width, number, is_marked = shown[label]
        assert width == pytest.approx(100 * score, abs=0.01)
        assert (number, is_marked) == (f"{100 * score:.1f}%", label == "joy")
    expect(page.locator("#cut")).to_have_text("all of it")
    expect(page.locator("#said")).to_have_text("emotion: joy")
    page.fill("#text", "")
    expect(page.locator("[data-head=emotion] .said")).to_have_text("")


def test_latency_and_what_the_model_is_are_told(page: Page, address: str) -> None:
    with urlopen(f"{address}v1/models") as reply:
        emotion = json.load(reply)["data"][0]
    page.fill("#text", "a text that nobody asked about before")
    expect(page.locator("#latency")).to_contain_text(re.compile(r"^\d+\.\d ms \(tokenize .*compute "))
    whole, *parts = map(float, re.findall(r"\d+\.\d", page.locator("#latency").inner_text()))
    assert len(parts) >= 2
    assert sum(parts) <= whole + 0.2  # the parts are rounded too
    expect(page.locator("#round")).to_have_text(re.compile(r"^\d+ ms$"))
    for place, told in {"#licence": "licence", "#data-terms": "data_terms", "#digest": "digest"}.items():
        expect(page.locator(place)).to_have_text(emotion[told])
    expect(page.locator("#model-id")).to_have_text("tonewise/emotion")
    page.fill("#text", "a text that nobody asked about ")
    page.fill("#text", "a text that nobody asked about before")
    expect(page.locator("#latency")).to_have_text("answered before")


def test_every_head_answers_and_labels_that_hold_are_marked(page: Page, address: str) -> None:
    text = "Thank you so much, I love it, and congratulations!"
    page.select_option("#model", "multitask")
    page.fill("#text", text)
    expect(page.locator("[data-head=go-emotions] .number").first).to_have_text(re.compile("%"))
    answers = predictions(address, [text], "multitask")[0]
    several = answers["go-emotions"]
    assert len(several["labels"]) > 1
    expect(page.locator("[data-head=go-emotions] .said")).to_have_text(", ".join(several["labels"]))
    marked = {label for label, (_, _, is_marked) in bars(page, "go-emotions").items() if is_marked}
    assert marked == set(several["labels"])
    assert len(bars(page, "go-emotions")) < 28
    page.get_by_role("button", name="Show all 28").click()
    assert len(bars(page, "go-emotions")) == 28
    for head in ("sentiment", "spam", "offensive"):
        expect(page.locator(f"[data-head={head}] .said")).to_have_text(answers[head]["label"])


def test_a_long_text_is_said_to_be_cut(page: Page) -> None:
    page.fill("#text", "word " * 600)
    expect(page.locator("#cut")).to_have_text("the first 512 of 602 tokens")


def test_the_last_text_wins_and_the_older_request_is_aborted(page: Page) -> None:
    gone: list[str | None] = []
    page.on("requestfailed", lambda request: gone.append(request.failure))

    def hold_the_first(route: Route) -> None:
        if "furious" not in (route.request.post_data or ""):
            route.continue_()

    page.route("**/classify", hold_the_first)
    with page.expect_request("**/classify"):
        page.fill("#text", "i am furious")
    expect(page.locator("#answers")).to_have_attribute("aria-busy", "true")
    page.fill("#text", HAPPY)
    expect(page.locator("[data-head=emotion] .said")).to_have_text("joy")
    assert gone == ["net::ERR_ABORTED"]


def test_a_busy_server_is_asked_again_when_it_says(page: Page) -> None:
    times = []

    def refuse_the_first(route: Route) -> None:
        times.append(time.monotonic())
        if len(times) > 1:
            route.continue_()
        else:
            route.fulfill(status=429, headers={"retry-after": "2"}, json={"error": {"message": "full"}})

    page.route("**/classify", refuse_the_first)
    page.fill("#text", HAPPY)
    expect(page.locator("#notice")).to_have_text("The server is busy. Asking again in 2 s.")
    expect(page.locator("[data-head=emotion] .said")).to_have_text("joy")
    expect(page.locator("#notice")).to_be_hidden()
    assert len(times) == 2
    assert times[1] - times[0] >= 1.95


def test_a_server_that_does_not_answer_is_asked_again(page: Page) -> None:
    lost: list[Route] = []

    def lose_the_first(route: Route) -> None:
        if lost:
            route.continue_()
        else:
            lost.append(route)
            route.abort("connectionrefused")

    page.route("**/classify", lose_the_first)
    page.fill("#text", HAPPY)
    expect(page.locator("#notice")).to_have_text("The server does not answer. Asking again in 1 s.")
    expect(page.locator("[data-head=emotion] .said")).to_have_text("joy")


def test_a_refusal_is_told_in_the_servers_words(page: Page) -> None:
    page.fill("#text", "word " * 450_000)
    expect(page.locator("#notice")).to_contain_text("bytes; 2,000,000 are the most")
    page.fill("#text", HAPPY)
    expect(page.locator("[data-head=emotion] .said")).to_have_text("joy")
    expect(page.locator("#notice")).to_be_hidden()


def test_a_key_is_asked_for_where_one_is_wanted_and_kept_in_the_tab(
    opened: OpenPage, model: MakeModel, tmp_path: Path
) -> None:
    file = tmp_path / "keys.toml"
    secret = make_key(file, Key("page"))
    with serving(read_keys(file), models=(f"moods={model()}/",), streams=1) as server:
        page = opened(f"{server.url}/")
        expect(page.locator("#key")).to_be_focused()
        expect(page.locator("#key-told")).to_have_text("This server wants a key.")
        page.keyboard.type("wrong")
        page.keyboard.press("Enter")
        expect(page.locator("#key-told")).to_have_text("The server says: the key is not a known one.")
        page.fill("#key", secret)
        page.keyboard.press("Enter")
        expect(page.locator("#key-title")).to_be_hidden()
        expect(page.locator("#text")).to_be_focused()
        page.keyboard.type(HAPPY)
        expect(page.locator("#facts")).to_be_visible()
        kept = page.evaluate("[Object.values(sessionStorage), localStorage.length, document.cookie]")
        assert kept == [[secret], 0, ""]
        page.reload()
        expect(page.locator("#model option")).to_have_text("moods")
        page.click("#forget")
        expect(page.locator("#key")).to_be_focused()
        assert page.evaluate("sessionStorage.length") == 0
        page.context.close()
