#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A reader of snapshots written from docs/format.md alone, to keep that text honest: it shares no
code with the others, and takes the rows of the state tables out of the text itself.

vmsread.py [--quick] FILE|-         checks everything (--quick: not the pages' hashes, nor the
                                    memory digest and its DIGESTS chunks), prints JSON
vmsread.py --key KEYFILE FILE|-     the same, and the MACs: "auth" lists what valid ones cover
vmsread.py --image NAME FILE        the bytes of the kernel or initrd that is in it, checked
vmsread.py --page REGION PAGE FILE  the page's 4096 bytes, found by the index and its levels
vmsread.py --directory FILE         JSON: the chunks that the directory lists, each checked
Exit status 3: refused.
"""
import errno
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

CONFIG, PAGES, BLOB, DISK, ROUND_END, STATE, WORKINGSET, INDEX, END = 1, 2, 3, 4, 5, 6, 7, 8, 9
AUTH, INDEX_LEVEL, DIRECTORY, DIGESTS, PAD, MAP, SIGNATURE, HASHES = 10, 11, 12, 13, 14, 15, 20, 21
KNOWN = range(CONFIG, HASHES + 1)
OPTIONAL = (WORKINGSET, AUTH, DIGESTS, PAD, 17, 18, SIGNATURE)
CHUNKED, FLAT = 1, 2
STATE_ONLY = 1
DATA, ZERO = 1, 2
PAGE, ALIGN = 4096, 2 << 20
Z = 0x93d76fe148c689ba


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

    def __init__(self, f, at=0):
        self.f, self.at = f, at

    def take(self, n):
        b = self.f.read(n)
        self.at += len(b)
        need(len(b) == n, self.at, 'cut off')
        return b

    def extent(self):
        """Bytes of a hole that are next, and of data behind it; what is no file is all data."""
        fd = self.f.fileno()
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return 0, 1 << 63
        here = self.f.tell()
        raw = os.lseek(fd, 0, os.SEEK_CUR)      # the file object has read ahead
        try:
            data = os.lseek(fd, here, os.SEEK_DATA)
            return data - here, os.lseek(fd, data, os.SEEK_HOLE) - data
        except OSError as e:
            if e.errno != errno.ENXIO:
                raise
            return max(os.fstat(fd).st_size - here, 0), 0
        finally:
            os.lseek(fd, raw, os.SEEK_SET)

    def memory(self, n):
        """The next n bytes in pieces of whole pages: (position in them, bytes). The holes of a
        file are left out: they are zero, and an empty region then costs nothing."""
        start, end = self.at, self.at + n
        while self.at < end:
            hole, data = self.extent()
            skip = min(hole, end - self.at) // PAGE * PAGE
            if skip:
                self.f.seek(skip, os.SEEK_CUR)
                self.at += skip
            due = min(self.at + -(-max(hole - skip + data, 1) // PAGE) * PAGE, end)
            while self.at < due:
                yield self.at - start, self.take(min(due - self.at, 1 << 20))


# --- section 2 ---

def read_header(b):
    need(b[:8] == bytes.fromhex('89564D530D0A1A0A'), 0,
         'damaged by a text-mode transfer' if b[1:4] == b'VMS' else 'not a snapshot')
    need(struct.unpack_from('<Q', b, 4088)[0] == xxh3_64(b[:4088]), 0, 'header hash')
    (version, size, required, rewrite, optional, arch, layout, flags, hash_type, cipher,
     block) = struct.unpack_from('<IIQQQIIIHHI', b, 8)
    need(version == 1, 8, 'version %d' % version)
    need(not required & ~STATE_ONLY, 16, 'required features 0x%x' % required)
    need(layout == CHUNKED or layout == FLAT and not required & STATE_ONLY, 44,
         'layout %d' % layout)
    need(not flags & ~1, 48, 'flags 0x%x' % flags)
    need(size == 4096, 12, 'header of %d bytes' % size)
    need(arch in (243, 62), 40, 'arch %d' % arch)
    need(hash_type == 1, 52, 'hash algorithm %d' % hash_type)
    need(cipher == 0, 54, 'cipher %d' % cipher)
    need(block == 4096, 56, 'pages of %d bytes' % block)
    need(blank(b[60:64]) and blank(b[136:192]) and blank(b[320:4088]), 0, 'reserved bytes')
    name, creator = text(b[192:256], 192), text(b[256:320], 256)
    need(re.fullmatch('[A-Za-z0-9][A-Za-z0-9._-]{0,63}', name), 192, 'name')
    need(len(creator) <= 63, 256, 'creator')

    def ident(at):
        return str(uuid.UUID(bytes=b[at:at + 16]))
    return {
        'version': version, 'required': required, 'rewrite': rewrite, 'optional': optional,
        'arch': arch, 'layout': layout, 'incomplete': bool(flags & 1),
        'vm': ident(64), 'snapshot': ident(80), 'parent': None if blank(b[96:112]) else ident(96),
        'parent_memory': None if blank(b[112:128]) else b[112:128].hex(),
        'created_ns': struct.unpack_from('<q', b, 128)[0], 'name': name, 'creator': creator,
    }


# --- sections 3 and 4 ---

class Chunk:
    """Its header, payload and padding, with all that can be said of one chunk alone."""

    def __init__(self, source):
        at = self.at = source.at
        self.header = source.take(64)
        (magic, self.type, self.flags, self.encoding, cipher, self.region, pad14, self.round,
         n, self.sequence, self.hashed, pad36, payload_hash, pad48,
         own) = struct.unpack('<4sHHHHHHIIQIIQQQ', self.header)
        self.length = n
        need(magic == b'VMSc', at, 'no chunk')
        need(own == xxh3_64(self.header[:56]), at, 'chunk header hash')
        need(pad14 == 0 and pad36 == 0 and pad48 == 0, at, 'reserved bytes')
        need(not self.flags & ~1, at, 'chunk flags')
        need(self.encoding <= 1, at, 'encoding %d' % self.encoding)
        need(cipher == 0, at, 'cipher %d' % cipher)
        need(n <= 8 << 20, at, 'chunk of %d bytes' % n)
        need(self.hashed <= n, at, 'hash of more than the payload')
        if self.type in KNOWN:
            need(self.type in (PAGES, DISK) or (self.region == 0 and self.encoding == 0), at,
                 'region or encoding')
            need(self.type in (PAGES, DISK, ROUND_END) or self.round == 0, at, 'round')
            need(self.flags == (self.type not in OPTIONAL), at, 'required flag')
            need(self.type in (PAGES, DISK) or self.hashed == (0 if self.type == PAD else n), at,
                 'hashed bytes')
        self.payload = source.take(n)
        need(blank(source.take(-n % 8)), at, 'padding')
        need(payload_hash == xxh3_64(self.payload[:self.hashed]), at, 'payload hash')


def chunk_at(f, at, size):
    """For random access."""
    need(4096 <= at <= size - 64 and at % 8 == 0, at, 'no place for a chunk')
    f.seek(at)
    return Chunk(Source(f, at))


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
    need(len(b) >= 16, at, 'head')
    nruns, ndata, data_at, stored = struct.unpack_from('<IIII', b)
    need(1 <= nruns <= 1024 and ndata <= 512, at, 'page chunk head')
    tables = 16 + 16 * nruns + 8 * ndata
    need(data_at % 8 == 0 and tables <= data_at <= tables + 4095, at, 'data offset')
    need(len(b) == data_at + stored, at, 'page chunk length')
    need(chunk.hashed == data_at, at, 'hashed bytes')
    need(blank(b[tables:data_at]), at, 'gap')
    runs = list(struct.iter_unpack('<QII', b[16:16 + 16 * nruns]))
    hashes = struct.unpack_from('<%dQ' % ndata, b, 16 + 16 * nruns)
    after = 0
    for first, count, kind in runs:
        need(first >= after and count and first + count <= npages and kind in (DATA, ZERO), at,
             'run')
        after = first + count
    need(sum(c for _, c, k in runs if k == DATA) == ndata, at, 'data pages')
    return runs, hashes, b[data_at:]


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
    **name** (version N..., then a table whose rows are names | type | ...; without a version it is
    1"""
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

INDEX_RUNS, LEVEL_KEYS, ENTRIES, LEAVES, TABLE_HASHES = 2048, 4096, 2048, 2720, 8192


def pieces(table, size, count):
    """A table as the payloads of its chunks: at most `count` entries of `size` bytes each."""
    return [table[i:i + size * count] for i in range(0, len(table), size * count)]


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
    return runs


def index_payloads(runs):
    return pieces(b''.join(struct.pack('<HHHHQQQ', r[0], r[1], r[2], 0, *r[3:]) for r in runs),
                  32, INDEX_RUNS) or [b'']


def level_payloads(runs):
    """Of all levels, in order."""
    keys = [(r[0], r[3]) for r in runs[::INDEX_RUNS]]
    payloads = []
    while len(keys) > 1:
        payloads += pieces(b''.join(struct.pack('<HHIQ', region, 0, 0, first)
                                    for region, first in keys), 16, LEVEL_KEYS)
        keys = keys[::LEVEL_KEYS]
    return payloads


def level_shape(start, nruns):
    """[(file offset, keys)] of every level, index first, from the number of runs alone."""
    shape, at, n, size, per = [], start, nruns, 32, INDEX_RUNS
    while True:
        shape.append((at, n))
        chunks = max(-(-n // per), 1)
        if chunks == 1:
            return shape
        at += 64 * chunks + size * n
        n, size, per = chunks, 16, LEVEL_KEYS


def levels_end(start, nruns):
    """Where the last chunk of the index and its levels ends."""
    at, n = level_shape(start, nruns)[-1]
    return at + 64 + (16 if at != start else 32) * n


def digests_of(pages, regions):
    """The memory digest, and the payloads of the DIGESTS chunks."""
    need(xxh3_64(bytes(4096)) == Z, 0, 'Z')
    top, payloads = struct.pack('<II', len(regions), 0), []
    for region in sorted(regions):
        leaves = {}
        for (r, page), (kind, _, _, h) in pages.items():
            if r == region and kind == DATA:
                leaves.setdefault(page // 512, [Z] * 512)[page % 512] = h
        head = struct.pack('<IIQ', region, 0, regions[region])
        table = b''.join(struct.pack('<Q', n) + xxh3_128(struct.pack('<512Q', *leaves[n]))
                         for n in sorted(leaves) if any(h != Z for h in leaves[n]))
        digest = xxh3_128(head + table)
        payloads += [head + digest + b for b in pieces(table, 24, LEAVES) or [b'']]
        top += digest
    return xxh3_128(top), payloads


def machine_digest_of(config, state):
    b = b''
    for tree in (config, state):
        for path, node in read_fdt(tree, 0).items():
            for name, value in node.items():
                if path.startswith('/host/') and name not in ('class', 'read-only'):
                    continue
                if (path, name) in (('/vm', 'vmferry,stopped'), ('/vm/state/clock', 'realtime-ns')):
                    continue
                b += path.encode() + b'\0' + name.encode() + b'\0'
                b += struct.pack('<Q', len(value)) + value
    return xxh3_128(b)


def entry_of(c):
    """Of the directory."""
    return struct.pack('<HHHHIIQQ', c.type, c.flags, c.region, 0, c.round, c.length, c.sequence,
                       c.at)


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


def check_auth(key, auths, raw, config, state, memory):
    head = bytearray(raw)
    head[48] &= ~1
    head[4088:] = struct.pack('<Q', xxh3_64(bytes(head[:4088])))
    head = bytes(head)
    want = {1: mac_of(key, b'vmferry snapshot configuration', head, config),
            2: mac_of(key, b'vmferry snapshot', head, config, state, memory)}
    own = mac_of(key, b'vmferry key id')[:16]
    return [{1: 'configuration', 2: 'all'}[covers] for covers, key_id, mac in auths
            if key_id == own and hmac.compare_digest(mac, want[covers])]


class Memory:
    """What PAGES and ROUND_END chunks bring: {(region, page): (kind, chunk, slot, hash)}."""

    places, hashes = None, 0

    def __init__(self, quick):
        self.quick, self.pages, self.sizes = quick, {}, {}
        self.round, self.named, self.data = 0, set(), 0

    def chunk(self, c):
        need(c.region in self.sizes, c.at, 'region')
        need(c.round == self.round, c.at, 'round')
        runs, hashes, data = read_tables(c, self.sizes[c.region])
        raw = b'' if self.quick else unpack(c, data, len(hashes))
        slot = 0
        for first, count, kind in runs:
            for page in range(first, first + count):
                need((c.region, page) not in self.named, c.at, 'page %d twice in a round' % page)
                self.named.add((c.region, page))
                if kind == ZERO:
                    self.pages[c.region, page] = (ZERO, 0, 0, 0)
                    continue
                need(self.quick or xxh3_64(raw[4096 * slot:4096 * slot + 4096]) == hashes[slot],
                     c.at, 'page %d' % page)
                self.pages[c.region, page] = (DATA, c.at, slot, hashes[slot])
                slot += 1
        self.data += slot

    def round_end(self, c):
        need(self.named and c.round == self.round, c.at, 'round')
        need(c.payload == struct.pack('<QQ', len(self.named), self.data), c.at,
             'pages of the round')
        self.round, self.named, self.data = self.round + 1, set(), 0

    def index(self, tables, at):
        """The runs, which follow from the chunks."""
        runs = index_of(self.pages)
        need(tables[INDEX] == index_payloads(runs), at, 'index')
        return runs

    def count(self, region):
        """Pages of kind data, and of kind zero."""
        kinds = [k for (r, _), (k, _, _, _) in self.pages.items() if r == region]
        return kinds.count(DATA), kinds.count(ZERO)


# --- section 10 ---

def map_of(sizes, at):
    """[(region, pages, file offset)] of a MAP chunk that ends at `at`, and where they end."""
    entries = []
    for region in sorted(sizes):
        offset = -(-at // ALIGN) * ALIGN
        entries.append((region, sizes[region], offset))
        at = offset + PAGE * sizes[region]
    need(at < 1 << 63, at, 'memory of %d bytes' % at)
    return entries, at


def map_payload(entries):
    return b''.join(struct.pack('<HHIQQ', r, 0, 0, pages, at) for r, pages, at in entries)


class FlatMemory:
    """What is behind MAP: {(region, page): (DATA, 0, 0, hash)} of the pages that are not zero."""

    round, named = 0, ()

    def __init__(self, quick):
        self.quick, self.pages, self.sizes = quick, {}, {}
        self.places, self.hashes, self.runs = None, 0, []

    def map(self, c, source):
        self.places, end = map_of(self.sizes, source.at)
        need(c.payload == map_payload(self.places), c.at, 'map')
        for region, pages, offset in self.places:
            for _, b in source.memory(offset - source.at):
                need(blank(b), source.at, 'a byte between regions')
            for at, b in source.memory(PAGE * pages):
                self.piece(region, at // PAGE, b)
        need(source.at == end, source.at, 'end of the memory')

    def piece(self, region, page, b):
        zero = bytes(PAGE)
        for n in range(len(b) // PAGE):
            data = b[PAGE * n:PAGE * n + PAGE]
            if data != zero:
                self.pages[region, page + n] = (DATA, 0, 0,
                                                None if self.quick else xxh3_64(data))

    def index(self, tables, at):
        """The runs: those of kind data follow from the memory, those of kind zero do not. A loop
        over the pages of the latter would take as long as a few bytes claim."""
        table = b''.join(tables[INDEX])
        need(len(table) % 32 == 0 and tables[INDEX] == (pieces(table, 32, INDEX_RUNS) or [b'']), at,
             'index')
        rows, left = list(struct.iter_unpack('<HHHHQQQ', table)), iter(sorted(self.pages))
        check_flat_runs(rows, self.sizes, 1 << 64, at)
        for region, kind, _, _, first, count, number in rows:
            if kind == DATA:
                need(number == self.hashes, at, 'number of a hash')
                self.hashes += count
                for page in range(first, first + count):
                    need(next(left, None) == (region, page), at, 'page %d of kind data' % page)
            self.runs.append((region, kind, 0, first, count, number))
        # What is left has a byte that is not zero; in a run of kind zero, or in none.
        need(next(left, None) is None, at, 'a page that is not zero, and not of kind data')
        self.check_hashes(tables[HASHES], at)
        return self.runs

    def check_hashes(self, payloads, at):
        table = b''.join(payloads)
        need(len(table) == 8 * self.hashes and payloads == pieces(table, 8, TABLE_HASHES), at,
             'length of the hash table')
        need(self.quick or table == struct.pack('<%dQ' % self.hashes, *(
            self.pages[page][3] for page in sorted(self.pages))), at, 'hash table')

    def count(self, region):
        return tuple(sum(r[4] for r in self.runs if r[:2] == (region, kind))
                     for kind in (DATA, ZERO))


def check_flat_runs(rows, sizes, nhashes, at):
    """Of one INDEX chunk, or of all, by themselves."""
    last, due = (-1, 0, 0), None
    for region, kind, slot, reserved, first, count, number in rows:
        need(reserved == 0 and slot == 0 and kind in (DATA, ZERO), at, 'run')
        need(count and first + count <= sizes.get(region, 0), at, 'run out of range')
        need((region, first) >= last[:2], at, 'runs overlap')
        need((region, first, kind) != last, at, 'run not maximal')
        if kind == DATA:
            need(number == (number if due is None else due) and number + count <= nhashes, at,
                 'number of a hash')
            due = number + count
        need(kind == DATA or number == 0, at, 'run of kind zero with a hash')
        last = region, first + count, kind


class Pieces:
    """Of the tree with state."""

    def __init__(self):
        self.tree, self.length, self.at = b'', None, None

    def chunk(self, c):
        need(len(c.payload) > 8, c.at, 'state chunk of %d bytes' % len(c.payload))
        offset, length = struct.unpack_from('<II', c.payload)
        if self.length is None:
            need(0 < length <= 64 << 20, c.at, 'tree length')
            self.length, self.at = length, c.at
        need(length == self.length and offset == len(self.tree), c.at, 'piece of the state')
        self.tree += c.payload[8:]
        need(len(self.tree) <= length, c.at, 'piece of the state')

    def whole(self):
        return len(self.tree) == self.length


# Which chunks may follow, by the last that says something of the order.
BODY, TABLES = (PAGES, ROUND_END, BLOB, AUTH, STATE), (INDEX_LEVEL, DIRECTORY)
FOLLOW = {None: (CONFIG,), CONFIG: BODY, STATE: (STATE, DIGESTS, INDEX), DIGESTS: (DIGESTS, INDEX),
          INDEX: (INDEX,) + TABLES, INDEX_LEVEL: TABLES, DIRECTORY: (DIRECTORY, END)}
FOLLOW_FLAT = {**FOLLOW, CONFIG: (BLOB, AUTH, MAP), MAP: (BLOB, AUTH, STATE),
               INDEX: (INDEX, HASHES) + TABLES, INDEX_LEVEL: (HASHES,) + TABLES,
               HASHES: (HASHES, DIRECTORY)}
ORDERED = {kind for kinds in FOLLOW_FLAT.values() for kind in kinds} | set(BODY)
INDEXES = (INDEX, INDEX_LEVEL, HASHES)


class Reader:
    """Everything in one pass."""

    def __init__(self, f, quick):
        self.source, self.quick = Source(f), quick
        self.raw = self.source.take(4096)
        self.header = read_header(self.raw)
        self.flat = self.header['layout'] == FLAT
        self.config, self.state = b'', Pieces()
        self.memory = FlatMemory(quick) if self.flat else Memory(quick)
        self.images, self.auths = None, []
        self.tables = {DIGESTS: [], INDEX: [], INDEX_LEVEL: [], HASHES: [], DIRECTORY: []}
        self.places, self.entries, self.chunks = {}, [], 0
        self.digested = bytearray(self.raw[:4088])
        self.digested[48] &= ~1
        follow = FOLLOW_FLAT if self.flat else FOLLOW
        last, before = None, None       # the last chunk that counts for the order, and the last
        while last != END:
            c = Chunk(self.source)
            self.order(c, last, before, follow)
            need(c.sequence == self.chunks, c.at, 'sequence number %d' % c.sequence)
            if c.type != END:
                self.chunks += 1
                self.digested += c.header
                if c.type not in (PAGES, DIRECTORY) + INDEXES and not self.tables[DIRECTORY]:
                    self.entries.append(entry_of(c))
            self.places.setdefault(c.type, c.at)
            before = self.read(c)
            last = c.type if c.type in follow or c.type == END else last
        need(not stat.S_ISREG(os.fstat(f.fileno()).st_mode) or not f.read(1), self.source.at,
             'trailing data')

    def order(self, c, last, before, follow):
        need(before != 'all' or c.type == STATE, c.at, 'auth chunk over all, not before the state')
        need(last != STATE or c.type == STATE or self.state.whole(), c.at, 'state not whole')
        if c.type in ORDERED:
            need(c.type in follow[last], c.at, 'chunk of type %d out of order' % c.type)
            need(c.type != before or c.type not in INDEXES or before == last, c.at,
                 'out of order')
            need(last not in INDEXES or before == last or c.type == DIRECTORY, c.at,
                 'index, levels and hashes not behind each other')
            need(last != STATE or c.type != STATE or before == STATE, c.at,
                 'pieces of the state not behind each other')
        else:
            need(not c.flags & 1, c.at, 'required chunk of type %d' % c.type)
            need(last not in (None, DIRECTORY), c.at, 'chunk of type %d out of order' % c.type)

    def read(self, c):
        """Of one chunk; what the order of the next depends on."""
        if c.type == CONFIG:
            need(0 < c.length <= 4 << 20, c.at, 'tree length')
            self.config = c.payload
            m = read_machine(read_fdt(c.payload, c.at))
            self.images = Images(m)
            if not self.header['required'] & STATE_ONLY:
                self.memory.sizes = {r['id']: r['size'] // 4096 for r in m['regions']
                                     if r['kind'] != 'disk'}
        elif c.type == PAGES:
            self.memory.chunk(c)
        elif c.type == ROUND_END:
            self.memory.round_end(c)
        elif c.type == MAP:
            self.memory.map(c, self.source)
        elif c.type == BLOB:
            self.images.piece(c)
        elif c.type == STATE:
            need(not self.memory.named, c.at, 'round without an end')
            self.images.end(c.at)
            self.state.chunk(c)
        elif c.type == AUTH:
            auth = read_auth(c)
            if auth:
                need(auth[0] == 2 or self.chunks == 2, c.at,
                     'auth chunk not behind the configuration')
                self.auths.append(auth)
                return 'all' if auth[0] == 2 else AUTH
        elif c.type == END:
            self.end(c)
        elif c.type in self.tables:
            self.tables[c.type].append(c.payload)
        return c.type

    def end(self, c):
        need(c.length == 128, c.at, 'end chunk of %d bytes' % c.length)
        runs = self.memory.index(self.tables, c.at)
        need(self.tables[INDEX_LEVEL] == level_payloads(runs), c.at, 'levels')
        need(self.tables[DIRECTORY] == pieces(b''.join(self.entries), 32, ENTRIES), c.at,
             'directory')
        e = c.payload
        self.file_digest, self.memory_digest, self.machine_digest = e[16:32], e[32:48], e[48:64]
        need(str(uuid.UUID(bytes=e[:16])) == self.header['snapshot'], c.at,
             'end of another snapshot')
        need(self.file_digest == xxh3_128(bytes(self.digested)), c.at, 'file digest')
        need(self.machine_digest == machine_digest_of(self.config, self.state.tree), c.at,
             'machine digest')
        if not self.quick:
            memory, digests = digests_of(self.memory.pages, self.memory.sizes)
            need(self.tables[DIGESTS] in ([], digests), c.at, 'digests')
            need(self.memory_digest == memory, c.at, 'memory digest')
        need(struct.unpack_from('<7Q', e, 64) ==
             (self.places[INDEX], len(runs), self.places[DIRECTORY], len(self.entries),
              self.chunks, self.source.at, self.memory.hashes), c.at, 'counts and offsets')
        need(blank(e[120:]), c.at, 'reserved bytes')


def read_snapshot(f, quick, key=None):
    r = Reader(f, quick)
    nodes, config = read_fdt(r.state.tree, r.state.at), read_fdt(r.config, 4096)
    machine = read_machine(config)
    need_agreement(r.header, machine, config, nodes, r.state.at)
    read_facts(machine, nodes)
    for region in machine['regions']:
        data, zero = r.memory.count(region['id'])
        region['pages'] = {'data': data, 'zero': zero,
                           'untouched': region['size'] // 4096 - data - zero}
    auth = check_auth(key, r.auths, r.raw, r.config, r.state.tree, r.memory_digest) if key else None
    return {'header': r.header, 'auth': auth, 'bytes': r.source.at, 'chunks': r.chunks,
            'rounds': r.memory.round, 'map': r.memory.places, 'file_digest': r.file_digest.hex(),
            'memory_digest': r.memory_digest.hex(), 'machine_digest': r.machine_digest.hex(),
            'images': sorted(r.images.came), 'machine': machine, 'state': read_state(nodes)}


# --- random access ---

class File:
    """A file to be read at random: its header, and what END says."""

    def __init__(self, f):
        self.f, self.size = f, f.seek(0, os.SEEK_END)
        f.seek(0)
        header = read_header(Source(f).take(4096))
        self.flat = header['layout'] == FLAT
        need(self.size >= 4096 + 192, self.size, 'cut off')
        end = self.chunk(self.size - 192)
        need(end.type == END and end.length == 128, end.at, 'no end')
        need(str(uuid.UUID(bytes=end.payload[:16])) == header['snapshot'], end.at,
             'end of another snapshot')
        (self.start, self.nruns, self.directory_at, self.entries, chunks, length,
         self.hashes) = struct.unpack_from('<7Q', end.payload, 64)
        need(length == self.size and chunks == end.sequence and self.nruns <= 1 << 40, end.at,
             'counts and offsets')
        need(blank(end.payload[120:]) and (self.flat or self.hashes == 0), end.at,
             'reserved bytes')
        self.hashes_at = levels_end(self.start, self.nruns)
        need(self.hashes_at + 64 * -(-self.hashes // TABLE_HASHES) + 8 * self.hashes
             <= self.directory_at < end.at, end.at, 'counts and offsets')

    def chunk(self, at):
        return chunk_at(self.f, at, self.size)

    def table_chunk(self, at, kind, entries):
        c = self.chunk(at)
        need(c.type == kind and
             c.length == entries * {INDEX: 32, DIRECTORY: 32, INDEX_LEVEL: 16, HASHES: 8}[kind],
             at, 'chunk of a table')
        return c.payload

    def directory(self):
        """[chunk] that the directory lists, each checked against its entry."""
        at, table = self.directory_at, b''
        while self.entries > len(table) // 32:
            count = min(self.entries - len(table) // 32, ENTRIES)
            table += self.table_chunk(at, DIRECTORY, count)
            at += 64 + 32 * count
        need(at == self.size - 192, at, 'directory not before the end')
        chunks = []
        for i in range(self.entries):
            entry = table[32 * i:32 * i + 32]
            c = self.chunk(struct.unpack_from('<Q', entry, 24)[0])
            need(entry_of(c) == entry, c.at, 'entry %d of the directory' % i)
            need(not chunks or (chunks[-1].at, chunks[-1].sequence) < (c.at, c.sequence), c.at,
                 'order')
            chunks.append(c)
        need(chunks and chunks[0].type == CONFIG and chunks[0].at == 4096, 4096,
             'no configuration')
        return chunks

    def map(self, sizes):
        """{region: file offset}"""
        maps = [c for c in self.directory() if c.type == MAP]
        need(len(maps) == 1, self.directory_at, '%d maps' % len(maps))
        entries, _ = map_of(sizes, maps[0].at + 64 + maps[0].length)
        need(maps[0].payload == map_payload(entries), maps[0].at, 'map')
        return {region: offset for region, _, offset in entries}

    def hash(self, n):
        b = self.table_chunk(self.hashes_at + n // TABLE_HASHES * (64 + 8 * TABLE_HASHES), HASHES,
                             min(self.hashes - n // TABLE_HASHES * TABLE_HASHES, TABLE_HASHES))
        return struct.unpack_from('<Q', b, 8 * (n % TABLE_HASHES))[0]


def check_runs(rows, sizes, start):
    """Of one INDEX chunk, by themselves."""
    last, end = None, 0
    for region, kind, slot, reserved, first, count, chunk in rows:
        need(reserved == 0 and count and first + count <= sizes[region], start, 'run')
        need(region != last or first >= end, start, 'runs overlap')
        need(kind == ZERO and slot == 0 and chunk == 0 or
             kind == DATA and count <= 512 - slot and 4096 < chunk < start, start, 'run')
        last, end = region, first + count


def run_of(file, region, page, sizes):
    """The run of the index that has the page: one chunk a level, from the top."""
    shape, i, due = level_shape(file.start, file.nruns), 0, None
    for level in reversed(range(len(shape))):
        at, entries = shape[level]
        width, per = (16, LEVEL_KEYS) if level else (32, INDEX_RUNS)
        count = min(entries - i * per, per)
        b = file.table_chunk(at + i * (64 + width * per), INDEX_LEVEL if level else INDEX, count)
        rows = list(struct.iter_unpack('<HHIQ' if level else '<HHHHQQQ', b))
        keys = [(r[0], r[3 if level else 4]) for r in rows]
        need(all(x < y for x, y in zip(keys, keys[1:])), at, 'order')
        need(all(first < sizes.get(r, 0) for r, first in keys), at, 'page out of range')
        need(due is None or keys[0] == due, at, 'not what its key says')
        if level:
            need(not any(r[1] or r[2] for r in rows), at, 'reserved bytes')
        elif file.flat:
            check_flat_runs(rows, sizes, file.hashes, at)
        else:
            check_runs(rows, sizes, file.start)
        n = sum(k <= (region, page) for k in keys)
        if n == 0:
            return None
        i, due = i * per + n - 1, keys[n - 1]
    r = rows[n - 1]
    return r if r[0] == region and page < r[4] + r[5] else None


def page_of(f, region, page):
    file = File(f)
    config = file.chunk(4096)
    need(config.type == CONFIG, 4096, 'no configuration')
    sizes = {r['id']: r['size'] // 4096
             for r in read_machine(read_fdt(config.payload, 4096))['regions']
             if r['kind'] != 'disk'}
    need(page < sizes.get(region, 0), 4096, 'no page %d in region %d' % (page, region))
    places = file.map(sizes) if file.flat else None
    run = run_of(file, region, page, sizes)
    if run is None or run[1] == ZERO:
        return bytes(4096)
    if file.flat:
        at = places[region] + PAGE * page
        f.seek(at)
        b = Source(f, at).take(PAGE)
        need(xxh3_64(b) == file.hash(run[6] + page - run[4]), at, 'page %d' % page)
        return b
    c = file.chunk(run[6])
    need(c.type == PAGES and c.region == region and c.at < file.start, c.at, 'not the page chunk')
    runs, hashes, data = read_tables(c, sizes[region])
    slots = [p for first, count, kind in runs if kind == DATA for p in range(first, first + count)]
    slot = run[2] + page - run[4]
    need(slot < len(slots) and slots[slot] == page, c.at, 'slot %d' % slot)
    b = unpack(c, data, len(hashes))[4096 * slot:4096 * slot + 4096]
    need(xxh3_64(b) == hashes[slot], c.at, 'page %d' % page)
    return b


def main(args):
    out = sys.stdout.buffer
    if args[0] == '--page':
        with open(args[3], 'rb') as f:
            out.write(page_of(f, int(args[1]), int(args[2])))
        return
    if args[0] == '--image':
        with open(args[2], 'rb') as f:
            out.write(bytes(Reader(f, False).images.came[args[1]]))
        return
    if args[0] == '--directory':
        with open(args[1], 'rb') as f:
            chunks = [{'type': c.type, 'round': c.round, 'length': c.length,
                       'sequence': c.sequence, 'offset': c.at} for c in File(f).directory()]
        print(json.dumps(chunks))
        return
    quick, key = args[0] == '--quick', None
    if args[0] == '--key':
        with open(args[1], 'rb') as f:
            key = f.read()
    name = args[-1]
    with (sys.stdin.buffer if name == '-' else open(name, 'rb')) as f:
        json.dump(read_snapshot(f, quick, key), sys.stdout, indent=1)
        print()


if __name__ == '__main__':
    try:
        main(sys.argv[1:])
    except (Refused, AssertionError, KeyError, ValueError, IndexError, struct.error) as e:
        print('vmsread: %s: %s' % (type(e).__name__, e), file=sys.stderr)
        sys.exit(3)
