"""Shoot docs/images/page-*.png: the page of `tonewise serve`, light, dark, on a phone, with many texts."""

import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

IMAGES = Path(__file__).with_name("images")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
TEXT = (
    "The lights went out in the whole street, we all carried candles into the yard, somebody found a "
    "fiddle, and my grandmother danced with the postman until midnight. I love these people!"
)
LINES = (
    "I am thrilled, I passed and I cannot stop grinning",
    "I feel so disappointed that you never called",
    "Who ate my lunch again? I am furious",
    "I feel terrified of the noises in the attic tonight",
    "I feel so tender when you hold my hand on cold mornings",
    "I feel so amazed that forty people came and sang for me",
    "I packed her books away and I feel so empty without her",
    "I feel wonderful, the soup was great and the cook came out to sing",
)
WIDE, PHONE = (1200, 800), (390, 844)
COLOURS = 128


@contextmanager
def serving() -> Iterator[str]:
    """The address of a server with packaged models."""
    command = (sys.executable, "-m", "tonewise", "serve", "emotion", "spam", "--port", "0", "--threads", "1")
    own = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=own) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        match = re.search(r"http://\S+", line)
        if match is None:
            sys.exit(line)
        try:
            yield match[0]
        finally:
            process.terminate()


def shot(browser: Any, address: str, name: str, size: tuple[int, int], **options: Any) -> None:
    """The page with one text answered, as it first meets the eye."""
    page = opened(browser, address, size, **options)
    page.fill("#text", TEXT)
    page.wait_for_selector("#facts", state="visible")
    settled(page)
    keep(page.screenshot(), name)
    page.context.close()


def shot_of_many(browser: Any, address: str, name: str) -> None:
    """The part of the page that takes many texts, with its answers."""
    page = opened(browser, address, WIDE)
    page.fill("#lines", "\n".join(LINES))
    page.click("#start")
    page.wait_for_selector("#download", state="visible")
    settled(page)
    keep(page.locator("#many").screenshot(), name)
    page.context.close()


def opened(browser: Any, address: str, size: tuple[int, int], **options: Any) -> Any:
    """A page in a context of its own."""
    width, height = size
    page = browser.new_page(viewport={"width": width, "height": height}, reduced_motion="reduce", **options)
    page.goto(address)
    page.wait_for_selector("#model:enabled")
    return page


def settled(page: Any) -> None:
    """Once nothing is fetched any more; no caret blinks, and each box shows where its text begins."""
    page.wait_for_load_state("networkidle")
    page.evaluate("document.activeElement.blur()")
    page.evaluate("for (const area of document.querySelectorAll('textarea')) area.scrollTop = 0")


def keep(content: bytes, name: str) -> None:
    """A picture of few colours, which is a small one."""
    picture = Image.open(io.BytesIO(content)).convert("RGB")
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(IMAGES / f"page-{name}.png", optimize=True)


def main() -> None:
    if CHROMIUM is None:
        sys.exit("there is no chromium here")
    with serving() as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        shot(browser, address, "light", WIDE, color_scheme="light")
        shot(browser, address, "dark", WIDE, color_scheme="dark")
        shot(browser, address, "phone", PHONE, color_scheme="light", device_scale_factor=2)
        shot_of_many(browser, address, "batch")
        browser.close()


if __name__ == "__main__":
    main()
