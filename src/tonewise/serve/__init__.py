"""HTTP: routes in four dialects, a scheduler, keys, figures and a page (extra `serve`). The room's door."""

from tonewise.serve.app import App
from tonewise.serve.keys import Key, Keys, make_key, read_keys
from tonewise.serve.server import serve

__all__ = ["App", "Key", "Keys", "make_key", "read_keys", "serve"]
