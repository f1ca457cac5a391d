"""What runs weir: pid files, and the service manager."""
import os
import socket

from harness import apps, process, wait
from harness.reload import ReloadCase


class TestPidFile(ReloadCase):
    def read(self, path):
        with open(path) as f:
            return f.read()

    def test_written_and_removed(self):
        path = self.scope.path("run/weir.pid")
        gateway = self.launch()
        self.assertEqual(self.read(path), "%d\n" % gateway.pid)
        gateway.reload()
        self.assertEqual(self.read(path), "%d\n" % gateway.pid)
        gateway.stop()
        self.assertFalse(os.path.exists(path))

    def test_a_stale_one_is_overwritten_and_a_foreign_one_stays(self):
        path = self.scope.write("some.pid", "99999999\n")
        gateway = self.launch(node_more='pid-file = "%s"' % path)
        self.assertEqual(self.read(path), "%d\n" % gateway.pid)
        self.scope.write("some.pid", "1\n")
        gateway.stop()
        self.assertEqual(self.read(path), "1\n")

    def test_a_link_is_not_followed(self):
        target = self.scope.write("precious", "data")
        os.symlink(target, self.scope.path("link.pid"))
        gateway = self.launch(node_more='pid-file = "%s"' % self.scope.path("link.pid"))
        self.assertEqual(self.read(target), "data")
        self.assertEqual(self.read(self.scope.path("link.pid")), "%d\n" % gateway.pid)

    def test_not_written(self):
        gateway = self.launch(node_more='pid-file = "%s"' % self.scope.path("no/weir.pid"))
        gateway.wait_line("level=warn event=pid_file_not_written file=.*no/weir.pid")
        self.assertEqual(self.who(), "first")


class TestServiceManager(ReloadCase):
    """sd_notify(3)."""

    def manager(self, abstract=False):
        self.words = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.scope.at_end(self.words.close)
        path = self.scope.fresh("notify")
        self.words.bind("\0" + path if abstract else path)
        self.words.settimeout(wait.BOUND)
        return ("@" if abstract else "") + path

    def word(self):
        """The next one that is no sign of life."""
        while True:
            text = self.words.recv(4096).decode()
            if text != "WATCHDOG=1":
                return text

    def test_ready_reload_stop(self):
        for abstract in (False, True):
            with self.subTest(abstract=abstract):
                gateway = self.launch(env={"NOTIFY_SOCKET": self.manager(abstract)})
                self.assertEqual(self.word(), "READY=1")
                gateway.reload()
                self.assertRegex(self.word(), r"^RELOADING=1\nMONOTONIC_USEC=\d+$")
                self.assertEqual(self.word(), "READY=1")
                gateway.refused(text="nonsense")
                self.assertRegex(self.word(), "^RELOADING=1\n")
                self.assertEqual(self.word(), "READY=1")
                gateway.stop()
                self.assertEqual(self.word(), "STOPPING=1")

    def test_signs_of_life(self):
        self.launch(env={"NOTIFY_SOCKET": self.manager(), "WATCHDOG_USEC": "200000"})
        self.assertEqual(self.word(), "READY=1")
        for _ in range(5):
            self.assertEqual(self.words.recv(4096), b"WATCHDOG=1")

    def test_not_for_others(self):
        """A watchdog of another process; and applications hear of none of this."""
        self.launch(apps_=[self.app(['backend "spawn:%s" { }' % apps.built("echo")])],
                    env={"NOTIFY_SOCKET": self.manager(), "WATCHDOG_USEC": "20000", "WATCHDOG_PID": "1"})
        self.assertEqual(self.words.recv(4096), b"READY=1")
        child = wait.until(lambda: process.children(self.gateway.pid), "the application")[0]

        def environment():
            with open("/proc/%d/environ" % child, "rb") as f:
                return f.read()
        wait.until(lambda: b"echo" in open("/proc/%d/cmdline" % child, "rb").read(), "the application's own program")
        self.assertNotIn(b"NOTIFY_SOCKET", environment())
        self.assertNotIn(b"WATCHDOG", environment())
        self.gateway.stop()
        self.assertEqual(self.words.recv(4096), b"STOPPING=1")

    def test_nobody_listens(self):
        gateway = self.launch(env={"NOTIFY_SOCKET": self.scope.path("nobody"), "WATCHDOG_USEC": "100000"})
        gateway.wait_line("event=notify_failed")
        self.assertEqual(self.who(), "first")
