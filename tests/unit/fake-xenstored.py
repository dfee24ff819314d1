#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
A small xenstored for tests: the tree, transactions, watches and permissions
of the real one, for any number of clients on a UNIX socket.

    XENSTORED_PATH=SOCKET ...   makes libxenstore use it
    fake-xenstored.py SOCKET [--conflicts N] [--die-on PATH] [NODE=VALUE...]

It prints "ready" when it listens, and runs until it is killed.  A VALUE may
have Python's escapes.

    --conflicts N   the first N commits fail as if another client had written
    --die-on PATH   end at once when that node is written
    --count PATH    reading that node tells how many requests have come before
"""
import argparse
import errno
import selectors
import socket
import struct

(CONTROL, DIRECTORY, READ, GET_PERMS, WATCH, UNWATCH, TRANSACTION_START,
 TRANSACTION_END, INTRODUCE, RELEASE, GET_DOMAIN_PATH, WRITE, MKDIR, RM,
 SET_PERMS, WATCH_EVENT, ERROR, IS_DOMAIN_INTRODUCED) = range(18)
HEADER = struct.Struct('=IIII')         # type, req_id, tx_id, length
PAYLOAD_MAX = 4096


class XsError(Exception):
    def __init__(self, code):
        super().__init__(errno.errorcode[code])


class Store:
    """A tree as one dict: path to value.  Parents are always there."""
    def __init__(self, other=None):
        self.nodes = dict(other.nodes) if other else {'/': b''}
        self.perms = dict(other.perms) if other else {'/': b'n0\0'}
        self.changed = []

    def make(self, path):
        while path not in self.nodes:
            self.nodes[path] = b''
            self.perms[path] = b'n0\0'
            path = parent(path)

    def write(self, path, value):
        self.make(path)
        self.nodes[path] = value
        self.changed.append(path)

    def mkdir(self, path):
        if path not in self.nodes:
            self.write(path, b'')

    def remove(self, path):
        if path not in self.nodes:
            if parent(path) in self.nodes:
                return                  # as the real one: no error
            raise XsError(errno.ENOENT)
        for p in [p for p in self.nodes if p == path or below(p, path)]:
            del self.nodes[p], self.perms[p]
        self.changed.append(path)

    def read(self, path):
        if path not in self.nodes:
            raise XsError(errno.ENOENT)
        return self.nodes[path]

    def list(self, path):
        self.read(path)
        return sorted(p.rsplit('/', 1)[1] for p in self.nodes
                      if p != '/' and parent(p) == path)


def parent(path):
    return path.rsplit('/', 1)[0] or '/'


def below(path, top):
    return path.startswith(top.rstrip('/') + '/')


class Client:
    def __init__(self, daemon, conn):
        self.daemon = daemon
        self.conn = conn
        self.pending = b''
        self.watches = []               # (path, token)
        self.transactions = {}          # id: (Store, generation)

    def receive(self):
        try:
            data = self.conn.recv(65536)
        except ConnectionResetError:
            data = b''
        if not data:
            return False
        self.pending += data
        while len(self.pending) >= HEADER.size:
            kind, req, tx, length = HEADER.unpack_from(self.pending)
            end = HEADER.size + length
            if length > PAYLOAD_MAX:
                return False
            if len(self.pending) < end:
                break
            payload = self.pending[HEADER.size:end]
            self.pending = self.pending[end:]
            self.daemon.requests += 1
            try:
                answer = self.handle(kind, tx, payload)
            except XsError as e:
                self.send(ERROR, req, tx, str(e).encode() + b'\0')
            else:
                self.send(kind, req, tx, answer)
            self.daemon.fire()
        return True

    def send(self, kind, req, tx, payload):
        try:
            self.conn.sendall(HEADER.pack(kind, req, tx, len(payload))
                              + payload)
        except OSError:
            pass                        # it has gone; recv will tell

    def store(self, tx):
        if not tx:
            return self.daemon.store
        if tx not in self.transactions:
            raise XsError(errno.ENOENT)
        return self.transactions[tx][0]

    def handle(self, kind, tx, payload):
        if kind == TRANSACTION_START:
            return self.begin()
        if kind == TRANSACTION_END:
            return self.end(tx, payload == b'T\0')
        if kind not in (DIRECTORY, READ, GET_PERMS, WATCH, UNWATCH, WRITE,
                        MKDIR, RM, SET_PERMS):
            raise XsError(errno.ENOSYS)

        path, _, rest = payload.partition(b'\0')
        path = path.decode()
        special = path in ('@introduceDomain', '@releaseDomain')
        if not path.startswith('/') and not (special and
                                             kind in (WATCH, UNWATCH)):
            raise XsError(errno.EINVAL)
        store = self.store(tx)
        if kind == DIRECTORY:
            return b''.join(n.encode() + b'\0' for n in store.list(path))
        if kind == READ and path == self.daemon.count:
            return b'%d' % (self.daemon.requests - 1)
        if kind == READ:
            return store.read(path)
        if kind == GET_PERMS:
            store.read(path)
            return store.perms[path]
        if kind == SET_PERMS:
            store.read(path)
            store.perms[path] = rest
        elif kind == WATCH:
            self.watch(path, rest.rstrip(b'\0').decode())
        elif kind == UNWATCH:
            self.unwatch(path, rest.rstrip(b'\0').decode())
        elif kind == WRITE:
            store.write(path, rest)
            self.daemon.written(path)
        elif kind == MKDIR:
            store.mkdir(path)
        elif kind == RM:
            store.remove(path)
        return b'OK\0'

    def begin(self):
        self.daemon.last_tx += 1
        self.transactions[self.daemon.last_tx] = (
            Store(self.daemon.store), self.daemon.generation)
        return b'%d\0' % self.daemon.last_tx

    def end(self, tx, commit):
        store = self.store(tx)
        generation = self.transactions.pop(tx)[1]
        if commit:
            self.daemon.commit(store, generation)
        return b'OK\0'

    def watch(self, path, token):
        if (path, token) in self.watches:
            raise XsError(errno.EEXIST)
        self.watches.append((path, token))
        self.event(path, token)

    def unwatch(self, path, token):
        if (path, token) not in self.watches:
            raise XsError(errno.ENOENT)
        self.watches.remove((path, token))

    def event(self, path, token):
        self.send(WATCH_EVENT, 0, 0, f'{path}\0{token}\0'.encode())


class Daemon:
    def __init__(self, options):
        self.store = Store()
        self.generation = 0
        self.last_tx = 0
        self.conflicts = options.conflicts
        self.die_on = options.die_on
        self.count = options.count
        self.requests = 0
        self.clients = []
        for node in options.nodes:
            path, _, value = node.partition('=')
            self.store.write(path, value.encode('latin-1')
                             .decode('unicode_escape').encode('latin-1'))
        self.store.changed = []

    def written(self, path):
        if path == self.die_on:
            raise SystemExit(0)

    def commit(self, store, generation):
        if self.conflicts:
            self.conflicts -= 1
            raise XsError(errno.EAGAIN)
        if generation != self.generation:
            raise XsError(errno.EAGAIN)
        self.store = store

    def fire(self):
        changed, self.store.changed = self.store.changed, []
        for path in changed:
            self.generation += 1
            for client in self.clients:
                for top, token in client.watches:
                    if path == top or below(path, top) or below(top, path):
                        client.event(path if path == top or below(path, top)
                                     else top, token)

    def run(self, path):
        selector = selectors.DefaultSelector()
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen(8)
        selector.register(listener, selectors.EVENT_READ)
        print('ready', flush=True)
        while True:
            for key, _ in selector.select():
                if key.fileobj is listener:
                    client = Client(self, listener.accept()[0])
                    self.clients.append(client)
                    selector.register(client.conn, selectors.EVENT_READ,
                                      client)
                elif not key.data.receive():
                    self.clients.remove(key.data)
                    selector.unregister(key.fileobj)
                    key.fileobj.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('socket')
    parser.add_argument('--conflicts', type=int, default=0)
    parser.add_argument('--die-on')
    parser.add_argument('--count')
    parser.add_argument('nodes', nargs='*')
    options = parser.parse_intermixed_args()
    Daemon(options).run(options.socket)


if __name__ == '__main__':
    main()
