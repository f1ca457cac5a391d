"""What weir holds in memory: for an idle connection of a web server, and for a session."""

import subprocess
import json
import time

from client import read_answer, request
from middle import start_weir
from processes import Failed, connect, open_files, resident_bytes

HEAD = ("what", "how many", "resident", "each", "goal")
ACCEPT_S = 20
STATE_BYTES = 1024


def wait_for_files(pid, count):
    end = time.monotonic() + ACCEPT_S
    while open_files(pid) < count:
        if time.monotonic() > end:
            raise Failed("weir took %d of the connections in %d s" % (open_files(pid), ACCEPT_S))
        time.sleep(0.05)


def row(what, count, took, goal=""):
    return (what, "{:,}".format(count), "%.1f MiB" % (took / 1048576), "%.0f bytes" % (took / count), goal)


def idle_connections(bench, count):
    weir = start_weir(bench, "weir-idle", bench.app, session="mode = none")
    where = bench.place.unix("weir-idle")
    ask = request()
    with connect(where) as first:  # what any first request needs is not counted
        first.sendall(ask)
        read_answer(first)
        before, files = resident_bytes(weir.pid), open_files(weir.pid)
        connections = [connect(where) for _ in range(count)]
        wait_for_files(weir.pid, files + count)
        opened = resident_bytes(weir.pid) - before
        for c in connections:
            c.sendall(ask)
            read_answer(c)
        used = resident_bytes(weir.pid) - before
        for c in connections:
            c.close()
    bench.place.stop(weir)
    return [
        row("idle front connections, never used", count, opened),
        row("idle front connections, each after a request", count, used),
    ]


def sessions(bench, count):
    app = bench.place.start(
        "state-app", [bench.programs["app"], bench.place.unix("state-app"), "--session", str(STATE_BYTES)],
        bench.place.unix("state-app"),
    )
    weir = start_weir(bench, "weir-fill", bench.place.unix("state-app"))
    fill = [bench.programs["fill"], bench.place.unix("weir-fill")]
    subprocess.run(fill + ["100"], stdout=subprocess.DEVNULL, check=False)  # what any first session needs
    before = resident_bytes(weir.pid)
    done = subprocess.run(fill + [str(count)], stdout=subprocess.PIPE, check=False)
    if done.returncode != 0:
        raise Failed("not all sessions were made and kept: %s" % (done.stdout.decode().strip() or "fill failed"))
    took = resident_bytes(weir.pid) - before
    rate = json.loads(done.stdout)["rate"]
    bench.place.kill(weir)  # to end in order would be to move a million sessions to disk
    bench.place.stop(app)
    goal = "%.2f x the payload (goal: at most 1.25)" % (took / (count * STATE_BYTES))
    return [row("sessions of %d bytes, made at %.0f a second" % (STATE_BYTES, rate), count, took, goal)]


def measure(bench, quick):
    return idle_connections(bench, 2000) + sessions(bench, 10000 if quick else 1000000)
