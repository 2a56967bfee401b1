#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A reader for vmsnap's pipe that is as slow as a test wants.

reader.py pace OUT TICKS BYTES
    Copies stdin to OUT; may read BYTES for each tick the guest has printed to TICKS since the
    start. Rates of guest and pipe are tied: the outcome doesn't depend on the machine's speed, and
    a guest that does not run while it should stops everything, which is an error.
reader.py stall OUT TICKS ROUND SECONDS
    Copies stdin to OUT, but stops for SECONDS after the end of round ROUND; prints how many ticks
    the guest made in each half second of them.
reader.py hold OUT FILE
    Reads the header's 4096 bytes, creates FILE, continues when FILE is removed.
reader.py slow OUT BYTES SECONDS
    Copies stdin to OUT; sleeps for SECONDS after each BYTES.
"""
import os
import re
import struct
import sys
import time

fd, out = 0, open(sys.argv[2], 'wb')


def ticks():
    with open(sys.argv[3], 'rb') as f:
        f.seek(max(0, os.path.getsize(sys.argv[3]) - 4096))
        found = re.findall(rb'tick (\d+)\r?\n', f.read())
    return int(found[-1]) if found else 0


def take(n):
    """Exactly n bytes, fewer only at the end; never reads ahead."""
    parts = []
    while n:
        b = os.read(fd, min(n, 65536))
        if not b:
            break
        parts.append(b)
        n -= len(b)
    data = b''.join(parts)
    out.write(data)
    return data


def rest():
    while take(65536):
        pass
    out.close()


if sys.argv[1] == 'pace':
    per_tick, first, done = int(sys.argv[4]), ticks(), 0
    while True:
        last, since = ticks(), time.monotonic()
        while (ticks() - first) * per_tick <= done:
            if ticks() != last:
                last, since = ticks(), time.monotonic()
            if time.monotonic() - since > 60:
                sys.exit('the guest does not run: %d bytes were read' % done)
            time.sleep(0.002)
        got = take(min(65536, (ticks() - first) * per_tick - done))
        if not got:
            break
        done += len(got)
    out.close()
elif sys.argv[1] == 'stall':
    take(4096)
    while True:
        head = take(64)
        if len(head) < 64:
            sys.exit('the stream ended before the round')
        kind, number, length = struct.unpack_from('<4xH10xII', head)
        take(length + -length % 8)
        if kind == 5 and number == int(sys.argv[4]):
            break
    last = ticks()
    for _ in range(int(float(sys.argv[5]) * 2)):
        time.sleep(0.5)
        now = ticks()
        print(now - last)
        last = now
    rest()
elif sys.argv[1] == 'slow':
    while take(int(sys.argv[3])):
        time.sleep(float(sys.argv[4]))
    out.close()
else:
    take(4096)
    open(sys.argv[3], 'w').close()
    while os.path.exists(sys.argv[3]):
        time.sleep(0.01)
    rest()
