"""What happens to a cluster of three, and of five: processes die or stand still, links are cut. After each fault there is one
coordinator and one view; that epochs only rise and nothing was ever decided twice is looked for in all logs at the end of
each test. Every class has one cluster, which is mended before each test."""
import calendar
import os
import signal
import threading
import time

from harness import cluster, history, net, wait, weir
from harness.backend import Backend
from harness.site import Front


T = 2  # failure-timeout of a Cluster, s
LOGGED = 0.005  # what is logged has milliseconds, and the loop's clock, too


def until_past(seconds):
    """Something is looked for that must not be: for so long."""
    began = time.monotonic()
    wait.until(lambda: time.monotonic() - began > seconds, "%.1f s are over" % seconds)


class Served:
    """An application that notes when whose requests came to it. A request names its node."""

    def __init__(self):
        self.lock, self.times = threading.Lock(), {}

    def act(self, x):
        with self.lock:
            self.times.setdefault(x.params["QUERY_STRING"], []).append(time.time())
        x.answer(b"hello")

    def since(self, name, moment):
        with self.lock:
            return [t for t in self.times.get(name, []) if t > moment]


def stamp(event):
    """When a line was logged, rounded down to the millisecond."""
    whole, _, ms = event.time.rstrip("Z").partition(".")
    return calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) + int(ms) / 1000


def installed(node, after):
    """When it has installed its first view later than that epoch."""
    found = [stamp(e) for e in history.events(node.process.log(), "view_installed") if e.number("epoch") > after]
    return found[0] if found else None


def linked(node, other):
    """How many links it has to the other one."""
    return sum(row["peer"] == other and row["state"] == "open" for row in node.ask("links")["links"])


class Processes:
    """Tests for clusters of any size."""

    @classmethod
    def apps(cls, scope):
        cls.served = Served()
        return [weir.app("shop", [Backend(scope, cls.served.act).text()])]

    def killed(self, name):
        c = self.c
        before = c[name].view()
        c[name].kill()
        left = c.others(name)
        view = c.wait_agree(left)
        self.assertGreater(view["epoch"], before["epoch"])
        # It keeps its vote: otherwise a minority of what there was could go on.
        self.assertEqual(view["voters"], sorted(c.nodes))
        # Its directory went with it: its buckets are lost until their new managers have asked everybody, which nobody
        # does yet. All of them have a manager.
        rows = c[left[0]].ask("buckets", "shop")["buckets"]
        self.assertEqual({row["manager"] for row in rows}, set(left))
        self.assertEqual(sum(row["count"] for row in rows if row["lost"]), c[left[0]].show()["apps"][0]["lost"])
        self.assertGreaterEqual(c[left[0]].show()["apps"][0]["lost"], 64 // len(c.nodes))
        return before, view

    def test_a_member_is_killed(self):
        before, view = self.killed(self.one())
        self.assertEqual(view["coordinator"], before["coordinator"])

    def test_the_coordinator_is_killed(self):
        before, view = self.killed(self.coordinator())
        self.assertNotEqual(view["coordinator"], before["coordinator"])

    def stand_still(self, *names):
        """For ten seconds. Whoever wakes up is asked before it knows: the request waits in its socket already. It serves
        no session until it has a view that lets it in again."""
        c, began = self.c, time.monotonic()
        for name in names:
            c[name].pause()
        view = c.wait_agree(c.others(*names))
        fronts = {name: Front(c[name].where, "fastcgi", c[name]) for name in names}
        clients = {name: front.client() for name, front in fronts.items()}
        for name, client in clients.items():
            self.addCleanup(client.close)
            client.start(fronts[name].params(name))
        wait.until(lambda: time.monotonic() - began > 10, "ten seconds, as long as it stands still")
        self.assertEqual(c[c.others(*names)[0]].view(), view)
        woken = time.time()
        for name in names:
            c[name].resume()
        for name, client in clients.items():
            answer = client.response()
            self.assertEqual((answer.status, answer.header("Retry-After")), (503, "1"))

        def serves(name):
            answer = fronts[name].ask(name)
            self.assertIn(answer.status, (200, 503))
            return answer.status == 200
        for name in names:
            wait.until(lambda: serves(name), "%s serves again" % name)
        after = c.wait_agree(c.nodes)
        self.assertGreater(after["epoch"], view["epoch"])
        for name in names:
            back = installed(c[name], view["epoch"])
            self.assertEqual([t for t in self.served.since(name, woken) if t < back], [])
            self.assertTrue(self.served.since(name, back))

    def restart_all(self, number):
        c = self.c
        view = c["a"].view()
        old = {m["name"]: m["incarnation"] for m in view["members"]}
        for node in c:
            node.process.send(number)
        for node in c:
            node.wait_killed() if number == signal.SIGKILL else node.wait_exit()
        c.start()
        new = c.wait_agree(c.nodes)
        self.assertGreater(new["epoch"], view["epoch"])
        self.assertEqual(new["cluster"], view["cluster"])
        self.assertFalse([m for m in new["members"] if m["incarnation"] == old[m["name"]]])

    def test_all_end_at_once(self):
        self.restart_all(signal.SIGTERM)

    def test_all_are_killed_at_once(self):
        self.restart_all(signal.SIGKILL)


class TestThree(Processes, cluster.Shared):
    names = "abc"

    def test_it_comes_back_as_another(self):
        c = self.c
        old = {m["name"]: m["incarnation"] for m in c["a"].view()["members"]}
        for name in "abc":
            c[name].kill()
            c[name].start()
            view = c.wait_agree("abc")
            now = {m["name"]: m["incarnation"] for m in view["members"]}
            self.assertNotEqual(now[name], old[name])
            old = now

    def test_a_member_stands_still(self):
        self.stand_still(self.one())

    def test_the_coordinator_stands_still(self):
        self.stand_still(self.coordinator())

    def test_all_stand_still(self):
        """For longer than silence is borne. Whoever did not run reads what has come before it judges others: nobody is
        taken out."""
        c = self.c
        before, told = c["a"].view(), {node.name: len(node.process.log()) for node in c}
        for node in c:
            node.pause()
        until_past(2 * T)
        for node in c:
            node.resume()
        after = c.wait_agree("abc")
        until_past(2 * T)
        self.assertEqual(c.wait_agree("abc")["members"], after["members"])
        for node in c:
            self.assertEqual(history.events(node.process.log()[told[node.name]:], "member_removed"), [])
        self.assertEqual([m["incarnation"] for m in after["members"]], [m["incarnation"] for m in before["members"]])


class TestFive(Processes, cluster.Shared):
    names = "abcde"

    def test_killed_one_after_the_other(self):
        c = self.c
        for _ in range(2):
            c[self.coordinator()].kill()
            c.wait_agree(c.running)
        # Two of five are none.
        c[self.coordinator()].kill()
        c.wait_fenced(*c.running)
        next(node for node in c if not node.running).start()
        c.wait_agree(c.running)

    def test_two_stand_still(self):
        self.stand_still(self.coordinator(), self.one())

    def test_forgotten(self):
        c = self.c
        name = self.one()
        c[name].kill()
        left = c.others(name)
        c.wait_agree(left)
        self.assertEqual(c[self.coordinator()].weirctl("cluster", "forget", name)[0], 0)
        c.wait_voters(left)


class TestHowSoon(cluster.Case):
    """A host that refuses is believed at once; silence takes the failure-timeout."""

    def test_refused(self):
        """Long before silence would count."""
        long_s = 20
        c = self.formed("a", "b", "c", **{"failure-timeout": "%ds" % long_s})
        c.wait_voters("abc")
        coordinator = c.coordinator("a").name
        for name in (c.others(coordinator)[0], coordinator):
            c.mend()
            left, epoch, began = c.others(name), c[name].view()["epoch"], time.time()
            c[name].kill()
            c.wait_agree(left)
            self.assertLess(max(installed(c[n], epoch) for n in left) - began, long_s / 4)


class Links(cluster.Shared):
    """Where there are no namespaces, nothing can be cut, and the tests say so."""

    @classmethod
    def start_shared(cls, scope):
        if not net.why_not():
            super().start_shared(scope)

    def setUp(self):
        if net.why_not():
            self.skipTest("cutting links needs network namespaces: " + net.why_not())
        super().setUp()

    def received(self, names):
        """{(who, of whom): beats}: on links for bulk nothing else comes."""
        return {(n, row["peer"]): row["received_frames"] for n in self.c.others(*names)
                for row in self.c[n].ask("links")["links"] if row["link"] == "bulk" and row["peer"] in names}

    def hear_once_more(self, names):
        """All others have heard a beat of each of these that is later than the moment that is answered."""
        old, moment = self.received(names), time.time()
        wait.until(lambda: (lambda new: all(new.get(k, 0) > old[k] for k in old))(self.received(names)), "beats of all")
        return moment

    def lose(self, names, cut):
        """After cut() there is a view without these, and they are fenced, all of them before it is there. Answers how
        long after a moment behind which they were heard it came."""
        c = self.c
        before, began = c["a"].view(), self.hear_once_more(names)
        cut()
        rest = c.others(*names)
        view = c.wait_agree(rest)
        c.wait_fenced(*names)
        self.assertGreater(view["epoch"], before["epoch"])
        taken = min(installed(c[n], before["epoch"]) for n in rest)
        for name in names:
            fenced = [stamp(e) for e in history.events(c[name].process.log(), "fenced") if stamp(e) >= began - 0.001]
            self.assertTrue(fenced)
            self.assertLessEqual(fenced[0], taken)
        return before, view, taken - began

    def found(self, after):
        """All are together again, and nothing that was decided meanwhile is undone."""
        self.c.net.mend()
        self.assertGreater(self.c.wait_agree(self.c.nodes)["epoch"], after["epoch"])


class AnyLinks:
    """Tests for clusters of any size."""

    def test_a_member_is_cut_off(self):
        name = self.one()
        before, view, took = self.lose([name], lambda: self.c.net.isolate([name]))
        self.assertEqual(view["coordinator"], before["coordinator"])
        # Nobody refused: so it took the time since the last beat, and not much more.
        self.assertGreater(took, T - LOGGED)
        self.assertLess(took, T * 4)
        self.found(view)

    def test_the_coordinator_with_a_minority(self):
        c, old = self.c, self.coordinator()
        few = [old, *c.others(old)][:(len(c.nodes) - 1) // 2]
        _, view, took = self.lose(few, lambda: c.net.isolate(few))
        self.assertGreater(took, T - LOGGED)
        self.assertLess(took, T * 8)
        # Each side shows what it has, and those who are few know that.
        self.assertNotEqual(view["coordinator"], old)
        for name in few:
            shown = wait.until(lambda: (lambda s: s if not s["majority"] else None)(c[name].show()), "%s knows it" % name)
            self.assertEqual((shown["fenced"], shown["coordinator"] in (None, old)), (True, True))
            self.assertLess(shown["epoch"], view["epoch"])
        self.found(view)

    def test_nobody_has_a_majority(self):
        c = self.c
        view = c["a"].view()
        for one in list(c.nodes)[:-1]:
            c.net.isolate([one])
        decided = {node.name: len(history.events(node.process.log(), "view_committed")) for node in c}
        c.wait_fenced(*c.nodes)
        # Silence is over, and whoever would act on it alone has done so.
        until_past(2 * T)
        for node in c:
            self.assertEqual(len(history.events(node.process.log(), "view_committed")), decided[node.name], node.name)
            self.assertFalse(node.show()["majority"])
        self.found(view)

    def test_two_members_do_not_hear_each_other(self):
        """Both reach the coordinator, and it reaches all: they stay."""
        c = self.c
        one, other = c.others(self.coordinator())[:2]
        view = c["a"].view()

        def heard():
            return [m["heard"] for m in c[one].show()["members"] if m["name"] == other] == [True]
        c.net.cut(one, other)
        wait.until(lambda: not heard(), "%s hears %s no more" % (one, other))
        self.assertEqual(c.wait_agree(c.nodes)["members"], view["members"])
        c.net.mend()
        wait.until(heard, "it hears it again")

    def one_way(self, name, towards):
        """A member that is heard by nobody, or hears nobody: either way it is none."""
        def cut():
            for other in self.c.others(name):
                self.c.net.cut(*((other, name) if towards else (name, other)), both=False)
        self.found(self.lose([name], cut)[1])

    def test_heard_by_nobody(self):
        self.one_way(self.one(), towards=False)

    def test_hears_nobody(self):
        self.one_way(self.one(), towards=True)

    def test_the_coordinator_is_heard_by_nobody(self):
        self.one_way(self.coordinator(), towards=False)

    def test_the_coordinator_hears_nobody(self):
        self.one_way(self.coordinator(), towards=True)


class TestLinksOfThree(AnyLinks, Links):
    names = "abc"


class TestLinksOfFive(AnyLinks, Links):
    names = "abcde"

    def test_the_coordinator_with_a_majority(self):
        c, old = self.c, self.coordinator()
        few = c.others(old)[:2]
        _, view, _ = self.lose(few, lambda: c.net.isolate(few))
        self.assertEqual(view["coordinator"], old)
        self.found(view)

    def test_forgotten_and_alive(self):
        """An operator takes out one that is only cut off. When it is there again it goes on as who it was: it is told
        that it was removed, nothing of it counts, and it comes back as another."""
        c, name = self.c, self.one()
        was = [m["incarnation"] for m in c["a"].view()["members"] if m["name"] == name][0]
        self.lose([name], lambda: c.net.isolate([name]))
        rest = c.others(name)
        self.assertEqual(c[self.coordinator()].weirctl("cluster", "forget", name)[0], 0)
        wait.until(lambda: all(c[n].view()["voters"] == sorted(rest) for n in rest), "its vote is gone", pause=0.05)
        view = c.wait_agree(rest)
        line = 'event=peer_refused reason=removed detail="its incarnation was removed".* name=%s ' % name
        told = {n: len(c[n].lines(line)) for n in rest}
        self.assertEqual([m["incarnation"] for m in c[name].view()["members"] if m["name"] == name], [was])
        c.net.mend()
        wait.until(lambda: any(len(c[n].lines(line)) > told[n] for n in rest), "it is refused")
        after = c.wait_agree(c.nodes)
        c.wait_voters(c.nodes)
        self.assertNotIn(was, [m["incarnation"] for m in after["members"]])
        for n in rest:
            joined = [e.number("number") for e in history.events(c[n].process.log(), "member_joined") if e["name"] == name]
            self.assertEqual(joined.count(int(was, 16)), 1, n)
            self.assertEqual(c[n].view()["coordinator"], view["coordinator"])

    def test_a_host_that_refuses(self):
        """A firewall that resets connections: the process lives, and does not serve on as if it were a member."""
        c, name = self.c, self.one()
        for other in c.others(name):
            c.net.refuse(other, name, cluster.PORT)
            c.net.refuse(name, other, cluster.PORT)
        view = c.wait_agree(c.others(name))
        c.wait_fenced(name)
        self.found(view)

    def test_links_that_flap(self):
        c = self.c
        pairs = [("a", "b"), ("c", "d"), ("e", "a"), ("b", "d")]
        for i in range(20):
            c.net.cut(*pairs[i % 4], both=i % 2 == 0)
            wait.until(lambda: c.agree(list("abcde"), on=["c"]) or c["c"].show(), "an answer")
            c.net.mend(*pairs[i % 4])
        c.wait_agree("abcde")
        # And so long each time that it is seen.
        for i in range(8):
            source, target = pairs[i % 4]
            wait.until(lambda: linked(c[target], source) == 2, "%s and %s are linked" % (source, target))
            c.net.cut(source, target, both=i % 2 == 0)
            wait.until(lambda: linked(c[target], source) < 2, "%s has lost %s" % (target, source))
            c.net.mend(source, target)
        c.wait_agree("abcde")


class TestWitness(cluster.Shared):
    """Two nodes and a witness survive the loss of any one."""

    @classmethod
    def start_shared(cls, scope):
        cls.c = None if cluster.missing() else cluster.Cluster(scope)
        if cls.c:
            cls.c.founders = ["a", "b", "w"]
            cls.c.add("a")
            cls.c.add("b")
            cls.c.add("w", witness="yes", priority="500")  # where all know the same, it is elected
            cls.c.start()

    def test_it_hosts_nothing(self):
        view = self.c["w"].view()
        self.assertEqual([m["name"] for m in view["members"] if m["witness"]], ["w"])
        buckets = self.c["w"].buckets("shop")
        self.assertEqual((buckets.count("a"), buckets.count("b")), (32, 32))

    def one_is_killed(self, name):
        c = self.c
        c[name].kill()
        left = c.others(name)
        c.wait_agree(left)
        apps = [n for n in left if n != "w"]
        wait.until(lambda: set(c[apps[0]].buckets("shop")) == set(apps), "all buckets at %s" % apps)
        c[name].start()
        c.wait_agree("abw")

    def test_one_is_killed(self):
        self.one_is_killed("a")

    def test_the_other_is_killed(self):
        self.one_is_killed("b")

    def test_the_witness_is_killed(self):
        self.one_is_killed("w")

    def led_by(self, *names):
        """One of these coordinates; the others are ended until it is so."""
        def led():
            old = self.coordinator()
            if old not in names:
                self.c[old].kill()
                self.c.wait_agree(self.c.others(old))
                self.c.mend()
            return old in names
        wait.until(led, "%s coordinates" % " or ".join(names), 4 * wait.BOUND)
        return self.coordinator()

    def two_do_not_hear_each_other(self, *by):
        """The witness hears both; the coordinator goes on with what it reaches, and one view holds."""
        if net.why_not():
            self.skipTest("cutting links needs network namespaces: " + net.why_not())
        c, coordinator = self.c, self.led_by(*by)
        c.net.cut("a", "b")
        wait.until(lambda: linked(c["a"], "b") == linked(c["b"], "a") == 0, "a and b do not hear each other")
        view = c.wait_agree("abw" if coordinator == "w" else [coordinator, "w"])
        self.assertEqual(view["coordinator"], coordinator)
        began = time.monotonic()

        def holds():
            self.assertEqual({n: c[n].view() for n in ("w", coordinator)}, {"w": view, coordinator: view})
            return time.monotonic() - began > 2 * T
        wait.until(holds, "the view holds")
        c.net.mend()
        c.wait_agree("abw")

    def test_the_two_do_not_hear_each_other_and_the_witness_coordinates(self):
        self.two_do_not_hear_each_other("w")

    def test_the_two_do_not_hear_each_other_and_one_coordinates(self):
        self.two_do_not_hear_each_other("a", "b")
