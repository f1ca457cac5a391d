"""The process: its command line, its signals, its sockets, its user."""
import fcntl
import grp
import os
import pwd
import re
import resource
import shutil
import signal
import socket
import stat
import threading
import time

from harness import address, authority, case, cgi, fcgi, stall, wait, weir
from harness.backend import Backend
from harness.case import Case
from harness.site import Front, Site
from test_stores import STATUS, stats

ROOT = os.geteuid() == 0


class TestCommandLine(Case):
    def config(self, text):
        return self.scope.write("test.conf", text)

    def good(self):
        return weir.node(self.scope) + 'listen "%s" { protocol = fastcgi }\napp "a" { backend "%s" { } }\n' % (
            self.scope.unix(), self.scope.unix())

    def test_version(self):
        code, text = weir.run(["-v"])
        self.assertEqual(code, 0)
        self.assertRegex(text, r"weir \d+\.\d+")

    def test_help(self):
        code, text = weir.run(["-h"])
        self.assertEqual(code, 0)
        for word in ("-c", "-t", "-v"):
            self.assertIn(word, text)

    def test_the_full_example_has_every_option(self):
        """It says so; weir -o says which there are."""
        _, text = weir.run(["-o"])
        known = set(re.findall(r"^ +([a-z-]+) = ", text, re.M))
        self.assertIn("lock-wait", known)
        with open(os.path.join(case.TREE, "examples", "weir", "full.conf")) as f:
            shown = set(re.findall(r"([a-z-]+) +=", f.read()))
        self.assertEqual(known - shown, set())

    def test_unknown_flag(self):
        code, text = weir.run(["-Z"])
        self.assertNotEqual(code, 0)
        self.assertTrue(text)

    def test_good_file(self):
        path = self.config(self.good())
        code, text = weir.run(["-t", "-c", path])
        self.assertEqual(code, 0, text)

    def test_examples(self):
        """What examples/ shows is accepted as it stands."""
        folder = os.path.join(case.TREE, "examples", "weir")
        pki = authority.Authority(self.scope, "shop")
        pki.issue("alpha")
        for name in sorted(os.listdir(folder)):
            with self.subTest(name=name):
                with open(os.path.join(folder, name)) as f:
                    # It names programs and certificates that are not installed here.
                    text = re.sub('"spawn:[^"]*"', '"spawn:/bin/true"', f.read())
                    path = self.config(re.sub('"/etc/weir/([a-z]+[.](pem|key))"', r'"%s/\1"' % pki.dir, text))
                code, text = weir.run(["-t", "-c", path])
                self.assertEqual(code, 0, text)

    def test_all_errors_with_file_and_line(self):
        path = self.config(self.good() + """
app "b" {
  timeout = soon
  queue = -1
  backend "nonsense" { }
  session {
    lock = sometimes
    unknown-option = 1
  }
}
""")
        first = open(path).read().count("\n")
        line = {w: n for n, text in enumerate(open(path).read().split("\n"), 1)
                for w in ("soon", "-1", "nonsense", "sometimes", "unknown-option") if w in text}
        self.assertTrue(first)
        code, text = weir.run(["-t", "-c", path])
        self.assertEqual(code, 1)
        for word in ("soon", "nonsense", "sometimes", "unknown-option"):
            self.assertRegex(text, r"(?m)^.*%s:%d:.*%s" % (os.path.basename(path), line[word], word))
        self.assertRegex(text, r"exclusive")  # what is allowed

    def test_syntax_error(self):
        path = self.config(self.good() + "app { ]\n")
        code, text = weir.run(["-t", "-c", path])
        self.assertEqual(code, 1)
        self.assertRegex(text, r"test\.conf:\d+:")

    def test_a_daemon_does_not_start_with_errors(self):
        path = self.config(self.good() + 'app "a" { backend "unix:/x" { } }\n')  # the name twice
        code, text = weir.run(["-c", path])
        self.assertEqual(code, 1, text)
        self.assertIn("test.conf", text)

    def test_no_file(self):
        code, text = weir.run(["-c", self.scope.path("absent.conf")])
        self.assertEqual(code, 1)
        self.assertIn("absent.conf", text)

    def test_no_backend(self):
        path = self.config(weir.node(self.scope) + 'listen "%s" { protocol = fastcgi }\napp "a" { }\n' %
                           self.scope.unix())
        self.assertEqual(weir.run(["-t", "-c", path])[0], 1)


class TestSignals(Case):
    def wait_refused(self, where):
        """A web server must learn at once that it has to go elsewhere; in a backlog it would hang."""
        wait.until(lambda: address.refuses(where), "new connections are refused", 3, 0.05)

    def running(self, node="", **kwargs):
        site = Site(self.scope, None, node=node, **kwargs)
        client = site.client()
        self.scope.at_end(client.close)
        client.start(site.params("gate=run"))
        site.wait_at("run")
        return site, client

    def test_term_finishes_what_runs(self):
        site, client = self.running("drain-timeout = 60s")
        idle = site.client()
        self.scope.at_end(idle.close)
        site.weir.process.send(signal.SIGTERM)
        self.wait_refused(site.where)
        self.assertTrue(idle.closed(), "a connection without a request is kept open")
        self.assertIsNone(site.weir.process.poll())
        site.open("run")
        answer = client.response()
        self.assertEqual((answer.status, answer.complete), (200, True))
        self.assertEqual(site.weir.wait_exit(), 0)

    def test_term_without_requests(self):
        site = Site(self.scope, "", node="drain-timeout = 60s")
        idle = site.client()
        self.scope.at_end(idle.close)
        self.assertEqual(idle.ask(site.params("set=x")).status, 200)
        site.weir.process.send(signal.SIGTERM)
        self.assertEqual(site.weir.wait_exit(), 0)

    def test_second_term_stops_now(self):
        site, client = self.running("drain-timeout = 600s")
        site.weir.process.send(signal.SIGTERM)
        self.wait_refused(site.where)
        self.assertIsNone(site.weir.process.poll())
        site.weir.process.send(signal.SIGTERM)
        site.weir.wait_exit()
        answer = client.response()
        self.assertFalse(answer.complete and answer.status == 200)
        site.open("run")

    def test_int_stops_now(self):
        site, client = self.running("drain-timeout = 600s")
        site.weir.process.send(signal.SIGINT)
        site.weir.wait_exit()
        site.open("run")

    def test_drain_timeout(self):
        site, client = self.running("drain-timeout = 400ms")
        began = time.monotonic()
        site.weir.process.send(signal.SIGTERM)
        self.assertEqual(site.weir.wait_exit(), 0)
        self.assertGreaterEqual(time.monotonic() - began, 0.35)
        site.open("run")

    def test_signals_until_the_very_end(self):
        """Whoever sends one too many finds no moment at which it kills: the exit code is what weir has done."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            site = Site(self.scope, None)
            site.weir.process.send(signal.SIGTERM)
            while site.weir.process.poll() is None:
                site.weir.process.send(number)
            self.assertEqual(site.weir.wait_exit(), 0, number)

    def test_signals_are_the_main_threads(self):
        """So they are all that there is to be held back at the end."""
        ours = sum(1 << (n - 1) for n in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2))

        def threads(pid):
            """[(name, whether it hears one of them)]"""
            found = []
            for task in stall.threads(pid):
                with open("/proc/%d/task/%d/status" % (pid, task)) as f:
                    fields = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
                found.append((fields["Name"], int(fields["SigBlk"], 16) & ours != ours))
            return sorted(found)
        usual = [("weir", True), ("weir-store", False)] + [("weir-worker", False)] * 2
        for sync, more in (("group", []), ("write", [("weir-flush", False)])):
            with self.subTest(sync):
                # Once there is a piece of its log, which is small, the disk store has all its threads.
                site = Site(self.scope, "max-size = 600k", options="max-header = 1M", workers=2,
                            tail="store { memory { after = 1s } disk { max = 16M  sync = %s } }\n" % sync + STATUS)
                self.assertEqual(site.ask("size=500000", jar=cgi.Jar()).status, 200)
                wait.until(lambda: stats(site)["memory"]["sessions"] == 0, lambda: "demotion: %r" % stats(site))
                wait.until(lambda: threads(site.weir.pid) == sorted(usual + more),
                           lambda: "only the main thread hears signals: %r" % threads(site.weir.pid))
                site.weir.stop()

    def test_term_while_requests_wait(self):
        """For a lock and for a backend connection: they are part of what runs."""
        site = Site(self.scope, "", node="drain-timeout = 60s", backend="connections = 1")
        jar = cgi.Jar()
        site.ask("set=0", jar=jar)
        with site.client() as client:
            client.start(site.params("gate=run&incr=1", jar=jar), request_id=1)
            site.wait_at("run")
            client.start(site.params("", jar=jar), request_id=2)
            client.start(site.params(""), request_id=3)
            client.send(fcgi.record(fcgi.GET_VALUES, 0))  # its answer says that the others were read
            client._take()
            site.weir.process.send(signal.SIGTERM)
            self.wait_refused(site.where)
            site.open("run")
            self.assertEqual([client.response(i).status for i in (1, 2, 3)], [200] * 3)
        self.assertEqual(site.weir.wait_exit(), 0)

    def test_usr2_opens_the_log_again(self):
        path = self.scope.path("weir-test.log")
        site = Site(self.scope, None, log='level = info to = "%s"' % path)

        def complain():
            with site.client() as client:
                client.send(b"GET / HTTP/1.1\r\n\r\n")
                client.closed()
        complain()
        wait.until(lambda: "reason=" in open(path).read(), "a line in the log file")
        os.rename(path, path + ".1")
        site.weir.process.send(signal.SIGUSR2)
        wait.until(lambda: os.path.exists(path), "a new log file")
        complain()
        wait.until(lambda: "reason=" in open(path).read(), "a line in the new log file")
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode) & 0o007, 0, "the log can be read by all")

    def test_pipe_and_hup_do_not_kill(self):
        site = Site(self.scope, None)
        site.weir.process.send(signal.SIGPIPE)
        self.assertEqual(site.ask("").status, 200)

    def test_the_log_level(self):
        site = Site(self.scope, None, log="level = error to = stderr")
        with site.client() as client:
            client.send(b"GET / HTTP/1.1\r\n\r\n")
            client.closed()
        self.assertEqual(site.weir.lines("level=(info|debug|warn)"), [])


class TestSockets(Case):
    def launch(self, where, options="", node="", **kwargs):
        backend = Backend(self.scope)
        return Front(where, "fastcgi", weir.Weir(self.scope, [(where, "fastcgi", options)],
                                                 [weir.app("a", [backend.text()])], node_more=node, **kwargs))

    def refused(self, where, options="", node=""):
        """It must not start: (exit code, message)."""
        backend = Backend(self.scope)
        w = weir.Weir(self.scope, [(where, "fastcgi", options)], [weir.app("a", [backend.text()])], start=False,
                      node_more=node)
        return weir.run(["-c", w.config])

    def test_mode(self):
        for mode in ("0600", "0660", "0666"):
            where = self.scope.unix()
            self.launch(where, "mode = " + mode)
            self.assertEqual(stat.S_IMODE(os.stat(where[5:]).st_mode), int(mode, 8))

    def test_default_mode(self):
        where = self.scope.unix()
        self.launch(where)
        self.assertEqual(stat.S_IMODE(os.stat(where[5:]).st_mode), 0o660)

    def test_owner(self):
        user, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(os.getegid())
        if ROOT:
            user, group = pwd.getpwnam("nobody"), grp.getgrnam("nogroup")
        where = self.scope.unix()
        self.launch(where, 'owner = "%s" group = "%s"' % (user.pw_name, group.gr_name))
        found = os.stat(where[5:])
        self.assertEqual((found.st_uid, found.st_gid), (user.pw_uid, group.gr_gid))

    def test_stale_socket_is_replaced(self):
        where = self.scope.unix()
        address.listen(where).close()
        self.assertTrue(os.path.exists(where[5:]))
        self.assertEqual(self.launch(where).ask("").status, 200)

    def test_after_a_kill(self):
        where = self.scope.unix()
        first = self.launch(where, check=False)
        first.weir.process.send(signal.SIGKILL)
        first.weir.process.wait()
        self.assertEqual(self.launch(where).ask("").status, 200)

    def test_live_socket_is_refused(self):
        where = self.scope.unix()
        site = self.launch(where)
        code, text = self.refused(where)
        self.assertEqual(code, 1)
        self.assertIn(where[5:], text)
        self.assertRegex(text, r"(?i)in use|already|another")
        self.assertEqual(site.ask("").status, 200)

    def test_a_file_is_not_removed(self):
        path = self.scope.write("precious", "data")
        code, text = self.refused("unix:" + path)
        self.assertEqual(code, 1)
        self.assertIn("precious", text)
        self.assertEqual(open(path).read(), "data")

    def test_no_folder(self):
        code, text = self.refused("unix:" + self.scope.path("absent/socket"))
        self.assertEqual(code, 1)
        self.assertIn("absent/socket", text)

    def test_removed_at_the_end(self):
        where = self.scope.unix()
        self.launch(where).weir.stop()
        self.assertFalse(os.path.exists(where[5:]), "the socket's file is left behind")

    def test_port_in_use(self):
        where = address.tcp()
        listener = address.listen(where)
        self.scope.at_end(listener.close)
        code, text = self.refused(where)
        self.assertEqual(code, 1)
        self.assertIn(where, text)
        self.assertRegex(text, r"(?i)in use")

    def test_tcp(self):
        self.assertEqual(self.launch(address.tcp()).ask("").status, 200)

    def test_tcp_6(self):
        if not os.path.exists("/proc/net/if_inet6") or not socket.has_ipv6:
            self.skipTest("this machine has no IPv6")
        self.assertEqual(self.launch(address.tcp6()).ask("").status, 200)

    def test_port_is_free_at_once(self):
        """Connections in TIME_WAIT are no obstacle to a restart."""
        where = address.tcp()
        for _ in range(3):
            site = self.launch(where)
            self.assertEqual(site.ask("").status, 200)
            with site.client() as client:
                client.ask(site.params())
                site.weir.stop()

    def test_several_listeners(self):
        backend = Backend(self.scope)
        listens = [(self.scope.unix(), "fastcgi", ""), (address.tcp(), "fastcgi", ""), (self.scope.unix(), "scgi", ""),
                   (address.tcp(), "scgi", "")]
        w = weir.Weir(self.scope, listens, [weir.app("a", [backend.text()], session="")], workers=3)
        for where, protocol, _ in listens:
            self.assertEqual(Front(where, protocol, w).ask("").status, 200)


class TestNode(Case):
    def test_workers(self):
        for workers in (1, 2, 8):
            with self.subTest(workers=workers):
                site = Site(self.scope, "", workers=workers)
                jar = cgi.Jar()
                for i in range(30):
                    self.assertEqual(site.ask("incr=1", jar=jar).status, 200)
                self.assertEqual(site.state(jar)[1], "30")
                site.weir.stop()

    def test_scheduling(self):
        """All workers, and no other thread: the applications are started by one that is not a worker. The store's thread
        is nicer than the others."""
        usual, nicer = os.getpriority(os.PRIO_PROCESS, 0), 5

        def ways(pid):
            """{name of the threads: [(policy, nice)]}"""
            found = {}
            for task, name in stall.threads(pid).items():
                found.setdefault(name, []).append((os.sched_getscheduler(task), os.getpriority(os.PRIO_PROCESS, task)))
            return found
        for word, policy in (("batch", os.SCHED_BATCH), ("normal", os.SCHED_OTHER)):
            with self.subTest(word):
                site = Site(self.scope, "", workers=3, node="scheduling = %s" % word)
                expected = {"weir": [(os.SCHED_OTHER, usual)], "weir-store": [(os.SCHED_OTHER, nicer)],
                            "weir-worker": [(policy, usual)] * 3}
                wait.until(lambda: ways(site.weir.pid) == expected, lambda: "the threads: %r" % ways(site.weir.pid))
                wait.until(lambda: site.ask("").status == 200, "an answer")
                self.assertEqual(ways(site.weir.pid), expected)
                site.weir.stop()

    def test_all_workers_serve(self):
        """Connections held open are spread: none of the workers is left without, nor has all."""
        site = Site(self.scope, None, workers=4)
        clients = [site.client() for _ in range(64)]
        for client in clients:
            self.assertEqual(client.ask(site.params()).status, 200)
        for client in clients:
            client.close()

    def test_no_run_dir(self):
        """The sockets of programs that it starts live there."""
        text = weir.node(self.scope).replace(self.scope.path("run"), self.scope.path("absent/run"))
        path = self.scope.write("c.conf", text + 'listen "%s" { protocol = fastcgi }\n' % self.scope.unix() +
                                'app "a" { backend "spawn:/bin/cat" { } }\n')
        done = []
        thread = threading.Thread(target=lambda: done.append(weir.run(["-c", path])), daemon=True)
        thread.start()
        thread.join(wait.BOUND)
        self.assertTrue(done, "it started without its run-dir")
        code, said = done[0]
        self.assertEqual(code, 1)
        self.assertIn(self.scope.path("absent/run"), said)

    def test_root_must_say_its_user(self):
        if not ROOT:
            self.skipTest("only root has privileges to drop")
        text = weir.node(self.scope).replace('user = "root"', "")
        path = self.scope.write("c.conf", text + 'listen "%s" { protocol = fastcgi }\napp "a" { backend "%s" { } }\n' %
                                (self.scope.unix(), self.scope.unix()))
        code, said = weir.run(["-c", path])
        self.assertEqual(code, 1)
        self.assertIn("user", said)

    def test_privileges_are_dropped(self):
        if not ROOT:
            self.skipTest("only root has privileges to drop")
        nobody = pwd.getpwnam("nobody")
        for name in ("run", "state"):
            os.makedirs(self.scope.path(name), exist_ok=True)
            shutil.chown(self.scope.path(name), "nobody", "nogroup")
        site = Site(self.scope, "", node='user = "nobody"', workers=3)
        self.assertEqual(site.ask("").status, 200)
        for task in os.listdir("/proc/%d/task" % site.weir.pid):
            with open("/proc/%d/task/%s/status" % (site.weir.pid, task)) as f:
                fields = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
            self.assertEqual(set(fields["Uid"].split()), {str(nobody.pw_uid)})
            self.assertEqual(set(fields["Gid"].split()), {str(nobody.pw_gid)})
            self.assertNotIn("0", fields["Groups"].split())
            self.assertEqual(int(fields["CapEff"], 16), 0)

    def test_group(self):
        if not ROOT:
            self.skipTest("only root has privileges to drop")
        group = grp.getgrnam("daemon")
        for name in ("run", "state"):
            os.makedirs(self.scope.path(name), exist_ok=True)
            shutil.chown(self.scope.path(name), "nobody", "daemon")
        site = Site(self.scope, None, node='user = "nobody"\n  group = "daemon"')
        self.assertEqual(site.ask("").status, 200)  # it listens before it drops its privileges
        with open("/proc/%d/status" % site.weir.pid) as f:
            fields = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
        self.assertEqual(set(fields["Gid"].split()), {str(group.gr_gid)})

    def test_dry_run_says_that_root_needs_a_user(self):
        if not ROOT:
            self.skipTest("only root has privileges to drop")
        text = weir.node(self.scope).replace('user = "root"', "")
        path = self.scope.write("c.conf", text + 'listen "%s" { protocol = fastcgi }\napp "a" { backend "%s" { } }\n' %
                                (self.scope.unix(), self.scope.unix()))
        code, said = weir.run(["-t", "-c", path])
        self.assertEqual(code, 1, said)
        self.assertIn("user", said)
        self.assertIn(path, said)

    def test_a_session_socket_that_only_root_can_use(self):
        if not ROOT:
            self.skipTest("only root has privileges to drop")
        for name in ("run", "state", "given"):
            os.makedirs(self.scope.path(name), exist_ok=True)
            shutil.chown(self.scope.path(name), "nobody", "nogroup")
        os.chmod(self.scope.path("given"), 0o2755)
        text = 'warning: session.socket "%s": bound as root, and without socket-group only root can connect'
        for place, user, options, warns in (("s", "nobody", "", True), ("s", "nobody", "socket-mode = 0664", True),
                                            ("s", "nobody", 'socket-group = "nogroup"', False),
                                            ("s", "nobody", 'socket-owner = "nobody"', False),
                                            ("s", "nobody", "socket-mode = 0666", False),
                                            ("given/s", "nobody", "", False), ("s", "root", "", False)):
            with self.subTest(place=place, user=user, options=options):
                where = "unix:" + self.scope.path(place)
                app = weir.app("shop", ['backend "%s" { }' % self.scope.unix()], "",
                               'mode = adopted cookie = SID key = "" socket = "%s" %s' % (where, options))
                gateway = weir.Weir(self.scope, [(self.scope.unix("f"), "fastcgi", "")], [app],
                                    node_more='user = "%s"' % user)
                gateway.wait_line("event=started")
                said = gateway.lines("level=warn event=socket_is_roots app=shop socket=%s " % where)
                self.assertEqual(len(said), warns, gateway.process.log())
                made = os.stat(where[5:])
                alone = made.st_uid == made.st_gid == 0 and not made.st_mode & stat.S_IWOTH
                self.assertEqual(alone, warns or user == "root", "the warning is true")
                code, text_ = weir.run(["-t", "-c", gateway.config])
                self.assertEqual((code, text % where in text_), (0, warns), text_)
                gateway.stop()

    def test_the_log_file_is_the_users(self):
        """What root opened, the user must be able to open again after USR2."""
        if not ROOT:
            self.skipTest("only root has privileges to drop")
        for name in ("run", "state"):
            os.makedirs(self.scope.path(name), exist_ok=True)
            shutil.chown(self.scope.path(name), "nobody", "nogroup")
        path = self.scope.path("weir-test.log")  # in a folder of root: only the file itself can be opened
        site = Site(self.scope, None, node='user = "nobody"', log='level = debug to = "%s"' % path)
        self.assertEqual(os.stat(path).st_uid, pwd.getpwnam("nobody").pw_uid)
        old = path + ".1"
        os.rename(path, old)
        shutil.copy(old, path)
        shutil.chown(path, "nobody", "nogroup")
        size = os.path.getsize(path)

        def heard():
            site.weir.process.send(signal.SIGUSR2)
            with site.client() as client:
                client.send(b"GET / HTTP/1.1\r\n\r\n")
                client.closed()
            return "reason=" in open(path).read()[size:]
        wait.until(heard, "a line in the new log file", pause=0.1)
        site.weir.process.send(signal.SIGUSR2)  # and the same file once more
        size = os.path.getsize(path)
        wait.until(heard, "a line in the log file that was opened again", pause=0.1)

    def test_descriptors_are_given_back(self):
        site = Site(self.scope, "", workers=2, backend="connections = 4")

        def count():
            return len(os.listdir("/proc/%d/fd" % site.weir.pid))
        for _ in range(20):
            site.ask("")
        before = count()
        for i in range(200):
            with site.client() as client:
                client.ask(site.params("set=x")) if i % 2 else client.send(b"\x01\x01")
        wait.until(lambda: count() <= before + 8, lambda: "the descriptors to be given back: %d, now %d" %
                   (before, count()))


class TestScarcity(Case):
    """What the system does not give, or takes away."""

    def launcher(self, how):
        """weir, started by a shell that arranges something before."""
        path = self.scope.write("launcher", "#!/bin/sh\nexec %s \"$@\" %s\n" % (weir.binary(), how))
        os.chmod(path, 0o755)
        return path

    def test_no_descriptors_left(self):
        """Connections are refused, it does not spin, and all is well when there are some again."""
        site = Site(self.scope, None, workers=1)
        self.assertEqual(site.ask("").status, 200)
        site.weir.wait_line("event=store_ready")
        pid = site.weir.pid
        before = resource.prlimit(pid, resource.RLIMIT_NOFILE)

        def seconds():
            with open("/proc/%d/stat" % pid) as f:
                fields = f.read().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

        open_ones = max(map(int, os.listdir("/proc/%d/fd" % pid)))
        # Room for some more; then not even for the one that is held back to refuse with.
        for limit in (open_ones + 4, 3):
            with self.subTest(limit=limit):
                resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, before[1]))
                held = [site.client() for _ in range(10)]
                if limit > 3:
                    site.weir.wait_line("level=error.*connection_refused")
                used, began = seconds(), time.monotonic()
                time.sleep(0.7)
                self.assertLess(seconds() - used, 0.4 * (time.monotonic() - began))
                self.assertIsNone(site.weir.process.poll())
                for client in held:
                    client.close()
                resource.prlimit(pid, resource.RLIMIT_NOFILE, before)

                def served():
                    try:
                        return site.ask("", timeout=2).status == 200
                    except (OSError, ValueError):
                        return False
                wait.until(served, "an answer when there are descriptors again", pause=0.05)

    def test_a_log_that_nobody_reads(self):
        """A full pipe stops nobody. When it is read again, a line says how many lines are missing."""
        fifo = self.scope.path("fifo")
        os.mkfifo(fifo)
        pipe = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
        self.scope.at_end(os.close, pipe)
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 4096)
        app = weir.app("never", ['backend "%s" { }' % self.scope.unix()], session=None, match=["path:/never"])
        where = self.scope.unix("f")
        gateway = weir.Weir(self.scope, [(where, "fastcgi", "")], [app], program=self.launcher('2>"%s"' % fifo))
        site = Front(where, "fastcgi", gateway)

        def complain(count):
            for _ in range(count):
                with site.client() as client:
                    client.send(b"GET / HTTP/1.1\r\n\r\n")
                    self.assertTrue(client.closed(), "it does not read any more")
                self.assertEqual(site.ask("", path="/nothing").status, 404)
        complain(100)  # lines of more than the pipe holds

        read = []

        def told():
            try:
                while piece := os.read(pipe, 65536):
                    read.append(piece)
            except BlockingIOError:
                pass
            complain(1)
            return b"event=log_lost" in b"".join(read)
        wait.until(told, lambda: "a line about the lost ones; read: %r" % b"".join(read)[-2000:])
        self.assertRegex(b"".join(read), rb"event=log_lost lines=[1-9]")
        complain(100)
        gateway.process.send(signal.SIGTERM)
        self.assertEqual(gateway.wait_exit(), 0)

    def test_started_without_standard_descriptors(self):
        """Otherwise its first sockets would be 0, 1 and 2, and it would log into one of them."""
        site = Site(self.scope, "", where=address.tcp(), program=self.launcher("0<&- 1>&- 2>&-"))
        for i in range(3):
            target = os.readlink("/proc/%d/fd/%d" % (site.weir.pid, i))
            self.assertEqual(target, "/dev/null")
        with site.client() as client:
            for i in range(50):
                self.assertEqual(client.ask(site.params("set=%d" % i)).status, 200)
                self.assertEqual(site.ask("").status, 200)
