"""Sessions that an application keeps in Redis: the same application in front of a real redis-server, and of weir's
session socket. What holds with the first must hold with the second; where weir promises more, a test says so."""
import os

from . import address, process, resp, weir
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
    `apps`; more: for the class weir.Weir."""

    title = "weir"

    def __init__(self, scope, where, apps=(), password="", session="", options="", key=PREFIX,
                 cookie="PHPSESSID", other=(), backends=(), protocol="fastcgi", listen=None, workers=2, gateway=weir.Weir, **more):
        self.where, self.password, self.scope = where, password or None, scope
        texts = [a.text() for a in apps] or list(backends) or [NOBODY]
        section = 'mode = adopted  socket = "%s"  key = "%s"  cookie = "%s"  %s %s' % (
            where, key, cookie, 'password = "%s"' % password if password else "", session)
        front = listen or scope.unix("f")
        self.gateway = gateway(scope, [(front, protocol, "")],
                               [*other, weir.app("main", texts, "timeout = 60s queue-wait = 30s " + options, section)],
                               workers=workers, **more)
        self.process = self.gateway.process
        address.wait_accepts(where, self.process)
        self.front = Front(front, protocol, self.gateway)


NOBODY = 'backend "unix:/nonexistent" { protocol = fastcgi  connections = 1 }'
"""For tests that ask only the socket."""
