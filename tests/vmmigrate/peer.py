"""A peer that speaks the protocol of a move from docs/protocol.md alone, as far as tests need it.

  peer.py query PORT VM NAME SECONDS   QUERYs about moves that never were, as fast as they go; prints how many were answered
  peer.py state PORT VM MOVE NAME FROM one QUERY; prints the state
  peer.py go PORT VM MOVE GENERATION   one GO; prints the type and, of an ANSWER, the state
  peer.py replay PORT FILE             what a source once sent, again; prints the types of the messages that come back, and reasons
  peer.py idle PORT N FILE             N connections that say nothing, kept until FILE exists
"""
import json
import os
import socket
import struct
import sys
import time
import uuid

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "format"))
from xxh3 import xxh3_64  # noqa: E402

PREAMBLE = bytes.fromhex("89564D4D0D0A1A0A") + struct.pack("<HHI", 0, 0, 0)
CONTROL = 16


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
        data = f.read()
    sock = socket.create_connection(("127.0.0.1", int(port)), timeout=60)
    try:
        sock.sendall(data)
    except OSError:
        pass
    try:
        take(sock, 16)
        while True:
            m = message(sock)
            print(m["type"], m.get("accept", ""), m.get("reason", ""))
    except (EOFError, OSError):
        pass


def idle(port, n, path):
    socks = []
    while not os.path.exists(path):
        if len(socks) < int(n):
            socks.append(socket.create_connection(("127.0.0.1", int(port)), timeout=30))
            if len(socks) == int(n):
                print("idle", flush=True)
        else:
            time.sleep(0.05)


{"query": query, "state": state, "go": go, "replay": replay, "idle": idle}[sys.argv[1]](*sys.argv[2:])
