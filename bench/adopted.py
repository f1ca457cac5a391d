"""The session socket beside a redis-server: GET and SET of 1 KiB by themselves, and a page of PHP-FPM that reads and
writes its session with phpredis. All of it in turn, round after round, in one run."""

import json
import os
import subprocess

import table
from middle import STORE, Middle, start_nginx, write_weir
from processes import Failed, cpu_seconds, nobody_group, program

KV_HEAD = ("sessions in", "clients", "command", "commands/s", "p50 us", "p99 us", "CPU us/command", "rate x Redis",
           "CPU x Redis")
PAGE_HEAD = ("PHP-FPM, sessions in", "requests/s", "p50 us", "p99 us", "CPU us/request of it", "of PHP", "rate x Redis")
GOAL = ("goal", "", "", "", "", "", "", "at least 1", "at most 1")
KV_PREFIX, PAGE_PREFIX = "bench:", "PHPREDIS_SESSION:"
CHILDREN = 8
HERE = os.path.dirname(os.path.abspath(__file__))

ADOPTED = ('mode = adopted  cookie = "PHPSESSID"  socket = "{socket}"  socket-mode = 0666  key = "{key}"  '
           'lock = exclusive')


def missing():
    """Programs that are not installed."""
    names = {"redis-server": program("redis-server"), "php-fpm": php_fpm()}
    return [name for name, path in names.items() if not path]


def php_fpm():
    return program("php-fpm8.2", "php-fpm8.3", "php-fpm8.4", "php-fpm")


def start_redis(bench, name):
    """It keeps nothing on disk; the rest is as it comes."""
    place, where = bench.place, bench.place.unix(name)
    argv = [program("redis-server"), "--port", "0", "--unixsocket", where[len("unix:") :], "--unixsocketperm", "777",
            "--save", "", "--appendonly", "no", "--dir", place.folder(name)]
    return place.start(name, argv, where), where


def start_weir(bench, name, socket, key, app, workers=2, connections=64):
    """weir with a session socket. Its store on disk is there, and nothing moves to it."""
    session = ADOPTED.format(socket=socket, key=key)
    config = write_weir(bench, name, app, workers=workers, session=session, store=STORE, connections=connections)
    return bench.place.start(name, [bench.programs["weir"], "-c", config], socket)


# --- commands ---


class Commands:
    """A server of sessions, asked by bench/kv."""

    def __init__(self, title, process, where):
        self.title, self.process, self.where = title, process, where
        self.results = {}

    def measure(self, bench, clients, command, seconds):
        argv = [bench.programs["kv"], "--prefix", KV_PREFIX, "--clients", str(clients), "--seconds", str(seconds)]
        before = cpu_seconds(self.process.pid)
        done = subprocess.run(argv + [command, self.where], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              check=False)
        if done.returncode != 0:
            raise Failed("%s: %s%s" % (self.title, done.stdout, done.stderr.strip()))
        result = json.loads(done.stdout)
        result["cpu_us"] = (cpu_seconds(self.process.pid) - before) * 1e6 / result["requests"]
        self.results.setdefault((clients, command), []).append(result)


def commands(bench, o):
    redis = Commands("redis-server", *start_redis(bench, "kv-redis"))
    servers = [redis]
    for workers in (1, 2):
        name = "kv-weir%d" % workers
        where = bench.place.unix(name + "-socket")
        process = start_weir(bench, name, where, KV_PREFIX, bench.app, workers)
        servers.append(Commands("weir, %d worker%s" % (workers, "s"[: workers - 1]), process, where))
    cases = [(clients, command) for command in ("get", "set") for clients in (1, 16)]
    for n in range(o.rounds):
        turn = n % len(servers)
        for clients, command in cases:
            for server in servers[turn:] + servers[:turn]:
                server.measure(bench, clients, command, o.seconds)
    rows = [row_of(s, redis, *case) for case in cases for s in servers]
    for server in servers:
        bench.place.stop(server.process)
    return rows + [GOAL]


def ratios(mine, theirs, what):
    """Round by round: what else happened on the machine then, hit both."""
    return [a[what] / b[what] for a, b in zip(mine, theirs) if b[what] > 0]


def row_of(server, redis, clients, command):
    rounds, floor = server.results[clients, command], redis.results[clients, command]
    return (
        server.title,
        str(clients),
        command.upper(),
        table.spread([r["rate"] for r in rounds]),
        table.spread([r["p50_us"] for r in rounds]),
        table.spread([r["p99_us"] for r in rounds]),
        table.spread([r["cpu_us"] for r in rounds], 1),
        table.spread(ratios(rounds, floor, "rate"), 2),
        table.spread(ratios(rounds, floor, "cpu_us"), 2),
    )


# --- pages ---

FPM = """
[global]
daemonize = no
error_log = {folder}/fpm.log
[bench]
{user}
listen = {listen}
listen.mode = 0666
pm = static
pm.max_children = {children}
php_admin_value[session.save_handler] = redis
php_admin_value[session.save_path] = "unix://{socket}?persistent=1"
php_admin_value[session.gc_maxlifetime] = 3600
php_admin_value[redis.session.locking_enabled] = {locking}
php_admin_value[redis.session.lock_retries] = -1
"""


class Page(Middle):
    """nginx, PHP-FPM with phpredis, and where the sessions are: with Redis nginx asks PHP-FPM, as it does for those who
    have it like this (a kept connection would hold a process of PHP); with weir it asks weir."""

    session = True

    def __init__(self, name, title, is_weir, locking):
        super().__init__(name, title)
        self.is_weir, self.locking, self.keep = is_weir, locking, is_weir
        self.fpm, self.results = None, []

    def fpm_at(self, bench):
        return bench.place.unix(self.name + "-fpm")

    def upstream(self, bench):
        return bench.place.unix(self.name) if self.is_weir else self.fpm_at(bench)

    def start(self, bench):
        place = bench.place
        if self.is_weir:
            socket = place.unix(self.name + "-socket")
            self.process = start_weir(bench, self.name, socket, PAGE_PREFIX, self.fpm_at(bench), connections=CHILDREN)
        else:
            self.process, socket = start_redis(bench, self.name + "-redis")
        listen = self.fpm_at(bench)
        text = FPM.format(
            folder=place.folder(self.name),
            user="user = nobody\ngroup = " + nobody_group() if place.root else "",
            listen=listen[len("unix:") :],
            children=CHILDREN,
            socket=socket[len("unix:") :],
            locking=int(self.locking),
        )
        argv = [php_fpm(), "--fpm-config", place.write(self.name + "-fpm.conf", text)]
        self.fpm = place.start(self.name + "-fpm", argv, listen)

    def measure(self, bench, o, load):
        before = cpu_seconds(self.process.pid), cpu_seconds(self.fpm.pid)
        result = load(bench, self, o.clients, "--seconds", str(o.seconds))
        after = cpu_seconds(self.process.pid), cpu_seconds(self.fpm.pid)
        result["cpu_us"], result["php_us"] = ((a - b) * 1e6 / result["requests"] for a, b in zip(after, before))
        self.results.append(result)


def page_folder(bench):
    """Where PHP may read it after it gave up root."""
    folder = bench.place.folder("page")
    with open(os.path.join(HERE, "php", "page.php"), encoding="utf-8") as f:
        bench.place.write("page/page.php", f.read())
    return folder


def pages(bench, o, load):
    """load(bench, middle, clients, *options) runs bench/load."""
    rivals = [
        Page("page-redis", "redis-server, no lock", False, False),
        Page("page-redis-lock", "redis-server, phpredis's lock", False, True),
        Page("page-weir", "weir, 2 workers, lock = exclusive", True, False),
    ]
    folder = page_folder(bench)
    for page in rivals:
        page.params = "fastcgi_param SCRIPT_FILENAME %s/page.php;" % folder
        page.start(bench)
    nginx = start_nginx(bench, o.nginx_workers, rivals, "nginx-pages")
    for page in rivals:
        load(bench, page, o.clients, "--requests", "500")
    for n in range(o.rounds):
        turn = n % len(rivals)
        for page in rivals[turn:] + rivals[:turn]:
            page.measure(bench, o, load)
    for process in [nginx] + [p for page in rivals for p in (page.process, page.fpm)]:
        bench.place.stop(process)
    return [
        (
            page.title,
            table.spread([r["rate"] for r in page.results]),
            table.spread([r["p50_us"] for r in page.results]),
            table.spread([r["p99_us"] for r in page.results]),
            table.spread([r["cpu_us"] for r in page.results], 1),
            table.spread([r["php_us"] for r in page.results], 1),
            table.spread(ratios(page.results, rivals[0].results, "rate"), 2),
        )
        for page in rivals
    ] + [("goal", "", "", "", "", "", "at least 1")]


def measure(bench, o, load, add_table):
    absent = missing()
    if absent:
        raise Failed("the session socket is measured beside Redis: %s not installed (--no-socket)" % ", ".join(absent))
    add_table(KV_HEAD, commands(bench, o))
    add_table(PAGE_HEAD, pages(bench, o, load))
