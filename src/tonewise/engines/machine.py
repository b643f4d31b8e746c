"""What this machine's processor has in hardware, and how much memory and time this process may have of it."""

import os
import platform
from functools import cache
from pathlib import Path

BF16 = ("avx512_bf16", "amx_bf16", "bf16")
INT8 = ("avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm")
CPUINFO = Path("/proc/cpuinfo")
MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")


@cache
def flags(cpuinfo: Path = CPUINFO) -> frozenset[str]:
    """The processor's instruction sets as Linux names them; empty where it does not tell."""
    try:
        lines = cpuinfo.read_text("utf-8", "replace").splitlines()
    except OSError:
        return frozenset()
    told = (line.partition(":")[2] for line in lines if line.lower().startswith(("flags", "features")))
    return frozenset(next(told, "").split())


def has_bf16() -> bool:
    """Whether products of bfloat16 are computed in hardware."""
    return not flags().isdisjoint(BF16)


def has_int8() -> bool:
    """Whether dot products of 8 bit integers are computed in hardware."""
    return not flags().isdisjoint(INT8)


def processor(cpuinfo: Path = CPUINFO) -> str:
    """The processor's name as Linux tells it, else what Python knows."""
    try:
        lines = cpuinfo.read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()


def processors(cgroup: Path = CGROUP) -> int:
    """How many processors this process may use: its affinity, and its cgroup's quota rounded up."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux has it
    count = len(affinity(0)) if affinity else os.cpu_count() or 1
    quota = _quota(cgroup)
    return count if quota is None else max(1, min(count, quota))


def _quota(cgroup: Path) -> int | None:
    """Processors of the cgroup's quota (cgroup v2's cpu.max, v1's cfs_quota_us), rounded up."""
    try:
        most, period = (cgroup / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            most = (cgroup / "cpu/cpu.cfs_quota_us").read_text().strip()
            period = (cgroup / "cpu/cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    if not (most.isdigit() and period.isdigit() and int(period)):
        return None
    return -(-int(most) // int(period))


def memory_limit(cgroup: Path = CGROUP, meminfo: Path = MEMINFO) -> int | None:
    """Bytes that this process may still take: what the machine has available, or what its cgroup leaves."""
    limits = [left for left in (_available(meminfo), _left(cgroup)) if left is not None]
    return min(limits, default=None)


def _available(meminfo: Path) -> int | None:
    try:
        lines = meminfo.read_text().splitlines()
    except OSError:
        return None
    told = (line.split()[1] for line in lines if line.startswith("MemAvailable:"))
    return next((int(kib) * 1024 for kib in told), None)


def _left(cgroup: Path) -> int | None:
    """Of the cgroup's limit (v2, v1), what is not used; cached files are given back where memory is short."""
    for most, used, stat, cached in (
        ("memory.max", "memory.current", "memory.stat", "inactive_file"),
        (
            "memory/memory.limit_in_bytes",
            "memory/memory.usage_in_bytes",
            "memory/memory.stat",
            "total_inactive_file",
        ),
    ):
        try:
            left = int((cgroup / most).read_text()) - int((cgroup / used).read_text())
        except (OSError, ValueError):  # `max` means none
            continue
        return max(0, left + _counted(cgroup / stat, cached))
    return None


def _counted(stat: Path, name: str) -> int:
    try:
        pairs = (line.split() for line in stat.read_text().splitlines())
        return next((int(value) for key, value in pairs if key == name), 0)
    except (OSError, ValueError):
        return 0


def resident_bytes(statm: Path = Path("/proc/self/statm")) -> int:
    """Memory that this process holds now; 0 where the system does not tell."""
    try:
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0
