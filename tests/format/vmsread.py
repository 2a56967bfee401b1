#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A reader of snapshots written from docs/format.md alone, to keep that text honest: it shares no
code with the others, and takes the rows of the state tables out of the text itself.

vmsread.py [--quick] FILE|-         checks everything (--quick: not the payloads' and pages' hashes,
                                    nor the content digest), prints JSON
vmsread.py --key KEYFILE FILE|-     the same, and the MACs: "auth" lists what valid ones cover
vmsread.py --image NAME FILE        the bytes of the kernel or initrd that is in it, checked
vmsread.py --page REGION PAGE FILE  the page's 4096 bytes, found by the index
Exit status 3: refused.
"""
import hashlib
import hmac
import json
import os
import re
import stat
import struct
import subprocess
import sys
import uuid

from xxh3 import xxh3_64, xxh3_128

CONFIG, PAGES, BLOB, ROUND_END, STATE, WORKINGSET, INDEX, END, AUTH = 1, 2, 3, 5, 6, 7, 8, 9, 10
STATE_ONLY = 1
DATA, ZERO = 1, 2


class Refused(Exception):
    pass


def need(ok, at, what):
    if not ok:
        raise Refused('%s (at byte %d)' % (what, at))


def blank(b):
    return not any(b)


def text(b, at):
    t, _, rest = b.partition(b'\0')
    need(blank(rest) and all(0x20 <= c <= 0x7e for c in t), at, 'not text')
    return t.decode()


class Source:
    """The snapshot's bytes, in order; `take` refuses a cut."""

    def __init__(self, f):
        self.f, self.at = f, 0

    def take(self, n):
        b = self.f.read(n)
        self.at += len(b)
        need(len(b) == n, self.at, 'cut off')
        return b


# --- section 2 ---

def read_header(b):
    need(b[:8] == bytes.fromhex('89564D530D0A1A0A'), 0, 'not a snapshot')
    need(struct.unpack_from('<Q', b, 4088)[0] == xxh3_64(b[:4088]), 0, 'header hash')
    version, size, required, optional, arch, layout, flags = struct.unpack_from('<IIQQIII', b, 8)
    need(version == 0, 8, 'version %d' % version)
    need(not required & ~STATE_ONLY, 16, 'required features 0x%x' % required)
    need(layout == 1, 36, 'layout %d' % layout)
    need(not flags & ~1, 40, 'flags 0x%x' % flags)
    need(size == 4096 and blank(b[44:48]) and blank(b[120:128]) and blank(b[256:4088]), 0,
         'reserved bytes')
    name, creator = text(b[128:192], 128), text(b[192:256], 192)
    need(re.fullmatch('([A-Za-z0-9][A-Za-z0-9._-]{0,63})?', name), 128, 'name')
    need(len(creator) <= 63, 192, 'creator')

    def ident(at):
        return str(uuid.UUID(bytes=b[at:at + 16]))
    return {
        'version': version, 'required': required, 'optional': optional, 'arch': arch,
        'layout': layout, 'incomplete': bool(flags & 1),
        'vm': ident(48), 'snapshot': ident(64), 'parent': None if blank(b[80:96]) else ident(80),
        'parent_content': None if blank(b[96:112]) else b[96:112].hex(),
        'created_ns': struct.unpack_from('<Q', b, 112)[0], 'name': name, 'creator': creator,
    }


# --- sections 3 and 4 ---

class Chunk:
    def __init__(self, source, quick):
        self.at = source.at
        self.header = source.take(48)
        (magic, self.type, self.flags, self.encoding, pad, self.region, n, payload_hash, pad2,
         own) = struct.unpack('<4sHHHHIQQQQ', self.header)
        need(magic == b'VMSc', self.at, 'no chunk')
        need(own == xxh3_64(self.header[:40]), self.at, 'chunk header hash')
        need(pad == 0 and pad2 == 0 and not self.flags & ~1 and self.encoding <= 1, self.at,
             'chunk header')
        need(n <= 8 << 20, self.at, 'chunk of %d bytes' % n)
        self.payload = source.take(n)
        need((quick and self.type == PAGES) or payload_hash == xxh3_64(self.payload), self.at,
             'payload hash')


def frame_length(b):
    """Of the zstd frame at the start of b (RFC 8878, 3.1.1), and the size of content that it
    states; None: no such frame."""
    if len(b) < 6 or b[:4] != bytes.fromhex('28B52FFD') or b[4] & 3:
        return None
    single = b[4] >> 5 & 1
    size_bytes = (1 if single else 0, 2, 4, 8)[b[4] >> 6]
    at = 5 + (not single)
    content = int.from_bytes(b[at:at + size_bytes], 'little') if size_bytes else None
    if size_bytes == 2:
        content += 256
    at += size_bytes
    while True:
        if len(b) < at + 3:
            return None
        head = int.from_bytes(b[at:at + 3], 'little')
        at += 3 + (1 if head >> 1 & 3 == 1 else head >> 3)
        if head & 1:
            break
    return at + 4 * (b[4] >> 2 & 1), content


def unpack(chunk, data, ndata):
    """The raw pages of a chunk's data."""
    if chunk.encoding == 0:
        need(len(data) == 4096 * ndata, chunk.at, 'data length')
        return data
    need(ndata > 0, chunk.at, 'a frame of nothing')
    need(len(data) < 4096 * ndata, chunk.at, 'a frame larger than its pages')
    need(frame_length(data) == (len(data), 4096 * ndata), chunk.at, 'not one frame of its pages')
    p = subprocess.run(['zstd', '-dcq'], input=data, stdout=subprocess.PIPE,
                       stderr=subprocess.DEVNULL, check=False)
    need(p.returncode == 0 and len(p.stdout) == 4096 * ndata, chunk.at,
         'not one frame of its pages')
    return p.stdout


def read_tables(chunk, npages):
    """Runs and hashes of a page chunk, and its data as stored."""
    b, at = chunk.payload, chunk.at
    need(len(b) >= 24, at, 'head')
    nruns, ndata, stored, pad, tables_hash = struct.unpack_from('<IIIIQ', b)
    need(1 <= nruns <= 1024 and ndata <= 512 and pad == 0, at, 'page chunk head')
    tables = 24 + 16 * nruns + 8 * ndata
    need(len(b) == tables + stored, at, 'page chunk length')
    need(tables_hash == xxh3_64(b[24:tables]), at, 'tables hash')
    runs = list(struct.iter_unpack('<QII', b[24:24 + 16 * nruns]))
    hashes = struct.unpack_from('<%dQ' % ndata, b, 24 + 16 * nruns)
    after = 0
    for first, count, kind in runs:
        need(first >= after and count and first + count <= npages and kind in (DATA, ZERO), at,
             'run')
        after = first + count
    need(sum(c for _, c, k in runs if k == DATA) == ndata, at, 'data pages')
    return runs, hashes, b[tables:]


# --- section 8 ---

def read_fdt(b, at):
    """{path: {property: bytes}} in order, of a blob in canonical form."""
    need(len(b) >= 56, at, 'tree')
    (magic, total, struct_at, strings_at, reserve_at, version, compatible, boot, strings_len,
     struct_len) = struct.unpack_from('>10I', b)
    need(magic == 0xd00dfeed and total == len(b) and version == 17, at, 'tree header')
    need((compatible, boot, reserve_at, struct_at) == (16, 0, 40, 56)
         and strings_at == 56 + struct_len and total == strings_at + strings_len
         and struct_len % 4 == 0 and blank(b[40:56]), at, 'tree not canonical')
    nodes, path, at_tag = {}, [], struct_at
    while True:
        tag = struct.unpack_from('>I', b, at_tag)[0]
        at_tag += 4
        if tag == 1:
            end = b.index(b'\0', at_tag)
            path.append(b[at_tag:end].decode())
            name = '/'.join(path) or '/'
            need(name not in nodes, at, 'two nodes %s' % name)
            nodes[name] = {}
            at_tag = end + 4 & ~3
            need(blank(b[end:at_tag]), at, 'padding of %s' % name)
        elif tag == 2:
            path.pop()
        elif tag == 3:
            n, name_at = struct.unpack_from('>II', b, at_tag)
            end = b.index(b'\0', strings_at + name_at)
            prop = b[strings_at + name_at:end].decode()
            node = nodes['/'.join(path) or '/']
            need(prop not in node, at, 'two properties %s' % prop)
            node[prop] = b[at_tag + 8:at_tag + 8 + n]
            end, at_tag = at_tag + 8 + n, at_tag + 8 + n + 3 & ~3
            need(blank(b[end:at_tag]), at, 'padding of %s' % prop)
        else:
            need(tag == 9 and at_tag == strings_at, at, 'tree tag %d' % tag)
            return nodes


def cells(b, size=4):
    return [int.from_bytes(b[i:i + size], 'big') for i in range(0, len(b), size)]


def string(b):
    assert b[-1:] == b'\0' and b.count(0) == 1, 'text %r' % b
    return b[:-1].decode()


def facts(p):
    """Of an image or a disk."""
    assert len(p['digest']) == 16, 'digest'
    return {'size': cells(p['size'], 8)[0], 'mtime_ns': cells(p['mtime'], 8)[0],
            'digest': p['digest'].hex()}


def read_machine(nodes):
    """The machine that CONFIG is."""
    root, vm, cpus = nodes['/'], nodes['/vm'], nodes['/cpus']
    m = {'type': string(root['compatible']), 'name': string(vm['vmferry,name']),
         'uuid': str(uuid.UUID(bytes=vm['uuid'])),
         'on_reboot': string(vm['on-reboot']), 'append': string(vm['append']),
         'timebase_hz': cells(cpus['timebase-frequency'], 8)[0],
         'cpus': 0, 'regions': [], 'devices': [], 'hosts': [],
         'x86': [cpus.get('vmferry,' + k, b'').hex() for k in ('cpuid', 'xsave-bytes', 'msrs')]}
    assert cells(root['needs'])[0] == 1, 'needs'
    assert 'vmferry,features' not in vm, 'features %r' % vm['vmferry,features']
    for path, p in nodes.items():
        parts = path.split('/')[1:]
        if len(parts) == 1 and 'vmferry,region' in p:
            disk = 'vmferry,size' in p
            gpa, size = (0, cells(p['vmferry,size'], 8)[0]) if disk else cells(p['reg'], 8)
            m['regions'].append({'id': cells(p['vmferry,region'])[0],
                                 'kind': string(p['vmferry,kind']),
                                 'name': string(p['vmferry,name']),
                                 'gpa': gpa, 'size': size,
                                 'page_size': cells(p['vmferry,page-size'])[0]})
        elif len(parts) == 2 and parts[0] == 'cpus':
            assert parts[1] == 'cpu@%x' % m['cpus'] and cells(p['reg']) == [m['cpus']], path
            m['isa'] = string(p['vmferry,cpu-model' if m['type'] == 'vmferry,x86-64-1'
                                else 'riscv,isa'])
            m['cpus'] += 1
        elif len(parts) == 2 and parts[0] == 'soc':
            gpa, size = cells(p['reg'], 8)
            kind = string(p['vmferry,type'])
            assert parts[1] == '%s@%x' % (kind, gpa), path
            slot = cells(p['vmferry,slot'])[0] if 'vmferry,slot' in p else None
            m['devices'].append({'node': parts[1], 'type': kind, 'gpa': gpa, 'size': size,
                                 'irq': cells(p['interrupts'])[0] if 'interrupts' in p else 0,
                                 'slot': slot,
                                 'host': string(p['vmferry,host']) if 'vmferry,host' in p else ''})
        elif len(parts) == 2 and parts[0] == 'host':
            h = {'name': parts[1], 'class': string(p['class']), 'path': string(p['path']),
                 'readonly': 'read-only' in p}
            if h['class'] in ('kernel', 'initrd'):
                h.update(facts(p))
            else:
                assert not {'size', 'mtime', 'digest'} & set(p), path
            assert not {'instance', 'written'} & set(p), path
            m['hosts'].append(h)
        assert parts[-1] != 'state', path
    m['regions'].sort(key=lambda r: r['id'])
    return m


def document():
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..', 'docs', 'format.md')
    with open(path, encoding='utf-8') as f:
        return f.read()


def between(doc, first, last):
    return doc[doc.index(first):doc.index(last)]


def node_tables(section):
    """{kind of node: {its properties}} from the tables of a section."""
    tables, kind = {}, None
    for line in section.splitlines():
        m = re.match(r'\*\*(?:Node `(.*?)`|Regions)', line)
        if m:
            kind = m.group(1)
            # The table of /host is that of its children.
            kind = '/host/NAME' if kind == '/host' else kind
        if line.startswith('| property of '):
            kind = '/cpus/cpu@N' if 'cpu@N' in line else '/soc/TYPE@GPA'
        if line.startswith('| `') and kind:
            tables.setdefault(kind, set()).update(re.findall('`(.*?)`', line.split(' | ')[0]))
    m = re.search(r'The properties ([^.]*) of `/soc` are informational', section)
    if m:
        tables['/soc'] = set(re.findall('`(.*?)`', m.group(1)))
    return tables


def required_sections(doc):
    """{(kind of owner, machine type or type of device): [sections]} from the table of owners."""
    wanted, keys = {}, []
    table = between(doc, '| owner | state sections |', 'Properties\nof a section')
    for owner, sections in re.findall(r'^\| (.+?) \| (.+) \|$', table, re.M)[2:]:
        if 'device' in owner:
            keys = [('device', t) for t in owner.split(' ', 1)[1].split(', ')]
        elif 'the same' not in owner:
            machine = re.search(r'of (\S+?)(,|$)', owner)
            keys = [('vm' if '/vm' in owner else 'cpu', machine.group(1) if machine else '')]
        for key in keys:
            wanted.setdefault(key, []).extend(re.findall('`(.*?)`', sections))
    return wanted


def kind_of(path):
    """The kind of a node in STATE, None for what is not CONFIG's to name."""
    parts = path.split('/')[1:]
    if path in ('/', '/vm', '/cpus', '/soc'):
        return path
    if len(parts) != 2:
        return None
    if parts[0] == 'cpus' and parts[1].partition('@')[0] == 'cpu':
        return '/cpus/cpu@N'
    return {'soc': '/soc/TYPE@GPA', 'host': '/host/NAME'}.get(parts[0])


def need_agreement(header, config, config_nodes, nodes, at):
    """Section 8, "Agreement"."""
    doc = document()
    arch = {'vmferry,riscv64-1': 243, 'vmferry,x86-64-1': 62}
    need(header['arch'] == arch[config['type']], at, 'architecture of header and configuration')
    need(header['vm'] == config['uuid'], at, 'UUID of header and configuration')
    need(header['name'] == config['name'], at, 'name of header and configuration')
    theirs = node_tables(between(doc, '### Configuration', '### State\n'))
    ours = node_tables(between(doc, '### State\n', '### Agreement'))
    disks = {'/host/' + h['name'] for h in config['hosts'] if h['class'] == 'disk'}
    for path, p in nodes.items():
        kind = kind_of(path)
        top = path.count('/') == 1 and path != '/'
        need(not (top and ('vmferry,region' in p or path.partition('@')[0] == '/memory')), at,
             '%s: a region in the state' % path)
        if kind is None:
            continue
        again = set(p) & (theirs[kind] - ours.get(kind, set()))
        need(not again, at, '%s: the state repeats %s' % (path, ', '.join(sorted(again))))
        need(kind != '/host/NAME' or path in disks, at, '%s: not a disk' % path)
        need(path in config_nodes, at, '%s: not in the configuration' % path)
    for path in disks:
        need(path in nodes, at, '%s: not in the state' % path)
    wanted, machine = required_sections(doc), config['type'].partition(',')[2]

    def need_sections(path, sections):
        for name in sections:
            for n in range(config['cpus']) if name.endswith('@N') else [0]:
                part = '%s/state/%s' % (path, name.replace('@N', '@%x' % n))
                need(part in nodes, at, '%s: not in the state' % part)
    need({'/vm', '/cpus', '/soc'} <= set(nodes), at, 'node of the state')
    need_sections('/vm', wanted['vm', ''] + wanted.get(('vm', machine), []))
    for n in range(config['cpus']):
        need('/cpus/cpu@%x' % n in nodes, at, 'cpu@%x: not in the state' % n)
        need_sections('/cpus/cpu@%x' % n, wanted['cpu', machine])
    for d in config['devices']:
        need_sections('/soc/' + d['node'], wanted.get(('device', d['type']), []))


def read_facts(m, nodes):
    """What STATE says of the pause, into the machine."""
    vm = nodes['/vm']
    assert cells(nodes['/']['needs'])[0] == 1, 'needs'
    for key in ('stopped', 'reset-pending'):
        m[key.replace('-', '_')] = 'vmferry,' + key in vm
        assert not vm.get('vmferry,' + key), key
    assert m['stopped'] or not m['reset_pending'], 'reset pending of a VM that is not stopped'
    for h in m['hosts']:
        if h['class'] == 'disk':
            p = nodes['/host/' + h['name']]
            h.update(facts(p))
            if 'instance' in p or 'written' in p:
                assert len(p['instance']) == 16, h['name']
                h.update(instance=p['instance'].hex(), written=cells(p['written'], 8)[0])


def state_tables():
    """{table: {row: (type, elements, is it a list)}} and {table: version} from the text: a line
    **name** (version N..., then a table whose rows are names | type | ...; without a version it
    is 1"""
    tables, versions, rows, doc = {}, {}, None, document()
    for line in doc[doc.index('### State nodes'):doc.index('## 9.')].splitlines():
        m = re.match(r'\*\*([a-z0-9-]+)\*\*(?: \(version (\d+))?', line)
        if m:
            rows = tables.setdefault(m.group(1), {})
            versions[m.group(1)] = int(m.group(2) or 1)
        m = re.match(r'\| ([a-z0-9_, ]+) \| (bool|u8|u16|u32|u64|bytes)'
                     r'(?:\[(?:0\.\.)?(\d+)\]|, (?:0\.\.)?(\d+))? \|', line)
        if m and rows is not None:
            for name in m.group(1).split(', '):
                n = int(m.group(3) or m.group(4) or 0)
                rows[name] = (m.group(2), n, '0..' in m.group(0))
    return tables, versions


def prop_of(row):
    return 'saved-status' if row == 'status' else row.replace('_', '-')


def read_part(node, p, rows):
    values = {}
    for row, (kind, n, is_list) in rows.items():
        b = p[prop_of(row)]
        width = {'bytes': 1, 'u64': 8}.get(kind, 4)
        if is_list:
            assert len(b) % width == 0 and len(b) // width <= n, '%s: %s' % (node, row)
            n = len(b) // width
        if kind == 'bytes':
            assert len(b) == n, '%s: %s' % (node, row)
            values[row] = b.hex()
            continue
        if is_list and not b:
            values[row] = []
            continue
        assert len(b) == width * (n or 1), '%s: %s has %d bytes' % (node, row, len(b))
        v = cells(b, width)
        end = {'bool': 2, 'u8': 1 << 8, 'u16': 1 << 16, 'u32': 1 << 32, 'u64': 1 << 64}[kind]
        assert all(x < end for x in v), '%s: %s' % (node, row)
        values[row] = (v if n or is_list else bool(v[0]) if kind == 'bool' else v[0])
    extra = set(p) - {prop_of(r) for r in rows} - {'version', 'needs', 'reg'}
    assert not extra, '%s: the text does not have %s' % (node, ', '.join(sorted(extra)))
    return values


def read_state(nodes):
    """{owner's path: {part: {row: value}}}"""
    (tables, versions), state = state_tables(), {}
    for path, p in nodes.items():
        owner, _, part = path.rpartition('/')
        if not owner.endswith('/state'):
            continue
        assert cells(p['needs'])[0] <= versions[part.partition('@')[0]], path
        table = tables[part.partition('@')[0]]
        state.setdefault(owner[:-len('/state')], {})[part] = read_part(path, p, table)
    return state


# --- sections 6 and 7, over what has been read ---

def index_of(pages):
    """The one right index: pages is {(region, page): (kind, chunk, slot, hash)}."""
    runs = []
    for (region, page), (kind, chunk, slot, _) in sorted(pages.items()):
        if runs:
            r, k, s, first, count, c = runs[-1]
            follows = (r, k, c) == (region, kind, chunk) and page == first + count
            if follows and (kind == ZERO or slot == s + count):
                runs[-1] = (r, k, s, first, count + 1, c)
                continue
        runs.append((region, kind, slot, page, 1, chunk))
    return b''.join(struct.pack('<IHHQQQ', *r) for r in runs)


def content_of(pages, regions, config, state):
    z = xxh3_64(bytes(4096))
    need(z == 0x93d76fe148c689ba, 0, 'Z')
    top = struct.pack('<II', len(regions), 0)
    for region in sorted(regions):
        leaves = {}
        for (r, page), (kind, _, _, h) in pages.items():
            if r == region and kind == DATA:
                leaves.setdefault(page // 512, [z] * 512)[page % 512] = h
        b = struct.pack('<IIQ', region, 0, regions[region])
        for n in sorted(leaves):
            if any(h != z for h in leaves[n]):
                b += struct.pack('<Q', n) + xxh3_128(struct.pack('<512Q', *leaves[n]))
        top += xxh3_128(b)
    for tree in config, state:
        top += struct.pack('<Q', len(tree)) + xxh3_128(tree)
    return xxh3_128(top)


# --- section 9 ---

class Images:
    """What BLOB chunks bring, against the host resources of the configuration."""

    def __init__(self, machine):
        self.known = {'/host/' + h['name']: h for h in machine['hosts']
                      if h['class'] in ('kernel', 'initrd') and h['name'] == h['class']}
        self.came = {}

    def piece(self, c):
        b = c.payload
        need(len(b) > 272, c.at, 'blob chunk of %d bytes' % len(b))
        path, nul, rest = b[:256].partition(b'\0')
        need(nul and blank(rest), c.at, 'path of a blob chunk')
        h = self.known.get(path.decode('ascii', 'replace'))
        need(h is not None and 0 < h['size'] <= 1 << 30 and h['digest'] != '0' * 32, c.at,
             'blob of %r' % path)
        at, length = struct.unpack_from('<QQ', b, 256)
        have = self.came.setdefault(h['name'], bytearray())
        need(length == h['size'] and at == len(have) and at + len(b) - 272 <= length, c.at,
             '%s: not the piece that is due' % h['name'])
        have += b[272:]
        need(len(have) < length or xxh3_128(bytes(have)).hex() == h['digest'], c.at,
             '%s: digest' % h['name'])

    def end(self, at):
        for name, have in self.came.items():
            need(len(have) == self.known['/host/' + name]['size'], at, '%s: not whole' % name)


def mac_of(key, *parts):
    return hmac.new(key, b''.join(struct.pack('<Q', len(p)) + p for p in parts),
                    hashlib.sha256).digest()


def read_auth(c):
    """(covers, key id, MAC), None for an algorithm that the text does not know."""
    need(len(c.payload) == 64 and blank(c.payload[8:16]), c.at, 'auth chunk')
    algorithm, covers = struct.unpack_from('<II', c.payload)
    need(covers in (1, 2), c.at, 'auth chunk: covers %d' % covers)
    return (covers, c.payload[16:32], c.payload[32:]) if algorithm == 1 else None


def check_auth(key, auths, raw, config, state, content):
    head = bytearray(raw)
    head[40] &= ~1
    head[4088:] = struct.pack('<Q', xxh3_64(bytes(head[:4088])))
    head = bytes(head)
    want = {1: mac_of(key, b'vmferry snapshot configuration', head, config),
            2: mac_of(key, b'vmferry snapshot', head, config, state, content)}
    own = mac_of(key, b'vmferry key id')[:16]
    return [{1: 'configuration', 2: 'all'}[covers] for covers, key_id, mac in auths
            if key_id == own and hmac.compare_digest(mac, want[covers])]


def read_snapshot(f, quick, key=None, image=None):
    source = Source(f)
    raw = source.take(4096)
    header = read_header(raw)
    written = bytearray(raw[:4088])
    written[40] &= ~1
    pages, regions, trees, index, places = {}, {}, {}, b'', {}
    at_step, chunks, rounds, auths, before_state = CONFIG, 0, 0, [], False
    while True:
        c = Chunk(source, quick)
        need(not before_state or c.type == STATE, c.at, 'auth chunk over all, not before the state')
        before_state = False
        if c.type == END:
            break
        chunks += 1
        written += c.header
        need(c.type == PAGES or (c.region == 0 and c.encoding == 0)
             or c.type not in (CONFIG, STATE, INDEX, ROUND_END, WORKINGSET, AUTH, BLOB), c.at,
             'region or encoding')
        need((at_step == CONFIG) == (c.type == CONFIG), c.at, 'configuration first, and once')
        if c.type in (CONFIG, STATE):
            need(0 < len(c.payload) <= 4 << 20, c.at, 'tree length')
            need(c.type not in trees, c.at, 'second tree')
            trees[c.type] = c.payload
            if c.type == CONFIG:
                at_step = PAGES
                m = read_machine(read_fdt(c.payload, c.at))
                regions = {r['id']: r['size'] // 4096 for r in m['regions'] if r['kind'] != 'disk'}
                images = Images(m)
                if header['required'] & STATE_ONLY:
                    regions = {}
            else:
                need(at_step == PAGES, c.at, 'state out of order')
                images.end(c.at)
                at_step = STATE
                places['state'] = c.at
        elif c.type == PAGES:
            need(at_step == PAGES, c.at, 'pages out of order')
            need(c.region in regions, c.at, 'region')
            runs, hashes, data = read_tables(c, regions[c.region])
            raw_pages = b'' if quick else unpack(c, data, len(hashes))
            slot = 0
            for first, count, kind in runs:
                for page in range(first, first + count):
                    if kind == ZERO:
                        pages[c.region, page] = (ZERO, 0, 0, 0)
                        continue
                    if not quick:
                        need(xxh3_64(raw_pages[4096 * slot:4096 * slot + 4096]) == hashes[slot],
                             c.at, 'page %d' % page)
                    pages[c.region, page] = (DATA, c.at, slot, hashes[slot])
                    slot += 1
        elif c.type == BLOB:
            need(at_step == PAGES, c.at, 'blob out of order')
            images.piece(c)
        elif c.type == ROUND_END:
            need(at_step == PAGES and len(c.payload) == 8 and blank(c.payload[4:]), c.at,
                 'round end')
            rounds += 1
        elif c.type == AUTH:
            need(at_step == PAGES, c.at, 'auth chunk out of order')
            auth = read_auth(c)
            if auth:
                need(auth[0] == 2 or chunks == 2, c.at, 'auth chunk not behind the configuration')
                before_state = auth[0] == 2
                auths.append(auth)
        elif c.type == WORKINGSET:
            need(at_step == STATE, c.at, 'working set out of order')
            places['working'] = c.at
            at_step = WORKINGSET
        elif c.type == INDEX:
            need(at_step in (STATE, WORKINGSET, INDEX) and len(index) % 65536 == 0
                 and len(c.payload) <= 65536, c.at, 'index out of order')
            need(at_step != INDEX or (index and c.payload), c.at, 'index behind its last')
            places.setdefault('index', c.at)
            index += c.payload
            at_step = INDEX
        else:
            need(not c.flags & 1, c.at, 'required chunk of type %d' % c.type)
            need(at_step == PAGES, c.at, 'chunk out of order')
    need(at_step == INDEX and len(c.payload) == 128, c.at, 'end')
    need(index == index_of(pages), c.at, 'index')
    e = c.payload
    need(str(uuid.UUID(bytes=e[:16])) == header['snapshot'], c.at, 'end of another snapshot')
    need(e[16:32] == xxh3_128(bytes(written)), c.at, 'file digest')
    need(struct.unpack_from('<6Q', e, 48) ==
         (places['index'], len(index) // 32, chunks, source.at, places['state'],
          places.get('working', 0)), c.at, 'counts and places')
    need(blank(e[96:]), c.at, 'reserved bytes')
    need(quick or e[32:48] == content_of(pages, regions, trees[CONFIG], trees[STATE]), c.at,
         'content digest')
    need(not stat.S_ISREG(os.fstat(f.fileno()).st_mode) or not f.read(1), source.at,
         'trailing data')
    if image:
        return bytes(images.came[image])
    nodes, config = read_fdt(trees[STATE], places['state']), read_fdt(trees[CONFIG], 4096)
    machine = read_machine(config)
    need_agreement(header, machine, config, nodes, places['state'])
    read_facts(machine, nodes)
    for r in machine['regions']:
        kinds = [k for (region, _), (k, _, _, _) in pages.items() if region == r['id']]
        r['pages'] = {'data': kinds.count(DATA), 'zero': kinds.count(ZERO),
                      'untouched': r['size'] // 4096 - len(kinds)}
    auth = check_auth(key, auths, raw, trees[CONFIG], trees[STATE], e[32:48]) if key else None
    return {'header': header, 'auth': auth, 'bytes': source.at, 'chunks': chunks, 'rounds': rounds,
            'file_digest': e[16:32].hex(), 'content_digest': e[32:48].hex(),
            'images': sorted(images.came), 'machine': machine, 'state': read_state(nodes)}


def page_of(f, region, page):
    """Random access: END, the index by bisection, one chunk."""
    f.seek(0, os.SEEK_END)
    size = f.tell()
    f.seek(size - 176)
    source = Source(f)
    source.at = size - 176
    end = Chunk(source, False)
    need(end.type == END, end.at, 'end')
    start, runs = struct.unpack_from('<2Q', end.payload, 48)

    def run(n):
        f.seek(start + n // 2048 * 65584 + 48 + n % 2048 * 32)
        return struct.unpack('<IHHQQQ', f.read(32))
    low, high = 0, runs
    while low < high:
        mid = (low + high) // 2
        r = run(mid)
        low, high = (mid + 1, high) if (r[0], r[3]) <= (region, page) else (low, mid)
    r = run(low - 1) if low else (None,) * 6
    if r[0] != region or not r[3] <= page < r[3] + r[4] or r[1] == ZERO:
        return bytes(4096)
    f.seek(r[5])
    source.at = r[5]
    chunk = Chunk(source, False)
    _, hashes, data = read_tables(chunk, 1 << 32)
    slot = r[2] + page - r[3]
    b = unpack(chunk, data, len(hashes))[4096 * slot:4096 * slot + 4096]
    need(xxh3_64(b) == hashes[slot], r[5], 'page %d' % page)
    return b


def main(args):
    if args[:1] == ['--page']:
        with open(args[3], 'rb') as f:
            sys.stdout.buffer.write(page_of(f, int(args[1]), int(args[2])))
        return
    if args[:1] == ['--image']:
        with open(args[2], 'rb') as f:
            sys.stdout.buffer.write(read_snapshot(f, False, None, args[1]))
        return
    quick, key = args[:1] == ['--quick'], None
    if args[:1] == ['--key']:
        with open(args[1], 'rb') as f:
            key = f.read()
    name = args[-1]
    with (sys.stdin.buffer if name == '-' else open(name, 'rb')) as f:
        json.dump(read_snapshot(f, quick, key), sys.stdout, indent=1)
        print()


if __name__ == '__main__':
    try:
        main(sys.argv[1:])
    except (Refused, AssertionError, KeyError, ValueError, struct.error) as e:
        print('vmsread: %s: %s' % (type(e).__name__, e), file=sys.stderr)
        sys.exit(3)
