# SPDX-License-Identifier: MIT
"""XXH3-64 and XXH3-128 (xxHash 0.8, no seed, default secret) in plain Python, for inputs of any
length."""
import struct

M32, M64 = (1 << 32) - 1, (1 << 64) - 1
P32_1, P32_2, P32_3 = 0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D
P1, P2, P3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
P4, P5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5
MX1, MX2 = 0x165667919E3779F9, 0x9FB21C651E98DF25
SECRET = bytes.fromhex(
    'b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671f'
    'cb79e64eccc0e578825ad07dccff7221b8084674f743248ee03590e6813a264c'
    '3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8'
    'a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364'
    'eac5ac8334d3ebc3c581a0fffa1363eb170ddd51b7f0da49d316552629d4689e'
    '2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e')


def u32(b, at):
    return int.from_bytes(b[at:at + 4], 'little')


def u64(b, at):
    return int.from_bytes(b[at:at + 8], 'little')


def swap64(v):
    return int.from_bytes(v.to_bytes(8, 'little'), 'big')


def rotl(v, n, bits=64):
    return (v << n | v >> bits - n) & ((1 << bits) - 1)


def fold(a, b):
    p = a * b
    return (p & M64) ^ (p >> 64)


def avalanche(h):
    h ^= h >> 37
    h = h * MX1 & M64
    return h ^ h >> 32


def avalanche_old(h):
    h ^= h >> 33
    h = h * P2 & M64
    h ^= h >> 29
    h = h * P3 & M64
    return h ^ h >> 32


KEYS = [struct.unpack_from('<8Q', SECRET, 8 * n) for n in range(16)]
KEY_SCRAMBLE = struct.unpack_from('<8Q', SECRET, 128)
KEY_LAST = struct.unpack_from('<8Q', SECRET, 121)


def stripe(acc, d, key):
    for i in range(8):
        k = d[i] ^ key[i]
        acc[i ^ 1] += d[i]
        acc[i] += (k & M32) * (k >> 32)


def long_acc(b):
    """Inputs above 240 bytes."""
    acc = [P32_3, P1, P2, P3, P4, P32_2, P5, P32_1]
    blocks = (len(b) - 1) // 1024
    for n in range(blocks + 1):
        count = 16 if n < blocks else (len(b) - 1 - 1024 * blocks) // 64
        for s in range(count):
            stripe(acc, struct.unpack_from('<8Q', b, 1024 * n + 64 * s), KEYS[s])
        if n < blocks:
            for i in range(8):
                a = acc[i] & M64
                acc[i] = (a ^ a >> 47 ^ KEY_SCRAMBLE[i]) * P32_1 & M64
    stripe(acc, struct.unpack_from('<8Q', b, len(b) - 64), KEY_LAST)
    return [a & M64 for a in acc]


def merge(acc, at, start):
    for i in range(0, 8, 2):
        start += fold(acc[i] ^ u64(SECRET, at + 8 * i), acc[i + 1] ^ u64(SECRET, at + 8 * i + 8))
    return avalanche(start & M64)


def mix16(b, at, secret):
    return fold(u64(b, at) ^ u64(SECRET, secret), u64(b, at + 8) ^ u64(SECRET, secret + 8))


def xxh3_64(b):
    n, s = len(b), SECRET
    if n > 240:
        return merge(long_acc(b), 11, n * P1 & M64)
    if n > 128:
        h = avalanche((n * P1 + sum(mix16(b, 16 * i, 16 * i) for i in range(8))) & M64)
        h += sum(mix16(b, 16 * i, 16 * (i - 8) + 3) for i in range(8, n // 16))
        h += mix16(b, n - 16, 119)
        return avalanche(h & M64)
    if n > 16:
        h = n * P1
        for i in range((n - 1) // 32 + 1):
            h += mix16(b, 16 * i, 32 * i) + mix16(b, n - 16 * (i + 1), 32 * i + 16)
        return avalanche(h & M64)
    if n > 8:
        lo = u64(b, 0) ^ u64(s, 24) ^ u64(s, 32)
        hi = u64(b, n - 8) ^ u64(s, 40) ^ u64(s, 48)
        return avalanche((n + swap64(lo) + hi + fold(lo, hi)) & M64)
    if n > 3:
        h = (u32(b, n - 4) + (u32(b, 0) << 32)) ^ u64(s, 8) ^ u64(s, 16)
        h ^= rotl(h, 49) ^ rotl(h, 24)
        h = h * MX2 & M64
        h ^= (h >> 35) + n
        h = h * MX2 & M64
        return h ^ h >> 28
    if n:
        short = b[0] << 16 | b[n >> 1] << 24 | b[n - 1] | n << 8
        return avalanche_old(short ^ u32(s, 0) ^ u32(s, 4))
    return avalanche_old(u64(s, 56) ^ u64(s, 64))


def mix32(acc, b, at1, at2, secret):
    acc[0] = (acc[0] + mix16(b, at1, secret)) & M64 ^ (u64(b, at2) + u64(b, at2 + 8) & M64)
    acc[1] = (acc[1] + mix16(b, at2, secret + 16)) & M64 ^ (u64(b, at1) + u64(b, at1 + 8) & M64)


def finish128(acc, n):
    lo = avalanche(acc[0] + acc[1] & M64)
    hi = avalanche(acc[0] * P1 + acc[1] * P4 + n * P2 & M64)
    return lo, -hi & M64


def halves(b):
    n, s = len(b), SECRET
    if n > 240:
        acc = long_acc(b)
        return merge(acc, 11, n * P1 & M64), merge(acc, 117, ~(n * P2) & M64)
    acc = [n * P1 & M64, 0]
    if n > 128:
        for at in range(0, 128, 32):
            mix32(acc, b, at, at + 16, at)
        acc = [avalanche(acc[0]), avalanche(acc[1])]
        for at in range(128, n // 32 * 32, 32):
            mix32(acc, b, at, at + 16, 3 + at - 128)
        mix32(acc, b, n - 16, n - 32, 103)
        return finish128(acc, n)
    if n > 16:
        for i in reversed(range((n - 1) // 32 + 1)):
            mix32(acc, b, 16 * i, n - 16 * (i + 1), 32 * i)
        return finish128(acc, n)
    if n > 8:
        hi = u64(b, n - 8)
        m = (u64(b, 0) ^ hi ^ u64(s, 32) ^ u64(s, 40)) * P1
        m_lo, m_hi = m + (n - 1 << 54) & M64, m >> 64
        hi ^= u64(s, 48) ^ u64(s, 56)
        m_hi = m_hi + hi + (hi & M32) * (P32_2 - 1) & M64
        h = (m_lo ^ swap64(m_hi)) * P2
        return avalanche(h & M64), avalanche((h >> 64) + m_hi * P2 & M64)
    if n > 3:
        m = ((u32(b, 0) + (u32(b, n - 4) << 32)) ^ u64(s, 16) ^ u64(s, 24)) * (P1 + (n << 2) & M64)
        lo, hi = m & M64, m >> 64
        hi = hi + (lo << 1) & M64
        lo ^= hi >> 3
        lo ^= lo >> 35
        lo = lo * MX2 & M64
        return lo ^ lo >> 28, avalanche(hi)
    if n:
        lo = b[0] << 16 | b[n >> 1] << 24 | b[n - 1] | n << 8
        hi = rotl(int.from_bytes(lo.to_bytes(4, 'little'), 'big'), 13, 32)
        return avalanche_old(lo ^ u32(s, 0) ^ u32(s, 4)), avalanche_old(hi ^ u32(s, 8) ^ u32(s, 12))
    return avalanche_old(u64(s, 64) ^ u64(s, 72)), avalanche_old(u64(s, 80) ^ u64(s, 88))


def xxh3_128(b):
    """The canonical 16 bytes."""
    lo, hi = halves(b)
    return (hi << 64 | lo).to_bytes(16, 'big')
