# SPDX-License-Identifier: MIT
"""Processes of a measurement: started, timed, their CPU time read, and none left behind."""
import contextlib
import ctypes
import json
import os
import re
import signal
import socket
import subprocess
import time

TICK = os.sysconf("SC_CLK_TCK")
PR_SET_CHILD_SUBREAPER = 36
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class Failed(Exception):
    """The bench cannot go on."""


class Late(Exception):
    """A limit has passed. Not a Failed, which some callers handle and continue."""


class Unsupported(Exception):
    """This side cannot do this. It is left out of the row; the text is the reason."""


def adopt_orphans():
    """A vmrun that vmmigrate started becomes a child of this process when vmmigrate ends, so that
    it can be found and ended."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise Failed("prctl: " + os.strerror(ctypes.get_errno()))


def stat_fields(pid):
    """Of /proc/PID/stat, from the state on: the name before it may hold spaces and brackets."""
    with open(f"/proc/{pid}/stat") as f:
        return f.read().rpartition(")")[2].split()


def children(parent):
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if int(stat_fields(pid)[1]) == parent:
                found.append(int(pid))
    return found


def end_all():
    """Kills all that this process started. The children of a killed process are adopted by this one
    (adopt_orphans) and are found in the next turn."""
    while True:
        for pid in children(os.getpid()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            os.wait()
        except ChildProcessError:
            return


def catch_signals():
    """Signals that would end this process raise SystemExit instead, so that it cleans up."""
    def stop(number, _):
        ignore_signals()
        raise SystemExit(128 + number)
    for number in ENDING:
        signal.signal(number, stop)


def ignore_signals():
    """While it cleans up. Not SIG_IGN: a signal that has come but was not yet handled would make
    Python complain of a race."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number in ENDING:
        signal.signal(number, lambda *_: None)


@contextlib.contextmanager
def limit(seconds, what):
    """Raises Late in what runs within after so many seconds. Must not be nested."""
    def late(*_):
        raise Late(f"{what}: timed out after {seconds:.0f} s")
    signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def cpu_of(pid):
    """CPU seconds that a living process has used, those of its ended threads and of the children it
    has waited for included. The CPU clock of a process counts nanoseconds, /proc ticks."""
    fields = stat_fields(pid)
    return time.clock_gettime(~pid << 3 | 2) + (int(fields[13]) + int(fields[14])) / TICK


def start(args, log, env=None, stdin=subprocess.DEVNULL, stdout=None):
    """Its standard error goes to the file log, its standard output too unless it is given."""
    with open(log, "w") as f:
        return subprocess.Popen(args, env=env, stdin=stdin, stdout=f if stdout is None else stdout,
                                stderr=f)


def tail(log):
    with open(log, errors="replace") as f:
        return f.read().strip()[-300:]


def reap(pid):
    """Waits for the end of a child. Returns its exit status and CPU seconds."""
    _, status, usage = os.wait4(pid, 0)
    return os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime


def finish(process, log):
    """Waits for a process of start(), which must have succeeded. Returns its CPU seconds."""
    process.returncode, cpu = reap(process.pid)
    if process.returncode:
        raise Failed(f"{' '.join(process.args)}: status {process.returncode}: {tail(log)}")
    return cpu


def run(args, log, env=None, stdin=subprocess.DEVNULL):
    """Returns seconds and CPU seconds of a command."""
    at = time.monotonic()
    cpu = finish(start(args, log, env, stdin), log)
    return time.monotonic() - at, cpu


def run_into_cat(args, log, env=None, stdin=subprocess.DEVNULL):
    """args | cat >/dev/null. Returns seconds, CPU seconds of both, and those of cat."""
    r, w = os.pipe()
    at = time.monotonic()
    first = start(args, log, env, stdin, w)
    os.close(w)
    second = start(["cat"], log + ".cat", None, r, subprocess.DEVNULL)
    os.close(r)
    cpu = finish(first, log)
    cat = finish(second, log + ".cat")
    return time.monotonic() - at, cpu + cat, cat


def wait_line(path, pattern, process):
    """The first match in a file that a living process writes."""
    while True:
        with contextlib.suppress(FileNotFoundError), open(path, errors="replace") as f:
            found = re.search(pattern, f.read())
            if found:
                return found
        if process.poll() is not None:
            raise Failed(f"{process.args[0]} ended early, status {process.returncode}")
        time.sleep(0.01)


class Qmp:
    """A control socket: vmrun's and QEMU's are spoken to alike."""

    def __init__(self, path, process=None):
        while True:
            self.socket = socket.socket(socket.AF_UNIX)
            try:
                self.socket.connect(path)
                break
            except OSError as e:
                self.socket.close()
                if process is None:
                    raise Failed(f"{path}: {e.strerror}") from e
            if process.poll() is not None:
                raise Failed(f"{process.args[0]} ended early, status {process.returncode}")
            time.sleep(0.001)
        credentials = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        self.pid = int.from_bytes(credentials[:4], "little")
        self.file = self.socket.makefile("rw")
        self.file.readline()
        self.command("qmp_capabilities")

    def command(self, name, **arguments):
        try:
            self.file.write(json.dumps({"execute": name, "arguments": arguments}) + "\n")
            self.file.flush()
            while True:
                line = self.file.readline()
                if not line:
                    raise Failed(f"{name}: connection closed by peer")
                answer = json.loads(line)
                if "return" in answer:
                    return answer["return"]
                if "error" in answer:
                    raise Unsupported(f"{name}: {answer['error'].get('desc')}")
        except OSError as e:
            raise Failed(f"{name}: {e.strerror}") from e

    def wait_running(self):
        while not self.command("query-status")["running"]:
            time.sleep(0.001)

    def quit(self):
        """Returns when the process has ended, which must be a child."""
        with contextlib.suppress(Failed, Unsupported):
            self.command("quit")
        self.close()
        reap(self.pid)

    def kill(self):
        """As quit(), for a VM that may hang."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self.close()
        reap(self.pid)

    def close(self):
        with contextlib.suppress(OSError):
            self.file.close()
        self.socket.close()
