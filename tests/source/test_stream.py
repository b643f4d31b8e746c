import gzip
import hashlib
import io
import os
import threading
from pathlib import Path

import pytest

from tonewise.config import SourceConfig
from tonewise.errors import ConfigError, InputError
from tonewise.source import open_source

from .conftest import Open, Put
from .reading import read, told


def test_only_newlines_end_a_line() -> None:
    odd = "one\u2028still one\x0bstill\x0cstill\x1c\x85one"
    assert told(read(f"{odd}\r\ntwo\n")) == [odd, "two"]


def test_a_lone_carriage_return_stays_in_a_text() -> None:
    assert told(read("a\rb\nc\n")) == ["a\rb", "c"]


def test_a_file_of_old_macs_ends_its_lines_with_carriage_returns() -> None:
    assert told(read("one\rtwo\rthree")) == ["one", "two", "three"]
    assert told(read("text,stars\rgood,5\rbad,1\r", input_format="csv")) == ["good", "bad"]


def test_a_byte_order_mark_is_no_part_of_the_text() -> None:
    assert told(read(b"\xef\xbb\xbfhello\n")) == ["hello"]
    assert told(read(b"\xef\xbb\xbfhello\n", encoding="utf-8-sig")) == ["hello"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "latin-1", "cp1252", "utf-8-sig"])
def test_other_encodings_are_read(encoding: str) -> None:
    assert told(read('text;n\n"zoë\nü";1\n'.encode(encoding), encoding=encoding, input_format="csv")) == [
        "zoë\nü"
    ]


@pytest.mark.parametrize("encoding", ["shift_jis", "gb18030", "euc_kr"])
def test_encodings_of_several_bytes_are_read(encoding: str) -> None:
    assert told(read("好\n好好\n".encode(encoding), encoding=encoding)) == ["好", "好好"]


def test_utf_16_that_is_not_announced_is_told() -> None:
    with pytest.raises(InputError, match="--encoding utf-16"):
        read("text\nhello\n".encode("utf-16"), input_format="csv")
    with pytest.raises(InputError, match="--encoding utf-16"):
        read("text\nhello\n".encode("utf-16-le"), input_format="csv")


def test_broken_utf_16_is_an_error() -> None:
    with pytest.raises(InputError, match="stdin: not UTF-16"):
        read("hello\n".encode("utf-16") + b"\x00", encoding="utf-16")


def test_an_unknown_encoding_is_an_error() -> None:
    for name in ("utf-9", "base64", "a b"):
        with pytest.raises(ConfigError, match="encoding cannot be"):
            read(b"x", encoding=name)


def test_a_packed_file_is_read_and_counted_and_hashed_as_packed(put: Put, open_one: Open) -> None:
    data = gzip.compress(b"one\n" * 10_000) + gzip.compress(b"two\n")  # two members, as `cat` makes them
    put("a.txt.gz", data)
    source = open_one("a.txt.gz")
    assert len(list(source)) == 10_001
    assert source.bytes_total == source.bytes_read == len(data)
    assert source.sha256() == {"a.txt.gz": hashlib.sha256(data).hexdigest()}


@pytest.mark.parametrize("damage", [lambda data: data[:-9], lambda data: data[:40] + b"xxxx" + data[44:]])
def test_a_broken_gzip_file_is_an_error(put: Put, damage, open_one: Open) -> None:  # type: ignore[no-untyped-def]
    data = gzip.compress(b"".join(b"line %d\n" % number for number in range(1000)))
    put("a.txt.gz", damage(data))
    with pytest.raises(InputError, match=r"a\.txt\.gz: broken gzip file"):
        list(open_one("a.txt.gz"))


def test_what_is_not_gzip_is_an_error(put: Put, open_one: Open) -> None:
    put("a.txt.gz", b"plain")
    with pytest.raises(InputError, match=r"a\.txt\.gz: broken gzip file \(not a gzipped file"):
        open_one("a.txt.gz")


def test_hash_and_count_are_those_of_the_bytes(put: Put, open_one: Open) -> None:
    data = b"".join(b"line %d\r\n" % number for number in range(100_000))
    put("a.txt", data)
    source = open_one("a.txt")
    first = next(iter(source))
    assert first
    assert 0 < source.bytes_read < len(data)
    assert source.sha256() == {}
    assert len(list(source)) == 99_999
    assert source.bytes_read == source.bytes_total == len(data)
    assert source.sha256() == {"a.txt": hashlib.sha256(data).hexdigest()}


def test_a_line_beyond_all_bounds_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tonewise.source.stream.LINE_BYTES", 1 << 20)
    with pytest.raises(InputError, match="stdin line 2: longer than 1 MiB"):
        read(b"fine\n" + b"x" * (1 << 21))


def test_a_slow_pipe_hands_on_each_line_as_it_comes() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as pipe, os.fdopen(writing, "wb", buffering=0) as pen:
        pen.write(b"one\n")
        source = open_source(["-"], stdin=pipe)
        rows = iter(source)
        assert told([next(rows)]) == ["one"]
        pen.write(b"two\n")
        assert told([next(rows)]) == ["two"]
        assert source.bytes_total is None


def test_a_named_pipe_is_read_once(tmp_path: Path, open_one: Open) -> None:
    path = tmp_path / "pipe.csv"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_text, args=("text,n\na,1\nb,2\n",))
    writer.start()
    assert told(list(open_one(str(path)))) == ["a", "b"]
    writer.join()


def test_stdin_stays_open() -> None:
    stdin = io.BytesIO(b"x\n")
    with open_source(["-"], SourceConfig(), stdin=stdin) as source:
        list(source)
    assert not stdin.closed
