"""What Linux tells of the processor and of limits, and what is made of it where it tells nothing."""

import os
from pathlib import Path

import pytest

from tonewise.engines import machine
from tonewise.engines.machine import flags, has_bf16, has_int8, memory_limit, processor, processors

X86 = (
    "processor\t: 0\nmodel name\t: A Fast One @ 3.00GHz\nvmx flags\t: ept\nflags\t\t: fpu avx2 avx512_vnni\n"
)
ARM = "processor\t: 0\nBogoMIPS\t: 50.00\nFeatures\t: fp asimd asimddp bf16\n"
MIB = 1 << 20


def written(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def eight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)


def test_instruction_sets_are_read_as_linux_names_them(tmp_path: Path) -> None:
    written(tmp_path, {"x86": X86, "arm": ARM, "other": "cpu: what is this\n"})
    assert flags(tmp_path / "x86") == {"fpu", "avx2", "avx512_vnni"}
    assert flags(tmp_path / "arm") == {"fp", "asimd", "asimddp", "bf16"}
    assert flags(tmp_path / "other") == flags(tmp_path / "none") == frozenset()


@pytest.mark.parametrize(
    ("told", "bf16", "int8"),
    [
        ({"avx512_vnni"}, False, True),
        ({"avx_vnni"}, False, True),
        ({"asimddp", "bf16"}, True, True),
        ({"avx512_bf16", "amx_int8"}, True, True),
        ({"amx_bf16"}, True, False),
        ({"avx2", "avx512f"}, False, False),
        (set(), False, False),
    ],
)
def test_low_precisions_need_their_instructions(
    told: set[str], bf16: bool, int8: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "flags", lambda: frozenset(told))
    assert (has_bf16(), has_int8()) == (bf16, int8)


def test_the_processors_name_is_linuxs_or_what_python_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, {"x86": X86, "arm": ARM})
    monkeypatch.setattr("platform.processor", lambda: "")
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert processor(tmp_path / "x86") == "A Fast One @ 3.00GHz"
    assert processor(tmp_path / "arm") == processor(tmp_path / "none") == "aarch64"


@pytest.mark.usefixtures("eight")
@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        ({}, 8),
        ({"cpu.max": "max 100000\n"}, 8),
        ({"cpu.max": "200000 100000\n"}, 2),
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "5000 100000\n"}, 1),
        ({"cpu.max": "3200000 100000\n"}, 8),
        ({"cpu.max": "100000 0\n"}, 8),
        ({"cpu.max": "what\n"}, 8),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
    ],
)
def test_a_quota_of_the_cgroup_is_rounded_up_and_adds_no_processor(
    tmp_path: Path, files: dict[str, str], wanted: int
) -> None:
    assert processors(written(tmp_path, files)) == wanted


def test_without_an_affinity_all_processors_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    assert processors(tmp_path) == 5
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert processors(tmp_path) == 1


V2 = {"memory.max": f"{100 * MIB}\n", "memory.current": f"{30 * MIB}\n"}
V1 = {
    "memory/memory.limit_in_bytes": f"{100 * MIB}\n",
    "memory/memory.usage_in_bytes": f"{60 * MIB}\n",
    "memory/memory.stat": f"inactive_file 1\ntotal_inactive_file {15 * MIB}\n",
}


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        ({}, 80),
        (V2, 70),
        (V2 | {"memory.stat": f"anon 5\ninactive_file {10 * MIB}\n"}, 80),
        (V2 | {"memory.stat": "what\n"}, 70),
        (V2 | {"memory.current": f"{25 * MIB}\n"}, 75),
        (V2 | {"memory.current": f"{101 * MIB}\n"}, 0),
        (V2 | {"memory.max": "max\n"}, 80),
        (V1, 55),
    ],
)
def test_memory_is_what_the_machine_has_or_the_cgroup_leaves(
    tmp_path: Path, files: dict[str, str], wanted: int
) -> None:
    written(tmp_path, files | {"meminfo": f"MemTotal: 9 kB\nMemAvailable: {80 * 1024} kB\n"})
    assert memory_limit(tmp_path, tmp_path / "meminfo") == wanted * MIB


def test_where_nothing_is_told_memory_has_no_known_limit(tmp_path: Path) -> None:
    assert memory_limit(tmp_path, tmp_path / "meminfo") is None
    assert memory_limit(written(tmp_path, V2), tmp_path / "meminfo") == 70 * MIB
