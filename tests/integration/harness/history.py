"""What the logs of a cluster's nodes say happened, and what must hold of that whatever happened.

  event=view_installed  epoch= coordinator= digest=    this node goes by that view from now on
  event=view_committed  epoch= digest=                 this node coordinates, and a majority of voters has that view
  event=coordinator_began                              this node has won an election
  event=coordinator_ended                              it does not coordinate any more"""
import re

FIELD = re.compile(r'([a-z_]+)=("(?:[^"\\]|\\x[0-9a-f]{2})*"|\S*)')


class Event:
    def __init__(self, line):
        self.line = line
        self.time = line.split(" ", 1)[0]
        self.fields = {k: v[1:-1] if v.startswith('"') else v for k, v in FIELD.findall(line)}

    @property
    def name(self):
        return self.fields.get("event")

    def __getitem__(self, key):
        return self.fields[key]

    def number(self, key):
        return int(self.fields[key])


def events(text, *names):
    """Those of these names, or all, in their order. A line that is not whole yet is none."""
    found = [Event(line) for line in text.split("\n")[:-1] if " event=" in line]
    return [e for e in found if not names or e.name in names]


def problems(logs):
    """logs: {what a process is called: its log}; a node that was restarted has one for each of its processes. A node is
    called the part before the first blank. All that must not be, a line each."""
    found, coordinators, digests = [], {}, {}
    for process, text in logs.items():
        node, last = process.split(" ")[0], 0
        for e in events(text, "view_installed", "view_committed"):
            epoch = e.number("epoch")
            who = node if e.name == "view_committed" else e["coordinator"]
            coordinators.setdefault(epoch, {}).setdefault(who, "%s: %s" % (process, e.line))
            digests.setdefault(epoch, {}).setdefault(e["digest"], "%s: %s" % (process, e.line))
            if e.name == "view_installed":
                if epoch <= last:
                    found.append("%s installed epoch %d after %d" % (process, epoch, last))
                last = epoch
    for what, by_epoch in (("coordinators", coordinators), ("views", digests)):
        for epoch, all_ in sorted(by_epoch.items()):
            if len(all_) > 1:
                found.append("epoch %d has %d %s:\n  %s" % (epoch, len(all_), what, "\n  ".join(all_.values())))
    return found


def check(logs):
    found = problems(logs)
    if found:
        raise AssertionError("what must never be:\n" + "\n".join(found))
