"""What the logs of a cluster's nodes say happened, and what must hold of that whatever happened.

  event=view_installed  epoch= coordinator= digest=    this node goes by that view from now on
  event=view_committed  epoch= digest=                 this node coordinates, and a majority of voters has that view
  event=coordinator_began  after_epoch=                this node has won an election
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


def problems(logs, strangers=(), seen=()):
    """logs: {what a process is called: its log}, those of a node in the order in which they ran; a node that was restarted
    has one for each of its processes. A node is called the part before the first blank. All that must not be, a line each.

    Logs that say nothing prove nothing. So each node has installed a view, except `strangers`, which are never let in; and
    `seen`, {node: (epoch, coordinator)...} of what was read elsewhere, stands in the logs as well."""
    return [*_rising(logs), *_one_each(logs), *_reigns(logs), *_interrupted(logs), *_silent(logs, strangers), *_unsaid(logs, dict(seen))]


def _node(process):
    return process.split(" ")[0]


def _rising(logs):
    """In one process each view is a later one. Whoever was started anew may first take the one that it had."""
    last = {}
    for process, text in logs.items():
        node, least = _node(process), last.get(_node(process), 0)
        for e in events(text, "view_installed"):
            epoch = e.number("epoch")
            if epoch < least:
                yield "%s installed epoch %d after %d" % (process, epoch, last[node])
            last[node], least = epoch, epoch + 1


def _one_each(logs):
    """Each epoch has one coordinator and one view."""
    found = {"coordinators": {}, "views": {}}
    for process, text in logs.items():
        for e in events(text, "view_installed", "view_committed"):
            who = _node(process) if e.name == "view_committed" else e["coordinator"]
            for what, value in (("coordinators", who), ("views", e["digest"])):
                by_value = found[what].setdefault(e.number("epoch"), {})
                by_value.setdefault(value, "%s: %s" % (process, e.line))
    for what, by_epoch in found.items():
        for epoch, all_ in sorted(by_epoch.items()):
            if len(all_) > 1:
                yield "epoch %d has %d %s:\n  %s" % (epoch, len(all_), what, "\n  ".join(all_.values()))


def _committed(logs):
    """(process, the epoch after which it began to coordinate, or None, event) for each view that was committed."""
    for process, text in logs.items():
        after = None
        for e in events(text, "coordinator_began", "coordinator_ended", "view_committed"):
            if e.name == "coordinator_began":
                after = e.number("after_epoch")
            elif e.name == "coordinator_ended":
                after = None
            else:
                yield process, after, e


def _reigns(logs):
    """Views are committed by whoever coordinates, between the beginning of that and its end, and are later than all that
    it had seen when it began."""
    for process, after, e in _committed(logs):
        if after is None:
            yield "%s committed epoch %d and does not coordinate" % (process, e.number("epoch"))
        elif e.number("epoch") <= after:
            yield "%s committed epoch %d and began after %d" % (process, e.number("epoch"), after)


def _interrupted(logs):
    """What was committed elsewhere ends a reign: whoever commits a later view has begun after it."""
    committed = sorted(((e.number("epoch"), process, after) for process, after, e in _committed(logs)), key=lambda c: c[:2])
    for epoch, process, after in committed:
        between = [(e, p) for e, p, _ in committed if p != process and after is not None and after < e < epoch]
        if between:
            yield "%s committed epoch %d and began after %d, and %s committed %d" % (process, epoch, after,
                                                                                   *reversed(between[-1]))


def _silent(logs, strangers):
    said = {_node(process) for process, text in logs.items() if events(text, "view_installed")}
    for node in dict.fromkeys(map(_node, logs)):
        if node not in said and node not in strangers:
            yield "%s has installed no view" % node
    if said and not any(events(text, "view_committed") for text in logs.values()):
        yield "nobody has committed a view"


def _unsaid(logs, seen):
    said = {}
    for process, text in logs.items():
        installed = said.setdefault(_node(process), set())
        installed.update((e.number("epoch"), e["coordinator"]) for e in events(text, "view_installed"))
    for node, views in seen.items():
        for epoch, coordinator in sorted(set(views) - said.get(node, set())):
            yield "%s went by epoch %d of %s, and its log says nothing of it" % (node, epoch, coordinator)


def check(logs, strangers=(), seen=()):
    found = problems(logs, strangers, seen)
    if found:
        raise AssertionError("what must never be:\n" + "\n".join(found))
