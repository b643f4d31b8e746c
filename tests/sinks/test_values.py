import datetime
import decimal
import enum
import json
import uuid
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tonewise.sinks import plain, to_json
from tonewise.sinks.values import cell

UTC = datetime.UTC


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (datetime.date(2024, 2, 29), "2024-02-29"),
        (datetime.datetime(2024, 2, 29, 1, 2, 3, tzinfo=UTC), "2024-02-29T01:02:03+00:00"),
        (datetime.time(1, 2), "01:02:00"),
        (datetime.timedelta(hours=1), "1:00:00"),
        (decimal.Decimal("12.30"), "12.30"),
        (decimal.Decimal("NaN"), None),
        (b"\xff\x00", "/wA="),
        (float("nan"), None),
        (float("-inf"), None),
        ([1, float("nan"), (2,)], [1, None, [2]]),
        ({3: {"b", "a"}}, {"3": ["a", "b"]}),
        (MappingProxyType({"a": 1}), {"a": 1}),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (enum.Enum("Mood", "JOY").JOY, "Mood.JOY"),  # type: ignore[attr-defined]
    ],
)
def test_what_json_does_not_know_is_written_sanely(value: Any, expected: Any) -> None:
    assert plain(value) == expected
    assert json.loads(to_json({"x": value})) == {"x": expected}


def test_numpy_and_pandas_values_are_written() -> None:
    import numpy as np

    values = {
        "i": np.int64(3),
        "f": np.float32(0.5),
        "b": np.bool_(True),
        "a": np.array([[1, 2]]),
        "n": np.nan,
    }
    assert json.loads(to_json(values)) == {"i": 3, "f": 0.5, "b": True, "a": [[1, 2]], "n": None}
    pandas = pytest.importorskip("pandas")
    values = {"na": pandas.NA, "nat": pandas.NaT, "t": pandas.Timestamp(1)}
    assert json.loads(to_json(values)) == {"na": None, "nat": None, "t": "1970-01-01T00:00:00.000000001"}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, None),
        ("x", "x"),
        (5, "5"),
        (0.1, "0.1"),
        (float("nan"), None),
        (True, "true"),
        ([1, "é"], '[1, "é"]'),
        ({"a": None}, '{"a": null}'),
        (datetime.date(2024, 2, 29), "2024-02-29"),
    ],
)
def test_a_cell_is_text(value: Any, text: str | None) -> None:
    assert cell(value) == text


TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
SIMPLE = (
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.dates() | st.decimals() | st.binary()
)
ANY = st.recursive(
    SIMPLE, lambda inner: st.lists(inner) | st.tuples(inner) | st.dictionaries(TEXTS | st.integers(), inner)
)


@given(ANY)
def test_any_value_is_strict_json_on_one_line(value: Any) -> None:
    def refuse(name: str) -> None:
        raise AssertionError(name)

    line = to_json(value)
    assert "\n" not in line
    json.loads(line, parse_constant=refuse)
