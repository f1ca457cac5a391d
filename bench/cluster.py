"""What a cluster of three costs when one of it dies: from kill -9 of a member, or of the coordinator, until all that are
left have installed a view without it. And what its parts cost: links beside plain TLS, the plan of the buckets.

The moments are those that the nodes write in their logs, to the millisecond; all of them have the clock of one machine."""

import datetime
import json
import os
import re
import subprocess
import time

import table
from processes import Failed, free_port, nobody_group

FAILOVER_HEAD = ("who is killed", "rounds", "until the new view, ms", "goal")
LINKS_HEAD = ("frames of", "over", "frames/s", "MB/s", "CPU us/frame, both ends", "x OpenSSL alone")
PLAN_HEAD = ("plan of buckets", "ms", "goal")
CHANGE_HEAD = ("a member is started again, of", "at the coordinator, ms", "at each other node, ms", "goal")
NODES = ("alpha", "beta", "gamma")
WAYS = {"links": "links of weir", "tls": "OpenSSL alone"}
GOALS = {"member": 100, "coordinator": 500}
LONG_S = 60
LINE = re.compile(r"^(\S+Z) .*\bevent=(\S+)(.*)$")
FIELD = re.compile(r' ([a-z_-]+)=("(?:[^"\\]|\\.)*"|\S*)')

CONF = """
node "{name}" {{
  workers = 1
  state-dir = "{dir}/state"
  run-dir = "{dir}/run"
  {user}
}}
listen "unix:{dir}/front.sock" {{ protocol = fastcgi }}
app "kept" {{
  backend "{app}" {{ protocol = fastcgi }}
  session {{ mode = managed }}
}}
cluster "bench" {{
  listen = "{address}"
  peers = {{ {peers} }}
  certificate = "{pki}/{name}.pem"
  key = "{pki}/{name}.key"
  ca = "{pki}/ca.pem"
}}
"""


class Node:
    def __init__(self, bench, name, address):
        self.bench, self.name, self.address = bench, name, address
        self.dir = bench.place.folder("node-" + name)
        self.process, self.conf = None, None

    def configure(self, pki, peers):
        for folder in ("state", "run"):
            self.bench.place.folder(os.path.join("node-" + self.name, folder))
        user = 'user = "nobody"  group = "%s"' % nobody_group() if self.bench.place.root else ""
        text = CONF.format(name=self.name, dir=self.dir, app=self.bench.app, user=user, address=self.address, pki=pki,
                           peers=", ".join('"%s"' % p for p in peers))
        self.conf = self.bench.place.write(self.name + ".conf", text)

    def start(self):
        argv = [self.bench.programs["weir"], "-c", self.conf]
        self.process = self.bench.place.start("node-" + self.name, argv, "unix:%s/front.sock" % self.dir)

    def kill(self):
        """When, on the clock of the logs."""
        at = time.time()
        self.bench.place.kill(self.process)
        return at

    def views(self):
        """(when, epoch, members, coordinator) of each view that it has installed, since ever."""
        found = []
        with open(self.bench.place.path("node-%s.out" % self.name), errors="replace") as f:
            for match in map(LINE.match, f):
                if match and match.group(2) == "view_installed":
                    fields = dict(FIELD.findall(match.group(3)))
                    when = datetime.datetime.strptime(match.group(1), "%Y-%m-%dT%H:%M:%S.%f%z").timestamp()
                    found.append((when, int(fields["epoch"]), int(fields["members"]), fields["coordinator"].strip('"')))
        return found

    def view(self):
        views = self.views()
        return views[-1] if views else (0, 0, 0, "")


def wait_agreed(nodes):
    """Until the newest view of all is the same one, and holds just them. Its coordinator's name."""
    end = time.monotonic() + LONG_S
    while time.monotonic() < end:
        views = [n.view() for n in nodes]
        if len({v[1:] for v in views}) == 1 and views[0][2] == len(nodes):
            return views[0][3]
        time.sleep(0.02)
    raise Failed("no view of %d nodes: %s" % (len(nodes), [n.view() for n in nodes]))


def start_nodes(bench):
    pki = bench.place.path("pki")
    weirctl = os.path.join(os.path.dirname(bench.programs["weir"]), "weirctl")
    for words in (["init", pki, "--cluster", "bench"], *(["issue", pki, name] for name in NODES)):
        subprocess.run([weirctl, "pki", *words], check=True, stdout=subprocess.DEVNULL)
    nodes = [Node(bench, name, "127.0.0.1:%d" % free_port()) for name in NODES]
    for n in nodes:
        n.configure(pki, [other.address for other in nodes if other is not n])
        n.start()
    return nodes


def kill_one(nodes, who):
    coordinator = wait_agreed(nodes)
    victim = next(n for n in nodes if (n.name == coordinator) == (who == "coordinator"))
    rest = [n for n in nodes if n is not victim]
    at = victim.kill()
    wait_agreed(rest)
    took = max(min(v[0] for v in n.views() if v[0] >= at and v[2] == len(rest)) for n in rest) - at
    victim.start()
    wait_agreed(nodes)
    return took * 1e3


def failover(bench, rounds):
    nodes = start_nodes(bench)
    rows = []
    for who, goal in GOALS.items():
        took = [kill_one(nodes, who) for _ in range(rounds)]
        rows.append((who, rounds, table.spread(took), "at most %d at the median" % goal))
    for n in nodes:
        bench.place.kill(n.process)
    return rows


def run_json(argv):
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise Failed("%s: %s%s" % (os.path.basename(argv[0]), done.stdout, done.stderr[-1000:]))
    return [json.loads(line) for line in done.stdout.splitlines()]


def links(bench, mib, rounds):
    """cluster/peer.c and plain TLS in turn, with frames of each size."""
    found = {}
    for line in run_json([bench.programs["links"], "--mib", str(mib), "--rounds", str(rounds)]):
        found.setdefault((line["frame_bytes"], line["way"]), []).append(line)
    return [
        (
            "%d KiB" % (size // 1024),
            WAYS[way],
            table.spread([line["frames_per_s"] for line in lines]),
            table.spread([line["mb_per_s"] for line in lines]),
            table.spread([line["cpu_us_per_frame"] for line in lines], 2),
            table.spread([a["frames_per_s"] / b["frames_per_s"] for a, b in zip(lines, found[size, "tls"])], 2),
        )
        for (size, way), lines in found.items()
    ]


def plans(bench):
    [line] = run_json([bench.programs["buckets"]])
    what = "{nodes:,} nodes, {buckets:,} buckets: ".format(**line)
    told = (("begin", "it begins"), ("die", "one dies"), ("join", "one joins"))
    return [(what + text, "%.2f" % line[key + "_ms"], "under 10") for key, text in told]


def change(bench):
    """What the view change itself takes of the one thread that beats, too, at each node; medians."""
    [line] = run_json([bench.programs["view_change"]])
    what = "{members:,} members, {apps} apps of {buckets:,} buckets".format(**line)
    return [(what, "%.1f + %.1f" % (line["propose_ms"], line["commit_ms"]), "%.1f" % line["install_ms"], "under 10")]


def measure(bench, o, add_table):
    add_table(FAILOVER_HEAD, failover(bench, 2 if o.quick else 20))
    add_table(LINKS_HEAD, links(bench, 16 if o.quick else 256, o.rounds))
    add_table(PLAN_HEAD, plans(bench))
    add_table(CHANGE_HEAD, change(bench))
