# SPDX-License-Identifier: MIT
"""QEMU as a side: one VM of each program, which migrates in two ways. sides.py says what a side is.
"""
import glob
import os
import re
import subprocess
import time

from processes import Failed, Qmp, Unsupported, children, cpu_of, start, wait_line
from sides import GUEST_MORE, LEVEL, Sample, remove


class Qemu:
    """A QEMU program, and one VM of it, which is the source in all rows."""

    def __init__(self, spec, place, elf):
        self.path, _, self.data = spec.partition(":")
        self.place, self.elf, self.guest, self.vm = place, elf, None, None
        try:
            said = subprocess.run([self.path, "--version"], capture_output=True, text=True,
                                  check=True).stdout
            self.version = re.search(r"version (.*)", said).group(1)
        except (OSError, subprocess.CalledProcessError) as e:
            raise Failed(f"QEMU: {self.path}: {getattr(e, 'strerror', e)}") from e
        self.label = "QEMU " + self.version.split()[0]
        self.env = dict(os.environ)
        if self.data:
            # One that is not installed must not load the modules of the one that is.
            near = glob.glob(os.path.dirname(os.path.realpath(self.path)) + "/../lib*/**/qemu",
                             recursive=True)
            self.env["QEMU_MODULE_DIR"] = near[0] if near else place.run

    def machine(self, name, guest, *more):
        """A QMP connection to a new VM of the same shape as vmrun's: memory in a memfd."""
        memory = f"{guest.mib + GUEST_MORE}M"
        path, serial = f"{self.place.run}/{name}.sock", self.place.log(name + ".serial")
        remove(serial)
        vm = start([self.path, *(["-L", self.data] if self.data else []),
                    "-M", "virt,memory-backend=ram", "-m", memory,
                    "-object", f"memory-backend-memfd,id=ram,size={memory},share=on",
                    "-kernel", self.elf, "-append", f"mib={guest.mib} half={guest.half:d}",
                    "-nodefaults", "-display", "none", "-serial", f"file:{serial}",
                    "-qmp", f"unix:{path},server=on,wait=off", *more], self.place.log(name),
                   self.env)
        try:
            if not more:
                wait_line(serial, "fill guest: mib", vm)
            qmp = Qmp(path, vm)
        except Failed as e:
            with open(self.place.log(name)) as f:
                raise Failed(f"{self.label}: {e}: {f.read().strip()}") from e
        vm.returncode = 0       # reaped by its pid
        return qmp

    def start(self, guest):
        if self.vm is None:
            self.guest, self.vm = guest, self.machine("qemu", guest)

    def stop(self):
        if self.vm is not None:
            self.vm.quit()
            self.vm = None

    def incoming(self, multifd, mapped):
        qmp = self.machine("qemu-to", self.guest, "-incoming", "defer")
        self.tune(qmp, multifd, mapped)
        return qmp

    @staticmethod
    def tune(qmp, multifd, mapped):
        known = {c["capability"] for c in qmp.command("query-migrate-capabilities")}
        parameters = {"max-bandwidth": 1 << 40}
        states = {"multifd": multifd}
        if multifd:
            parameters["multifd-channels"] = 2
        if mapped and "mapped-ram" not in known:
            raise Unsupported("no mapped-ram")
        if "mapped-ram" in known:
            states["mapped-ram"] = mapped
        if "direct-io" in qmp.command("query-migrate-parameters"):
            parameters["direct-io"] = mapped
        elif mapped:
            raise Unsupported("no direct-io")
        qmp.command("migrate-set-capabilities",
                    capabilities=[{"capability": c, "state": s} for c, s in states.items()])
        qmp.command("migrate-set-parameters", **parameters)

    def migrate(self, uri, to=None):
        """To uri. Of a move to is the target's connection, and the end is that it runs. The source
        continues afterwards."""
        before = cpu_of(self.vm.pid) + (cpu_of(to.pid) if to else 0)
        at = time.monotonic()
        self.vm.command("migrate", uri=uri)
        while True:
            info = self.vm.command("query-migrate")
            if info.get("status") == "completed":
                break
            if info.get("status") == "failed":
                raise Unsupported(f"{uri}: {info.get('error-desc', 'migration failed')}")
            time.sleep(0.001)
        if to:
            to.wait_running()
        seconds = time.monotonic() - at
        # The CPU time of exec: counts once QEMU has waited for it.
        while children(self.vm.pid):
            time.sleep(0.001)
        cpu = cpu_of(self.vm.pid) + (cpu_of(to.pid) if to else 0) - before
        self.vm.command("cont")
        return Sample(seconds, cpu, info.get("downtime"))


class QemuSide:
    """What the two ways to migrate have in common. Both use one VM, that of @qemu."""
    multifd = mapped = False

    def __init__(self, qemu):
        self.qemu, self.start, self.stop = qemu, qemu.start, qemu.stop
        name = re.sub(r"[^A-Za-z0-9.]", "-", self.label)
        self.snapshot = qemu.place.file(name + ".migration")

    def to_pipe(self, command):
        self.qemu.tune(self.qemu.vm, False, False)
        return self.qemu.migrate(f"exec:{command} >/dev/null")

    def save_file(self):
        remove(self.snapshot)
        self.qemu.tune(self.qemu.vm, self.mapped, self.mapped)
        return self.qemu.migrate(self.to_uri())

    restore_prepare = save_file

    def restore(self):
        qmp = self.qemu.incoming(self.mapped, self.mapped)
        try:
            before, at = cpu_of(qmp.pid), time.monotonic()
            qmp.command("migrate-incoming", uri=self.from_uri())
            qmp.wait_running()
            seconds = time.monotonic() - at
            while children(qmp.pid):
                time.sleep(0.001)
            return Sample(seconds, cpu_of(qmp.pid) - before)
        finally:
            qmp.kill()

    restore_cold = restore

    def move(self):
        to = self.qemu.incoming(self.multifd, False)
        try:
            self.qemu.tune(self.qemu.vm, self.multifd, False)
            to.command("migrate-incoming", uri="tcp:127.0.0.1:0")
            port = to.command("query-migrate")["socket-address"][0]["port"]
            return self.qemu.migrate(f"tcp:127.0.0.1:{port}", to)
        finally:
            to.kill()


class QemuPlain(QemuSide):
    """exec: and one TCP connection, as any QEMU has it."""

    def __init__(self, qemu):
        self.label = qemu.label
        super().__init__(qemu)

    def save_pipe(self):
        return self.to_pipe("cat")

    def save_zstd(self):
        return self.to_pipe(f"zstd -q -c -T0 -{LEVEL} | cat")

    def to_uri(self):
        return f"exec:cat >{self.snapshot}"

    def from_uri(self):
        return f"exec:cat {self.snapshot}"


class QemuMultifd(QemuSide):
    """Two connections; to and from a file mapped-ram with two threads and direct IO."""
    multifd = mapped = True

    def __init__(self, qemu):
        self.label = qemu.label + " multifd 2"
        super().__init__(qemu)

    def to_uri(self):
        return f"file:{self.snapshot}"

    from_uri = to_uri

    def save_flat(self):
        return self.save_file()
