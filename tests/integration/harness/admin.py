"""The admin socket of a gateway (doc/admin-protocol.md), and weirctl."""
import json
import os
import re
import signal
import subprocess

from . import address, case, cgi, site, wait, weir


class Reply:
    def __init__(self, head, body):
        self.head, self.raw = head, body
        words = head.split(" ")
        self.code = words[1] if words[0] == "error" else words[0]
        self.next = next((w[5:] for w in words if w.startswith("next=")), None)

    @property
    def text(self):
        return self.raw.decode("utf-8")

    @property
    def json(self):
        """The document, which is one line."""
        if self.raw.count(b"\n") != 1 or not self.raw.endswith(b"\n"):
            raise AssertionError("not one line: %r" % self.raw)
        return json.loads(self.raw)

    @property
    def fields(self):
        """The lines "key  value" of a text."""
        lines = [line for line in self.text.splitlines() if re.search(r"\S  +\S", line)]
        return dict(re.split(r"  +", line, maxsplit=1) for line in lines)

    @property
    def rows(self):
        """The rows of a table, by the words of its head."""
        head, *lines = self.text.splitlines()
        names = re.split(r"  +", head.strip())
        return [dict(zip(names, re.split(r"  +", line.strip()))) for line in lines]

    def __repr__(self):
        return "<Reply %r %r>" % (self.head, self.raw[:400])


class Client:
    """One connection."""

    def __init__(self, path, timeout=wait.BOUND):
        self.socket = address.connect("unix:" + path, timeout)
        self._in = bytearray()

    def send(self, data):
        self.socket.sendall(data if isinstance(data, bytes) else data.encode())

    def _more(self):
        piece = self.socket.recv(65536)
        self._in += piece
        return bool(piece)

    def reply(self):
        """The next one; None when the connection is closed before it begins."""
        while b"\n" not in self._in:
            if not self._more():
                if self._in:
                    raise AssertionError("closed within a head: %r" % self._in)
                return None
        head = bytes(self._in[:self._in.index(b"\n")])
        del self._in[:len(head) + 1]
        match = re.fullmatch(rb"(?:ok|error [a-z-]+) ([0-9]+)(?: next=\S+)?", head)
        if not match:
            raise AssertionError("not a head: %r" % head)
        length = int(match.group(1))
        while len(self._in) < length:
            if not self._more():
                raise AssertionError("closed within a body: %r" % self._in[-200:])
        body = bytes(self._in[:length])
        del self._in[:length]
        return Reply(head.decode(), body)

    def ask(self, line):
        self.send(line + "\n")
        reply = self.reply()
        if reply is None:
            raise AssertionError("closed instead of a reply to %r" % line)
        return reply

    def closed(self):
        """Whether it is closed by the other side, and nothing more came."""
        try:
            return not self._in and not self._more()
        except ConnectionResetError:
            return True

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def path_of(gateway):
    return gateway.scope.path("run/admin.sock")


def open_socket(gateway):
    """With USR1; until it is there."""
    gateway.process.send(signal.SIGUSR1)
    wait.until(lambda: address.accepts("unix:" + path_of(gateway)),
               lambda: "the admin socket\n" + gateway.process.log()[-2000:])


def wait_open(gateway):
    """With open = always it is there when weir runs, which may be after its listeners accept."""
    gateway.wait_line("event=admin_opened")


def client(gateway, timeout=wait.BOUND):
    try:
        return Client(path_of(gateway), timeout)
    except (FileNotFoundError, ConnectionRefusedError):
        open_socket(gateway)
    return Client(path_of(gateway), timeout)


def ask(gateway, line):
    """On a connection of its own."""
    with client(gateway) as c:
        return c.ask(line)


def weirctl_binary():
    path = os.environ.get("WEIRCTL") or os.path.join(os.path.dirname(weir.binary()), "weirctl")
    if not os.access(path, os.X_OK):
        raise AssertionError("there is no %s: make all, or set WEIRCTL" % path)
    return path


def weirctl(*args, bound=wait.BOUND, user=None, cwd=None):
    """(exit code, standard output, standard error), after a look for sanitizer reports."""
    done = subprocess.run([weirctl_binary(), *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=bound, env={**os.environ, **weir.environment()}, user=user,
                          cwd=cwd)
    out, err = done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")
    for report in weir.REPORTS:
        if report in err:
            raise AssertionError("a sanitizer complains:\n" + err[-8000:])
    return done.returncode, out, err


def new_session(front, query="set=one", **kwargs):
    """(jar, public name, value of the cookie)"""
    jar = cgi.Jar()
    answer = front.ask(query, jar=jar, **kwargs)
    if answer.status != 200:
        raise AssertionError("no session: %r" % answer)
    name = front.seen(jar=jar)["SESSION_ID"]
    return jar, name, jar.values["WEIRSID"]


class Shared(case.Case):
    """One gateway for the class, whose socket is always there."""

    tail = "admin { open = always }\n"
    session = "max-size = 4M"

    @classmethod
    def start_shared(cls, scope):
        cls.site = site.Site(scope, cls.session, tail=cls.tail, listen="max-params = 8M")

    def client(self):
        c = client(self.site.weir)
        self.addCleanup(c.close)
        return c

    def ask(self, line):
        return ask(self.site.weir, line)

    def new(self, query="set=one", **kwargs):
        return new_session(self.site, query, **kwargs)
