/* What the files of cluster/peer*.c do for each other. Private to them. */
#ifndef WEIR_CLUSTER_PEER_INSIDE_H
#define WEIR_CLUSTER_PEER_INSIDE_H

#include "cluster/peer_state.h"

/* peer.c */
struct peer *peers_find(const struct peers *p, struct view name);
struct peer *peers_obtain(struct peers *p, struct view name); /* NULL: no memory or too many */
bool peer_is_forbidden(const struct peer *peer, uint64_t incarnation);
void peer_forbid(struct peer *peer, uint64_t incarnation);
void peer_say_down(struct peers *p, struct peer *peer, enum peers_why why);
void peers_look_soon(struct peers *p);
void peers_perhaps_gone(struct peers *p);

/* peer_conn.c */
int conn_accept(struct peers *p, int fd, const char *address);
struct conn *conn_dial(struct target *t, enum peer_link kind);
/* Ends it at once; when what was said has left; with a GOODBYE. `why` stays with the link; NULL: it is no failure. An
 * owner whose control link it was is told that the node is down. */
void conn_shut(struct conn *c, const char *why);
void conn_linger(struct conn *c, const char *why);
void conn_goodbye(struct conn *c, enum peer_goodbye_reason reason, const char *why);

/* Whether the other side's certificate, which was good, is by what was read since. False: it has been ended. */
bool conn_is_still_good(struct conn *c);

/* peer_greet.c: HELLO and which connection is a link's */
void conn_say_hello(struct conn *c);
void conn_hear_hello(struct conn *c, struct view body);
/* A HELLO of ours is to go to whom we have a link to already: it does not. */
bool conn_is_needless(const struct conn *c);

/* peer_frames.c: what comes on a connection */
void conn_hear(struct conn *c);

/* peer_send.c */
void conn_put(struct conn *c, enum peer_type type, struct view body);
void conn_pump(struct conn *c);
void conn_drop_queue(struct conn *c);
void conn_beat(struct conn *c);

/* peer_dial.c */
/* A link has ended. One that lasted is dialled again at once. */
void dial_again(struct peers *p, struct view name, enum peer_link kind, bool lasted);
void dial_failed(struct conn *c, bool refused);
void dial_done(struct conn *c);
void dial_all(struct peers *p); /* without waiting longer */
void targets_free(struct peers *p);

/* peer_accept.c */
int listener_start(struct peers *p, int fd);
void listener_resume(struct peers *p);
void listener_stop(struct peers *p);
/* It has been accepted; it is open, or gone. The second is safe to repeat. */
void greeter_in(struct conn *c);
void greeter_out(struct conn *c);

/* peer_log.c: once a second each kind */
void peer_log_refused(struct peers *p, unsigned kind, const char *reason, const char *detail, const char *address,
		      struct view name);
/* Those that wait and whose second is over, or all. Whether any waits still. */
bool peer_log_flush(struct peers *p, bool all);
enum { REFUSED_TLS = 0, REFUSED_GOODBYE = 16, REFUSED_HEARD = 29, REFUSED_MANY = 30, REFUSED_LATE = 31 };

#endif
