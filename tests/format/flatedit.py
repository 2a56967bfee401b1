#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""As vmsedit.py, of the flat layout.

flatedit.py refused IN FOLDER   a file for each row of REFUSED, and FOLDER/expected: its name and
                                words of the message that vminspect has for it
flatedit.py accepted IN FOLDER  a file for each row of ACCEPTED: changes that a reader takes
flatedit.py tables IN FOLDER    a file for each row of TABLES: what the reader of a page of a file
                                must find
IN: made by mksnap --flat --pages 16 --ram 1; for tables by mksnap --flat --pages 4200 --ram 17,
which has two INDEX chunks.
"""
import struct
import sys

from vmsedit import (Chunk, after, drop, field, in_header, in_payload, insert, pieces_of_state,
                     set_payload, write_all)
from vmsread import (DATA, DIGESTS, DIRECTORY, END, HASHES, INDEX, MAP, PAD, PAGE, PAGES, ROUND_END,
                     STATE, ZERO, Z, digests_of)
from xxh3 import xxh3_64

RUN = '<HHHHQQQ'
LAST = 255                  # the page behind all others that are not zero
ENTRY_1 = struct.pack('<HHIQQ', 1, 0, 0, 1, 6 << 20)


def file_offset(s, page):
    return s.of(MAP).places[0][2] + PAGE * page


def patched(at, b):
    """Bytes of the memory, which no hash covers but that of their page. at: called with s."""
    def change(s):
        made, where = bytearray(s.bytes()), at(s)
        assert made[where:where + len(b)] != b
        made[where:where + len(b)] = b
        return bytes(made)
    return change


def in_page(page, b):
    return patched(lambda s: file_offset(s, page) + 2048, b)


def without_digests(change):
    """What DIGESTS chunks would show first."""
    def apply(s):
        drop(DIGESTS)(s)
        return change(s)
    return apply


def cut_in_page(page):
    return lambda s: s.bytes()[:file_offset(s, page) + 100]


def rows(s):
    return [list(r) for r in struct.iter_unpack(RUN, s.of(INDEX).payload)]


def index(change):
    """change: of the rows of the index, [region, kind, slot, reserved, first, count, number]."""
    def apply(s):
        table = rows(s)
        change(table)
        s.of(INDEX).payload[:] = b''.join(struct.pack(RUN, *r) for r in table)
    return apply


def run(n, **fields):
    """Of row n of the index."""
    names = ['region', 'kind', 'slot', 'reserved', 'first', 'count', 'number']

    def change(table):
        for name, value in fields.items():
            table[n][names.index(name)] = value
    return index(change)


def append(*row):
    return index(lambda table: table.append(list(row)))


def split(table):
    """Its first run, of two pages of kind data, as two."""
    assert table[0][1] == DATA and table[0][5] == 2
    table[0][5] = 1
    table.insert(1, [0, DATA, 0, 0, 1, 1, 1])


def split_zero(table):
    """A run of kind zero of two pages as two: pages 2 and 3."""
    assert table[1][1] == ZERO and table[1][4:6] == [2, 1]
    table.insert(2, [0, ZERO, 0, 0, 3, 1, 0])


def name_zero(s):
    """The last page stays as it is; by the index it is of kind zero."""
    run(-1, kind=ZERO, number=0)(s)
    s.of(HASHES).payload[-8:] = b''


def unname(s):
    """The last page stays as it is; the index does not name it."""
    index(list.pop)(s)
    s.of(HASHES).payload[-8:] = b''


def unname_all(s):
    index(list.clear)(s)
    drop(HASHES)(s)


def zero_of_kind_data(s):
    """The last page is all zero, and nothing but that is wrong."""
    c = s.of(MAP)
    memory = bytearray(c.regions[0])
    memory[PAGE * LAST:PAGE * LAST + PAGE] = bytes(PAGE)
    c.regions[0] = bytes(memory)
    s.of(HASHES).payload[-8:] = struct.pack('<Q', Z)
    pages = {}
    for page in range(LAST + 1):
        data = memory[PAGE * page:PAGE * page + PAGE]
        if any(data):
            pages[0, page] = (DATA, 0, 0, xxh3_64(bytes(data)))
    digest, (table,) = digests_of(pages, {0: LAST + 1})
    s.of(DIGESTS).payload[:] = table
    s.of(END).payload[32:48] = digest


def hashes(change):
    return lambda s: change(s.of(HASHES).payload)


def split_hashes(s):
    c = s.of(HASHES)
    s.chunks.insert(s.chunks.index(c) + 1, Chunk(HASHES, c.payload[-8:]))
    c.payload[-8:] = b''


def no_hash(s):
    """An empty HASHES chunk behind the others."""
    s.before(DIRECTORY, Chunk(HASHES, b''))


def zero_alone(s):
    """No page of kind data, but a HASHES chunk, which is empty."""
    memory = s.of(MAP).regions
    memory[0] = bytes(len(memory[0]))
    index(lambda table: table.__delitem__(slice(1, None)))(s)
    run(0, kind=ZERO)(s)
    digest, (table,) = digests_of({}, {0: LAST + 1})
    s.of(DIGESTS).payload[:] = table
    s.of(END).payload[32:48] = digest
    s.of(HASHES).payload[:] = b''


def all_zero(s):
    zero_alone(s)
    drop(HASHES)(s)


def map_behind_state(s):
    c = s.of(MAP)
    s.chunks.remove(c)
    s.before(DIGESTS, c)


def shifted(n):
    """The memory is elsewhere, and MAP says where."""
    def change(s):
        s.of(MAP).shift = n
    return change


def tail(b):
    """Bytes behind the memory, which no chunk has."""
    def change(s):
        s.of(MAP).tail = b
    return change


def short(s):
    """A page less than MAP says."""
    def change(t):
        t.of(MAP).regions[0] = t.of(MAP).regions[0][:-PAGE]
    return s.bytes(change)


def listed_hashes(s):
    """The directory has an entry of HASHES."""
    def change(t):
        c, directory, end = t.of(HASHES), t.of(DIRECTORY), t.of(END).payload
        directory.payload += c.entry(c.at)
        for at, more in ((88, 1), (104, 32)):
            struct.pack_into('<Q', end, at, struct.unpack_from('<Q', end, at)[0] + more)
    return s.bytes(change)


def more_hashes(n):
    def change(c):
        struct.pack_into('<Q', c.payload, 112, struct.unpack_from('<Q', c.payload, 112)[0] + n)
    return after(END, change)


def u64(n):
    return struct.pack('<Q', n)


def in_map(at, b):
    return after(MAP, set_payload, at=at, b=b)


def pages_chunk(s):
    """Of one zero page."""
    c = Chunk(PAGES, struct.pack('<IIII', 1, 0, 32, 0) + struct.pack('<QII', 100, 1, ZERO))
    s.before(STATE, c)


MAP_DIFFERS = 'map chunk: does not match the regions'
DAMAGED = 'checksum mismatch'
LENGTH = 'hashes chunk: invalid length'

# name: (change, words of vminspect's message). A change that returns bytes has made the file.
REFUSED = {
    'layout-chunked': (in_header(44, b'\1'), 'map chunk: unexpected'),
    'state-only': (in_header(16, b'\1'), 'flat layout without memory'),
    'map-offset': (in_map(16, u64(4 << 20)), MAP_DIFFERS),
    'map-not-lowest': (shifted(2 << 20), MAP_DIFFERS),
    'map-not-aligned': (shifted(PAGE), MAP_DIFFERS),
    'map-offset-huge': (in_map(16, u64((1 << 64) - (2 << 20))), MAP_DIFFERS),
    'map-pages': (in_map(8, u64(LAST)), MAP_DIFFERS),
    'map-pages-huge': (in_map(8, u64((1 << 64) - 1)), MAP_DIFFERS),
    'map-region': (in_map(0, b'\1'), MAP_DIFFERS),
    'map-reserved': (in_map(7, b'\1'), MAP_DIFFERS),
    'map-region-missing': (after(MAP, lambda c: c.payload.clear()), MAP_DIFFERS),
    'map-region-extra': (after(MAP, lambda c: c.payload.extend(ENTRY_1)),
                         MAP_DIFFERS),
    'map-length': (after(MAP, lambda c: c.payload.extend(bytes(4))), MAP_DIFFERS),
    'map-encoding': (field(MAP, encoding=1), 'region or encoding not zero'),
    'map-flags': (field(MAP, flags=0), 'invalid flags'),
    'map-twice': (lambda s: s.before(STATE, Chunk(MAP, s.of(MAP).payload)),
                  'map chunk: unexpected'),
    'map-missing': (drop(MAP), 'state chunk: unexpected'),
    'map-late': (map_behind_state, 'state chunk: unexpected'),
    'pages': (pages_chunk, 'pages chunk: unexpected'),
    'round-end': (insert(STATE, ROUND_END, bytes(16), 1), 'round-end chunk: unexpected'),
    'gap-not-zero': (patched(lambda s: (2 << 20) - 1, b'\1'), 'between regions not zero'),
    'gap-chunk': (patched(lambda s: s.of(MAP).at + 64 + 24, Chunk(PAD, b'', 0).magic),
                  'between regions not zero'),
    'behind-memory': (tail(bytes(8)), 'invalid chunk magic'),
    'behind-memory-page': (tail(bytes(PAGE)), 'invalid chunk magic'),
    'memory-short': (short, 'invalid chunk magic'),
    'memory-cut': (cut_in_page(100), 'unexpected end'),
    'page-flipped': (in_page(LAST, b'\1'), DAMAGED),
    'page-flipped-no-digests': (without_digests(in_page(LAST, b'\1')), DAMAGED),
    'zero-page': (without_digests(in_page(2, b'\1')), 'page 2 is named zero, but is not'),
    'untouched-page': (without_digests(in_page(100, b'\1')),
                       'run 8 mismatch: expected region 0 pages 100+1'),
    'data-named-zero': (name_zero, 'page 255 is named zero, but is not'),
    'data-not-named': (unname, 'index lacks region 0 page 255'),
    'data-all-zero': (zero_of_kind_data, 'lists pages that are not in the snapshot'),
    'run-split': (index(split), 'adjacent runs of one kind'),
    'run-zero-split': (index(split_zero), 'adjacent runs of one kind'),
    'run-order': (index(list.reverse), 'runs not in ascending order'),
    'run-overlaps': (run(1, count=3), 'page 4 is named zero, but is not'),
    'run-empty': (run(1, count=0), 'index: invalid run'),
    'run-kind': (run(1, kind=3), 'pages of a parent snapshot'),
    'run-slot': (run(2, slot=1), 'slot in a flat snapshot'),
    'run-reserved': (run(2, reserved=1), 'index: invalid run'),
    'run-out-of-range': (append(0, ZERO, 0, 0, LAST + 1, 1, 0), 'out of range of region 0'),
    'run-count-huge': (append(0, ZERO, 0, 0, LAST + 1, (1 << 64) - LAST - 1, 0),
                       'index: invalid run'),
    'run-region': (append(1, ZERO, 0, 0, 0, 1, 0), 'out of range of region 1'),
    'run-hash': (run(2, number=3), 'index chunk: run 2 mismatch'),
    'run-hash-first': (run(0, number=1), 'index chunk: run 0 mismatch'),
    'run-zero-hash': (run(1, number=2), 'for pages without data'),
    'index-none': (unname_all, 'index lacks region 0 page 0'),
    'hash-wrong': (hashes(lambda b: b.__setitem__(3, b[3] ^ 1)), DAMAGED),
    'hashes-fewer': (hashes(lambda b: b.__delitem__(slice(-8, None))), LENGTH),
    'hashes-more': (hashes(lambda b: b.extend(b[:8])), LENGTH),
    'hashes-length': (hashes(lambda b: b.extend(bytes(4))), LENGTH),
    'hashes-split': (split_hashes, LENGTH),
    'hashes-empty': (no_hash, LENGTH),
    'hashes-of-none': (zero_alone, LENGTH),
    'hashes-missing': (drop(HASHES), 'hashes chunk missing'),
    'hashes-encoding': (field(HASHES, encoding=1), 'region or encoding not zero'),
    'hashes-flags': (field(HASHES, flags=0), 'invalid flags'),
    'hashes-pad': (insert(HASHES, PAD, b'', 0, hashed=0), 'hashes chunk: unexpected'),
    'hashes-private': (insert(HASHES, 32768, b'private'), 'hashes chunk: unexpected'),
    'hashes-early': (lambda s: s.before(INDEX, s.chunks.pop(s.chunks.index(s.of(HASHES)))),
                     'hashes chunk: unexpected'),
    'hashes-listed': (listed_hashes, 'directory chunk: invalid length'),
    'end-hashes': (more_hashes(1), 'counts or offsets'),
    'end-hashes-none': (after(END, set_payload, at=112, b=bytes(8)), 'counts or offsets'),
    'end-reserved': (in_payload(END, 120, b'\1'), 'reserved bytes not zero'),
}

ACCEPTED = {
    'incomplete': in_header(48, b'\1'),
    'pad': insert(MAP, PAD, bytes(100), 0, hashed=0),
    'pad-to-next-2-mib': insert(MAP, PAD, bytes((2 << 20) - 4096), 0, hashed=0),
    'pad-behind-memory': insert(STATE, PAD, bytes(100), 0, hashed=0),
    'pad-behind-hashes': insert(DIRECTORY, PAD, b'', 0, hashed=0),
    'optional-unknown': insert(STATE, 999, b'unknown'),
    'private': insert(MAP, 32768, b'private', region=9, round=7, encoding=1, hashed=3),
    'state-in-pieces': lambda s: pieces_of_state(s, 0),
    'no-digests': drop(DIGESTS),
    'zero-run-longer': run(1, count=2),
    'zero-run-to-the-end': run(7, count=LAST - 14),
    'zero-not-named': index(lambda table: table.__setitem__(
        slice(None), [r for r in table if r[1] == DATA])),
}

# Of page 1000, which is of kind data, has hash 500 and begins run 500.
TABLES = {
    'map-offset': in_map(16, u64(4 << 20)),
    'map-pages': in_map(8, u64(5)),
    'map-region': in_map(0, b'\1'),
    'map-missing': drop(MAP),
    'map-not-lowest': shifted(2 << 20),
    'run-reserved': run(500, reserved=1),
    'run-slot': run(500, slot=1),
    'run-kind': run(500, kind=3),
    'run-empty': run(500, count=0),
    'run-overlaps': run(500, count=3),
    'run-out-of-range': run(500, first=1 << 40),
    'run-region': run(500, region=3),
    'run-hash': run(500, number=501),
    'run-hash-huge': run(500, number=(1 << 64) - 1),
    'run-zero-hash': run(501, number=502),
    'hash-wrong': hashes(lambda b: b.__setitem__(4000, b[4000] ^ 1)),
    'hashes-none': after(END, set_payload, at=112, b=bytes(8)),
    'hashes-fewer': after(END, set_payload, at=112, b=u64(400)),
    'hashes-more': more_hashes(1 << 60),
    'page-flipped': in_page(1000, b'\1'),
}


def main(what, source, folder):
    changes = ACCEPTED if what == 'accepted' else TABLES
    write_all(REFUSED if what == 'refused' else {k: (v, '') for k, v in changes.items()}, source,
              folder)


if __name__ == '__main__':
    main(*sys.argv[1:])
