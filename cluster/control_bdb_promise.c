/* The file of what this node has promised: it must not promise two nodes the same term, nor help to rule who knows less
 * than it has said to have stored. It is apart from the database, so that it outlives what damages that one. */
#include "cluster/control_bdb_parts.h"

#include "base/error.h"
#include "base/folder.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

enum { PROMISE_MODE = 0600 };

static void tell_damaged(const struct control *c)
{
	log_event(LOG_WARN, "control_damaged", LOG_V("folder", view_str(c->folder)), LOG_S("file", "promise"),
		  LOG_S("reason", "is not what weir has written"));
}

int bdb_promise_open(struct control *c, char why[BDB_WHY])
{
	uint8_t bytes[CONTROL_PROMISE_BYTES + 1];
	char path[PATH_MAX];
	ssize_t n = -1;

	c->promise_fd = -1;
	if (folder_path(c->folder, "promise", path))
		c->promise_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, PROMISE_MODE);
	if (c->promise_fd >= 0)
		n = pread(c->promise_fd, bytes, sizeof(bytes), 0);
	if (n < 0) {
		snprintf(why, BDB_WHY, "%.100s: promise: %s", c->folder, strerror(errno));
		return ERR_BROKEN;
	}
	if (control_promise_decode(view_of(bytes, (size_t)n), &c->promise) == 0)
		return 0;
	c->is_new = n == 0; /* and stays so if the start fails: nothing is written yet */
	if (!c->is_new)
		tell_damaged(c);
	c->promise = (struct control_promise){.stored = {BDB_UNKNOWN_TERM, BDB_UNKNOWN_PROMISE}};
	return 0;
}

void bdb_promise_close(struct control *c)
{
	if (c->promise_fd >= 0)
		close(c->promise_fd);
	c->promise_fd = -1;
}

bool bdb_promise_save(struct control *c, bool durable)
{
	uint8_t bytes[CONTROL_PROMISE_BYTES];

	control_promise_encode(&c->promise, bytes);
	if (pwrite(c->promise_fd, bytes, sizeof(bytes), 0) == (ssize_t)sizeof(bytes) &&
	    (!durable || fdatasync(c->promise_fd) == 0))
		return true;
	log_event(LOG_ERROR, "control_promise", LOG_V("folder", view_str(c->folder)), LOG_S("reason", strerror(errno)));
	return false;
}

/* Who is the only voter would wait for ever for others that know what it has forgotten. */
bool bdb_promise_mend(struct control *c)
{
	bool alone = c->is_alone && c->peers[0].voter && bdb_majority(c) == 1;
	bool nothing = c->rank.number == 0, unknown = bdb_promise_is_unknown(c);
	bool harmless = alone ? nothing || unknown : nothing && c->is_new;

	if (!harmless && !unknown)
		return true;
	if (harmless)
		c->promise.stored = c->rank;
	if (c->promise.term < c->rank.term)
		c->promise.term = c->rank.term;
	return bdb_promise_save(c, true) && ftruncate(c->promise_fd, CONTROL_PROMISE_BYTES) == 0 &&
	       folder_sync(c->folder) == 0;
}
