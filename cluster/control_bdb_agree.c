/* What is agreed. A ruler writes one record at a time, and counts the voters that say that they have stored it; its
 * first one is what it knew already, in its own term: a record of an earlier term may be one that never had a majority.
 * A follower says of the record in its database that it has it only if it is of the term that it has promised to heed;
 * and it takes it for agreed only where the ruler of that term has told so. */
#include "cluster/control_bdb_parts.h"

#include "base/error.h"
#include "base/invariant.h"
#include "base/log.h"

#include <errno.h>

void bdb_set_voters(struct control *c, const struct view *voters, unsigned count)
{
	unsigned peer;

	for (unsigned i = 0; i < BDB_PEERS; i++)
		c->peers[i].voter = false;
	c->unnumbered = 0;
	for (unsigned i = 0; i < count; i++) {
		if (bdb_name_number(c, voters[i], &peer))
			c->peers[peer].voter = true;
		else
			c->unnumbered++;
	}
}

static bool have_numbers(struct control *c, const struct view *voters, unsigned count)
{
	unsigned peer;

	for (unsigned i = 0; i < count; i++) {
		if (!bdb_name_number(c, voters[i], &peer))
			return false;
	}
	return true;
}

/* --- a follower --- */

void bdb_learn(struct control *c)
{
	struct control_record r;
	int ret = bdb_store_read(c, true, &c->scratch, &r);

	if (ret == 0 && control_rank_compare(r.rank, c->promise.agreed) == 0 && r.bytes.len > 0)
		bdb_tell(c, BDB_LEARNT, r.bytes);
}

/* Before it is said: a database that is torn later is told by this alone from one that never had the record. */
static bool note_stored(struct control *c, struct control_rank rank)
{
	struct control_rank before = c->promise.stored;

	if (bdb_promise_is_unknown(c))
		return false;
	if (before.term != BDB_UNKNOWN_TERM && control_rank_compare(before, rank) >= 0)
		return true;
	c->promise.stored = rank;
	if (!bdb_promise_save(c, true)) {
		c->promise.stored = before;
		return false;
	}
	bdb_head(c); /* it counts again, maybe */
	return true;
}

static void follow_record(struct control *c)
{
	if (c->role != BDB_FOLLOWS || !c->record_known || c->rank.term != c->promise.term)
		return;
	bool stored = note_stored(c, c->rank);
	if (c->announced < c->rank.number) {
		if (stored)
			bdb_say(c, c->ruler, CONTROL_STORED, c->rank.number);
	} else if (control_rank_compare(c->promise.agreed, c->rank) < 0) {
		c->promise.agreed = c->rank;
		(void)bdb_promise_save(c, false);
		bdb_learn(c);
		int ret = bdb_store_checkpoint(c); /* its old log goes */
		if (ret != 0 && ret != DB_REP_LOCKOUT)
			bdb_break(c, ret, "remove old log");
	}
}

/* From now on the promise alone says what was stored here. */
static void forget_record(struct control *c)
{
	c->record_known = false;
	bdb_head(c);
}

/* A database that is being made the same as the ruler's has no record for that time, or an older one; what it has said
 * to have stored is in the promise. */
void bdb_look(struct control *c)
{
	struct control_record r = {0};

	if (c->role == BDB_BROKEN)
		return; /* there may be no environment */
	int ret = bdb_store_read(c, false, &c->scratch, &r);
	if (ret == DB_REP_LOCKOUT || ret == DB_LOCK_DEADLOCK || ret == ENOMEM) {
		forget_record(c);
		return;
	}
	if (ret != 0 && ret != DB_NOTFOUND) {
		bdb_break(c, ret, "read the view");
		return;
	}
	c->record_known = true;
	c->rank = r.rank;
	if (r.voter_count > 0) {
		c->has_voters = true;
		bdb_set_voters(c, r.voters, r.voter_count);
	}
	bdb_head(c);
	follow_record(c);
}

/* --- a ruler --- */

void bdb_count(struct control *c)
{
	unsigned stored = 0;

	if (!c->pending)
		return;
	for (unsigned i = 0; i < BDB_PEERS; i++)
		stored += c->peers[i].voter && c->peers[i].stored >= c->pending_rank.number;
	if (stored < bdb_majority(c))
		return;
	bool first = c->role == BDB_CONFIRMS;
	c->pending = false;
	c->announced = c->pending_rank.number;
	c->promise.agreed = c->pending_rank;
	(void)bdb_promise_save(c, false);
	c->role = BDB_RULES;
	c->told_leaderless = false;
	bdb_head(c);
	/* In this order: who has proposed it is the first to know. */
	bdb_tell(c, first ? BDB_COORDINATES : BDB_COMMITTED, buf_view(&c->pending_bytes));
	bdb_say_all(c, CONTROL_STATE, c->announced);
	int ret = bdb_store_checkpoint(c);
	if (ret)
		bdb_break(c, ret, "make a checkpoint");
}

/* pending_bytes is the view. */
static bool write_record(struct control *c, const struct view *voters, unsigned voter_count)
{
	struct control_record r = {.rank = {.term = c->promise.term, .number = c->rank.number + 1},
				   .voter_count = voter_count,
				   .bytes = buf_view(&c->pending_bytes)};

	INVARIANT(voter_count <= CONTROL_VOTERS_MAX);
	for (unsigned i = 0; i < voter_count; i++)
		r.voters[i] = voters[i];
	c->pending = true;
	c->pending_rank = r.rank;
	c->deadline = instant_add_ms(clock_now(), c->failure_ms);
	c->again_at = instant_add_ms(clock_now(), BDB_AGAIN_MS);
	int ret = bdb_store_write(c, &r);
	if (ret)
		log_event(LOG_ERROR, "control_write", LOG_V("folder", view_str(c->folder)),
			  LOG_S("reason", bdb_store_strerror(c, ret)));
	else
		c->rank = r.rank;
	if (ret || !note_stored(c, r.rank)) {
		bdb_step_down(c);
		return false;
	}
	c->peers[0].stored = r.rank.number;
	if (voter_count > 0) {
		c->has_voters = true;
		bdb_set_voters(c, voters, voter_count);
	}
	bdb_head(c);
	bdb_count(c);
	return true;
}

bool bdb_write(struct control *c, struct view bytes, const struct view *voters, unsigned voter_count)
{
	buf_clear(&c->pending_bytes);
	buf_put(&c->pending_bytes, bytes);
	if (buf_error(&c->pending_bytes) || !have_numbers(c, voters, voter_count)) {
		buf_fini(&c->pending_bytes);
		if (c->role == BDB_RULES)
			bdb_tell(c, BDB_LOST, bytes);
		bdb_step_down(c);
		return false;
	}
	return write_record(c, voters, voter_count);
}

bool bdb_write_anew(struct control *c)
{
	struct bdb_name names[CONTROL_VOTERS_MAX];
	struct view voters[CONTROL_VOTERS_MAX];
	struct control_record r = {0};
	unsigned count = 0;
	int ret = bdb_store_read(c, true, &c->scratch, &r);

	if ((ret != 0 && ret != DB_NOTFOUND) || c->unnumbered > 0) {
		bdb_step_down(c);
		return false;
	}
	for (unsigned i = 0; i < BDB_PEERS && count < CONTROL_VOTERS_MAX; i++) {
		if (c->peers[i].voter) {
			bdb_name_copy(c, i, &names[count]);
			voters[count] = bdb_name_view(&names[count]);
			count++;
		}
	}
	return bdb_write(c, r.bytes, voters, count);
}
