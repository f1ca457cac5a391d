"""The tools of the cluster tests: nodes and their files, certificates good and bad, clocks, and what is read from logs.
None of this needs nodes that find each other."""
import re
import time

from harness import admin, authority, case, cluster, history, process, wait, weir

INSTALLED = "2026-01-01T00:00:00.000Z level=info event=view_installed epoch=%d coordinator=%s digest=%s\n"
COMMITTED = "2026-01-01T00:00:00.000Z level=info event=view_committed epoch=%d digest=%s\n"


class TestHistory(case.Case):
    def problems(self, members=(), **logs):
        return history.problems({k.replace("_", " "): v for k, v in logs.items()}, members)

    def test_good(self):
        self.assertEqual(self.problems(a_0=COMMITTED % (1, "x") + INSTALLED % (1, "a", "x") + INSTALLED % (3, "b", "z"),
                                       b_0=INSTALLED % (1, "a", "x") + COMMITTED % (3, "z") + INSTALLED % (3, "b", "z"),
                                       b_1=INSTALLED % (3, "b", "z")), [])

    def test_an_epoch_that_falls(self):
        said = self.problems(a_0=INSTALLED % (2, "a", "x") + INSTALLED % (1, "a", "y"))
        self.assertEqual(said, ["a 0 installed epoch 1 after 2"])
        self.assertEqual(self.problems(a_0=INSTALLED % (2, "a", "x") * 2), ["a 0 installed epoch 2 after 2"])

    def test_an_epoch_that_falls_with_a_restart(self):
        """What was stored is where it begins; it is not less."""
        before = INSTALLED % (2, "a", "x")
        self.assertEqual(self.problems(a_0=before, a_1=before + INSTALLED % (3, "a", "y")), [])
        self.assertEqual(self.problems(a_0=before, a_1=INSTALLED % (1, "a", "y")), ["a 1 installed epoch 1 after 2"])

    def test_events_of_another_name(self):
        """Who was a member has said so in its log."""
        good = COMMITTED % (1, "x") + INSTALLED % (1, "a", "x")
        self.assertEqual(self.problems("a", a_0=good), [])
        self.assertEqual(self.problems("ab", a_0=good, b_0=good.replace("view_", "map_")),
                         ["b was a member, and its log has no view_installed"])
        self.assertEqual(self.problems("a", a_0=INSTALLED % (1, "a", "x")),
                         ["there were views, and no log has a view_committed"])

    def test_two_coordinators(self):
        said = self.problems(a_0=INSTALLED % (2, "a", "x"), b_0=INSTALLED % (2, "b", "x"))
        self.assertEqual(len(said), 1)
        self.assertRegex(said[0], r"(?s)^epoch 2 has 2 coordinators:.*a 0: .*b 0: ")
        self.assertRegex(self.problems(a_0=COMMITTED % (2, "x"), b_1=COMMITTED % (2, "x"))[0], "2 coordinators")

    def test_two_views(self):
        said = self.problems(a_0=INSTALLED % (2, "a", "x"), b_0=INSTALLED % (2, "a", "y"))
        self.assertRegex(said[0], "^epoch 2 has 2 views:")
        with self.assertRaisesRegex(AssertionError, "must never be"):
            history.check({"a 0": INSTALLED % (2, "a", "x"), "b 0": INSTALLED % (2, "a", "y")})

    def test_lines(self):
        text = ('2026-01-01T00:00:00.000Z level=warn event=peer_refused reason="wrong name" detail="a=b \\x22" n=7\n'
                "no event\n2026-01-01T00:00:00.000Z level=info event=cut_o")
        found = history.events(text)
        self.assertEqual(len(found), 1)
        self.assertEqual(found[0].fields, {"level": "warn", "event": "peer_refused", "reason": "wrong name",
                                           "detail": "a=b \\x22", "n": "7"})
        self.assertEqual(found[0].number("n"), 7)
        self.assertEqual(history.events(text, "another"), [])


class Told:
    """A node that shows what the test says."""

    running, logs = True, ()

    def __init__(self, name, shown, view):
        self.name, self._shown, self._view = name, shown, view

    def show(self):
        return self._shown

    def view(self):
        return self._view

    def ask(self, *_):
        return self._view

    buckets = cluster.Node.buckets


class TestAgree(case.Case):
    """When nodes count as being of one mind."""

    def setUp(self):
        super().setUp()
        self.cluster = cluster.Cluster(self.scope, kind="loopback")

    @staticmethod
    def view(epoch=3, members="ab", coordinator="a"):
        return {"epoch": epoch, "coordinator": coordinator, "voters": ["a"], "members": [{"name": n} for n in members]}

    def agree(self, *told, members="ab"):
        """told: (state, epoch shown, view)"""
        self.cluster.nodes = {n: Told(n, state and {"state": state, "epoch": epoch}, view)
                              for n, (state, epoch, view) in zip("abc", told)}
        view = self.cluster.agree(list(members))
        self.cluster.members.clear()  # they have no logs
        return view

    def test_agree(self):
        good = ("member", 3, self.view())
        self.assertEqual(self.agree(good, good), self.view())
        for name, other in (("another view", ("member", 3, self.view(members="abc"))),
                            ("another epoch", ("member", 4, self.view(4))), ("seeking", ("seeking", 3, self.view())),
                            ("fenced", ("fenced", 3, self.view())), ("no answer", (None, 0, None)),
                            ("not installed", ("member", 2, self.view()))):
            with self.subTest(name=name):
                self.assertIsNone(self.agree(good, other))
        self.assertIsNone(self.agree(good, good, good, members="abc"))
        gone = ("member", 3, self.view(coordinator="c"))
        self.assertIsNone(self.agree(gone, gone))

    def test_a_wait_in_vain_says_what_is(self):
        self.agree(("fenced", 3, self.view()))
        with self.assertRaisesRegex(wait.TimeOut, r"one view with \['a'\] on \['a'\].*\na: .*fenced"):
            self.cluster.wait_agree("a", on=["a"], bound=0.1)

    def test_ranges_of_buckets(self):
        rows = [{"first": 0, "count": 2, "manager": "a", "lost": False}, {"first": 2, "count": 1, "manager": "", "lost": True},
                {"first": 3, "count": 1, "manager": "b", "lost": False}]
        self.assertEqual(Told("a", None, {"buckets": rows}).buckets("shop"), ["a", "a", None, "b"])
        with self.assertRaisesRegex(AssertionError, "a gap before bucket 3"):
            Told("a", None, {"buckets": [rows[0], rows[2]]}).buckets("shop")

    def test_who_cannot_be_tested_is_told_so(self):
        """The tests of clusters that form run as soon as there are some, and are skipped until then."""
        code, out, _ = admin.weirctl("-h")
        self.assertEqual(code, 0)
        self.assertEqual(cluster.missing() == "", bool(re.search(r"(?m)^cluster( |$)", out)))


class TestAuthority(case.Case):
    """What weir says of certificates before it starts; the reasons are those of tls/."""

    def setUp(self):
        super().setUp()
        self.cluster = cluster.Cluster(self.scope, ["a"], kind="loopback")
        self.node = self.cluster["a"]

    def said(self):
        self.node.write()
        return weir.run(["-t", "-c", self.node.config])

    def refused(self, reason):
        code, text = self.said()
        self.assertEqual(code, 1, text)
        self.assertRegex(text, r"\A%s: cluster: .*%s" % (re.escape(self.node.config), reason))

    def test_good(self):
        self.assertEqual(self.said(), (0, self.node.config + ": the configuration is good\n"))
        self.node.identity = self.cluster.authority.issue_odd("a")
        self.assertEqual(self.said()[0], 0)

    def test_expired(self):
        self.node.identity = self.cluster.authority.issue_odd("a", -7200, -3600)
        self.refused("expired")

    def test_not_yet_valid(self):
        self.node.identity = self.cluster.authority.issue_odd("a", 7200, 86400)
        self.refused("not yet valid")

    def test_wrong_name(self):
        self.node.identity = self.cluster.authority.issue("b")
        self.refused("is of node b of cluster eu, and this is node a")
        self.node.identity = self.cluster.authority.issue_odd("a", names="URI:weir://us/a")
        self.refused("is of node a of cluster us")

    def test_wrong_authority(self):
        self.node.identity = authority.Authority(self.scope).issue("a")
        self.refused("authority")

    def test_revoked(self):
        self.cluster.authority.revoke("a")
        self.refused("revoked")

    def test_no_file(self):
        self.node.identity = ("/nowhere/a.pem", "/nowhere/a.key")
        self.refused("/nowhere/a.pem: No such file")


class TestNodes(case.Case):
    def setUp(self):
        super().setUp()
        self.cluster = cluster.Cluster(self.scope, ["a", "b"])

    def test_files(self):
        self.cluster.add("w", witness="yes", priority="3")
        for node in self.cluster:
            node.write()
            self.assertEqual(weir.run(["-t", "-c", node.config])[0], 0)
        with open(self.cluster["w"].config) as f:
            text = f.read()
        self.assertNotIn("app ", text)
        self.assertNotIn("protocol", text)
        self.assertIn("  priority = 3\n", text)
        self.cluster["a"].set(zone="rack-1", crl=None)
        with open(self.cluster["a"].config) as f:
            text = f.read()
        self.assertIn("  zone = rack-1\n", text)
        self.assertNotIn("crl", text)
        self.assertIn("  peers = { %s }\n" % ", ".join('"%s:7400"' % self.cluster[n].host.address for n in "ab"), text)

    def test_life(self):
        self.cluster.start()
        a, b = self.cluster["a"], self.cluster["b"]
        for node in (a, b):
            self.assertEqual(node.ask("status")["node"], node.name)
        self.assertEqual(self.cluster.running, ["a", "b"])
        a.kill()
        self.assertEqual(self.cluster.running, ["b"])
        a.start()
        b.pause()
        self.assertEqual(self.cluster.others("x"), ["a"])
        self.assertEqual(process.state(b.pid), "T")
        b.resume()
        b.wait_line("event=admin_opened")
        b.stop()
        self.assertEqual(sorted(self.cluster.logs()), ["a 0", "a 1", "b 0"])
        self.assertFalse(process.alive(b.pid))

    def test_reload(self):
        self.cluster.start("a")
        a = self.cluster["a"]
        a.set(zone="rack-1")
        code, out, err = a.reload()
        self.assertEqual((code, err), (0, ""))
        self.assertNotIn("restart", out)
        a.set(buckets="128", witness="yes")
        code, out, _ = a.reload()
        self.assertEqual(code, 0)
        for option in ("cluster.buckets", "cluster.witness"):
            self.assertIn("%s: %s: needs a restart" % (a.config, option), out)
            a.wait_line("event=reload_needs_restart option=%s$" % option)

    def test_a_paused_node_is_ended(self):
        self.cluster.start("a")
        self.cluster["a"].pause()
        self.assertEqual(self.scope.close(), [])
        self.assertFalse(process.alive(self.cluster["a"].pid))

    def test_the_end_looks_at_the_logs(self):
        path = self.cluster.scope.write("false.log", INSTALLED % (2, "a", "x") + INSTALLED % (1, "a", "y"))
        self.cluster["a"].logs.append(path)
        errors = self.scope.close()
        self.assertRegex(str(errors), "a 0 installed epoch 1 after 2")

    def test_a_clock_that_is_off(self):
        node = self.cluster["a"]
        node.use_clock("+10m")
        node.start()
        line = node.wait_line("event=admin_opened")[0]
        said = time.mktime(time.strptime(line[:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone
        self.assertAlmostEqual(said - time.time(), 600, delta=60)
        self.assertTrue(wait.until(lambda: node.ask("status"), "an answer"))
