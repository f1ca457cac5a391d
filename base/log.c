/* The log. Formats a line on the stack, outside the lock; the lock guards the target and the storm table and is held
 * over the one write(2). Allocates nothing, so that it also works when memory is out. */
#include "base/log.h"

#include "base/clock.h"
#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

enum {
	STORM_SLOTS = 256, /* more than weir has events; when full, the rest shares one slot */
	STORM_WINDOW_MS = 1000
};

_Static_assert((int)LOG_LINE_MAX <= (int)PIPE_BUF, "a line is one write to a pipe");

/* Lines of one event in the current window. */
struct storm {
	const char *event;    /* borrowed: events are string literals; NULL: free */
	struct instant since; /* start of the window */
	uint64_t left_out;
	uint32_t written;
	enum log_level level;
};

static const char *const level_names[] = {"error", "warn", "info", "debug"};

static _Atomic int current_level = LOG_INFO;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int target = STDERR_FILENO;       /* guarded by lock */
static char target_path[PATH_MAX];       /* guarded by lock; "": stderr */
static struct storm storms[STORM_SLOTS]; /* guarded by lock */
static uint64_t lines_lost;              /* guarded by lock: since the last one that was written */
static struct storm storm_rest;          /* guarded by lock */
static struct instant storms_looked_at;  /* guarded by lock */

enum log_level log_level_now(void)
{
	return (enum log_level)atomic_load_explicit(&current_level, memory_order_relaxed);
}

void log_set_level(enum log_level level)
{
	atomic_store_explicit(&current_level, (int)level, memory_order_relaxed);
}

bool log_wants(enum log_level level)
{
	return level <= log_level_now();
}

const char *log_level_text(enum log_level level)
{
	return level_names[level];
}

bool log_level_parse(const char *text, enum log_level *out)
{
	for (size_t i = 0; i < sizeof level_names / sizeof *level_names; i++) {
		if (strcmp(text, level_names[i]) == 0) {
			*out = (enum log_level)i;
			return true;
		}
	}
	return false;
}

/* --- one line -------------------------------------------------------------------------------------------------- */

struct line {
	char at[LOG_LINE_MAX];
	size_t len;
};

/* Kept free for the closing quote of a value that had to be cut, and for the newline. */
enum { LINE_RESERVE = 2 };

static bool line_put(struct line *l, const void *bytes, size_t n)
{
	if (n > sizeof l->at - LINE_RESERVE - l->len)
		return false;
	memcpy(l->at + l->len, bytes, n);
	l->len += n;
	return true;
}

static bool line_put_str(struct line *l, const char *s)
{
	return line_put(l, s, strlen(s));
}

static bool line_put_number(struct line *l, int64_t number)
{
	char digits[20];
	size_t at = sizeof digits;
	uint64_t n = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;

	do {
		digits[--at] = (char)('0' + n % 10);
		n /= 10;
	} while (n);
	if (number < 0)
		digits[--at] = '-';
	return line_put(l, digits + at, sizeof digits - at);
}

static bool line_put_digits(struct line *l, int64_t number, size_t width)
{
	char digits[20];

	for (size_t i = width; i > 0; i--) {
		digits[i - 1] = (char)('0' + number % 10);
		number /= 10;
	}
	return line_put(l, digits, width);
}

/* Year, month and day of a day counted from 1970-01-01. By hand, because gmtime_r() may read the time zone files.
 * The year starts in March, so that the leap day is its last day. */
static void line_put_date(struct line *l, int64_t days)
{
	int64_t shifted = days + 719468; /* from 0000-03-01 */
	int64_t era = shifted / 146097;  /* 400 years */
	int64_t day = shifted % 146097;
	int64_t year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
	int64_t day_of_year = day - (365 * year + year / 4 - year / 100);
	int64_t month = (5 * day_of_year + 2) / 153; /* 0: March */

	line_put_digits(l, year + era * 400 + (month >= 10), 4);
	line_put_str(l, "-");
	line_put_digits(l, month < 10 ? month + 3 : month - 9, 2);
	line_put_str(l, "-");
	line_put_digits(l, day_of_year - (153 * month + 2) / 5 + 1, 2);
}

static void line_put_time(struct line *l)
{
	struct timespec now = {0};

	clock_gettime(CLOCK_REALTIME, &now);
	int64_t s = now.tv_sec > 0 ? now.tv_sec : 0;
	line_put_date(l, s / 86400);
	line_put_str(l, "T");
	line_put_digits(l, s / 3600 % 24, 2);
	line_put_str(l, ":");
	line_put_digits(l, s / 60 % 60, 2);
	line_put_str(l, ":");
	line_put_digits(l, s % 60, 2);
	line_put_str(l, ".");
	line_put_digits(l, now.tv_nsec / 1000000, 3);
	line_put_str(l, "Z");
}

static bool needs_quotes(struct view v)
{
	if (v.len == 0)
		return true;
	for (size_t i = 0; i < v.len; i++) {
		if (v.at[i] == ' ' || v.at[i] == '"' || v.at[i] == '=')
			return true;
	}
	return false;
}

static bool line_put_escaped(struct line *l, uint8_t byte)
{
	static const char hex[] = "0123456789abcdef";

	if (byte >= 0x20 && byte < 0x7f && byte != '"' && byte != '\\')
		return line_put(l, &byte, 1);
	return line_put(l, (char[]){'\\', 'x', hex[byte >> 4], hex[byte & 15]}, 4);
}

static bool line_put_value(struct line *l, struct view v)
{
	bool fits = true;

	v = view_take(&v, LOG_VALUE_MAX);
	bool quotes = needs_quotes(v);
	if (quotes && !line_put_str(l, "\""))
		return false;
	for (size_t i = 0; i < v.len && fits; i++)
		fits = line_put_escaped(l, v.at[i]);
	if (quotes)
		l->at[l->len++] = '"'; /* fits in the reserve */
	return fits && l->len <= sizeof l->at - LINE_RESERVE;
}

static bool line_put_field(struct line *l, const struct log_field *f)
{
	/* A key without room for any value is not begun. */
	if (strlen(f->key) + 3 > sizeof l->at - LINE_RESERVE - l->len)
		return false;
	line_put_str(l, " ");
	line_put_str(l, f->key);
	line_put_str(l, "=");
	switch (f->kind) {
	case LOG_FIELD_INT:
		return line_put_number(l, f->number);
	case LOG_FIELD_STR:
		return line_put_value(l, view_str(f->str ? f->str : ""));
	case LOG_FIELD_VIEW:
		return line_put_value(l, f->view);
	}
	return true;
}

static void line_format(struct line *l, enum log_level level, const char *event, const struct log_field *fields,
			size_t count)
{
	l->len = 0;
	line_put_time(l);
	line_put_str(l, " level=");
	line_put_str(l, level_names[level]);
	line_put_str(l, " event=");
	line_put_value(l, view_str(event));
	for (size_t i = 0; i < count; i++) {
		if (!line_put_field(l, &fields[i]))
			break;
	}
	l->at[l->len++] = '\n';
}

/* Whether a line can be written without waiting. A pipe that is writable takes at least PIPE_BUF bytes, a line at most.
 */
static bool target_ready(void)
{
	struct pollfd p = {.fd = target, .events = POLLOUT};

	return poll(&p, 1, 0) != 0;
}

/* Under the lock. Whoever does not read the log must not stop the gateway: what cannot be written at once is lost, and
 * the next line that can be says how much that was. */
static void line_write(const struct line *l)
{
	size_t done = 0;

	if (!target_ready()) {
		lines_lost++;
		return;
	}

	while (done < l->len) {
		ssize_t n = write(target, l->at + done, l->len - done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		done += (size_t)n;
	}
}

/* --- storms ---------------------------------------------------------------------------------------------------- */

static struct storm *storm_find(const char *event)
{
	uint32_t hash = 2166136261u; /* FNV-1a */

	for (const char *c = event; *c; c++)
		hash = (hash ^ (uint8_t)*c) * 16777619u;
	for (size_t i = 0; i < STORM_SLOTS; i++) {
		struct storm *s = &storms[(hash + i) % STORM_SLOTS];
		if (!s->event)
			s->event = event;
		if (strcmp(s->event, event) == 0)
			return s;
	}
	storm_rest.event = "other";
	return &storm_rest;
}

static void storm_end(struct storm *s)
{
	struct line l;

	if (s->left_out > 0) {
		struct log_field fields[] = {LOG_S("of", s->event), LOG_I("count", s->left_out)};
		line_format(&l, s->level, "log_left_out", fields, 2);
		line_write(&l);
	}
	s->left_out = 0;
	s->written = 0;
}

static void storms_end_before(struct instant now, uint64_t age_ms)
{
	for (size_t i = 0; i <= STORM_SLOTS; i++) {
		struct storm *s = i < STORM_SLOTS ? &storms[i] : &storm_rest;
		if (s->event && instant_since_ms(now, s->since) >= age_ms)
			storm_end(s);
	}
	storms_looked_at = now;
}

/* Whether this line may be written. Any line ends the storms of other events that are over. */
static bool storm_allows(enum log_level level, const char *event, struct instant now)
{
	if (instant_since_ms(now, storms_looked_at) >= STORM_WINDOW_MS)
		storms_end_before(now, STORM_WINDOW_MS);
	struct storm *s = storm_find(event);
	if (instant_since_ms(now, s->since) >= STORM_WINDOW_MS) {
		storm_end(s);
		s->since = now;
	}
	s->level = level;
	if (s->written >= LOG_BURST) {
		s->left_out++;
		return false;
	}
	s->written++;
	return true;
}

/* Under the lock. */
static void write_lost(void)
{
	struct line l;
	struct log_field lost = LOG_I("lines", lines_lost);

	lines_lost = 0;
	line_format(&l, LOG_WARN, "log_lost", &lost, 1);
	line_write(&l);
}

void log_write(enum log_level level, const char *event, const struct log_field *fields, size_t count)
{
	struct line l;
	struct instant now = clock_now();

	if (!log_wants(level))
		return;
	pthread_mutex_lock(&lock);
	bool allowed = storm_allows(level, event, now);
	pthread_mutex_unlock(&lock);
	if (!allowed)
		return;
	line_format(&l, level, event, fields, count);
	pthread_mutex_lock(&lock);
	if (lines_lost > 0 && target_ready())
		write_lost();
	line_write(&l);
	pthread_mutex_unlock(&lock);
}

/* --- the target ------------------------------------------------------------------------------------------------ */

/* Under the lock. The old target stays when the new one cannot be opened. */
static int target_open(const char *path)
{
	int fd = STDERR_FILENO;

	if (*path) {
		fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0640);
		if (fd < 0)
			return ERR_SYSTEM;
	}
	if (target != STDERR_FILENO)
		close(target);
	target = fd;
	return 0;
}

int log_open(enum log_level level, const char *path)
{
	const char *file = strcmp(path, "stderr") == 0 ? "" : path;

	if (strlen(file) >= sizeof target_path)
		return ERR_SYSTEM;
	pthread_mutex_lock(&lock);
	int err = target_open(file);
	if (!err) {
		memmove(target_path, file, strlen(file) + 1);
		log_set_level(level);
	}
	pthread_mutex_unlock(&lock);
	return err;
}

int log_own(uid_t uid, gid_t gid)
{
	pthread_mutex_lock(&lock);
	int rc = target == STDERR_FILENO ? 0 : fchown(target, uid, gid);
	pthread_mutex_unlock(&lock);
	return rc == 0 ? 0 : ERR_SYSTEM;
}

int log_reopen(void)
{
	pthread_mutex_lock(&lock);
	int err = target_open(target_path);
	pthread_mutex_unlock(&lock);
	return err;
}

void log_close(void)
{
	pthread_mutex_lock(&lock);
	storms_end_before(clock_now(), 0);
	(void)target_open("");
	target_path[0] = '\0';
	pthread_mutex_unlock(&lock);
}
