"""A peer that speaks the protocol of a move from docs/protocol.md alone, as far as tests need it.

  peer.py query PORT VM NAME SECONDS   QUERYs about moves that never were, as fast as they go; prints how many were answered
  peer.py state PORT VM MOVE NAME FROM one QUERY; prints the state
  peer.py go PORT VM MOVE GENERATION   one GO; prints the type and, of an ANSWER, the state
  peer.py replay PORT FILE             what a source once sent, again; prints the types of the messages that come back, and reasons
  peer.py images PORT FILE HOW         the same as another move, with images that are not what HELLO says (IMAGES below); prints likewise
  peer.py idle PORT N FILE             N connections that say nothing, kept until FILE exists
"""
import json
import os
import socket
import struct
import sys
import threading
import time
import uuid

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "format"))
from xxh3 import xxh3_64  # noqa: E402

PREAMBLE = bytes.fromhex("89564D4D0D0A1A0A") + struct.pack("<HHI", 0, 0, 0)
CONFIG, BLOB, CONTROL = 1, 3, 16


def chunk(kind, payload):
    head = b"VMSc" + struct.pack("<HHHHIQQQ", kind, 1, 0, 0, 0, len(payload), xxh3_64(payload), 0)
    return head + struct.pack("<Q", xxh3_64(head)) + payload


def take(sock, n):
    data = b""
    while len(data) < n:
        more = sock.recv(n - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def message(sock):
    """The next control message."""
    while True:
        head = take(sock, 48)
        kind, _, _, _, _, length = struct.unpack("<HHHHIQ", head[4:24])
        payload = take(sock, length)
        if kind == CONTROL:
            return json.loads(payload)


def connect(port, timeout=30):
    sock = socket.create_connection(("127.0.0.1", port), timeout=timeout)
    sock.sendall(PREAMBLE)
    take(sock, 16)
    return sock


def ask(port, **m):
    with connect(port) as sock:
        sock.sendall(chunk(CONTROL, json.dumps(m).encode()))
        return message(sock)


def query(port, vm, name, seconds):
    end, n = time.monotonic() + float(seconds), 0
    while time.monotonic() < end:
        m = ask(int(port), type="QUERY", vm=vm, move=str(uuid.uuid4()), name=name, generation=0, **{"from": "target"})
        n += m["type"] == "ANSWER"
    print(n)


def state(port, vm, move, name, side):
    print(ask(int(port), type="QUERY", vm=vm, move=move, name=name, generation=0, **{"from": side})["state"])


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
    while at + 48 <= len(data):
        kind, _, _, _, _, length = struct.unpack("<HHHHIQ", data[at + 4:at + 24])
        yield kind, data[at + 48:at + 48 + length]
        at += 48 + length


def flipped(text):
    return ("1" if text[0] == "0" else "0") + text[1:]


# What HELLO's images are turned into, and a BLOB's payload.
IMAGES = {
    "sha256": (lambda i: [dict(x, sha256=flipped(x["sha256"])) for x in i], None),
    "size": (lambda i: [dict(x, size=x["size"] + 1) for x in i], None),
    "name": (lambda i: [dict(x, name="console") for x in i], None),
    "twice": (lambda i: i + i, None),
    "bytes": (None, lambda b: b[:-1] + bytes([b[-1] ^ 1])),
    "gap": (None, lambda b: b[:256] + struct.pack("<Q", struct.unpack("<Q", b[256:264])[0] + 1) + b[264:]),
    "unwanted": (lambda i: [], None),
    "none": (None, lambda b: None),
}


def images(port, path, how):
    hello, blob = IMAGES[how]
    with open(path, "rb") as f:
        data = f.read()
    first, rest = data[:16], b""
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
            first += chunk(kind, payload)
        else:
            rest += chunk(kind, payload)
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


{"query": query, "state": state, "go": go, "replay": replay, "images": images, "idle": idle}[sys.argv[1]](*sys.argv[2:])
