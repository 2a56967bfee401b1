#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""harm.py state SNAPSHOT FOLDER SEED COUNT: snapshots with shaken trees are refused with 3 and one
line, or run.
harm.py guest ELF FOLDER SEED COUNT: guests that mean harm run while they are saved, and what was
saved is restored; they end by themselves or when told, with one line at most.

In either case no tool is killed by a signal, hangs, or has a sanitizer's report. Says what it has
seen; 1 when something is wrong.
"""
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

# Of a VM that has run: off, reset, panic, a vCPU that can't continue, hibernated, SIGTERM; or
# SIGTERM before or after its run.
ENDS = {0, 16, 17, 18, 19, 143, -15}
SLOW = 5 if os.environ.get('SAN') else 1


def tool(*args, env=None):
    return subprocess.run(args, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          errors='replace', timeout=120, env=env)


def start(*args):
    return subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, errors='replace')


def end(vm, after):
    """Status and stderr of a VM that is told to end after so many seconds."""
    try:
        return vm.returncode, vm.communicate(timeout=after)[1]
    except subprocess.TimeoutExpired:
        vm.terminate()
    try:
        return vm.returncode, vm.communicate(timeout=20 * SLOW)[1]
    except subprocess.TimeoutExpired:
        vm.kill()
        return None, 'does not end at SIGTERM: ' + vm.communicate()[1]


def wrong(status, text, wanted):
    return (status not in wanted or text.count('\n') > 1 or (status == 3 and not text)
            or re.search('Sanitizer|runtime error', text))


def restored(name, path, after, *more):
    vm = start('vmrun', '--name', name, '--restore', path, '--uuid', 'new', '--trust-paths',
               '--serial', 'none', *more)
    _, text = end(vm, after)
    return vm.returncode, text


def state(snapshot, folder, seed):
    path = f'{folder}/shaken{seed}.vms'
    # Its leaks are nobody's business.
    shaken = tool('shaketree', snapshot, path, str(seed),
                  env=dict(os.environ, ASAN_OPTIONS='detect_leaks=0'))
    bad = []
    if shaken.returncode == 3:      # no reader would take it: the writer has read it
        return 'refused', bad
    if shaken.returncode:
        return 'refused', [f'shaketree: {shaken.returncode} {shaken.stderr}']
    for command in ('info', 'regs', 'verify'):
        r = tool('vminspect', command, path)
        if wrong(r.returncode, r.stderr, {0, 3}):
            bad.append(f'vminspect {command}: {r.returncode} {r.stderr}')
    status, text = restored(f's{seed}', path, 0.3 * SLOW)
    if wrong(status, text, ENDS | {3}):
        bad.append(f'vmrun --restore: {status} {text}')
    os.unlink(path)
    return 'refused' if status == 3 else 'ran', [f'{shaken.stdout.strip()} {b}' for b in bad]


def guest(elf, folder, seed):
    gentle, name, saved = seed % 3 != 0, f'h{seed}', f'{folder}/h{seed}.vms'
    for disk in ('a', 'b'):
        with open(f'{folder}/{disk}{seed}.img', 'wb') as f:
            f.truncate(1 << 20)
    vm = start('vmrun', '--name', name, '--kernel', elf, '--append',
               f'seed={seed} gentle={int(gentle)}', '--memory', '16M', '--cpus', '2',
               '--rng', '--disk', f'd={folder}/a{seed}.img',
               '--virtio-console', f'file:{folder}/con', '--serial', 'none')
    bad, outcome, until = [], 'ended', time.monotonic() + 20 * SLOW
    for _ in range(2):
        time.sleep(0.3)
        save = tool('vmsnap', '-q', '--force', name, saved)
        # not yet there, or just gone
        while save.returncode == 4 and vm.poll() is None and time.monotonic() < until:
            time.sleep(0.1)
            save = tool('vmsnap', '-q', '--force', name, saved)
        # it ended meanwhile
        if save.returncode == 6 or (save.returncode == 4 and vm.poll() is not None):
            break
        if save.returncode:
            bad.append(f'vmsnap: {save.returncode} {save.stderr}')
            break
        outcome = 'saved'
        status, text = restored(name + 'r', saved, 0.5 * SLOW, '--disk', f'd={folder}/b{seed}.img',
                                '--disk-changed=accept',
                                '--virtio-console', 'none')
        if wrong(status, text, ENDS):
            bad.append(f'vmrun --restore: {status} {text}')
        tool('vmrun', 'ctl', name, 'stop')
        tool('vmrun', 'ctl', name, 'cont')
    _, text = end(vm, 0.1)
    if wrong(vm.returncode, text, ENDS):
        bad.append(f'vmrun: {vm.returncode} {text}')
    return outcome, bad


def main():
    what, subject, folder, seed, count = sys.argv[1:]
    seen, failed = {}, False
    with ThreadPoolExecutor(2) as pool:
        work = {'state': state, 'guest': guest}[what]
        for n, (outcome, bad) in enumerate(pool.map(lambda n: work(subject, folder, int(seed) + n),
                                                    range(int(count)))):
            seen[outcome] = seen.get(outcome, 0) + 1
            for b in bad:
                failed = True
                print(f'seed {int(seed) + n}: {b}')
    print(seen)
    # Many seeds with one outcome have shown nothing.
    return 1 if failed or (int(count) > 1 and len(seen) < 2) else 0


if __name__ == '__main__':
    sys.exit(main())
