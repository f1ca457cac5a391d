/* What the files of the policy `bdb` have for each other: private to cluster/control_bdb*.c. Without another word a
 * function belongs to weir-control. */
#ifndef WEIR_CLUSTER_CONTROL_BDB_PARTS_H
#define WEIR_CLUSTER_CONTROL_BDB_PARTS_H

#include "cluster/control_bdb.h"

/* --- control_bdb.c; any thread --- */

/* A number for the name, of weir-control alone; false: it is no name, or there are too many. */
bool bdb_name_number(struct control *c, struct view name, unsigned *out);
/* Numbers that nobody uses are free again, where there are many; of weir-control. */
void bdb_names_sweep(struct control *c);
void bdb_name_copy(struct control *c, unsigned peer, struct bdb_name *out);
static inline struct view bdb_name_view(const struct bdb_name *n)
{
	return view_of(n->bytes, n->len);
}
/* False: no memory. */
bool bdb_post_frame(struct control *c, unsigned peer, const struct control_frame *f);
void bdb_tell(struct control *c, enum bdb_tell what, struct view bytes);
void bdb_tell_broken(struct control *c, const char *why);
void bdb_tell_stopped(struct control *c);

/* --- control_bdb_run.c --- */

MUST_USE int bdb_threads_start(struct control *c);
/* Wants an election; bdb_elect_idle() waits until none is under way. */
void bdb_elect(struct control *c, unsigned sites, unsigned votes);
bool bdb_elect_is_idle(struct control *c);
void bdb_elect_idle(struct control *c);
/* It cannot go on. `ret` is Berkeley DB's; `doing` in words. */
void bdb_break(struct control *c, int ret, const char *doing);

/* --- control_bdb_term.c --- */

static inline bool bdb_is_ruling(const struct control *c)
{
	return c->role == BDB_CONFIRMS || c->role == BDB_RULES;
}
unsigned bdb_majority(const struct control *c);
/* What others are told in each frame is as it is now. */
void bdb_head(struct control *c);
/* Where it stands; to one peer, or to all. */
void bdb_say(struct control *c, unsigned peer, enum control_frame_type type, uint64_t number);
void bdb_say_all(struct control *c, enum control_frame_type type, uint64_t number);
void bdb_step_down(struct control *c);
/* And does not stand for election, until another one rules or the failure time has passed. */
void bdb_stand_back(struct control *c);
void bdb_reached(struct control *c, unsigned peer, bool there);
void bdb_frame(struct control *c, unsigned peer, const struct control_frame *f);
void bdb_elected(struct control *c);
/* Berkeley DB asks for an election. */
void bdb_hold_election(struct control *c);
/* What the time has brought. When it is to be called again at the latest, in milliseconds. */
uint64_t bdb_tick(struct control *c);

/* --- control_bdb_agree.c --- */

void bdb_set_voters(struct control *c, const struct view *voters, unsigned count);
/* Looks at the record that is stored here; a follower says that it has it, and learns what is agreed. */
void bdb_look(struct control *c);
/* The voters of the record are in `peers`. Of a ruler: false, it has stepped down. */
bool bdb_write(struct control *c, struct view bytes, const struct view *voters, unsigned voter_count);
bool bdb_write_anew(struct control *c);
/* Whether the record that is written has a majority. */
void bdb_count(struct control *c);
/* The view of the record, as learnt. */
void bdb_learn(struct control *c);

/* --- control_bdb_store.c --- */

/* The environment, recovered, or made anew where it is damaged. 0 or ERR_BROKEN, with a line in `why`. */
MUST_USE int bdb_store_open(struct control *c, char why[BDB_WHY]);
void bdb_store_close(struct control *c);
/* Forgets all that it knows, which then comes from the ruler. 0 or what Berkeley DB says; so the ones below. */
MUST_USE int bdb_store_renew(struct control *c);
/* As a client, of an environment that was opened. */
MUST_USE int bdb_store_join(struct control *c);
MUST_USE int bdb_store_start(struct control *c, bool master);
MUST_USE int bdb_store_message(struct control *c, unsigned peer, const struct control_frame *f);
/* The record, or its head alone. `out` holds the bytes. DB_NOTFOUND: there is none. */
MUST_USE int bdb_store_read(struct control *c, bool whole, struct buf *out, struct control_record *r);
MUST_USE int bdb_store_write(struct control *c, const struct control_record *r);
void bdb_store_flush(struct control *c);
MUST_USE int bdb_store_checkpoint(struct control *c);
const char *bdb_store_strerror(struct control *c, int ret);

/* --- control_bdb_promise.c --- */

/* What stands for the greatest record that was said to be stored where nobody knows that: more than any. Its number
 * says whether what was promised is unknown too. */
#define BDB_UNKNOWN_TERM ((uint64_t)INT64_MAX)
enum { BDB_UNKNOWN_STORED = 0, BDB_UNKNOWN_PROMISE = 1 };

/* Of a folder that was taken: reads the file. 0 or ERR_BROKEN. */
MUST_USE int bdb_promise_open(struct control *c, char why[BDB_WHY]);
void bdb_promise_close(struct control *c);
/* Durable: once it returns true, no crash takes it back. */
bool bdb_promise_save(struct control *c, bool durable);
/* Once the record is known: who is new, or alone, has nothing to be afraid of. */
bool bdb_promise_mend(struct control *c);
/* What it has promised cannot be told any more. */
static inline bool bdb_promise_is_unknown(const struct control *c)
{
	return c->promise.stored.term == BDB_UNKNOWN_TERM && c->promise.stored.number == BDB_UNKNOWN_PROMISE;
}

#endif
