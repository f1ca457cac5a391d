"""What sessions cost that move between memory and disk, that are more than memory holds, that expire all at once, that
are there at the start: for themselves, and for the requests of others meanwhile.

The load goes on all the time and notes when each answer came and how long it took; beside it weir's own counters are
read, many times a second. So the figures are those of the answers that came while a counter grew."""

import array
import bisect
import json
import os
import random
import shutil
import signal
import subprocess
import threading
import time

import table
from client import ask
from middle import MANAGED, Middle, start_nginx, write_weir
from processes import Failed

MOVING_HEAD = ("sync", "demoted/s", "x puts", "goal", "promoted/s", "x puts", "goal", "x gets")
MEANWHILE_HEAD = ("what goes on", "sessions/s", "requests/s", "p50 us", "p99 us", "idle p99 us", "p99 x idle", "goal")
CROWD_HEAD = ("what", "sessions/s", "requests/s", "p99 us", "memory.bytes of max", "goal", "failed", "goal")
START_HEAD = ("start with so many sessions on disk", "after", "first answer ms", "first session ms", "goal")
# 50,000 down and 100,000 up where Berkeley DB alone puts 78,000; with `group` 40,000 down where it puts 65,000.
GOALS = {"none": (0.64, 1.28), "write": (0.64, 1.28), "group": (0.62, None)}
STATE_BYTES = 1024
SESSION_BYTES = 1200  # in memory, with all that belongs to it
LOOK_S = 0.05
STILL_S = 2  # without growth: it is over
LONG_S = 300  # for anything to be over
STATUS = "/bench-status"

DEMOTED = "weir_sessions_demoted_total"
PROMOTED = "weir_sessions_promoted_total"
EXPIRED = 'weir_sessions_expired_total{store="%s"}'
MEMORY = 'weir_session_bytes{store="memory"}'
MEMORY_MAX = 'weir_session_max_bytes{store="memory"}'
RELOADS = "weir_config_reloads_total"

MORE = """
app "storm" {{
  match = {{ "path:/storm" }}
  backend "{app}" {{ protocol = fastcgi  connections = 64 }}
  session {{ mode = managed  cookie = "STORM" }}
}}
status {{ path = "{status}" }}
"""


def store_of(max_bytes, evict):
    return "store { memory { max = %d  evict = %s } }" % (max_bytes, evict)


ROOMY = store_of(4 << 30, "never")


def for_a_tenth(count):
    """Memory for a tenth of so many sessions."""
    return store_of(max(count * SESSION_BYTES // 10, 1 << 20), "lru")


def cramped(count):
    """Memory for a twentieth of so many sessions, so that the others move down as fast as they can."""
    return store_of(max(count * SESSION_BYTES // 20, 1 << 20), "lru")


# --- weir, the load, and who watches ---


class Weir(Middle):
    def __init__(self, bench):
        super().__init__("weir-stores", "weir, store on disk")
        self.bench, self.place = bench, bench.place
        self.listen = self.upstream(bench)
        self.app, self.storm_app = self.place.unix("kept-app"), self.place.unix("storm-app")

    def configure(self, store):
        more = MORE.format(app=self.storm_app, status=STATUS)
        return write_weir(self.bench, self.name, self.app, session=MANAGED, store=store, more=more)

    def start(self, store=ROOMY):
        argv = [self.bench.programs["weir"], "-c", self.configure(store)]
        self.process = self.place.start(self.name, argv, self.listen)

    def start_empty(self, store=ROOMY):
        self.kill()
        shutil.rmtree(self.place.path(self.name), ignore_errors=True)
        self.start(store)

    def kill(self):
        if self.process:
            self.place.kill(self.process)
        self.process = None

    def end(self):
        self.place.stop(self.process, LONG_S)
        self.process = None

    def look(self):
        """All counters, by name and labels."""
        _, body = ask(self.listen, REQUEST_URI=STATUS + "?openmetrics", SCRIPT_NAME=STATUS,
                      QUERY_STRING="openmetrics", REMOTE_ADDR="127.0.0.1")
        lines = (line.rpartition(" ") for line in body.splitlines() if line and not line.startswith("#"))
        return {name: float(value) for name, _, value in lines}

    def reload(self, store):
        before = self.look()[RELOADS]
        self.configure(store)
        self.process.send_signal(signal.SIGHUP)
        end = time.monotonic() + LONG_S
        while self.look()[RELOADS] == before:
            if time.monotonic() > end:
                raise Failed("weir has not read its configuration again")
            time.sleep(0.01)

    def fill(self, count, *how):
        argv = [self.bench.programs["fill"], *how, self.listen, str(count)]
        return run_json(argv, "fill")[0]

    def fill_jar(self, count):
        """The cookies of the sessions that were made."""
        jar = self.place.path("jar")
        self.fill(count, "--jar", jar)
        with open(jar) as f:
            return f.read().split()


def run_json(argv, name, may_fail=False):
    """may_fail: what went wrong is told in what it prints."""
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0 and not (may_fail and done.stdout):
        raise Failed("%s: %s%s" % (name, done.stdout, done.stderr[-1000:]))
    return [json.loads(line) for line in done.stdout.splitlines()]


class Load:
    """Runs as long as the block does, or until its jar is empty. What it saw can be asked for afterwards."""

    def __init__(self, weir, clients, *how, may_fail=False):
        self.may_fail, self.failed = may_fail, 0
        self.log = weir.place.path("load.log")
        self.argv = [weir.bench.programs["load"], "--clients", str(clients), "--seconds", "86400", "--visits"]
        self.argv += ["--log", self.log, *how, weir.http]
        self.process, self.at, self.took = None, None, None

    def __enter__(self):
        self.process = subprocess.Popen(self.argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        return self

    def __exit__(self, kind, *_):
        if kind:
            self.process.kill()
        else:
            self.process.terminate()
        out, err = self.process.communicate()
        if not kind:
            if self.process.returncode != 0 and not (self.may_fail and out):
                raise Failed("the load: %s%s" % (out, err))
            self.failed = json.loads(out)["errors"]
            self.read()

    def wait(self):
        try:
            self.process.wait(LONG_S)
        except subprocess.TimeoutExpired:
            raise Failed("the load has not come to its end")

    def read(self):
        numbers = array.array("Q")
        with open(self.log, "rb") as f:
            numbers.frombytes(f.read())
        self.at, self.took = numbers[0::2], numbers[1::2]
        os.unlink(self.log)

    def figures(self, spans):
        """Requests a second, p50 and p99 of the answers in these spans of time."""
        took, seconds = array.array("Q"), 0
        for begin, end in spans:
            took += self.took[bisect.bisect(self.at, begin * 1e6) : bisect.bisect(self.at, end * 1e6)]
            seconds += end - begin
        if not took:
            raise Failed("no answer came while it was to be measured")
        took = sorted(took)
        return {"rate": len(took) / seconds, "p50": took[len(took) // 2], "p99": took[len(took) * 99 // 100]}


class Watch(threading.Thread):
    """Reads weir's counters as long as the block runs."""

    def __init__(self, weir):
        super().__init__(daemon=True)
        self.weir, self.over = weir, threading.Event()
        self.seen = []  # of (when, counters)

    def run(self):
        try:
            while not self.over.wait(LOOK_S):
                values = self.weir.look()
                self.seen.append((time.monotonic(), values))
        except (Failed, OSError, KeyError):
            pass  # who waits for growth will notice

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join()

    def grown(self, name):
        """The spans of time in which the counter grew, and by how much."""
        steps = zip(self.seen, self.seen[1:])
        return [(t0, t1, b[name] - a[name]) for (t0, a), (t1, b) in steps if b[name] > a[name]]

    def wait_until_still(self, name):
        """Until it has grown, and grows no longer."""
        end = time.monotonic() + LONG_S
        while time.monotonic() < end:
            time.sleep(LOOK_S)
            grown = self.grown(name)
            if grown and self.seen[-1][0] - grown[-1][1] > STILL_S:
                return
        raise Failed("%s did not grow, or grew for %d s" % (name, LONG_S))


def rate_of(grown):
    return sum(n for _, _, n in grown) / sum(end - begin for begin, end, _ in grown)


def pause(seconds):
    begin = time.monotonic()
    time.sleep(seconds)
    return [(begin, time.monotonic())]


def meanwhile(load, watch, name, idle):
    """What the load saw while the counter grew."""
    grown = watch.grown(name)
    figures = load.figures([(begin, end) for begin, end, _ in grown])
    return {**figures, "sessions": rate_of(grown), "idle_p99": idle["p99"]}


# --- 1: how fast they move ---


def moving(bench, o, count):
    """weir's stores and Berkeley DB by itself in turn: each round gives a ratio."""
    found = {sync: [] for sync in GOALS}
    for _ in range(o.rounds):
        ours, floor = (
            run_json([bench.programs[name], bench.place.path(name), str(count), str(STATE_BYTES)], name)
            for name in ("stack", "bdb")
        )
        for line, alone in zip(ours, floor):
            found[line["sync"]].append({**line, **alone})
    return [moving_row(sync, rounds) for sync, rounds in found.items()]


def moving_row(sync, rounds):
    def times(ours, alone):
        return table.spread([r[ours] / r[alone] for r in rounds], 2)

    def at_least(goal):
        return "at least %.2f" % goal if goal else ""

    down, up = GOALS[sync]
    return (
        sync,
        table.spread([r["demote_per_s"] for r in rounds]),
        times("demote_per_s", "put_per_s"),
        at_least(down),
        table.spread([r["promote_per_s"] for r in rounds]),
        times("promote_per_s", "put_per_s"),
        at_least(up),
        times("promote_per_s", "get_per_s"),
    )


# --- 2: what requests feel of it ---


def down_and_up(weir, o, count):
    """One round: all sessions move down under the load of others; then each is asked for."""
    weir.start_empty()
    jar = weir.fill_jar(count)
    random.Random(1).shuffle(jar)
    with Watch(weir) as watch, Load(weir, o.clients, "--cookies") as load:
        time.sleep(0.5)
        idle = pause(o.seconds)
        weir.reload(cramped(count))
        watch.wait_until_still(DEMOTED)
    idle = load.figures(idle)
    down = meanwhile(load, watch, DEMOTED, idle)
    half = len(jar) // 2
    swap = ask_for(weir, o, jar[:half], idle)
    weir.reload(ROOMY)
    return [down, swap, ask_for(weir, o, jar[half:], idle)]


def ask_for(weir, o, cookies, idle):
    path = weir.place.write("jar.part", "".join(c + "\n" for c in cookies))
    with Watch(weir) as watch:
        with Load(weir, o.clients, "--jar", path) as load:
            load.wait()
        time.sleep(2 * LOOK_S)
    return meanwhile(load, watch, PROMOTED, idle)


# --- 3: a crowd: more than memory holds ---


def crowd(weir, o, count):
    """A tenth of the sessions is used over and over while the others come in; all of them together would need ten times
    the memory that there is."""
    weir.start_empty(for_a_tenth(count))
    busy = weir.fill_jar(count // 10)
    random.Random(1).shuffle(busy)
    jar = weir.place.write("jar.busy", "".join(c + "\n" for c in busy))
    argv = [weir.bench.programs["fill"], weir.listen, str(count - len(busy))]
    with Watch(weir) as watch, Load(weir, o.clients, "--jar", jar, "--again", may_fail=True) as load:
        begin = time.monotonic()
        came = run_json(argv, "fill", may_fail=True)[0]
        span = (begin, time.monotonic())
    if not watch.seen or watch.seen[-1][0] < span[1] - 1:
        raise Failed("weir's counters could not be read to the end")
    most = max(values[MEMORY] / values[MEMORY_MAX] for _, values in watch.seen)
    # An answer without a session, and a session of which nothing was left when it was asked for again.
    lacking = count - len(busy) - came["sessions"] + came["checked"] - came["kept"]
    return {**load.figures([span]), "sessions": came["rate"], "most": most, "failed": lacking + load.failed}


def crowd_row(count, rounds):
    return (
        "{:,} sessions come in, memory has room for a tenth".format(count),
        table.spread([r["sessions"] for r in rounds]),
        table.spread([r["rate"] for r in rounds]),
        table.spread([r["p99"] for r in rounds]),
        table.spread([r["most"] for r in rounds], 3),
        "at most 1",
        table.spread([r["failed"] for r in rounds]),
        "0",
    )


# --- 4: a storm: all end in one second ---


def storm(weir, o, count, on_disk):
    weir.start_empty()
    rate = weir.fill(max(count // 50, 1000))["rate"]
    end = int(time.time() + 2 * count / rate + (count / 8000 if on_disk else 0) + o.seconds + 6)
    argv = [weir.bench.programs["app"], weir.storm_app, "--session", str(STATE_BYTES), "--end", str(end)]
    app = weir.place.start("storm-app", argv, weir.storm_app)
    weir.fill(count, "--path", "/storm")
    if on_disk:
        with Watch(weir) as watch:
            weir.reload(cramped(count))
            watch.wait_until_still(DEMOTED)
    early = end - time.time() - o.seconds - 2
    if early < 0:
        raise Failed("to make {:,} sessions{} took too long".format(count, " on disk" if on_disk else ""))
    time.sleep(early)
    name = EXPIRED % ("disk" if on_disk else "memory")
    with Watch(weir) as watch, Load(weir, o.clients, "--cookies") as load:
        time.sleep(0.5)
        idle = pause(o.seconds)
        watch.wait_until_still(name)
    weir.place.stop(app)
    return meanwhile(load, watch, name, load.figures(idle))


# --- 5: the start ---


def restart(weir, cookie):
    """Milliseconds until the first answer, and until the first with a session that is on disk only."""
    began = time.monotonic()
    weir.start()
    ask(weir.listen)
    first = time.monotonic()
    head, _ = ask(weir.listen, HTTP_COOKIE=cookie)
    if head.get("x-visits") != "2":
        raise Failed("a session that was on disk is lost: %s" % head)
    return (first - began) * 1e3, (time.monotonic() - began) * 1e3


def kill_while_demoting(weir, count):
    weir.fill(count)
    before = weir.look()[DEMOTED]
    weir.reload(cramped(count))
    end = time.monotonic() + LONG_S
    while weir.look()[DEMOTED] < before + count // 10:
        if time.monotonic() > end:
            raise Failed("nothing moves to disk")
    weir.kill()


def starts(weir, rounds, count):
    orderly, killed = [], []
    weir.start_empty()
    cookies = weir.fill_jar(count)
    for _ in range(rounds):
        weir.end()
        orderly.append(restart(weir, cookies.pop()))
        kill_while_demoting(weir, max(count // 5, 10000))
        killed.append(restart(weir, cookies.pop()))
    return [
        (
            "{:,} sessions".format(count),
            how,
            table.spread([first for first, _ in times]),
            table.spread([session for _, session in times]),
            "at most 2000",
        )
        for how, times in (("SIGTERM", orderly), ("kill -9 while sessions move down", killed))
    ]


# --- all of it ---


def row(what, rounds):
    return (
        what,
        table.spread([r["sessions"] for r in rounds]),
        table.spread([r["rate"] for r in rounds]),
        table.spread([r["p50"] for r in rounds]),
        table.spread([r["p99"] for r in rounds]),
        table.spread([r["idle_p99"] for r in rounds]),
        table.spread([r["p99"] / r["idle_p99"] for r in rounds], 2),
        "at most 2",
    )


def measure(bench, o, add_table):
    """Calls add_table(head, rows) for each of the tables."""
    many, more, most = (20000,) * 3 if o.quick else (200000, 300000, 1000000)
    few_rounds = o.rounds // 2 + 1  # of what takes minutes
    add_table(MOVING_HEAD, moving(bench, o, many))
    weir = Weir(bench)
    bench.place.start("kept-app", [bench.programs["app"], weir.app, "--session", str(STATE_BYTES)], weir.app)
    start_nginx(bench, o.nginx_workers, [weir], "nginx-stores")
    rounds = list(zip(*(down_and_up(weir, o, more) for _ in range(o.rounds))))
    in_memory = [storm(weir, o, most, False) for _ in range(few_rounds)]
    on_disk = [storm(weir, o, most, True) for _ in range(few_rounds)]
    rows = [
        row("{:,} sessions move down".format(more), rounds[0]),
        row("each request brings one up, and one goes down for it", rounds[1]),
        row("each request brings one up", rounds[2]),
        row("{:,} sessions expire at once in memory".format(most), in_memory),
        row("{:,} sessions expire at once on disk".format(most), on_disk),
    ]
    add_table(MEANWHILE_HEAD, rows)
    add_table(CROWD_HEAD, [crowd_row(most, [crowd(weir, o, most) for _ in range(few_rounds)])])
    add_table(START_HEAD, starts(weir, few_rounds, most))
    weir.kill()
