"""The admin socket and weirctl: who is let in and when, every command, and what clients do wrong."""
import base64
import json
import os
import pwd
import resource
import signal
import socket
import stat
import subprocess
import sys
import time

from harness import address, admin, case, cgi, process, wait, weir
from harness.case import Case
from harness.site import Site

ROOT = os.geteuid() == 0


def new_session(site, query="set=one", **kwargs):
    """(jar, public name, value of the cookie)"""
    jar = cgi.Jar()
    answer = site.ask(query, jar=jar, **kwargs)
    if answer.status != 200:
        raise AssertionError("no session: %r" % answer)
    name = site.seen(jar=jar)["SESSION_ID"]
    return jar, name, jar.values["WEIRSID"]


class AdminCase(Case):
    """One gateway for the class, whose socket is always there."""

    tail = "admin { open = always }\n"
    session = "max-size = 4M"

    @classmethod
    def start_shared(cls, scope):
        cls.site = Site(scope, cls.session, tail=cls.tail, listen="max-params = 8M")

    def client(self):
        c = admin.client(self.site.weir)
        self.addCleanup(c.close)
        return c

    def ask(self, line):
        return admin.ask(self.site.weir, line)

    def new(self, query="set=one", **kwargs):
        return new_session(self.site, query, **kwargs)


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


class TestLines(AdminCase):
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
        _, name, _ = new_session(self.site, "size=2000000")
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
        _, name, _ = new_session(self.site, "size=2000000")
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
        jar, name, _ = new_session(self.site)
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


class TestLook(AdminCase):
    """The commands that only look."""

    def test_status(self):
        self.new()
        r = self.ask("status --json").json
        self.assertEqual((r["node"], r["state"], r["pid"], r["workers"]), ("test", "running", self.site.weir.pid, 2))
        self.assertRegex(r["version"], r"^\d+\.\d+")
        self.assertEqual(r["config"], self.site.weir.config)
        self.assertEqual((r["generation"], r["reloaded_at"], r["reloads_failed"]), (1, None, 0))
        self.assertLessEqual(abs(r["started_at"] + r["uptime_s"] - time.time()), 3)
        self.assertGreaterEqual(r["memory"]["sessions"], 1)
        self.assertGreater(r["memory"]["bytes"], 0)
        self.assertEqual(r["memory"]["max_bytes"], 512 << 20)
        self.assertEqual(r["disk"]["max_bytes"], 20 << 30)
        wait.until(lambda: self.ask("status --json").json["disk"]["state"] == "ready", "the disk store is ready")
        self.assertIsNone(self.ask("status --json").json["disk"]["trouble"])

    def test_status_counts_requests(self):
        def requests():
            return self.ask("status --json").json["requests"]
        before = requests()
        for query in ("", "", "status=404", "status=500", "die=1"):
            self.site.ask(query)
        after = wait.until(lambda: (lambda r: r if r["running"] == 0 else None)(requests()), "no request runs")
        self.assertEqual(after["begun"] - before["begun"], 5)
        self.assertEqual(after["ok"] - before["ok"], 4)
        self.assertEqual(after["failed"] - before["failed"], 1)
        self.assertEqual(after["2xx"] - before["2xx"], 2)
        self.assertEqual(after["4xx"] - before["4xx"], 1)
        self.assertEqual(after["5xx"] - before["5xx"], 2)
        self.assertGreater(after["p99_us"], 0)
        with self.site.client() as client:
            client.start(self.site.params("gate=status"))
            self.site.wait_at("status")
            self.assertEqual(requests()["running"], 1)
            self.site.open("status")
            client.response()

    def test_status_as_text(self):
        text = self.ask("status").text
        self.assertRegex(text, r"(?m)^node {2,}test$")
        self.assertRegex(text, r"(?m)^state {2,}running$")
        self.assertRegex(text, r"(?m)^started {2,}(now|.* ago)$")
        self.assertRegex(text, r"(?m)^reloaded {2,}-$")
        self.assertRegex(text, r"(?m)^memory$\n  sessions +\d+$")
        self.assertRegex(text, r"(?m)^  max {2,}512 MiB$")

    def test_apps(self):
        r = self.ask("apps --json").json
        self.assertEqual(r, {"apps": [{"app": "main", "state": "running", "sessions": "managed", "backends": 1,
                                       "waiting": 0, "queue": 1024}]})
        self.assertEqual(self.ask("apps").text,
                         "APP   STATE    SESSIONS  BACKENDS  WAITING  QUEUE\n"
                         "main  running  managed          1        0   1024\n")

    def test_backends(self):
        self.site.ask("")
        row = self.ask("backends --json").json["backends"][0]
        self.assertEqual((row["app"], row["backend"], row["protocol"], row["state"]),
                         ("main", self.site.backend.where, "fastcgi", "ready"))
        self.assertEqual((row["active"], row["connections"], row["weight"], row["failures"]), (0, 8, 1, 0))
        self.assertGreater(row["requests"], 0)
        row = self.ask("backends").rows[0]
        self.assertEqual((row["APP"], row["BACKEND"], row["STATE"]), ("main", self.site.backend.where, "ready"))

    def test_metrics(self):
        reply = self.ask("metrics")
        self.assertTrue(reply.text.endswith("# EOF\n"), reply)
        self.assertRegex(reply.text, r"(?m)^# TYPE weir_\w+ counter$")
        self.assertTrue(self.ask("metrics --json").json["openmetrics"].endswith("# EOF\n"))

    def test_help(self):
        text = self.ask("help").text
        self.assertIn("\nsession show ID           one session\n", text)
        self.assertEqual(self.ask("help session show").text.splitlines()[0],
                         "usage: session show ID [--state] [--json]")
        reply = self.ask("help nonsense")
        self.assertEqual((reply.code, reply.text), ("not-found", "there is no such command\n"))
        commands = [c["command"] for c in self.ask("help --json").json]
        self.assertIn("session promote", commands)
        for command in commands:
            self.assertIn("\n" + command, "\n" + text)

    def test_a_look_is_not_logged(self):
        count = len(self.site.weir.lines("event=admin_command"))
        for line in ("status", "apps", "backends", "sessions", "log-level", "help", "metrics"):
            self.ask(line)
        self.assertEqual(len(self.site.weir.lines("event=admin_command")), count)


class TestSessions(AdminCase):
    """One session."""

    def show(self, key, options=""):
        return self.ask("session show --json %s -- %s" % (options, key)).json

    def disk_ready(self):
        wait.until(lambda: self.ask("status --json").json["disk"]["state"] == "ready", "the disk store is ready")

    def test_show(self):
        before = int(time.time())
        jar, name, cookie = self.new("set=hello")
        for key in (name, cookie):
            r = self.show(key)
            self.assertEqual((r["session"], r["app"], r["in"], r["busy"], r["pinned"], r["bytes"]),
                             (name, "main", "memory", False, False, 5))
            self.assertEqual(r["ttl_s"], 1800)
            self.assertTrue(before <= r["created_at"] <= time.time())
            self.assertTrue(before <= r["used_at"] <= time.time())
            self.assertLessEqual(abs(r["expires_at"] - time.time() - 1800), 3)
            self.assertNotIn("state", r)
        fields = self.ask("session show " + name).fields
        self.assertEqual((fields["session"], fields["in"], fields["bytes"], fields["ttl"]),
                         (name, "memory", "5 B", "30m"))

    def test_state_only_when_asked_for(self):
        _, name, cookie = self.new("set=very+secret")
        self.assertNotIn("secret", self.ask("session show " + name).text)
        self.assertNotIn("secret", self.ask("session show %s --json" % name).text)
        self.assertNotIn("secret", self.ask("sessions --limit 1000 --json").text)
        self.assertEqual(self.show(name, "--state")["state"], "very secret")
        self.assertEqual(self.ask("session show %s --state" % name).fields["state"], "very secret")
        self.assertNotIn("very secret", self.site.weir.process.log())
        self.site.weir.wait_line('event=admin_command command="session show %s --state" uid=%d result=ok' %
                                 (name, os.geteuid()))

    def test_state_that_is_not_text(self):
        _, name, _ = self.new("set=a%1bb%ff%0bc")
        state = base64.b64decode(self.show(name, "--state")["state_base64"])
        self.assertEqual(state, b"a\x1bb\xff\x0bc")
        self.assertEqual(self.ask("session show %s --state" % name).fields["state"], "a\\x1bb\\xff\\x0bc")
        _, name, _ = self.new("set=a%1bb")
        self.assertEqual(self.show(name, "--state")["state_base64"], "YRti")
        _, name, _ = self.new("set=gr%C3%BC%C3%9Fe")
        self.assertEqual(self.show(name, "--state")["state"], "grüße")
        _, name, _ = self.new("set=")
        self.assertEqual(self.show(name, "--state")["state"], "")

    def test_a_large_state(self):
        _, name, _ = self.new("size=3000000")
        self.assertEqual(len(self.show(name, "--state")["state"]), 3000000)
        self.assertEqual(self.ask("session show " + name).fields["bytes"], "2.8 MiB")

    def test_busy(self):
        jar, name, _ = self.new()
        with self.site.client() as client:
            client.start(self.site.params("gate=busy", jar=jar))
            self.site.wait_at("busy")
            self.assertTrue(self.show(name)["busy"])
            reply = self.ask("session demote " + name)
            self.assertEqual((reply.code, reply.text), ("busy", "a request has the session in use\n"))
            self.site.open("busy")
            client.response()
        wait.until(lambda: not self.show(name)["busy"], "the session is not in use")

    def test_end(self):
        jar, name, _ = self.new()
        self.assertEqual(self.ask("session end %s --json" % name).json["ended"], True)
        self.assertEqual(self.site.state(jar)[0], "none")
        reply = self.ask("session show " + name)
        self.assertEqual((reply.code, reply.text), ("not-found", "there is no such session\n"))
        self.assertEqual(self.ask("session end " + name).code, "not-found")

    def test_end_under_a_request(self):
        """It ends at once; what the request commits is dropped."""
        jar, name, cookie = self.new()
        with self.site.client() as client:
            client.start(self.site.params("gate=end&set=two", jar=jar))
            self.site.wait_at("end")
            self.assertEqual(self.ask("session end -- " + cookie).code, "ok")
            self.site.open("end")
            self.assertEqual(client.response().status, 200)
        self.assertEqual(self.site.state(jar)[0], "none")

    def test_demote_and_promote(self):
        self.disk_ready()
        jar, name, cookie = self.new("set=down")
        self.assertEqual(self.ask("session demote %s --json" % name).json["in"], "disk")
        r = self.show(name, "--state")
        self.assertEqual((r["in"], r["state"], r["app"]), ("disk", "down", "main"))
        self.assertEqual(self.show(cookie)["in"], "disk")
        self.assertEqual(self.ask("session demote " + name).fields["in"], "disk")
        self.assertEqual(self.ask("session promote %s" % name).fields["in"], "memory")
        self.assertEqual(self.show(name)["in"], "memory")
        self.ask("session demote -- " + cookie)
        self.assertEqual(self.site.state(jar)[1], "down")
        self.assertEqual(self.show(name)["in"], "memory")

    def test_end_on_disk(self):
        self.disk_ready()
        jar, name, _ = self.new()
        self.ask("session demote " + name)
        self.assertEqual(self.ask("session end " + name).code, "ok")
        self.assertEqual(self.ask("session show " + name).code, "not-found")
        self.assertEqual(self.site.state(jar)[0], "none")

    def test_pin_and_unpin(self):
        self.disk_ready()
        _, name, cookie = self.new()
        self.ask("session demote " + name)
        r = self.ask("session pin %s --json" % name).json
        self.assertEqual((r["in"], r["pinned"]), ("memory", True))
        reply = self.ask("session demote " + name)
        self.assertEqual((reply.code, reply.text), ("refused", "the session is pinned, or there is no disk store\n"))
        self.assertEqual(self.ask("session unpin " + name).fields["pinned"], "no")
        self.assertEqual(self.ask("session demote " + name).fields["in"], "disk")

    def test_what_is_not_there(self):
        for verb in ("show", "end", "pin", "unpin", "demote", "promote"):
            reply = self.ask("session %s 0123456789abcdef" % verb)
            self.assertEqual((reply.code, reply.text), ("not-found", "there is no such session\n"))
            reply = self.ask("session %s 0123456789abcdef --json" % verb)
            self.assertEqual(reply.json, {"error": "not-found", "message": "there is no such session"})

    def test_no_cookie_is_ever_logged(self):
        _, name, cookie = self.new()
        for verb in ("show", "pin", "unpin", "demote", "promote", "end", "end"):
            for key in (cookie, cookie + "x", cookie[:-1], cookie.upper(), '"%s' % cookie):
                self.ask("session %s -- %s" % (verb, key))
        self.ask(cookie)
        self.ask("sessions --app=%s" % cookie)
        self.ask("app stop %s" % name)
        log = self.site.weir.process.log().lower()
        self.assertNotIn(cookie[:20].lower(), log)
        self.assertIn('command="session pin %s" uid=%d result=ok' % (name, os.geteuid()), log)
        self.assertIn('command="session end %s" uid=%d result=ok' % (name, os.geteuid()), log)
        self.assertIn('command="session end (a cookie)" uid=%d result=not-found' % os.geteuid(), log)


class TestPages(Case):
    """Lists of sessions."""

    COUNT = 250

    @classmethod
    def start_shared(cls, scope):
        other = weir.app("other", ['backend "unix:%s" { }' % scope.path("1-b")], session="", match=["path:/other"])
        cls.site = Site(scope, "", tail="admin { open = always }\n", apps=[other], workers=2)
        wait.until(lambda: admin.ask(cls.site.weir, "status --json").json["disk"]["state"] == "ready", "the disk store")
        cls.names, cls.down, cls.other = set(), set(), set()
        with admin.client(cls.site.weir) as c:
            for i in range(cls.COUNT):
                path = "/other/x" if i % 10 == 0 else "/"
                answer = cls.site.ask("set=%d" % i, path=path)
                cookie = answer.header("Set-Cookie").split(";")[0].split("=")[1]
                verb = "demote" if i % 3 == 0 else "show"
                r = c.ask("session %s --json -- %s" % (verb, cookie)).json
                if "session" not in r:
                    raise AssertionError("%s: %s" % (verb, r))
                cls.names.add(r["session"])
                if i % 3 == 0:
                    cls.down.add(r["session"])
                if i % 10 == 0:
                    cls.other.add(r["session"])

    def page(self, options=""):
        return admin.ask(self.site.weir, "sessions --json " + options)

    def walk(self, options):
        """All names that a walk meets, in order."""
        found, cursor = [], ""
        while True:
            reply = self.page(options + cursor)
            r = reply.json
            self.assertEqual(reply.code, "ok", reply)
            found += [s["session"] for s in r["sessions"]]
            self.assertEqual((r["cursor"], r["more"]), (reply.next, reply.next is not None))
            if not r["more"]:
                return found
            self.assertTrue(r["sessions"], "an empty page in the middle")
            cursor = " --cursor " + reply.next

    def assert_walk(self, options, expect):
        found = self.walk(options)
        self.assertEqual(len(found), len(set(found)), "something was met twice")
        self.assertEqual(set(found), expect)

    def test_a_page_is_bounded(self):
        self.assertLess(len(self.page().json["sessions"]), 120)
        self.assertGreaterEqual(len(self.page().json["sessions"]), 100)
        self.assertLess(len(self.page("--limit 1").json["sessions"]), 20)

    def test_all_by_pages(self):
        for limit in (7, 100, 1000):
            with self.subTest(limit):
                self.assert_walk("--limit %d" % limit, self.names)

    def test_by_app(self):
        self.assert_walk("--app other --limit 10", self.other)
        self.assert_walk("--app main", self.names - self.other)
        reply = self.page("--app nonsense")
        self.assertEqual((reply.code, reply.json["message"]), ("not-found", "there is no app of this name"))

    def test_by_store(self):
        self.assert_walk("--in disk --limit 20", self.down)
        self.assert_walk("--in memory --limit 20", self.names - self.down)
        self.assert_walk("--in disk --app other", self.down & self.other)

    def test_by_age(self):
        self.assert_walk("--older 1d", set())
        self.assert_walk("--younger 1d", self.names)
        wait.until(lambda: self.walk("--older 2s"), "some are two seconds old")
        young = self.names - set(self.walk("--older 2s"))
        self.assertLess(len(set(self.walk("--younger 1s")) - young), 3)

    def test_cursor_of_another_store(self):
        cursor = self.page("--in memory --limit 1").next
        reply = self.page("--in disk --cursor " + cursor)
        self.assertEqual((reply.code, reply.json["message"]),
                         ("bad-argument", "this cursor is not one, or of other filters"))

    def test_as_text(self):
        reply = admin.ask(self.site.weir, "sessions --limit 5")
        self.assertGreaterEqual(len(reply.rows), 5)
        for row in reply.rows:
            self.assertIn(row["SESSION"], self.names)
            self.assertEqual(row["IN"], "disk" if row["SESSION"] in self.down else "memory")
            self.assertEqual(row["APP"], "other" if row["SESSION"] in self.other else "main")
            self.assertEqual(row["TTL"], "30m")
        self.assertEqual(admin.ask(self.site.weir, "sessions --older 1d").text, "none\n")

    def test_weirctl_all(self):
        place = ["-s", admin.path_of(self.site.weir), "-p", "/nonexistent"]
        code, out, err = admin.weirctl(*place, "sessions", "--all", "--limit", "30")
        self.assertEqual((code, err), (0, ""))
        lines = out.splitlines()
        self.assertEqual(len(lines), 1 + self.COUNT)
        self.assertEqual({line.split()[0] for line in lines[1:]}, self.names)
        code, out, err = admin.weirctl(*place, "--json", "sessions", "--all", "--limit", "30", "--app", "other")
        pages = [json.loads(line) for line in out.splitlines()]
        self.assertEqual({s["session"] for p in pages for s in p["sessions"]}, self.other)
        code, out, err = admin.weirctl(*place, "sessions", "--limit", "30")
        self.assertEqual(code, 0)
        self.assertRegex(err, r"^weirctl: there are more: --cursor \S+ goes on, --all shows all\n$")
        self.assertGreaterEqual(len(out.splitlines()), 31)
        cursor = err.split()[5]
        code, out, _ = admin.weirctl(*place, "sessions", "--cursor", cursor, "--all")
        self.assertLessEqual(len(out.splitlines()), 1 + self.COUNT - 30)


class TestChange(Case):
    """The commands that change something."""

    def start(self, **kwargs):
        options = dict(tail="admin { open = always }\n")
        options.update(kwargs)
        self.site = Site(self.scope, "", **options)

    def ask(self, line):
        return admin.ask(self.site.weir, line)

    def logged(self, command, result="ok"):
        quoted = '"%s"' % command if " " in command else command
        self.site.weir.wait_line("level=info event=admin_command command=%s uid=%d result=%s$" %
                                 (quoted, os.geteuid(), result))

    def test_app(self):
        self.start()
        jar, name, _ = new_session(self.site)
        wait.until(lambda: self.ask("status --json").json["disk"]["state"] == "ready", "the disk store is ready")
        reply = self.ask("app stop main --json")
        self.assertEqual(reply.json, {"app": "main", "state": "stopped", "changed": True})
        self.assertEqual(self.site.ask("", jar=jar).status, 503)
        self.assertEqual(self.ask("apps").rows[0]["STATE"], "stopped")
        wait.until(lambda: self.ask("session show %s --json" % name).json["in"] == "disk", "its sessions move to disk")
        self.assertEqual(self.ask("app stop main --json").json["changed"], False)
        self.assertEqual(self.ask("app start main").text, "app      main\nstate    running\nchanged  yes\n")
        self.assertEqual(self.site.state(jar), ("live", "one"))
        reply = self.ask("app stop nonsense")
        self.assertEqual((reply.code, reply.text), ("not-found", "there is no app of this name\n"))
        self.logged("app stop main")
        self.logged("app stop nonsense", "not-found")
        self.logged("app start main")

    def test_backend(self):
        self.start()
        name = self.site.backend.where
        reply = self.ask("backend drain %s --json" % name)
        self.assertEqual(reply.json, {"backend": name, "state": "drained", "changed": True})
        self.assertEqual(self.ask("backends").rows[0]["STATE"], "drained")
        self.assertEqual(self.ask("backend drain main %s --json" % name).json,
                         {"app": "main", "backend": name, "state": "drained", "changed": False})
        self.assertEqual(self.ask("backend ready " + name).fields,
                         {"backend": name, "state": "ready", "changed": "yes"})
        self.assertEqual(self.site.ask("").status, 200)
        for line in ("backend drain nonsense", "backend drain nonsense " + name, "backend ready main nonsense"):
            reply = self.ask(line)
            self.assertEqual((reply.code, reply.text), ("not-found", "there is no such backend\n"))
        self.logged("backend drain " + name)

    def test_backend_of_two_apps(self):
        where = self.scope.path("1-b")
        other = weir.app("other", ['backend "unix:%s" { }' % where], session=None, match=["path:/other"])
        self.start(apps=[other])
        name = self.site.backend.where
        self.assertEqual(name, "unix:" + where)
        reply = self.ask("backend drain " + name)
        self.assertEqual((reply.code, reply.text), ("bad-argument", "more than one app has a backend of this name; say "
                                                    "which: backend drain APP NAME\n"))
        self.assertEqual(self.ask("backend drain other " + name).code, "ok")
        states = {r["APP"]: r["STATE"] for r in self.ask("backends").rows}
        self.assertEqual(states, {"other": "drained", "main": "ready"})

    def test_log_level(self):
        self.start(log="level = info to = stderr")
        self.assertEqual(self.ask("log-level").text, "level  info\n")
        self.assertEqual(self.ask("log-level debug --json").json, {"level": "debug"})
        self.logged("log-level debug")
        self.assertEqual(self.ask("log-level error").text, "level  error\n")
        self.logged("log-level error")
        self.ask("app stop nonsense")
        self.assertEqual(self.ask("log-level warn").code, "ok")
        self.assertEqual(self.ask("log-level info").code, "ok")
        self.logged("log-level info")
        self.assertEqual(self.site.weir.lines("nonsense"), [])
        self.assertEqual(self.ask("status").fields["log level"], "info")

    def edit(self, old, new):
        with open(self.site.weir.config) as f:
            text = f.read()
        self.assertIn(old, text)
        with open(self.site.weir.config, "w") as f:
            f.write(text.replace(old, new))

    def reload(self, options="", ask=None):
        """One after the other: while one is under way the answer is busy."""
        def settled():
            reply = (ask or self.ask)("reload" + options)
            if reply.code != "busy":
                return reply
            self.assertIn("a reload is under way", reply.text)
        return wait.until(settled, "no other reload is under way")

    def test_reload(self):
        self.start()
        self.assertEqual(self.reload(" --json").json, {"generation": 2, "report": []})
        self.assertEqual(self.reload().text, "reloaded\n")
        self.assertEqual(self.ask("status --json").json["generation"], 3)
        self.edit("workers = 2", "workers = 3")
        reply = self.reload()
        self.assertEqual(reply.code, "ok")
        self.assertRegex(reply.text, r"workers.*restart.*\nreloaded\n$")
        self.assertEqual(len(self.reload(" --json").json["report"]), 1)
        self.logged("reload")
        r = self.ask("status --json").json
        self.assertLessEqual(abs(r["reloaded_at"] - time.time()), 5)

    def test_reload_that_is_refused(self):
        self.start()
        self.edit("workers = 2", "workers = 0")
        reply = self.ask("reload")
        self.assertEqual(reply.code, "failed")
        self.assertRegex(reply.text, r'^\S+weir\.conf:\d+: node\.workers: "0": a number from 1 to 256\n$')
        r = self.ask("reload --json").json
        self.assertEqual(r["error"], "failed")
        self.assertIn("node.workers", r["message"])
        self.assertEqual(self.site.ask("").status, 200)
        self.assertEqual(self.ask("status --json").json["reloads_failed"], 2)
        self.logged("reload", "failed")

    def test_reload_of_the_socket(self):
        self.start(tail="admin { open = on-signal idle = 10m }\n")
        path, moved = admin.path_of(self.site.weir), self.scope.path("run/moved.sock")
        with admin.client(self.site.weir) as c:
            # It was open, and is so in its new place. Who is in stays in.
            self.edit("idle = 10m", 'idle = 10m socket = "%s"' % moved)
            self.assertEqual(self.reload(ask=c.ask).code, "ok")
            self.assertFalse(os.path.exists(path))
            with admin.Client(moved) as other:
                self.assertEqual(other.ask("status").code, "ok")
            self.assertEqual(c.ask("status").code, "ok")
            # Never: the reply is the last that is heard.
            self.edit("open = on-signal", "open = never")
            self.assertEqual(self.reload(ask=c.ask).text, "reloaded\n")
            self.assertTrue(c.closed())
        self.assertFalse(os.path.exists(moved))
        self.site.weir.wait_line("event=admin_closed socket=%s reason=reload" % moved)
        self.edit("open = never", "open = always")
        self.site.weir.process.send(signal.SIGHUP)
        wait.until(lambda: os.path.exists(moved), "the socket is always there")
        self.site.weir.wait_line("event=admin_opened socket=%s by=reload" % moved)
        self.edit("open = always idle = 10m", "open = on-signal idle = 1s")
        with admin.Client(moved) as c:
            self.assertEqual(self.reload(ask=c.ask).code, "ok")
        wait.until(lambda: not os.path.exists(moved), "closed when idle")
        self.assertEqual(self.site.ask("").status, 200)

    def test_drain(self):
        """What runs is finished, the state is told meanwhile, and what would change something is refused."""
        self.start(node="drain-timeout = 60s")
        _, name, _ = new_session(self.site)
        with self.site.client() as client, admin.client(self.site.weir) as c:
            client.start(self.site.params("gate=drain"))
            self.site.wait_at("drain")
            self.assertEqual(c.ask("drain").text, "state  draining\n")
            self.assertEqual(c.ask("status").fields["state"], "draining")
            self.assertEqual(c.ask("session show " + name).code, "ok")
            for line in ("drain", "reload", "app stop main", "backend drain x"):
                reply = c.ask(line)
                self.assertEqual((reply.code, reply.text), ("unavailable", "weir is draining\n"))
            self.site.open("drain")
            self.assertEqual(client.response().status, 200)
            self.assertTrue(c.closed())
        self.assertEqual(self.site.weir.wait_exit(), 0)
        self.logged("drain")

    def test_an_end_with_commands_under_way(self):
        """Nothing is left over, whatever the moment."""
        for i in range(5):
            self.start()
            for k in range(20):
                self.site.ask("set=%d" % k)
            clients = [admin.client(self.site.weir) for _ in range(8)]
            for c in clients:
                c.send("sessions --limit 1000\nsession show 0123456789abcdef\n" * 20)
            time.sleep(0.003 * i)
            self.site.weir.process.send(signal.SIGTERM if i % 2 else signal.SIGINT)
            self.assertEqual(self.site.weir.wait_exit(), 0)
            for c in clients:
                c.close()


class TestWeirctl(Case):
    """What a person types."""

    def start(self, options="", **kwargs):
        self.site = Site(self.scope, "", tail="admin { %s }\n" % options, **kwargs)
        self.path = admin.path_of(self.site.weir)
        self.site.weir.wait_line("event=started")

    def ctl(self, *args, **kwargs):
        return admin.weirctl("-c", self.site.weir.config, *args, **kwargs)

    def test_it_opens_the_socket_by_itself(self):
        self.start()
        self.assertFalse(os.path.exists(self.path))
        code, out, err = self.ctl("status")
        self.assertEqual((code, err), (0, ""))
        self.assertRegex(out, r"(?m)^state {2,}running$")
        self.assertTrue(os.path.exists(self.path))
        self.assertEqual(self.ctl("status")[0], 0)
        self.assertEqual(len(self.site.weir.lines("event=admin_opened")), 1)

    def test_by_the_names_of_files(self):
        self.start()
        pid_file = self.scope.path("run/weir.pid")
        code, out, err = admin.weirctl("-s", self.path, "-p", pid_file, "--json", "status")
        self.assertEqual((code, err), (0, ""))
        self.assertEqual(json.loads(out)["pid"], self.site.weir.pid)

    def test_each_command(self):
        self.start()
        _, name, _ = new_session(self.site)
        wait.until(lambda: json.loads(self.ctl("--json", "status")[1])["disk"]["state"] == "ready", "the disk store")
        backend = self.site.backend.where
        for words in (["status"], ["apps"], ["backends"], ["sessions"], ["session", "show", name],
                      ["session", "show", name, "--state"], ["session", "pin", name], ["session", "unpin", name],
                      ["session", "demote", name], ["session", "promote", name], ["log-level"], ["log-level", "info"],
                      ["metrics"], ["backend", "drain", backend], ["backend", "ready", "main", backend],
                      ["app", "stop", "main"], ["app", "start", "main"], ["reload"], ["session", "end", name], ["help"],
                      ["help", "session", "show"]):
            with self.subTest(words):
                code, out, err = self.ctl(*words)
                self.assertEqual((code, err), (0, ""))
                self.assertTrue(out.endswith("\n"))
                if words[:2] != ["session", "end"] and words[0] != "help":
                    code, out, err = self.ctl("--json", *words)
                    self.assertEqual((code, err), (0, ""))
                    json.loads(out)
        json.loads(self.ctl("help", "--json")[1])
        code, out, _ = self.ctl("drain")
        self.assertEqual((code, out), (0, "state  draining\n"))
        self.assertEqual(self.site.weir.wait_exit(), 0)

    def test_exit_codes(self):
        self.start()
        for words, code, text in (
                (["status"], 0, ""),
                (["session", "show", "0123456789abcdef"], 4, "weirctl: there is no such session\n"),
                (["app", "stop", "nonsense"], 4, "weirctl: there is no app of this name\n"),
                (["backend", "drain", "nonsense"], 4, "weirctl: there is no such backend\n"),
                (["help", "nonsense"], 4, "weirctl: there is no such command\n"),
                (["session", "show", "x"], 2, "weirctl: a session is named by 16 hexadecimal digits, or by the value "
                                              "of its cookie\n"),
                (["log-level", "loud"], 2, "weirctl: a level is error, warn, info or debug\n"),
                (["nonsense"], 2, 'weirctl: unknown command "nonsense"; help shows the commands\n'),
                (["session", "show"], 2, 'weirctl: session show: "ID" is missing\nusage: session show ID [--state] '
                                         '[--json]\n'),
                (["status", "--state"], 2, 'weirctl: status: "--state" is no option of it\nusage: status [--json]\n'),
                (["app", "stop", "a\nb"], 2, "weirctl: this cannot be sent: a control character\n"),
                (["app", "stop", "x" * 5000], 2,
                 "weirctl: this cannot be sent: too long, at most 4096 bytes are good\n"),
                (["app", "stop", "x" * 4085], 2, "weirctl: this is too long, or has a control character\n")):
            with self.subTest(words):
                got, out, err = self.ctl(*words)
                self.assertEqual((got, err), (code, text))
                self.assertEqual(out == "", code != 0)
        jar, name, _ = new_session(self.site)
        self.ctl("session", "pin", name)
        self.assertEqual(self.ctl("session", "demote", name)[0], 1)

    def test_an_error_in_json(self):
        self.start()
        code, out, err = self.ctl("--json", "session", "show", "0123456789abcdef")
        self.assertEqual((code, json.loads(out)["error"], err), (4, "not-found", ""))

    def test_a_reload_that_is_refused(self):
        """weirctl finds weir although the file is bad by now."""
        self.start()
        self.assertEqual(self.ctl("reload"), (0, "reloaded\n", ""))
        with open(self.site.weir.config, "a") as f:
            f.write("nonsense = 1\n")
        code, out, err = admin.weirctl("-s", self.path, "-p", self.scope.path("run/weir.pid"), "reload")
        self.assertEqual((code, out), (1, ""))
        self.assertRegex(err, r"^weirctl: \S+weir\.conf:\d+: .*nonsense")

    def test_a_config_that_cannot_be_used(self):
        self.start()
        with open(self.site.weir.config, "a") as f:
            f.write("nonsense = 1\n")
        code, _, err = self.ctl("-s", self.path, "status")
        self.assertEqual(code, 3)
        self.assertIn("weirctl: %s cannot be used" % self.site.weir.config, err)
        code, _, err = admin.weirctl("-c", "/nonexistent", "-s", self.path, "status")
        self.assertEqual(code, 3)
        self.assertIn("/nonexistent cannot be used", err)

    def test_wrong_options(self):
        for args in (["-Z"], ["-t", "soon", "status"], ["--nonsense", "status"], [], ["-c"]):
            with self.subTest(args):
                code, out, err = admin.weirctl(*args)
                self.assertEqual((code, out), (2, ""))
                self.assertTrue(err)

    def test_help_needs_no_weir(self):
        for args in (["help"], ["-h"], ["--help"]):
            code, out, err = admin.weirctl(*args)
            self.assertEqual((code, err), (0, ""))
            self.assertIn("\nsession show ID ", out)
        self.assertRegex(admin.weirctl("-v")[1], r"^weirctl \d+\.\d+")
        self.assertRegex(admin.weirctl("help", "sessions")[1], r"^usage: sessions \[--app APP\]")
        json.loads(admin.weirctl("help", "--json")[1])

    def test_the_manual_has_all(self):
        with open(os.path.join(case.TREE, "doc", "weirctl.8")) as f:
            manual = f.read()
        for command in json.loads(admin.weirctl("help", "--json")[1]):
            self.assertRegex(manual, r"(?m)^\.It Ic %s( |$)" % command["command"])
            for option in command["options"]:
                self.assertRegex(manual, r"(?m)^\.It (Ic .* )?(Op )?Fl %s( |$)" % option[1:])

    def where(self, pid=None):
        if pid is not None:
            self.scope.write("weir.pid", pid)
        return ["-s", self.scope.path("absent.sock"), "-p", self.scope.path("weir.pid"), "status"]

    def test_weir_does_not_run(self):
        code, _, err = admin.weirctl(*self.where())
        self.assertEqual((code, err), (3, "weirctl: weir does not run: there is no %s\n" % self.scope.path("weir.pid")))

    def test_a_pid_file_that_names_something_else(self):
        """Nobody else gets the signal, which would kill it."""
        bystander = process.Process("sleep", ["/bin/sleep", "60"], self.scope.fresh("log"))
        self.scope.at_end(bystander.stop)
        code, _, err = admin.weirctl(*self.where("%d\n" % bystander.pid))
        self.assertEqual(code, 3)
        self.assertIn("names process %d, which is not weir" % bystander.pid, err)
        self.assertIsNone(bystander.poll())
        dead = subprocess.Popen(["/bin/true"])
        dead.wait()
        code, _, err = admin.weirctl(*self.where("%d\n" % dead.pid))
        self.assertEqual(code, 3)
        self.assertIn("which is not weir", err)

    def test_a_pid_file_with_nonsense(self):
        for text in ("", "x\n", "-1\n", "0\n", "1\n", "12 34\n", "99999999999\n", "1" * 100):
            with self.subTest(text):
                code, _, err = admin.weirctl(*self.where(text))
                self.assertEqual(code, 3)
                self.assertEqual(err, "weirctl: %s does not hold the number of a process\n" %
                                 self.scope.path("weir.pid"))

    def test_never(self):
        self.start("open = never")
        began = time.monotonic()
        code, _, err = self.ctl("status")
        self.assertEqual(code, 3)
        self.assertEqual(err, "weirctl: weir (process %d) has not opened %s in 5 s; its log says why\n" %
                         (self.site.weir.pid, self.path))
        self.assertGreater(time.monotonic() - began, 4.5)

    def test_after_a_kill(self):
        self.start("open = always")
        self.assertEqual(self.ctl("status")[0], 0)
        self.site.weir.check = False
        self.site.weir.process.send(signal.SIGKILL)
        self.site.weir.process.wait()
        code, _, err = self.ctl("status")
        self.assertEqual(code, 3)
        self.assertIn("weirctl: weir does not run: ", err)

    def test_weir_does_not_answer(self):
        """Also where so many wait already that the kernel takes no more."""
        self.start("open = always")
        self.site.weir.process.send(signal.SIGSTOP)
        waiting = []
        try:
            self.assertEqual(self.ctl("-t", "300ms", "status"), (3, "", "weirctl: weir does not answer\n"))
            with self.assertRaises(OSError):
                while len(waiting) < 5000:
                    waiting.append(address.connect("unix:" + self.path, 0.2))
            self.assertEqual(self.ctl("-t", "300ms", "status"), (3, "", "weirctl: weir does not answer\n"))
        finally:
            self.site.weir.process.send(signal.SIGCONT)
            for sock in waiting:
                sock.close()

    def test_who_answers_is_not_weir(self):
        path = self.scope.path("other.sock")
        with address.listen("unix:" + path) as listener:
            listener.settimeout(wait.BOUND)
            for answer, text in ((b"HTTP/1.1 400 Bad Request\r\n\r\n", "who answers there is not weir"),
                                 (b"x" * 100000, "who answers there is not weir"),
                                 (b"", "weir has closed the connection without a whole answer"),
                                 (b"ok 10\nshort", "weir has closed the connection without a whole answer"),
                                 (b"ok 10", "weir has closed the connection without a whole answer")):
                with self.subTest(answer[:20]):
                    done = case.Parallel()
                    done.start(admin.weirctl, "-s", path, "-p", "/nonexistent", "status")
                    peer, _ = listener.accept()
                    peer.recv(1000)
                    try:
                        peer.sendall(answer)
                    except OSError:
                        pass  # it has seen enough
                    peer.close()
                    code, _, err = done.join()[0]
                    self.assertEqual((code, err), (3, "weirctl: %s\n" % text))

    def test_too_many(self):
        self.start("open = always")
        clients = [admin.client(self.site.weir) for _ in range(16)]
        code, _, err = self.ctl("status")
        self.assertEqual((code, err), (1, "weirctl: 16 clients are connected already\n"))
        for c in clients:
            c.close()

    def test_another_user(self):
        if not ROOT:
            self.skipTest("only root can be somebody else")
        self.start()
        # The build may lie where others cannot look.
        program = self.scope.path("weirctl")
        with open(admin.weirctl_binary(), "rb") as source, open(program, "wb") as copy:
            copy.write(source.read())
        os.chmod(program, 0o755)

        def as_nobody():
            done = subprocess.run([program, "-s", self.path, "-p", self.scope.path("run/weir.pid"), "status"],
                                  user="nobody", extra_groups=[], cwd="/", stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE)
            return done.returncode, done.stderr.decode()
        code, err = as_nobody()
        self.assertEqual((code, err), (3, "weirctl: may not signal process %d: only root and the user that weir runs "
                                          "as are let in\n" % self.site.weir.pid))
        self.assertEqual(self.ctl("status")[0], 0)
        code, err = as_nobody()
        self.assertEqual((code, err), (3, "weirctl: %s: only root and the user that weir runs as are let in\n" %
                                       self.path))

    def test_output_that_cannot_be_written(self):
        self.start("open = always")
        with open("/dev/full", "w") as full:
            done = subprocess.run([admin.weirctl_binary(), "-c", self.site.weir.config, "status"], stdout=full,
                                  stderr=subprocess.PIPE)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"weirctl: standard output: No space left on device", done.stderr)

    def test_it_names_what_begins_with_dashes(self):
        self.start("open = always")
        code, _, err = self.ctl("session", "show", "--", "--aaaaaaaaaaaaaa")
        self.assertEqual((code, err), (2, "weirctl: a session is named by 16 hexadecimal digits, or by the value of "
                                          "its cookie\n"))


class TestCompletion(Case):
    """ctl/weirctl.bash, in a bash that does what readline would do."""

    SCRIPT = os.path.join(case.TREE, "ctl", "weirctl.bash")

    def complete(self, line, more="", point=None):
        """What is offered for the word under the cursor."""
        script = r'''
source "$1"
COMP_LINE=$2 COMP_POINT=${3:-${#2}} COMP_TYPE=9 COMP_KEY=9
read -ra COMP_WORDS <<<"$COMP_LINE"
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_weirctl weirctl "" ""
printf '%s\n' "${COMPREPLY[@]}"
'''
        done = subprocess.run([process.find("bash"), "--norc", "-c", more + script, "bash", self.SCRIPT, line,
                               "" if point is None else str(point)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=wait.BOUND,
                              env={**os.environ, "PATH": os.path.dirname(admin.weirctl_binary()) + ":" + process.PATH})
        self.assertEqual(done.stderr, b"")
        return sorted(done.stdout.decode().split("\n")[:-1]) if done.stdout != b"\n" else []

    def test_all_commands_and_options(self):
        """What the script knows by heart is what weirctl says."""
        commands = json.loads(admin.weirctl("help", "--json")[1])
        first = sorted({c["command"].split()[0] for c in commands})
        self.assertEqual(self.complete("weirctl "), first)
        self.assertEqual(self.complete("weirctl help "), first)
        for group in ("session", "app", "backend"):
            verbs = sorted(c["command"].split()[1] for c in commands if c["command"].startswith(group + " "))
            self.assertEqual(self.complete("weirctl %s " % group), verbs)
        for c in commands:
            with self.subTest(c["command"]):
                self.assertEqual(self.complete("weirctl %s --" % c["command"]), sorted(c["options"]))

    def test_prefixes(self):
        self.assertEqual(self.complete("weirctl se"), ["session", "sessions"])
        self.assertEqual(self.complete("weirctl session p"), ["pin", "promote"])
        self.assertEqual(self.complete("weirctl log-level "), ["debug", "error", "info", "warn"])
        self.assertEqual(self.complete("weirctl sessions --in "), ["disk", "memory"])
        self.assertEqual(self.complete("weirctl sessions --l"), ["--limit"])
        self.assertEqual(self.complete("weirctl nonsense "), [])
        self.assertEqual(self.complete("weirctl -"), ["--json", "-c", "-h", "-p", "-s", "-t", "-v"])
        self.assertEqual(self.complete("weirctl -c /x -t 5s --json sta"), ["status"])
        self.assertEqual(self.complete("weirctl sta more words", point=11), ["status"])

    def test_it_asks_weir(self):
        spawn = "spawn:%s a" % process.find("cat")
        other = weir.app("other", ['backend "%s" { }' % spawn, 'backend "127.0.0.1:9" { }'], session=None,
                         match=["path:/other"])
        site = Site(self.scope, "", apps=[other])
        c = "weirctl -c %s " % site.weir.config
        self.assertEqual(self.complete(c + "app stop "), ["main", "other"])
        self.assertEqual(self.complete(c + "app start m"), ["main"])
        self.assertEqual(self.complete(c + "app start main "), [])
        self.assertEqual(self.complete(c + "sessions --app "), ["main", "other"])
        self.assertEqual(self.complete(c + "backend drain 127"), ["127.0.0.1:9"])
        # Readline sees words that end at a colon, and puts in what comes behind it.
        self.assertEqual(self.complete(c + "backend drain 127.0.0.1:"), ["9"])
        self.assertEqual(self.complete(c + "backend drain unix:"), [site.backend.where[5:]])
        self.assertEqual(self.complete(c + "backend drain unix:", "COMP_WORDBREAKS=' '\n"), [site.backend.where])
        self.assertEqual(self.complete(c + "backend drain spawn"), [spawn.replace(" ", "\\ ")])
        self.assertIn("other", self.complete(c + "backend ready "))
        self.assertEqual(self.complete(c + "backend ready other 1"), ["127.0.0.1:9"])

    def test_without_weir_it_is_quiet(self):
        c = "weirctl -s %s -p %s " % (self.scope.path("absent"), self.scope.path("absent.pid"))
        self.assertEqual(self.complete(c + "app stop "), [])
        self.assertEqual(self.complete(c + "backend drain "), [])

    def test_it_is_what_bash_calls(self):
        done = subprocess.run([process.find("bash"), "--norc", "-c", 'source "$1"; complete -p weirctl', "bash",
                               self.SCRIPT], stdout=subprocess.PIPE)
        self.assertEqual(done.stdout, b"complete -F _weirctl weirctl\n")
