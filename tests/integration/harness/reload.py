"""A gateway whose configuration changes while it runs, and clients that do not stop asking meanwhile."""
import json
import signal
import threading

from . import address, cgi, fcgi, wait, weir
from .backend import Backend
from .case import Case
from .site import Front


class Refused(Exception):
    """The admin socket said no: (code, message)."""


class Reloading(weir.Weir):
    """The parts of the file are kept: reload(apps=...) changes one and leaves the others as they are."""

    def __init__(self, scope, listens, apps, **kwargs):
        self.parts = {"listens": listens, "apps": apps, "workers": kwargs.get("workers", 2),
                      "node": kwargs.get("node_more", ""), "log": kwargs.get("log"), "tail": kwargs.get("tail", "")}
        super().__init__(scope, listens, apps, **{"workers": 2, **kwargs})

    def text(self):
        p = self.parts
        text = weir.node(self.scope, p["workers"], p["node"])
        text += "".join('listen "%s" { protocol = %s %s }\n' % entry for entry in p["listens"])
        return text + "".join(p["apps"]) + p["tail"] + "log { %s }\n" % (p["log"] or "level = debug  to = stderr")

    def write(self, **changes):
        self.parts.update(changes)
        self.write_text(self.text())

    def write_text(self, text):
        with open(self.config, "w") as f:
            f.write(text)

    def hup(self):
        self.process.send(signal.SIGHUP)

    def count(self, event):
        return len(self.lines(r"\bevent=%s\b" % event))

    def reload(self, **changes):
        """Until all workers have changed over."""
        before = self.count("reloaded")
        self.write(**changes)
        self.hup()
        self.wait_line("event=reloaded", before + 1)

    def refused(self, text=None, count=1, **changes):
        """The reasons of a reload that must be refused. The file is put back afterwards."""
        parts, before, good = dict(self.parts), self.count("reload_refused"), self.count("reloaded")
        if text is None:
            self.write(**changes)
        else:
            self.write_text(text)
        self.hup()
        lines = self.wait_line("event=reload_refused", before + count)[before:]
        if self.count("reloaded") != good:
            raise AssertionError("it was done all the same: %s" % lines)
        self.parts = parts
        self.write()
        return lines

    def admin(self, line):
        """What the admin socket answers, with `admin { open = always }`."""
        with address.connect("unix:" + self.scope.path("run/admin.sock")) as sock:
            sock.sendall(line.encode() + b" --json\n")
            with sock.makefile("rb") as f:
                word, *rest = f.readline().split()
                answer = json.loads(f.read(int(rest[1] if word == b"error" else rest[0])))
        if word == b"error":
            raise Refused(answer["error"], answer.get("message", ""))
        return answer

    def backends(self):
        """{name: what is told of it}; of all apps."""
        return {b["backend"]: b for b in self.admin("backends")["backends"]}

    def wait_ended(self, generation):
        self.wait_line(r"event=generation_ended generation=%d\b" % generation)


class Load:
    """Clients that ask one request after the other, each until stop(); a bad answer ends the test. `ask(i)`: one request
    of client i; it raises when that fails."""

    def __init__(self, ask, clients=4):
        self.done = [0] * clients
        self.errors = []
        self._ask, self._stop = ask, threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(i,), daemon=True) for i in range(clients)]
        for thread in self._threads:
            thread.start()

    def _run(self, i):
        try:
            while not self._stop.is_set():
                self._ask(i)
                self.done[i] += 1
        except BaseException as error:
            self.errors.append(error)

    def wait_more(self, each=1):
        """Until every client has had `each` more answers."""
        self.look()
        goal = [n + each for n in self.done]
        wait.until(lambda: self.errors or all(n >= g for n, g in zip(self.done, goal)),
                   lambda: "%d more answers for each: %s" % (each, self.done))
        self.look()

    def look(self):
        if self.errors:
            raise AssertionError("a request failed: %r" % self.errors) from self.errors[0]

    def stop(self):
        """How many answers there were."""
        self._stop.set()
        for thread in self._threads:
            thread.join(wait.BOUND)
        self.look()
        return sum(self.done)


def asker(where, params=None, check=None, keep=True):
    """For Load: FastCGI requests, of the even clients on one connection each, of the others on a new one each time.
    A connection that closes between two requests is made anew, as a web server does."""
    clients = {}

    def once(i):
        if not keep or i % 2:
            with fcgi.Client(where) as client:
                return client.ask(params or cgi.params(), flags=0)
        client = clients.get(i)
        if client is None:
            client = clients[i] = fcgi.Client(where)
        return client.ask(params or cgi.params())

    def ask(i):
        answer = once(i)
        if answer.status != 200 or not answer.complete or (check and not check(answer)):
            raise AssertionError("answer %r" % answer)
    return ask


def status(answer):
    """None when the connection was closed before the answer was complete."""
    return answer.status if answer.complete else None


class ReloadCase(Case):
    """A gateway on self.where with one app, "main", and scripted backends that say who they are."""

    def backend(self, name="b", gate=None, **kwargs):
        """Answers its name; a request for ?gate waits at self.gate first."""
        def handler(x):
            if "gate" in x.params.get("QUERY_STRING", "") and gate is not None:
                gate.wait()
            x.answer(name, headers=[("X-Backend", name)])
        return Backend(self.scope, handler, **kwargs)

    def launch(self, listens=None, apps_=None, **kwargs):
        self.where = self.scope.unix("f")
        self.first = self.backend("first")
        self.gateway = Reloading(self.scope, listens or [(self.where, "fastcgi", "")],
                                 apps_ or [self.app([self.first])], **kwargs)
        self.gateway.wait_line("event=started")
        return self.gateway

    def app(self, backends, options="", session=None, name="main", match=(), backend=""):
        texts = [b if isinstance(b, str) else b.text(backend) for b in backends]
        return weir.app(name, texts, options, session, match)

    def front(self, where=None, protocol="fastcgi"):
        return Front(where or self.where, protocol, self.gateway)

    def ask(self, query="", where=None, **kwargs):
        return self.front(where).ask(query, **kwargs)

    def who(self, **kwargs):
        answer = self.ask(**kwargs)
        self.assertEqual(status(answer), 200, answer)
        return answer.body.decode()

    def client(self, where=None):
        client = fcgi.Client(where or self.where)
        self.scope.at_end(client.close)
        return client
