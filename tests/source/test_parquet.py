import datetime
import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tonewise.errors import InputError, MissingExtraError
from tonewise.source import open_source

from .conftest import Open, Put
from .reading import good, told

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


def save(columns: dict[str, Any], **settings: Any) -> None:
    parquet.write_table(pyarrow.table(columns), "a.parquet", **settings)


@pytest.fixture(autouse=True)
def _folder(put: Put) -> None:
    """Work in a fresh folder."""


def test_rows_are_read_in_order_with_their_own_types(open_one: Open) -> None:
    day = datetime.date(2024, 2, 29)
    save({"id": [7, 8], "text": ["a", "b"], "day": [day, None], "x": [[1.5], []]})
    first, second = good(list(open_one("a.parquet")))
    assert (first.text, first.id, first.where) == ("a", 7, "a.parquet row 1")
    assert dict(first.fields) == {"id": 7, "day": day, "x": [1.5]}
    assert dict(second.fields) == {"id": 8, "day": None, "x": []}


def test_rows_are_read_through_all_batches_and_row_groups(open_one: Open) -> None:
    texts = [f"text {number}" for number in range(5000)]
    save({"text": texts}, row_group_size=1700)
    source = open_one("a.parquet")
    assert told(list(source)) == texts
    assert source.bytes_read == source.bytes_total == Path("a.parquet").stat().st_size
    assert source.sha256() == {"a.parquet": hashlib.sha256(Path("a.parquet").read_bytes()).hexdigest()}


def test_nulls_and_numbers_are_errors_of_their_rows(open_one: Open) -> None:
    save({"text": ["a", None, "c"], "n": [1, 2, 3]})
    assert told(list(open_one("a.parquet"))) == [
        "a",
        "a.parquet row 2: column 'text' is null; a text is wanted",
        "c",
    ]
    assert told(list(open_one("a.parquet", text_column="n")))[0].endswith("is a number (1); a text is wanted")


def test_nanoseconds_are_kept(open_one: Open) -> None:
    save(
        {
            "text": ["a"],
            "coarse": pyarrow.array([1_000], "timestamp[ns]"),
            "fine": pyarrow.array([1], "timestamp[ns]"),
        }
    )
    (row,) = good(list(open_one("a.parquet")))
    assert row.fields["coarse"] == datetime.datetime(1970, 1, 1, microsecond=1)
    assert row.fields["fine"] == "1970-01-01 00:00:00.000000001"


def test_strings_of_a_dictionary_are_strings(open_one: Open) -> None:
    save({"text": pyarrow.array(["a", "b", "a"]).dictionary_encode()})
    assert told(list(open_one("a.parquet"))) == ["a", "b", "a"]


def test_a_file_that_is_no_parquet_is_an_error_of_one_line(put: Put, open_one: Open) -> None:
    put("a.parquet", b"PAR1 and so on")
    with pytest.raises(InputError, match=r"^a\.parquet: corrupt Parquet \(.*\)$"):
        open_one("a.parquet")


def test_a_parquet_file_with_damaged_pages_is_an_error(put: Put, open_one: Open) -> None:
    save({"text": [f"text {number}" for number in range(5000)]}, compression="zstd")
    data = bytearray(Path("a.parquet").read_bytes())
    data[10:2000] = bytes(1990)
    put("a.parquet", bytes(data))
    with pytest.raises(InputError, match=r"^a\.parquet: corrupt Parquet \(.*\)$"):
        list(open_one("a.parquet"))


def test_without_pyarrow_the_error_says_what_to_install(
    open_one: Open, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("a.parquet", b"x")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'tonewise\[parquet\]'"):
        open_one("a.parquet")


def test_the_rooms_open_no_heavy_library_by_themselves() -> None:
    heavy = "{'pyarrow', 'pandas', 'polars', 'datasets', 'rich'} & set(sys.modules)"
    code = f"import sys, tonewise.source, tonewise.sinks; print({heavy})"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "set()\n"


def test_damage_inside_and_at_the_end_is_called_corrupt(tmp_path: Path) -> None:
    path = tmp_path / "texts.parquet"
    parquet.write_table(pyarrow.table({"text": [f"text {i}" for i in range(5000)]}), path)
    whole = path.read_bytes()
    for damaged in (whole[:2000] + bytes(4000) + whole[6000:], whole[:5000], b"\xff" * 3000):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"texts\.parquet: corrupt Parquet \([^\n]+\)$"):
            list(open_source([path]))
