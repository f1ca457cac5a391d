"""Redis's protocol, byte by byte: what a client says and what a server answers (RESP2 and RESP3). A client that can
also do what no good client does."""
import socket

from . import address, wait


def command(*words):
    """As clients send it: an array of bulk strings."""
    parts = [w if isinstance(w, bytes) else str(w).encode("latin-1") for w in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts)


class Error:
    """An error that was answered; handed out, not raised."""

    def __init__(self, text):
        self.text = text
        self.code = text.split(" ")[0]

    def __repr__(self):
        return "<Error %s>" % self.text


class Status(str):
    """+OK and the like."""


class Push(list):
    """What comes without being asked for."""


class Closed(AssertionError):
    """The server closed the connection where a reply was expected."""


class Client:
    """One connection. Replies: Status, bytes, int, None, float, bool, list, dict, set, Error, Push."""

    def __init__(self, where, password=None, timeout=wait.BOUND):
        self.sock = address.connect(where, timeout)
        self._in = bytearray()
        if password is not None and self.ask("AUTH", password) != "OK":
            raise AssertionError("the password is not taken")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data)

    def say(self, *words):
        self.send(command(*words))

    def ask(self, *words):
        self.say(*words)
        return self.reply()

    def inline(self, line):
        self.send(line.encode("latin-1") + b"\r\n")
        return self.reply()

    def _more(self):
        piece = self.sock.recv(1 << 18)
        if not piece:
            raise Closed("closed; before that: %r" % bytes(self._in[-200:]))
        self._in += piece

    def _line(self):
        while (at := self._in.find(b"\r\n")) < 0:
            self._more()
        line = bytes(self._in[:at])
        del self._in[:at + 2]
        return line

    def _bulk(self, length):
        while len(self._in) < length + 2:
            self._more()
        data = bytes(self._in[:length])
        if self._in[length:length + 2] != b"\r\n":
            raise AssertionError("a bulk string without its end: %r" % data[:100])
        del self._in[:length + 2]
        return data

    def reply(self):
        line = self._line()
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return Status(rest.decode("latin-1"))
        if kind == b"-":
            return Error(rest.decode("latin-1"))
        if kind == b":":
            return int(rest)
        if kind in b"$=":
            return None if rest == b"-1" else self._bulk(int(rest))
        if kind == b"_":
            return None
        if kind == b"#":
            return rest == b"t"
        if kind == b",":
            return float(rest)
        if kind == b"(":
            return int(rest)
        if kind in b"*>~":
            if rest == b"-1":
                return None
            items = [self.reply() for _ in range(int(rest))]
            return Push(items) if kind == b">" else items
        if kind == b"%":
            return {_key(self.reply()): self.reply() for _ in range(int(rest))}
        raise AssertionError("not a reply: %r" % line[:200])

    def replies(self, count):
        return [self.reply() for _ in range(count)]

    def closed(self):
        """Whether the server closes the connection, and says nothing more (waits for it)."""
        if self._in:
            return False
        try:
            return self.sock.recv(1) == b""
        except (ConnectionResetError, BrokenPipeError):
            return True
        except socket.timeout:
            return False

    def silent(self):
        """Whether nothing is there to be read at this moment."""
        if self._in:
            return False
        self.sock.setblocking(False)
        try:
            return self.sock.recv(1, socket.MSG_PEEK) is None
        except BlockingIOError:
            return True
        finally:
            self.sock.settimeout(wait.BOUND)


def _key(value):
    return value.decode("latin-1") if isinstance(value, bytes) else value
