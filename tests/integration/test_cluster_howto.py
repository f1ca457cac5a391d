"""What doc/cluster-howto.md tells operators to do, where nothing else tests it."""
import os
import shutil
import signal

from harness import authority, cluster, wait


class TestAuthority(cluster.Case):
    """Another authority takes over, and no node is alone for it."""

    def reload(self, **options):
        for node in self.c:
            node.set(**options)
            code, _, err = node.reload()
            self.assertEqual(code, 0, err)

    def restart_all(self):
        """So that all links are new."""
        for node in list(self.c):
            node.stop()
            node.start()
            self.c.wait_agree("abc")

    def both(self, name):
        path = self.scope.path("both-" + name)
        with open(path, "w") as out:
            for one in (self.c.authority, self.other):
                with open(one.file(name)) as f:
                    out.write(f.read())
        return '"%s"' % path

    def incarnations(self):
        """Who left and came back has another one."""
        return {m["name"]: m["incarnation"] for m in self.c.wait_agree("abc")["members"]}

    def links_anew(self, why):
        """Links have ended for this reason, and all are there again."""
        wait.until(lambda: any(node.lines("event=peer_refused .*" + why) for node in self.c), "links that end")
        for node in self.c:
            wait.until(lambda: [row["state"] for row in node.ask("links")["links"]] == ["open"] * 4,
                       lambda: "four links: %r" % node.ask("links"))

    def test_stolen(self):
        """A certificate is revoked, and its node has another one."""
        self.c = c = self.formed("a", "b", "c", kind="loopback")
        before = self.incarnations()
        c.authority.revoke("a")
        c["a"].identity = c.authority.issue("a", "--force")
        self.reload()
        self.links_anew("revoked")
        self.assertEqual(self.incarnations(), before)

    def test_change(self):
        self.c = c = self.formed("a", "b", "c", kind="loopback")
        self.other = authority.Authority(self.scope, name="pki2")
        self.reload(ca=self.both("ca.pem"), crl=self.both("crl.pem"))
        old = c["b"].identity
        for node in c:
            node.identity = self.other.issue(node.name)
        self.reload()
        before = self.incarnations()
        self.reload(ca='"%s"' % self.other.ca, crl='"%s"' % self.other.crl)
        self.links_anew("since the last reload")
        self.assertEqual(self.incarnations(), before)
        self.restart_all()
        # The old one counts nothing any more.
        c["b"].identity = old
        code, _, err = c["b"].reload()
        self.assertEqual(code, 1)
        self.assertIn("b.pem", err)


class TestNoMajority(cluster.Case):
    """It is lost for good: what is left begins a new cluster, and whoever comes back is no part of it by mistake."""

    @staticmethod
    def forget_all(node):
        shutil.rmtree(node.scope.path("state/cluster"))

    def begin_anew(self, node):
        self.c.begin_anew()
        self.forget_all(node)
        node.set(peers=None)
        node.start()

    def test_one_is_left(self):
        self.c = c = self.formed("a", "b", "c", kind="loopback")
        sessions = c["a"].scope.path("state/sessions")
        wait.until(lambda: os.path.exists(sessions), "the store")
        c["b"].kill()
        c["c"].kill()
        c.wait_fenced("a")
        self.assertRegex(c["a"].weirctl("health")[2], "fenced")
        c["a"].stop(signal.SIGINT)
        self.begin_anew(c["a"])
        c.wait_agree("a")
        self.assertTrue(os.path.exists(sessions))
        # One that was thought to be dead.
        c["b"].start()
        c["a"].wait_line("event=peer_refused reason=\"other cluster\"")
        self.assertEqual(c["b"].show()["state"], "seeking")
        self.assertEqual(c["a"].view()["voters"], ["a"])
        c["b"].stop(signal.SIGINT)
        self.forget_all(c["b"])
        c["b"].start()
        c.wait_agree("ab")
        c.wait_voters("ab")
