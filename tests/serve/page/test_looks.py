"""How the page is met: by keyboard, on a phone, in the dark, with no network; and the page of the routes."""

import json
import re
import shlex
from typing import Any
from urllib.request import urlopen

import pytest

from tests.serve.page.conftest import HAPPY, REVIEWS, OpenPage, asked, downloaded, give_csv, is_done
from tonewise.serve.page import FILES, POLICY

pytest.importorskip("playwright", reason="playwright is not installed")

from playwright.sync_api import Browser, Page, expect

LONG_WORD = "donaudampfschiffahrtsgesellschaft" * 6
CONTRAST = """() => {
  const paint = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const channels = (colour) => {
    paint.clearRect(0, 0, 1, 1); paint.fillStyle = colour; paint.fillRect(0, 0, 1, 1);
    return [...paint.getImageData(0, 0, 1, 1).data];
  };
  const light = (rgb) => rgb.slice(0, 3).map((c) => c / 255)
    .map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = channels(getComputedStyle(at).backgroundColor);
      if (colour[3] === 255) return colour;
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || !element.checkVisibility() || element.matches(":disabled, .unseen, option")) continue;
    const [a, b] = [light(channels(getComputedStyle(element).color)), light(behind(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    found.push([element.textContent.trim().slice(0, 40), ratio]);
  }
  return found;
}"""


def test_nothing_is_asked_of_elsewhere_and_nothing_is_complained_of(browser: Browser, address: str) -> None:
    page = browser.new_page()
    asked_for: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: asked_for.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(address)
    page.fill("#text", HAPPY)
    expect(page.locator("#facts")).to_be_visible()
    give_csv(page, REVIEWS[:9])
    page.click("#start")
    is_done(page)
    page.goto(f"{address}docs")
    expect(page.locator(".route").first).to_be_visible()
    page.close()
    assert not complaints
    assert {url for url in asked_for if not url.startswith((address, "data:", "blob:"))} == set()
    assert {f"{address}{path[1:]}" for path in FILES} <= set(asked_for)


def test_every_file_comes_under_the_strict_policy(address: str) -> None:
    for path, (name, kind) in FILES.items():
        with urlopen(f"{address}{path[1:]}") as reply:
            text = reply.read().decode()
        assert reply.headers["content-security-policy"] == POLICY
        assert reply.headers["content-type"] == kind
        assert reply.headers["x-content-type-options"] == "nosniff"
        if name.endswith(".html"):
            assert not re.search(
                r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)|https?://(?!www\.w3)", text
            )
    assert "unsafe" not in POLICY


def test_a_keyboard_is_enough(page: Page) -> None:
    expect(page.locator("#model")).to_be_enabled()

    def tab_to(name: str) -> list[str]:
        passed: list[str] = []
        while not passed or passed[-1] != name:
            page.keyboard.press("Tab")
            ring = page.evaluate(
                "() => { const at = document.activeElement, style = getComputedStyle(at); return ["
                "at.id || at.textContent.trim(), style.outlineStyle, parseFloat(style.outlineWidth)] }"
            )
            assert ring[1] != "none", f"the focus is not seen on {ring[0]}"
            assert ring[2] >= 2, f"the focus is hardly seen on {ring[0]}"
            passed.append(ring[0])
            assert len(passed) < 30
        return passed

    assert tab_to("text") == ["Tonewise", "model", "API", "text"]
    page.keyboard.type(HAPPY)
    expect(page.locator("[data-head=emotion] .said")).to_have_text("joy")
    assert tab_to("lines")[-1] == "lines"
    page.keyboard.type("i feel sad")
    page.keyboard.press("Enter")
    page.keyboard.type(HAPPY)
    assert tab_to("start") == ["file", "start"]
    page.keyboard.press("Enter")
    expect(page.locator("#download")).to_be_focused()
    _, rows = downloaded(page, lambda: page.keyboard.press("Enter"))
    assert [row[1] for row in rows[1:]] == ["sadness", "joy"]


def test_every_control_has_a_name(page: Page) -> None:
    roles: tuple[Any, ...] = ("button", "textbox", "combobox", "checkbox", "link", "table", "region")

    def check() -> set[str]:
        for role in roles:
            named = page.get_by_role(role, name=re.compile(r"\S"))
            expect(named).to_have_count(page.get_by_role(role).count())
        return {role for role in roles if page.get_by_role(role).count()}

    seen = check()
    give_csv(page, REVIEWS[:3])
    page.click("#start")
    is_done(page)
    assert seen | check() == set(roles)
    assert page.locator("#said").get_attribute("aria-live") == "polite"
    assert page.locator("html").get_attribute("lang") == "en"


@pytest.mark.parametrize("path", ["", "docs"])
def test_a_phone_never_scrolls_sideways(opened: OpenPage, address: str, path: str) -> None:
    page = opened(f"{address}{path}", 360)
    if path:
        expect(page.locator(".route").first).to_be_visible()
        page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    else:
        page.select_option("#model", "multitask")
        page.fill("#text", LONG_WORD)
        expect(page.locator("#facts")).to_be_visible()
        give_csv(page, [["text", LONG_WORD], [LONG_WORD, "1"]], f"{LONG_WORD}.csv")
        page.click("#start")
        is_done(page)
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    box = page.evaluate(
        "[...document.querySelectorAll('button, input, select, textarea, h1, h2, dd')]"
        ".filter(at => at.checkVisibility()).map(at => at.getBoundingClientRect().right)"
    )
    assert max(box) <= 360


@pytest.mark.parametrize("path", ["", "docs"])
def test_words_can_be_read_in_light_and_in_dark(opened: OpenPage, address: str, path: str) -> None:
    papers = []
    for scheme in ("light", "dark"):
        page = opened(f"{address}{path}", color_scheme=scheme, reduced_motion="reduce")
        if path:
            expect(page.locator(".route").first).to_be_visible()
        else:
            page.fill("#text", HAPPY)
            expect(page.locator("#facts")).to_be_visible()
            give_csv(page, [["text", "n"], [HAPPY, "1"], ["ragged"]])
            page.click("#start")
            is_done(page)
        found = page.evaluate(CONTRAST)
        assert len(found) > 30
        assert [one for one in found if one[1] < 4.5] == []
        papers.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert papers[0] != papers[1]


def test_every_route_is_told_and_its_example_works(opened: OpenPage, address: str) -> None:
    with urlopen(f"{address}openapi.json") as reply:
        described = json.load(reply)
    page = opened(f"{address}docs")
    expect(page.locator(".dialect > h2")).to_have_text(
        ["Tonewise", "Text Embeddings Inference", "OpenAI", "Hugging Face"]
    )
    ran = 0
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            section = page.locator(f"#{operation['operationId']}")
            expect(section.locator("h3")).to_have_text(f"{method.upper()}{path}")
            expect(section).to_contain_text(operation["summary"].replace("`", ""))
            words = shlex.split(section.locator("pre").inner_text())
            assert words[0] == "curl"
            if "-d" in words:
                url = words[1].removeprefix(address)
                assert asked(address, json.loads(words[words.index("-d") + 1]), url)
                ran += 1
    assert ran >= 8


def test_a_schema_is_told_with_what_its_fields_mean(opened: OpenPage, address: str) -> None:
    page = opened(f"{address}docs#post_classify")
    route = page.locator("#post_classify")
    expect(route).to_be_in_viewport()
    route.get_by_text("Request", exact=True).click()
    row = route.get_by_role("row").filter(has_text="top_k")
    expect(row).to_contain_text("whole number (may be left out)")
    expect(row).to_contain_text("scores kept a head, best first")
