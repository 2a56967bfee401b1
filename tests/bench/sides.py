# SPDX-License-Identifier: MIT
"""The sides that are compared: vmrun with its tools, and bare copies; qemu.py has QEMU.

Each row is a method of the same name, which prepares, then runs the timed part, and returns a
Sample. A side without the method does not take part in the row. restore_prepare is called once
before the rows that restore."""
import contextlib
import json
import os
import time
from collections import namedtuple

from processes import Failed, Qmp, cpu_of, finish, reap, run, run_into_cat, start, wait_line

GUEST_AT = 8            # MiB: where the fill guest's memory begins, tests/guests/fill.c
GUEST_MORE = 16         # MiB of RAM besides what it fills
GUEST_PIECE = 65536     # every other one is zero
LEVEL = 1               # of zstd: what --compress without a level means

# pause_ms: downtime of the guest, where it is known
Sample = namedtuple("Sample", "seconds cpu pause_ms", defaults=(None, None))
# mib: what the guest fills; half: every other 64 KiB of it with zeros
Guest = namedtuple("Guest", "mib half")


class Workplace:
    """Folders: run for sockets and logs, whose paths must be short; files for snapshots."""

    def __init__(self, run_folder, files):
        self.run, self.files = run_folder, files

    def log(self, name):
        return f"{self.run}/{name}.log"

    def file(self, name):
        return f"{self.files}/{name}"


def remove(path):
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def drop_cache(path):
    with open(path, "rb") as f:
        os.fsync(f.fileno())
        os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def fill_cache(path):
    with open(path, "rb", buffering=0) as f:
        while f.read(1 << 20):
            pass


class Ours:
    label = "vmferry"

    def __init__(self, place, elf):
        self.place, self.elf = place, elf
        self.host = 1           # where the VM is: there are two for the move, a third for restores
        self.qmp = self.guest = None
        self.snapshot = place.file("vmferry.vms")
        self.flat = place.file("vmferry-flat.vms")

    def env(self, host):
        return dict(os.environ, VMFERRY_RUNTIME_DIR=f"{self.place.run}/host{host}",
                    VMFERRY_STATE_DIR=f"{self.place.run}/state{host}")

    def socket(self, name, host):
        return f"{self.place.run}/host{host}/{name}.sock"

    def start(self, guest):
        self.guest = guest
        serial = self.place.log("vmferry.serial")
        remove(serial)
        vm = start(["vmrun", "--name", "bench", "--kernel", self.elf,
                    "--memory", f"{guest.mib + GUEST_MORE}M", "--serial", f"file:{serial}",
                    "--append", f"mib={guest.mib} half={guest.half:d}"],
                   self.place.log("vmferry"), self.env(1))
        self.host = 1
        wait_line(serial, "fill guest: mib", vm)
        self.qmp = Qmp(self.socket("bench", 1), vm)
        vm.returncode = 0       # reaped by its pid: after a move the VM is another process

    def stop(self):
        self.qmp.quit()
        self.qmp = None

    def memory(self):
        """A path to the VM's memory, for the bare copies."""
        folder = f"/proc/{self.qmp.pid}/fd"
        found = [f"{folder}/{fd}" for fd in os.listdir(folder)
                 if os.readlink(f"{folder}/{fd}").startswith("/memfd:")]
        return max(found, key=lambda path: os.stat(path).st_size)

    def write_zeros(self):
        """At the target of a move zero pages are holes, which the next move need not read. They are
        written again, so that each move starts from the same memory, as QEMU's does: its VM stays
        at the source. The guest sleeps and writes nothing at the same time."""
        zeros = bytes(GUEST_PIECE)
        end = GUEST_AT + self.guest.mib << 20
        with open(self.memory(), "r+b", buffering=0) as f:
            for at in range((GUEST_AT << 20) + GUEST_PIECE, end, 2 * GUEST_PIECE):
                os.pwrite(f.fileno(), zeros, at)

    def report(self, log, event):
        with open(log) as f:
            for line in f:
                if f'"{event}"' in line:
                    return json.loads(line)
        raise Failed(f"{log}: no {event}")

    def save(self, runner, *args):
        log = self.place.log("vmsnap")
        before = cpu_of(self.qmp.pid)
        seconds, cpu, *_ = runner(["vmsnap", "--progress=json", *args], log, self.env(self.host))
        return Sample(seconds, cpu + cpu_of(self.qmp.pid) - before,
                      self.report(log, "report")["pause_ms"])

    def save_pipe(self):
        return self.save(run_into_cat, "bench")

    def save_zstd(self):
        return self.save(run_into_cat, f"--compress={LEVEL}", "bench")

    def save_file(self):
        remove(self.snapshot)
        return self.save(run, "bench", self.snapshot)

    restore_prepare = save_file

    def save_flat(self):
        remove(self.flat)
        return self.save(run, "--layout=flat", "bench", self.flat)

    def restore(self):
        return self.restore_from(self.snapshot)

    def restore_cow(self):
        if not os.path.exists(self.flat):
            self.save_flat()
        return self.restore_from(self.flat, "--memory=cow")

    def restore_from(self, snapshot, *args):
        log = self.place.log("restore")
        at = time.monotonic()
        vm = start(["vmrun", "--restore", snapshot, *args, "--name", "restored", "--serial",
                    "none"], log, self.env(3))
        try:
            qmp = Qmp(self.socket("restored", 3), vm)
            qmp.wait_running()
        except Failed as e:
            with open(log) as f:
                raise Failed(f"restore: {e}: {f.read().strip()}") from e
        sample = Sample(time.monotonic() - at, cpu_of(qmp.pid))
        qmp.quit()
        vm.returncode = 0
        return sample

    restore_cold = restore

    def move(self):
        if self.guest.half:
            self.write_zeros()
        to, log = 3 - self.host, self.place.log("vmmigrate")
        log_listen = self.place.log("listen")
        listener = start(["vmmigrate", "--listen", "127.0.0.1:0", "--once", "--", "--serial",
                          "none"], log_listen, self.env(to))
        port = wait_line(log_listen, r"listening on (127\.0\.0\.1:\d+)", listener).group(1)
        before = cpu_of(self.qmp.pid)
        seconds, cpu = run(["vmmigrate", "--progress=json", "bench", port], log,
                           self.env(self.host))
        cpu += finish(listener, log_listen)
        # The source's vmrun ends by itself; the freeing of its memory counts.
        self.qmp.close()
        cpu += reap(self.qmp.pid)[1] - before
        self.host = to
        self.qmp = Qmp(self.socket("bench", to))
        return Sample(seconds, cpu + cpu_of(self.qmp.pid), self.report(log, "moved")["downtime_ms"])


class Bare:
    """rawcopy and zstd, which only copy: the same memory, the same file."""
    label = "bare copy"

    def __init__(self, place, ours):
        self.place, self.ours, self.guest = place, ours, None

    def start(self, guest):
        self.guest = guest

    def stop(self):
        pass

    def source(self):
        return [self.ours.memory(), str(GUEST_AT), str(self.guest.mib)]

    def copy(self, *args, runner=run):
        """rawcopy prints what its copy alone took; cat's CPU time comes on top."""
        log = self.place.log("rawcopy")
        *_, cat = runner(["rawcopy", *args], log)
        with open(log) as f:
            seconds, cpu = map(float, f.read().split())
        return Sample(seconds, cpu + (cat if runner is run_into_cat else 0))

    def save_pipe(self):
        return self.copy("pipe", *self.source(), runner=run_into_cat)

    def save_file(self):
        path = self.place.file("bare")
        remove(path)
        try:
            return self.copy("write", *self.source(), path)
        finally:
            remove(path)

    save_flat = save_file

    def save_zstd(self):
        with open(self.ours.memory(), "rb", buffering=0) as f:
            f.seek(GUEST_AT << 20)
            seconds, cpu, _ = run_into_cat(["zstd", "-q", "-c", "-T0", f"-{LEVEL}"],
                                           self.place.log("zstd"), stdin=f)
        return Sample(seconds, cpu)

    @property
    def snapshot(self):
        return self.ours.snapshot

    def restore(self):
        return self.copy("read", self.snapshot)

    def restore_cold(self):
        return self.copy("read-direct", self.snapshot)

    def move(self):
        return self.copy("move", *self.source())
