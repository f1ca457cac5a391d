#!/usr/bin/env python3
"""The visit counter as an SCGI server, in a managed session of weir. Python's standard library only.

    counter_scgi.py --listen unix:/run/counter.sock | --listen 127.0.0.1:4000

Each connection carries one request: a netstring of NUL-ended names and values, then CONTENT_LENGTH bytes of body."""

import argparse
import html
import os
import socketserver
import urllib.parse

HEADER_MAX = 1024 * 1024 * 2  # bytes; the session state is in there


class Malformed(Exception):
    pass


def read_variables(stream):
    digits = b""
    while not digits.endswith(b":"):
        byte = stream.read(1)
        if not (byte.isdigit() or (byte == b":" and digits)) or len(digits) > 8:
            raise Malformed("the request does not start with the length of its header")
        digits += byte
    length = int(digits[:-1])
    if length > HEADER_MAX:
        raise Malformed("the header is too long")
    header = stream.read(length)
    if len(header) != length or stream.read(1) != b",":
        raise Malformed("the header is cut short")
    words = header.decode("utf-8", "surrogateescape").split("\0")[:-1]
    if len(words) % 2:
        raise Malformed("a name without a value")
    return dict(zip(words[::2], words[1::2]))


def answer(variables):
    """The whole CGI response to one request: the application itself."""
    session = dict(urllib.parse.parse_qsl(variables.get("SESSION_DATA", "")))
    if variables.get("QUERY_STRING") == "end":
        return "Weir-Session-End: 1\r\nContent-Type: text/plain\r\n\r\nThe session has ended.\n"
    session["visits"] = int(session.get("visits", 0)) + 1
    state = html.escape(variables.get("SESSION_STATE", "nothing: is weir in front?"))
    return (
        f"Weir-Session-Data: {urllib.parse.urlencode(session)}\r\n"
        "Content-Type: text/html; charset=utf-8\r\n"
        "Cache-Control: no-store\r\n"
        "\r\n"
        "<!doctype html><html lang=en><meta charset=utf-8><title>Counter (SCGI)</title>"
        "<link rel=icon href='data:,'>"
        f"<h1>Visit {session['visits']}</h1><p>The session came as <code>{state}</code>.</p>"
        "<p><a href='?'>Again</a> <a href='?end'>End the session</a></p></html>\n"
    )


class Handler(socketserver.StreamRequestHandler):
    timeout = 30  # seconds of silence in a request

    def handle(self):
        try:
            variables = read_variables(self.rfile)
        except (Malformed, OSError) as error:
            print(f"counter_scgi: {error}", flush=True)
            return
        self.rfile.read(min(int(variables.get("CONTENT_LENGTH") or 0), 65536))
        self.wfile.write(answer(variables).encode("utf-8", "surrogateescape"))


class TcpServer(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128


class UnixServer(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 128


def open_server(where):
    if where.startswith("unix:"):
        path = where[len("unix:") :]
        if os.path.exists(path):
            os.unlink(path)
        return UnixServer(path, Handler)
    host, _, port = where.rpartition(":")
    return TcpServer((host, int(port)), Handler)


def main():
    options = argparse.ArgumentParser(description="A visit counter over SCGI, for weir.")
    options.add_argument("--listen", default="127.0.0.1:4000", metavar="unix:/path|host:port")
    with open_server(options.parse_args().listen) as server:
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            pass


if __name__ == "__main__":
    main()
