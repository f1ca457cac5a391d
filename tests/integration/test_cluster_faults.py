"""What happens to a cluster: processes die or stand still, links are cut. After each fault there is one coordinator and
one view; that epochs only rise and nothing was ever decided twice is looked for in all logs at the end of each test."""
import time

from harness import cgi, cluster, wait, weir
from harness.backend import Backend
from harness.site import Front

FAILURE_S = 2  # failure-timeout of these clusters, in seconds


class TestProcesses(cluster.Case):
    def three(self, *more, **options):
        c = self.formed("a", "b", "c", *more, **options)
        c.wait_voters(sorted(c.nodes))
        return c

    def test_a_member_is_killed(self):
        c = self.three()
        name = c.others(c.coordinator("a").name)[0]
        before = c["a"].view()
        c[name].kill()
        left = c.others(name)
        view = c.wait_agree(left)
        self.assertEqual(view["coordinator"], before["coordinator"])
        self.assertGreater(view["epoch"], before["epoch"])
        # It keeps its vote: two of three are a majority still.
        self.assertEqual(view["voters"], list("abc"))
        # Its directory went with it: its buckets are lost until their new managers have asked everybody, which nobody
        # does yet. All of them have a manager.
        rows = c[left[0]].ask("buckets", "shop")["buckets"]
        self.assertEqual({row["manager"] for row in rows}, set(left))
        self.assertEqual(sum(row["count"] for row in rows if row["lost"]), c[left[0]].show()["apps"][0]["lost"])
        self.assertGreaterEqual(c[left[0]].show()["apps"][0]["lost"], 64 // 3)

    def test_the_coordinator_is_killed(self):
        c = self.three()
        old = c.coordinator("a").name
        c[old].kill()
        self.assertIn(c.wait_agree(c.others(old))["coordinator"], c.others(old))

    def test_who_refuses_is_gone_at_once(self):
        """Nobody waits for failure-timeout where a process has ended and its host says so."""
        c = self.three("d", "e", failure_timeout="60s")
        for name in (c.others(c.coordinator("a").name)[0], c.coordinator("a").name):
            c[name].kill()
            c.wait_agree(c.running, bound=15)

    def test_it_comes_back_as_another(self):
        c = self.three()
        old = {m["name"]: m["incarnation"] for m in c["a"].view()["members"]}
        for name in "abc":
            c[name].kill()
            c[name].start()
            view = c.wait_agree("abc")
            now = {m["name"]: m["incarnation"] for m in view["members"]}
            self.assertNotEqual(now[name], old[name])
            old = now

    def test_killed_one_after_the_other(self):
        c = self.three("d", "e")
        for _ in range(2):
            victim = c.coordinator(c.running[0]).name
            c[victim].kill()
            c.wait_agree(c.running)
        # Two of five are none.
        c.coordinator(c.running[0]).kill()
        c.wait_fenced(*c.running)
        for node in c:
            if not node.running:
                node.start()
                break
        c.wait_agree(c.running)

    def test_forgotten(self):
        c = self.three("d")
        c["d"].kill()
        c.wait_agree("abc")
        self.assertEqual(c["a"].weirctl("cluster", "forget", "d")[0], 0)
        c.wait_voters("abc")

    def stands_still(self, who, *more):
        c = self.three(*more, apps=[weir.app("shop", [Backend(self.scope).text()])])
        name = c.coordinator("a").name if who == "coordinator" else c.others(c.coordinator("a").name)[0]
        front, jar = Front(c[name].where, "fastcgi", c[name]), cgi.Jar()
        self.assertEqual(front.ask(jar=jar).status, 200)
        c[name].pause()
        began = time.monotonic()
        left = c.others(name)
        view = c.wait_agree(left)
        with front.client() as client:
            client.start(front.params(jar=jar))  # it waits in the socket; the process finds it as soon as it goes on
            wait.until(lambda: time.monotonic() - began > 10, "ten seconds, as long as it stands still")
            self.assertEqual(c[left[0]].view(), view)
            c[name].resume()
            self.assertEqual(client.response().status, 503)
        # It serves nothing until it is a member again, as another one, in a view that is not its own.
        wait.until(lambda: front.ask(jar=jar).status == 200, "it serves")
        self.assertGreater(c[name].show()["epoch"], view["epoch"])
        after = c.wait_agree(sorted(c.nodes))
        self.assertGreater(after["epoch"], view["epoch"])

    def test_a_member_stands_still(self):
        self.stands_still("member")

    def test_the_coordinator_stands_still(self):
        self.stands_still("coordinator")

    def test_the_coordinator_of_five_stands_still(self):
        self.stands_still("coordinator", "d", "e")

    def test_all_stand_still(self):
        c = self.three()
        for node in c:
            node.pause()
        for node in c:
            node.resume()
        c.wait_agree("abc")


class TestLinks(cluster.Case):
    def five(self):
        c = self.formed(*"abcde")
        if c.net.kind != "namespaces":
            c.net.cut("a", "b")  # says why it cannot, and is skipped
        c.wait_voters("abcde")
        return c

    def test_a_member_is_cut_off(self):
        c = self.five()
        name = c.others(c.coordinator("a").name)[0]
        began = time.monotonic()
        c.net.isolate([name])
        c.wait_agree(c.others(name))
        # That it was silent was believed no sooner: it may have spoken just before.
        self.assertGreater(time.monotonic() - began, FAILURE_S / 2)
        c.wait_fenced(name)
        c.net.mend()
        c.wait_agree("abcde")

    def test_the_coordinator_with_a_minority(self):
        c = self.five()
        old = c.coordinator("a").name
        few = [old, c.others(old)[0]]
        epoch = c["a"].view()["epoch"]
        c.net.isolate(few)
        c.wait_fenced(*few)  # before the others can have elected another: half the time
        wait.until(lambda: not any(c[n].show()["majority"] for n in few), "they know that they are few")
        view = c.wait_agree(c.others(*few))
        self.assertGreater(view["epoch"], epoch)
        c.net.mend()
        after = c.wait_agree("abcde")
        self.assertGreater(after["epoch"], view["epoch"])

    def test_the_coordinator_with_a_majority(self):
        c = self.five()
        old = c.coordinator("a").name
        few = c.others(old)[:2]
        c.net.isolate(few)
        view = c.wait_agree(c.others(*few))
        self.assertEqual(view["coordinator"], old)
        c.wait_fenced(*few)
        c.net.mend()
        c.wait_agree("abcde")

    def test_nobody_has_a_majority(self):
        c = self.five()
        for one in "abcd":
            c.net.isolate([one])
        c.wait_fenced(*"abcde")
        c.net.mend()
        c.wait_agree("abcde")

    def test_two_members_do_not_hear_each_other(self):
        """Both reach the coordinator, and most reach both: they stay."""
        c = self.five()
        one, other = c.others(c.coordinator("a").name)[:2]
        view = c["a"].view()
        c.net.cut(one, other)
        wait.until(lambda: [m for m in c[one].show()["members"] if m["name"] == other and not m["heard"]],
                   "%s hears %s no more" % (one, other))
        self.assertEqual(c.wait_agree("abcde")["members"], view["members"])
        c.net.mend()
        wait.until(lambda: all(m["heard"] for m in c[one].show()["members"] if m["name"] == other), "it hears it again")

    def one_way(self, towards):
        """A member that is heard by nobody, or hears nobody: either way it is none."""
        c = self.five()
        name = c.others(c.coordinator("a").name)[0]
        for other in c.others(name):
            if towards:
                c.net.cut(other, name, both=False)
            else:
                c.net.cut(name, other, both=False)
        c.wait_agree(c.others(name))
        c.wait_fenced(name)
        c.net.mend()
        c.wait_agree("abcde")

    def test_heard_by_nobody(self):
        self.one_way(towards=False)

    def test_hears_nobody(self):
        self.one_way(towards=True)

    def test_the_coordinator_is_heard_by_nobody(self):
        c = self.five()
        old = c.coordinator("a").name
        for other in c.others(old):
            c.net.cut(old, other, both=False)
        c.wait_agree(c.others(old))
        c.wait_fenced(old)
        c.net.mend()
        c.wait_agree("abcde")

    def test_a_host_that_refuses(self):
        """A firewall that resets connections: the process lives, and does not serve on as if it were a member."""
        c = self.five()
        name = c.others(c.coordinator("a").name)[0]
        for other in c.others(name):
            c.net.refuse(other, name, cluster.PORT)
            c.net.refuse(name, other, cluster.PORT)
        c.wait_agree(c.others(name))
        c.wait_fenced(name)
        c.net.mend()
        c.wait_agree("abcde")

    def test_links_that_flap(self):
        c = self.five()
        pairs = [("a", "b"), ("c", "d"), ("e", "a"), ("b", "d")]
        for i in range(20):
            c.net.cut(*pairs[i % 4], both=i % 2 == 0)
            wait.until(lambda: c.agree(list("abcde"), on=["c"]) or c["c"].show(), "an answer")
            c.net.mend(*pairs[i % 4])
        c.wait_agree("abcde")


class TestThree(cluster.Case):
    """The same of three, of which one is a minority."""

    def three(self):
        c = self.formed("a", "b", "c")
        if c.net.kind != "namespaces":
            c.net.cut("a", "b")
        c.wait_voters("abc")
        return c

    def apart(self, who, cut):
        c = self.three()
        name = c.coordinator("a").name if who == "coordinator" else c.others(c.coordinator("a").name)[0]
        cut(c, name)
        view = c.wait_agree(c.others(name))
        c.wait_fenced(name)
        self.assertNotEqual(view["coordinator"], name)
        c.net.mend()
        self.assertGreater(c.wait_agree("abc")["epoch"], view["epoch"])

    def test_a_member_is_cut_off(self):
        self.apart("member", lambda c, name: c.net.isolate([name]))

    def test_the_coordinator_is_cut_off(self):
        self.apart("coordinator", lambda c, name: c.net.isolate([name]))

    def test_the_coordinator_hears_nobody(self):
        def cut(c, name):
            for other in c.others(name):
                c.net.cut(other, name, both=False)
        self.apart("coordinator", cut)


class TestWitness(cluster.Case):
    """Two nodes and a witness survive the loss of any one."""

    def three(self):
        c = self.cluster()
        c.founders = ["a", "b", "w"]
        c.add("a")
        c.add("b")
        c.add("w", witness="yes")
        c.start()
        c.wait_agree("abw")
        c.wait_voters("abw")
        return c

    def test_it_hosts_nothing(self):
        c = self.three()
        view = c["w"].view()
        self.assertEqual([m["name"] for m in view["members"] if m["witness"]], ["w"])
        buckets = c["w"].buckets("shop")
        self.assertEqual((buckets.count("a"), buckets.count("b")), (32, 32))

    def one_is_killed(self, name):
        c = self.three()
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

    def test_the_two_do_not_hear_each_other(self):
        """The witness hears both; the coordinator goes on with what it reaches, and one view holds."""
        c = self.three()
        c.net.cut("a", "b")
        wait.until(lambda: any(c.agree(names) for names in (["a", "w"], ["b", "w"], ["a", "b", "w"])), "one view")
        c.net.mend()
        c.wait_agree("abw")
