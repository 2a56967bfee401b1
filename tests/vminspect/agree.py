#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""agree.py SNAPSHOT READER: what `vminspect --json` says of SNAPSHOT is what READER
(tests/format/vmsread.py, written from docs/format.md alone) says of it: header, machine, devices,
memory, host resources, digests, every row of every section of the state. Prints what differs;
exit 1 when something does."""
import json
import subprocess
import sys

snapshot, reader = sys.argv[1:]


def run(*argv):
    return json.loads(subprocess.run(argv, check=True, stdout=subprocess.PIPE).stdout)


theirs = run(reader, snapshot)
info = run('vminspect', 'info', '--json', snapshot)
tree = run('vminspect', 'tree', '--json', snapshot)
differing = compared = 0


def number(v):
    return int(v, 0) if isinstance(v, str) else v


def same(what, a, b):
    global differing, compared
    compared += 1
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for i, (x, y) in enumerate(zip(a, b)):
            same('%s[%d]' % (what, i), x, y)
        return
    if isinstance(b, int) and not isinstance(b, bool) and isinstance(a, str):
        a = number(a)
    if a != b:
        differing += 1
        print('%s: vminspect %r, the reader %r' % (what, a, b))


head = theirs['header']
for key in ('version', 'incomplete', 'snapshot', 'parent', 'parent_memory', 'created_ns',
            'creator', 'optional'):
    same(key, info[key], head[key])
same('vm', (info['vm']['name'], info['vm']['uuid']), (head['name'], head['vm']))
same('arch', {'riscv64': 243, 'x86-64': 62}[info['arch']], head['arch'])
same('layout', {'chunked': 1, 'flat': 2}[info['layout']], head['layout'])
same('required', sum({'state-only': 1, 'chain': 2, 'disks': 4}[f] for f in info['required']),
     head['required'])
for key in 'bytes', 'chunks':
    same(key, info[key], theirs[key])
same('rounds', len([r for r in info['rounds'] if r['round'] is not None]), theirs['rounds'])
same('file digest', info['digests']['file'], theirs['file_digest'])
for key in 'memory', 'machine':
    same(key + ' digest', info['digests'][key], theirs[key + '_digest'])

machine = theirs['machine']
same('type', 'vmferry,' + info['machine']['type'], machine['type'])
for key in 'name', 'isa', 'cpus', 'timebase_hz', 'on_reboot', 'append', 'stopped', 'reset_pending':
    same(key, info['machine'][key], machine[key])
same('regions', len(info['regions']), len(machine['regions']))
for a, b in zip(info['regions'], machine['regions']):
    for key in 'id', 'kind', 'name', 'gpa', 'size', 'page_size':
        same('region ' + key, a[key], b[key])
    for key in 'data', 'zero', 'untouched':
        if a[key] is not None:
            same('region ' + key, a[key], b['pages'][key])
same('devices', len(info['devices']), len(machine['devices']))
for a, b in zip(info['devices'], machine['devices']):
    for key in 'node', 'type', 'gpa', 'size', 'slot':
        same('device ' + key, a[key], b[key])
    same('device irq', a['irq'] or 0, b['irq'])
    same('device host', a['host'] or '', b['host'])
same('hosts', len(info['hosts']), len(machine['hosts']))
for a, b in zip(info['hosts'], machine['hosts']):
    for key in 'name', 'class', 'path':
        same('host ' + key, a[key], b[key])
    # The snapshot has these of disks and images only.
    for key, none in ('size', 0), ('mtime_ns', 0), ('digest', '0' * 32):
        same('host ' + key, a[key], b.get(key, none))
    same('host read_only', a['read_only'], b['readonly'])
same('images', sorted(h['name'] for h in info['hosts'] if h['included']), theirs['images'])

for path, parts in theirs['state'].items():
    node = tree
    for name in path.strip('/').split('/'):
        node = node[name]
    ours = {k: v for k, v in node['state'].items() if not k.startswith('#')}
    same(path, sorted(ours), sorted(parts))
    for part, rows in parts.items():
        mine = {k: v for k, v in ours[part].items() if k not in ('version', 'needs', 'reg')}
        same('%s %s' % (path, part), sorted(mine), sorted(rows))
        for row, value in rows.items():
            same('%s %s %s' % (path, part, row), mine[row], value)

print('%d values compared, %d differ' % (compared, differing))
sys.exit(1 if differing or compared < 100 else 0)
