"""The applications: PHP-FPM with app.php, libfcgi's echo, Python's SCGI server. Each listens on a Unix socket."""
import grp
import os
import re
import subprocess

from . import address, case, process

APPS = os.path.join(case.HERE, "apps")


def built(name):
    """A program of apps/*.c: where the Makefile put it, or built here on the spot."""
    near = [os.environ.get("WEIR_APPS"), os.path.join(case.TREE, "build", "asan", "apps"),
            os.path.join(case.TREE, "build", "release", "apps")]
    source = os.path.join(APPS, name + ".c")
    for directory in near:
        path = directory and os.path.join(directory, name)
        if path and os.path.exists(path) and os.path.getmtime(path) >= os.path.getmtime(source):
            return path
    raise AssertionError("%s is not built: make apps" % name)


class App:
    protocol = "fastcgi"

    def __init__(self, scope, processes=8, where=None):
        self.scope, self.processes = scope, processes
        self.where = where or scope.unix("app")
        self.root = APPS
        self.started = []
        self.start()

    def text(self, options=""):
        return 'backend "%s" { protocol = %s connections = %d %s }' % (
            self.where, self.protocol, self.processes, options)

    def run(self, name, argv, env=None, stdin=None):
        p = process.Process(name, argv, self.scope.fresh(name + ".log"), env=env, stdin=stdin, cwd=self.scope.dir)
        self.started.append(p)
        self.scope.show(p)
        self.scope.at_end(p.stop)
        return p

    def log(self):
        return "".join(p.log() for p in self.started)


class Libfcgi(App):
    """One process serves one connection; all share the listening socket, which is fd 0."""

    def start(self):
        with address.listen(self.where) as sock:
            for _ in range(self.processes):
                self.run("echo", [built("echo")], stdin=sock.fileno())


class PythonScgi(App):
    protocol = "scgi"

    def start(self):
        with address.listen(self.where) as sock:
            self.run("app_scgi", [process.find("python3"), os.path.join(APPS, "app_scgi.py")], stdin=sock.fileno())


class PhpFpm(App):
    """examples/php-fpm/pool.conf; the pool's section is opened again to say what differs here."""

    doc_root = False

    def __init__(self, scope, processes=8, where=None, settings=()):
        """settings: pairs of php.ini."""
        self.settings = settings
        super().__init__(scope, processes, where)

    def start(self):
        listen = self.where[5:] if self.where.startswith("unix:") else self.where
        user = "listen.group = %s\n" % grp.getgrgid(os.getegid()).gr_name
        if os.geteuid() == 0:
            user += "user = root\ngroup = root\n"
        doc_root = ("php_admin_value[doc_root] = %s\nphp_admin_value[cgi.fix_pathinfo] = 0\n" % self.root
                    if self.doc_root else "")
        settings = "".join('php_value[%s] = "%s"\n' % pair for pair in self.settings)
        main = self.scope.fresh("fpm.conf")
        with open(main, "w") as f:
            f.write("""[global]
daemonize = no
error_log = /dev/stderr
include = %s
[app]
listen = %s
listen.mode = 0666
pm.max_children = %d
%s%s%s""" % (os.path.join(case.TREE, "examples/php-fpm/pool.conf"), listen, self.processes, user, doc_root, settings))
        argv = [fpm(), "--fpm-config", main]
        if os.geteuid() == 0:
            argv.append("--allow-to-run-as-root")
        p = self.run("php-fpm", argv)
        address.wait_accepts(self.where, p)


class PhpFpmDocRoot(PhpFpm):
    """Goes by SCRIPT_NAME: for web servers that do not say where the file is."""

    doc_root = True


def fpm():
    for name in ("php-fpm", "php-fpm8.2", "php-fpm8.3", "php-fpm8.4"):
        try:
            return process.find(name)
        except AssertionError:
            continue
    raise AssertionError("php-fpm is not installed: the integration tests need it")
