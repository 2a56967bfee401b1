#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What a program has done, counted by the kernel.

usage.py FILE COMMAND...
    Runs COMMAND, and writes a JSON object to FILE: rchar, wchar, syscr, syscw as in proc(5),
    /proc/pid/io, of all its threads, and rss_kb, its largest resident set, which is not below that
    of this script. Ends with the status of COMMAND.
"""
import json
import os
import sys

pid = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ)
os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)      # until wait4 its /proc entry remains
with open('/proc/%d/io' % pid) as f:
    io = dict(line.split(': ') for line in f.read().splitlines())
_, status, used = os.wait4(pid, 0)
with open(sys.argv[1], 'w') as f:
    json.dump({'rss_kb': used.ru_maxrss,
               **{k: int(io[k]) for k in ('rchar', 'wchar', 'syscr', 'syscw')}}, f)
sys.exit(os.waitstatus_to_exitcode(status))
