"""Draw docs/images/classify.svg: what a terminal of 100 columns shows when the command runs in it."""

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

IMAGE = Path(__file__).with_name("images") / "classify.svg"
TEXTS = (
    "I got the keys to my own flat and I keep grinning",
    "who ate my lunch? I am furious",
    "something scratched at the window all night",
    "my dog died last night and the house feels so empty",
    "I feel so tender towards this clumsy old cat",
    "I never expected my brother to fly across the world to surprise me",
)
COLUMNS, ROWS = 100, 24


def shown(command: list[str]) -> str:
    """What the command writes to a terminal."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": str(COLUMNS)}
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    parts = []
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # the other end has closed
            break
        if not part:
            break
        parts.append(part)
    process.wait()
    return b"".join(parts).decode().replace("\r\n", "\n")


def main() -> None:
    answer = shown([sys.executable, "-m", "tonewise", "classify", *TEXTS])
    typed = " \\\n    ".join(["$ tonewise classify", *(f'"{text}"' for text in TEXTS)])
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    console.print(Text(typed, style="bold"))
    console.print(Text.from_ansi(answer))
    # Without the fonts that it would fetch from elsewhere.
    template = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    console.save_svg(str(IMAGE), title="tonewise", unique_id="tonewise", code_format=template)


if __name__ == "__main__":
    main()
