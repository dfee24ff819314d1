#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
Tests of the fake peers themselves: a fake that accepts everything would make
every test pass.
"""
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))


class Fake:
    def __init__(self, program, *args):
        self.process = subprocess.Popen(
            [os.path.join(HERE, program), *args], stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == 'ready\n'

    def connect(self, path):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(10)
        s.connect(path)
        return s, s.makefile('rb')

    def end(self):
        _, err = self.process.communicate(timeout=20)
        return self.process.returncode, err

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()


def qmp(path, client, *steps):
    """What became of the fake when client(socket, file) was its client."""
    fake = Fake('fake-qmp.py', path, 'accept', *steps)
    sock, file = fake.connect(path)
    try:
        client(sock, file)
    finally:
        file.close()
        sock.close()
        code, err = fake.end()
        os.unlink(path)
    return code, err


def fake_qmp_follows_script(d):
    def client(sock, file):
        assert 'QMP' in json.loads(file.readline())
        sock.sendall(b'{"execute": "a", "id": 5}\n')
        assert json.loads(file.readline()) == {'return': [1], 'id': 5}
        sock.sendall(b'{"execute": "b", "id": 6}\n')
        assert json.loads(file.readline())['error']['desc'] == 'no luck'
        assert file.readline() == b'id 6\n'
        assert file.readline() == b'ababab\n'

    code, err = qmp(d + '/qmp', client, 'greet', 'expect a', 'return [1]',
                    'expect b', 'error GenericError no luck',
                    'raw id %(id)d\\n', 'repeat 3 ab', 'raw \\n', 'gone')
    assert code == 0, err


def fake_qmp_notices(d):
    wrong = (b'{"execute": "b", "id": 5}\n', b'{"execute": "a"}\n',
             b'{"execute": "a", "id": "5"}\n', b'{"execute": "a"\n', b'')
    for request in wrong:
        code, err = qmp(d + '/qmp', lambda s, f: s.sendall(request),
                        'expect a')
        assert code == 1 and 'expect a' in err, (request, code, err)
    code, err = qmp(d + '/qmp', lambda s, f: s.sendall(b'x\n'), 'gone')
    assert code == 1 and 'gone' in err, (code, err)


def fake_agent_keeps_state(d):
    def ask(command, **args):
        sock.sendall(json.dumps({'execute': command, 'arguments': args})
                     .encode() + b'\n')
        return json.loads(file.readline().lstrip(b'\xff'))

    fake = Fake('fake-agent.py', d + '/agent', d + '/log')
    try:
        sock, file = fake.connect(d + '/agent')
        sock.sendall(b'{"execute": "half\xff')
        assert ask('guest-sync-delimited', id=9) == {'return': 9}
        assert ask('guest-fsfreeze-status') == {'return': 'thawed'}
        assert ask('guest-fsfreeze-freeze') == {'return': 2}
        assert 'error' in ask('guest-reboot')
        file.close()
        sock.close()
        sock, file = fake.connect(d + '/agent')
        assert ask('guest-fsfreeze-status') == {'return': 'frozen'}
        assert ask('guest-fsfreeze-thaw') == {'return': 2}
        assert ask('guest-fsfreeze-thaw') == {'return': 0}
        file.close()
        sock.close()
    finally:
        fake.kill()
    with open(d + '/log') as log:
        assert log.read() == 'client\nfrozen\nclient\nthawed\nthawed\n'


def fake_xenstored_serves_xens_own_tools(d):
    if not shutil.which('xenstore-write'):
        return 'xenstore-utils is not installed'
    fake = Fake('fake-xenstored.py', d + '/xs', '/a/b=1', '/a/c=\\x41')
    env = dict(os.environ, XENSTORED_PATH=d + '/xs')

    def run(*args, code=0):
        p = subprocess.run(args, env=env, capture_output=True, text=True,
                           timeout=20)
        assert p.returncode == code, (args, p)
        return p.stdout

    try:
        assert run('xenstore-read', '/a/b', '/a/c') == '1\nA\n'
        run('xenstore-write', '/a/b', '2', '/x/y/z', '3')
        assert run('xenstore-read', '/a/b') == '2\n'
        assert run('xenstore-list', '/x') == 'y\n'
        run('xenstore-rm', '/x')
        run('xenstore-read', '/x/y/z', code=1)
        run('xenstore-chmod', '/a/b', 'n0', 'r5')
        assert '(n0,r5)' in run('xenstore-ls', '-p', '/a')
    finally:
        fake.kill()
    return None


TESTS = (fake_qmp_follows_script, fake_qmp_notices, fake_agent_keeps_state,
         fake_xenstored_serves_xens_own_tools)


def main():
    failed = 0
    print(f'1..{len(TESTS)}')
    for number, test in enumerate(TESTS, 1):
        with tempfile.TemporaryDirectory() as d:
            try:
                skip = test(d)
            except (AssertionError, OSError, ValueError) as e:
                failed += 1
                print(f'not ok {number} - {test.__name__}')
                print(f'# {type(e).__name__}: {e}')
            else:
                print(f'ok {number} - {test.__name__}'
                      + (f' # SKIP {skip}' if skip else ''))
    return failed != 0


if __name__ == '__main__':
    sys.exit(main())
