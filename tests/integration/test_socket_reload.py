"""The session socket and HUP: what is under way, and what becomes of connections whose app has left."""
import contextlib

from harness import adopted, admin, reload, resp, stall
from harness.case import Case

OLD, NEW = "old:", "new:"


class Reload(Case):
    def start(self, session="", **more):
        site = adopted.Weir(self.scope, self.scope.unix("kv"), key=OLD, session=session, gateway=reload.Reloading,
                            tail="admin { open = always }\n", **more)
        admin.wait_open(site.gateway)
        return site

    def client(self, site):
        client = site.client()
        self.addCleanup(client.close)
        return client

    def change(self, site, before, after):
        (app,) = site.gateway.parts["apps"]
        self.assertIn(before, app)
        site.gateway.reload(apps=[app.replace(before, after)])

    def begin(self, site, client, *words):
        """Asks, and does not wait for the answer. Then weir has read it: with one worker."""
        client.say(*words)
        for _ in range(2):
            site.ask("PING")


class TestUnderWay(Reload):
    def test_a_parked_lock(self):
        """It ends under the prefix under which it was asked for; what stands behind it, under the new one."""
        site = self.start(workers=1)
        holder, waiting = self.client(site), self.client(site)
        self.assertEqual(holder.ask("SET", OLD + "a_LOCK", "1", "NX", "PX", 60000), "OK")
        waiting.say("SET", OLD + "a_LOCK", "2", "NX", "PX", 60000)
        waiting.say("GET", OLD + "a_LOCK")
        self.begin(site, waiting, "SET", NEW + "a", "behind")
        self.change(site, OLD, NEW)
        self.assertTrue(waiting.silent())
        self.assertIsInstance(holder.ask("GET", OLD + "a_LOCK"), resp.Error)
        holder.close()
        taken, old, new = waiting.replies(3)
        self.assertEqual((taken, new), ("OK", "OK"))
        self.assertRegex(old.text, "the key is not under the prefix")
        self.assertEqual(site.ask("GET", NEW + "a"), b"behind")
        site.gateway.wait_ended(1)

    def test_a_transaction(self):
        """EXEC too, with all that it has not done yet."""
        site = self.start(workers=1)
        holder, waiting = self.client(site), self.client(site)
        self.assertEqual(holder.ask("SET", OLD + "a_LOCK", "1", "NX", "PX", 60000), "OK")
        for words in (("MULTI",), ("SET", OLD + "a_LOCK", "2", "NX", "PX", 60000), ("GET", OLD + "a_LOCK")):
            waiting.say(*words)
        self.begin(site, waiting, "EXEC")
        self.assertEqual(waiting.replies(3), ["OK", "QUEUED", "QUEUED"])
        self.change(site, OLD, NEW)
        holder.close()
        self.assertEqual(waiting.reply(), ["OK", b"2"])
        self.assertIsInstance(waiting.ask("GET", OLD + "a"), resp.Error)
        site.gateway.wait_ended(1)

    def test_a_transaction_whose_replies_are_not_read(self):
        """It stands still in the middle, because there are too many of them."""
        site = self.start("max-size = 1M", workers=1)
        client = self.client(site)
        client.ask("SET", OLD + "a", "x" * 100000)
        client.ask("MULTI")
        for _ in range(50):
            client.ask("GET", OLD + "a")
        self.begin(site, client, "EXEC")
        self.change(site, OLD, NEW)
        self.assertEqual(client.reply(), [b"x" * 100000] * 50)
        self.assertIsInstance(client.ask("GET", OLD + "a"), resp.Error)
        site.gateway.wait_ended(1)

    def test_max_size(self):
        """A value that was let in while the store stood still is written, though a new one of that size is not."""
        site = self.start("max-size = 1M", workers=1)
        client = self.client(site)
        with stall.stalled(site.gateway.pid, "weir-store"):
            self.begin(site, client, "SET", OLD + "a", "x" * 5000, "EX", 100)
            self.assertTrue(client.silent())
            self.change(site, "max-size = 1M", "max-size = 1000")
        self.assertEqual(client.reply(), "OK")
        self.assertIsInstance(client.ask("SET", OLD + "a", "x" * 5000, "EX", 100), resp.Error)
        self.assertEqual(len(client.ask("GET", OLD + "a")), 5000)


OTHER = 'app "other" {\n  match = { "path:/other" }\n  %s\n}\n' % adopted.NOBODY


class TestGone(Reload):
    """The app is not in the new configuration."""

    def leave(self, site):
        site.gateway.reload(apps=[OTHER.replace('  match = { "path:/other" }\n', "")])

    def test_connections_are_closed_in_order(self):
        site = self.start(workers=1)
        idle, holder, waiting, late = (self.client(site) for _ in range(4))
        holder.ask("SET", OLD + "a_LOCK", "1", "NX", "PX", 60000)
        self.begin(site, waiting, "SET", OLD + "a_LOCK", "2", "NX", "PX", 60000)
        late.send(resp.command("PING")[:-1])
        self.leave(site)
        self.assertIn(waiting.reply(), (None, "OK"))  # OK: its holder was closed first
        for client in (idle, holder, waiting, late):
            self.assertTrue(client.closed())
        site.gateway.wait_ended(1)

    @contextlib.contextmanager
    def one_that_waits(self):
        """For the store, inside of it; then it is answered, and closed."""
        site = self.start(workers=1)
        client = self.client(site)
        with stall.stalled(site.gateway.pid, "weir-store"):
            self.begin(site, client, "SET", OLD + "a", "x", "EX", 100)
            self.assertTrue(client.silent())
            yield site
        self.assertEqual(client.reply(), "OK")
        self.assertTrue(client.closed())
        site.gateway.wait_ended(1)

    def test_one_that_waits_for_the_store(self):
        """What it waits for comes when the app has left."""
        with self.one_that_waits() as site:
            self.leave(site)
            site.gateway.reload()
            site.gateway.wait_ended(2)
            self.assertEqual(site.gateway.lines(r"event=generation_ended generation=1\b"), [])

    def test_one_that_waits_while_its_app_changes_and_leaves(self):
        """It has not gone over to what was in between, and is closed like the others."""
        with self.one_that_waits() as site:
            self.change(site, OLD, NEW)
            self.leave(site)

    def test_one_that_has_gone_while_the_store_stands_still(self):
        """The connection is closed and the app has left, and a mail is still on its way: it keeps the generation."""
        site = self.start(workers=1)
        client = self.client(site)
        with stall.stalled(site.gateway.pid, "weir-store"):
            client.say("PING")
            self.begin(site, client, "SCAN", "0")
            client.close()  # with a reply that it has not read, which is a reset
            site.ask("PING")
            self.leave(site)
            site.gateway.reload()
            site.gateway.wait_ended(2)  # so the first would have, if it could
            self.assertEqual(site.gateway.lines(r"event=generation_ended generation=1\b"), [])
        site.gateway.wait_ended(1)
