/* Claims: which requests work on the id of an adopted session, who waits for it, and which of them began before the
 * session ended (doc/session-socket.md, "Claims"). A claim needs no session: an id that nobody has created can be
 * claimed. Any thread may call any function; a lock a shard, held for one look-up.
 *
 * One id may have claims of both kinds at a time: an exclusive one is in nobody's way but another exclusive one's. */
#ifndef WEIR_SESSION_CLAIM_H
#define WEIR_SESSION_CLAIM_H

#include "base/compiler.h"
#include "base/list.h"
#include "session/id.h"

struct claims;
struct claim_id;

enum claim_state { CLAIM_IDLE, CLAIM_QUEUED, CLAIM_GRANTED, CLAIM_HELD };

/* Owned by a request, zeroed before its first use but for `granted`. It must not be freed unless it is IDLE. All but
 * `of` and `granted` is guarded by the shard's lock while it is not. */
struct claim {
	struct list link;
	struct claim_id *of; /* borrowed from the claims; NULL: IDLE */
	enum claim_state state;
	bool exclusive;
	bool elder;     /* the session has ended since it was taken, by another one's hand */
	uint64_t began; /* HELD: at this moment of the claims */
	/* Called by the thread that grants, without a lock: it must only post a mail. */
	void (*granted)(struct claim *c);
};

MUST_USE struct claims *claims_new(const struct sess_keys *keys); /* NULL: out of memory */
void claims_free(struct claims **c);                              /* no claim may be left */

enum claim_take { CLAIM_TAKEN, CLAIM_WAITS, CLAIM_NO_MEMORY };

/* TAKEN: it is HELD. WAITS: an exclusive one behind others is QUEUED; granted() tells, then claim_granted() is to be
 * called. Not exclusive: always TAKEN. */
MUST_USE enum claim_take claim_take(struct claims *cs, const struct sess_id *id, bool exclusive, struct claim *c);

/* The same, and never waits: false where it would, or there is no memory. */
MUST_USE bool claim_try(struct claims *cs, const struct sess_id *id, bool exclusive, struct claim *c);

/* The grant has arrived: GRANTED becomes HELD. */
void claim_granted(struct claims *cs, struct claim *c);

/* QUEUED: true, and it is IDLE. GRANTED: false, the grant is on its way: claim_granted() and claim_release() then. True
 * too for one that is IDLE, false for one that is HELD. */
bool claim_cancel(struct claims *cs, struct claim *c);

/* HELD or GRANTED becomes IDLE; who is next is granted. Safe on one that is IDLE. One that was GRANTED must be neither
 * freed nor taken again before its grant has arrived, which then means nothing. */
void claim_release(struct claims *cs, struct claim *c);

/* What a connection of the application's has read or written last, and when. Owned by it, touched by its thread only;
 * zeroed: nothing yet. One session, not the last few: a connection that goes from one to another serves more than one
 * request, or a request that looks after others' sessions, and says nothing of whose the next command is. */
struct claim_touch {
	struct sess_id id;
	uint64_t moment; /* of the claims; 0: never */
};

/* The session of this id is read or written now. Takes no lock. */
void claims_touch(const struct claims *cs, const struct sess_id *id, struct claim_touch *t);

/* The session of this id ends now: all claims are elders, but the one that must have ended it. That is the exclusive
 * one that is HELD; where none is, the only one that is HELD beside; and in both cases only if it is this id that the
 * connection which ends it has touched last, and since that claim is HELD. One that is GRANTED has not begun, and is an
 * elder. Once an elder, always one. NULL: it is nobody's connection that ends it. */
void claims_end(struct claims *cs, const struct sess_id *id, const struct claim_touch *by);

/* Whether a write may create the session of this id: false while an elder does the id's work. The exclusive claim that
 * is HELD or GRANTED does it, and nobody beside it, who only reads. Without one all do that are HELD, and one elder is
 * enough. Who is QUEUED does nothing yet. */
bool claims_may_create(struct claims *cs, const struct sess_id *id);

struct claims_stats {
	uint64_t held, queued;
};
void claims_stats(struct claims *cs, struct claims_stats *out); /* GRANTED counts as held */

void claims_check(struct claims *cs); /* INVARIANTs */

#endif
