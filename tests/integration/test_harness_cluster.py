"""The tools of the cluster tests: nodes and their files, certificates good and bad, clocks, and what is read from logs.
None of this needs nodes that find each other."""
import re
import time

from harness import admin, authority, case, cluster, history, process, wait, weir

LINE = "2026-01-01T00:00:00.000Z level=info event="
INSTALLED = LINE + "view_installed epoch=%d coordinator=%s digest=%s\n"
COMMITTED = LINE + "view_committed epoch=%d digest=%s\n"
BEGAN = LINE + "coordinator_began after_epoch=%d\n"
ENDED = LINE + "coordinator_ended name=a\n"


class TestHistory(case.Case):
    """Logs that are made up, and what is wrong with them."""

    # Nodes a and b; a coordinates first. Whoever was started anew takes the view that it had once more.
    GOOD = {"a_0": BEGAN % 0 + COMMITTED % (1, "x") + INSTALLED % (1, "a", "x") + ENDED + INSTALLED % (3, "b", "z"),
            "b_0": INSTALLED % (1, "a", "x") + BEGAN % 1 + COMMITTED % (3, "z") + INSTALLED % (3, "b", "z"),
            "b_1": INSTALLED % (3, "b", "z") + INSTALLED % (4, "a", "w")}

    def problems(self, *more, **logs):
        return history.problems({k.replace("_", " "): v for k, v in logs.items()}, *more)

    def test_good(self):
        self.assertEqual(self.problems(**self.GOOD), [])
        self.assertEqual(self.problems(), [])

    def test_an_epoch_that_falls(self):
        for epoch in (1, 2):
            log = BEGAN % 0 + COMMITTED % (2, "x") + INSTALLED % (2, "a", "x") + INSTALLED % (epoch, "a", "x")
            self.assertEqual(self.problems(a_0=log), ["a 0 installed epoch %d after 2" % epoch])

    def test_an_epoch_that_falls_over_a_restart(self):
        said = self.problems(**self.GOOD, b_2="", b_3=INSTALLED % (3, "b", "z"))
        self.assertEqual(said, ["b 3 installed epoch 3 after 4"])
        # And again once it has fallen.
        said = self.problems(**self.GOOD, b_2=INSTALLED % (3, "b", "z") * 2)
        self.assertEqual(said, ["b 2 installed epoch 3 after 4", "b 2 installed epoch 3 after 3"])

    def test_two_coordinators(self):
        [said] = self.problems(**self.GOOD, c_0=INSTALLED % (3, "c", "z"))
        self.assertRegex(said, r"(?s)^epoch 3 has 2 coordinators:.*a 0: .*c 0: ")
        [said] = self.problems(**self.GOOD, c_0=BEGAN % 1 + COMMITTED % (3, "z") + INSTALLED % (3, "b", "z"))
        self.assertRegex(said, r"(?s)^epoch 3 has 2 coordinators:.*event=view_installed.*c 0: .*event=view_committed")

    def test_two_views(self):
        wrong = dict(self.GOOD, c_0=INSTALLED % (3, "b", "y"))
        [said] = self.problems(**wrong)
        self.assertRegex(said, "^epoch 3 has 2 views:")
        with self.assertRaisesRegex(AssertionError, "must never be"):
            history.check({k.replace("_", " "): v for k, v in wrong.items()})

    def test_one_commits_that_does_not_coordinate(self):
        for log in ("", BEGAN % 3 + ENDED):
            said = self.problems(**self.GOOD, a_1=log + COMMITTED % (5, "v"))
            self.assertEqual(said, ["a 1 committed epoch 5 and does not coordinate"])
        said = self.problems(**self.GOOD, a_1=BEGAN % 5 + COMMITTED % (5, "v"))
        self.assertEqual(said, ["a 1 committed epoch 5 and began after 5"])

    def test_a_reign_that_another_one_has_ended(self):
        """Each log alone is as it must be: b was elected after a, and a goes on."""
        def said(a, b):
            seen = INSTALLED % (1, "a", "x")
            return self.problems(a_0=BEGAN % 0 + COMMITTED % (1, "x") + seen + a, b_0=seen + b)
        b = BEGAN % 5 + COMMITTED % (6, "v")
        self.assertEqual(said(COMMITTED % (5, "w") + COMMITTED % (7, "u"), b),
                         ["a 0 committed epoch 7 and began after 0, and b 0 committed 6"])
        # It has won once more, but does not know of what b has decided.
        self.assertEqual(said(COMMITTED % (5, "w") + ENDED + BEGAN % 5 + COMMITTED % (7, "u"), b),
                         ["a 0 committed epoch 7 and began after 5, and b 0 committed 6"])
        self.assertEqual(said(COMMITTED % (5, "w") + ENDED + BEGAN % 6 + COMMITTED % (7, "u"), b), [])
        # Whose log comes first says nothing of what was first; nor is a restarted node the one that it was.
        self.assertEqual(said(BEGAN % 1 + COMMITTED % (6, "v"), BEGAN % 1 + COMMITTED % (5, "w") + COMMITTED % (8, "t")),
                         ["a 0 committed epoch 6 and began after 1, and b 0 committed 5",
                          "b 0 committed epoch 8 and began after 1, and a 0 committed 6"])
        self.assertEqual(self.problems(**self.GOOD, b_2=INSTALLED % (5, "b", "v") + BEGAN % 2 + COMMITTED % (5, "v")),
                         ["b 2 committed epoch 5 and began after 2, and b 0 committed 3"])

    def test_logs_that_say_nothing(self):
        self.assertEqual(self.problems(**self.GOOD, c_0="", c_1=BEGAN % 4), ["c has installed no view"])
        self.assertEqual(self.problems({"c"}, **self.GOOD, c_0=""), [])
        # As if an event had another name.
        renamed = {k: v.replace("view_installed", "view_taken") for k, v in self.GOOD.items()}
        self.assertEqual(self.problems(**renamed), ["a has installed no view", "b has installed no view"])
        renamed = {k: v.replace("view_committed", "view_agreed") for k, v in self.GOOD.items()}
        self.assertEqual(self.problems(**renamed), ["nobody has committed a view"])
        renamed = {k: v.replace("coordinator_began", "elected") for k, v in self.GOOD.items()}
        self.assertEqual(self.problems(**renamed), ["a 0 committed epoch 1 and does not coordinate",
                                                    "b 0 committed epoch 3 and does not coordinate"])

    def test_what_was_seen_and_is_not_in_the_logs(self):
        self.assertEqual(self.problems((), {"a": {(1, "a"), (3, "b")}, "b": {(4, "a")}}, **self.GOOD), [])
        said = self.problems((), {"a": {(1, "a"), (2, "a")}, "b": {(1, "b")}}, **self.GOOD)
        self.assertEqual(said, ["a went by epoch 2 of a, and its log says nothing of it",
                                "b went by epoch 1 of b, and its log says nothing of it"])

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
        self.addCleanup(self.cluster.seen.clear)  # these nodes have no logs

    @staticmethod
    def view(epoch=3, members="ab", coordinator="a"):
        return {"epoch": epoch, "coordinator": coordinator, "voters": ["a"], "members": [{"name": n} for n in members]}

    def agree(self, *told, members="ab"):
        """told: (state, epoch shown, view)"""
        self.cluster.nodes = {n: Told(n, state and {"state": state, "epoch": epoch}, view)
                              for n, (state, epoch, view) in zip("abc", told)}
        return self.cluster.agree(list(members))

    def test_agree(self):
        good = ("member", 3, self.view())
        self.assertEqual(self.agree(good, good), self.view())
        self.assertEqual(self.cluster.seen, {"a": {(3, "a")}, "b": {(3, "a")}})
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
        self.cluster.strangers = {"a", "b"}  # no test waits until they are a cluster

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
        wrong = INSTALLED % (2, "a", "x") + INSTALLED % (1, "a", "y")
        self.cluster["a"].logs.append(self.cluster.scope.write("false.log", wrong))
        self.cluster["b"].logs.append(self.cluster.scope.write("empty.log", ""))
        self.cluster.strangers = set()
        self.cluster.seen["a"] = {(5, "b")}
        said = str(self.scope.close())
        for problem in ("a 0 installed epoch 1 after 2", "b has installed no view", "a went by epoch 5 of b"):
            self.assertIn(problem, said)

    def test_a_clock_that_is_off(self):
        node = self.cluster["a"]
        node.use_clock("+10m")
        node.start()
        line = node.wait_line("event=admin_opened")[0]
        said = time.mktime(time.strptime(line[:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone
        self.assertAlmostEqual(said - time.time(), 600, delta=60)
        self.assertTrue(wait.until(lambda: node.ask("status"), "an answer"))
