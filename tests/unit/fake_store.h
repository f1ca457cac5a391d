/* A store below for the tests of the stack. It keeps its sessions over close and open, as a disk does, and does what
 * the test says: fails, is full, or waits inside a call until the test lets it go. It aborts where the stack does not
 * keep to session/store.h. Sessions are known by the number in their id: id_of(). */
#ifndef WEIR_TESTS_UNIT_FAKE_STORE_H
#define WEIR_TESTS_UNIT_FAKE_STORE_H

#include "session/store.h"

#include "base/error.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { FAKE_SLOTS = 1 << 16, FAKE_JOURNAL = 1 << 16, FAKE_WAIT_S = 20, FAKE_ALWAYS = -1 };

enum fake_op { FAKE_OPEN, FAKE_CLOSE, FAKE_GET, FAKE_PUT, FAKE_REMOVE, FAKE_COMMIT, FAKE_EXPIRE, FAKE_SCAN, FAKE_OPS };

struct fake_rule {
	int err;      /* what calls answer */
	int times;    /* so often; FAKE_ALWAYS */
	uint32_t nth; /* and each call whose number can be divided by this; 0: none */
	bool gate;    /* calls wait */
	bool inside;  /* one does */
	bool applies; /* commit: fails, and is done all the same, as one whose fsync() fails may be */
	uint32_t calls;
};

struct fake_undo {
	uint32_t n;
	struct buf *old; /* owned; NULL: there was none */
};

static struct fake {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct fake_rule op[FAKE_OPS];
	struct buf *row[FAKE_SLOTS]; /* owned; encoded; with the batch */
	int8_t row_err[FAKE_SLOTS];  /* what get() says of it */
	uint32_t top;                /* above all that was ever used */
	uint32_t full_at;            /* sessions; put() refuses more */
	uint64_t full_bytes;         /* of one state; put() refuses larger ones */
	uint64_t due_bytes;          /* of changes; a batch that has so many is due; 0: none is */
	uint64_t batch_bytes;        /* that the batch has */
	bool is_open, broken, batch;
	pthread_t user;
	struct fake_undo *undo; /* owned */
	size_t undo_count, undo_places;
	struct store_count now, kept;
	struct store_options options;
	char journal[FAKE_JOURNAL]; /* one line a call that changes or reads one session */
	size_t journal_len;
} fake = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

struct store {
	int unused;
};

static struct store fake_handle;

static inline void fake_want(bool holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "fake store: %s\n", what);
	abort();
}

static inline uint32_t fake_number(const struct sess_id *id)
{
	uint32_t n;

	memcpy(&n, id->bytes, sizeof n);
	fake_want(n < FAKE_SLOTS, "number too large");
	return n;
}

static inline struct sess_id id_of(uint32_t n)
{
	struct sess_id id = {{0}};

	memcpy(id.bytes, &n, sizeof n);
	return id;
}

/* --- what the test says; any thread --- */

static inline void fake_fail(enum fake_op op, int err, int times)
{
	pthread_mutex_lock(&fake.lock);
	fake.op[op].err = err;
	fake.op[op].times = times;
	pthread_mutex_unlock(&fake.lock);
}

/* Each n-th call answers so. */
static inline void fake_fail_each(enum fake_op op, uint32_t nth, int err)
{
	pthread_mutex_lock(&fake.lock);
	fake.op[op].err = err;
	fake.op[op].nth = nth;
	pthread_mutex_unlock(&fake.lock);
}

static inline void fake_work(enum fake_op op)
{
	fake_fail(op, 0, 0);
}

/* What reading the session says; 0: it can be read. */
static inline void fake_damage(uint32_t n, int err)
{
	pthread_mutex_lock(&fake.lock);
	fake.row_err[n] = (int8_t)err;
	pthread_mutex_unlock(&fake.lock);
}

/* put() refuses new sessions from so many on, and states of more bytes; 0: it does not. */
static inline void fake_bound(uint32_t sessions, uint64_t bytes)
{
	pthread_mutex_lock(&fake.lock);
	fake.full_at = sessions;
	fake.full_bytes = bytes;
	pthread_mutex_unlock(&fake.lock);
}

/* Batches are due when they have so many bytes. */
static inline void fake_set_due(uint64_t bytes)
{
	pthread_mutex_lock(&fake.lock);
	fake.due_bytes = bytes;
	pthread_mutex_unlock(&fake.lock);
}

static inline void fake_wait(struct timespec *until)
{
	fake_want(pthread_cond_timedwait(&fake.changed, &fake.lock, until) == 0, "nothing comes");
}

static inline struct timespec fake_until(void)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += FAKE_WAIT_S;
	return until;
}

/* The next call waits inside until fake_go(). */
static inline void fake_stop(enum fake_op op)
{
	pthread_mutex_lock(&fake.lock);
	fake.op[op].gate = true;
	pthread_mutex_unlock(&fake.lock);
}

/* Until a call waits. */
static inline void fake_await(enum fake_op op)
{
	struct timespec until = fake_until();

	pthread_mutex_lock(&fake.lock);
	while (!fake.op[op].inside)
		fake_wait(&until);
	pthread_mutex_unlock(&fake.lock);
}

static inline void fake_go(enum fake_op op)
{
	pthread_mutex_lock(&fake.lock);
	fake.op[op].gate = false;
	pthread_cond_broadcast(&fake.changed);
	pthread_mutex_unlock(&fake.lock);
}

static inline uint32_t fake_calls(enum fake_op op)
{
	pthread_mutex_lock(&fake.lock);
	uint32_t calls = fake.op[op].calls;
	pthread_mutex_unlock(&fake.lock);
	return calls;
}

/* Without what is not committed. */
static inline struct buf *fake_kept_row(uint32_t n)
{
	for (size_t i = 0; i < fake.undo_count; i++) {
		if (fake.undo[i].n == n)
			return fake.undo[i].old;
	}
	return fake.row[n];
}

/* What is there for good, of a session: its state's text, or NULL. Good until the next call. */
static inline const char *fake_state(uint32_t n, struct sess_record *out)
{
	static char text[1 << 18];
	struct sess_record r;
	struct sess_id id = id_of(n);

	pthread_mutex_lock(&fake.lock);
	struct buf *row = fake_kept_row(n);
	if (row) {
		fake_want(record_decode(buf_view(row), &id, &r) == 0, "a record is not one");
		fake_want(r.state.len < sizeof text, "state too large");
		if (r.state.len > 0)
			memcpy(text, r.state.at, r.state.len);
		text[r.state.len] = '\0';
		if (out)
			*out = r;
	}
	pthread_mutex_unlock(&fake.lock);
	return row ? text : NULL;
}

static inline bool fake_has(uint32_t n)
{
	return fake_state(n, NULL) != NULL;
}

static inline uint64_t fake_count(void)
{
	pthread_mutex_lock(&fake.lock);
	uint64_t n = fake.kept.sessions;
	pthread_mutex_unlock(&fake.lock);
	return n;
}

/* How often the line is in the journal. */
static inline unsigned fake_saw(const char *line)
{
	unsigned n = 0;
	char whole[80];

	snprintf(whole, sizeof whole, "%s\n", line);
	pthread_mutex_lock(&fake.lock);
	for (const char *at = fake.journal; (at = strstr(at, whole)); at += strlen(whole))
		n += at == fake.journal || at[-1] == '\n';
	pthread_mutex_unlock(&fake.lock);
	return n;
}

/* How often `what` was done at most between two commits. */
static inline unsigned fake_most_in_a_batch(const char *what)
{
	unsigned n = 0, most = 0;

	pthread_mutex_lock(&fake.lock);
	for (const char *at = fake.journal; *at; at = strchr(at, '\n') + 1) {
		n = strncmp(at, "commit\n", 7) == 0 ? 0 : n + (strncmp(at, what, strlen(what)) == 0);
		most = n > most ? n : most;
	}
	pthread_mutex_unlock(&fake.lock);
	return most;
}

static inline void fake_forget_journal(void)
{
	pthread_mutex_lock(&fake.lock);
	fake.journal_len = 0;
	fake.journal[0] = '\0';
	pthread_mutex_unlock(&fake.lock);
}

/* --- the store --- */

static inline void fake_note(const char *what, const struct sess_id *id)
{
	char line[80];
	int n = id ? snprintf(line, sizeof line, "%s %u\n", what, (unsigned)fake_number(id))
		   : snprintf(line, sizeof line, "%s\n", what);

	if (fake.journal_len + (size_t)n >= sizeof fake.journal)
		fake.journal_len = 0; /* nobody reads so much */
	memcpy(fake.journal + fake.journal_len, line, (size_t)n + 1);
	fake.journal_len += (size_t)n;
}

static inline void fake_free_row(struct buf *row)
{
	if (row)
		buf_fini(row);
	free(row);
}

static inline uint64_t fake_bytes(const struct buf *row)
{
	return row ? buf_len(row) : 0;
}

/* A row's new content; the old one is kept for the undoing. */
static inline void fake_change(uint32_t n, struct buf *row)
{
	if (fake.undo_count == fake.undo_places) {
		fake.undo_places = fake.undo_places * 2 + 64;
		fake.undo = realloc(fake.undo, fake.undo_places * sizeof *fake.undo);
		fake_want(fake.undo != NULL, "out of memory");
	}
	fake.undo[fake.undo_count++] = (struct fake_undo){.n = n, .old = fake.row[n]};
	fake.now.sessions += (uint64_t)(row != NULL) - (uint64_t)(fake.row[n] != NULL);
	fake.now.bytes += fake_bytes(row) - fake_bytes(fake.row[n]);
	fake.row[n] = row;
	fake.top = n < fake.top ? fake.top : n + 1;
	fake.batch_bytes += fake_bytes(row) + fake_bytes(fake.undo[fake.undo_count - 1].old);
	fake.batch = true;
}

static inline void fake_undo_batch(void)
{
	while (fake.undo_count > 0) {
		struct fake_undo u = fake.undo[--fake.undo_count];
		fake_free_row(fake.row[u.n]);
		fake.row[u.n] = u.old;
	}
	fake.now = fake.kept;
	fake.batch_bytes = 0;
	fake.batch = false;
}

static inline void fake_keep_batch(void)
{
	while (fake.undo_count > 0)
		fake_free_row(fake.undo[--fake.undo_count].old);
	fake.kept = fake.now;
	fake.batch_bytes = 0;
	fake.batch = false;
}

/* Begins a call: takes the lock, and waits at the gate. What the call is to answer. */
static inline int fake_enter(enum fake_op op, const char *name, const struct sess_id *id)
{
	struct timespec until = fake_until();

	pthread_mutex_lock(&fake.lock);
	struct fake_rule *rule = &fake.op[op];
	rule->calls++;
	fake_note(name, id);
	fake_want(op == FAKE_OPEN || fake.is_open, "used while it is closed");
	fake_want(op == FAKE_OPEN || pthread_equal(fake.user, pthread_self()), "used by two threads");
	fake_want(op == FAKE_CLOSE || !fake.broken, "used after it had broken");
	while (rule->gate) {
		rule->inside = true;
		pthread_cond_broadcast(&fake.changed);
		fake_wait(&until);
	}
	rule->inside = false;
	if (rule->times == 0 && (rule->nth == 0 || rule->calls % rule->nth != 0))
		return 0;
	rule->times -= rule->times > 0;
	if (rule->err == ERR_BROKEN && op != FAKE_OPEN) {
		if (rule->applies)
			fake_keep_batch();
		fake_undo_batch();
		fake.broken = true;
	}
	return rule->err;
}

static inline int fake_leave(int err)
{
	pthread_mutex_unlock(&fake.lock);
	return err;
}

static inline int fake_open(struct store **out, const struct store_options *o, char *why, size_t why_len)
{
	int err = fake_enter(FAKE_OPEN, "open", NULL);

	fake_want(!fake.is_open, "opened twice");
	if (err) {
		snprintf(why, why_len, "the test says so");
		return fake_leave(err);
	}
	fake.is_open = true;
	fake.user = pthread_self();
	fake.options = *o;
	*out = &fake_handle;
	return fake_leave(0);
}

static inline void fake_close(struct store **s, bool orderly)
{
	(void)fake_enter(FAKE_CLOSE, orderly ? "close" : "drop", NULL);
	fake_want(*s == &fake_handle, "another store is closed");
	fake_undo_batch();
	fake.is_open = fake.broken = false;
	*s = NULL;
	(void)fake_leave(0);
}

static inline void fake_set(struct store *s, const struct store_options *o)
{
	(void)s;
	pthread_mutex_lock(&fake.lock);
	fake_note("set", NULL);
	fake.options = *o;
	pthread_mutex_unlock(&fake.lock);
}

static inline int fake_get(struct store *s, const struct sess_id *id, struct buf *space, struct sess_record *out)
{
	uint32_t n = fake_number(id);
	int err = fake_enter(FAKE_GET, "get", id);

	(void)s;
	buf_clear(space);
	if (!err)
		err = !fake.row[n] ? ERR_GONE : fake.row_err[n];
	if (!err) {
		buf_put(space, buf_view(fake.row[n]));
		err = record_decode(buf_view(space), id, out);
	}
	return fake_leave(err);
}

static inline int fake_put(struct store *s, const struct sess_record *r)
{
	uint32_t n = fake_number(&r->id);
	int err = fake_enter(FAKE_PUT, "put", &r->id);

	(void)s;
	if (!err && fake.full_at && !fake.row[n] && fake.now.sessions >= fake.full_at)
		err = ERR_FULL;
	if (!err && fake.full_bytes && r->state.len > fake.full_bytes)
		err = ERR_FULL;
	if (!err) {
		struct buf *row = calloc(1, sizeof *row);
		fake_want(row != NULL, "out of memory");
		record_encode(r, row);
		fake_change(n, row);
	}
	return fake_leave(err);
}

static inline int fake_remove(struct store *s, const struct sess_id *id)
{
	int err = fake_enter(FAKE_REMOVE, "remove", id);

	(void)s;
	fake.batch = fake.batch || !err;
	if (!err && fake.row[fake_number(id)])
		fake_change(fake_number(id), NULL);
	return fake_leave(err);
}

static inline int fake_commit(struct store *s)
{
	int err = fake_enter(FAKE_COMMIT, "commit", NULL);

	(void)s;
	if (err)
		fake_undo_batch();
	else
		fake_keep_batch();
	return fake_leave(err);
}

static inline bool fake_is_due(void)
{
	return fake.due_bytes > 0 && fake.batch_bytes >= fake.due_bytes;
}

static inline bool fake_due(const struct store *s)
{
	(void)s;
	pthread_mutex_lock(&fake.lock);
	bool due = fake_is_due();
	pthread_mutex_unlock(&fake.lock);
	return due;
}

static inline int fake_expire(struct store *s, uint32_t now_s, uint32_t max,
			      void (*gone)(void *arg, const struct sess_id *id), void *arg, bool *more)
{
	int err = fake_enter(FAKE_EXPIRE, "expire", NULL);
	struct sess_record r;
	uint32_t count = 0;

	(void)s;
	fake.batch = fake.batch || !err;
	for (uint32_t n = 0; !err && n < fake.top && count < max && !fake_is_due(); n++) {
		struct sess_id id = id_of(n);
		if (!fake.row[n] || fake.row_err[n])
			continue;
		fake_want(record_decode(buf_view(fake.row[n]), &id, &r) == 0, "a record is not one");
		if (record_expires_s(&r) > now_s)
			continue;
		fake_change(n, NULL);
		count++;
		gone(arg, &id);
	}
	*more = !err && (count == max || fake_is_due());
	return fake_leave(err);
}

static inline int fake_scan(struct store *s, const struct sess_id *after, store_visit *visit, void *arg)
{
	int err = fake_enter(FAKE_SCAN, "scan", NULL);
	bool more = true;

	(void)s;
	for (uint32_t n = after ? fake_number(after) + 1 : 0; !err && more && n < fake.top; n++) {
		struct sess_record r = {.id = id_of(n)};
		struct sess_id id = r.id;
		if (!fake.row[n])
			continue;
		int bad = fake.row_err[n];
		if (!bad)
			bad = record_decode(buf_view(fake.row[n]), &id, &r);
		more = visit(arg, &r, bad);
	}
	return fake_leave(err);
}

static inline void fake_tell(const struct store *s, struct store_count *out)
{
	(void)s;
	pthread_mutex_lock(&fake.lock);
	*out = fake.kept;
	pthread_mutex_unlock(&fake.lock);
}

static inline int fake_tend(struct store *s)
{
	(void)s;
	pthread_mutex_lock(&fake.lock);
	fake_want(!fake.batch, "tended within a batch");
	pthread_mutex_unlock(&fake.lock);
	return 0;
}

static const struct store_kind fake_kind = {
    .name = "fake",
    .open = fake_open,
    .close = fake_close,
    .set = fake_set,
    .get = fake_get,
    .put = fake_put,
    .remove = fake_remove,
    .due = fake_due,
    .commit = fake_commit,
    .expire = fake_expire,
    .scan = fake_scan,
    .count = fake_tell,
    .tend = fake_tend,
};

/* Empty, and without a rule. */
static inline void fake_reset(void)
{
	fake_want(!fake.is_open, "reset while it is open");
	for (uint32_t n = 0; n < fake.top; n++) {
		fake_free_row(fake.row[n]);
		fake.row[n] = NULL;
	}
	memset(fake.row_err, 0, sizeof fake.row_err);
	fake.top = 0;
	free(fake.undo);
	fake.undo = NULL;
	fake.undo_count = fake.undo_places = 0;
	memset(fake.op, 0, sizeof fake.op);
	fake.full_at = 0;
	fake.full_bytes = fake.due_bytes = fake.batch_bytes = 0;
	fake.now = fake.kept = (struct store_count){0};
	fake.broken = fake.batch = false;
	fake_forget_journal();
}

#endif
