/* Who rules. Berkeley DB's election names somebody; that one rules only after a majority of the voters has promised to
 * heed nobody of an earlier term, each of whom knows no more than it does. What a majority has stored is so known to
 * every later ruler, whatever an election went by (doc/cluster.md, "Terms"). */
#include "cluster/control_bdb_parts.h"

#include "base/log.h"
#include "base/random.h"

#include <errno.h>

/* --- what is said --- */

/* It was damaged, or is being made the same as a ruler's: it must not rule. */
static bool has_forgotten(const struct control *c)
{
	return !c->record_known || control_rank_compare(c->rank, c->promise.stored) < 0;
}

/* Who has forgotten something says of no record that it has it: others would not stand for election against one that
 * knows more, and wait for ever for one that must not rule. */
void bdb_head(struct control *c)
{
	struct control_frame head = {.standing = bdb_is_ruling(c)         ? CONTROL_RULES
						 : c->role == BDB_FOLLOWS ? CONTROL_FOLLOWS
									  : CONTROL_LEADERLESS,
				     .term = c->promise.term};

	if (!has_forgotten(c))
		head.rank = c->rank;
	pthread_mutex_lock(&c->lock);
	c->head = head;
	pthread_mutex_unlock(&c->lock);
}

void bdb_say(struct control *c, unsigned peer, enum control_frame_type type, uint64_t number)
{
	struct control_frame f = c->head;

	f.type = type;
	f.number = number;
	(void)bdb_post_frame(c, peer, &f);
}

void bdb_say_all(struct control *c, enum control_frame_type type, uint64_t number)
{
	for (unsigned i = 1; i < BDB_PEERS; i++) {
		if (c->peers[i].there)
			bdb_say(c, i, type, number);
	}
}

/* --- roles --- */

static unsigned count_voters(const struct control *c)
{
	unsigned voters = c->unnumbered;

	for (unsigned i = 0; i < BDB_PEERS; i++)
		voters += c->peers[i].voter;
	return voters;
}

unsigned bdb_majority(const struct control *c)
{
	return count_voters(c) / 2 + 1;
}

/* Nor may who cannot write down all voters. */
static bool must_not_rule(const struct control *c)
{
	return has_forgotten(c) || c->unnumbered > 0 || (c->stands_back && instant_before(clock_now(), c->back_at));
}

/* So that two do not get in each other's way again and again. */
static uint64_t about(uint64_t ms)
{
	uint8_t byte = 0;

	if (random_fill(&byte, 1) != 0)
		byte = 0;
	return ms + ms * byte / 256;
}

static void become_leaderless(struct control *c, uint64_t elect_in_ms)
{
	if (c->role == BDB_BROKEN)
		return;
	c->role = BDB_LEADERLESS;
	c->announced = 0;
	c->elect_at = instant_add_ms(clock_now(), elect_in_ms);
	c->again_at = instant_add_ms(clock_now(), BDB_AGAIN_MS);
	bdb_head(c);
	if (!c->told_leaderless)
		bdb_tell(c, BDB_NOBODY, view_of(NULL, 0));
	c->told_leaderless = true;
	bdb_say_all(c, CONTROL_STATE, 0);
}

void bdb_step_down(struct control *c)
{
	bool lost = c->role == BDB_RULES && c->pending;

	if (!bdb_is_ruling(c))
		return;
	c->role = BDB_LEADERLESS;
	c->pending = false;
	bdb_head(c); /* what Berkeley DB sends from now on is not a ruler's */
	int ret = bdb_store_start(c, false);
	if (lost)
		bdb_tell(c, BDB_LOST, buf_view(&c->pending_bytes));
	become_leaderless(c, about(c->election_ms));
	if (ret)
		bdb_break(c, ret, "step down");
}

/* Others are to have the time to elect somebody else. */
void bdb_stand_back(struct control *c)
{
	if (c->role == BDB_FOLLOWS)
		return;
	c->stands_back = true;
	c->back_at = instant_add_ms(clock_now(), c->failure_ms);
	if (c->role == BDB_ASKS)
		become_leaderless(c, about(c->election_ms));
	bdb_step_down(c);
}

/* False: it could not be written down, and nothing is promised. */
static bool promise(struct control *c, unsigned peer, uint64_t term)
{
	struct control_promise before = c->promise;

	c->promise.term = term;
	if (!bdb_promise_save(c, true)) {
		c->promise = before;
		return false;
	}
	c->promised_to = peer;
	bdb_head(c);
	return true;
}

static void follow(struct control *c, unsigned peer, uint64_t term)
{
	struct bdb_name name;

	bdb_step_down(c);
	if (c->role == BDB_BROKEN || (term > c->promise.term && !promise(c, peer, term)))
		return;
	c->role = BDB_FOLLOWS;
	c->ruler = peer;
	c->announced = 0;
	c->told_leaderless = c->stands_back = false;
	c->again_at = instant_add_ms(clock_now(), BDB_AGAIN_MS);
	bdb_head(c);
	bdb_name_copy(c, peer, &name);
	bdb_tell(c, BDB_FOLLOWS_NAME, bdb_name_view(&name));
	bdb_say_all(c, CONTROL_STATE, 0);
}

/* --- elections --- */

static bool is_candidate(const struct bdb_peer *p)
{
	return p->voter && p->there && p->heard && p->standing == CONTROL_LEADERLESS;
}

/* What this node counts in an election: nothing where it must not win. Whoever is to rule only when nobody else knows
 * as much has the least. */
static uint32_t effective_priority(const struct control *c)
{
	if (must_not_rule(c))
		return 0;
	for (unsigned i = 1; i < BDB_PEERS; i++) {
		if (is_candidate(&c->peers[i]) && control_rank_compare(c->peers[i].rank, c->rank) > 0)
			return 0;
	}
	return c->priority + 1;
}

/* Not before a majority is there that has nobody: those who follow somebody would not promise anything. `asked`:
 * another one holds an election and counts this node, which may not have the record yet that makes it a voter. */
static void elect_as(struct control *c, bool asked)
{
	unsigned sites = 1, votes = bdb_majority(c);

	if (c->role != BDB_LEADERLESS || !(c->peers[0].voter || asked) || !bdb_elect_is_idle(c) ||
	    instant_before(clock_now(), c->elect_at))
		return;
	for (unsigned i = 1; i < BDB_PEERS; i++)
		sites += is_candidate(&c->peers[i]);
	if (!c->peers[0].voter)
		votes = sites > 1 ? sites / 2 + 1 : 2;
	if (sites < votes)
		return;
	c->elect_at = instant_add_ms(clock_now(), about(2 * c->election_ms));
	int ret = c->env->rep_set_priority(c->env, c->peers[0].voter ? effective_priority(c) : 0);
	if (ret)
		bdb_break(c, ret, "elect");
	else
		bdb_elect(c, sites, votes);
}

static void elect(struct control *c)
{
	elect_as(c, false);
}

void bdb_hold_election(struct control *c)
{
	if (c->role != BDB_LEADERLESS)
		return;
	c->elect_at = clock_now();
	elect_as(c, true);
}

static void rule(struct control *c)
{
	c->role = BDB_CONFIRMS;
	c->pending = false;
	for (unsigned i = 0; i < BDB_PEERS; i++)
		c->peers[i].stored = 0;
	c->announced = 0;
	bdb_head(c);
	bdb_say_all(c, CONTROL_STATE, 0); /* first: what Berkeley DB sends is heeded of rulers only */
	int ret = bdb_store_start(c, true);
	if (ret == 0)
		(void)bdb_write_anew(c);
	else if (ret == DB_REP_UNAVAIL)
		bdb_step_down(c);
	else
		bdb_break(c, ret, "become master");
}

static void count_promises(struct control *c)
{
	unsigned promised = 0, refused = 0;

	for (unsigned i = 0; i < BDB_PEERS; i++) {
		promised += c->peers[i].voter && c->peers[i].promised == c->promise.term;
		refused += c->peers[i].voter && c->peers[i].refused;
	}
	if (promised >= bdb_majority(c))
		rule(c);
	else if (count_voters(c) - refused < bdb_majority(c))
		become_leaderless(c, about(c->election_ms / 2));
}

void bdb_elected(struct control *c)
{
	if (c->role != BDB_LEADERLESS || must_not_rule(c) || !c->peers[0].voter)
		return;
	uint64_t term = (c->seen_term > c->promise.term ? c->seen_term : c->promise.term) + 1;
	if (!promise(c, 0, term))
		return;
	for (unsigned i = 0; i < BDB_PEERS; i++) {
		c->peers[i].promised = i == 0 ? term : 0;
		c->peers[i].refused = false;
	}
	c->role = BDB_ASKS;
	c->deadline = instant_add_ms(clock_now(), c->election_ms);
	c->again_at = instant_add_ms(clock_now(), BDB_AGAIN_MS);
	bdb_say_all(c, CONTROL_ASK, term);
	count_promises(c);
}

/* --- what others say --- */

/* As much as this node has, or has said to have: it may have lost that, or be about to get it anew from a ruler that
 * died meanwhile, and must not wait for that one then. */
static bool knows_as_much(const struct control *c, struct control_rank rank)
{
	return control_rank_compare(rank, c->promise.stored) >= 0 &&
	       (!c->record_known || control_rank_compare(rank, c->rank) >= 0);
}

static bool may_promise(const struct control *c, unsigned peer, const struct control_frame *f)
{
	if (bdb_is_ruling(c) || (c->role == BDB_FOLLOWS && c->ruler != peer))
		return false;
	if (f->number < c->promise.term || (f->number == c->promise.term && c->promised_to != peer))
		return false;
	return knows_as_much(c, f->rank);
}

static void asked(struct control *c, unsigned peer, const struct control_frame *f)
{
	if (!may_promise(c, peer, f) || (f->number > c->promise.term && !promise(c, peer, f->number))) {
		bdb_say(c, peer, CONTROL_REFUSE, f->number);
		return;
	}
	if (c->role == BDB_ASKS)
		become_leaderless(c, 0);
	c->elect_at = instant_add_ms(clock_now(), about(c->election_ms)); /* it is to have its time */
	bdb_say(c, peer, CONTROL_PROMISE, f->number);
}

static void told_state(struct control *c, unsigned peer, const struct control_frame *f)
{
	if (c->role == BDB_FOLLOWS && c->ruler == peer) {
		c->announced = f->number;
		bdb_look(c);
	} else if (bdb_is_ruling(c)) {
		if (f->standing == CONTROL_FOLLOWS && f->number < c->announced)
			bdb_say(c, peer, CONTROL_STATE, c->announced);
		if (control_rank_compare(f->rank, c->rank) < 0)
			bdb_store_flush(c);
	}
}

/* A ruler of an earlier term learns that there is a later one; nothing else of it is heeded. */
static bool heed(struct control *c, unsigned peer, const struct control_frame *f)
{
	if (f->standing == CONTROL_RULES) {
		if (f->term < c->promise.term) {
			bdb_say(c, peer, CONTROL_STATE, c->announced);
			return false;
		}
		if (f->term > c->promise.term || !(c->role == BDB_FOLLOWS && c->ruler == peer))
			follow(c, peer, f->term);
		return c->role == BDB_FOLLOWS && c->ruler == peer;
	}
	if (bdb_is_ruling(c) && c->peers[peer].voter && f->term > c->promise.term)
		bdb_step_down(c);
	if (c->role == BDB_FOLLOWS && c->ruler == peer)
		become_leaderless(c, 0);
	return true;
}

/* Followers heed their ruler alone: a vote of somebody else would make Berkeley DB forget it. */
static void library(struct control *c, unsigned peer, const struct control_frame *f)
{
	if (c->role == BDB_FOLLOWS && c->ruler != peer)
		return;
	int ret = bdb_store_message(c, peer, f);
	switch (ret) {
	case 0:
	case DB_REP_IGNORE:
	case DB_REP_NOTPERM:
	case DB_REP_NEWSITE:
		break;
	case DB_REP_ISPERM:
		bdb_look(c);
		break;
	case DB_REP_HOLDELECTION:
		bdb_hold_election(c);
		break;
	case DB_REP_DUPMASTER:
		bdb_step_down(c);
		break;
	case DB_REP_JOIN_FAILURE:
		pthread_mutex_lock(&c->lock);
		c->events |= BDB_EVENT_JOIN_FAILURE;
		c->awake = true;
		pthread_mutex_unlock(&c->lock);
		break;
	case EINVAL:
		log_event(LOG_WARN, "control_message", LOG_V("folder", view_str(c->folder)),
			  LOG_S("reason", "Berkeley DB does not understand it"));
		break;
	default:
		bdb_break(c, ret, "take a message");
	}
}

/* Who asked for a promise had written down the term before. So when all others have said theirs, nothing that was
 * promised is later, and what a ruler of such a term or a later one has stored here counts again. */
static void find_promise(struct control *c)
{
	uint64_t term = c->promise.term;

	if (!bdb_promise_is_unknown(c) || c->unnumbered > 0)
		return;
	for (unsigned i = 1; i < BDB_PEERS; i++) {
		const struct bdb_peer *p = &c->peers[i];
		if (p->voter && (!p->there || !p->heard))
			return;
		if (p->voter && p->term > term)
			term = p->term;
	}
	if (term > c->promise.term && c->role == BDB_FOLLOWS)
		become_leaderless(c, 0);
	c->promise.stored.number = BDB_UNKNOWN_STORED;
	if (!promise(c, 0, term))
		c->promise.stored.number = BDB_UNKNOWN_PROMISE;
}

void bdb_frame(struct control *c, unsigned peer, const struct control_frame *f)
{
	struct bdb_peer *p = &c->peers[peer];

	if (!p->there || c->role == BDB_BROKEN)
		return;
	p->heard = true;
	p->standing = f->standing;
	p->term = f->term;
	p->rank = f->rank;
	if (f->term > c->seen_term)
		c->seen_term = f->term;
	find_promise(c);
	if (!heed(c, peer, f) || c->role == BDB_BROKEN)
		return;
	switch (f->type) {
	case CONTROL_STATE:
		told_state(c, peer, f);
		break;
	case CONTROL_LIBRARY:
		library(c, peer, f);
		break;
	case CONTROL_ASK:
		asked(c, peer, f);
		break;
	case CONTROL_PROMISE:
	case CONTROL_REFUSE:
		if (c->role == BDB_ASKS && f->number == c->promise.term) {
			p->refused = f->type == CONTROL_REFUSE;
			p->promised = p->refused ? 0 : f->number;
			count_promises(c);
		}
		break;
	case CONTROL_STORED:
		if (bdb_is_ruling(c) && f->term == c->promise.term && f->number > p->stored) {
			p->stored = f->number;
			bdb_count(c);
		}
		break;
	}
	elect(c);
}

void bdb_reached(struct control *c, unsigned peer, bool there)
{
	struct bdb_peer *p = &c->peers[peer];

	if (peer == 0 || c->role == BDB_BROKEN || p->there == there)
		return;
	p->there = there;
	p->heard = p->malformed = false;
	if (!there) {
		if (c->role == BDB_FOLLOWS && c->ruler == peer)
			become_leaderless(c, 0);
		elect(c);
		return;
	}
	bdb_say(c, peer, CONTROL_STATE, bdb_is_ruling(c) ? c->announced : 0);
	if (bdb_is_ruling(c)) {
		bdb_store_flush(c);
		return;
	}
	int ret = bdb_store_start(c, false); /* says that it is there, where it knows no master */
	if (ret)
		bdb_break(c, ret, "announce itself");
}

/* --- time --- */

/* Of a follower: it has not got all that the ruler has, or does not know whether it is agreed. */
static bool is_behind(const struct control *c)
{
	return !c->record_known || c->rank.term != c->promise.term || c->rank.number < c->announced ||
	       control_rank_compare(c->rank, c->peers[c->ruler].rank) < 0 ||
	       control_rank_compare(c->promise.agreed, c->rank) < 0;
}

static uint64_t known_agreed(const struct control *c)
{
	return c->promise.agreed.term == c->promise.term ? c->promise.agreed.number : 0;
}

static void again(struct control *c)
{
	switch (c->role) {
	case BDB_ASKS:
		bdb_say_all(c, CONTROL_ASK, c->promise.term);
		break;
	case BDB_CONFIRMS:
	case BDB_RULES:
		bdb_say_all(c, CONTROL_STATE, c->announced);
		if (c->pending)
			bdb_store_flush(c);
		break;
	case BDB_FOLLOWS:
		bdb_look(c);
		if (c->role == BDB_FOLLOWS)
			bdb_say(c, c->ruler, CONTROL_STATE, known_agreed(c));
		break;
	case BDB_LEADERLESS:
		if (!c->record_known || c->unnumbered > 0)
			bdb_look(c);
		if (c->role == BDB_LEADERLESS)
			bdb_say_all(c, CONTROL_STATE, 0);
		break;
	case BDB_BROKEN:
		break;
	}
}

/* Whether there is something that must not stay as it is. */
static bool is_restless(const struct control *c)
{
	return c->role == BDB_LEADERLESS || c->role == BDB_ASKS || bdb_is_ruling(c) ||
	       (c->role == BDB_FOLLOWS && is_behind(c));
}

uint64_t bdb_tick(struct control *c)
{
	struct instant now = clock_now();

	if (c->role == BDB_ASKS && !instant_before(now, c->deadline))
		become_leaderless(c, about(c->election_ms / 2));
	if (bdb_is_ruling(c) && c->pending && !instant_before(now, c->deadline))
		bdb_step_down(c);
	elect(c);
	if (!is_restless(c))
		return UINT64_MAX;
	if (!instant_before(now, c->again_at)) {
		/* Without a reason too: a follower that has missed the last record, and all that was said of it. */
		c->again_at = instant_add_ms(now, bdb_is_ruling(c) && !c->pending ? c->failure_ms : BDB_AGAIN_MS);
		again(c);
	}
	if (c->role == BDB_LEADERLESS && c->peers[0].voter && instant_before(c->elect_at, c->again_at))
		return instant_since_ms(c->elect_at, now) + 1;
	return instant_since_ms(c->again_at, now) + 1;
}
