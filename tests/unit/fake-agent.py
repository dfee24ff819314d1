#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
A guest agent for tests, behind a UNIX socket as QEMU offers it: one client at
a time, and the agent's state outlives its clients.

    fake-agent.py SOCKET LOG [FAULT]

It prints "ready" when it listens, appends a line to LOG for each thing it
does, and runs until it is killed.  FAULT is one of

    silent          never answers anything
    refuse          freezing is not allowed
    fail            freezing fails
    die             ends when it has frozen
    drop            drops the connection when it has frozen, once
    hang            freezes and never says a word again to that client, nor
                    does anything for it
    slow            takes 12 seconds to freeze
    thaws           thaws by itself after freezing
    vss             the same, and then says so when told to thaw
    stuck           cannot thaw
    noise           has old answers in the stream before every sync
    huge            answers with an object without end
    flood           when told to thaw it does, and then talks without end
    liar            answers freeze with something other than a number
"""
import importlib.util
import json
import os
import sys
import time

spec = importlib.util.spec_from_file_location(
    'fake_qmp', os.path.join(os.path.dirname(os.path.abspath(__file__)),
                             'fake-qmp.py'))
fake_qmp = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fake_qmp)


class Refused(Exception):
    pass


class Agent(fake_qmp.Peer):
    def __init__(self, path, log, fault):
        self.log = open(log, 'a', buffering=1)
        self.fault = fault
        self.frozen = False
        super().__init__(path)

    def note(self, text):
        self.log.write(text + '\n')

    def freeze(self):
        if self.fault == 'refuse':
            raise Refused('Command guest-fsfreeze-freeze has been disabled')
        if self.fault == 'fail':
            raise Refused('failed to freeze /: Input/output error')
        if self.fault == 'slow':
            time.sleep(12)
        self.frozen = True
        self.note('frozen')
        if self.fault == 'die':
            self.client.close()
            os._exit(0)
        if self.fault == 'drop':
            self.fault = None
            self.client.close()
            raise ConnectionResetError
        if self.fault == 'hang':
            while self.line() is not None:
                pass
            raise ConnectionResetError
        if self.fault in ('thaws', 'vss'):
            self.frozen = False
            self.note('thawed by itself')
        if self.fault == 'huge':
            while True:
                self.send(b'{"return": "' + b'x' * 65536)
        return 'two' if self.fault == 'liar' else 2

    def thaw(self):
        if self.fault == 'stuck':
            raise Refused('failed to thaw /')
        if self.fault == 'vss' and not self.frozen:
            raise Refused('fsfreeze is limited up to 10 seconds')
        count = 2 if self.frozen else 0
        self.frozen = False
        self.note('thawed')
        if self.fault == 'flood':
            try:
                while True:
                    self.send(b'x' * 65536)
            except OSError:
                self.note('hung up')
                raise
        return count

    def handle(self, request):
        command = request['execute']
        if command == 'guest-sync-delimited':
            if self.fault == 'noise':
                # as a terminal that echoed a request before the agent came
                self.send(b'\xff' + json.dumps(request).encode() + b'\n')
                self.send(b'{"return": 7}\n{"ret\xff{"return": 8}\n')
                self.send(b'\xff{"error": {"desc": "of another"}}\n')
            self.send(b'\xff')
            return request['arguments']['id']
        if command == 'guest-fsfreeze-freeze':
            return self.freeze()
        if command == 'guest-fsfreeze-thaw':
            return self.thaw()
        if command == 'guest-fsfreeze-status':
            return 'frozen' if self.frozen else 'thawed'
        raise Refused(f'The command {command} has not been found')

    def serve(self):
        while (line := self.line()) is not None:
            # 0xff flushes what came before, as in the real one
            line = line.rsplit(b'\xff', 1)[-1].strip()
            if not line or self.fault == 'silent':
                continue
            try:
                self.send_json({'return': self.handle(json.loads(line))})
            except Refused as e:
                self.send_json({'error': {'class': 'GenericError',
                                          'desc': str(e)}})

    def run(self):
        while True:
            self.accept()
            self.client.settimeout(None)
            self.note('client')
            try:
                self.serve()
            except OSError:
                pass


def main(path, log, fault=None):
    agent = Agent(path, log, fault)
    agent.listener.settimeout(None)
    agent.run()


if __name__ == '__main__':
    main(*sys.argv[1:])
