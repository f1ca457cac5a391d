"""weirctl: what a person types, what a script goes by, and what bash offers."""
import json
import os
import re
import signal
import subprocess
import time

from harness import address, admin, case, process, wait, weir
from harness.case import Case
from harness.site import Site

ROOT = os.geteuid() == 0


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
        _, name, _ = admin.new_session(self.site)
        wait.until(lambda: json.loads(self.ctl("--json", "status")[1])["disk"]["state"] == "ready", "the disk store")
        backend = self.site.backend.where
        for words in (["status"], ["health"], ["apps"], ["backends"], ["sessions"], ["session", "show", name],
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
        jar, name, _ = admin.new_session(self.site)
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
        """It is told with its errors, and not that weir does not run; nobody is asked, and nobody woken."""
        self.start()
        config, pid_file = self.site.weir.config, self.scope.path("run/weir.pid")
        with open(config, "a") as f:
            f.write("nonsense = 1\nnode = 2\n")
        broken = self.scope.write("broken.conf", "listen {\n")
        for path, why in ((config, r"%s:\d+: nonsense: .*\n%s:\d+: node: .*" % (re.escape(config), re.escape(config))),
                          (broken, re.escape(broken) + r":\d+: .*"),
                          ("/nonexistent", "/nonexistent: cannot be read: No such file or directory"),
                          ("/", "/: cannot be read: Is a directory")):
            for more in ([], ["-s", self.path], ["-p", pid_file]):
                with self.subTest(path=path, more=more):
                    code, out, err = admin.weirctl("-c", path, *more, "status")
                    self.assertEqual((code, out), (5, ""))
                    self.assertRegex(err, r"\Aweirctl: the configuration cannot be used:\n%s\nweirctl: it says where "
                                          r"weir is; so do -s SOCKET and -p FILE together\n\Z" % why)
        self.assertFalse(os.path.exists(self.path))
        # Whoever says both needs no file.
        code, _, err = self.ctl("-s", self.path, "-p", pid_file, "status")
        self.assertEqual((code, err), (0, ""))

    def test_a_config_that_may_not_be_read(self):
        if not ROOT:
            self.skipTest("only root can be somebody else")
        path = self.scope.write("secret.conf", "")
        os.chmod(path, 0o600)
        code, out, err = self.as_nobody("-c", path, "status")
        self.assertEqual((code, out), (5, ""))
        self.assertIn("%s: cannot be read: Permission denied\n" % path, err)

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
        self.assertGreater(len(json.loads(admin.weirctl("help", "--json")[1])), 10)
        [one] = json.loads(admin.weirctl("help", "session", "show", "--json")[1])
        self.assertEqual(one["command"], "session show")
        self.assertEqual(admin.weirctl("help", "nonsense", "--json")[:2], (4, ""))
        code, out, _ = admin.weirctl("help", "backend")
        self.assertEqual((code, [line.split("  ")[0] for line in out.splitlines()]),
                         (0, ["backend drain [APP] NAME", "backend ready [APP] NAME"]))

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

    def as_nobody(self, *args):
        # The build may lie where others cannot look.
        program = self.scope.path("weirctl")
        with open(admin.weirctl_binary(), "rb") as source, open(program, "wb") as copy:
            copy.write(source.read())
        os.chmod(program, 0o755)
        done = subprocess.run([program, *args], user="nobody", extra_groups=[], cwd="/", stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE)
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    def test_another_user(self):
        if not ROOT:
            self.skipTest("only root can be somebody else")
        self.start()
        where = ["-s", self.path, "-p", self.scope.path("run/weir.pid"), "status"]
        code, _, err = self.as_nobody(*where)
        self.assertEqual((code, err), (3, "weirctl: may not signal process %d: only root and the user that weir runs "
                                          "as are let in\n" % self.site.weir.pid))
        self.assertEqual(self.ctl("status")[0], 0)
        code, _, err = self.as_nobody(*where)
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


class TestPki(Case):
    """A cluster's certificates, which need no weir; openssl(1) says what is in them."""

    def pki(self, *words):
        return admin.weirctl("pki", *words)

    def made(self, *words):
        code, out, err = admin.weirctl("--json", "pki", *words)
        self.assertEqual((code, err), (0, ""))
        return json.loads(out)

    def openssl(self, *args):
        done = subprocess.run([process.find("openssl"), *args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return done.returncode, done.stdout.decode()

    def file(self, name):
        return os.path.join(self.dir, name)

    def text(self, name):
        code, out = self.openssl("x509", "-in", self.file(name), "-noout", "-text")
        self.assertEqual(code, 0)
        return out

    def verify(self, node):
        return self.openssl("verify", "-CAfile", self.file("ca.pem"), "-CRLfile", self.file("crl.pem"),
                            "-crl_check_all", "-x509_strict", "-purpose", "sslclient", self.file(node + ".pem"))

    def setUp(self):
        super().setUp()
        self.dir = self.scope.path("pki")
        self.authority = self.made("init", self.dir, "--cluster", "eu")

    def test_two_commands(self):
        code, out, err = self.pki("issue", self.dir, "alpha", "--names", "alpha.example.org,10.0.0.1,fd00::1")
        self.assertEqual((code, err), (0, ""))
        self.assertRegex(out, r"(?m)^node +alpha$")
        text = self.text("alpha.pem")
        self.assertRegex(text, r"X509v3 Subject Alternative Name: *\n *URI:weir://eu/alpha, DNS:alpha.example.org, "
                               r"IP Address:10.0.0.1, IP Address:FD00:0:0:0:0:0:0:1\n")
        self.assertRegex(text, r"Basic Constraints: critical *\n *CA:FALSE")
        self.assertRegex(text, r"Key Usage: critical *\n *Digital Signature\n")
        self.assertRegex(text, r"TLS Web Server Authentication, TLS Web Client Authentication")
        self.assertRegex(text, r"NIST CURVE: P-256")
        self.assertEqual(self.verify("alpha"), (0, self.file("alpha.pem") + ": OK\n"))
        self.assertRegex(self.text("ca.pem"), r"CA:TRUE, pathlen:0")
        self.assertEqual(self.openssl("pkey", "-in", self.file("alpha.key"), "-pubout")[1],
                         self.openssl("x509", "-in", self.file("alpha.pem"), "-noout", "-pubkey")[1])
        for name, mode in (("ca.key", 0o600), ("alpha.key", 0o600), ("ca.pem", 0o644), ("alpha.pem", 0o644),
                           ("crl.pem", 0o644)):
            self.assertEqual(os.stat(self.file(name)).st_mode & 0o7777, mode)

    def days(self, name):
        dates = self.openssl("x509", "-in", self.file(name), "-noout", "-dates")[1]
        begin, end = (time.mktime(time.strptime(d, "%b %d %H:%M:%S %Y GMT")) for d in re.findall(r"=(.*)", dates))
        return (end - begin) / 86400

    def test_how_long_they_are_good(self):
        self.made("issue", self.dir, "alpha")
        self.made("issue", self.dir, "beta", "--days", "30")
        self.made("issue", self.dir, "gamma", "--days", "36500")
        self.assertAlmostEqual(self.days("ca.pem"), 3650, delta=0.1)
        self.assertAlmostEqual(self.days("alpha.pem"), 365, delta=0.1)
        self.assertAlmostEqual(self.days("beta.pem"), 30, delta=0.1)
        self.assertAlmostEqual(self.days("gamma.pem"), 3650, delta=0.1)

    def test_json(self):
        self.assertEqual(sorted(self.authority), ["cluster", "expires", "serial"])
        alpha = self.made("issue", self.dir, "alpha")
        self.assertEqual((alpha["cluster"], alpha["node"]), ("eu", "alpha"))
        self.assertEqual(self.openssl("x509", "-in", self.file("alpha.pem"), "-noout", "-serial")[1],
                         "serial=%s\n" % alpha["serial"])
        self.assertEqual(self.made("revoke", self.dir, "alpha"), {"node": "alpha", "revoked": 1})

    def test_revoke(self):
        self.made("issue", self.dir, "alpha")
        self.made("issue", self.dir, "beta")
        code, out, err = self.pki("revoke", self.dir, "alpha")
        self.assertEqual((code, err), (0, ""))
        self.assertRegex(out, r"(?m)^revoked +1$")
        self.assertIn("certificate revoked", self.verify("alpha")[1])
        self.assertEqual(self.verify("beta")[0], 0)
        self.assertEqual(self.made("revoke", self.dir, "alpha")["revoked"], 0)
        self.made("issue", self.dir, "alpha", "--force")
        self.assertEqual(self.verify("alpha")[0], 0)

    def test_list(self):
        self.assertEqual(self.made("list", self.dir),
                         {"cluster": "eu", "expires": self.authority["expires"], "certificates": []})
        first, beta = self.made("issue", self.dir, "alpha"), self.made("issue", self.dir, "beta")
        again = self.made("issue", self.dir, "alpha", "--force")
        self.made("revoke", self.dir, "beta")
        rows = self.made("list", self.dir)["certificates"]
        self.assertEqual([(r["node"], r["serial"], r["expires"], r["state"]) for r in rows],
                         [("alpha", first["serial"], first["expires"], "good"),
                          ("beta", beta["serial"], beta["expires"], "revoked"),
                          ("alpha", again["serial"], again["expires"], "good")])
        self.assertEqual([bool(r["revoked"]) for r in rows], [False, True, False])
        # The key is for those who issue; it may lie elsewhere.
        os.rename(self.file("ca.key"), self.scope.path("ca.key"))
        code, out, err = self.pki("list", self.dir)
        self.assertEqual((code, err), (0, ""))
        self.assertRegex(out, r"\Acluster +eu\nauthority +until \S+Z\n\nNODE +SERIAL +EXPIRES +STATE\n"
                              r"alpha +%s +\S+Z +good\nbeta +%s +\S+Z +revoked \S+Z\nalpha +%s +\S+Z +good\n\Z" %
                         (first["serial"], beta["serial"], again["serial"]))

    def test_nothing_is_overwritten(self):
        self.made("issue", self.dir, "alpha")
        before = {name: open(self.file(name)).read() for name in os.listdir(self.dir)}
        for words, text in ((["init", self.dir, "--cluster", "eu"], "ca.pem: there is an authority already, and it is "
                                                                    "never overwritten"),
                            (["issue", self.dir, "alpha"], "alpha.pem: is there already; --force makes another one")):
            self.assertEqual(self.pki(*words), (1, "", "weirctl: %s/%s\n" % (self.dir, text)))
        self.assertEqual({name: open(self.file(name)).read() for name in os.listdir(self.dir)}, before)
        self.made("issue", self.dir, "alpha", "--force")
        self.assertNotEqual(open(self.file("alpha.key")).read(), before["alpha.key"])
        self.assertEqual(self.verify("alpha")[0], 0)

    def test_at_once(self):
        """They wait for each other: each certificate is in the index."""
        running = case.Parallel()
        for i in range(8):
            running.start(self.pki, "issue", self.dir, "n%d" % i)
        self.assertEqual([r[0] for r in running.join()], [0] * 8)
        with open(self.file("index")) as f:
            self.assertEqual(sorted(line.split()[1] for line in f), ["n%d" % i for i in range(8)])

    def test_exit_codes(self):
        none = self.scope.path("none")
        for words, code, text in (
                (["init"], 2, 'pki init: "DIR" is missing\nusage: pki init DIR [--cluster NAME] [--days NUMBER] '
                              '[--json]'),
                (["init", none], 2, "pki init: --cluster NAME is missing"),
                (["init", none, "--cluster", "e/u"], 2,
                 'the name of a cluster is 1 to 64 letters, digits, "-", "_" and "."'),
                (["init", none, "--cluster", "eu", "--days", "0"], 2, "--days takes a number from 1 to 36500"),
                (["issue", self.dir, "alpha", "--days", "x"], 2, "--days takes a number from 1 to 36500"),
                (["issue", self.dir, "al pha"], 2, 'the name of a node is 1 to 64 letters, digits, "-", "_" and "."'),
                (["issue", self.dir, "ca"], 1,
                 'a node cannot be called "ca" here: its files would be taken for others'),
                (["issue", none, "alpha"], 4, none + ": No such file or directory"),
                (["list", none], 4, none + ": No such file or directory"),
                (["list", self.scope.dir], 4, self.scope.dir + ": has no authority; pki init makes one"),
                (["revoke", self.dir, "alpha"], 4, self.dir + ": no certificate was issued for a node alpha"),
                (["revoke", self.dir], 2, 'pki revoke: "NODE" is missing\nusage: pki revoke DIR NODE [--json]'),
                (["nonsense"], 2, 'unknown command "pki nonsense"; there are: pki init, pki issue, pki list, pki revoke')):
            with self.subTest(words):
                self.assertEqual(self.pki(*words), (code, "", "weirctl: %s\n" % text))
        self.assertFalse(os.path.exists(none))

    def test_a_full_disk_leaves_what_was_there(self):
        """Whatever cannot be written as a whole is not written."""
        self.made("issue", self.dir, "alpha")
        before = {name: open(self.file(name)).read() for name in os.listdir(self.dir)}
        # No file may have a byte.
        done = subprocess.run(["/bin/sh", "-c", 'trap "" XFSZ; ulimit -f 0; exec "$@"', "sh", admin.weirctl_binary(), "pki",
                               "issue", self.dir, "beta"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"/index: File too large\n", done.stderr)
        self.assertEqual({name: open(self.file(name)).read() for name in os.listdir(self.dir)}, before)

    def test_weir_itself_knows_nothing_of_it(self):
        site = Site(self.scope, "", tail="admin { open = always }\n")
        site.weir.wait_line("event=started")
        client = admin.client(site.weir)
        client.send("pki init /tmp/x --cluster eu\n")
        reply = client.reply()
        self.assertEqual((reply.code, reply.text),
                         ("bad-argument", "this is for weirctl, which needs no weir for it\n"))
        client.close()


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
        for group in ("session", "app", "backend", "pki"):
            verbs = sorted(c["command"].split()[1] for c in commands if c["command"].startswith(group + " "))
            self.assertEqual(self.complete("weirctl %s " % group), verbs)
        for c in commands:
            with self.subTest(c["command"]):
                self.assertEqual(self.complete("weirctl %s --" % c["command"]), sorted(c["options"]))

    def test_prefixes(self):
        self.assertEqual(self.complete("weirctl se"), ["session", "sessions"])
        self.assertEqual(self.complete("weirctl session p"), ["pin", "promote"])
        self.assertEqual(self.complete("weirctl cluster "), ["forget"])
        self.assertEqual(self.complete("weirctl log-level "), ["debug", "error", "info", "warn"])
        self.assertEqual(self.complete("weirctl sessions --in "), ["disk", "memory"])
        states = ["busy", "fresh", "idle", "pinned", "unreadable", "waiting"]
        self.assertEqual(self.complete("weirctl sessions --is "), states)
        self.assertEqual(self.complete("weirctl sessions --is pinned,b"), ["pinned,busy"])
        self.assertIn(", ".join(states), ", ".join(sorted(
            admin.weirctl("help", "sessions")[1].split("all of these: ")[1].split("\n")[0].split(", "))))
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
