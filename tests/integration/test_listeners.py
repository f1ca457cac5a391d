"""Listeners that come, go and change with a reload."""
import os
import pwd
import signal
import stat

from harness import address, cgi, fcgi, wait
from harness.backend import Gate
from harness.reload import Load, ReloadCase, asker, status

ROOT = os.geteuid() == 0


class TestListeners(ReloadCase):
    def inode(self, where=None):
        return os.stat((where or self.where)[5:]).st_ino

    def test_added(self):
        gateway = self.launch()
        added = [self.scope.unix("x"), address.tcp(), self.scope.unix("y")]
        load = Load(asker(self.where), 2)
        gateway.reload(listens=[(self.where, "fastcgi", "")] + [(a, "fastcgi", "") for a in added])
        for where in added:
            self.assertEqual(self.who(where=where), "first")
        load.wait_more()
        load.stop()

    def test_removed(self):
        """Idle connections go, what runs goes on, the socket's file vanishes, the others notice nothing."""
        other, tcp = self.scope.unix("x"), address.tcp()
        gate = Gate()
        gateway = self.launch()
        gated = self.backend("gated", gate)
        three = [(self.where, "fastcgi", ""), (other, "fastcgi", ""), (tcp, "fastcgi", "")]
        gateway.reload(listens=three, apps=[self.app([gated])])
        load = Load(asker(self.where), 2)
        idle, busy, unused = self.client(other), self.client(other), self.client(tcp)
        self.assertEqual(status(idle.ask(cgi.params())), 200)
        busy.start(cgi.params(query="gate"))
        wait.until(lambda: any("gate" in x.params["QUERY_STRING"] for x in list(gated.requests)), "the long request")
        gateway.reload(listens=three[:1])
        for where in (other, tcp):
            self.assertTrue(address.refuses(where), where)
        self.assertFalse(os.path.exists(other[5:]))
        self.assertTrue(idle.closed(), "an idle connection of a removed listener stays")
        self.assertTrue(unused.closed(), "a connection that was never used stays")
        gate.open()
        self.assertEqual(busy.response().body, b"gated")
        self.assertTrue(busy.closed())
        gateway.wait_ended(2)
        load.wait_more()
        load.stop()

    def test_whose_connection_was_complete_is_served(self):
        """More of them than are accepted before the listener goes: weir is halted while they come, and then has so much
        else to do that it does not get round to them in time."""
        gateway = self.launch(workers=1)
        other = self.scope.unix("x")
        both = [(self.where, "fastcgi", ""), (other, "fastcgi", "")]
        gateway.reload(listens=both, apps=[self.app([self.first], match=["path:/x"])])
        busy = [self.client() for _ in range(100)]
        work = b"".join(fcgi.request(cgi.params("/nothing"), request_id=i) for i in range(1, 21))
        for client in busy:
            self.assertEqual(status(client.ask(cgi.params("/nothing"))), 404)
        for _ in range(2):
            gateway.process.send(signal.SIGSTOP)
            for client in busy:
                client.send(work)
            clients = [fcgi.Client(other) for _ in range(200)]
            for client in clients:
                client.start(cgi.params("/x"), flags=0)
            before = gateway.count("reloaded")
            gateway.write(listens=both[:1])
            gateway.hup()
            gateway.process.send(signal.SIGCONT)
            for client in clients:
                self.assertEqual(status(client.response()), 200)
                client.close()
            gateway.wait_line("event=reloaded", before + 1)
            self.assertTrue(address.refuses(other))
            for client in busy:
                self.assertEqual([status(client.response(i)) for i in range(1, 21)], [404] * 20)
            gateway.reload(listens=both)

    def test_removed_and_added_again(self):
        gateway = self.launch()
        other = self.scope.unix("x")
        one, both = [(self.where, "fastcgi", "")], [(self.where, "fastcgi", ""), (other, "fastcgi", "")]
        for _ in range(5):
            gateway.reload(listens=both)
            self.assertEqual(self.who(where=other), "first")
            gateway.reload(listens=one)
            self.assertTrue(address.refuses(other))

    def test_all_are_exchanged(self):
        gateway = self.launch()
        other = address.tcp()
        gateway.reload(listens=[(other, "fastcgi", "")])
        self.assertEqual(self.who(where=other), "first")
        self.assertTrue(address.refuses(self.where))

    def test_the_same_socket_stays(self):
        gateway = self.launch()
        client, inode = self.client(), self.inode()
        self.assertEqual(status(client.ask(cgi.params())), 200)
        for _ in range(3):
            gateway.reload()
        self.assertEqual(self.inode(), inode)
        self.assertEqual(status(client.ask(cgi.params())), 200)  # nor is a connection closed

    def test_limits_of_open_connections(self):
        gateway = self.launch()
        client = self.client()
        big = cgi.params(X="x" * 10000)
        self.assertEqual(status(client.ask(big)), 200)
        gateway.reload(listens=[(self.where, "fastcgi", "max-params = 4k")])
        self.assertEqual(status(client.ask(big)), 431)
        gateway.reload(listens=[(self.where, "fastcgi", "max-params = 64k max-body = 10")])
        self.assertEqual(status(client.ask(big)), 200)
        self.assertEqual(status(client.ask(cgi.params(method="POST", body_length=11), b"x" * 11)), 413)

    def test_max_connections(self):
        gateway = self.launch()
        clients = [self.client() for _ in range(3)]
        for client in clients:
            client.ask(cgi.params())
        gateway.reload(listens=[(self.where, "fastcgi", "max-connections = 3")])
        self.assertTrue(self.client().closed())
        gateway.reload(listens=[(self.where, "fastcgi", "max-connections = 4")])
        self.assertEqual(status(self.client().ask(cgi.params())), 200)

    def test_idle_timeout_of_idle_connections(self):
        gateway = self.launch()
        client = self.client()
        self.assertEqual(status(client.ask(cgi.params())), 200)
        gateway.reload(listens=[(self.where, "fastcgi", "idle-timeout = 200ms")])
        self.assertTrue(client.closed())

    def test_read_timeout_of_a_request_that_has_begun(self):
        gateway = self.launch()
        client = self.client()
        client.send(fcgi.begin() + fcgi.record(fcgi.PARAMS, 1, b"x")[:-1])
        wait.until(lambda: self.gateway_connections() > 0, "the connection")
        gateway.reload(listens=[(self.where, "fastcgi", "read-timeout = 200ms")])
        self.assertTrue(client.closed())

    def gateway_connections(self):
        """Descriptors of accepted connections, roughly: there is nothing to ask yet."""
        return len(os.listdir("/proc/%d/fd" % self.gateway.pid))

    def test_mode_and_owner(self):
        gateway = self.launch([(self.scope.unix("f0"), "fastcgi", "")])
        where = gateway.parts["listens"][0][0]
        inode = self.inode(where)
        gateway.reload(listens=[(where, "fastcgi", "mode = 0600")])
        found = os.stat(where[5:])
        self.assertEqual((stat.S_IMODE(found.st_mode), found.st_ino), (0o600, inode))
        if ROOT:
            gateway.reload(listens=[(where, "fastcgi", 'mode = 0660 owner = "nobody" group = "nogroup"')])
            found = os.stat(where[5:])
            self.assertEqual((stat.S_IMODE(found.st_mode), found.st_uid), (0o660, pwd.getpwnam("nobody").pw_uid))
        os.chmod(where[5:], 0o666)
        gateway.reload()
        self.assertEqual(stat.S_IMODE(os.stat(where[5:]).st_mode), 0o666)  # what the file does not change stays

    def test_another_protocol(self):
        """Connections speak what they were accepted with."""
        gateway = self.launch()
        client = self.client()
        self.assertEqual(status(client.ask(cgi.params())), 200)
        gateway.reload(listens=[(self.where, "scgi", "max-params = 4k")])
        self.assertEqual(status(self.front(protocol="scgi").ask("")), 200)
        self.assertEqual(status(client.ask(cgi.params())), 200)
        self.assertEqual(status(client.ask(cgi.params(X="x" * 5000))), 431)
        gateway.reload(listens=[(self.where, "fastcgi", "")])
        self.assertEqual(self.who(), "first")
