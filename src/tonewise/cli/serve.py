"""`tonewise serve` and `tonewise key`: a line that says where, until a signal; a key that is shown once."""

import sys
from importlib import import_module
from typing import Any

from tonewise.config import Config
from tonewise.errors import MissingExtraError

PARTS = {"httptools", "msgspec", "prometheus_client", "starlette", "uvicorn", "uvloop"}


def _room() -> Any:
    """`tonewise.serve`, or the extra that it wants."""
    try:
        return import_module("tonewise.serve")
    except ModuleNotFoundError as error:
        if error.name in PARTS:
            raise MissingExtraError(str(error.name), "serve") from None
        raise


def serve(config: Config) -> None:
    """Serve until a signal comes."""
    _room().serve(config, lambda line: print(f"tonewise: {line}", file=sys.stderr, flush=True))


def make_key(path: str, name: str, admin: bool, requests: int | None, tokens: int | None) -> None:
    """Make a key and print it."""
    room = _room()
    key = room.Key(name, ("infer", "admin") if admin else ("infer",), requests, tokens)
    print(room.make_key(path, key))
    print(f"tonewise: its hash is in {path}; the key itself is kept nowhere", file=sys.stderr)
