"""When session sockets are open: as long as requests run that have sessions to store, at the end of weir, at a reload,
and when their app is gone."""
import os
import signal
import socket
import stat
import unittest

from harness import address, cgi, fcgi, wait, weir
from harness.backend import Backend, Gate
from harness.case import Case
from harness.reload import Reloading
from harness.site import Front


def is_open(sock):
    """Whether neither side has closed it."""
    try:
        return sock.recv(1) != b""
    except BlockingIOError:
        return True
    except ConnectionResetError:
        return False


class LifeCase(Case):
    """An app whose requests wait at self.gate (?gate), and its session socket."""

    def setUp(self):
        super().setUp()
        self.where, self.sessions = self.scope.unix("f"), self.scope.unix("s")
        self.gate = Gate()
        self.scope.at_end(self.gate.open)
        self.backend = Backend(self.scope, self.act)

    def act(self, x):
        if "gate" in x.params["QUERY_STRING"]:
            self.gate.wait()
        x.answer("done")

    def app(self, name="shop", sessions=None, options="", match=()):
        session = 'mode = adopted cookie = SID key = "K:" socket = "%s" %s' % (sessions or self.sessions, options)
        return weir.app(name, [self.backend.text()], "", session, match)

    def plain(self, name="shop"):
        return weir.app(name, [self.backend.text()], "", None)

    def launch(self, apps=None, listens=None, **kwargs):
        self.gateway = Reloading(self.scope, listens or [(self.where, "fastcgi", "")], apps or [self.app()], **kwargs)
        self.gateway.wait_line("event=started")
        return self.gateway

    def connect(self, where=None):
        sock = address.connect(where or self.sessions)
        sock.setblocking(False)
        self.scope.at_end(sock.close)
        return sock

    def request(self, count=1):
        """Stands at the gate."""
        client = fcgi.Client(self.where)
        self.scope.at_end(client.close)
        client.start(cgi.params(query="gate"), flags=0)
        self.backend.wait_requests(count)
        return client

    def check_done(self, *clients):
        self.gate.open()
        for client in clients:
            answer = client.response()
            self.assertTrue(answer.complete, answer)
            self.assertEqual(answer.body, b"done")

    def wait_refused(self, where):
        wait.until(lambda: address.refuses(where), "%s is closed\n" % where + self.gateway.process.log()[-2000:])

    def wait_closed(self, sock):
        wait.until(lambda: not is_open(sock), "the connection is closed\n" + self.gateway.process.log()[-2000:])


class TestOpen(LifeCase):
    def test_there_from_the_start_and_gone_at_the_end(self):
        other = address.tcp()
        gateway = self.launch([self.app(options="socket-mode = 0600"), self.app("rest", other, match=["path:/r"])])
        self.assertEqual(stat.S_IMODE(os.stat(self.sessions[5:]).st_mode), 0o600)
        socks = [self.connect(w) for w in (self.sessions, other) for _ in range(4)]
        self.assertTrue(all(is_open(s) for s in socks))
        gateway.stop()
        self.assertFalse(any(is_open(s) for s in socks))
        self.assertFalse(os.path.exists(self.sessions[5:]))
        self.assertTrue(address.refuses(other))

    def test_what_cannot_be_bound(self):
        absent = "unix:" + self.scope.path("absent/s")
        gateway = Reloading(self.scope, [(self.where, "fastcgi", "")], [self.app(sessions=absent)], start=False)
        code, text = weir.run(["-c", gateway.config])
        self.assertEqual(code, 1)
        self.assertIn('session.socket "%s": No such file' % absent, text)

    def test_socket_connections(self):
        gateway = self.launch([self.app(options="socket-connections = 3")])
        socks = [self.connect() for _ in range(3)]
        self.wait_closed(self.connect())
        gateway.wait_line("event=connection_refused.*socket-connections are open")
        self.assertTrue(all(is_open(s) for s in socks))
        socks.pop().close()
        wait.until(lambda: self.stays(), "a place that has become free")

    def stays(self):
        sock = self.connect()
        try:
            sock.settimeout(0.1)
            return sock.recv(1) != b""
        except socket.timeout:
            return True


class TestEnd(LifeCase):
    def test_it_outlives_the_requests(self):
        """Of all workers: the application that finishes one has its session to store."""
        gateway = self.launch(workers=3)
        early = [self.connect() for _ in range(6)]
        running = [self.request(i + 1) for i in range(4)]
        gateway.process.send(signal.SIGTERM)
        self.wait_refused(self.where)
        late = [self.connect() for _ in range(6)]
        self.assertTrue(all(is_open(s) for s in early + late))
        self.check_done(*running)
        self.assertEqual(gateway.wait_exit(), 0)
        self.assertFalse(any(is_open(s) for s in early + late))
        self.assertFalse(os.path.exists(self.sessions[5:]))

    def test_until_the_last_of_them(self):
        """The request of one worker keeps the connections of the others."""
        gateway = self.launch(workers=2)
        socks = [self.connect() for _ in range(4)]
        one = self.request()
        gateway.process.send(signal.SIGTERM)
        self.wait_refused(self.where)
        # Both workers have been told to drain, and one of them has nothing to do.
        gateway.wait_line("event=draining")
        with self.assertRaises(wait.TimeOut):
            wait.until(lambda: not all(is_open(s) for s in socks) or address.refuses(self.sessions), "", bound=0.5)
        self.check_done(one)
        self.assertEqual(gateway.wait_exit(), 0)

    def test_int_closes_at_once(self):
        gateway = self.launch()
        sock, running = self.connect(), self.request()
        gateway.process.send(signal.SIGINT)
        self.assertEqual(gateway.wait_exit(), 0)
        self.assertFalse(is_open(sock))
        self.assertFalse(running.response().complete)

    def test_drain_timeout(self):
        gateway = self.launch(node_more="drain-timeout = 300ms")
        sock, running = self.connect(), self.request()
        gateway.process.send(signal.SIGTERM)
        self.assertEqual(gateway.wait_exit(), 0)
        self.assertFalse(is_open(sock))
        self.assertFalse(running.response().complete)

    def test_second_term(self):
        gateway = self.launch()
        sock = self.connect()
        self.request()
        gateway.process.send(signal.SIGTERM)
        self.wait_refused(self.where)
        self.assertTrue(is_open(sock))
        gateway.process.send(signal.SIGTERM)
        self.assertEqual(gateway.wait_exit(), 0)
        self.assertFalse(is_open(sock))

    def test_without_requests(self):
        gateway = self.launch(workers=2)
        sock = self.connect()
        gateway.process.send(signal.SIGTERM)
        self.assertEqual(gateway.wait_exit(), 0)
        self.assertFalse(is_open(sock))

    def test_during_a_reload(self):
        """TERM comes while workers go over to a new app: its socket is there for who begins there, or nobody does."""
        for _ in range(10):
            more = self.scope.unix("more")
            gateway = self.launch(workers=2)
            gateway.write(apps=[self.app(), self.app("more", more, match=["path:/more"])])
            gateway.hup()
            gateway.process.send(signal.SIGTERM)
            self.assertEqual(gateway.wait_exit(), 0)
            self.assertFalse(os.path.exists(more[5:]))


class TestReload(LifeCase):
    def inode(self, where=None):
        return os.stat((where or self.sessions)[5:]).st_ino

    def test_one_that_stays(self):
        gateway = self.launch()
        inode, sock = self.inode(), self.connect()
        gateway.reload(apps=[self.app(options="socket-mode = 0600 lock = shared")])
        gateway.wait_ended(1)
        self.assertEqual(self.inode(), inode)
        self.assertEqual(stat.S_IMODE(os.stat(self.sessions[5:]).st_mode), 0o600)
        self.assertTrue(is_open(sock))
        self.assertTrue(is_open(self.connect()))

    def test_one_that_comes(self):
        gateway = self.launch([self.plain()])
        gateway.reload(apps=[self.app()])
        sock = self.connect()
        self.assertTrue(is_open(sock))

    def test_one_that_goes(self):
        gateway = self.launch()
        socks = [self.connect() for _ in range(4)]
        gateway.reload(apps=[self.plain()])
        gateway.wait_ended(1)
        for sock in socks:
            self.wait_closed(sock)
        self.assertFalse(os.path.exists(self.sessions[5:]))

    def test_while_requests_of_it_run(self):
        gateway = self.launch(workers=3)
        early = [self.connect() for _ in range(4)]
        running = [self.request(i + 1) for i in range(4)]
        gateway.reload(apps=[self.plain()])
        late = [self.connect() for _ in range(4)]
        self.assertTrue(all(is_open(s) for s in early + late))
        self.assertEqual(gateway.count("generation_ended"), 0)
        self.check_done(*running)
        gateway.wait_ended(1)
        self.wait_refused(self.sessions)
        for sock in early + late:
            self.wait_closed(sock)

    def test_while_requests_run_that_are_older_still(self):
        """The generation that had it last has no requests, the one before it has."""
        gateway = self.launch()
        running = self.request()
        gateway.reload(apps=[self.app(options="lock = shared")])
        gateway.reload(apps=[self.plain()])
        gateway.reload(apps=[self.plain(), weir.app("more", [self.backend.text()], "", None, ["path:/more"])])
        gateway.wait_ended(3)
        sock = self.connect()
        self.assertEqual(gateway.count("generation_ended"), 1)
        self.assertTrue(is_open(sock))
        self.check_done(running)
        gateway.wait_ended(1)
        gateway.wait_ended(2)
        self.wait_closed(sock)
        self.assertFalse(os.path.exists(self.sessions[5:]))

    def test_one_that_comes_back(self):
        """It was not closed meanwhile, and stays."""
        gateway = self.launch()
        running, inode, sock = self.request(), self.inode(), self.connect()
        gateway.reload(apps=[self.plain()])
        late = self.connect()
        gateway.reload(apps=[self.app()])
        self.check_done(running)
        gateway.wait_ended(1)
        gateway.wait_ended(2)
        self.assertEqual(self.inode(), inode)
        self.assertTrue(is_open(sock) and is_open(late) and is_open(self.connect()))
        gateway.reload(apps=[self.plain()])
        gateway.wait_ended(3)
        self.wait_closed(sock)
        self.wait_closed(late)

    def test_at_the_end_of_weir(self):
        """It is taken out, requests need it still, and weir is told to end."""
        gateway = self.launch()
        running, sock = self.request(), self.connect()
        gateway.reload(apps=[self.plain()])
        gateway.process.send(signal.SIGTERM)
        self.wait_refused(self.where)
        self.assertTrue(is_open(sock) and is_open(self.connect()))
        self.check_done(running)
        self.assertEqual(gateway.wait_exit(), 0)
        self.assertFalse(os.path.exists(self.sessions[5:]))

    def test_over_and_over(self):
        gateway = self.launch()
        for i in range(30):
            sock = self.connect()
            gateway.reload(apps=[self.plain()])
            gateway.wait_ended(2 * i + 1)
            self.wait_closed(sock)
            gateway.reload(apps=[self.app()])

    def test_an_address_is_of_one_use(self):
        """Another app's, or for web servers: in two reloads, not in one."""
        gateway = self.launch()
        why = "weir has it open for something else"
        self.assertIn(why, gateway.refused(apps=[self.app("other")])[0])
        swapped = gateway.refused(listens=[(self.sessions, "fastcgi", "")], apps=[self.app(sessions=self.where)], count=2)
        self.assertTrue(all(why in line for line in swapped), swapped)
        self.assertRegex(swapped[1], "session.socket [^ ]*%s" % self.where)
        self.assertTrue(is_open(self.connect()))
        gateway.reload(apps=[self.plain()])
        gateway.wait_ended(1)
        gateway.reload(apps=[self.app("other")])
        self.assertTrue(is_open(self.connect()))


if __name__ == "__main__":
    unittest.main()
