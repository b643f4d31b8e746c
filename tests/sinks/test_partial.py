import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tonewise.config import SinkConfig
from tonewise.errors import OutputError
from tonewise.sinks import open_sink
from tonewise.sinks.partial import PartialFile

from .answers import MOOD, example, filled, mood

NAMES = ("out.jsonl", "out.csv", "out.jsonl.gz", "out.parquet")


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_that_is_not_there_is_an_error_before_the_first_row(tmp_path: Path, name: str) -> None:
    with pytest.raises(
        OutputError, match=rf"^cannot write {tmp_path}/no/{name}: there is no folder {tmp_path}/no$"
    ):
        open_sink(tmp_path / "no" / name, schema=MOOD)


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_in_place_of_the_output_is_an_error(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(OutputError, match="it is a folder; name a file in it"):
        open_sink(tmp_path / name, schema=MOOD)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_an_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="permission denied"):
        open_sink(tmp_path / "out.jsonl", schema=MOOD)


def test_a_file_in_place_of_the_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="not a directory"):
        open_sink(tmp_path / "file" / "out.jsonl", schema=MOOD)


def test_two_runs_cannot_write_one_output(tmp_path: Path) -> None:
    with open_sink(tmp_path / "out.jsonl", schema=MOOD) as sink:
        with pytest.raises(OutputError, match="another run is writing it"):
            open_sink(tmp_path / "out.jsonl", schema=MOOD)
        sink.write(example(), mood())
    assert (tmp_path / "out.jsonl").exists()


def test_what_an_earlier_stop_left_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "out.jsonl.partial").write_text("x" * 10_000)
    with open_sink(tmp_path / "out.jsonl", schema=MOOD) as sink:
        sink.write(example(), mood())
    assert (tmp_path / "out.jsonl").read_bytes().startswith(b'{"id"')
    assert (tmp_path / "out.jsonl").read_bytes().endswith(b"}\n")


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "real.jsonl")
    with open_sink(tmp_path / "link.jsonl", schema=MOOD) as sink:
        sink.write(example(), mood())
    assert (tmp_path / "link.jsonl").is_symlink()
    assert (tmp_path / "real.jsonl").exists()


def test_a_device_is_written_and_not_replaced() -> None:
    with open_sink(Path("/dev/null"), SinkConfig(output_format="csv"), schema=MOOD) as sink:
        sink.write(example(), mood())
    assert Path("/dev/null").is_char_device()
    with pytest.raises(OutputError, match="Parquet is written to a plain file"):
        open_sink(Path("/dev/null"), SinkConfig(output_format="parquet"), schema=MOOD)
    assert Path("/dev/null").is_char_device()


def test_a_full_device_is_an_error_of_one_line() -> None:
    sink = open_sink(Path("/dev/full"), SinkConfig(output_format="jsonl"), schema=MOOD)
    with pytest.raises(OutputError, match=r"^cannot write /dev/full: the disk is full$"), sink:
        sink.write(example(), mood())


def test_a_named_pipe_is_written(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jsonl")
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe.jsonl").read_text()))
    reader.start()
    with open_sink(tmp_path / "pipe.jsonl", schema=MOOD) as sink:
        sink.write(example(), mood())
    reader.join()
    assert read[0].startswith('{"id"')


def test_a_reader_that_left_is_told_as_it_is() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    stdout = os.fdopen(writing, "wb", buffering=0)
    sink = open_sink(None, SinkConfig(output_format="jsonl"), schema=MOOD, stdout=stdout)
    with pytest.raises(BrokenPipeError), sink:
        sink.write(example(), mood())
    stdout.close()


def test_a_write_that_fails_half_way_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = PartialFile(tmp_path / "out")
    file.write(b"whole\n")
    os.write(file.file.fileno(), b"hal")
    file.abandon()
    assert (tmp_path / "out.partial").read_bytes() == b"whole\n"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    with suppress(OSError):
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)],
            check=False,
            capture_output=True,
        )
        if done.returncode == 0:
            yield folder
            subprocess.run(["umount", str(folder)], check=True)
            return
    pytest.skip("a small disk cannot be mounted here")


@pytest.mark.parametrize("name", ["out.jsonl", "out.csv", "out.jsonl.gz"])
def test_a_full_disk_leaves_whole_rows_and_nothing_that_looks_whole(small_disk: Path, name: str) -> None:
    import gzip

    sink = open_sink(small_disk / name, schema=MOOD)
    with pytest.raises(OutputError, match=r"^cannot write .*: the disk is full$"):
        filled(sink, 40_000)
    assert not (small_disk / name).exists()
    assert sink.partial_path
    assert sink.rows_written > 1000
    data = sink.partial_path.read_bytes()
    data = gzip.decompress(data) if name.endswith(".gz") else data
    assert data.endswith(b"\n")
    assert data.count(b"\n") - name.endswith(".csv") == sink.rows_written


def test_a_full_disk_leaves_no_parquet_that_cannot_be_read(small_disk: Path) -> None:
    pytest.importorskip("pyarrow")
    sink = open_sink(small_disk / "out.parquet", schema=MOOD)
    with pytest.raises(OutputError, match=r"^cannot write .*: the disk is full$"):
        filled(sink, 40_000)
    assert not (small_disk / "out.parquet").exists()
    assert (sink.partial_path, sink.rows_written) == (None, 0)


def test_a_run_that_comes_while_another_ends_does_not_empty_what_it_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, replace, later = tmp_path / "out.jsonl", Path.replace, []

    def slowly(self: Path, target: Path) -> Path:
        with suppress(OutputError):  # it finds the file locked, or makes one of its own
            later.append(PartialFile(path))
        return replace(self, target)

    first = PartialFile(path)
    first.write(b"whole\n")
    monkeypatch.setattr(Path, "replace", slowly)
    first.finish()
    assert path.read_bytes() == b"whole\n"
    assert later == []
    monkeypatch.setattr(Path, "replace", replace)
    second = PartialFile(path)
    second.write(b"next\n")
    assert path.read_bytes() == b"whole\n"
    second.finish()
    assert path.read_bytes() == b"next\n"
