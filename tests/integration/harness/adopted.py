"""Sessions that an application keeps in Redis: the same application in front of a real redis-server, and of weir's
session socket. What holds with the first must hold with the second; where weir promises more, a test says so."""
import json
import os
import re
import signal
import threading
from urllib.parse import parse_qsl

from . import address, process, resp, weir
from .backend import Backend, Gate
from .site import Front

PREFIX = "PHPREDIS_SESSION:"


class Store:
    """Something that speaks Redis's protocol at `where`. `front` asks the application."""

    title = None
    front = None

    def client(self):
        return resp.Client(self.where, self.password)

    def ask(self, *words):
        with self.client() as client:
            return client.ask(*words)

    def clear(self):
        """What the test before has left."""
        with self.client() as client:
            cursor = b"0"
            while True:
                cursor, keys = client.ask("SCAN", cursor, "COUNT", 500)
                for key in keys:
                    client.ask("DEL", key)
                if cursor == b"0":
                    return

    @property
    def path(self):
        """Of the Unix socket."""
        return self.where.removeprefix("unix:")


class Redis(Store):
    """redis-server, which keeps nothing. Requests go straight to the first application."""

    title = "redis-server"

    def __init__(self, scope, where, apps=(), password="", **_):
        self.where, self.password, self.scope = where, password or None, scope
        family, place = address.split(where)
        listen = (["--port", "0", "--unixsocket", place] if isinstance(place, str)
                  else ["--bind", place[0], "--port", str(place[1])])
        folder = scope.fresh("redis")
        os.mkdir(folder)
        argv = [process.find("redis-server"), *listen, "--save", "", "--appendonly", "no", "--dir", folder]
        if password:
            argv += ["--requirepass", password]
        self.process = process.Process("redis-server", argv, scope.fresh("redis.log"))
        scope.show(self.process)
        scope.at_end(self.process.stop)
        address.wait_accepts(where, self.process)
        if apps:
            self.front = Front(apps[0].where, apps[0].protocol, self)


class Weir(Store):
    """weir with the socket and one app. session: more of the session section; other: further apps; backends: instead of
    `apps`; listens: where it listens as well; more: for the class weir.Weir."""

    title = "weir"

    def __init__(self, scope, where, apps=(), password="", session="", options="", key=PREFIX,
                 cookie="PHPSESSID", other=(), backends=(), protocol="fastcgi", listens=(), workers=2,
                 gateway=weir.Weir, **more):
        self.where, self.password, self.scope = where, password or None, scope
        texts = [a.text() for a in apps] or list(backends) or [NOBODY]
        section = 'mode = adopted  socket = "%s"  key = "%s"  cookie = "%s"  %s %s' % (
            where, key, cookie, 'password = "%s"' % password if password else "", session)
        front = scope.unix("f")
        self.gateway = gateway(scope, [(at, protocol, "") for at in (front, *listens)],
                               [*other, weir.app("main", texts, "timeout = 60s queue-wait = 30s " + options, section)],
                               workers=workers, **more)
        self.process = self.gateway.process
        address.wait_accepts(where, self.process)
        self.front = Front(front, protocol, self.gateway)


NOBODY = 'backend "unix:/nonexistent" { protocol = fastcgi  connections = 1 }'
"""For tests that ask only the socket."""


class Scripted:
    """An application that does in turn what the query string says, and has its sessions on weir's socket:

      get  set=VALUE  del                 with the id of the cookie; COMMAND=WORDS: any other command, the key behind it
      gate=NAME                           waits until the test opens it
      body=N                              the whole answer goes out, with its length and N bytes of body; otherwise it
                                          goes at the end, and is the JSON of all replies
      cookie=VALUE  status=N  type=TEXT   for the head
      die                                 the connection is closed
    """

    def __init__(self, scope, protocol="fastcgi", session="", cookie="PHPSESSID", name=lambda value: value, **more):
        self.gates, self._lock, self._name, self._cookie = {}, threading.Lock(), name, cookie
        self.backend = Backend(scope, self.act, protocol)
        self.store = Weir(scope, scope.unix("kv"), backends=[self.backend.text("connections = 32")], session=session,
                          cookie=cookie, **more)
        self.weir, self.ask, self.client, self.params = (self.store.gateway, self.store.front.ask,
                                                         self.store.front.client, self.store.front.params)

    def act(self, x):
        cookies = dict(c.strip().partition("=")[::2] for c in x.params.get("HTTP_COOKIE", "").split(";"))
        key = PREFIX + self._name(cookies.get(self._cookie, ""))
        replies, head, sent = [], {"Content-Type": "application/json"}, False
        with self.store.client() as client:
            for word, value in parse_qsl(x.params["QUERY_STRING"], keep_blank_values=True):
                if word == "gate":
                    self.gate(value).wait()
                elif word == "die":
                    return x.close()
                elif word in HEADS:
                    head[HEADS[word]] = "%s=%s" % (self._cookie, value) if word == "cookie" else value
                elif word == "body":
                    sent = True
                    self._out(x, head, "x" * int(value))
                elif word == "set":
                    replies.append(client.ask("SET", key, value, "EX", 1000))
                else:
                    replies.append(client.ask(word, key, *value.split()))
        if not sent:
            self._out(x, head, json.dumps(replies, default=_text))
        x.end()

    @staticmethod
    def _out(x, head, body):
        lines = ["%s: %s" % pair for pair in head.items()] + ["Content-Length: %d" % len(body), "", body]
        x.out("\r\n".join(lines))

    def gate(self, name):
        with self._lock:
            return self.gates.setdefault(name, Gate())

    def open(self, name):
        self.gate(name).open()

    def visit(self, name, query, **more):
        """What the commands of a request with this id were answered."""
        answer = self.ask(query, cookie="%s=%s" % (self._cookie, name), **more)
        if answer.status != 200 or not answer.complete:
            raise AssertionError("no good answer: %r" % answer)
        return json.loads(answer.body)

    def start(self, client, name, query, request_id=1, **more):
        """Until the request stands at the application; queued=True: it need not get there."""
        queued = more.pop("queued", False)
        before = len(self.backend.requests)
        client.start(self.params(query, cookie="%s=%s" % (self._cookie, name), **more), request_id=request_id)
        if not queued:
            self.backend.wait_requests(before + 1)

    def kept(self, name):
        return self.store.ask("GET", PREFIX + name)

    def restart(self, number=signal.SIGTERM):
        self.weir.restart(number)
        address.wait_accepts(self.store.where, self.weir.process)


def _text(reply):
    return reply.decode("latin-1") if isinstance(reply, bytes) else repr(reply)


HEADS = {"cookie": "Set-Cookie", "status": "Status", "type": "Content-Type"}


class Whole:
    """Reads an answer as a web server passes it on to a browser: it is whole when its length is there."""

    def __init__(self, client):
        self.client = client

    def length(self):
        """Bytes of head and body together."""
        size = 1
        while True:
            text = self.client.wait_output(1, size)
            head, end, _ = text.partition(b"\r\n\r\n")
            length = re.search(rb"(?i)^content-length: *(\d+)\r", head + end, re.MULTILINE)
            if length:
                # The end of the head may be what is held back.
                return len(head.rstrip(b"\r\n")) + 4 + int(length.group(1))
            size = len(text) + 1

    def all_but_the_last(self):
        """Until one byte is missing; it must be."""
        length = self.length()
        text = self.client.wait_output(1, length - 1)
        if len(text) != length - 1:
            raise AssertionError("it is all there: %r" % text[:200])

    def wait(self):
        return self.client.wait_output(1, self.length())
