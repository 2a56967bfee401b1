# SPDX-License-Identifier: MIT
"""A peer that speaks the protocol of a move from docs/protocol.md alone, as far as tests need it.

  peer.py query PORT VM NAME SECONDS   QUERYs about moves that never were, as fast as they go;
                                       prints how many were answered
  peer.py state PORT VM MOVE NAME FROM one QUERY; prints the state
  peer.py go PORT VM MOVE GENERATION   one GO; prints the type and, of an ANSWER, the state
  peer.py replay PORT FILE             what a source once sent, again; prints the types of the
                                       messages that come back, and reasons
  peer.py images PORT FILE HOW         the same as another move, with images that are not what HELLO
                                       says (IMAGES below); prints likewise
  peer.py idle PORT N FILE             N connections that say nothing, kept until FILE exists
  peer.py beside PORT VM MOVE NAME FROM N
                                       as state, beside N connections that say nothing; prints how
                                       many of them were open still
  peer.py fill PORT TREE VM SIZE FILE N...
                                       a source with one region of SIZE bytes, none of them
                                       populated as it says, and the tree in TREE: prints AGREE,
                                       waits for FILE. Then N chunks of 2 MiB and a ROUND, and
                                       again; prints what is answered to each
  peer.py resend                       a target: prints its port, takes one move and asks for its
                                       first chunk again and again; prints how often it was sent
                                       again, and what ended that
"""
import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import uuid

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "format"))
from xxh3 import xxh3_64  # noqa: E402

PREAMBLE = bytes.fromhex("89564D4D0D0A1A0A") + struct.pack("<HHI", 1, 1, 0)
CONFIG, PAGES, BLOB, CONTROL = 1, 2, 3, 16
PAGE, BATCH = 4096, 512


def chunk(sequence, kind, payload, encoding=0):
    hashed = struct.unpack_from("<8xI", payload)[0] if kind == PAGES else len(payload)
    head = b"VMSc" + struct.pack("<HHHHHHIIQIIQQ", kind, 1, encoding, 0, 0, 0, 0, len(payload),
                                 sequence, hashed, 0, xxh3_64(payload[:hashed]), 0)
    return head + struct.pack("<Q", xxh3_64(head)) + payload + bytes(-len(payload) % 8)


def control(sequence, **m):
    return chunk(sequence, CONTROL, json.dumps(m).encode())


def pages_chunk():
    """The payload of a chunk of the first pages of region 0, as many as it may have, all alike:
    small when compressed."""
    page = b"\xa5" * PAGE
    with tempfile.NamedTemporaryFile() as f:
        f.write(page * BATCH)
        f.flush()
        data = subprocess.run(["zstd", "-q", "-c", f.name], check=True,
                              stdout=subprocess.PIPE).stdout
    tables = struct.pack("<QII", 0, BATCH, 1) + struct.pack("<Q", xxh3_64(page)) * BATCH
    return struct.pack("<IIII", 1, BATCH, 16 + len(tables), len(data)) + tables + data


def take(sock, n):
    data = b""
    while len(data) < n:
        more = sock.recv(n - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def any_chunk(sock):
    head = take(sock, 64)
    kind, length = struct.unpack("<H14xI", head[4:24])
    return kind, take(sock, length + -length % 8)[:length]


def message(sock):
    """The next control message."""
    while True:
        kind, payload = any_chunk(sock)
        if kind == CONTROL:
            return json.loads(payload)


def connect(port, timeout=30):
    sock = socket.create_connection(("127.0.0.1", port), timeout=timeout)
    sock.sendall(PREAMBLE)
    take(sock, 16)
    return sock


def ask(port, **m):
    with connect(port) as sock:
        sock.sendall(control(0, **m))
        return message(sock)


def query(port, vm, name, seconds):
    end, n = time.monotonic() + float(seconds), 0
    while time.monotonic() < end:
        m = ask(int(port), type="QUERY", vm=vm, move=str(uuid.uuid4()), name=name, generation=0,
                **{"from": "target"})
        n += m["type"] == "ANSWER"
    print(n)


def state(port, vm, move, name, side):
    print(ask(int(port), type="QUERY", vm=vm, move=move, name=name, generation=0,
              **{"from": side})["state"])


def go(port, vm, move, generation):
    m = ask(int(port), type="GO", vm=vm, move=move, generation=int(generation))
    print(m["type"], m.get("state", ""))


def replay(port, path):
    with open(path, "rb") as f:
        exchange(port, f.read(), b"")


def exchange(port, first, rest):
    """Sends first, and rest behind the first answer; prints the messages that come back."""
    sock = socket.create_connection(("127.0.0.1", int(port)), timeout=60)
    try:
        sock.sendall(first)
    except OSError:
        pass
    try:
        take(sock, 16)
        while True:
            m = message(sock)
            print(m["type"], m.get("accept", ""), m.get("reason", ""))
            if rest:
                threading.Thread(target=send, args=(sock, rest), daemon=True).start()
                rest = b""
    except (EOFError, OSError):
        pass


def send(sock, data):
    try:
        sock.sendall(data)
    except OSError:
        pass


def chunks(data):
    """The chunks of a stream behind its preamble."""
    at = 16
    while at + 64 <= len(data):
        kind, length = struct.unpack_from("<4xH14xI", data, at)
        yield kind, data[at + 64:at + 64 + length]
        at += 64 + length + -length % 8


def flipped(text):
    return ("1" if text[0] == "0" else "0") + text[1:]


# What HELLO's images are turned into, and a BLOB's payload.
IMAGES = {
    "sha256": (lambda i: [dict(x, sha256=flipped(x["sha256"])) for x in i], None),
    "size": (lambda i: [dict(x, size=x["size"] + 1) for x in i], None),
    "name": (lambda i: [dict(x, name="console") for x in i], None),
    "twice": (lambda i: i + i, None),
    "bytes": (None, lambda b: b[:-1] + bytes([b[-1] ^ 1])),
    "gap": (None, lambda b: b[:256] + struct.pack("<Q", struct.unpack("<Q", b[256:264])[0] + 1)
            + b[264:]),
    "unwanted": (lambda i: [], None),
    "none": (None, lambda b: None),
}


def images(port, path, how):
    hello, blob = IMAGES[how]
    with open(path, "rb") as f:
        data = f.read()
    first, rest, sent = data[:16], b"", 0
    for kind, payload in chunks(data):
        if kind == CONTROL:
            m = json.loads(payload)
            if m["type"] == "HELLO":
                m["move"] = str(uuid.uuid4())
                m["generation"] += 5
                if hello:
                    m["images"] = hello(m["images"])
                payload = json.dumps(m).encode()
        if kind == BLOB and blob:
            payload = blob(payload)
        if payload is None:
            continue
        if kind in (CONTROL, CONFIG) and not rest:
            first += chunk(sent, kind, payload)
        else:
            rest += chunk(sent, kind, payload)
        sent += 1
    exchange(int(port), first, rest)


def idle(port, n, path):
    socks = []
    while not os.path.exists(path):
        if len(socks) < int(n):
            socks.append(socket.create_connection(("127.0.0.1", int(port)), timeout=30))
            if len(socks) == int(n):
                print("idle", flush=True)
        else:
            time.sleep(0.05)


def is_open(sock):
    sock.setblocking(False)
    try:
        return sock.recv(1) != b""
    except BlockingIOError:
        return True


def beside(port, vm, move, name, side, n):
    silent = [socket.create_connection(("127.0.0.1", int(port)), timeout=30) for _ in range(int(n))]
    state(port, vm, move, name, side)
    print(sum(is_open(s) for s in silent))


def fill(port, tree, vm, size, path, *counts):
    with open(tree, "rb") as f:
        config = f.read()
    sock = connect(int(port), 60)
    regions = [{"id": 0, "size": int(size), "populated": 0}]
    sock.sendall(control(0, type="HELLO", vm=vm, move=str(uuid.uuid4()), name="web", generation=0,
                         creator="peer.py", ask="127.0.0.1:1", page_size=PAGE, audit=False,
                         needs=[], regions=regions, extents=[]))
    sock.sendall(chunk(1, CONFIG, config))
    m = message(sock)
    print(m["type"], m["accept"], m.get("reason", ""), flush=True)
    while not os.path.exists(path):
        time.sleep(0.05)
    pages, sent, sequence = pages_chunk(), 0, 2
    for i, n in enumerate(counts):
        sent += int(n)
        try:
            for _ in range(int(n)):
                sock.sendall(chunk(sequence, PAGES, pages, encoding=1))
                sequence += 1
            sock.sendall(control(sequence, type="ROUND", round=i, chunk=sent))
            sequence += 1
        except OSError:
            pass      # what was answered is there to be read
        m = message(sock)
        print(m["type"], m.get("reason", ""), flush=True)


def resend():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        sock, _ = listener.accept()
    sock.settimeout(60)
    take(sock, 16)
    sock.sendall(PREAMBLE)
    assert message(sock)["type"] == "HELLO"
    sock.sendall(control(0, type="AGREE", accept=True, reason="", creator="peer.py", features=[]))
    while any_chunk(sock)[0] != PAGES:
        pass
    resent = 0
    try:
        while True:
            sock.sendall(control(1 + resent, type="RESEND", chunk=0))
            m = message(sock)
            while m["type"] == "ROUND":
                m = message(sock)
            if m["type"] != "RESENT":
                break
            resent += 1
        print(resent, m["type"], m["reason"])
    except (EOFError, OSError):
        print(resent, "closed")


{"query": query, "state": state, "go": go, "replay": replay, "images": images, "idle": idle,
 "beside": beside, "fill": fill,
 "resend": resend}[sys.argv[1]](*sys.argv[2:])
