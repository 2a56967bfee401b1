#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A QMP client written from docs/control.md alone; each scenario prints what it saw and exits
non-zero when it was not as written."""
import json, socket, sys, time


class Client:
    def __init__(self, path):
        self.s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.s.settimeout(30)
        self.s.connect(path)
        self.buf = b''

    def line(self):
        while b'\n' not in self.buf:
            got = self.s.recv(65536)
            if not got:
                return None
            self.buf += got
        line, self.buf = self.buf.split(b'\n', 1)
        return json.loads(line)

    def send(self, text):
        self.s.sendall(text if isinstance(text, bytes) else text.encode())

    def answer(self):
        while True:
            m = self.line()
            if m is None or 'event' not in m:
                return m

    def do(self, command, **args):
        m = {'execute': command}
        if args:
            m['arguments'] = args
        self.send(json.dumps(m))
        return self.answer()

    def negotiated(self):
        assert 'QMP' in self.line()
        assert self.do('qmp_capabilities') == {'return': {}}
        return self


def session(path):
    c = Client(path)
    greeting = c.line()
    assert set(greeting['QMP']) == {'version', 'capabilities'}, greeting
    assert set(greeting['QMP']['version']['qemu']) == {'major', 'minor', 'micro'}
    assert c.do('query-status')['error']['class'] == 'CommandNotFound'
    assert c.do('qmp_capabilities') == {'return': {}}
    assert c.do('qmp_capabilities')['error']['class'] == 'CommandNotFound'
    c.send('{"execute": "query-name", "id": [1, {"x": null}]}')
    assert c.answer() == {'return': {'name': 'a'}, 'id': [1, {'x': None}]}
    c.send('{"execute": "query-name",\n\n "id": 1}{"execute": "query-name", "id": 2}\r\n')
    assert c.answer()['id'] == 1 and c.answer()['id'] == 2
    c.send('{"execute": "quit"\xff{"execute": "query-name", "id": 3}'.encode('latin-1'))
    assert c.answer()['id'] == 3
    c.send('}\n')
    assert c.answer()['error']['class'] == 'GenericError'
    assert c.do('no-such')['error']['class'] == 'CommandNotFound'
    assert "'zzz' is unexpected" in c.do('stop', zzz=1)['error']['desc']
    assert "'kind' is missing" in c.do('vmferry-lease', holder='x')['error']['desc']
    assert "'own', expected: boolean" in c.do('vmferry-resolve', own=1)['error']['desc']
    assert "'kernel', expected: string" in c.do('vmferry-set-boot', kernel=1)['error']['desc']
    assert 'missing kernel, initrd or append' in c.do('vmferry-set-boot')['error']['desc']
    assert c.do('query-status')['return']['vmferry-boot'] == {'missing': [], 'reset-pending': False}
    assert c.do('vmferry-inspect', path='none')['error']['class'] == 'DeviceNotFound'
    assert {'name': 'stop'} in c.do('query-commands')['return']
    schema = c.do('query-qmp-schema')['return']
    names = {e['name'] for e in schema}
    assert {'BLOCK_IO_ERROR', 'VMFERRY_RESET_PENDING', 'vmferry-set-boot'} <= names
    for e in schema:
        for ref in ('arg-type', 'ret-type', 'element-type'):
            assert e.get(ref, 'str') in names, e
        for m in e.get('members', []):
            assert m['type'] in names, e
    for q in ('query-version', 'query-uuid', 'query-cpus-fast', 'query-block',
              'query-memory-size-summary', 'query-status'):
        assert 'return' in c.do(q), q
    assert c.do('query-memory-size-summary')['return']['base-memory'] == 64 << 20
    assert c.do('query-cpus-fast')['return'][0]['thread-id'] > 0


def events(path):
    a, b, mute = Client(path).negotiated(), Client(path).negotiated(), Client(path)
    a.send('{"execute": "stop", "id": 1}')
    seen = [a.line(), a.line()]
    assert [m.get('event') for m in seen] == ['STOP', None], seen
    assert b.line()['event'] == 'STOP'
    assert 'QMP' in mute.line()
    a.do('cont')
    e = b.line()
    assert e['event'] == 'RESUME' and set(e['timestamp']) == {'seconds', 'microseconds'}
    a.do('system_reset')
    e = b.line()
    assert e['event'] == 'RESET' and e['data'] == {'guest': False,
                                                   'reason': 'host-qmp-system-reset'}, e
    mute.send('{"execute": "qmp_capabilities"}')
    assert mute.line() == {'return': {}}, 'no event before negotiation'


def long(path):
    c = Client(path).negotiated()
    c.send('{"execute": "query-name", "id": "' + 'x' * ((1 << 20) - 100) + '"}')
    assert 'return' in c.answer()
    c = Client(path).negotiated()
    try:
        c.send('{"execute": "' + 'x' * (1 << 21))
    except (BrokenPipeError, ConnectionResetError):
        pass
    try:
        m = c.answer()
        assert m['error']['class'] == 'GenericError', m
        assert c.answer() is None
    except ConnectionResetError:
        pass
    c = Client(path).negotiated()
    c.send('{"a":' * 65)
    assert 'nested' in c.answer()['error']['desc'] and c.answer() is None


def slow(path):
    """Never reads; asks until it is dropped, which must come, while another is served."""
    c, other = Client(path).negotiated(), Client(path).negotiated()
    c.s.setblocking(False)
    end = time.monotonic() + 60
    ask, sent = b'{"execute": "query-qmp-schema"}' * 50, b''
    while True:
        assert time.monotonic() < end, 'never dropped'
        try:
            sent = sent or ask
            sent = sent[c.s.send(sent):]
        except BlockingIOError:
            assert 'return' in other.do('query-status')
        except (BrokenPipeError, ConnectionResetError):
            break
    assert 'return' in other.do('query-status')


def many(path):
    cs = [Client(path).negotiated() for _ in range(32)]
    assert Client(path).line() is None
    cs.pop().s.close()
    end = time.monotonic() + 20
    while time.monotonic() < end:
        c = Client(path)
        if c.line():
            return
    assert False, 'no place after one has gone'


def half(path):
    """Closes its sending side like a shell's pipe: still gets every answer."""
    c = Client(path)
    c.send('{"execute": "qmp_capabilities"}{"execute": "query-name"}')
    c.s.shutdown(socket.SHUT_WR)
    assert 'QMP' in c.line() and c.line() == {'return': {}}
    assert c.line() == {'return': {'name': 'a'}} and c.line() is None


def spoilt(path):
    """A request spoilt by a control character, and a bare word: an error each, and the next request
    is answered."""
    c = Client(path)
    assert 'QMP' in c.line()
    c.do('qmp_capabilities')
    for text in ('{"execute": "stop\n', '{"execute": "stop\\\n', '{"execute": "st\top"\n',
                 '{"execute": "stop\x1f\n', '{"execute": \x01\n', 'nonsense\n', 'nonsense',
                 'nonsense\t', '"stop"', ',', '\x1b', '\0'):
        c.send(text + '{"execute": "query-name", "id": 1}')
        first, second = c.answer(), c.answer()
        assert first['error']['class'] == 'GenericError' and 'id' not in first, (text, first)
        assert second == {'return': {'name': 'a'}, 'id': 1}, (text, second)
    c.send('{"execute": "query-name", "id": "a\\u0001\\n"}')
    assert c.answer()['id'] == 'a\x01\n'
    assert c.do('query-status')['return']['running']


def foreign(path):
    """As nobody, on a socket that was opened to all."""
    import os
    os.setgid(65534)
    os.setuid(65534)
    c = Client(path)
    try:
        assert c.line() is None
    except ConnectionResetError:
        pass


def garbage(path, seed):
    """Random packets on a lease's channel, many leases: the VM must survive, whatever is
    answered."""
    import array, os, random, struct
    r = random.Random(int(seed))
    print('seed', seed)
    for turn in range(40):
        c = Client(path).negotiated()
        c.send(json.dumps({'execute': 'vmferry-lease',
                           'arguments': {'kind': r.choice(['read', 'log']), 'holder': 'garbage'}}))
        data, fds, _, _ = socket.recv_fds(c.s, 65536, 4)
        if not fds:
            continue
        ch = socket.socket(fileno=fds[0])
        ch.settimeout(10)
        for _ in range(30):
            verb = r.choice([0, 1, 1000, r.randrange(2 ** 32), 23]
                            + [v for v in range(2, 20) if v not in (14, 10)])
            a = [r.choice([0, 1, 1, 2, 99, 100, 4096, 2 ** 63, 2 ** 64 - 1, r.randrange(2 ** 64)])
                 for _ in range(6)]
            m = struct.pack('<4I6Q16s256s', verb, r.randrange(2 ** 32), 0, 0, *a, r.randbytes(16),
                            r.randbytes(256))
            if r.random() < 0.02:
                m = m[:r.randrange(len(m))]
            try:
                if r.random() < 0.1:
                    socket.send_fds(ch, [m], [0] * r.choice([1, 2, 3]))
                else:
                    ch.send(m)
                if r.random() < 0.9:
                    _, got, _, _ = socket.recv_fds(ch, 4096, 8)
                    for fd in got:
                        os.close(fd)
            except (BrokenPipeError, ConnectionResetError, TimeoutError):
                break
        ch.close()


globals()[sys.argv[1]](*sys.argv[2:])
print(sys.argv[1], 'as written')
