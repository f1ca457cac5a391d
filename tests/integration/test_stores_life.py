"""The stores when weir is told something: each way to its end, and a reload that changes their settings (doc/stores.md,
doc/reload.md)."""
import re
import signal
import socket

from harness import cgi, stall, wait
from test_stores import StoreCase, stats


class TestEnd(StoreCase):
    def with_a_request(self, node, **kwargs):
        """A hundred sessions in memory, and a request that does not end by itself."""
        site = self.site(node=node, **kwargs)
        jars = {("state %d" % i): self.new(site, "state+%d" % i) for i in range(100)}
        client = site.client()
        self.scope.at_end(client.close)
        self.scope.at_end(site.open, "run")
        client.start(site.params("gate=run"))
        site.wait_at("run")
        return site, jars

    def assert_all_stored(self, site, jars):
        self.assertEqual(site.weir.wait_exit(), 0)
        self.assertEqual(len(site.weir.lines("event=demoted sessions=%d" % len(jars))), 1)
        site.weir._stopped = False
        site.weir.start()
        for data, jar in jars.items():
            self.assert_has(site, jar, data)

    def test_a_second_term_stores(self):
        site, jars = self.with_a_request("drain-timeout = 600s")
        site.weir.process.send(signal.SIGTERM)
        site.weir.wait_line("event=draining")
        site.weir.process.send(signal.SIGTERM)
        site.weir.wait_line('event=closing reason="second TERM"')
        self.assert_all_stored(site, jars)

    def test_the_end_of_drain_timeout_stores(self):
        site, jars = self.with_a_request("drain-timeout = 300ms")
        site.weir.process.send(signal.SIGTERM)
        site.weir.wait_line("event=closing reason=drain-timeout")
        self.assert_all_stored(site, jars)

    def test_int_while_it_stores_gives_up_the_rest(self):
        """What is below stays, what has ended goes, and what is in memory is lost, and counted."""
        site = self.site("after = 1s")
        below, ended = self.new(site, "below"), self.new(site, "ended")
        self.wait_demoted(site)
        self.assert_has(site, ended, "ended")
        jars = [self.new(site, "memory") for _ in range(20)]
        cookie = ended.header()
        with stall.stalled(site.weir.pid, "weir-store"):
            client = site.client()
            self.scope.at_end(client.close)
            client.start(site.params("end=1", jar=ended))
            wait.until(lambda: site.seen(cookie=cookie)["SESSION_STATE"] == "none", "the end in memory")
            client.close()
            site.weir.process.send(signal.SIGTERM)
            wait.until(lambda: "weir-worker" not in stall.threads(site.weir.pid).values(), "the end of the workers")
            self.assertIsNone(site.weir.process.poll())
            site.weir.process.send(signal.SIGINT)
            wait.until(lambda: not self.pending(site.weir.pid, signal.SIGINT), "that INT arrives")
            site.weir.process.send(signal.SIGUSR2)  # what is said of it comes behind INT
            site.weir.wait_line("event=log_reopened")
        self.assertEqual(site.weir.wait_exit(), 0)
        lost = site.weir.lines('event=sessions_lost sessions=[0-9]+ reason="told to hurry"')
        self.assertEqual(len(lost), 1)
        self.assertGreaterEqual(int(re.search("sessions=([0-9]+)", lost[0]).group(1)), len(jars))
        site.weir._stopped = False
        site.weir.start()
        self.assert_has(site, below, "below")
        self.assertEqual(site.seen(cookie=cookie)["SESSION_STATE"], "none")
        for jar in jars:
            self.assert_gone(site, jar)

    def pending(self, pid, number):
        with open("/proc/%d/status" % pid, encoding="ascii") as f:
            masks = re.findall("^(?:ShdPnd|SigPnd):\t([0-9a-f]+)", f.read(), re.M)
        return any(int(mask, 16) & 1 << number - 1 for mask in masks)

    def test_the_service_manager_hears_that_it_goes_on(self):
        manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.scope.at_end(manager.close)
        path = self.scope.fresh("notify")
        manager.bind(path)
        manager.settimeout(wait.BOUND)
        site = self.site(env={"NOTIFY_SOCKET": path})
        self.new(site, "x")
        self.assertEqual(manager.recv(100), b"READY=1")
        with stall.stalled(site.weir.pid, "weir-store"):
            site.weir.process.send(signal.SIGTERM)
            self.assertEqual(manager.recv(100), b"STOPPING=1")
            for _ in range(2):
                self.assertEqual(manager.recv(100), b"EXTEND_TIMEOUT_USEC=30000000")
        self.assertEqual(site.weir.wait_exit(), 0)


class TestReload(StoreCase):
    """HUP: what the file says of the stores counts from then on."""

    def change(self, site, old, new):
        before = len(site.weir.lines("event=reloaded"))
        with open(site.weir.config, encoding="utf-8") as f:
            text = f.read()
        self.assertIn(old, text)
        with open(site.weir.config, "w", encoding="utf-8") as f:
            f.write(text.replace(old, new))
        site.weir.process.send(signal.SIGHUP)
        site.weir.wait_line("event=reloaded", before + 1)
        self.assertEqual(site.weir.lines("reload_needs_restart"), [])

    def test_after(self):
        site = self.site("after = 1h")
        jar = self.new(site, "idle")
        self.wait_disk_ready(site)
        self.change(site, "after = 1h", "after = 1s")
        self.wait_demoted(site)
        self.assert_has(site, jar, "idle")

    def test_evict(self):
        """From a memory that refuses to one that makes room, and back."""
        site = self.site("max = 1M  evict = never", session="lock-wait = 20s", options="max-header = 1M")
        self.wait_disk_ready(site)

        def statuses():
            return {site.ask("size=50000", jar=cgi.Jar()).status for _ in range(30)}
        self.assertEqual(statuses(), {200, 503})
        self.assertEqual(stats(site)["disk"]["sessions"], 0)
        self.change(site, "evict = never", "evict = lru")
        self.assertEqual(statuses(), {200})
        stored = stats(site)["disk"]["sessions"]
        self.assertGreater(stored, 10)
        self.change(site, "evict = lru", "evict = ttl")
        self.assertEqual(statuses(), {200, 503})

    def test_disk_max(self):
        """A store that is full has room again, and the other way round."""
        site = self.site("after = 1s", "max = 16M", session="max-size = 600k", options="max-header = 1M")
        self.wait_disk_ready(site)
        jars = [cgi.Jar() for _ in range(40)]
        for jar in jars:
            self.assertEqual(site.ask("size=500000", jar=jar).status, 200)
        wait.until(lambda: stats(site)["disk"]["state"] == "full", lambda: "a full store: %r" % stats(site))
        self.assertLessEqual(stats(site)["disk"]["bytes"], 16 << 20)
        self.change(site, "disk { max = 16M }", "disk { max = 100M }")
        self.assertEqual(stats(site)["disk"]["max_bytes"], 100 << 20)
        self.wait_demoted(site)
        wait.until(lambda: stats(site)["disk"]["bytes"] > 40 * 500000, lambda: "more on disk: %r" % stats(site))
        for jar in jars:
            self.assertEqual(len(site.state(jar)[1]), 500000)
        self.wait_demoted(site)
        self.change(site, "disk { max = 100M }", "disk { max = 16M }")
        self.assertEqual(site.ask("size=510000", jar=jars[0]).status, 200)
        wait.until(lambda: stats(site)["disk"]["state"] == "full", lambda: "a full store: %r" % stats(site))
        self.assertEqual(len(site.state(jars[0])[1]), 510000)

    def test_sync(self):
        """With none the end of the process loses what only its buffers have, with write nothing."""
        site = self.site("after = 1s", "sync = none")
        self.wait_disk_ready(site)
        self.change(site, "sync = none", "sync = write")
        jars = {("state %d" % i): self.new(site, "state+%d" % i) for i in range(20)}
        self.wait_demoted(site)
        site.weir.restart(signal.SIGKILL)
        for data, jar in jars.items():
            self.assert_has(site, jar, data)


if __name__ == "__main__":
    import unittest
    unittest.main()
