#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The flat form of a chunked snapshot (docs/format.md, section 10), written from that text alone:
what `vmsnap convert --layout flat` must write as well, byte for byte.

vmsflat.py CHUNKED FLAT

It keeps the header but for layout and INCOMPLETE, and CONFIG, the images and the state as they are.
AUTH, PAD and chunks of types that it does not know are left out. What the chunked file names is of
kind data or zero, by what is in it; what it does not name stays untouched.
"""
import struct
import sys

from vmsread import (BLOB, CONFIG, DATA, DIGESTS, DIRECTORY, END, ENTRIES, FLAT, HASHES, INDEX,
                     INDEX_LEVEL, MAP, PAGE, PAGES, STATE, TABLE_HASHES, ZERO, Chunk, Reader,
                     Refused, Source, digests_of, index_payloads, level_payloads, map_of,
                     map_payload, need, pieces, read_tables, unpack)
from xxh3 import xxh3_64, xxh3_128

MIB = 1 << 20


class Out:
    """A snapshot that grows, and what END must say of it."""

    def __init__(self, f, header):
        self.f, self.at, self.chunks, self.entries = f, len(header), 0, []
        self.digested = header[:4088]
        f.write(header)

    def chunk(self, kind, payload, flags=1):
        head = struct.pack('<4sHHHHHHIIQIIQQ', b'VMSc', kind, flags, 0, 0, 0, 0, 0, len(payload),
                           self.chunks, len(payload), 0, xxh3_64(payload), 0)
        head += struct.pack('<Q', xxh3_64(head))
        if kind not in (INDEX, INDEX_LEVEL, HASHES, DIRECTORY, END):
            self.entries.append(struct.pack('<HHHHIIQQ', kind, flags, 0, 0, 0, len(payload),
                                            self.chunks, self.at))
        at = self.at
        self.f.seek(at)
        self.f.write(head + payload + bytes(-len(payload) % 8))
        self.at = self.f.tell()
        if kind != END:
            self.chunks += 1
            self.digested += head
        return at

    def all(self, kind, payloads, flags=1):
        """Where the first is, or would be."""
        return [self.at, *(self.chunk(kind, b, flags) for b in payloads)][0]


def chunks_of(f):
    f.seek(4096)
    source, c = Source(f, 4096), None
    while c is None or c.type != END:
        c = Chunk(source)
        yield c


def header_of(r):
    need(r.header['required'] == 0 and r.header['rewrite'] == 0, 16, 'features')
    b = bytearray(r.raw)
    struct.pack_into('<Q', b, 32, 0)        # the optional features, none of which it knows
    struct.pack_into('<II', b, 44, FLAT, 0)
    struct.pack_into('<Q', b, 4088, xxh3_64(bytes(b[:4088])))
    return bytes(b)


def write_pages(f, chunk, memory, places):
    """Those pages of a chunk that no later one replaces: [(region, page)] of the zero ones."""
    runs, hashes, stored = read_tables(chunk, memory.sizes[chunk.region])
    data = unpack(chunk, stored, len(hashes))
    numbered = [p for first, n, kind in runs if kind == DATA for p in range(first, first + n)]
    zero = []
    for slot, page in enumerate(numbered):
        if memory.pages[chunk.region, page][:3] != (DATA, chunk.at, slot):
            continue
        b = data[PAGE * slot:PAGE * slot + PAGE]
        if any(b):
            f.seek(places[chunk.region] + PAGE * page)
            f.write(b)
        else:
            zero.append((chunk.region, page))
    return zero


def flat_runs(kinds):
    runs, number = [], 0
    for (region, page), kind in sorted(kinds.items()):
        if runs and runs[-1][:2] == [region, kind] and runs[-1][3] + runs[-1][4] == page:
            runs[-1][4] += 1
        else:
            runs.append([region, kind, 0, page, 1, number if kind == DATA else 0])
        number += kind == DATA
    return runs


def convert(source, target):
    r = Reader(source, False)
    need(r.header['layout'] != FLAT, 44, 'flat already')
    chunks = list(chunks_of(source))
    out = Out(target, header_of(r))
    out.all(CONFIG, [r.config])
    out.all(BLOB, [c.payload for c in chunks if c.type == BLOB])
    sizes, memory = r.memory.sizes, r.memory
    entries, end = map_of(sizes, out.at + 64 + 24 * len(sizes))
    out.chunk(MAP, map_payload(entries))
    places = {region: at for region, _, at in entries}
    kinds = {page: of[0] for page, of in memory.pages.items()}
    for c in chunks:
        if c.type == PAGES:
            kinds.update((page, ZERO) for page in write_pages(target, c, memory, places))
    out.at = end
    tree = r.state.tree
    out.all(STATE, [struct.pack('<II', i, len(tree)) + tree[i:i + MIB]
                    for i in range(0, len(tree), MIB)])
    memory_digest, digests = digests_of(memory.pages, sizes)
    out.all(DIGESTS, digests, 0)
    runs = flat_runs(kinds)
    hashes = [memory.pages[page][3] for page, kind in sorted(kinds.items()) if kind == DATA]
    index_at = out.all(INDEX, index_payloads(runs))
    out.all(INDEX_LEVEL, level_payloads(runs))
    out.all(HASHES, pieces(struct.pack('<%dQ' % len(hashes), *hashes), 8, TABLE_HASHES))
    directory_at = out.all(DIRECTORY, pieces(b''.join(out.entries), 32, ENTRIES))
    out.chunk(END, r.raw[80:96] + xxh3_128(out.digested) + memory_digest + r.machine_digest +
              struct.pack('<8Q', index_at, len(runs), directory_at, len(out.entries), out.chunks,
                          out.at + 192, len(hashes), 0))


if __name__ == '__main__':
    try:
        with open(sys.argv[1], 'rb') as chunked, open(sys.argv[2], 'wb') as flat:
            convert(chunked, flat)
    except Refused as e:
        sys.exit('vmsflat: %s' % e)
