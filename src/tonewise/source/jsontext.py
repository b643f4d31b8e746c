"""JSON Lines and JSON arrays, of objects or bare strings, read one value at a time."""

import codecs
import json
import re
from collections.abc import Iterator
from itertools import chain
from typing import Any

from tonewise.errors import InputError, RowError
from tonewise.source.stream import BLOCK_BYTES, LINE_BYTES, Stream
from tonewise.source.table import Row, Table, half_a_pair

LINES_TRIED = 1000  # before a file is called no JSON Lines at all
ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
RECORD_KEYS = frozenset(("id", "text", "fields", "predictions", "model"))
SPACE = re.compile(r"[ \t\r\n]*")
DECODER = json.JSONDecoder()

Rows = Iterator[tuple[int, Row | str] | RowError]
Values = Iterator[tuple[int, Any] | RowError]


def open_jsonl(stream: Stream) -> Table:
    """One object or string a line; blank lines are skipped. Raises InputError when no line is one."""
    return _open(stream, "line", _line_values(stream))


def open_json(stream: Stream) -> Table:
    """An array of objects or strings. Raises InputError when the file holds anything else."""
    return _open(stream, "item", _array_values(stream))


def _open(stream: Stream, unit: str, values: Values) -> Table:
    """Read on to the first good value: its keys are the columns, its kind is the kind of all."""
    head: list[tuple[int, Any] | RowError] = []
    first: Any = None
    for item in values:
        head.append(item)
        if not isinstance(item, RowError) and isinstance(item[1], (dict, str)):
            first = item[1]
            break
        if len(head) == LINES_TRIED:
            break
    if first is None and head:
        bad = next((item for item in head if isinstance(item, RowError)), None)
        why = f"; {bad}" if bad else f"; {_unfit(head[0], stream, unit)}"
        raise InputError(f"{stream.name}: no JSON object or string in {len(head)} {unit}s{why}")
    shaped = _rows(stream, unit, chain(head, values), first)
    columns = tuple(_flat(first) if _is_record(first) else first) if isinstance(first, dict) else ()
    return Table(stream.name, unit, columns, shaped, stream)


def _rows(stream: Stream, unit: str, values: Values, first: Any) -> Rows:
    kind = type(first)
    record = _is_record(first)
    for item in values:
        if isinstance(item, RowError) or type(item[1]) is not kind:
            yield item if isinstance(item, RowError) else _unfit(item, stream, unit, kind)
        elif record and _is_record(item[1]):
            yield item[0], _flat(item[1])
        else:
            yield item


def _unfit(item: Any, stream: Stream, unit: str, kind: type | None = None) -> RowError:
    number, value = item
    words = {dict: "an object", list: "an array", str: "a string", type(None): "null", bool: "true or false"}
    wanted = words.get(kind or object, "an object or a string")
    found = words.get(type(value), "a number")
    return RowError(f"{stream.name} {unit} {number}", InputError(f"{found} where {wanted} is wanted"))


def _is_record(value: Any) -> bool:
    """Whether an object is an answer that this program wrote."""
    return isinstance(value, dict) and value.keys() >= RECORD_KEYS and isinstance(value["fields"], dict)


def _flat(record: dict[str, Any]) -> Row:
    """The row that a record was made of; its id becomes a column when it was none."""
    row = {name: record[name] for name in ("id", "text", "text_pair") if name in record}
    return row | {name: value for name, value in record["fields"].items() if name not in row}


def _line_values(stream: Stream) -> Values:
    for number, line in enumerate(stream.lines(), 1):
        if stream.undecodable:
            yield RowError(f"{stream.name} line {number}", stream.undecodable.pop()[1])
        elif line.strip():
            try:
                value = json.loads(line.rstrip())
                if ESCAPED_SURROGATE.search(line):
                    _check_surrogates(value)
            except (ValueError, RecursionError) as error:
                yield RowError(f"{stream.name} line {number}", _broken(error))
            else:
                yield number, value


def _array_values(stream: Stream) -> Values:
    window = _Window(stream)
    if (start := window.peek()) != "[":
        found = "one object" if start == "{" else "no array"
        hint = "wanted an array of objects or strings; for one on each line use --input-format jsonl"
        raise InputError(f"{stream.name}: {found}, {hint}")
    window.skip()
    number = 0
    while window.peek() != "]" or number:
        number += 1
        where = f"{stream.name} item {number}"
        try:
            yield number, window.value(where)
        except UnicodeEncodeError as error:
            yield RowError(where, _broken(error))
        if window.peek() == "]":
            break
        if window.peek() != ",":
            raise InputError(f"{where}: broken JSON (neither a comma nor the array's end follows)")
        window.skip()
    window.skip()
    if window.peek():
        raise InputError(f"{stream.name}: broken JSON (more follows after the array's end)")


def _check_surrogates(value: Any) -> None:
    json.dumps(value, ensure_ascii=False).encode()


class _Window:
    """The part of a JSON file that is being looked at."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder(stream.encoding)()
        self._text, self._at = "", 0

    def peek(self) -> str:
        """The next character that is no space, or "" at the end."""
        while True:
            found = SPACE.match(self._text, self._at)
            self._at = found.end() if found else self._at
            if self._at < len(self._text) or not self._more():
                return self._text[self._at : self._at + 1]

    def skip(self) -> None:
        """Pass the character that `peek` told."""
        self._at += 1

    def value(self, where: str) -> Any:
        """The next value, whole.

        Raises InputError when it is broken or beyond all bounds, UnicodeEncodeError, past it, when it
        holds half a surrogate pair.
        """
        self.peek()
        while True:
            try:
                value, end = DECODER.raw_decode(self._text, self._at)
            except (ValueError, RecursionError) as error:
                if len(self._text) - self._at > LINE_BYTES or not self._more():
                    broken = error.msg if isinstance(error, json.JSONDecodeError) else _broken(error)
                    raise InputError(f"{where}: broken JSON ({broken})") from None
                continue
            if end < len(self._text) or not self._more():  # a number may go on in the next block
                start, self._at = self._at, end
                if ESCAPED_SURROGATE.search(self._text, start, end):
                    _check_surrogates(value)
                return value

    def _more(self) -> bool:
        """Read on by as much as is waiting, so that a long value is not parsed again and again."""
        rest = self._text[self._at :]
        block = self._stream.buffer.read(max(BLOCK_BYTES, len(rest)))
        try:
            self._text, self._at = rest + self._decoder.decode(block, final=not block), 0
        except UnicodeDecodeError as error:
            name, encoding = self._stream.name, self._stream.encoding.upper()
            byte = f"byte 0x{error.object[error.start]:02x}"
            raise InputError(f"{name}: not {encoding} ({byte}); name the encoding with --encoding") from None
        return bool(block)


def _broken(error: Exception) -> InputError:
    if isinstance(error, UnicodeEncodeError):
        return half_a_pair("the row")
    if isinstance(error, RecursionError):
        return InputError("broken JSON (nested too deeply)")
    if isinstance(error, json.JSONDecodeError):
        return InputError(f"broken JSON ({error.msg[:1].lower()}{error.msg[1:]} at column {error.colno})")
    return InputError(f"broken JSON ({error})")
