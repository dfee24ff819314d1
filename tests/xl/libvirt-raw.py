#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Clients of libvirt's protocol that no library would be: libvirt-raw.py TEST
runs the function of that name, which raises when the relay does not do what it
should."""

import os
import socket
import struct
import sys
import threading
import time

RUN = "/run/libvirt/"
RELAY, RELAY_RO = RUN + "virtxend-sock", RUN + "virtxend-sock-ro"
STOCK = RUN + "libvirt-sock"
REMOTE, KEEPALIVE = 0x20008086, 0x6b656570
CALL, REPLY, MESSAGE = 0, 1, 2
OPEN, CLOSE, HOSTNAME, VERSION, AUTH_LIST = 1, 2, 59, 4, 66
CPU_MODELS = 312
ERROR_DENIED, ERROR_RPC = 29, 39


def xdr(text):
    data = text if isinstance(text, bytes) else text.encode()
    return struct.pack(">I", len(data)) + data + bytes(-len(data) % 4)


def frame(proc, payload=b"", prog=REMOTE, kind=CALL, serial=1, vers=1):
    return struct.pack(">IIIiIII", 28 + len(payload), prog, vers, proc, kind,
                       serial, 0) + payload


class Client:
    def __init__(self, path=RELAY, uri="xen:///system", flags=0):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(path)
        self.serial = 0
        if uri is not None:
            self.ok(AUTH_LIST)
            self.ok(OPEN, b"\0\0\0\1" + xdr(uri) + struct.pack(">I", flags))

    def send(self, proc, payload=b"", **more):
        self.serial += 1
        self.sock.sendall(frame(proc, payload, serial=self.serial, **more))
        return self.serial

    def bytes(self, num):
        data = b""
        while len(data) < num:
            piece = self.sock.recv(num - len(data))
            if not piece:
                raise EOFError
            data += piece
        return data

    def receive(self):
        """(program, procedure, type, serial, status, payload)"""
        length, = struct.unpack(">I", self.bytes(4))
        rest = self.bytes(length - 4)
        prog, _, proc, kind, serial, status = struct.unpack(">IIiIII",
                                                            rest[:24])
        return prog, proc, kind, serial, status, rest[24:]

    def call(self, proc, payload=b""):
        """(error code or 0, payload or text)"""
        serial = self.send(proc, payload)
        prog, got, kind, answered, status, data = self.receive()
        assert (prog, got, kind, answered) == (REMOTE, proc, REPLY, serial)
        return error(data) if status else (0, data)

    def ok(self, proc, payload=b""):
        code, data = self.call(proc, payload)
        assert not code, (proc, code, data)
        return data

    def gone(self):
        """The relay has closed, without a reply."""
        try:
            return self.sock.recv(1) == b""
        except ConnectionResetError:
            return True


def error(data):
    code, _, has_text = struct.unpack(">iiI", data[:12])
    length, = struct.unpack(">I", data[12:16])
    return code, data[16:16 + length].decode() if has_text else ""


def models(arch="x86_64", need=1):
    return xdr(arch) + struct.pack(">iI", need, 0)


# ---- tests -------------------------------------------------------------------

def before_open():
    """Ours are libvirtd's to refuse as long as the connection is not open."""
    for sent in [], [AUTH_LIST]:
        ours, stock = Client(RELAY, uri=None), Client(STOCK, uri=None)
        for proc in sent:
            assert ours.call(proc) == stock.call(proc)
        for proc in CPU_MODELS, HOSTNAME:
            got = ours.call(proc, models()), stock.call(proc, models())
            assert got[0] == got[1] and got[0][0], got
    client = Client()
    assert client.ok(CPU_MODELS, models())
    # libvirtd hangs up after CLOSE, and the call behind it is not answered
    client.sock.sendall(frame(CLOSE, serial=50) +
                        frame(CPU_MODELS, models(), serial=51))
    assert client.receive()[3] == 50
    assert client.gone()


def other_driver():
    """A connection that is not Xen's is none of our business."""
    client = Client(uri="test:///default")
    stock = Client(STOCK, uri="test:///default")
    assert client.call(CPU_MODELS, models("i386")) == \
        stock.call(CPU_MODELS, models("i386"))


def pipelined_open():
    """Calls behind an OPEN get their answers, after it and in our name."""
    client = Client(uri=None)
    client.ok(AUTH_LIST)
    opening = frame(OPEN, b"\0\0\0\1" + xdr("xen:///system") + bytes(4),
                    serial=100)
    client.sock.sendall(opening + frame(HOSTNAME, serial=101) +
                        frame(CPU_MODELS, models(), serial=102) +
                        frame(HOSTNAME, serial=103))
    got = {}
    for _ in range(4):
        _, _, _, serial, status, _ = client.receive()
        got[serial] = status
    assert got == {100: 0, 101: 0, 102: 0, 103: 0}, got
    assert next(iter(got)) == 100


def read_only():
    """The socket decides, and so does the flag of OPEN."""
    for client in Client(RELAY_RO, flags=1), Client(RELAY, flags=1):
        assert client.ok(CPU_MODELS, models())
        code, text = client.call(CPU_MODELS, models("x" * 70000))
        assert code, text
    writer = Client(RELAY_RO, flags=0)      # says that it may write
    code, text = writer.call(12, xdr("test") + bytes(20))
    assert code, "DomainDestroy on the read-only socket"


def garbage():
    """Nonsense ends its own connection, or is answered by an error."""
    other = Client()
    for length in 0, 3, 4, 27, 0x2000005, 0x7fffffff, 0xffffffff:
        client = Client()
        client.sock.sendall(struct.pack(">I", length) + bytes(60))
        assert client.gone(), length
    client = Client()
    client.sock.sendall(struct.pack(">IIIiIII", 28 + 4, REMOTE, 1, 9, 4, 9, 0)
                        + struct.pack(">I", 33))
    assert client.gone()
    for payload in (b"", b"\0\0", struct.pack(">I", 0xffffffff),
                    struct.pack(">I", 6) + b"x86_64",
                    xdr(b"a\0b") + bytes(8)):
        code, text = other.call(CPU_MODELS, payload)
        assert code == ERROR_RPC, (code, text)
    code, text = other.call(CPU_MODELS, models("x" * (8 << 20)))
    assert code == ERROR_RPC and "too long" in text, (code, text)
    for prog, proc in (REMOTE, 9999), (0x12345678, 1), (REMOTE, -1):
        other.sock.sendall(frame(proc, prog=prog, serial=5))
        stock = Client(STOCK, uri="test:///default")
        stock.sock.sendall(frame(proc, prog=prog, serial=5))
        assert other.receive()[1:] == stock.receive()[1:], (prog, proc)
    assert other.ok(CPU_MODELS, models())


def many():
    """100 clients, 5 calls in flight each and all at once; one is slow."""
    slow = Client()
    slow.sock.sendall(frame(CPU_MODELS, models(), serial=7) * 45)
    clients = [Client() for _ in range(100)]
    begin = time.monotonic()
    for n, client in enumerate(clients):
        for i in range(5):
            ours = not i and n % 10 == 0
            client.sock.sendall(frame(CPU_MODELS if ours else HOSTNAME,
                                      models() if ours else b"",
                                      serial=i + 1))
    for client in clients:
        serials = sorted(client.receive()[3] for _ in range(5))
        assert serials == [1, 2, 3, 4, 5], serials
    assert time.monotonic() - begin < 60
    for _ in range(45):
        assert slow.receive()[3] == 7


def slow_reader():
    """It holds up nobody but itself, and costs bounded memory."""
    pid = int(sys.argv[2])
    slow, other = Client(), Client()
    slow.sock.settimeout(1)
    sent = 0
    try:
        for _ in range(1000):
            slow.sock.sendall((frame(CPU_MODELS, models(), serial=7) +
                               frame(HOSTNAME, serial=8) * 19))
            sent += 20
    except socket.timeout:
        pass
    assert sent < 20000, "it was never held back"
    assert other.ok(HOSTNAME)
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        rss = [line.split()[1] for line in f if line.startswith("VmRSS")]
    assert int(rss[0]) < 200 << 10, rss
    slow.sock.settimeout(30)
    for _ in range(100):
        slow.receive()


def keepalive():
    """Pings pass, with a call of ours in between."""
    client = Client()
    client.send(CPU_MODELS, models())
    client.sock.sendall(frame(1, prog=KEEPALIVE, kind=MESSAGE, serial=0))
    got = {client.receive()[:2] for _ in range(2)}
    assert got == {(KEEPALIVE, 2), (REMOTE, CPU_MODELS)}, got


def snapshot_denied():
    """Of the calls about snapshots the read-only socket has the questions."""
    uuid = bytes.fromhex(sys.argv[2].replace("-", ""))
    domain = xdr("web") + uuid + struct.pack(">i", -1)
    text = xdr("<domainsnapshot><name>evil</name></domainsnapshot>")
    client = Client(RELAY_RO)           # does not say that it only reads
    for proc, payload in ((185, domain + text), (192, xdr("one") + domain),
                          (193, xdr("one") + domain)):
        code, text = client.call(proc, payload + bytes(4))
        assert code == ERROR_DENIED, (proc, code, text)
    secure = xdr("one") + domain + struct.pack(">I", 1)
    assert client.call(186, secure)[0] == ERROR_DENIED
    assert client.ok(187, domain + bytes(4)) == struct.pack(">i", 1)
    code, _ = client.call(187, xdr("x") + b"\7" * 16 + bytes(8))
    assert code == 42, code             # there is no such domain


def block_denied():
    """The read-only socket has none of the calls that change a job."""
    uuid = bytes.fromhex(sys.argv[2].replace("-", ""))
    start = xdr("web") + uuid + struct.pack(">i", -1) + xdr("xvda")
    client = Client(RELAY_RO)
    for proc, payload in ((237, bytes(4)), (239, bytes(12)), (240, bytes(12)),
                          (266, bytes(16)), (290, bytes(20)),
                          (345, xdr("<disk/>") + bytes(8))):
        code, text = client.call(proc, start + payload)
        assert code == ERROR_DENIED, (proc, code, text)


def baseline_counts():
    """None, one, 256 and 257 processors."""
    cpu = xdr("<cpu><model>Haswell</model></cpu>")

    def baseline(num, payload):
        return client.call(394, bytes(16) + struct.pack(">I", num) + payload +
                           bytes(4))

    client = Client()
    assert baseline(0, b"")[0] == 8
    assert baseline(1, cpu)[0] == 0
    if os.environ.get("SLOW"):
        assert baseline(256, cpu * 256)[0] == 0
    assert baseline(257, cpu * 257)[0] == ERROR_RPC
    assert baseline(1, xdr("<cpu><model>"))[0] == 35
    assert baseline(1, xdr("<domain/>"))[0] == 27
    client = Client(RELAY_RO)
    assert baseline(1, cpu)[0] == ERROR_DENIED


def named(name):
    return xdr(name) + bytes.fromhex(sys.argv[2].replace("-", "")) + \
        struct.pack(">i", -1)


def job_guarded():
    """All ways to save a guest or to send it away."""
    client = Client()
    for proc, rest in ((55, xdr("/x")), (232, xdr("/x") + bytes(8)),
                       (440, bytes(8)), (182, bytes(4)), (213, bytes(24)),
                       (302, bytes(8)), (216, bytes(36)), (305, bytes(16))):
        code, text = client.call(proc, named("web") + rest)
        assert code == 55 and "active block job" in text, (proc, code, text)


def undefine_refused():
    client = Client()
    for proc, rest in (35, b""), (231, bytes(4)), (231, b"\0\0\0\1"):
        code, text = client.call(proc, named("web") + rest)
        assert code == 55 and "with 2 snapshots" in text, (proc, code, text)
    client = Client(RELAY_RO)
    assert client.call(231, named("web") + b"\0\0\0\2")[0] == ERROR_DENIED


def save_denied():
    """Files are opened only for clients that may do everything."""
    client = Client(RELAY_RO)
    assert client.call(235, xdr("/etc/shadow") + bytes(4))[0] == ERROR_DENIED
    assert client.call(236, xdr("/x") + xdr("<domain/>") +
                       bytes(4))[0] == ERROR_DENIED
    code, text = Client().call(235, xdr("etc/passwd") + bytes(4))
    assert code == 8 and "absolute" in text, (code, text)


def vanish():
    """Clients that go away in the middle of anything."""
    for cut in 0, 3, 20, 28, 40:
        client = Client()
        client.sock.sendall(frame(CPU_MODELS, models())[:cut])
        client.sock.close()
    for _ in range(8):
        client = Client()
        client.send(CPU_MODELS, models())
        client.sock.close()
    assert Client().ok(HOSTNAME)


def held():
    """Until libvirtd goes: then the client is told."""
    client = Client()
    open(sys.argv[2], "w", encoding="ascii").close()
    assert client.gone()


def stream():
    """Many threads on one connection at once, each reply to its call."""
    client = Client()
    count = 300
    kinds = {}

    def reader():
        for _ in range(count):
            _, proc, _, serial, status, _ = client.receive()
            assert not status
            kinds[serial] = proc

    thread = threading.Thread(target=reader)
    thread.start()
    first = client.serial
    for i in range(count):
        client.send(CPU_MODELS if i % 30 == 0 else VERSION,
                    models() if i % 30 == 0 else b"")
    thread.join()
    for i in range(count):
        assert kinds[first + 1 + i] == (CPU_MODELS if i % 30 == 0
                                        else VERSION)


if __name__ == "__main__":
    globals()[sys.argv[1]]()
    os.write(1, b"done\n")
