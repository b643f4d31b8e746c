"""The page in a browser: files of the package, under a strict policy, with nothing from elsewhere."""

from functools import partial
from importlib.resources import files

from tonewise.serve.dialects.base import Asked, Dialect, Reply, Route

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SCRIPTS = ("page.js", "ask.js", "bars.js", "csv.js", "run.js", "many.js", "docs.js")
FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/docs": ("docs.html", "text/html; charset=utf-8"),
    "/page/page.css": ("page.css", "text/css; charset=utf-8"),
    **{f"/page/{name}": (name, "text/javascript; charset=utf-8") for name in SCRIPTS},
}


def page_routes(dialect: Dialect) -> tuple[Route, ...]:
    """A route a file; no key is asked for, since they hold nothing but the program."""
    folder = files(__name__)

    async def give(content: bytes, media_type: str, _: Asked) -> Reply:
        headers = (
            ("content-security-policy", POLICY),
            ("referrer-policy", "no-referrer"),
            ("cache-control", "no-cache"),
        )
        return Reply(content, media_type=media_type, headers=headers)

    return tuple(
        Route(
            "GET",
            path,
            dialect,
            partial(give, (folder / name).read_bytes(), kind),
            "The page.",
            role=None,
            document=path == "/",
        )
        for path, (name, kind) in FILES.items()
    )
