#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Changes one thing of a good snapshot and makes every hash, digest, count and offset right again,
so that a reader can refuse the result for that one thing only.

vmsedit.py refused IN FOLDER   a file for each row of REFUSED, and FOLDER/expected: its name and
                               words of the message that vminspect has for it. IN: made by
                               mksnap with --level, with a PAGES chunk in each round.
vmsedit.py accepted IN FOLDER  a file for each row of ACCEPTED: changes that a reader takes
vmsedit.py tables IN FOLDER    a file for each row of TABLES: what a reader of a file must find in
                               the tables that it reads. IN: with two INDEX chunks or more
IN is of the chunked layout; those of the flat layout are in flatedit.py.
"""
import os
import struct
import subprocess
import sys

from vmsread import (AUTH, CHUNKED, CONFIG, DIGESTS, DIRECTORY, END, ENTRIES, HASHES, INDEX,
                     INDEX_LEVEL, MAP, PAD, PAGE, PAGES, ROUND_END, STATE, map_of, map_payload,
                     pieces)
from xxh3 import xxh3_64, xxh3_128

HEADER = '<4sHHHHHHIIQIIQQ'


class Chunk:
    def __init__(self, kind, payload, flags=1):
        self.magic, self.type, self.flags, self.encoding, self.cipher = b'VMSc', kind, flags, 0, 0
        self.region, self.reserved14, self.round, self.sequence = 0, 0, 0, None
        self.hashed, self.reserved36, self.reserved48 = None, 0, 0
        self.payload, self.padding, self.at = bytearray(payload), b'', None
        # Of MAP: {region: bytes}, where they are, how far from where they should be, and what is
        # behind them.
        self.regions, self.place, self.places, self.shift, self.tail = None, 0, [], 0, b''

    def lay(self, at):
        """The memory, for MAP at `at`, and the entries that say so."""
        self.place, sizes = at, {r: len(b) // PAGE for r, b in self.regions.items()}
        entries, _ = map_of(sizes, at + 64 + 24 * len(sizes))
        self.places = [(r, pages, offset + self.shift) for r, pages, offset in entries]
        self.payload[:] = map_payload(self.places)

    def memory(self, begin):
        """What is from `begin`, the end of the chunk proper, to the chunk behind it."""
        b = bytearray()
        for region, _, offset in self.places:
            b += bytes(offset - begin - len(b)) + self.regions[region]
        return b + self.tail

    def bytes(self):
        hashed = len(self.payload) if self.hashed is None else self.hashed
        head = struct.pack(HEADER, self.magic, self.type, self.flags, self.encoding, self.cipher,
                           self.region, self.reserved14, self.round, len(self.payload),
                           self.sequence, hashed, self.reserved36,
                           xxh3_64(bytes(self.payload[:hashed])), self.reserved48)
        padding = self.padding.ljust(-len(self.payload) % 8, b'\0')
        b = head + struct.pack('<Q', xxh3_64(head)) + self.payload + padding
        return b + self.memory(self.place + len(b)) if self.regions else b

    def entry(self, at):
        return struct.pack('<HHHHIIQQ', self.type, self.flags, self.region, 0, self.round,
                           len(self.payload), self.sequence, at)


class Snapshot:
    def __init__(self, b):
        self.header, self.chunks, at = bytearray(b[:4096]), [], 4096
        while at < len(b):
            f = struct.unpack_from(HEADER, b, at)
            c = Chunk(f[1], b[at + 64:at + 64 + f[8]], f[2])
            c.encoding, c.region, c.round, c.hashed, c.at = f[3], f[5], f[7], f[10], at
            c.hashed = None if c.hashed == f[8] else c.hashed
            self.chunks.append(c)
            at += 64 + f[8] + -f[8] % 8
            if c.type == MAP:
                c.regions = {r: b[offset:offset + PAGE * pages] for r, _, _, pages, offset in
                             struct.iter_unpack('<HHIQQ', c.payload)}
                c.lay(c.at)
                at += len(c.memory(at))

    def of(self, kind, n=0):
        return [c for c in self.chunks if c.type == kind][n]

    def before(self, kind, chunk):
        self.chunks.insert(self.chunks.index(self.of(kind)), chunk)

    def bytes(self, last=None):
        """last: called before the hashes are computed, with offsets and numbers in place."""
        moved, at, entries = {}, 4096, []
        for i, c in enumerate(self.chunks):
            c.sequence = i if c.sequence is None else c.sequence
            moved[c.at] = at
            if c.regions:
                c.lay(at)
            if c.type == DIRECTORY:
                continue
            if c.type not in (PAGES, INDEX, INDEX_LEVEL, HASHES, END):
                entries.append(c.entry(at))
            at += len(c.bytes())
        (table,) = pieces(b''.join(entries), 32, ENTRIES)
        self.of(DIRECTORY).payload[:] = table
        runs = 0
        for index in (c.payload for c in self.chunks if c.type == INDEX):
            runs += len(index) // 32
            for n in range(24, len(index), 32) if self.header[44] == CHUNKED else ():
                chunk = struct.unpack_from('<Q', index, n)[0]
                struct.pack_into('<Q', index, n, moved.get(chunk, chunk))
        at, offsets = 4096, {}
        for c in self.chunks:
            offsets.setdefault(c.type, at)
            at += len(c.bytes())
        end = self.of(END)
        struct.pack_into('<6Q', end.payload, 64, offsets[INDEX], runs, offsets[DIRECTORY],
                         len(entries), len(self.chunks) - 1, at)
        if self.header[44] != CHUNKED:
            struct.pack_into('<Q', end.payload, 112, sum(len(c.payload) // 8 for c in self.chunks
                                                         if c.type == HASHES))
        if last:
            last(self)
        struct.pack_into('<Q', self.header, 4088, xxh3_64(bytes(self.header[:4088])))
        digested = bytearray(self.header[:4088])
        digested[48] &= ~1
        for c in self.chunks:
            digested += c.bytes()[:64] if c.type != END else b''
        if end.payload[16:32] != bytes(16):
            end.payload[16:32] = xxh3_128(bytes(digested))
        return bytes(self.header) + b''.join(c.bytes() for c in self.chunks)


def packed(s):
    """A PAGES chunk with a frame, its pages, and a function that gives it another frame."""
    c = next(c for c in s.chunks if c.type == PAGES and c.encoding == 1)
    data_at = struct.unpack_from('<I', c.payload, 8)[0]
    frame = bytes(c.payload[data_at:])
    pages = subprocess.run(['zstd', '-dcq'], input=frame, stdout=subprocess.PIPE,
                           check=True).stdout

    def put(b):
        c.payload[data_at:] = b
        struct.pack_into('<I', c.payload, 12, len(b))
    return frame, pages, put


def legacy_frame(s):
    frame, _, put = packed(s)
    put(b'\x27' + frame[1:])


def skippable_frame(s):
    frame, _, put = packed(s)
    put(frame + bytes.fromhex('502a4d1800000000'))


def fat_frame(s):
    """Raw blocks of two bytes, larger than the pages they hold."""
    _, pages, put = packed(s)
    n = len(pages)
    put(bytes.fromhex('28b52ffda0') + struct.pack('<I', n) +
        b''.join(bytes([16 | (i == n - 2), 0, 0]) + pages[i:i + 2] for i in range(0, n, 2)))


def dictionary_frame(s):
    frame, _, put = packed(s)
    where = 5 if frame[4] & 0x20 else 6
    put(frame[:4] + bytes([frame[4] | 1]) + frame[5:where] + b'\0' + frame[where:])


def gap(s, fill, n):
    c = s.of(PAGES)
    runs, data, at = struct.unpack_from('<III', c.payload)
    assert at == 16 + 16 * runs + 8 * data
    c.payload[at:at] = fill * n
    struct.pack_into('<I', c.payload, 8, at + n)
    c.hashed = at + n


def field(kind, **fields):
    def change(s):
        for k, v in fields.items():
            setattr(s.of(kind), k, v)
    return change


def in_header(at, b):
    def change(s):
        s.header[at:at + len(b)] = b
    return change


def in_payload(kind, at, b):
    def change(s):
        s.of(kind).payload[at:at + len(b)] = b
    return change


def drop(kind, n=0):
    return lambda s: s.chunks.remove(s.of(kind, n))


def insert(before, kind, payload, flags=0, **fields):
    def change(s):
        c = Chunk(kind, payload, flags)
        for k, v in fields.items():
            setattr(c, k, v)
        s.before(before, c)
    return change


def twice(kind):
    def change(s):
        c, d = s.of(kind), Chunk(kind, s.of(kind).payload, s.of(kind).flags)
        s.chunks.insert(s.chunks.index(c), d)
    return change


def split_run(s):
    """The first run of the index as two."""
    index = s.of(INDEX).payload
    for at in range(0, len(index), 32):
        region, kind, slot, _, first, count, chunk = struct.unpack_from('<HHHHQQQ', index, at)
        if count > 1:
            index[at:at + 32] = struct.pack('<HHHHQQQ', region, kind, slot, 0, first, 1, chunk) + \
                struct.pack('<HHHHQQQ', region, kind, slot + (kind == 1), 0, first + 1, count - 1,
                            chunk)
            return
    sys.exit('no run of two pages')


def pieces_of_state(s, cut):
    """STATE in two pieces, the second from `cut` bytes behind where the first ended."""
    c = s.of(STATE)
    tree = bytes(c.payload[8:])
    c.payload[:] = struct.pack('<II', 0, len(tree)) + tree[:1000]
    s.chunks.insert(s.chunks.index(c) + 1,
                    Chunk(STATE, struct.pack('<II', 1000 + cut, len(tree)) + tree[1000 + cut:]))


def pad_between_pieces(s):
    pieces_of_state(s, 0)
    s.chunks.insert(s.chunks.index(s.of(STATE)) + 1, Chunk(PAD, b'', 0))


def after(kind, change, **fields):
    """A change behind the offsets: of what bytes() computes."""
    return lambda s: s.bytes(lambda t: change(t.of(kind), **fields))


def cut(n):
    return lambda s: s.bytes()[:n]


def set_payload(c, at, b):
    c.payload[at:at + len(b)] = b


AUTH_ANY = struct.pack('<II', 7, 1) + bytes(56)

# name: (change, words of vminspect's message). A change that returns bytes has made the file.
REFUSED = {
    'text-mode': (lambda s: s.bytes().replace(b'\r\n', b'\n'), 'text-mode transfer'),
    'version-0': (in_header(8, b'\0'), 'unsupported format version 0'),
    'version-2': (in_header(8, b'\2'), 'unsupported format version 2'),
    'required-chain': (in_header(16, b'\2'), 'unsupported required features 0x2'),
    'layout-flat': (in_header(44, b'\2'), 'pages chunk: unexpected'),
    'layout-3': (in_header(44, b'\3'), 'unsupported layout 3'),
    'header-flags': (in_header(48, b'\2'), 'unsupported flags 0x2'),
    'hash-algorithm': (in_header(52, b'\2'), 'unsupported hash algorithm 2'),
    'header-cipher': (in_header(54, b'\1'), 'unsupported cipher 1'),
    'block-size': (in_header(56, struct.pack('<I', 16384)), 'unsupported block size'),
    'header-reserved': (in_header(140, b'\1'), 'reserved header bytes not zero'),
    'name-mismatch': (in_header(192, b'simple'), 'header and configuration differ: name'),
    'name-invalid': (in_header(192, b'.'), 'invalid VM name'),
    'name-empty': (in_header(192, bytes(64)), 'invalid VM name'),
    'arch-mismatch': (in_header(40, b'\x3e'), 'header and configuration differ: arch'),
    'uuid-mismatch': (in_header(64, b'\0'), 'header and configuration differ: UUID'),
    'missing-end': (lambda s: s.bytes()[:-192], 'unexpected end'),
    'trailing-data': (lambda s: s.bytes() + bytes(8), 'trailing data after the END chunk'),
    'wrong-sequence': (field(ROUND_END, sequence=99), 'sequence number 99'),
    'required-unknown': (insert(STATE, 999, b'x', 1), 'unsupported required chunk'),
    'required-flag': (field(PAGES, flags=0), 'invalid flags'),
    'chunk-flags': (field(PAGES, flags=3), 'unsupported flags'),
    'chunk-encoding': (field(PAGES, encoding=2), 'unsupported encoding 2'),
    'chunk-cipher': (field(PAGES, cipher=1), 'unsupported cipher 1'),
    'chunk-reserved-14': (field(STATE, reserved14=1), 'reserved header bytes not zero'),
    'chunk-reserved-36': (field(STATE, reserved36=1), 'reserved header bytes not zero'),
    'chunk-reserved-48': (field(STATE, reserved48=1), 'reserved header bytes not zero'),
    'chunk-region': (field(STATE, region=1), 'region or encoding not zero'),
    'chunk-round': (field(STATE, round=1), 'round not zero'),
    'chunk-hashed': (field(STATE, hashed=100), 'hash covers 100 bytes'),
    'chunk-padding': (insert(STATE, PAD, b'', 0, padding=b'\0' * 8), 'invalid chunk magic'),
    'padding-not-zero': (insert(STATE, PAD, b'x', 0, hashed=0, padding=b'\1'), 'padding not zero'),
    'gap-not-zero': (lambda s: gap(s, b'\1', 8), 'pages chunk'),
    'gap-too-long': (lambda s: gap(s, b'\0', 4096), 'pages chunk'),
    'legacy-frame': (legacy_frame, 'zstd'),
    'skippable-frame': (skippable_frame, 'zstd'),
    'fat-frame': (fat_frame, 'invalid data length'),
    'dictionary-frame': (dictionary_frame, 'zstd'),
    'region-unknown': (field(PAGES, region=3), 'region 3 not in the configuration'),
    'round-wrong': (field(PAGES, round=1), 'round 1, expected 0'),
    'round-end-missing': (drop(ROUND_END, 2), 'has no end'),
    'round-end-early': (drop(PAGES, 2), 'round-end chunk'),
    'round-end-counts': (in_payload(ROUND_END, 8, b'\0'), 'round-end chunk'),
    'map': (insert(STATE, MAP, bytes(24), 1), 'map chunk: unexpected'),
    'hashes': (insert(DIRECTORY, HASHES, bytes(8), 1), 'hashes chunk: unexpected'),
    'state-twice': (twice(STATE), 'state chunk'),
    'state-gap': (lambda s: pieces_of_state(s, 1), 'not the next piece'),
    'state-pad': (pad_between_pieces, 'unexpected'),
    'config-twice': (insert(STATE, CONFIG, b'x', 1), 'config chunk: unexpected'),
    'auth-late': (insert(STATE, AUTH, struct.pack('<II', 1, 1) + bytes(56)), 'auth chunk'),
    'auth-length': (insert(STATE, AUTH, AUTH_ANY + bytes(8)), 'auth chunk: invalid length'),
    'digests-wrong': (in_payload(DIGESTS, 16, b'\0\0\0\0'), 'digests chunk'),
    'digests-twice': (twice(DIGESTS), 'digests chunk'),
    'index-not-maximal': (split_run, 'index chunk: run'),
    'index-twice': (twice(INDEX), 'index chunk'),
    'level-too-many': (insert(DIRECTORY, INDEX_LEVEL, bytes(16), 1), 'index-level chunk'),
    'directory-wrong': (after(DIRECTORY, set_payload, at=34, b=b'\0'), 'directory chunk: entry 1'),
    'end-uuid': (in_payload(END, 0, b'\xff'), 'snapshot UUID differs'),
    'end-counts': (after(END, set_payload, at=72, b=b'\0'), 'counts or offsets'),
    'end-hashes': (in_payload(END, 112, b'\1'), 'counts or offsets'),
    'end-reserved': (in_payload(END, 120, b'\1'), 'reserved bytes not zero'),
    'end-file-digest': (in_payload(END, 16, bytes(16)), 'file digest mismatch'),
    'end-memory-digest': (in_payload(END, 32, bytes(16)), 'memory digest mismatch'),
    'end-machine-digest': (in_payload(END, 48, bytes(16)), 'machine digest mismatch'),
}

ACCEPTED = {
    'incomplete': in_header(48, b'\1'),
    'optional-feature': in_header(32, b'\x80'),
    'rewrite-feature': in_header(24, b'\x80'),
    'created-before-1970': in_header(128, b'\xff' * 8),
    'pad': insert(PAGES, PAD, bytes(100), 0, hashed=0),
    'pad-behind-digests': insert(INDEX, PAD, b'', 0, hashed=0),
    'pad-behind-index': insert(DIRECTORY, PAD, b'', 0, hashed=0),
    'optional-unknown': insert(STATE, 999, b'unknown'),
    'private': insert(INDEX, 32768, b'private', region=9, round=7, encoding=1, hashed=3),
    'auth-of-another-algorithm': insert(STATE, AUTH, AUTH_ANY),
    'gap': lambda s: gap(s, b'\0', 4088),
    'state-in-pieces': lambda s: pieces_of_state(s, 0),
    'no-digests': drop(DIGESTS),
}

# Of pages in the first INDEX chunk. Runs of mksnap are of one or two pages.
TABLES = {
    'key-reserved': in_payload(INDEX_LEVEL, 3, b'\1'),
    'key-order': in_payload(INDEX_LEVEL, 8, b'\xff\x20'),
    'key-out-of-range': in_payload(INDEX_LEVEL, 16 + 12, b'\1'),
    'key-region': in_payload(INDEX_LEVEL, 16, b'\3'),
    'key-not-first': in_payload(INDEX_LEVEL, 8, b'\1'),
    'run-reserved': in_payload(INDEX, 32 * 900 + 6, b'\1'),
    'run-kind': in_payload(INDEX, 32 * 900 + 2, b'\7'),
    'run-empty': in_payload(INDEX, 32 * 900 + 16, bytes(8)),
    'run-overlaps': in_payload(INDEX, 32 * 900 + 16, b'\x90'),
    'run-out-of-range': in_payload(INDEX, 32 * 900 + 12, b'\1'),
    'run-region': in_payload(INDEX, 32 * 900, b'\3'),
    'index-runs-none': after(END, set_payload, at=72, b=bytes(8)),
    'index-runs-fewer': after(END, set_payload, at=72, b=struct.pack('<Q', 2049)),
    'index-offset': after(END, set_payload, at=64, b=struct.pack('<Q', 4096)),
    'end-length': after(END, set_payload, at=104, b=b'\0'),
}


def write_sparse(path, b):
    with open(path, 'wb') as f:
        for at in range(0, len(b), 1 << 16):
            if any(b[at:at + (1 << 16)]):
                f.seek(at)
                f.write(b[at:at + (1 << 16)])
        f.truncate(len(b))


def write_all(rows, source, folder):
    """rows: {name: (change, what FOLDER/expected says of it, if of any)}"""
    with open(source, 'rb') as f:
        good = f.read()
    assert Snapshot(good).bytes() == good, 'not read and written as it was'
    for name, (change, _) in rows.items():
        s = Snapshot(good)
        made = change(s)
        write_sparse(os.path.join(folder, name + '.vms'),
                     made if isinstance(made, bytes) else s.bytes())
    if any(words for _, words in rows.values()):
        with open(os.path.join(folder, 'expected'), 'w', encoding='utf-8') as f:
            f.writelines('%s|%s\n' % (name, words) for name, (_, words) in rows.items())


def main(what, source, folder):
    changes = ACCEPTED if what == 'accepted' else TABLES
    write_all(REFUSED if what == 'refused' else {k: (v, '') for k, v in changes.items()}, source,
              folder)


if __name__ == '__main__':
    main(*sys.argv[1:])
