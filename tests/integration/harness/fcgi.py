"""FastCGI 1.0, record by record: the wire, and a client that can also do what no good client does."""
import socket
import struct

from . import address, cgi, wait

BEGIN, ABORT, END, PARAMS, STDIN, STDOUT, STDERR, DATA, GET_VALUES, GET_VALUES_RESULT, UNKNOWN_TYPE = range(1, 12)
RESPONDER, AUTHORIZER, FILTER = 1, 2, 3
KEEP_CONN = 1
COMPLETE, CANT_MPX, OVERLOADED, UNKNOWN_ROLE = range(4)
CONTENT_MAX = 65535


def record(kind, request_id, content=b"", padding=0, version=1):
    return struct.pack(">BBHHBB", version, kind, request_id, len(content), padding, 0) + content + b"\0" * padding


def begin(request_id=1, role=RESPONDER, flags=KEEP_CONN):
    return record(BEGIN, request_id, struct.pack(">HB5x", role, flags))


def end(request_id=1, app_status=0, protocol_status=COMPLETE):
    return record(END, request_id, struct.pack(">IB3x", app_status, protocol_status))


def _length(n):
    return struct.pack(">B", n) if n < 128 else struct.pack(">I", n | 0x80000000)


def _bytes(text):
    return text if isinstance(text, bytes) else text.encode("latin-1")


def pairs(variables):
    out = []
    for name, value in variables.items():
        name, value = _bytes(name), _bytes(value)
        out.append(_length(len(name)) + _length(len(value)) + name + value)
    return b"".join(out)


def parse_pairs(data):
    """[(name, value)]; ValueError when data ends inside a pair."""
    out, at = [], 0
    while at < len(data):
        lengths = []
        for _ in range(2):
            if at >= len(data):
                raise ValueError("cut pair")
            n = data[at]
            if n & 0x80:
                if at + 4 > len(data):
                    raise ValueError("cut pair")
                n = struct.unpack(">I", data[at:at + 4])[0] & 0x7FFFFFFF
                at += 4
            else:
                at += 1
            lengths.append(n)
        name, value = data[at:at + lengths[0]], data[at + lengths[0]:at + sum(lengths)]
        at += sum(lengths)
        if at > len(data):
            raise ValueError("cut pair")
        out.append((name.decode("latin-1"), value.decode("latin-1")))
    return out


def stream(kind, request_id, data, size=CONTENT_MAX, final=True):
    """A stream as records of at most `size` bytes, and the empty one that ends it."""
    out = [record(kind, request_id, data[at:at + size]) for at in range(0, len(data), size)]
    return b"".join(out) + (record(kind, request_id) if final else b"")


def request(variables, body=b"", request_id=1, role=RESPONDER, flags=KEEP_CONN):
    """A whole request as bytes. An authorizer has no body (6.3)."""
    return (begin(request_id, role, flags) + stream(PARAMS, request_id, pairs(variables)) +
            (stream(STDIN, request_id, body) if role != AUTHORIZER else b""))


def read_exactly(sock, n):
    """n bytes; fewer only when the other side closed."""
    parts = []
    while n:
        piece = sock.recv(min(n, 1 << 18))
        if not piece:
            break
        parts.append(piece)
        n -= len(piece)
    return b"".join(parts)


def read_record(sock):
    """(type, id, content), or None when the other side closed."""
    try:
        header = read_exactly(sock, 8)
        if len(header) < 8:
            return None
        _, kind, request_id, length, padding, _ = struct.unpack(">BBHHBB", header)
        content = read_exactly(sock, length + padding)
    except (ConnectionResetError, BrokenPipeError):
        return None
    if len(content) < length + padding:
        return None
    return kind, request_id, content[:length]


class Client:
    """One connection to a FastCGI server. Answers are collected by request id."""

    def __init__(self, where, timeout=wait.BOUND):
        self.sock = address.connect(where, timeout)
        self.answers = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def reset(self):
        """Closes with a RST instead of a FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def send(self, *pieces):
        self.sock.sendall(b"".join(pieces))

    def read_record(self):
        return read_record(self.sock)

    def closed(self):
        """Whether the server closed the connection (waits for it up to the time-out); what still comes is dropped."""
        try:
            while True:
                if not self.sock.recv(65536):
                    return True
        except (ConnectionResetError, BrokenPipeError):
            return True
        except socket.timeout:
            return False

    def response(self, request_id=1):
        """The answer to a request that was sent. Records of other requests are kept for their own call."""
        while True:
            got = self.answers.setdefault(request_id, {"out": [], "err": [], "end": None})
            if got["end"] is not None:
                del self.answers[request_id]
                app_status, protocol_status = got["end"]
                return cgi.Response(b"".join(got["out"]), b"".join(got["err"]), True, app_status, protocol_status)
            if not self._take():
                del self.answers[request_id]
                return cgi.Response(b"".join(got["out"]), b"".join(got["err"]), False)

    def wait_output(self, request_id, size):
        """At least `size` bytes of STDOUT of a request that goes on."""
        got = self.answers.setdefault(request_id, {"out": [], "err": [], "end": None})
        while sum(map(len, got["out"])) < size:
            if not self._take():
                raise AssertionError("closed after %r" % b"".join(got["out"])[:200])
        return b"".join(got["out"])

    def _take(self):
        rec = self.read_record()
        if rec is None:
            return False
        kind, request_id, content = rec
        got = self.answers.setdefault(request_id, {"out": [], "err": [], "end": None})
        if kind == STDOUT:
            got["out"].append(content)
        elif kind == STDERR:
            got["err"].append(content)
        elif kind == END:
            app_status, protocol_status = struct.unpack(">IB3x", content)
            got["end"] = app_status, protocol_status
        return True

    def start(self, variables, body=b"", request_id=1, role=RESPONDER, flags=KEEP_CONN):
        self.send(request(variables, body, request_id, role, flags))

    def ask(self, variables, body=b"", request_id=1, role=RESPONDER, flags=KEEP_CONN):
        self.start(variables, body, request_id, role, flags)
        return self.response(request_id)
