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


def problems(logs, members=()):
    """logs: {what a process is called: its log}; a node that was restarted has one for each of its processes, in their
    order. A node is called the part before the first blank. members: the nodes that were seen to be some. All that must
    not be, a line each."""
    found, coordinators, digests, last = [], {}, {}, {}
    for process, text in logs.items():
        node, began = process.split(" ")[0], False
        for e in events(text, "view_installed", "view_committed"):
            epoch = e.number("epoch")
            who = node if e.name == "view_committed" else e["coordinator"]
            coordinators.setdefault(epoch, {}).setdefault(who, "%s: %s" % (process, e.line))
            digests.setdefault(epoch, {}).setdefault(e["digest"], "%s: %s" % (process, e.line))
            if e.name == "view_installed":
                # Who is started again begins with the view that it has stored.
                if epoch < last.get(node, 0) + began:
                    found.append("%s installed epoch %d after %d" % (process, epoch, last[node]))
                last[node], began = epoch, True
    for what, by_epoch in (("coordinators", coordinators), ("views", digests)):
        for epoch, all_ in sorted(by_epoch.items()):
            if len(all_) > 1:
                found.append("epoch %d has %d %s:\n  %s" % (epoch, len(all_), what, "\n  ".join(all_.values())))
    # Or an event has another name now, and this here finds nothing, whatever happens.
    found += ["%s was a member, and its log has no view_installed" % n for n in sorted(members) if n not in last]
    committed = any(events(text, "view_committed") for text in logs.values())
    if members and not committed:
        found.append("there were views, and no log has a view_committed")
    return found


def check(logs, members=()):
    found = problems(logs, members)
    if found:
        raise AssertionError("what must never be:\n" + "\n".join(found))
