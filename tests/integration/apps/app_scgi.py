#!/usr/bin/python3
"""The SCGI twin of echo.c: does what its query string says (the list of actions is there).

The listening socket is fd 0, or is made from the argument ("unix:/path" or "host:port"). A thread a connection.
"""
import json
import os
import signal
import socket
import socketserver
import sys
import time
import zlib
from urllib.parse import parse_qs

CHUNK = 65536


def pattern(at, n):
    return bytes((i * 7 + i // 256) & 255 for i in range(at, at + n))


class Request:
    def __init__(self, sock):
        self.file = sock.makefile("rb")
        self.sock = sock
        length = b""
        while (byte := self.file.read(1)) != b":":
            if not byte.isdigit() or len(length) > 9:
                raise ValueError("no netstring")
            length += byte
        header = self.file.read(int(length))
        if len(header) != int(length) or self.file.read(1) != b",":
            raise ValueError("a short netstring, or no comma")
        parts = header.split(b"\0")
        if parts.pop() != b"" or len(parts) % 2:
            raise ValueError("no list of pairs")
        if parts[0] != b"CONTENT_LENGTH":
            raise ValueError("CONTENT_LENGTH is not first")
        names = [p.decode("latin-1") for p in parts[0::2]]
        values = [p.decode("latin-1") for p in parts[1::2]]
        if len(set(names)) != len(names):
            raise ValueError("a name twice: %r" % names)
        self.env = dict(zip(names, values))
        if self.env.get("SCGI") != "1":
            raise ValueError("not SCGI 1")
        self.left = int(self.env["CONTENT_LENGTH"])
        query = parse_qs(self.env.get("QUERY_STRING", ""), keep_blank_values=True, encoding="latin-1")
        self.query = {k: v[-1] for k, v in query.items()}

    def body(self):
        while self.left:
            piece = self.file.read(min(self.left, CHUNK))
            if not piece:
                raise ValueError("the body ended early")
            self.left -= len(piece)
            yield piece

    def out(self, data):
        self.sock.sendall(data if isinstance(data, bytes) else data.encode("latin-1"))


def head(request, content_type):
    q = request.query
    lines = []
    if "status" in q:
        lines.append("Status: " + q["status"])
    if "location" in q:
        lines.append("Location: " + q["location"])
    lines += ["Set-Cookie: app%d=v%d" % (i, i) for i in range(int(q.get("cookies", 0)))]
    if "header" in q:
        lines.append(q["header"])
    if "set" in q:
        lines.append("Weir-Session-Data: " + q["set"])
    if "incr" in q:
        lines.append("Weir-Session-Data: %d" % (int(request.env.get("SESSION_DATA") or 0) + 1))
    for key, name in (("ttl", "TTL"), ("renew", "Renew"), ("end", "End")):
        if key in q:
            lines.append("Weir-Session-%s: %s" % (name, q[key]))
    lines.append("Content-Type: " + content_type)
    eol = "\n" if q.get("eol") == "lf" else "\r\n"
    request.out(eol.join(lines + ["", ""]))


def report(request):
    length, crc = 0, 0
    for piece in request.body():
        crc = zlib.crc32(piece, crc)
        length += len(piece)
    request.out(json.dumps({"app": "scgi", "pid": os.getpid(), "length": length, "crc32": crc,
                            "env": request.env}) + "\n")


def answer(request):
    q = request.query
    if "stderr" in q:
        sys.stderr.write(q["stderr"] + "\n")
    if "sleep" in q:
        time.sleep(float(q["sleep"]))
    if "crash" in q:
        if q["crash"] == "after":
            request.out("Content-Type: text/plain\r\n\r\nhalf an ans")
        os.kill(os.getpid(), signal.SIGKILL)
    if "nobody" in q or request.env.get("REQUEST_METHOD") == "HEAD":
        head(request, "text/plain")
    elif "echo" in q:
        head(request, request.env.get("CONTENT_TYPE") or "application/octet-stream")
        for piece in request.body():
            request.out(piece)
    elif "bytes" in q:
        head(request, "application/octet-stream")
        total, step = int(q["bytes"]), int(q.get("chunk", CHUNK))
        for at in range(0, total, step):
            request.out(pattern(at, min(step, total - at)))
            time.sleep(float(q.get("pause", 0)))
    else:
        head(request, "application/json")
        report(request)
    # A body that nobody read would turn the close into a reset that eats the answer.
    for _ in request.body():
        pass


class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        try:
            answer(Request(self.request))
        except (ValueError, OSError) as error:
            sys.stderr.write("app_scgi: %s\n" % error)


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self, sock):
        super().__init__(("", 0), Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = sock


def listen(address):
    if address is None:
        return socket.socket(fileno=0)
    if address.startswith("unix:"):
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(address[5:])
    else:
        host, _, port = address.rpartition(":")
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, int(port)))
    sock.listen(128)
    return sock


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    Server(listen(sys.argv[1] if len(sys.argv) > 1 else None)).serve_forever()
