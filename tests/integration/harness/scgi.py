"""SCGI 1: the wire, and a client."""
import socket

from . import address, cgi, wait


def _bytes(text):
    return text if isinstance(text, bytes) else text.encode("latin-1")


def header(variables, length):
    """The netstring; CONTENT_LENGTH and SCGI are written as they must be."""
    items = [("CONTENT_LENGTH", str(length)), ("SCGI", "1")]
    items += [(k, v) for k, v in variables.items() if k not in ("CONTENT_LENGTH", "SCGI")]
    return netstring(b"".join(_bytes(k) + b"\0" + _bytes(v) + b"\0" for k, v in items))


def netstring(content):
    return b"%d:%s," % (len(content), content)


def parse(content):
    """The pairs of a header's content."""
    parts = content.split(b"\0")
    if parts.pop() != b"" or len(parts) % 2:
        raise ValueError("not a list of pairs: %r" % content[:200])
    text = [p.decode("latin-1") for p in parts]
    return list(zip(text[0::2], text[1::2]))


class Client:
    """One connection, one request."""

    def __init__(self, where, timeout=wait.BOUND):
        self.sock = address.connect(where, timeout)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def send(self, *pieces):
        self.sock.sendall(b"".join(pieces))

    def response(self):
        parts = []
        try:
            while piece := self.sock.recv(1 << 18):
                parts.append(piece)
        except ConnectionResetError:
            pass
        return cgi.Response(b"".join(parts), complete=bool(parts))

    def closed(self):
        try:
            while self.sock.recv(65536):
                pass
            return True
        except (ConnectionResetError, BrokenPipeError):
            return True
        except socket.timeout:
            return False

    def ask(self, variables, body=b""):
        self.send(header(variables, len(body)), body)
        return self.response()


def ask(where, variables, body=b"", timeout=wait.BOUND):
    with Client(where, timeout) as client:
        return client.ask(variables, body)
