"""One gateway, one scripted application behind it, and requests to it that say in the query string what the
application shall do. The actions:

  set=TEXT  incr=1  ttl=S  renew=1  end=1   the Weir-Session-* headers of the answer
  gate=NAME   the answer waits until the test opens that gate; head=1: its head goes out before
  die=1       the connection is closed without an answer
  status=N    the answer's status

The answer's body is JSON: the variables that the application saw.
"""
import json
import threading
from urllib.parse import parse_qs

from . import cgi, fcgi, scgi, wait, weir
from .backend import Backend, Gate


class Front:
    """The web server's side of a gateway that listens on `where`."""

    def __init__(self, where, front, gateway):
        self.where, self.front, self.weir = where, front, gateway

    def params(self, query="", path="/", jar=None, method="GET", **more):
        if jar is not None and jar.header():
            more.setdefault("cookie", jar.header())
        return cgi.params(path, query, method, **more)

    def ask(self, query="", path="/", jar=None, body=b"", method=None, timeout=wait.BOUND, flags=0, **more):
        """One request on a connection of its own."""
        method = method or ("POST" if body else "GET")
        more.setdefault("body_length", len(body) if body else None)
        variables = self.params(query, path, jar, method, **more)
        if self.front == "scgi":
            answer = scgi.ask(self.where, variables, body, timeout)
        else:
            with fcgi.Client(self.where, timeout) as client:
                answer = client.ask(variables, body, flags=flags)
        if jar is not None:
            jar.take(answer.all("Set-Cookie"))
        return answer

    def seen(self, query="", **kwargs):
        """What the application saw; the request must have been answered well."""
        answer = self.ask(query, **kwargs)
        if answer.status != 200 or not answer.complete:
            raise AssertionError("no good answer: %r\n%s" % (answer, self.weir.process.log()[-2000:]))
        return json.loads(answer.body)

    def state(self, jar, **kwargs):
        """(SESSION_STATE, SESSION_DATA) as the application sees them now."""
        env = self.seen(jar=jar, **kwargs)
        return env["SESSION_STATE"], env.get("SESSION_DATA", "")

    def client(self, timeout=wait.BOUND):
        return fcgi.Client(self.where, timeout)


class Site(Front):
    def __init__(self, scope, session="", options="", listen="", backend="", protocol="fastcgi", front="fastcgi",
                 workers=2, handler=None, stream=False, node="", tail="", apps=(), where=None, backends=None, log=None,
                 program=None, env=None):
        """session: inside of the session section, None: no such section; handler: instead of the actions above."""
        self.gates, self.reached, self._lock = {}, {}, threading.Lock()
        self.backend = Backend(scope, handler or self.act, protocol, stream=stream)
        where = where or scope.unix("f")
        texts = [b.text() for b in backends] if backends else [self.backend.text(backend)]
        gateway = weir.Weir(scope, [(where, front, listen)],
                            [*apps, weir.app("main", texts, options, session)], workers, node, tail=tail, log=log,
                            program=program, env=env)
        super().__init__(where, front, gateway)

    # The application.

    def act(self, x):
        q = {k: v[-1] for k, v in parse_qs(x.params.get("QUERY_STRING", ""), keep_blank_values=True,
                                           encoding="latin-1").items()}
        if "die" in q and "gate" not in q:
            return x.close()
        headers = []
        if "set" in q:
            headers.append(("Weir-Session-Data", q["set"]))
        if "size" in q:
            headers.append(("Weir-Session-Data", "x" * int(q["size"])))
        if "incr" in q:
            headers.append(("Weir-Session-Data", str(int(x.params.get("SESSION_DATA") or 0) + 1)))
        for key, name in (("ttl", "TTL"), ("renew", "Renew"), ("end", "End")):
            if key in q:
                headers.append(("Weir-Session-" + name, q[key]))
        head = ["Status: " + q["status"]] if "status" in q else []
        head += ["%s: %s" % h for h in headers] + ["X-App: yes", "Content-Type: application/json", "", ""]
        head = "\r\n".join(head).encode("latin-1")
        body = json.dumps(x.params).encode()
        if "head" in q:
            x.out(head)
            head = b""
        if "gate" in q:
            with self._lock:
                self.reached.setdefault(q["gate"], []).append(x)
            self.gate(q["gate"]).wait()
            if "die" in q:
                return x.close()
        x.out(head + body)
        x.end()

    def gate(self, name):
        with self._lock:
            return self.gates.setdefault(name, Gate())

    def open(self, name):
        self.gate(name).open()

    def wait_at(self, name, count=1):
        """Until that many requests stand at the gate."""
        wait.until(lambda: len(self.reached.get(name, ())) >= count,
                   lambda: "%d request(s) at gate %s: %s; log:\n%s" % (count, name, self.reached,
                                                                      self.weir.process.log()[-2000:]))
        return self.reached[name]
