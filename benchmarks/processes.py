"""What /proc tells about a family of processes: memory, CPU time, context switches."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


def family(pid: int) -> list[int]:
    """Return `pid` and all its descendants, the oldest first."""
    parents = {child: _parent(child) for child in _all_pids()}
    members = [pid]
    for member in members:  # grows while it is walked
        members.extend(sorted(child for child, parent in parents.items() if parent == member))
    return members


def _all_pids() -> list[int]:
    return [int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit()]


def _parent(pid: int) -> int:
    try:
        return int((PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0  # it ended


def command_line(pid: int) -> str:
    """Return the words a process was started with, or nothing when it is gone."""
    try:
        return (PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


# Memory


@dataclass(frozen=True)
class Memory:
    """Memory of one process in bytes: its proportional share, and the anonymous part of that."""

    pid: int
    pss: int
    pss_anon: int
    private: int


def memory(pid: int) -> Memory:
    """Return how much memory a process takes."""
    kib: Counter[str] = Counter()
    for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines()[1:]:
        name, _, rest = line.partition(":")
        kib[name] = int(rest.split()[0])
    private = kib["Private_Clean"] + kib["Private_Dirty"]
    return Memory(pid, kib["Pss"] * 1024, kib["Pss_Anon"] * 1024, private * 1024)


def reset_peak(pid: int) -> int:
    """Forget how much memory a process ever had at once; return how much it has, in bytes (resident set)."""
    (PROC / str(pid) / "clear_refs").write_text("5")
    return _status_bytes(pid, "VmRSS")


def peak_rss(pid: int) -> int:
    """Return the largest resident set of a process since `reset_peak`, in bytes."""
    return _status_bytes(pid, "VmHWM")


def _status_bytes(pid: int, name: str) -> int:
    lines = (PROC / str(pid) / "status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) * 1024


def other_pythons(members: Iterable[int]) -> list[int]:
    """Return the processes outside a family (this one among them) that run the same interpreter's files."""
    inside = set(members)
    ours = _interpreter_files(next(iter(inside)))
    return [pid for pid in _all_pids() if pid not in inside and ours & _interpreter_files(pid)]


def _interpreter_files(pid: int) -> set[str]:
    return {path for path in _file_shares(pid) if "python3" in Path(path).name and "site-packages" not in path}


def lent_to(others: Iterable[int], members: Iterable[int]) -> int:
    """Return how many bytes of Pss the `members` are spared because `others` map the same files; not less than it is.

    A page that k members, o others and m more processes map counts k/(k+o+m) for the members, and would count k/(k+m)
    without the others: their share of it, o/(k+o+m), times k/(k+m). Their share is what smaps gives as their Pss
    without their private pages.
    """
    inside, outside = set(members), set(others)
    users: Counter[str] = Counter()  # processes that map the file, members and more, not the others
    ours: Counter[str] = Counter()
    for pid in _all_pids():
        if pid not in outside:
            shares = _file_shares(pid)
            users.update(shares.keys())
            if pid in inside:
                ours.update(shares.keys())
    lent = 0.0
    for pid in outside:
        lent += sum(share * ours[path] / users[path] for path, share in _file_shares(pid).items() if ours[path])
    return round(lent)


def _file_shares(pid: int) -> dict[str, int]:
    """Return by path the bytes of a process's Pss in pages of files that another process maps too."""
    shares: Counter[str] = Counter()
    try:
        lines = (PROC / str(pid) / "smaps").read_text().splitlines()
    except OSError:
        return {}  # it ended, or is another user's
    path = ""
    for line in lines:
        words = line.split(maxsplit=5)
        if not words[0].endswith(":"):
            path = words[5] if len(words) > 5 and words[5].startswith("/") else ""
        elif path and words[0] == "Pss:":
            shares[path] += int(words[1]) * 1024
        elif path and words[0] in ("Pss_Dirty:", "Private_Clean:"):  # dirty pages of a file are copies of one's own
            shares[path] -= int(words[1]) * 1024
    return {path: max(0, share) for path, share in shares.items()}


# Activity


@dataclass(frozen=True)
class Activity:
    """What processes have done so far, summed over their threads."""

    switches: int
    cpu_s: float

    def since(self, earlier: Activity) -> Activity:
        """Return what was done in between."""
        return Activity(self.switches - earlier.switches, self.cpu_s - earlier.cpu_s)


def activity(pid: int) -> Activity:
    """Return what a process has done since it began; its threads that ended are not in it."""
    switches, cpu_s = 0, 0.0
    for task in _tasks(pid):
        for line in (task / "status").read_text().splitlines():
            if "voluntary_ctxt_switches" in line:  # the involuntary ones end in this too
                switches += int(line.split()[1])
        cpu_s += _cpu_s(task)
    return Activity(switches, cpu_s)


def _cpu_s(task: Path) -> float:
    try:
        return int((task / "schedstat").read_text().split()[0]) / 1e9
    except OSError:  # a kernel without schedstat; ticks of 10 ms
        fields = (task / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _tasks(pid: int) -> Iterator[Path]:
    yield from (PROC / str(pid) / "task").iterdir()
