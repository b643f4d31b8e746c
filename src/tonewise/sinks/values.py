"""Values that JSON does not know, written so that nothing is lost and no reader chokes."""

import datetime
import decimal
import json
import math
from base64 import b64encode
from collections.abc import Mapping
from typing import Any


def plain(value: Any) -> Any:
    """A value in JSON's own types.

    Dates and times as ISO 8601, Decimal exactly as text, bytes as base64, NaN, infinities and pandas' NA as
    None; any other object as its text.
    """
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return _foreign(value)


def _foreign(value: Any) -> Any:
    if type(value).__name__ in ("NAType", "NaTType"):
        return None
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return str(value) if value.is_finite() else None
    if isinstance(value, (bytes, bytearray)):
        return b64encode(value).decode()
    if isinstance(value, (set, frozenset)):
        return plain(sorted(value, key=str))
    # numpy's scalars and arrays, and a polars Series
    listed = getattr(value, "tolist", None) or getattr(value, "to_list", None)
    return plain(listed()) if listed else str(value)


ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=plain)


def to_json(value: Any) -> str:
    """JSON on one line; what JSON does not know is written as `plain` says."""
    try:
        return ENCODER.encode(value)
    except (ValueError, TypeError):  # a NaN, or a key that is no string
        return ENCODER.encode(plain(value))


def cell(value: Any) -> str | None:
    """A value as the text of a flat row: None stays None, lists and objects are JSON."""
    if isinstance(value, str) or value is None:
        return value
    if type(value) is float:
        return repr(value) if math.isfinite(value) else None
    simple = plain(value)
    return simple if simple is None or isinstance(simple, str) else to_json(simple)
