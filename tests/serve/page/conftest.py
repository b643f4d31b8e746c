"""The packaged models served by a process of their own, and a Chromium to look at them with."""

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
MOST_MS = 30_000
HAPPY = "i am so happy"
OpenPage = Callable[..., Any]
REVIEWS = [
    ["id", "review", "stars"],
    ["1", HAPPY, "5"],
    ["2", 'they said "no", and\nleft', "1"],
    ["3", "", "3"],
    ["4", "日本語 and é; both\r\nhere", "2"],
    *[[str(i), f"i feel sad, day {i}", ""] for i in range(5, 151)],
]


@pytest.fixture(scope="package")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the packaged models are served, by a process of its own."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("TONEWISE_")}
    own |= {"XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache")), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tonewise", "serve", "emotion", "multitask", "--port", "0"]
    with (
        (tmp_path_factory.mktemp("log") / "log").open("w+", encoding="utf-8") as log,
        subprocess.Popen([*command, "--threads", "1"], stderr=log, env=own) as process,
    ):
        try:
            yield f"{_told_address(process, Path(log.name))}/"
        finally:
            process.terminate()


def _told_address(process: "subprocess.Popen[bytes]", log: Path) -> str:
    until = time.monotonic() + MOST_MS / 250
    while process.poll() is None and time.monotonic() < until:
        if told := re.search(r" on (http://\S+)", log.read_text("utf-8")):
            return told[1]
        time.sleep(0.1)
    raise AssertionError(log.read_text("utf-8"))


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("there is no chromium here")
    with pytest.importorskip("playwright.sync_api").sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def opened(browser: Any) -> Iterator[OpenPage]:
    """`opened(address, width=…, color_scheme=…)`: a page in a fresh context, its faults collected."""
    contexts: list[Any] = []
    faults: list[str] = []

    def open_page(address: str, width: int = 1200, **options: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": 800}, **options)
        context.set_default_timeout(MOST_MS)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not faults


@pytest.fixture
def page(opened: OpenPage, address: str) -> Any:
    return opened(address)


def asked(address: str, body: dict[str, Any], path: str = "classify") -> Any:
    headers = {"content-type": "application/json"}
    with urlopen(Request(f"{address}{path}", json.dumps(body).encode(), headers), timeout=60) as reply:
        return json.load(reply)


def predictions(address: str, texts: list[str], model: str = "emotion") -> list[dict[str, Any]]:
    answers = asked(address, {"texts": texts, "model": model})["answers"]
    return [answer["predictions"] for answer in answers]


def give_csv(page: Any, rows: list[list[str]], name: str = "reviews.csv", **how: Any) -> None:
    written = io.StringIO()
    csv.writer(written, **how).writerows(rows)
    give(page, written.getvalue().encode(), name)


def give(page: Any, content: bytes, name: str = "reviews.csv") -> None:
    page.set_input_files("#file", {"name": name, "mimeType": "text/csv", "buffer": content})


def downloaded(page: Any, press: Callable[[], None] | None = None) -> tuple[str, list[list[str]]]:
    """The name of the file, and its rows."""
    with page.expect_download() as waiting:
        if press is None:
            page.click("#download")
        else:
            press()
    content = Path(waiting.value.path()).read_bytes().decode()
    return waiting.value.suggested_filename, list(csv.reader(io.StringIO(content, newline=""), strict=True))


def is_done(page: Any) -> None:
    page.wait_for_selector("#download", state="visible")
