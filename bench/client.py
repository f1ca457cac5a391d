"""A web server's side of FastCGI, for what the bench asks weir itself: one request at a time, no load."""

import struct

from processes import Failed, connect


def record(kind, content=b""):
    return struct.pack(">BBHHBx", 1, kind, 1, len(content), 0) + content


def pair(name, value):
    return bytes([len(name)]) + struct.pack(">I", len(value) | 1 << 31) + name.encode() + value.encode()


def request(**more):
    names = {"REQUEST_METHOD": "GET", "REQUEST_URI": "/", "SCRIPT_NAME": "/", "SERVER_PROTOCOL": "HTTP/1.1"}
    params = b"".join(pair(n, v) for n, v in {**names, **more}.items())
    keep = b"\x00\x01\x01" + bytes(5)
    return record(1, keep) + record(4, params) + record(4) + record(5)


def read_answer(connection):
    """One whole answer: records up to END_REQUEST; returns what came on STDOUT."""
    stream = connection.makefile("rb")
    text = b""
    while True:
        header = stream.read(8)
        if len(header) < 8:
            raise Failed("weir closed a connection instead of answering")
        _, kind, _, length, padding = struct.unpack(">BBHHBx", header)
        content = stream.read(length + padding)
        if kind == 6:
            text += content[:length]
        if kind == 3:
            return text


def ask(where, **more):
    """The answer's head, its names in lower case, and its body."""
    with connect(where) as connection:
        connection.sendall(request(**more))
        head, _, body = read_answer(connection).decode("latin-1").partition("\r\n\r\n")
    pairs = (line.partition(":") for line in head.split("\r\n"))
    return {name.lower(): value.strip() for name, _, value in pairs}, body
