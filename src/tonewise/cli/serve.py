"""`tonewise serve` and `tonewise key`: a line that says where, until a signal; a key that is shown once."""

import sys

from tonewise.config import Config
from tonewise.errors import MissingExtraError

PARTS = {
    "httptools",
    "msgspec",
    "prometheus_client",
    "starlette",
    "uvicorn",
    "uvloop",
}


def serve(config: Config) -> None:
    """Serve until a signal comes."""
    try:
        from tonewise.serve import serve as run
    except ModuleNotFoundError as error:
        if error.name in PARTS:
            raise MissingExtraError(str(error.name), "serve") from None
        raise
    run(config, lambda line: print(f"tonewise: {line}", file=sys.stderr, flush=True))


def make_key(path: str, name: str, admin: bool, requests: int | None, tokens: int | None) -> None:
    """Make a key and print it."""
    try:
        from tonewise.serve.keys import Key
        from tonewise.serve.keys import make_key as make
    except ModuleNotFoundError as error:
        if error.name in PARTS:
            raise MissingExtraError(str(error.name), "serve") from None
        raise
    print(make(path, Key(name, ("infer", "admin") if admin else ("infer",), requests, tokens)))
    print(f"tonewise: its hash is in {path}; the key itself is kept nowhere", file=sys.stderr)
