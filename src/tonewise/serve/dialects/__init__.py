"""The dialects: each a set of routes in the shapes, statuses and bodies that its clients know."""

from tonewise.serve.dialects import huggingface, openai, own, tei
from tonewise.serve.dialects.base import Dialect, Reply, Route

__all__ = ["ROUTES", "Dialect", "Reply", "Route"]

ROUTES: tuple[Route, ...] = (*own.ROUTES, *tei.ROUTES, *openai.ROUTES, *huggingface.ROUTES)
