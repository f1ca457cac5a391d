/* What becomes of a damaged disk store (doc/disk-format.md, "Damage"): it is recovered as far as that goes, moved
 * aside, and what can be read of it comes into a new one.
 *
 * A salvage may be cut short by a crash or by a full disk. The marker is there from its begin to its end, and names the
 * folder for the damaged files before there is one; sessions.db is moved into it last, and DISK_RESCUED comes to it
 * when they are recovered. So what it has to go on with can be told. */
#include "session/disk_damage.h"

#include "base/bigendian.h"
#include "base/error.h"
#include "base/log.h"
#include "session/disk_room.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { BATCH_BYTES = 4 << 20, NAME_BYTES = 64 };

static const char aside_prefix[] = DISK_MARKER "-";

struct salvage {
	struct store *s;
	char reason[DISK_REASON_BYTES];
	char name[NAME_BYTES]; /* of the folder with the damaged files */
	char aside[PATH_MAX];  /* its path */
	struct disk_repair repair;
	struct disk_replay replay; /* where it was not repaired */
	uint64_t batch_bytes;
};

/* --- the marker --- */

bool disk_marker_is_there(const struct store *s)
{
	char path[PATH_MAX];

	return disk_path(s->dir, DISK_MARKER, path) && access(path, F_OK) == 0;
}

/* Into a new file that then takes the name: what is there is whole. */
static int marker_put(const struct store *s, const char *name, const char *reason)
{
	char path[PATH_MAX], temporary[PATH_MAX];

	if (!disk_path(s->dir, DISK_MARKER, path) || !disk_path(s->dir, DISK_MARKER ".new", temporary))
		return ERR_SYSTEM;
	int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, DISK_FILE_MODE);
	if (fd < 0)
		return ERR_SYSTEM;
	bool done = dprintf(fd, "%s\n%s\n", name, reason) > 0 && fsync(fd) == 0;
	close(fd);
	return done && rename(temporary, path) == 0 ? disk_sync_folder(s->dir) : ERR_SYSTEM;
}

void disk_marker_write(const struct store *s, const char *reason)
{
	if (!disk_marker_is_there(s) && marker_put(s, "-", reason) != 0)
		log_event(LOG_WARN, "store_library", LOG_V("dir", view_str(s->dir)),
			  LOG_S("text", "the marker of damage cannot be written"));
}

/* A line of a text, and what follows it. False: there is none that fits. */
static bool next_line(const char **text, char *out, size_t len)
{
	const char *end = strchr(*text, '\n');

	if (!end || (size_t)(end - *text) >= len)
		return false;
	memcpy(out, *text, (size_t)(end - *text));
	out[end - *text] = 0;
	*text = end + 1;
	return true;
}

/* What it says; the folder's name is empty where there is none yet. */
static void marker_get(const struct store *s, char name[NAME_BYTES], char reason[DISK_REASON_BYTES])
{
	char path[PATH_MAX], text[NAME_BYTES + DISK_REASON_BYTES];
	const char *rest = text;

	name[0] = reason[0] = 0;
	if (!disk_path(s->dir, DISK_MARKER, path))
		return;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
	if (fd >= 0)
		close(fd);
	text[n > 0 ? n : 0] = 0;
	if (next_line(&rest, name, NAME_BYTES))
		(void)next_line(&rest, reason, DISK_REASON_BYTES);
	if (strncmp(name, aside_prefix, sizeof(aside_prefix) - 1) != 0 || strchr(name, '/'))
		name[0] = 0;
}

static int marker_remove(const struct store *s)
{
	char path[PATH_MAX];

	if (!disk_path(s->dir, DISK_MARKER, path) || unlink(path) != 0)
		return ERR_SYSTEM;
	return disk_sync_folder(s->dir);
}

/* --- files --- */

/* A second salvage within a second has a number behind the time. */
static int name_aside(struct salvage *g)
{
	char stamp[24];
	time_t now = (time_t)clock_wall().s;
	struct tm tm;

	if (!gmtime_r(&now, &tm))
		return ERR_SYSTEM;
	strftime(stamp, sizeof(stamp), "%Y%m%d-%H%M%S", &tm);
	for (unsigned i = 1; i < 1000; i++) {
		if (i == 1)
			snprintf(g->name, sizeof(g->name), "%s%s", aside_prefix, stamp);
		else
			snprintf(g->name, sizeof(g->name), "%s%s-%u", aside_prefix, stamp, i);
		if (!disk_path(g->s->dir, g->name, g->aside))
			return ERR_SYSTEM;
		if (access(g->aside, F_OK) != 0)
			return 0;
	}
	return ERR_SYSTEM;
}

static int make_aside(struct salvage *g)
{
	if (!disk_path(g->s->dir, g->name, g->aside) || (mkdir(g->aside, 0700) != 0 && errno != EEXIST))
		return ERR_SYSTEM;
	return disk_sync_folder(g->s->dir);
}

static int move_file(const char *from_dir, const char *name, const char *to_dir)
{
	char from[PATH_MAX], to[PATH_MAX];

	if (!disk_path(from_dir, name, from) || !disk_path(to_dir, name, to))
		return ERR_SYSTEM;
	return rename(from, to) == 0 || errno == ENOENT ? 0 : ERR_SYSTEM;
}

static int remove_file(const char *dir, const char *name, const char *unused)
{
	char path[PATH_MAX];

	(void)unused;
	return disk_path(dir, name, path) && (unlink(path) == 0 || errno == ENOENT) ? 0 : ERR_SYSTEM;
}

static int each_log(const char *dir, int (*act)(const char *dir, const char *name, const char *arg), const char *arg)
{
	DIR *d = opendir(dir);
	int err = d ? 0 : ERR_SYSTEM;

	for (struct dirent *e; !err && (e = readdir(d)) != NULL;) {
		if (strncmp(e->d_name, "log.", 4) == 0)
			err = act(dir, e->d_name, arg);
	}
	if (d)
		closedir(d);
	return err;
}

static bool is_aside(const struct salvage *g, const char *name)
{
	char path[PATH_MAX];

	return disk_path(g->aside, name, path) && access(path, F_OK) == 0;
}

static int make_empty(const char *dir, const char *name)
{
	char path[PATH_MAX];
	int fd = disk_path(dir, name, path) ? open(path, O_WRONLY | O_CREAT | O_CLOEXEC, DISK_FILE_MODE) : -1;

	if (fd >= 0)
		close(fd);
	return fd >= 0 ? 0 : ERR_SYSTEM;
}

/* The damaged file last: once it is there, the others are. One that is missing is there as an empty one. */
static int move_aside(struct salvage *g)
{
	const char *dir = g->s->dir;
	int err = each_log(dir, move_file, g->aside);

	if (!err)
		err = disk_sync_folder(g->aside);
	if (!err)
		err = move_file(dir, DISK_FILE, g->aside);
	if (!err && !is_aside(g, DISK_FILE))
		err = make_empty(g->aside, DISK_FILE);
	if (!err)
		err = disk_sync_folder(g->aside);
	return err ? err : disk_sync_folder(dir);
}

/* A new store that an earlier salvage did not fill to the end. */
static int discard_half(const struct store *s)
{
	int err = remove_file(s->dir, DISK_FILE, NULL);

	return err ? err : each_log(s->dir, remove_file, NULL);
}

static int say_log(const char *dir, const char *name, const char *unused)
{
	(void)dir;
	(void)name;
	(void)unused;
	return ERR_BUSY;
}

bool disk_file_is_missing(const struct store *s)
{
	char path[PATH_MAX];

	return disk_path(s->dir, DISK_FILE, path) && access(path, F_OK) != 0 && errno == ENOENT &&
	       each_log(s->dir, say_log, NULL) == ERR_BUSY;
}

/* The damaged files in the folder aside, recovered, and none of them in the store's. */
static int put_aside(struct salvage *g, const char *reason)
{
	struct store *s = g->s;

	marker_get(s, g->name, g->reason);
	if (reason || !g->reason[0])
		snprintf(g->reason, sizeof(g->reason), "%s", reason ? reason : "it met damage before");
	int err = g->name[0] ? 0 : name_aside(g);
	if (!err)
		err = marker_put(s, g->name, g->reason);
	if (!err)
		err = make_aside(g);
	if (!err)
		err = is_aside(g, DISK_FILE) ? discard_half(s) : move_aside(g);
	if (!err && !is_aside(g, DISK_RESCUED))
		err = disk_repair(s, g->aside, &g->repair);
	return err;
}

/* --- records --- */

bool disk_is_newer(struct store *s, const struct record_head *head)
{
	uint8_t bytes[RECORD_HEAD_BYTES], at[DISK_KEY_BYTES];
	struct record_head there;
	struct disk_place place;
	DBT key = {.data = at, .size = sizeof(at)};
	DBT data = {
	    .data = bytes, .ulen = sizeof(bytes), .dlen = sizeof(bytes), .flags = DB_DBT_USERMEM | DB_DBT_PARTIAL};

	if (disk_place_get(s, &head->id, &place) != 0)
		return true;
	disk_key(&head->id, &place, at);
	if (s->sessions->get(s->sessions, s->batch, &key, &data, 0) != 0 ||
	    record_peek(view_of(bytes, data.size), &there) != 0)
		return true;
	return head->version == there.version ? head->expires_s > there.expires_s : head->version > there.version;
}

static int take_item(void *arg, struct view item)
{
	struct salvage *g = arg;
	struct record_head head;

	if (!disk_record_is_sound(item, &head) || !disk_is_newer(g->s, &head))
		return 0;
	int err = disk_put_bytes(g->s, &head, item);
	g->batch_bytes += item.len;
	if (err || g->batch_bytes < BATCH_BYTES)
		return err;
	g->batch_bytes = 0;
	err = disk_commit(g->s);
	return err ? err : disk_tend(g->s);
}

/* What a repair found on bad pages and knows to be true: a length and a record each. */
static int take_rescued(struct salvage *g)
{
	char path[PATH_MAX];
	uint8_t len[4];
	struct buf record = {0};
	off_t at = 0;
	int err = 0;

	int fd = disk_path(g->aside, DISK_RESCUED, path) ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
	if (fd < 0)
		return ERR_SYSTEM;
	while (!err && pread(fd, len, sizeof(len), at) == (ssize_t)sizeof(len)) {
		size_t n = (size_t)bigendian_get(len, sizeof(len));
		buf_clear(&record);
		uint8_t *to = buf_reserve(&record, n);
		if (!to || pread(fd, to, n, at + (off_t)sizeof(len)) != (ssize_t)n)
			break;
		buf_commit(&record, n);
		err = take_item(g, buf_view(&record));
		at += (off_t)(sizeof(len) + n);
	}
	close(fd);
	buf_fini(&record);
	return err;
}

static int take_pages(struct salvage *g, bool repaired)
{
	struct disk_reader r;
	struct view page;
	char path[PATH_MAX];

	if (!disk_path(g->aside, DISK_FILE, path))
		return ERR_SYSTEM;
	int err = disk_reader_open(&r, path, O_RDONLY);
	if (err)
		return err == ERR_SYSTEM ? 0 : err; /* there was none */
	for (uint32_t n = 0; n < r.pages && !err; n++) {
		if (disk_reader_page(&r, n, &page))
			err = disk_reader_items(&r, page, take_item, g);
	}
	if (!err && !repaired)
		err = disk_kept_pages(&r, g->aside, take_item, g);
	disk_reader_close(&r);
	return err;
}

/* Without a repair the log's last word is not on the pages. */
static int take_all(struct salvage *g)
{
	bool repaired = is_aside(g, DISK_RESCUED);
	int err = take_pages(g, repaired);

	if (!err && repaired)
		return take_rescued(g);
	if (!err)
		err = disk_commit(g->s);
	return err ? err : disk_replay(g->s, g->aside, &g->replay);
}

/* --- the course of it --- */

static const char *recovered_text(const struct salvage *g)
{
	if (is_aside(g, DISK_RESCUED))
		return "yes";
	return g->replay.to_end ? "log" : "no";
}

static void report(const struct salvage *g)
{
	uint64_t kept = g->s->kept.sessions, before = g->repair.recovered ? g->repair.before.sessions : kept;
	char lost[24] = "unknown";

	if (g->repair.recovered || g->replay.all)
		snprintf(lost, sizeof(lost), "%llu", (unsigned long long)(before > kept ? before - kept : 0));
	log_event(LOG_ERROR, "store_damaged", LOG_V("dir", view_str(g->s->dir)), LOG_V("reason", view_str(g->reason)),
		  LOG_S("recovered", recovered_text(g)), LOG_I("bad_pages", g->repair.bad_pages), LOG_I("kept", kept),
		  LOG_S("lost", lost), LOG_V("moved_to", view_str(g->aside)));
}

static int fill(struct salvage *g)
{
	struct store *s = g->s;
	uint64_t max_bytes = s->max_bytes;

	s->max_bytes = UINT64_MAX; /* what was there stays, and shrinks with time */
	int err = take_all(g);
	s->max_bytes = max_bytes;
	if (!err)
		err = disk_commit(s);
	if (!err && disk_checkpoint(s) != 0)
		err = ERR_SYSTEM;
	return err ? err : marker_remove(s);
}

int disk_salvage(struct store *s, const char *reason, char *why, size_t why_len)
{
	struct salvage g = {.s = s};
	enum store_sync sync = s->sync;

	(void)disk_reserve_release(s);
	s->sync = STORE_SYNC_NONE; /* one checkpoint at the end */
	int err = put_aside(&g, reason), ret = 0;
	if (!err) {
		ret = disk_env_open(s, DB_RECOVER);
		err = disk_error(s, ret);
	}
	if (!err)
		err = fill(&g);
	s->sync = sync;
	if (err) {
		snprintf(why, why_len, "%s: damaged, and what can be read of it cannot be put into a new store: %s",
			 s->dir, ret ? disk_strerror(s, ret) : error_text(err));
		return err;
	}
	report(&g);
	return 0;
}
