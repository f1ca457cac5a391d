"""The admin socket: when it is there, who is let in, what is a request, and what clients do wrong."""
import os
import pwd
import resource
import signal
import socket
import stat
import subprocess
import sys
import time

from harness import address, admin, wait
from harness.case import Case
from harness.site import Site

ROOT = os.geteuid() == 0


class TestOpen(Case):
    """When the socket is there."""

    def start(self, options="", **kwargs):
        self.site = Site(self.scope, "", tail="admin { %s }\n" % options, **kwargs)
        self.path = admin.path_of(self.site.weir)
        self.log("event=started")

    def log(self, pattern, count=1):
        return self.site.weir.wait_line(pattern, count)

    def signal(self):
        self.site.weir.process.send(signal.SIGUSR1)

    def wait_gone(self):
        wait.until(lambda: not os.path.exists(self.path), lambda: "the socket is gone\n" + self.site.weir.process.log())

    def test_absent_until_usr1(self):
        self.start()
        self.assertEqual(self.site.ask("").status, 200)
        self.assertFalse(os.path.exists(self.path))
        admin.open_socket(self.site.weir)
        found = os.stat(self.path)
        self.assertTrue(stat.S_ISSOCK(found.st_mode))
        self.assertEqual(stat.S_IMODE(found.st_mode), 0o600)
        self.assertEqual(found.st_uid, os.geteuid())
        self.log("level=info event=admin_opened socket=%s by=USR1" % self.path)
        self.assertEqual(admin.ask(self.site.weir, "status").code, "ok")

    def test_mode_does_not_hang_on_the_umask(self):
        before = os.umask(0)
        try:
            self.start("open = always")
        finally:
            os.umask(before)
        self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), 0o600)

    def test_closed_when_idle(self):
        self.start("idle = 1s")
        admin.open_socket(self.site.weir)
        opened = time.monotonic()
        self.wait_gone()
        self.assertGreater(time.monotonic() - opened, 0.8)
        self.log("level=info event=admin_closed socket=%s reason=idle" % self.path)
        admin.open_socket(self.site.weir)
        self.assertEqual(admin.ask(self.site.weir, "status").code, "ok")

    def test_a_client_keeps_it_open(self):
        self.start("idle = 1s")
        with admin.client(self.site.weir) as c:
            end = time.monotonic() + 2.5
            while time.monotonic() < end:
                self.assertEqual(c.ask("log-level").code, "ok")
                self.assertTrue(os.path.exists(self.path), "closed while there is a client")
                time.sleep(0.1)
        left = time.monotonic()
        self.wait_gone()
        self.assertGreater(time.monotonic() - left, 0.8)

    def test_usr1_starts_the_time_anew(self):
        self.start("idle = 1s")
        admin.open_socket(self.site.weir)
        for _ in range(12):
            time.sleep(0.2)
            self.assertTrue(os.path.exists(self.path))
            self.signal()
        self.wait_gone()
        self.assertEqual(len(self.log("event=admin_opened")), 1)

    def test_always(self):
        self.start("open = always idle = 1s")
        self.assertTrue(os.path.exists(self.path))
        self.log("event=admin_opened socket=%s by=start" % self.path)
        time.sleep(1.5)
        with admin.Client(self.path) as c:
            self.assertEqual(c.ask("status").code, "ok")
        self.assertEqual(self.site.weir.lines("event=admin_closed"), [])

    def test_never(self):
        self.start("open = never")
        self.signal()
        self.log('level=warn event=admin_not_opened socket=%s reason="admin.open is never"' % self.path)
        self.assertFalse(os.path.exists(self.path))
        self.assertEqual(self.site.ask("").status, 200)

    def test_removed_at_the_end(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(number):
                self.start("open = always")
                with admin.client(self.site.weir) as c:
                    self.assertEqual(c.ask("status").code, "ok")
                    self.site.weir.process.send(number)
                    self.assertTrue(c.closed())
                self.assertEqual(self.site.weir.wait_exit(), 0)
                self.assertFalse(os.path.exists(self.path))
                self.log("event=admin_closed socket=%s reason=end" % self.path)

    def test_what_a_killed_one_left_is_replaced(self):
        self.start("open = always", node="")
        self.site.weir.check = False
        self.site.weir.process.send(signal.SIGKILL)
        self.site.weir.process.wait()
        self.assertTrue(os.path.exists(self.path))
        self.start("open = always")
        self.assertEqual(admin.ask(self.site.weir, "status").code, "ok")

    def test_one_that_is_in_use_is_left_alone(self):
        os.makedirs(self.scope.path("run"), exist_ok=True)
        other = address.listen("unix:" + self.scope.path("run/admin.sock"))
        self.scope.at_end(other.close)
        self.start("open = always")
        self.log('level=error event=admin_not_opened socket=%s reason="another process listens there"' % self.path)
        self.assertEqual(self.site.ask("").status, 200)
        other.close()
        self.signal()
        self.log("event=admin_opened socket=%s by=USR1" % self.path)
        self.assertEqual(admin.ask(self.site.weir, "status").code, "ok")

    def test_a_file_is_not_removed(self):
        os.makedirs(self.scope.path("run"), exist_ok=True)
        path = self.scope.write("run/admin.sock", "precious")
        self.start("open = always")
        self.log("event=admin_not_opened socket=%s reason=" % self.path)
        self.assertEqual(self.site.ask("").status, 200)
        self.site.weir.stop()
        self.assertEqual(open(path).read(), "precious")

    def test_a_file_that_is_gone_is_made_anew(self):
        self.start()
        admin.open_socket(self.site.weir)
        with admin.client(self.site.weir) as before:
            os.unlink(self.path)
            admin.open_socket(self.site.weir)
            self.assertEqual(admin.ask(self.site.weir, "status").code, "ok")
            self.assertEqual(before.ask("status").code, "ok")
        self.log('event=admin_closed socket=%s reason="its file is gone"' % self.path)

    def test_what_others_put_there_is_left(self):
        self.start("open = always")
        os.unlink(self.path)
        self.scope.write("run/admin.sock", "precious")
        self.site.weir.stop()
        self.assertEqual(open(self.path).read(), "precious")


class TestWhoIsLetIn(Case):
    def as_user(self, user, path, line="status"):
        """What that user gets of the socket."""
        script = ("import socket, sys\n"
                  "s = socket.socket(socket.AF_UNIX)\n"
                  "s.settimeout(10)\n"
                  "try:\n"
                  "    s.connect(sys.argv[1])\n"
                  "except OSError as e:\n"
                  "    print(type(e).__name__)\n"
                  "    sys.exit()\n"
                  "try:\n"
                  "    s.sendall(sys.argv[2].encode() + b'\\n')\n"
                  "    s.shutdown(socket.SHUT_WR)\n"
                  "except OSError:\n"
                  "    pass\n"
                  "while True:\n"
                  "    try:\n"
                  "        piece = s.recv(65536)\n"
                  "    except ConnectionResetError:\n"
                  "        break\n"
                  "    if not piece:\n"
                  "        break\n"
                  "    sys.stdout.write(piece.decode())\n")
        done = subprocess.run([sys.executable, "-c", script, path, line], stdout=subprocess.PIPE, timeout=wait.BOUND,
                              user=user, extra_groups=[], cwd="/")
        return done.stdout.decode()

    def setUp(self):
        super().setUp()
        if not ROOT:
            self.skipTest("only root can be somebody else")

    def test_others_cannot_connect(self):
        site = Site(self.scope, "", tail="admin { open = always }\n")
        admin.wait_open(site.weir)
        self.assertEqual(self.as_user("nobody", admin.path_of(site.weir)), "PermissionError\n")

    def test_others_are_refused_also_where_the_mode_lets_them_in(self):
        site = Site(self.scope, "", tail="admin { open = always }\n")
        admin.wait_open(site.weir)
        os.chmod(admin.path_of(site.weir), 0o666)
        told = self.as_user("nobody", admin.path_of(site.weir), "drain")
        self.assertEqual(told, "error refused 52\nonly root and the user that weir runs as are let in\n")
        line = site.weir.wait_line("event=admin_refused")[0]
        self.assertIn("level=warn", line)
        self.assertIn(" uid=%d pid=" % pwd.getpwnam("nobody").pw_uid, line)
        self.assertEqual(admin.ask(site.weir, "status").fields["state"], "running")

    def test_the_user_of_weir_and_root(self):
        for name in ("run", "state"):
            os.makedirs(self.scope.path(name), exist_ok=True)
            os.chown(self.scope.path(name), pwd.getpwnam("nobody").pw_uid, -1)
        site = Site(self.scope, "", node='user = "nobody"', tail="admin { open = always }\n")
        path = admin.path_of(site.weir)
        admin.wait_open(site.weir)
        self.assertEqual(os.stat(path).st_uid, pwd.getpwnam("nobody").pw_uid)
        self.assertRegex(self.as_user("nobody", path), r"^ok \d+\n")
        self.assertEqual(admin.ask(site.weir, "status").code, "ok")
        os.chmod(path, 0o666)
        self.assertRegex(self.as_user("daemon", path), "^error refused ")


class TestLines(admin.Shared):
    """What is a request, and what comes of one that is none."""

    def test_two_ends_of_a_line(self):
        c = self.client()
        for end in ("\n", "\r\n"):
            c.send("log-level" + end)
            self.assertEqual(c.reply().text, "level  debug\n")

    def test_lines_without_words(self):
        c = self.client()
        c.send("\n  \t \r\n\n")
        self.assertEqual(c.ask("log-level").code, "ok")

    def test_byte_by_byte(self):
        c = self.client()
        for byte in b"log-level --json\n":
            c.send(bytes([byte]))
            time.sleep(0.001)
        self.assertEqual(c.reply().json, {"level": "debug"})

    def test_many_at_once_in_order(self):
        """Also those that the stack's thread answers, between those that are answered at once."""
        name = self.new()[1]
        c = self.client()
        lines = ["log-level", "session show %s" % name, "nonsense", "sessions --limit 1", "status"] * 40
        c.send("".join(line + "\n" for line in lines))
        for line in lines:
            reply = c.reply()
            expect = {"log-level": "level ", "session": "session  " + name, "nonsense": "unknown command",
                      "sessions": "SESSION ", "status": "version "}[line.split()[0]]
            self.assertTrue(reply.text.startswith(expect), (line, reply))

    def test_many_that_are_answered_at_once(self):
        c = self.client()
        c.send("log-level\n" * 500)
        for _ in range(500):
            self.assertEqual(c.reply().text, "level  debug\n")

    def test_who_closes_his_side_gets_his_reply(self):
        """As `echo sessions | nc -U` does."""
        self.new()
        for line in ("status", "sessions", "status\nsessions\nlog-level"):
            c = self.client()
            c.send(line + "\n")
            c.socket.shutdown(socket.SHUT_WR)
            for _ in line.split("\n"):
                self.assertEqual(c.reply().code, "ok")
            self.assertTrue(c.closed())

    def test_a_line_without_an_end_is_none(self):
        c = self.client()
        c.send("drain")
        c.socket.shutdown(socket.SHUT_WR)
        self.assertTrue(c.closed())
        self.assertEqual(self.ask("status").fields["state"], "running")

    def test_unknown_commands(self):
        for line, text in (
                ("nonsense", 'unknown command "nonsense"; help shows the commands\n'),
                ("STATUS", 'unknown command "STATUS"; help shows the commands\n'),
                ("app", 'unknown command "app"; there are: app start, app stop\n'),
                ("session die x", 'unknown command "session die"; there are: session show, session end, session pin, '
                                  'session unpin, session demote, session promote\n'),
                ("--state", "there are only options and no command; help shows the commands\n")):
            with self.subTest(line):
                reply = self.ask(line)
                self.assertEqual((reply.code, reply.text), ("unknown-command", text))
                reply = self.ask(line + " --json")
                self.assertEqual((reply.code, reply.json),
                                 ("unknown-command", {"error": "unknown-command", "message": text.rstrip("\n")}))

    def test_wrong_arguments(self):
        for line, text in (
                ("status now", 'status: "now" is too much\nusage: status [--json]\n'),
                ("session show", 'session show: "ID" is missing\nusage: session show ID [--state] [--json]\n'),
                ("session end a b", 'session end: "b" is too much\nusage: session end ID [--json]\n'),
                ("backend drain", 'backend drain: "NAME" is missing\nusage: backend drain [APP] NAME [--json]\n'),
                ("apps --state", 'apps: "--state" is no option of it\nusage: apps [--json]\n'),
                ("log-level loud", "a level is error, warn, info or debug\n"),
                ("sessions --in cloud", "--in takes memory or disk\n"),
                ("sessions --older soon", "--older takes a time from 1s on, such as 90s, 30m or 2d\n"),
                ("sessions --older 500ms", "--older takes a time from 1s on, such as 90s, 30m or 2d\n"),
                ("sessions --younger -1s", "--younger takes a time from 1s on, such as 90s, 30m or 2d\n"),
                ("sessions --limit 0", "--limit takes a number from 1 to 1000\n"),
                ("sessions --limit 1001", "--limit takes a number from 1 to 1000\n"),
                ("sessions --limit x", "--limit takes a number from 1 to 1000\n"),
                ("sessions --cursor x", "this cursor is not one, or of other filters\n"),
                ("sessions --cursor " + "x" * 100, "this cursor is not one, or of other filters\n"),
                ("sessions --all", "--all is for weirctl, which goes from cursor to cursor\n"),
                ("session show x", "a session is named by 16 hexadecimal digits, or by the value of its cookie\n"),
                ("session show " + "x" * 32, "a session is named by 16 hexadecimal digits, or by the value of its "
                                             "cookie\n"),
                ("session show " + "x" * 1000, "a session is named by 16 hexadecimal digits, or by the value of its "
                                               "cookie\n")):
            with self.subTest(line):
                reply = self.ask(line)
                self.assertEqual((reply.code, reply.text), ("bad-argument", text))

    def test_what_is_no_line(self):
        for line, text in (
                (b"status \0", "a control character\n"),
                (b"\x1b[A", "a control character\n"),
                (b"stat\rus", "a control character\n"),
                (b'session show "abc', "a quote that is not closed\n"),
                (b"session show abc\\", "nothing behind the last backslash\n"),
                (b"a " * 33, "too many words, at most 32 are good\n")):
            with self.subTest(line):
                c = self.client()
                c.send(line + b"\n")
                reply = c.reply()
                self.assertEqual((reply.code, reply.text), ("bad-line", text))
                self.assertEqual(c.ask("log-level").code, "ok", "the connection goes on")

    def test_other_bytes_are_no_trouble(self):
        c = self.client()
        c.send(b"app stop \xff\xfe gr\xc3\xbc\xc3\x9fe\n")
        self.assertEqual(c.reply().code, "bad-argument")
        c.send(b"app stop \xff\xfe --json\n")
        self.assertEqual(c.reply().json["error"], "not-found")
        c.send(b"\xff\xfe --json\n")
        self.assertEqual(c.reply().json["message"], 'unknown command "\\xff\\xfe"; help shows the commands')

    def test_garbage(self):
        """Every line of it has a reply, and nothing else happens."""
        noise = bytes((i * 7919 + i // 251) % 256 for i in range(20000)).replace(b"\n", b"") + b"\n"
        pieces = b"".join(noise[i:i + 1000] + b"\n" for i in range(0, 20000, 1000))
        c = self.client()
        c.send(pieces)
        for _ in range(20):
            self.assertIn(c.reply().code, ("bad-line", "unknown-command"))
        self.assertEqual(self.site.ask("").status, 200)

    def test_the_longest_line(self):
        c = self.client()
        reply = c.ask("app stop " + "x" * (4095 - 9))
        self.assertEqual(reply.code, "not-found")
        c.send("app stop " + "x" * (4094 - 9) + "\r\n")
        self.assertEqual(c.reply().code, "not-found")

    def test_a_line_that_is_too_long(self):
        for line in ("x" * 4096 + "\n", "x" * 4096, "x" * 100000 + "\n"):
            c = self.client()
            try:
                c.send(line)
            except OSError:
                pass  # it has hung up in the middle
            reply = c.reply()
            self.assertEqual((reply.code, reply.text), ("bad-line", "a line has at most 4096 bytes\n"))
            self.assertTrue(c.closed())


class TestClients(Case):
    """How many, how slow."""

    def start(self, options="open = always", **kwargs):
        self.site = Site(self.scope, "max-size = 4M", tail="admin { %s }\n" % options, listen="max-params = 8M",
                         **kwargs)
        self.path = admin.path_of(self.site.weir)
        admin.wait_open(self.site.weir)

    def connect(self):
        c = admin.Client(self.path)
        self.addCleanup(c.close)
        return c

    def test_two_at_once(self):
        self.start()
        a, b = self.connect(), self.connect()
        a.send("stat")
        b.send("log-")
        self.assertEqual(self.connect().ask("log-level").code, "ok")
        b.send("level\n")
        self.assertEqual(b.reply().text, "level  debug\n")
        a.send("us\n")
        self.assertEqual(a.reply().fields["state"], "running")

    def test_sixteen_and_no_more(self):
        self.start()
        clients = [self.connect() for _ in range(16)]
        for c in clients:
            self.assertEqual(c.ask("log-level").code, "ok")
        late = self.connect()
        reply = late.reply()
        self.assertEqual((reply.code, reply.text), ("too-many", "16 clients are connected already\n"))
        self.assertTrue(late.closed())
        self.site.weir.wait_line('event=admin_refused reason="16 clients are connected already" uid=%d' % os.geteuid())
        for c in clients:
            self.assertEqual(c.ask("log-level").code, "ok")
        clients[7].close()
        wait.until(self.let_in, "a place is free again")

    def let_in(self):
        with admin.Client(self.path) as c:
            try:
                c.send("log-level\n")
            except BrokenPipeError:
                pass  # told so and closed already
            return c.reply().code == "ok"

    def test_a_thousand(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft < 3000:
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 3000), hard))
        self.start()
        clients = [self.connect() for _ in range(1000)]
        for c in clients[:16]:
            self.assertEqual(c.ask("log-level").code, "ok")
        self.assertEqual(self.site.ask("").status, 200)
        for c in clients[16:]:
            self.assertEqual(c.reply().code, "too-many")
            self.assertTrue(c.closed())
        self.assertEqual(self.site.ask("").status, 200)
        for c in clients:
            c.close()
        wait.until(self.let_in, "it lets in again")
        self.assertEqual(admin.ask(self.site.weir, "status").fields["state"], "running")

    def test_a_thousand_that_ask_and_go(self):
        self.start()
        for i in range(1000):
            with admin.Client(self.path) as c:
                try:
                    c.send("sessions\n" if i % 2 else "status\n")
                except BrokenPipeError:
                    pass  # one too many just then
        wait.until(self.let_in, "it lets in again")
        self.assertEqual(self.site.ask("").status, 200)

    def test_half_a_line_then_silence(self):
        self.start("open = always idle = 1s")
        for data in ("", "stat"):
            with self.subTest(data):
                c = self.connect()
                self.assertEqual(c.ask("log-level").code, "ok")
                began = time.monotonic()
                c.send(data)
                reply = c.reply()
                self.assertGreater(time.monotonic() - began, 0.8)
                self.assertEqual((reply.code, reply.text), ("timeout", "no whole line for 1 s\n"))
                self.assertTrue(c.closed())

    def test_a_line_in_drops_is_silence_too(self):
        """Bytes alone do not keep a place: whole lines do."""
        self.start("open = always idle = 1s")
        c = self.connect()
        began = time.monotonic()
        try:
            while time.monotonic() - began < 5:
                c.send("x")
                time.sleep(0.1)
        except OSError:
            pass
        self.assertLess(time.monotonic() - began, 4)

    def test_who_never_reads(self):
        """A reply that does not fit into the kernel is waited for a while; others are served meanwhile."""
        self.start("open = always idle = 2s")
        _, name, _ = admin.new_session(self.site, "size=2000000")
        lazy = self.connect()
        lazy.send("session show %s --state\n" % name)
        for _ in range(5):
            self.assertEqual(admin.ask(self.site.weir, "status").code, "ok")
            self.assertEqual(self.site.ask("").status, 200)
        self.site.weir.wait_line('level=info event=admin_dropped reason="a reply is not read" uid=%d' % os.geteuid())
        self.assertEqual(admin.ask(self.site.weir, "status").code, "ok")
        with self.assertRaisesRegex(AssertionError, "closed within a body"):
            lazy.reply()

    def test_who_reads_slowly(self):
        """As long as something is taken it goes on, longer than the time for silence."""
        self.start("open = always idle = 1s")
        _, name, _ = admin.new_session(self.site, "size=2000000")
        slow = self.connect()
        slow.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.send("session show %s --state --json\n" % name)
        began, got = time.monotonic(), b""
        while time.monotonic() - began < 4:
            got += slow.socket.recv(65536)
            time.sleep(0.15)
        slow._in += got
        self.assertEqual(slow.reply().json["state"], "x" * 2000000)
        self.assertEqual(self.site.weir.lines("event=admin_dropped"), [])

    def test_who_leaves_while_it_works(self):
        """What he asked for is done."""
        self.start()
        jar, name, _ = admin.new_session(self.site)
        c = self.connect()
        c.send("session end %s\n" % name)
        c.close()
        wait.until(lambda: self.site.state(jar)[0] == "none", "the session has ended")
        self.site.weir.wait_line('event=admin_command command="session end %s" uid=%d result=ok' % (name, os.geteuid()))

    def test_no_descriptors_left(self):
        """It does not spin, and lets in again when there are some."""
        self.start()
        self.site.weir.wait_line("event=store_ready")
        pid = self.site.weir.pid
        before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, before[1]))
        c = self.connect()
        c.send("log-level\n")
        self.site.weir.wait_line("level=error event=admin_refused")

        def seconds():
            with open("/proc/%d/stat" % pid) as f:
                fields = f.read().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        used = seconds()
        time.sleep(1)
        self.assertLess(seconds() - used, 0.15)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
        self.assertEqual(c.reply().code, "ok")

    def test_descriptors_are_given_back(self):
        self.start()

        def count():
            return len(os.listdir("/proc/%d/fd" % self.site.weir.pid))
        self.site.weir.wait_line("event=store_ready")
        self.assertEqual(admin.ask(self.site.weir, "log-level").code, "ok")
        before = wait.until(count, "descriptors")
        for i in range(100):
            with admin.Client(self.path) as c:
                try:
                    c.send(("log-level\n", "half", "sessions\n", "x" * 5000)[i % 4])
                except BrokenPipeError:
                    pass  # one too many just then
        wait.until(lambda: count() <= before, lambda: "the descriptors are given back: %d, now %d" % (before, count()))
