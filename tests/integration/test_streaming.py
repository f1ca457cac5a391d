"""Large bodies in both directions, with memory that does not grow: the gateway holds a bounded piece of each.

Against the release build where there is one. WEIR_TEST_LARGE says how large (bytes; default 1 GiB)."""
import os
import threading
import time

from harness import fcgi, scgi, wait, weir
from harness.case import Case, Parallel
from harness.site import Site

LARGE = int(os.environ.get("WEIR_TEST_LARGE", str(1 << 30)))
MEDIUM = min(LARGE, 128 << 20)
PEAK_KIB = 64 * 1024

# A pattern with a period that is no power of two: a piece that is lost, doubled or moved shows.
PERIOD = 65521
PATTERN = bytes((i * 7 + i // 251) & 255 for i in range(PERIOD)) * 18


def piece(at, size):
    start = at % PERIOD
    return memoryview(PATTERN)[start:start + size]


class Check:
    """Compares a stream with the pattern, piece by piece."""

    def __init__(self):
        self.at = 0

    def take(self, data):
        view, offset = memoryview(data), 0
        while offset < len(view):
            part = view[offset:offset + (1 << 20)]
            if part != piece(self.at, len(part)):
                raise AssertionError("other bytes than were sent, after %d" % self.at)
            self.at += len(part)
            offset += len(part)


def upload(x):
    """Reads the body as it comes; says how much it was."""
    check = x.connection.backend.check = Check()
    for data in x.body_pieces():
        check.take(data)
        pause = getattr(x.connection.backend, "pause", None)
        if pause:
            pause()
    x.answer(str(check.at))


def download(x):
    size = int(x.params["QUERY_STRING"])
    x.out(b"Content-Type: application/octet-stream\r\n\r\n")
    backend = x.connection.backend
    backend.sent = 0
    fast = x.connection.backend.protocol == "fastcgi"
    while backend.sent < size:
        n = min(65528 if fast else 1 << 20, size - backend.sent)
        x.out(bytes(piece(backend.sent, n)))
        backend.sent += n
    x.end()


class Streaming(Case):
    def make(self, handler, front="fastcgi", protocol="fastcgi"):
        return Site(self.scope, None, "timeout = 120s", "max-body = 0", handler=handler, stream=True, front=front,
                    protocol=protocol, program=weir.release_binary(), env=weir.SMALL, workers=1,
                    log="level = warn to = stderr")

    def assert_small(self, site):
        self.assertLess(site.weir.peak_kib(), self.limit(site))

    def limit(self, site):
        # A sanitizer's own tables and the redzones.
        program = site.weir.program
        bare = not weir.instrumented(program, b"__asan_init") and not weir.instrumented(program, b"__tsan_init")
        return PEAK_KIB if bare else 6 * PEAK_KIB

    def send_body(self, site, client, size, query=""):
        params = site.params(query, method="POST", body_length=size)
        if site.front == "scgi":
            client.send(scgi.header(params, size))
            for at in range(0, size, 1 << 20):
                client.sock.sendall(piece(at, min(1 << 20, size - at)))
            return
        client.send(fcgi.begin(), fcgi.stream(fcgi.PARAMS, 1, fcgi.pairs(params)))
        at = 0
        while at < size:
            n = min(65528, size - at)
            client.sock.sendall(fcgi.record(fcgi.STDIN, 1, bytes(piece(at, n))))
            at += n
            self.sent = at
        client.send(fcgi.record(fcgi.STDIN, 1))

    def read_answer(self, site, client):
        """The body, checked on the way."""
        check, head = Check(), b""
        in_head = True
        while True:
            if site.front == "scgi":
                data = client.sock.recv(1 << 18)
                if not data:
                    break
            else:
                rec = client.read_record()
                self.assertIsNotNone(rec, "the connection ended after %d bytes" % check.at)
                kind, _, data = rec
                if kind == fcgi.END:
                    break
                if kind != fcgi.STDOUT:
                    continue
            if in_head:
                head += data
                at = head.find(b"\r\n\r\n")
                if at < 0:
                    continue
                in_head, data = False, head[at + 4:]
            check.take(data)
        return check.at

    def client(self, site):
        client = scgi.Client(site.where, 120) if site.front == "scgi" else site.client(120)
        self.scope.at_end(client.close)
        return client

    def upload(self, size, **kwargs):
        site = self.make(upload, **kwargs)
        client = self.client(site)
        parallel = Parallel()
        parallel.start(self.send_body, site, client, size)
        answer = client.response()
        parallel.join()
        self.assertEqual((answer.status, answer.body), (200, b"%d" % size))
        self.assert_small(site)

    def download(self, size, **kwargs):
        site = self.make(download, **kwargs)
        client = self.client(site)
        if site.front == "scgi":
            client.send(scgi.header(site.params(str(size)), 0))
        else:
            client.start(site.params(str(size)))
        self.assertEqual(self.read_answer(site, client), size)
        self.assert_small(site)


class TestLarge(Streaming):
    """A16. One after the other on a machine with two processors: WEIR_TEST_LARGE bytes each."""

    def test_upload(self):
        self.upload(LARGE)

    def test_download(self):
        self.download(LARGE)


class TestMedium(Streaming):
    def test_upload_scgi(self):
        self.upload(MEDIUM, front="scgi", protocol="scgi")

    def test_download_scgi(self):
        self.download(MEDIUM, front="scgi", protocol="scgi")

    def test_upload_fastcgi_to_scgi(self):
        self.upload(MEDIUM, protocol="scgi")

    def test_download_scgi_from_fastcgi(self):
        self.download(MEDIUM, front="scgi")

    def stalled(self, progress):
        """Until progress() stands still: everything in between is full."""
        last = [None, time.monotonic()]

        def still():
            now = progress()
            if now != last[0]:
                last[0], last[1] = now, time.monotonic()
            return time.monotonic() - last[1] > 0.5
        wait.until(still, "the other side to be held up", 60)
        return progress()

    def test_slow_reader(self):
        """A client that does not read holds the application up; the gateway does not swallow the answer."""
        site = self.make(download)
        client = self.client(site)
        client.start(site.params(str(MEDIUM)))
        site.backend.wait_requests(1)
        wait.until(lambda: getattr(site.backend, "sent", 0), "the first bytes of the answer")
        held = self.stalled(lambda: site.backend.sent)
        self.assertLess(held, min(MEDIUM, 16 << 20))
        self.assert_small(site)
        self.assertEqual(self.read_answer(site, client), MEDIUM)
        self.assert_small(site)

    def test_slow_application(self):
        """An application that does not read holds the upload up; the gateway does not swallow it."""
        site = self.make(upload)
        go = threading.Event()
        self.scope.at_end(go.set)
        site.backend.pause = lambda: go.wait(60)
        client = self.client(site)
        self.sent = 0
        parallel = Parallel()
        parallel.start(self.send_body, site, client, MEDIUM)
        site.backend.wait_requests(1)
        wait.until(lambda: self.sent, "the first bytes of the upload")
        held = self.stalled(lambda: self.sent)
        self.assertLess(held, min(MEDIUM, 16 << 20))
        self.assert_small(site)
        go.set()
        answer = client.response()
        parallel.join()
        self.assertEqual((answer.status, answer.body), (200, b"%d" % MEDIUM))
        self.assert_small(site)

    def test_slow_one_does_not_hold_the_others_on_its_connection(self):
        """Multiplexed: an upload that stands still because its application does not read, beside short requests.
        The protocol has no flow control for one request; a bounded amount must get by."""
        go = threading.Event()
        self.scope.at_end(go.set)

        def handler(x):
            if x.params["REQUEST_METHOD"] == "POST":
                go.wait(60)
            x.answer(str(sum(map(len, x.body_pieces()))))
        site = self.make(handler)
        client = self.client(site)
        client.send(fcgi.begin(1), fcgi.stream(fcgi.PARAMS, 1, fcgi.pairs(site.params("", method="POST"))),
                    fcgi.record(fcgi.STDIN, 1, b"x" * 10000))
        for i in range(2, 10):
            self.assertEqual(client.ask(site.params(), request_id=i).status, 200)
        go.set()
        client.send(fcgi.record(fcgi.STDIN, 1))
        self.assertEqual(client.response(1).body, b"10000")

    def test_first_bytes_pass_before_the_last(self):
        """Nothing is collected: the answer's first bytes arrive while the application still works."""
        go = threading.Event()
        self.scope.at_end(go.set)

        def handler(x):
            x.out(b"Content-Type: text/plain\r\n\r\nfirst")
            go.wait(60)
            x.out(b" last")
            x.end()
        for protocol in ("fastcgi", "scgi"):
            go.clear()
            site = self.make(handler, protocol=protocol)
            client = self.client(site)
            client.start(site.params())
            while not client.wait_output(1, 1).endswith(b"first"):
                client.wait_output(1, len(client.wait_output(1, 1)) + 1)
            go.set()
            self.assertEqual(client.response().body, b"first last")

    def test_the_body_flows_before_it_is_complete(self):
        """The application sees the first bytes of an upload while the client still sends."""
        seen = []

        def handler(x):
            for data in x.body_pieces():
                seen.append(data)
            x.answer()
        site = self.make(handler)
        client = self.client(site)
        client.send(fcgi.begin(), fcgi.stream(fcgi.PARAMS, 1, fcgi.pairs(site.params("", method="POST",
                                                                                    body_length=100000))),
                    fcgi.record(fcgi.STDIN, 1, b"x" * 50000))
        wait.until(lambda: sum(map(len, seen)) == 50000, "the first half at the application")
        client.send(fcgi.record(fcgi.STDIN, 1, b"x" * 50000), fcgi.record(fcgi.STDIN, 1))
        self.assertEqual(client.response().status, 200)
