"""A scripted application server: the test says, request by request, what it does. Threads, no mercy.

    backend = Backend(scope, handler)            # FastCGI; protocol="scgi" for the other
    def handler(x): x.answer(b"hello")           # x: an Exchange

A handler that needs to stop and think waits for an Event of the test; Backend.close() ends everything.
"""
import socket
import struct
import threading

from . import address, fcgi, scgi, wait


class Gone(Exception):
    """The gateway closed the connection (or asked to abort)."""


class Exchange:
    """One request on one connection."""

    def __init__(self, connection, request_id, variables, flags=0, role=1):
        self.connection, self.id, self.flags, self.role = connection, request_id, flags, role
        self.pairs = variables
        self.params = dict(variables)
        self.body = b""
        self.data = b""  # the DATA stream of a filter

    # What it says.

    def out(self, data):
        data = data if isinstance(data, bytes) else data.encode("latin-1")
        if self.connection.backend.protocol == "scgi":
            self.raw(data)
        else:
            self.raw(fcgi.stream(fcgi.STDOUT, self.id, data, final=False))

    def err(self, data):
        self.raw(fcgi.stream(fcgi.STDERR, self.id, data, final=False))

    def end(self, app_status=0, protocol_status=0):
        if self.connection.backend.protocol == "scgi":
            self.close()
        else:
            self.raw(fcgi.record(fcgi.STDOUT, self.id) + fcgi.end(self.id, app_status, protocol_status))

    def answer(self, body=b"ok", status=None, headers=()):
        body = body if isinstance(body, bytes) else body.encode("latin-1")
        head = ["Status: %s" % status] if status else []
        head += ["%s: %s" % pair for pair in headers] + ["Content-Type: text/plain", "", ""]
        self.out("\r\n".join(head).encode("latin-1") + body)
        self.end()

    def raw(self, data):
        try:
            self.connection.sock.sendall(data)
        except OSError as error:
            raise Gone() from error

    def close(self):
        self.connection.close()

    def reset(self):
        self.connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    # What it hears.

    def body_pieces(self):
        """The body as it comes, for a backend with stream=True."""
        while (piece := self.connection.read_body(self)) is not None:
            yield piece

    def wait_gone(self, bound=wait.BOUND):
        """True when the gateway closed the connection or sent ABORT_REQUEST."""
        sock = self.connection.sock
        sock.settimeout(bound)
        try:
            if self.connection.backend.protocol == "scgi":
                return sock.recv(1) == b""
            while True:
                rec = fcgi.read_record(sock)
                if rec is None or rec[0] == fcgi.ABORT:
                    return True
        except socket.timeout:
            return False
        except OSError:
            return True


class Connection:
    def __init__(self, backend, sock, number):
        self.backend, self.sock, self.number = backend, sock, number
        self.closed = False
        self.early = False  # FastCGI: the last request was answered before its body had been read
        self.left = 0  # SCGI: bytes of the body still to come
        self.raw_params = []  # FastCGI: the content of each PARAMS record of the last request

    def close(self):
        if not self.closed:
            self.closed = True
            try:
                self.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            self.sock.close()

    def alive(self):
        """Whether neither side has closed it."""
        try:
            return not self.closed and self.sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) != b""
        except BlockingIOError:
            return True
        except OSError:
            return False

    def next(self):
        """The next request, or None when the gateway closed."""
        return self._next_scgi() if self.backend.protocol == "scgi" else self._next_fcgi()

    def _next_scgi(self):
        length = b""
        while True:
            byte = self.sock.recv(1)
            if not byte:
                return None
            if byte == b":":
                break
            length += byte
        content = fcgi.read_exactly(self.sock, int(length) + 1)
        if len(content) != int(length) + 1:
            return None
        if content[-1:] != b",":
            raise AssertionError("no comma after the SCGI header")
        x = Exchange(self, 1, scgi.parse(content[:-1]))
        self.left = int(x.params["CONTENT_LENGTH"])
        return x

    def _next_fcgi(self):
        x, params = None, []
        self.raw_params = []
        while True:
            rec = fcgi.read_record(self.sock)
            if rec is None:
                return None
            kind, request_id, content = rec
            if kind == fcgi.BEGIN:
                role, flags = struct.unpack(">HB5x", content)
                x = Exchange(self, request_id, [], flags, role)
            elif kind == fcgi.PARAMS:
                if x is None or request_id != x.id:
                    raise AssertionError("PARAMS outside a request")
                if content:
                    params.append(content)
                    self.raw_params.append(content)
                else:
                    x.pairs = fcgi.parse_pairs(b"".join(params))
                    x.params = dict(x.pairs)
                    return x
            elif kind == fcgi.ABORT:
                return None
            elif kind == fcgi.GET_VALUES and x is None:
                # As PHP-FPM does: an answer, and the connection is closed.
                self.sock.sendall(fcgi.record(fcgi.GET_VALUES_RESULT, 0, fcgi.pairs({"FCGI_MPXS_CONNS": "0"})))
                return None
            elif kind in (fcgi.STDIN, fcgi.DATA) and x is None and self.early:
                pass  # the rest of a body whose request was answered before it was read
            else:
                raise AssertionError("record %d before the request" % kind)

    def read_body(self, x):
        if self.backend.protocol == "scgi":
            if not self.left:
                return None
            piece = self.sock.recv(min(self.left, 1 << 18))
            if not piece:
                raise Gone()
            self.left -= len(piece)
            return piece
        while True:
            rec = fcgi.read_record(self.sock)
            if rec is None or rec[0] == fcgi.ABORT:
                raise Gone()
            kind, _, content = rec
            if kind == fcgi.STDIN:
                self.early = bool(content)
                return content or None
            raise AssertionError("record %d in the middle of a body" % kind)

    def read_data(self):
        out = []
        while True:
            rec = fcgi.read_record(self.sock)
            if rec is None:
                raise Gone()
            if rec[0] != fcgi.DATA:
                raise AssertionError("record %d where DATA must come" % rec[0])
            if not rec[2]:
                return b"".join(out)
            out.append(rec[2])


class Backend:
    """Listens on `where` (default: a Unix socket of its own). `on_connect(connection)` runs first, when given; the
    connection is closed when it answers False."""

    def __init__(self, scope, handler=None, protocol="fastcgi", where=None, stream=False, on_connect=None, backlog=128,
                 listening=True):
        self.protocol, self.stream, self.on_connect, self.backlog = protocol, stream, on_connect, backlog
        self.handler = handler or (lambda x: x.answer())
        self.where = where or scope.unix("b")
        self.lock = threading.Lock()
        self.requests = []  # every Exchange, in the order of arrival
        self.connections = []  # every Connection that was accepted
        self.open = self.max_open = self.running = self.max_running = 0
        self.errors = []  # what must not have happened: the gateway broke the protocol
        self._listener = None
        if listening:
            self.listen()
        scope.at_end(self.close)

    def text(self, options=""):
        """The backend as a line of weir's configuration."""
        return 'backend "%s" { protocol = %s %s }' % (self.where, self.protocol, options)

    def listen(self):
        if self.where.startswith("unix:"):
            import os
            try:
                os.unlink(self.where[5:])
            except FileNotFoundError:
                pass
        self._listener = address.listen(self.where, self.backlog)
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def refuse(self):
        """No longer listens: connecting is refused. Open connections stay."""
        listener, self._listener = self._listener, None
        if listener:
            try:
                listener.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            listener.close()

    def drop(self):
        """Closes every open connection, as a restarted application does."""
        with self.lock:
            victims = [c for c in self.connections if not c.closed]
        for connection in victims:
            connection.close()

    def close(self):
        self.refuse()
        self.drop()
        if self.errors:
            raise AssertionError("the gateway broke the protocol towards a backend: %s" % self.errors)

    def wait_requests(self, count, bound=wait.BOUND):
        wait.until(lambda: len(self.requests) >= count,
                   lambda: "%d requests at the backend (there were %d)" % (count, len(self.requests)), bound)
        return self.requests[count - 1]

    def wait_open(self, count, bound=wait.BOUND):
        wait.until(lambda: self.open == count, lambda: "%d open connections (there are %d)" % (count, self.open), bound)

    def _accept(self, listener):
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            with self.lock:
                # The gateway's view counts: one that it has closed is closed, whether its thread has noticed or not.
                others = sum(1 for c in self.connections if c.alive())
                connection = Connection(self, sock, len(self.connections))
                self.connections.append(connection)
                self.open += 1
                self.max_open = max(self.max_open, others + 1)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        try:
            if self.on_connect and self.on_connect(connection) is False:
                return
            while not connection.closed:
                x = connection.next()
                if x is None:
                    return
                connection.early = x.role != fcgi.AUTHORIZER
                if not self.stream and x.role != fcgi.AUTHORIZER:  # which has no body, 6.3
                    x.body = b"".join(x.body_pieces())
                    if x.role == fcgi.FILTER:
                        x.data = connection.read_data()
                self._run(x)
                if self.protocol == "scgi" or not x.flags & fcgi.KEEP_CONN:
                    return
        except (Gone, OSError):
            pass
        except Exception as error:
            self.errors.append(repr(error))
        finally:
            connection.close()
            with self.lock:
                self.open -= 1

    def _run(self, x):
        with self.lock:
            self.requests.append(x)
            self.running += 1
            self.max_running = max(self.max_running, self.running)
        try:
            self.handler(x)
        finally:
            with self.lock:
                self.running -= 1


class Gate:
    """Handlers wait at it until the test lets them go."""

    def __init__(self, bound=60):
        self._event, self._reached = threading.Event(), threading.Event()
        self._bound = bound

    def wait(self):
        self._reached.set()
        if not self._event.wait(self._bound):
            raise Gone()

    def wait_reached(self):
        """For the test: until a handler stands at it, with all done that comes before."""
        if not self._reached.wait(self._bound):
            raise AssertionError("nobody came to the gate")

    def open(self):
        self._event.set()
