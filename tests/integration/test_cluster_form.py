"""Nodes become a cluster, agree on who is in it and what each manages, and leave it in good order."""
import os
import shutil
import time

from harness import cluster, history, wait, weir

T = 2  # failure-timeout of a Cluster, s
STORED = slice(16, 32)  # in the file `promise`


def balanced(test, buckets, names):
    """Every bucket has a manager, and the counts differ by one at most."""
    counts = [buckets.count(n) for n in names]
    test.assertEqual(sum(counts), len(buckets))
    test.assertLessEqual(max(counts) - min(counts), 1)


class TestForm(cluster.Case):
    def test_alone(self):
        """Without peers a node is a cluster of its own."""
        c = self.formed("a")
        shown = c["a"].show()
        self.assertEqual((shown["state"], shown["coordinator"], shown["majority"]), ("member", "a", True))
        self.assertEqual(c["a"].buckets("shop"), ["a"] * 64)

    def three_or_five(self, names):
        c = self.formed(*names)
        view = c.wait_voters(names) and c.wait_agree(names)
        self.assertEqual([m["name"] for m in view["members"]], sorted(names))
        shown = [c[n].show() for n in names]
        self.assertEqual(len({(s["id"], s["epoch"], s["coordinator"]) for s in shown}), 1)
        self.assertEqual(len({m["incarnation"] for m in view["members"]}), len(names))
        for s in shown:
            self.assertTrue(s["majority"])
            self.assertTrue(all(m["heard"] for m in s["members"] if m["name"] != s["node"]))
        maps = [c[n].buckets("shop") for n in names]
        self.assertTrue(all(m == maps[0] for m in maps))
        balanced(self, maps[0], names)
        for s in shown:
            self.assertEqual({m["name"]: m["buckets"]["shop"] for m in s["members"]},
                             {n: maps[0].count(n) for n in names})

    def test_three(self):
        self.three_or_five(list("abc"))

    def test_five(self):
        self.three_or_five(list("abcde"))

    def test_on_loopback(self):
        """Where there are no namespaces a cluster is one all the same."""
        c = self.cluster("a", "b", "c", kind="loopback")
        c.start()
        c.wait_agree("abc")

    def test_links(self):
        c = self.formed("a", "b", "c")

        def links():
            found = c["a"].ask("links")["links"]
            return found if len(found) == 4 and all(row["state"] == "open" for row in found) else None
        found = wait.until(links, lambda: "two links to each: %r" % c["a"].ask("links"))
        self.assertEqual(sorted((row["peer"], row["link"]) for row in found),
                         [(p, kind) for p in "bc" for kind in ("bulk", "control")])
        for row in found:
            if row["link"] == "control":
                wait.until(lambda: [r for r in c["a"].ask("links")["links"]
                                    if r["peer"] == row["peer"] and r["link"] == "control" and r["rtt_us"] > 0],
                           "a round trip time")
            self.assertGreater(row["received_frames"], 0)
            # 1 MiB, less what was sent and is not given back yet: of beats, which are all there is on bulk, nothing.
            self.assertGreaterEqual(row["credit"], 1 << (20 if row["link"] == "bulk" else 19))
            self.assertLessEqual(row["credit"], 1 << 20)
        self.grow(c["a"], found)

    def grow(self, node, before):
        """Beats go on and are heard: all that is counted grows, on each link, and a frame has a head of 16 bytes."""
        counts = [way + what for way in ("sent_", "received_") for what in ("frames", "bytes")]
        for old in before:
            def new(old=old):
                return next(r for r in node.ask("links")["links"] if (r["peer"], r["link"]) == (old["peer"], old["link"]))
            now = wait.until(lambda: (lambda r: all(r[k] > old[k] for k in counts) and r)(new()),
                             lambda: "all of it grows: %r, %r" % (old, new()))
            for way in ("sent_", "received_"):
                self.assertGreater(old[way + "bytes"], 16 * old[way + "frames"])
                self.assertGreater(now[way + "bytes"] - old[way + "bytes"],
                                   16 * (now[way + "frames"] - old[way + "frames"]))

    def test_a_minority_waits(self):
        """One of three is no cluster, however long it waits; two are."""
        c = self.cluster("a", "b", "c")
        c.start("a")
        c["a"].wait_line("event=admin_opened")
        self.assertEqual(c["a"].wait_state("seeking")["epoch"], 0)
        began = time.monotonic()
        wait.until(lambda: time.monotonic() - began > 2 * T, "longer than it takes to give anybody up")
        self.assertEqual(history.events(c["a"].process.log(), "coordinator_began", "view_committed", "view_installed"), [])
        shown = c["a"].show()
        self.assertEqual((shown["state"], shown["epoch"], shown["majority"]), ("seeking", 0, False))
        c.start("b")
        c.wait_agree("ab")

    def test_a_fourth_joins_through_any(self):
        c = self.formed("a", "b", "c")
        for i, through in enumerate("abc"):
            name = "d%d" % i
            c.add(name, peers='"%s:%d"' % (c[through].host.address, cluster.PORT))
            c.start(name)
            c.wait_agree([*"abc", *("d%d" % k for k in range(i + 1))])
        names = sorted(c.nodes)
        c.wait_voters(names)
        maps = [c[n].buckets("shop") for n in names]
        self.assertTrue(all(m == maps[0] for m in maps))
        balanced(self, maps[0], names)

    def test_eleven_buckets(self):
        """Over 1, 2, 3, 4 and again 1 nodes: each change moves what it must, and no bucket more."""
        c = self.cluster("a", buckets="11")
        c.start()
        c.wait_agree("a")
        old, names = c["a"].buckets("shop"), "a"
        for name in "bcd":
            c.add(name)
            c.start(name)
            names += name
            c.wait_agree(names)
            c.wait_voters(names)
            new = c["a"].buckets("shop")
            balanced(self, new, names)
            self.assertEqual({n for o, n in zip(old, new) if o != n}, {name})
            old = new
        for name in "bcd":
            c[name].stop()
            names = names.replace(name, "")
            c.wait_agree(names)
            c.wait_voters(names)
            new = c["a"].buckets("shop")
            balanced(self, new, names)
            self.assertEqual({o for o, n in zip(old, new) if o != n}, {name})
            old = new
        self.assertEqual(old, ["a"] * 11)

    def test_a_node_that_may_not_vote(self):
        c = self.formed("a", "b", "c")
        c.add("d", votes="no")
        c.start("d")
        c.wait_agree("abcd")
        c.wait_voters("abc")
        self.assertFalse([m for m in c["d"].show()["members"] if m["name"] == "d"][0]["voter"])

    def test_priority(self):
        c = self.cluster()
        c.founders = list("abc")
        for name, priority in (("a", "10"), ("b", "500"), ("c", "0")):
            c.add(name, priority=priority)
        c.start()
        c.wait_agree("abc")
        self.assertNotEqual(c.coordinator("a").name, "c")

    def test_zone_and_url(self):
        c = self.cluster("a", "b", "c")
        c["a"].set(zone="rack-1", public_url='"https://a.example.org"')
        c.start()
        for node in c:
            c.wait_agree("abc")
            members = node.view()["members"]
            self.assertEqual([(m["name"], m["zone"], m["url"]) for m in members],
                             [("a", "rack-1", "https://a.example.org"), ("b", "", ""), ("c", "", "")])


class TestEnd(cluster.Shared):
    names = "abc"

    def leave(self, name):
        c = self.c
        before = c["a"].buckets("shop")
        c[name].stop()
        left = c.others(name)
        c.wait_agree(left)
        c.wait_voters(left)
        after = c[left[0]].buckets("shop")
        balanced(self, after, left)
        # Nothing moves that need not, and nothing is lost.
        self.assertEqual([b for b, a in zip(before, after) if b != name and a != b], [])
        self.assertFalse(any(row["lost"] for row in c[left[0]].ask("buckets", "shop")["buckets"]
                             if row["manager"] == name))
        c[name].start()
        c.wait_agree("abc")
        c.wait_voters("abc")

    def test_a_member_leaves(self):
        self.leave(self.one())

    def test_the_coordinator_leaves(self):
        self.leave(self.coordinator())

    def test_all_leave(self):
        c = self.c
        id_ = c["a"].show()["id"]
        epoch = c["a"].show()["epoch"]
        for name in "abc":
            c[name].stop()
        c.start()
        view = c.wait_agree("abc")
        self.assertEqual(c["a"].show()["id"], id_)
        self.assertGreater(view["epoch"], epoch)


class Damage:
    """The control database of a node, in its state-dir. Tests for clusters of any size."""

    FOLDER = "state/cluster"

    def damage(self, how, name="a", seen=True):
        """seen: the node tells of it, and what was there is kept; otherwise nothing is there to tell of."""
        c = self.c
        c[name].kill()
        before = c.wait_agree(c.others(name))
        folder = c[name].scope.path(self.FOLDER)
        aside = os.path.join(folder, "damaged")
        shutil.rmtree(aside, ignore_errors=True)  # of the test before
        self.assertTrue(self.files(folder))
        how(folder)
        self.overlook_berkeley_db(c[name])
        c[name].start()
        if seen:
            c[name].wait_line("event=control_damaged .*file=db .*moved=damaged$")
            self.assertIn(os.path.join(aside, "control.db"), self.files(aside))
        self.assertGreater(c.wait_agree(c.nodes)["epoch"], before["epoch"])
        self.assertEqual(seen, os.path.isdir(aside))
        self.assertEqual(seen, bool(c[name].lines("event=control_damaged")))
        # Until it has stored what the others have, its vote may be none, and no second one may be lost.
        wait.until(lambda: len({self.stored(node) for node in c}) == 1,
                   lambda: "all have stored the same record: %r" % [self.stored(node) for node in c])

    def stored(self, node):
        """Term and number of the record that it has said to have stored."""
        with open(os.path.join(node.scope.path(self.FOLDER), "promise"), "rb") as f:
            return f.read()[STORED].hex()

    @staticmethod
    def overlook_berkeley_db(node):
        """It does not free its buffer of the log when an environment cannot be recovered; that is once a start."""
        path = node.scope.path("lsan")
        with open(path, "w") as f:
            f.write("leak:libdb-5.3\n")
        node.env = dict(node.env, LSAN_OPTIONS="print_suppressions=0:suppressions=" + path)

    @staticmethod
    def files(folder):
        return [os.path.join(where, name) for where, _, names in os.walk(folder) for name in names]

    def scribble(self, folder):
        for path in self.files(folder):
            with open(path, "r+b") as f:
                f.write(os.urandom(os.path.getsize(path)))

    def test_nonsense(self):
        self.damage(self.scribble, self.one())

    def test_nonsense_at_the_coordinator(self):
        self.damage(self.scribble, self.coordinator())


class TestDatabaseOfFive(Damage, cluster.Shared):
    names = "abcde"


class TestDatabase(Damage, cluster.Shared):
    names = "abc"

    def test_gone(self):
        self.damage(shutil.rmtree, seen=False)

    def test_empty_files(self):
        def truncate(folder):
            for path in self.files(folder):
                os.truncate(path, 0)
        self.damage(truncate)


class TestSettings(cluster.Case):
    """What nodes must have alike."""

    def test_disagreement(self):
        c = self.formed("a", "b", "c")
        c.add("d", apps=[weir.app("shop", ['backend "unix:/nowhere" { }'], session="ttl = 1h")])
        c.start("d")
        c.wait_agree("abcd")
        for node in c:
            app = node.show()["apps"][0]
            self.assertEqual((app["name"], app["buckets"], sorted(app["managers"])), ("shop", 64, list("abc")))
            self.assertEqual([row["node"] for row in app["disagree"]], ["d"])
            self.assertIn(" ttl=30m ", app["settings"])
            self.assertIn(" ttl=1h ", app["disagree"][0]["settings"])
        self.assertNotIn("d", c["a"].buckets("shop"))
        # It agrees after all.
        c["d"].apps = c.apps
        self.assertEqual(c["d"].reload()[0], 0)
        wait.until(lambda: c.agree("abcd") and "d" in c["a"].buckets("shop"), "buckets of d", pause=0.05)

    def test_number_of_buckets(self):
        c = self.formed("a", "b", "c")
        c.add("d", buckets="65")
        c.start("d")
        c.wait_agree("abcd")
        self.assertEqual([row["node"] for row in c["a"].show()["apps"][0]["disagree"]], ["d"])

    def test_an_app_that_few_host(self):
        c = self.formed("a", "b", "c")
        other = weir.app("other", ['backend "unix:/nowhere" { }'], match=["path:/other"])
        c.add("d", apps=[*c.apps, other])
        c.start("d")
        c.wait_agree("abcd")
        self.assertEqual(c["a"].buckets("other"), ["d"] * 64)
        balanced(self, c["a"].buckets("shop"), "abcd")


class TestClocks(cluster.Case):
    """Only certificates are judged by the clock; all else goes by what a node measures itself."""

    def minutes_apart(self, names, clocks):
        c = self.cluster(*names)
        for name, clock in clocks.items():
            c[name].use_clock(clock)
        c.start()
        before = c.wait_voters(names) and c.wait_agree(names)
        c[before["coordinator"]].kill()
        after = c.wait_agree(c.others())
        self.assertGreater(after["epoch"], before["epoch"])
        self.assertNotEqual(after["coordinator"], before["coordinator"])
        c[before["coordinator"]].start()
        c.wait_agree(names)

    def test_minutes_apart(self):
        self.minutes_apart("abc", {"b": "+10m", "c": "-10m"})

    def test_minutes_apart_five(self):
        self.minutes_apart("abcde", {"b": "+10m", "c": "-10m", "d": "+3m", "e": "-4m"})

    def test_a_year_apart(self):
        """It takes the others' certificates for ones that have expired, and says so."""
        c = self.formed("a", "b", "c")
        c.add("d")
        c.strangers.add("d")
        c["d"].use_clock("+3y")
        c["d"].identity = c.authority.issue("d", "--force", "--days", "3000")
        c.start("d")
        c["d"].wait_line("event=peer_refused .*reason=expired")
        c.wait_agree("abc")
