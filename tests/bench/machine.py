# SPDX-License-Identifier: MIT
"""The machine that is measured on: what it is, and whether it is quiet."""
import contextlib
import os
import platform
import subprocess
import time

from processes import TICK, stat_fields


def first_line(path, key):
    with contextlib.suppress(OSError), open(path) as f:
        for line in f:
            if line.startswith(key):
                return line.partition(":")[2].strip()
    return "unknown"


def available_mib():
    return int(first_line("/proc/meminfo", "MemAvailable").split()[0]) // 1024


def filesystem(folder):
    """Type and device of the file system that holds folder."""
    real, best = os.path.realpath(folder), ("", "unknown", "")
    with open("/proc/self/mounts") as f:
        for device, point, kind, *_ in map(str.split, f):
            inside = real == point or real.startswith(point.rstrip("/") + "/")
            if inside and len(point) >= len(best[0]):
                best = (point, kind, device)
    return f"{best[1]} on {best[2]}"


def output(*args):
    try:
        return subprocess.run(args, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def describe(folder, qemus):
    """Pairs of what and text."""
    total = int(first_line("/proc/meminfo", "MemTotal").split()[0]) / 1048576
    virtual = output("systemd-detect-virt", "--vm") or (
        "a hypervisor" if " hypervisor" in first_line("/proc/cpuinfo", "flags") else "none")
    commit = output("git", "describe", "--always", "--dirty")
    return [
        ("date", time.strftime("%Y-%m-%d", time.gmtime())),
        ("commit", commit or "unknown"),
        ("CPUs", f"{len(os.sched_getaffinity(0))}, {first_line('/proc/cpuinfo', 'model name')}"),
        ("memory", f"{total:.1f} GiB"),
        ("virtualization", virtual),
        ("kernel", f"{platform.system()} {platform.release()} {platform.machine()}"),
        ("files", filesystem(folder)),
        ("QEMU", ", ".join(q.version for q in qemus) or "none"),
    ]


def cpu_ticks():
    """Of the whole machine: busy ticks; and of each process: ticks and name."""
    with open("/proc/stat") as f:
        user, nice, system, _, _, irq, softirq, steal, *_ = map(int, f.readline().split()[1:])
    each = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError, ValueError):
            fields = stat_fields(pid)
            with open(f"/proc/{pid}/comm") as f:
                each[pid] = (int(fields[11]) + int(fields[12]), f.read().strip())
    return user + nice + system + irq + softirq + steal, each


def load():
    """CPUs that were busy during one second in which this process slept, and a text that names
    those who kept them busy, as far as they still live."""
    before, each_before = cpu_ticks()
    time.sleep(1)
    after, each = cpu_ticks()
    used = {pid: t - each_before.get(pid, (0,))[0] for pid, (t, _) in each.items()}
    top = sorted((p for p in used if used[p] > TICK // 50), key=used.get, reverse=True)[:4]
    names = ", ".join(f"{each[p][1]} (pid {p}) {used[p] / TICK:.2f}" for p in top)
    return (after - before) / TICK, names
