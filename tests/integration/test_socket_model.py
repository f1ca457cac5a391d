"""The same commands, drawn at random, to a real redis-server and to weir: all replies must be the same. Meanwhile weir's
sessions move to disk and back. WEIR_TEST_SEED=N repeats a run."""
import os
import random

from harness import adopted, admin, resp
from harness.case import Case

KEY = adopted.PREFIX
COMMANDS = int(os.environ.get("WEIR_TEST_COMMANDS", "4000"))
NUMBERS = ("50", "100", "1000", "100000", "0", "-1", "-100", "x", "", "1.5", " 5", "+5", "010", "-05", "00",
           "99999999999999999999", "9223372036854775",
           "9223372036854775807")


LONGEST_S = (1 << 32) - 2
"""Of weir's times (doc/session-socket.md)."""


class Draw:
    """Commands by chance. No time that is drawn ends during the test, unless it is over already."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def key(self):
        return KEY + "k%d" % self.random.randrange(8)

    def keys(self):
        return [self.key() for _ in range(self.random.randint(1, 5))]

    def value(self):
        return self.random.choice(("", "x", "12", "\r\n", "\0\xff", "v" * 200, str(self.random.random())))

    def number(self):
        return self.random.choice(NUMBERS if self.random.random() < 0.3 else NUMBERS[:3])

    def seconds(self):
        return self.number()

    def ms(self):
        n = self.number()
        return n + "000" if n.isdigit() and 0 < int(n) < 10 ** 6 else n

    def case(self, word):
        return self.random.choice((word, word.lower(), word.capitalize()))

    def set_options(self):
        options = []
        for words in (("EX", self.seconds()), ("PX", self.ms()), ("KEEPTTL",), ("NX",), ("XX",), ("GET",)):
            if self.random.random() < 0.2:
                options.append(words)
        self.random.shuffle(options)
        return [self.case(w) if i == 0 else w for words in options for i, w in enumerate(words)]

    def getex_options(self):
        return self.random.choice(([], ["EX", "60"], ["PX", "70000"], ["PERSIST"], ["EX"], ["EX", "50", "PERSIST"],
                                   ["EX", self.number() + "0"],
                                   ["NX"]))

    def command(self):
        draw = self.random.choice((
            lambda: ["GET", self.key()], lambda: ["SET", self.key(), self.value(), *self.set_options()],
            lambda: ["SET", self.key(), self.value(), *self.set_options()],
            lambda: ["SETEX", self.key(), self.seconds(), self.value()],
            lambda: ["PSETEX", self.key(), self.ms(), self.value()], lambda: ["SETNX", self.key(), self.value()],
            lambda: ["GETEX", self.key(), *self.getex_options()], lambda: ["EXISTS", *self.keys()],
            lambda: ["TTL", self.key()], lambda: ["PTTL", self.key()], lambda: ["EXPIRE", self.key(), self.seconds()],
            lambda: ["PEXPIRE", self.key(), self.ms()], lambda: ["PERSIST", self.key()],
            lambda: ["DEL", *self.keys()], lambda: ["UNLINK", self.key()], lambda: ["MGET", *self.keys()],
            lambda: ["STRLEN", self.key()], lambda: ["GETDEL", self.key()], lambda: ["DBSIZE"],
            lambda: ["SCAN", "0", "COUNT", "1000"], lambda: ["SCAN", "0", "MATCH", "*k[0-3]", "COUNT", "1000"],
            lambda: ["MULTI"], lambda: ["EXEC"], lambda: ["EXEC"], lambda: ["DISCARD"], lambda: ["PING"],
            lambda: ["ECHO", self.value()], lambda: ["HELLO", self.random.choice("23")]))
        words = draw()
        if self.random.random() < 0.02:
            words = words[:-1] if len(words) > 1 else words + ["more"]
        return [self.case(words[0]), *words[1:]]


def is_scan(reply):
    return len(reply) == 2 and reply[0] == b"0" and isinstance(reply[1], list)


def alike(theirs, mine):
    """Whether two replies are the same as far as the clock allows. Where several things are wrong with a command either
    may be told of."""
    if isinstance(theirs, resp.Error) or isinstance(mine, resp.Error):
        return type(theirs) is type(mine) and theirs.code == mine.code
    if isinstance(theirs, list) and isinstance(mine, list):
        if theirs[:1] == [b"server"] == mine[:1]:  # HELLO 2
            return theirs[5] == mine[5]
        if is_scan(theirs) and is_scan(mine):
            return sorted(theirs[1]) == sorted(mine[1])
        return len(theirs) == len(mine) and all(alike(a, b) for a, b in zip(theirs, mine))
    if isinstance(theirs, dict) and isinstance(mine, dict):
        return theirs["proto"] == mine["proto"]
    if isinstance(theirs, int) and isinstance(mine, int) and theirs > 40 and mine > 40:
        if theirs > 10 ** 12:  # longer than anybody lives
            return 0 <= LONGEST_S - mine <= 60 or 0 <= LONGEST_S * 1000 - mine <= 60000
        return abs(theirs - mine) <= (3000 if theirs > 40000 else 3)  # a time that is left; whole seconds with weir
    return type(theirs) is type(mine) and theirs == mine


class TestModel(Case):
    def test_replies_are_the_same(self):
        seed = int(os.environ.get("WEIR_TEST_SEED") or random.randrange(1 << 32))
        draw = Draw(seed)
        redis = adopted.Redis(self.scope, self.scope.unix("redis"))
        weir = adopted.Weir(self.scope, self.scope.unix("kv"), tail="admin { open = always }\n")
        admin.wait_open(weir.gateway)
        with redis.client() as theirs, weir.client() as mine:
            done = []
            for n in range(COMMANDS):
                words = draw.command()
                replies = theirs.ask(*words), mine.ask(*words)
                done.append(words)
                self.assertTrue(alike(*replies), "WEIR_TEST_SEED=%d, command %d: %r; Redis: %r, weir: %r; before: %r" %
                                (seed, n, words, *replies, done[-12:-1]))
                if n % 100 == 99:
                    self.demote_some(weir, draw)

    def demote_some(self, weir, draw):
        for session in admin.ask(weir.gateway, "sessions --json").json["sessions"]:
            if draw.random.random() < 0.5:
                admin.ask(weir.gateway, "session demote " + session["session"])
