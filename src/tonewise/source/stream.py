"""The bytes of one input: counted and hashed as they pass, unzipped, cut into lines, decoded."""

import codecs
import gzip
import hashlib
import io
import re
import zlib
from collections.abc import Iterator
from functools import partial
from typing import IO, Any

from tonewise.config import SourceConfig
from tonewise.errors import ConfigError, InputError
from tonewise.source.inputs import Input, why_unreadable

BLOCK_BYTES = 1 << 18
LINE_BYTES = 1 << 26  # a line longer than this is no text, and must not fill the memory
BYTE_ORDER_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
MAC_LINE_END = re.compile(rb"\r[^\n]")


class Meter(io.RawIOBase):
    """A file that counts and hashes what is read from it."""

    def __init__(self, name: str, file: IO[bytes]) -> None:
        super().__init__()
        self.name = name
        self.bytes_read = 0
        self._digest = hashlib.sha256()
        # read1 hands on what a slow pipe has, where read would wait for a full block
        self._read = getattr(file, "read1", file.read)

    def readable(self) -> bool:
        """Say so to `io`."""
        return True

    def readinto(self, target: Any) -> int:
        """Fill `target` as far as one read goes. Raises InputError when the file cannot be read."""
        view = memoryview(target).cast("B")
        try:
            block = self._read(len(view))
        except OSError as error:
            raise InputError(f"{self.name}: cannot be read: {why_unreadable(error)}") from None
        view[: len(block)] = block
        self._digest.update(block)
        self.bytes_read += len(block)
        return len(block)

    def sha256(self) -> str:
        """Hex sha256 of the bytes read so far."""
        return self._digest.hexdigest()


class Unzipped(io.RawIOBase):
    """The content of a gzip file, whose faults are InputErrors."""

    def __init__(self, name: str, file: Meter) -> None:
        super().__init__()
        self._name = name
        self._file = gzip.GzipFile(fileobj=io.BufferedReader(file, BLOCK_BYTES))

    def readable(self) -> bool:
        """Say so to `io`."""
        return True

    def readinto(self, target: Any) -> int:
        """Fill `target` as far as one read goes. Raises InputError for a broken gzip file."""
        view = memoryview(target).cast("B")
        try:
            block = self._file.read1(len(view))
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise InputError(f"{self._name}: broken gzip file ({str(error).lower()})") from None
        view[: len(block)] = block
        return len(block)


class Recoded(io.RawIOBase):
    """Text of an encoding whose line ends are not single bytes (UTF-16, say), as UTF-8."""

    def __init__(self, name: str, file: "io.BufferedReader[io.RawIOBase]", encoding: str) -> None:
        super().__init__()
        self._name = name
        self._file = file
        self._encoding = encoding
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._ready = b""

    def readable(self) -> bool:
        """Say so to `io`."""
        return True

    def readinto(self, target: Any) -> int:
        """Fill `target` as far as one read goes. Raises InputError where the bytes are not text."""
        view = memoryview(target).cast("B")
        while not self._ready:
            block = self._file.read1(BLOCK_BYTES)
            try:
                self._ready = self._decoder.decode(block, final=not block).encode()
            except UnicodeError as error:
                raise InputError(f"{self._name}: not {self._encoding.upper()} ({error})") from None
            if not block:
                break
        block, self._ready = self._ready[: len(view)], self._ready[len(view) :]
        view[: len(block)] = block
        return len(block)


class Stream:
    """One opened input.

    undecodable  (line number, error) of the lines that `lines` could not decode, until a reader takes them
    """

    def __init__(self, source: Input, config: SourceConfig, file: IO[bytes]) -> None:
        """Take over `file`. Raises InputError when it is empty or plainly of another encoding."""
        self.name = source.name
        self.encoding = checked_encoding(config.encoding)
        self.undecodable: list[tuple[int, InputError]] = []
        self._file = file
        self._owned = source.path is not None
        self._meter = Meter(source.name, file)
        raw: io.RawIOBase = Unzipped(source.name, self._meter) if source.gz else self._meter
        self.buffer = io.BufferedReader(raw, BLOCK_BYTES)
        head = self.buffer.peek(1)
        if not head:
            raise InputError(f"{self.name} is empty")
        if self.encoding == "utf-8" and head.startswith(BYTE_ORDER_MARKS):
            raise InputError(f"{self.name}: not UTF-8 but UTF-16; say so with --encoding utf-16")
        if not _has_byte_newlines(self.encoding):
            raw = Recoded(self.name, self.buffer, self.encoding)
            self.buffer, self.encoding = io.BufferedReader(raw, BLOCK_BYTES), "utf-8"
        if self.encoding == "utf-8" and self.buffer.peek(3).startswith(codecs.BOM_UTF8):
            self.buffer.read(len(codecs.BOM_UTF8))

    @property
    def bytes_read(self) -> int:
        """Bytes of the file that have passed; of a .gz the packed ones."""
        return self._meter.bytes_read

    def sha256(self) -> str:
        """Hex sha256 of the file's bytes, once it was read to its end."""
        return self._meter.sha256()

    def close(self) -> None:
        """Close the file; stdin is left to its owner."""
        if self._owned:
            self._file.close()

    def lines(self) -> Iterator[str]:
        """Each line with its end, cut at \\n and \\r\\n; at \\r where the file knows no \\n.

        A line that is not text comes with replacement characters, so that a quoted field around it still
        ends where it should, and is noted in `undecodable`. Raises InputError for a line beyond all bounds.
        """
        encoding = self.encoding
        for number, line in enumerate(self._byte_lines(), 1):
            try:
                text = line.decode(encoding)
            except UnicodeDecodeError as error:
                self.undecodable.append((number, self._undecodable(error)))
                text = line.decode(encoding, "replace")
            if len(line) >= LINE_BYTES:
                raise InputError(
                    f"{self.name} line {number}: longer than {LINE_BYTES >> 20} MiB; is it text?"
                )
            yield text

    def _byte_lines(self) -> Iterator[bytes]:
        head = self.buffer.peek(BLOCK_BYTES)
        if b"\n" not in head and MAC_LINE_END.search(head):
            return self._mac_lines()
        return iter(partial(self.buffer.readline, LINE_BYTES), b"")

    def _mac_lines(self) -> Iterator[bytes]:
        rest = b""
        while block := self.buffer.read1(BLOCK_BYTES):
            *whole, rest = (rest + block).split(b"\r")
            yield from (line + b"\r" for line in whole)
        if rest:
            yield rest

    def _undecodable(self, error: UnicodeDecodeError) -> InputError:
        byte = f"byte 0x{error.object[error.start]:02x} at position {error.start + 1} of the line"
        return InputError(f"not {self.encoding.upper()} ({byte}); name the encoding with --encoding")


def open_stream(source: Input, config: SourceConfig, stdin: IO[bytes]) -> Stream:
    """Open a file, or take stdin. Raises InputError when it cannot be opened or is empty."""
    if source.path is None:
        return Stream(source, config, stdin)
    try:
        file = source.path.open("rb", buffering=0)
    except OSError as error:
        raise InputError(f"{source.name}: {why_unreadable(error)}") from None
    try:
        return Stream(source, config, file)
    except BaseException:
        file.close()
        raise


def checked_encoding(name: str) -> str:
    """Python's own name of an encoding. Raises ConfigError when there is none."""
    try:
        "".encode(name)
        known = codecs.lookup(name).name
    except (LookupError, ValueError):
        raise ConfigError(f"encoding cannot be '{name}'; examples: utf-8, utf-16, latin-1, cp1252") from None
    return "utf-8" if known == "utf-8-sig" else known


def _has_byte_newlines(encoding: str) -> bool:
    try:
        return b"a\n".decode(encoding) == "a\n"
    except UnicodeError:
        return False
