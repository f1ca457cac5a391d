/* The floor under the disk store: what Berkeley DB does by itself with the same sessions, in the simplest way there is.
 * One btree, id to state, ids in ascending order, in batches, with the same cache and checkpoints; no expiry, no
 * counters, no checksums, no other thread. Prints one line of JSON for each way to sync. Shares nothing with weir.
 *
 *   bdb DIR [SESSIONS [BYTES]]
 *
 * DIR is made, and what is in it is removed at the end. */
#include <db.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum { BATCH = 512, CACHE_BYTES = 64 << 20, LOG_BYTES = 32 << 20, ID_BYTES = 16 };

static void must(int ret, const char *what)
{
	if (ret == 0)
		return;
	fprintf(stderr, "bdb: %s: %s\n", what, db_strerror(ret));
	exit(1);
}

static double now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* In order: no page is split in the middle, which is as good as it gets. */
static void make_id(uint32_t n, uint8_t id[ID_BYTES])
{
	memset(id, 0, ID_BYTES);
	for (unsigned i = 0; i < 4; i++)
		id[i] = (uint8_t)(n >> (24 - 8 * i));
}

struct floor {
	DB_ENV *env;
	DB *db;
	uint32_t sessions, bytes, commit_flags;
	uint64_t since; /* bytes put since the last checkpoint */
};

static void open_all(struct floor *f, const char *dir)
{
	must(mkdir(dir, 0700), "mkdir");
	must(db_env_create(&f->env, 0), "environment");
	must(f->env->set_cachesize(f->env, 0, CACHE_BYTES, 1), "cache");
	must(f->env->set_lg_bsize(f->env, LOG_BYTES / 8), "log buffer");
	must(f->env->set_lg_max(f->env, LOG_BYTES), "log file");
	must(f->env->log_set_config(f->env, DB_LOG_AUTO_REMOVE, 1), "log");
	must(f->env->open(f->env, dir, DB_PRIVATE | DB_CREATE | DB_INIT_MPOOL | DB_INIT_LOG | DB_INIT_TXN, 0600),
	     "open");
	must(db_create(&f->db, f->env, 0), "database");
	must(f->db->set_pagesize(f->db, 8192), "page size");
	must(f->db->open(f->db, NULL, "floor.db", NULL, DB_BTREE, DB_CREATE | DB_AUTO_COMMIT, 0600), "open");
}

static double put_all(struct floor *f)
{
	double began = now_s();
	uint8_t id[ID_BYTES], *state = calloc(1, f->bytes);
	DBT key = {.data = id, .size = ID_BYTES}, data = {.data = state, .size = f->bytes};
	DB_TXN *txn = NULL;

	for (uint32_t n = 0; n < f->sessions; n++) {
		if (!txn)
			must(f->env->txn_begin(f->env, NULL, &txn, 0), "begin");
		make_id(n, id);
		must(f->db->put(f->db, txn, &key, &data, 0), "put");
		f->since += f->bytes;
		if (n % BATCH != BATCH - 1 && n + 1 < f->sessions)
			continue;
		must(txn->commit(txn, f->commit_flags), "commit");
		txn = NULL;
		if (f->since >= LOG_BYTES / 2) { /* each is written twice */
			must(f->env->txn_checkpoint(f->env, 0, 0, 0), "checkpoint");
			f->since = 0;
		}
	}
	free(state);
	return f->sessions / (now_s() - began);
}

static double get_all(struct floor *f)
{
	double began = now_s();
	uint8_t id[ID_BYTES], *state = malloc(f->bytes);
	DBT key = {.data = id, .size = ID_BYTES};
	DBT data = {.data = state, .ulen = f->bytes, .flags = DB_DBT_USERMEM};

	for (uint32_t n = 0; n < f->sessions; n++) {
		make_id((uint32_t)((uint64_t)n * 7919 % f->sessions), id);
		must(f->db->get(f->db, NULL, &key, &data, 0), "get");
	}
	free(state);
	return f->sessions / (now_s() - began);
}

static void clear(const char *dir)
{
	char command[512];

	snprintf(command, sizeof command, "rm -rf '%s'", dir);
	must(system(command), "clearing");
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		uint32_t flags;
	} syncs[] = {{"none", DB_TXN_NOSYNC}, {"write", DB_TXN_WRITE_NOSYNC}, {"group", DB_TXN_SYNC}};

	if (argc < 2) {
		fputs("usage: bdb DIR [SESSIONS [BYTES]]\n", stderr);
		return 2;
	}
	for (size_t i = 0; i < sizeof syncs / sizeof syncs[0]; i++) {
		struct floor f = {
		    .sessions = argc > 2 ? (uint32_t)atol(argv[2]) : 200000,
		    .bytes = argc > 3 ? (uint32_t)atol(argv[3]) : 1024,
		    .commit_flags = syncs[i].flags,
		};
		clear(argv[1]);
		open_all(&f, argv[1]);
		double puts = put_all(&f), gets = get_all(&f);
		must(f.db->close(f.db, 0), "close");
		must(f.env->close(f.env, 0), "close");
		printf("{\"sync\": \"%s\", \"sessions\": %" PRIu32 ", \"bytes\": %" PRIu32
		       ", \"put_per_s\": %.0f, \"get_per_s\": %.0f}\n",
		       syncs[i].name, f.sessions, f.bytes, puts, gets);
		fflush(stdout);
	}
	clear(argv[1]);
	return 0;
}
