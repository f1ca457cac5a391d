"""Many connections from one host to one port that say nothing, and are held: whoever is closed by the other side stays
half open at this one, and is replaced little by little, so that places that become free are taken at once.

A process of its own, for its descriptors; run as a program it is that process."""
import os
import resource
import select
import socket
import sys
import time

from . import process, wait

BURST, PAUSE = 50, 0.01


class Crowd:
    def __init__(self, scope, host, to, port, count):
        package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        source = host.address if host.space is None else "0.0.0.0"
        argv = [sys.executable, "-m", "harness.crowd", source, to.address, str(port), str(count)]
        self.process = process.Process("crowd", host.argv(argv), scope.fresh("crowd.log"),
                                       env={"PYTHONPATH": package, "PYTHONDONTWRITEBYTECODE": "1"})
        scope.at_end(self.stop)
        self._stopped = False

    def wait_there(self, bound=wait.BOUND):
        """Until all have begun; how many there are. They go on until `stop`."""
        def there():
            if self.process.poll() is not None:
                raise AssertionError("the crowd has gone: " + self.process.log())
            return [line for line in self.process.log().splitlines() if line.startswith("there ")]
        return int(wait.until(there, lambda: "the crowd: " + self.process.log(), bound)[0].split()[1])

    def stop(self):
        if not self._stopped:
            self._stopped = True
            self.process.stop()


class _Held:
    def __init__(self, source, target):
        self.source, self.target = source, target
        self.all, self.ended, self.epoll = {}, [], select.epoll()

    def begin(self):
        s = socket.socket()
        s.setblocking(False)
        if self.source != "0.0.0.0":
            s.bind((self.source, 0))
        s.connect_ex(self.target)
        self.all[s.fileno()] = s
        self.epoll.register(s.fileno(), select.EPOLLRDHUP | select.EPOLLONESHOT)

    def look(self, seconds):
        self.ended += [fd for fd, _ in self.epoll.poll(seconds)]

    def replace(self, count):
        gone, self.ended = self.ended[:count], self.ended[count:]
        for fd in gone:
            self.all.pop(fd).close()
            self.begin()


def main(source, address, port, count):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    held = _Held(source, (address, int(port)))
    for begun in range(min(int(count), hard - 100)):
        held.begin()
        if begun % BURST == 0:
            held.look(PAUSE / 2)
    print("there", len(held.all), flush=True)
    while True:
        time.sleep(PAUSE)
        held.look(0)
        held.replace(BURST // 10)


if __name__ == "__main__":
    main(*sys.argv[1:])
