"""Who is let in: certificates good and bad, and what else comes to the port where nodes meet (SCENARIOS E15)."""
import os
import re
import socket
import ssl
import time

from harness import authority, cluster, crowd, wait, weir

MANY = 10000


class Three(cluster.Case):
    def setUp(self):
        super().setUp()
        self.c = self.formed("a", "b", "c")

    def undisturbed(self):
        """It is the cluster it was, and can still decide."""
        self.c.wait_agree("abc")

    def refused(self, reason, by="a"):
        """A log line of who refuses says why."""
        self.c[by].wait_line(r'event=peer_refused .*reason="?%s' % re.escape(reason))


class TestCertificates(Three):
    """A stranger with a certificate that its own weir would not start with: openssl(1) plays it."""

    def knock(self, identity, by="d"):
        host = self.c.net.hosts.get(by) or self.c.net.host(by)
        certificate, key = identity
        return cluster.openssl_client(host, self.c["a"].host, "-cert", certificate, "-key", key, "-CAfile",
                                      self.c.authority.ca)

    def test_expired(self):
        said = self.knock(self.c.authority.issue_odd("d", -7200, -3600))
        self.refused("expired")
        self.assertIn("certificate expired", said)
        self.undisturbed()

    def test_not_yet_valid(self):
        self.knock(self.c.authority.issue_odd("d", 7200, 86400))
        self.refused("not yet valid")

    def test_wrong_authority(self):
        self.knock(authority.Authority(self.scope).issue("d"))
        self.refused("unknown authority")
        self.undisturbed()

    def test_wrong_cluster(self):
        self.knock(self.c.authority.issue_odd("d", names="URI:weir://us/d"))
        self.refused("wrong cluster")

    def test_no_name(self):
        self.knock(self.c.authority.issue_odd("d", names="DNS:d.example.org"))
        self.refused("wrong name")

    def test_no_certificate(self):
        cluster.openssl_client(self.c.net.host("d"), self.c["a"].host)
        self.refused("no certificate")
        self.undisturbed()

    def test_revoked(self):
        identity = self.c.authority.issue("d")
        self.c.authority.revoke("d")
        for node in self.c:
            node.reload()
        self.knock(identity)
        self.refused("revoked")
        self.undisturbed()

    def test_another_nodes_name(self):
        """The certificate says b, and b is there: without a word nothing comes of it. What it says is in TestFrames."""
        self.knock(self.c.authority.issue_odd("b"))
        self.undisturbed()


class TestReload(Three):
    def setUp(self):
        super().setUp()
        self.host = self.c.net.host("x")

    def links(self, of="a", to=None):
        """Which connection each link is: it is another one when it was opened again."""
        # Two may dial each other at once: then the one link that stays is the second.
        return {(row["peer"], row["link"]): (row["state"], row["reconnects"], row["dialled"])
                for row in self.c[of].ask("links")["links"] if to is None or row["peer"] in to}

    def wait_linked(self):
        wait.until(lambda: all([link[0] for link in self.links(n).values()] == ["open"] * 4 for n in "abc"), "all links")

    def served(self, name):
        """The certificate that the node shows to whoever asks."""
        said = cluster.openssl_client(self.host, self.c[name].host)
        found = re.search(r"-----BEGIN CERTIFICATE-----\n.*?-----END CERTIFICATE-----\n", said, re.S)
        return found and found.group(0)

    def test_renewed_while_running(self):
        self.wait_linked()
        before, linked = self.c["a"].view(), {n: self.links(n) for n in "abc"}
        for node in self.c:
            old = self.served(node.name)
            node.identity = self.c.authority.issue(node.name, "--force")
            self.assertEqual(node.reload()[0], 0)
            with open(node.identity[0], encoding="ascii") as f:
                new = f.read()
            self.assertNotEqual(old, new)
            wait.until(lambda: self.served(node.name) == new, lambda: "%s shows the new certificate" % node.name)
        # No link was dropped for it.
        self.assertEqual(self.c.wait_agree("abc"), before)
        self.assertEqual({n: self.links(n) for n in "abc"}, linked)
        # New links are made with the new ones.
        self.c["b"].kill()
        self.c["b"].start()
        self.c.wait_agree("abc")

    def test_a_bad_file_changes_nothing(self):
        good = self.c["a"].identity
        self.c["a"].identity = self.c.authority.issue_odd("a", -7200, -3600)
        code, _, err = self.c["a"].reload()
        self.assertNotEqual(code, 0)
        self.assertIn("expired", err)
        self.c["b"].kill()
        self.c["b"].start()
        self.c.wait_agree("abc")
        self.c["a"].identity = good
        self.assertEqual(self.c["a"].reload()[0], 0)

    def test_a_revoked_node_is_out(self):
        """Its links end, and those of the others are the connections that they were. It gets in no more."""
        self.wait_linked()
        linked = {n: self.links(n, "ab") for n in "ab"}
        self.c.authority.revoke("c")
        for name in "ab":
            self.assertEqual(self.c[name].reload()[0], 0)
            self.c[name].wait_line('event=peer_refused reason=revoked detail="since the last reload" .*name=c ')
        self.c.wait_agree("ab")
        self.assertEqual({n: self.links(n, "ab") for n in "ab"}, linked)
        self.c.wait_fenced("c")
        self.c["c"].kill()
        # Its own list does not know of it yet.
        self.c["c"].set(crl=None)
        self.c["c"].start()
        self.c["c"].wait_line('event=peer_refused reason=revoked detail="told by the other side"')
        self.c["c"].wait_state("seeking")

    def test_what_the_cluster_refuses_is_told(self):
        """More apps than a HELLO has room for: whoever reloads hears why, and all goes on as it was."""
        before, apps = self.c["a"].view(), self.c["a"].apps
        self.c["a"].apps = apps + [weir.app("app%d" % i, ['backend "unix:%s" { }' % self.scope.path("nobody")],
                                            match=["path:/app%d" % i]) for i in range(256)]
        code, _, err = self.c["a"].reload()
        self.assertNotEqual(code, 0)
        self.assertIn("cluster: more than 256 apps", err)
        self.c["a"].apps = apps
        self.assertEqual(self.c["a"].reload()[0], 0)
        self.assertEqual(self.c.wait_agree("abc"), before)

    def test_peers(self):
        """A node that is told of the others only later."""
        host = self.c["a"].host.address
        self.c.add("d", peers='"%s:%d"' % (host, 7499))
        self.c.start("d")
        self.c["d"].wait_state("seeking")
        self.c["d"].set(peers='"%s:%d"' % (host, cluster.PORT))
        self.assertEqual(self.c["d"].reload()[0], 0)
        self.c.wait_agree("abcd")


class TestStrangers(Three):
    def setUp(self):
        super().setUp()
        self.host = self.c.net.host("x")

    def knock(self):
        s = self.host.connect(self.c["a"].host, cluster.PORT)
        self.addCleanup(s.close)
        return s

    def closed(self, s, bound=wait.BOUND):
        s.settimeout(bound)
        try:
            while s.recv(4096):
                pass
        except ConnectionResetError:
            pass

    def test_plain_text(self):
        s = self.knock()
        s.sendall(b"GET / HTTP/1.1\r\n\r\n")
        self.closed(s)
        self.refused("not TLS")
        self.undisturbed()

    def test_nothing(self):
        """It is closed when the time for a handshake is over: 5 s."""
        self.closed(self.knock())
        self.undisturbed()

    def test_half_a_handshake(self):
        s = self.knock()
        s.sendall(bytes.fromhex("1603010200010001fc0303"))
        self.closed(s)
        self.undisturbed()

    def test_an_older_tls(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with self.assertRaises((ssl.SSLError, ConnectionError)):
            context.wrap_socket(self.knock())
        self.refused("protocol")

    def test_who_connects_and_goes(self):
        for _ in range(200):
            self.knock().close()
        self.undisturbed()

    def refused_many(self):
        """How many a has closed at once, by its log, and in how many lines."""
        lines = self.c["a"].lines("event=peer_refused reason=\"too many that have not greeted\"")
        return sum(1 + int(re.search(r"left_out=(\d+)", line).group(1)) for line in lines), len(lines)

    def test_many_that_never_finish(self):
        """10,000 at a, held and renewed: bounded, each kind logged once a second, the others undisturbed. A node that
        knows nobody but a gets in meanwhile."""
        self.c.add("d", peers='"%s:%d"' % (self.c["a"].host.address, cluster.PORT))
        before, began = self.c["a"].view(), time.monotonic()
        held = crowd.Crowd(self.scope, self.host, self.c["a"].host, cluster.PORT, MANY)
        self.assertEqual(held.wait_there(3 * wait.BOUND), MANY)
        wait.until(lambda: self.refused_many()[0] >= MANY - 64, lambda: "all have come: %r" % (self.refused_many(),),
                   3 * wait.BOUND)
        # It has their places for longer than a silent node stays in the view.
        self.refused("not greeted in time")
        for node in self.c:
            if node.running:
                self.assertEqual((node.lines("event=peer_down"), node.view()), ([], before), node.name)
        self.c.start("d")
        self.c.wait_agree("abcd")
        self.assertLess(len(os.listdir("/proc/%d/fd" % self.c["a"].pid)), 250)
        for kind in ("too many that have not greeted", "not greeted in time"):
            self.assertLessEqual(len(self.c["a"].lines("event=peer_refused reason=\"%s\"" % kind)),
                                 time.monotonic() - began + 1)
        held.stop()
        self.c.wait_agree("abcd")


class TestFrames(Three):
    """A node of the cluster that has gone mad: its certificate is good, what it says is not."""

    def setUp(self):
        super().setUp()
        self.host = self.c.net.host("x")
        self.identity = self.c.authority.issue("x")

    def talk(self, data, to="a"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.minimum_version = False, ssl.TLSVersion.TLSv1_3
        context.load_verify_locations(self.c.authority.ca)
        context.load_cert_chain(*self.identity)
        # One that is not closed keeps one of its address's places for a second.
        with context.wrap_socket(self.host.connect(self.c[to].host, cluster.PORT)) as s:
            s.settimeout(wait.BOUND)
            s.sendall(data)
            try:
                while s.recv(65536):
                    pass
            except (ConnectionResetError, ssl.SSLError):
                pass

    def hello(self, least, greatest, name=b"x", incarnation=1, epoch=0):
        """As doc/peer-protocol.md has it: control link, never in a view, no apps."""
        def text(said, count):
            return len(said).to_bytes(count, "big") + said
        body = (b"weir" + least.to_bytes(2, "big") + greatest.to_bytes(2, "big") + bytes([0]) + bytes(16) + text(name, 1)
                + incarnation.to_bytes(8, "big") + epoch.to_bytes(8, "big") + bytes([0]) + text(b"10.77.0.99:7400", 2)
                + text(b"", 1) + text(b"", 2) + bytes(2))
        return self.head(len(body), 1) + body

    @staticmethod
    def head(length, kind, flags=0, stream=0, sequence=1):
        return (length.to_bytes(4, "big") + bytes([kind, flags]) + stream.to_bytes(2, "big")
                + sequence.to_bytes(8, "big"))

    def test_nonsense(self):
        for said, data in (("frame too long for its type", self.head((1 << 20) + (64 << 10) + 1, 5)),
                           ("frame before HELLO", self.head(0, 3)), ("unknown frame type", self.head(0, 99)),
                           ("unknown frame flags", self.head(0, 1, flags=1)),
                           ("sequence number out of turn", self.head(0, 1, sequence=2)), ("HELLO is none", self.head(0, 1)),
                           ("its epoch is made up", self.hello(1, 1, epoch=1 << 40)),
                           ("unknown frame flags", bytes(range(256)) * 16)):
            with self.subTest(said=said):
                line = 'event=peer_refused reason=malformed detail="%s".* name=x ' % said
                before = len(self.c["a"].lines(line))

                def logged():
                    # There is one line a second for all that is malformed: it may have been of the one before.
                    self.talk(data)
                    return len(self.c["a"].lines(line)) > before
                wait.until(logged, lambda: "a line that says %s" % said)
        self.undisturbed()

    def test_another_nodes_name(self):
        """Whoever has b's certificate is neither c nor a second b, nor the node that it talks to."""
        before = self.c["a"].view()
        self.identity = self.c.authority.issue_odd("b")
        for name, said in ((b"c", "its certificate has another name"), (b"b", "another process of this name"),
                           (b"a", "it has the name of this node")):
            self.talk(self.hello(1, 1, name))
            # There is one line a second for each kind; the last one comes when its second is over.
            self.c["a"].wait_line('event=peer_refused reason=name detail="%s.*" .*name=b ' % said)
        self.assertEqual(self.c.wait_agree("abc"), before)

    def test_another_version(self):
        """Both ranges are in the log of who refuses."""
        before = self.c["a"].view()
        self.talk(self.hello(2, 3))
        self.c["a"].wait_line('event=peer_refused reason=version detail="it speaks 2 to 3, this node 1 to 1".* name=x ')
        self.assertEqual(self.c.wait_agree("abc"), before)

    def test_recorded(self):
        """What a node of the cluster has sent is sent once more, to the byte."""
        before = self.c["a"].view()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.minimum_version = False, ssl.TLSVersion.TLSv1_3
        context.load_verify_locations(self.c.authority.ca)
        context.load_cert_chain(*self.identity)
        come, gone = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls, sent = context.wrap_bio(come, gone), b""
        s = self.host.connect(self.c["a"].host, cluster.PORT)
        self.addCleanup(s.close)
        shaken = False
        while not shaken:
            try:
                tls.do_handshake()
                shaken = True
            except ssl.SSLWantReadError:
                pass
            said = gone.read()
            sent += said
            s.sendall(said)
            if not shaken:
                got = s.recv(65536)
                self.assertTrue(got)
                come.write(got)
        tls.write(self.hello(2, 3))
        said = gone.read()
        sent += said
        s.sendall(said)
        # It was a good handshake, for what it said inside was read.
        self.refused("version")
        again = self.host.connect(self.c["a"].host, cluster.PORT)
        self.addCleanup(again.close)
        again.sendall(sent)
        again.settimeout(wait.BOUND)
        try:
            while again.recv(65536):
                pass
        except ConnectionResetError:
            pass
        self.refused("protocol")
        self.assertEqual(len(self.c["a"].lines("event=peer_refused reason=version")), 1)
        self.assertEqual(self.c.wait_agree("abc"), before)

    def test_from_a_removed_node(self):
        """What was taken out of the view, and another process has come after it, is not let in any more."""
        def incarnation():
            return [m["incarnation"] for m in self.c["a"].show()["members"] if m["name"] == "c"][0]
        old = incarnation()
        self.c["c"].kill()
        self.c["c"].start()
        self.c.wait_agree("abc")
        self.assertNotEqual(incarnation(), old)
        before, line = self.c["a"].view(), 'event=peer_refused reason=removed detail="its incarnation was removed".* name=c '
        self.identity = self.c.authority.issue_odd("c")
        # As on a link that is open: it leaves, has others forgotten, and reports them dead.
        other = [m for m in before["members"] if m["name"] == "b"][0]
        said = self.hello(1, 1, b"c", int(old, 16))
        for i, report in enumerate((self.report(3), self.report(4, b"b"), self.report(1, b"b", int(other["incarnation"], 16)))):
            said += self.head(len(report), 7, sequence=2 + i) + report
        for node in self.c:
            if node.name != "c":
                self.talk(said, node.name)
                node.wait_line(line)
        self.assertEqual(self.c.wait_agree("abc"), before)

    @staticmethod
    def report(kind, name=b"", incarnation=0):
        return bytes([kind, len(name)]) + name + incarnation.to_bytes(8, "big") + bytes(16)
