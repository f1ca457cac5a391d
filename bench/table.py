"""Tables, for the terminal and as markdown; and what a figure over several rounds looks like."""

import statistics


def spread(values, digits=0):
    """The median, and the least and the most where there were several rounds."""
    if not values:
        return "-"
    text = "%.*f" % (digits, statistics.median(values))
    if len(values) > 1:
        text += " (%.*f-%.*f)" % (digits, min(values), digits, max(values))
    return text


def plain(head, rows):
    widths = [max(len(str(r[i])) for r in [head] + rows) for i in range(len(head))]
    lines = ["  ".join(str(c).ljust(w) for c, w in zip(r, widths)).rstrip() for r in [head] + rows]
    lines.insert(1, "  ".join("-" * w for w in widths))
    return "\n".join(lines)


def markdown(head, rows):
    lines = ["| " + " | ".join(str(c) for c in r) + " |" for r in [head] + rows]
    lines.insert(1, "|" + " --- |" * len(head))
    return "\n".join(lines)
