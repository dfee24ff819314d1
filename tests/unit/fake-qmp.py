#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
A peer that listens on a UNIX socket and plays QEMU's monitor by a script.

    fake-qmp.py SOCKET STEP...

It prints "ready" when it listens.  It leaves with 0 when the script was
followed to its end, and with 1 and a message when the client did something
else than the script expects.  Steps:

    accept            take the next client, dropping the one before
    greet             QEMU's greeting
    expect COMMAND    a request for that command must come, with an integer id
    gone              the client must close the connection, sending nothing
    return JSON       the answer to the request
    error CLASS DESC  the answer to the request: no
    event NAME        an event
    raw TEXT          TEXT as it is, with Python's escapes; %(id)d is the id
    repeat N TEXT     the same N times
    forever TEXT      until the client has had enough
    dribble TEXT      one byte at a time
    sleep SECONDS     do nothing
    close             close the connection, and listen no more

It is also a module: fake-agent.py builds on Peer.
"""
import json
import os
import socket
import sys
import time

GREETING = {'QMP': {'version': {'qemu': {'micro': 22, 'minor': 2, 'major': 7},
                                'package': ''}, 'capabilities': ['oob']}}
PATIENCE = 150                  # seconds; a test that takes longer has failed


class Unexpected(Exception):
    pass


class Peer:
    def __init__(self, path):
        self.path = path
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(1)
        self.listener.settimeout(PATIENCE)
        self.client = None
        self.pending = b''
        self.id = None
        print('ready', flush=True)

    def accept(self):
        if self.client:
            self.client.close()
        self.client, _ = self.listener.accept()
        self.client.settimeout(PATIENCE)
        self.pending = b''

    def line(self):
        """The next line, or None at the end of the connection."""
        while b'\n' not in self.pending:
            more = self.client.recv(65536)
            if not more:
                return None
            self.pending += more
        line, self.pending = self.pending.split(b'\n', 1)
        return line

    def send(self, data):
        self.client.sendall(data)

    def send_json(self, value):
        self.send(json.dumps(value).encode() + b'\r\n')


def unescape(text):
    return text.encode('latin-1').decode('unicode_escape').encode('latin-1')


class Script(Peer):
    def fill(self, text):
        return unescape(text.replace('%(id)d', str(self.id)))

    def do_accept(self, _):
        self.accept()

    def do_greet(self, _):
        self.send_json(GREETING)

    def do_expect(self, command):
        line = self.line()
        if line is None:
            raise Unexpected('the client left instead of: ' + command)
        request = json.loads(line)
        if request.get('execute') != command:
            raise Unexpected(f'{command} was expected, not {request}')
        if type(request.get('id')) is not int:
            raise Unexpected(f'the id must be an integer: {request}')
        self.id = request['id']

    def do_gone(self, _):
        try:
            line = self.line()
        except ConnectionResetError:    # it left without reading all
            return
        if line is not None or self.pending:
            raise Unexpected(f'the client sent {line or self.pending}')

    def do_return(self, value):
        self.send_json({'return': json.loads(value), 'id': self.id})

    def do_error(self, what):
        name, desc = what.split(' ', 1)
        self.send_json({'error': {'class': name, 'desc': desc},
                        'id': self.id})

    def do_event(self, name):
        self.send_json({'event': name, 'data': {},
                        'timestamp': {'seconds': 1, 'microseconds': 2}})

    def do_raw(self, text):
        self.send(self.fill(text))

    def do_repeat(self, what):
        count, text = what.split(' ', 1)
        piece = self.fill(text)
        block = piece * max(1, 65536 // len(piece))
        data = int(count) * len(piece)
        for _ in range(data // len(block)):
            self.send(block)
        self.send(block[:data % len(block)])

    def do_forever(self, text):
        block = self.fill(text) * 1000
        end = time.monotonic() + PATIENCE
        try:
            while time.monotonic() < end:
                self.send(block)
        except (BrokenPipeError, ConnectionResetError):
            return
        raise Unexpected('the client never had enough')

    def do_dribble(self, text):
        for byte in self.fill(text):
            self.send(bytes([byte]))
            time.sleep(0.0005)

    def do_sleep(self, seconds):
        time.sleep(float(seconds))

    def do_close(self, _):
        self.client.close()
        self.client = None
        self.listener.close()

    def step(self, text):
        verb, _, rest = text.partition(' ')
        getattr(self, 'do_' + verb)(rest)


def main(path, *steps):
    peer = Script(path)
    for step in steps:
        try:
            peer.step(step)
        except (Unexpected, OSError, ValueError) as e:
            print(f'fake-qmp.py: {step[:60]}: {e}', file=sys.stderr)
            return 1
    return 0


if __name__ == '__main__':
    code = main(*sys.argv[1:])
    sys.stdout.flush()
    os._exit(code)              # no traceback about a client that has gone
