#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The worked examples of docs/format.md, section 13.

examples.py check            decodes the text's bytes with vmsread.py and compares what the text
                             says of them; exit 1 and a line for each difference
examples.py write FILE FLAT  puts those of FILE, made by mksnap --pages 4 --level 3, and of its flat
                             form into the text
"""
import io
import os
import re
import struct
import sys

import vmsread
from vmsread import Chunk, Source, END, HASHES, INDEX, MAP, PAGES, need
from xxh3 import xxh3_64

SECTION = '\n## 13. Examples'
DOC = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..', 'docs', 'format.md')


def dump(b, at):
    """As hexdump -C, whose "*" stands for lines that equal the one before."""
    lines, last = [], None
    for i in range(0, len(b), 16):
        row = b[i:i + 16]
        if row == last and i + 16 < len(b):
            if lines[-1] != '*':
                lines.append('*')
            continue
        last = row
        cells = ' '.join('%02x' % c for c in row[:8]), ' '.join('%02x' % c for c in row[8:])
        shown = ''.join(chr(c) if 0x20 <= c <= 0x7e else '.' for c in row)
        lines.append(('%08x  %-23s  %-23s  |%s|' % (at + i, *cells, shown)).rstrip())
    return '\n'.join('    ' + line for line in lines)


def undump(text):
    """(file offset, bytes) of such lines."""
    start, b, last, starred = None, b'', b'', False
    for line in text.splitlines():
        line = line.strip()
        if line == '*':
            starred = True
            continue
        m = re.match(r'([0-9a-f]{8})  ((?:[0-9a-f]{2} {1,2}){1,16}) *\|', line)
        need(m, 0, 'no dump: %r' % line)
        at, row = int(m.group(1), 16), bytes.fromhex(m.group(2))
        start = at if start is None else start
        if starred:
            b += last * ((at - start - len(b)) // 16)
        need(at == start + len(b), at, 'offset of the dump')
        b, last, starred = b + row, row, False
    return start, b


def chunk(at, b):
    return Chunk(Source(io.BytesIO(b), at))


def examples():
    with open(DOC, encoding='utf-8') as f:
        doc = f.read()
    parts = re.split(r'^### ', doc[doc.index(SECTION):], flags=re.M)[1:]
    found = {}
    for part in parts:
        name, _, body = part.partition('\n')
        block = re.search(r'((?:^    (?:\*|[0-9a-f]{8}  .*)\n)+)', body, flags=re.M)
        table = dict(re.findall(r'^\| (.+?) \| `(.+?)` \|', body, flags=re.M))
        found[name] = undump(block.group(1)) + (table,)
    return found


def compare(name, table, values):
    """What the table says, against what the bytes are: every row, and no row missing."""
    want = {k: str(v) for k, v in values.items()}
    for k in sorted(set(table) | set(want)):
        if table.get(k) != want.get(k):
            print('%s: %s: the text has %s, the bytes %s' % (name, k, table.get(k), want.get(k)))
            compare.differing += 1


compare.differing = 0


def of_header(b):
    h = vmsread.read_header(b)
    return {k: h[k] for k in ('version', 'arch', 'vm', 'snapshot', 'created_ns', 'name', 'creator')}


def of_chunk(at, b):
    c = chunk(at, b)
    return {'type': c.type, 'flags': c.flags, 'encoding': c.encoding, 'region': c.region,
            'round': c.round, 'length': c.length, 'sequence': c.sequence, 'hashed': c.hashed}


def of_pages(at, b):
    c = chunk(at, b)
    runs, hashes, data = vmsread.read_tables(c, 1 << 20)
    page = vmsread.unpack(c, data, len(hashes))
    need(c.type == PAGES and len(runs) == len(hashes) == 1 and xxh3_64(page) == hashes[0], at,
         'example')
    return {**of_chunk(at, b), 'runs': len(runs), 'data pages': len(hashes),
            'data offset': c.hashed, 'data length': len(data), 'first': runs[0][0],
            'count': runs[0][1], 'kind': runs[0][2], 'hash': '0x%016x' % hashes[0],
            'zeroes behind the payload': len(b) - 64 - c.length}


def of_index(at, b, last='chunk'):
    c = chunk(at, b)
    need(c.type == INDEX, at, 'example')
    names = 'region', 'kind', 'slot', 'reserved', 'first', 'count', last
    values = {}
    for n, r in enumerate(struct.iter_unpack('<HHHHQQQ', c.payload)):
        values['run %d' % n] = ', '.join('%s %d' % (k, v) for k, v in zip(names, r)
                                         if k != 'reserved')
    return values


def of_flat_index(at, b):
    return of_index(at, b, 'hash')


def of_map(at, b):
    c = chunk(at, b)
    need(c.type == MAP, at, 'example')
    return {**of_chunk(at, b), **{
        'region %d' % region: 'pages %d, offset %d' % (pages, offset)
        for region, _, _, pages, offset in struct.iter_unpack('<HHIQQ', c.payload)}}


def of_hashes(at, b):
    c = chunk(at, b)
    need(c.type == HASHES, at, 'example')
    return {**of_chunk(at, b), **{
        'hash %d' % n: '0x%016x' % h for n, (h,) in enumerate(struct.iter_unpack('<Q', c.payload))}}


def of_end(at, b):
    c = chunk(at, b)
    need(c.type == END, at, 'example')
    names = ('index offset', 'index runs', 'directory offset', 'directory entries', 'chunks',
             'length')
    return {'file digest': c.payload[16:32].hex(), 'memory digest': c.payload[32:48].hex(),
            'machine digest': c.payload[48:64].hex(),
            **dict(zip(names, struct.unpack_from('<6Q', c.payload, 64)))}


READ = {'Header': lambda at, b: of_header(b), 'Pages': of_pages, 'Index': of_index, 'End': of_end,
        'Map': of_map, 'Flat index': of_flat_index, 'Hashes': of_hashes}


def data_pages(rows):
    """Of an index, in order."""
    return [(r[0], page) for r in rows if r[1] == vmsread.DATA for page in range(r[4], r[4] + r[5])]


def check_flat(found, chunked_rows):
    """The flat examples are of the memory of the chunked ones."""
    (map_at, memory_map, _), (pages_at, pages, _) = found['Map'], found['Pages']
    (index_at, index, _), (hashes_at, hashes, _) = found['Flat index'], found['Hashes']
    entries = [(r, n, at) for r, _, _, n, at in struct.iter_unpack('<HHIQQ', memory_map[64:])]
    sizes = {r: n for r, n, _ in entries}
    want, memory_end = vmsread.map_of(sizes, map_at + len(memory_map))
    need(entries == want, map_at, 'entries of the map')
    need(index_at > memory_end and index_at + len(index) == hashes_at, index_at, 'order')
    rows = list(struct.iter_unpack('<HHHHQQQ', index[64:]))
    nhashes = (len(hashes) - 64) // 8
    vmsread.check_flat_runs(rows, sizes, nhashes, index_at)
    named = data_pages(rows)
    need(named == data_pages(chunked_rows) and len(named) == nhashes, index_at, 'pages')
    page = of_pages(pages_at, pages)
    number = named.index((page['region'], page['first']))
    need(of_hashes(hashes_at, hashes)['hash %d' % number] == page['hash'], hashes_at, 'hash')


def check():
    found = examples()
    need(sorted(found) == sorted(READ), 0, 'examples %s' % sorted(found))
    for name, (at, b, table) in found.items():
        compare(name, table, READ[name](at, b))
    # Those of the chunked layout are of one file.
    (_, header, _), (pages_at, pages, _) = found['Header'], found['Pages']
    (index_at, index, _), (end_at, end, _) = found['Index'], found['End']
    need(header[80:96] == end[64:80], end_at, 'snapshot')
    need(of_end(end_at, end)['index offset'] == index_at, index_at, 'index offset')
    need(of_end(end_at, end)['length'] == end_at + 192 and len(end) == 192, end_at, 'length')
    runs = list(struct.iter_unpack('<HHHHQQQ', index[64:]))
    need(len(runs) == of_end(end_at, end)['index runs'], index_at, 'index runs')
    need(pages_at in [r[6] for r in runs], pages_at, 'run of the chunk')
    need(len(pages) % 8 == 0, pages_at, 'zeroes')
    check_flat(found, runs)
    return compare.differing


def places(path):
    """The bytes of a snapshot, and [(type, file offset, size)] of its chunks."""
    with open(path, 'rb') as f:
        b = f.read()
    found, at = [], 4096
    while at < len(b):
        c = chunk(at, b[at:at + (9 << 20)])
        n = 64 + c.length + -c.length % 8
        found.append((c.type, at, n))
        at += n
        if c.type == MAP:
            region, _, _, pages, offset = list(struct.iter_unpack('<HHIQQ', c.payload))[-1]
            at = offset + 4096 * pages
    return b, found


def write(path, flat_path):
    (b, chunks), (flat, flat_chunks) = places(path), places(flat_path)

    def first(found, kind):
        return [p for p in found if p[0] == kind][0][1:]
    chosen = {'Header': (b, 0, 4096), 'Pages': (b, *[p for p in chunks if p[0] == PAGES][-1][1:]),
              'Index': (b, *first(chunks, INDEX)), 'End': (b, *chunks[-1][1:]),
              'Map': (flat, *first(flat_chunks, MAP)),
              'Flat index': (flat, *first(flat_chunks, INDEX)),
              'Hashes': (flat, *first(flat_chunks, HASHES))}
    parts = []
    for name, (of, at, n) in chosen.items():
        rows = READ[name](at, of[at:at + n]).items()
        parts.append('### %s\n\n%s\n\n| field | value |\n| --- | --- |\n%s' % (
            name, dump(of[at:at + n], at), ''.join('| %s | `%s` |\n' % row for row in rows)))
    with open(DOC, 'r+', encoding='utf-8') as f:
        doc = f.read()
        start = doc.find('### ', doc.index(SECTION))
        f.seek(0)
        f.write(doc[:start] + '\n'.join(parts))
        f.truncate()


if __name__ == '__main__':
    if sys.argv[1] == 'write':
        write(*sys.argv[2:])
    else:
        sys.exit(1 if check() else 0)
