/* The commands of the session socket (doc/session-socket.md): one function each, and what they share. Included by
 * gateway/socket_*.c only. */
#ifndef WEIR_GATEWAY_SOCKET_COMMAND_H
#define WEIR_GATEWAY_SOCKET_COMMAND_H

#include "gateway/socket_state.h"

/* Runs a command, or queues it in a MULTI. `raw`: its bytes. */
enum socket_result socket_command(struct socket_client *c, const struct resp_command *cmd, struct view raw);

typedef enum socket_result socket_run(struct socket_client *c, const struct resp_command *cmd);

/* socket_hello.c */
socket_run socket_hello, socket_auth, socket_select, socket_about, socket_ping, socket_echo, socket_info, socket_quit,
    socket_reset;
/* socket_session.c */
socket_run socket_get, socket_getdel, socket_strlen, socket_exists, socket_ttl, socket_pttl, socket_del, socket_mget;
/* socket_set.c */
socket_run socket_set, socket_setex, socket_psetex, socket_setnx, socket_getex, socket_expire, socket_pexpire,
    socket_persist;
/* socket_lock.c */
socket_run socket_eval, socket_evalsha, socket_delex, socket_delifeq;
/* socket_scan.c */
socket_run socket_scan, socket_dbsize;
/* socket_multi.c */
socket_run socket_multi, socket_exec, socket_discard;
void socket_multi_forget(struct socket_client *c);
/* The next command that EXEC has to run, of c->queue. */
struct view socket_multi_next(const struct socket_client *c);

/* --- keys: socket_session.c --- */

struct socket_key {
	struct view text;  /* behind the prefix; borrowed from the command */
	struct sess_id id; /* of the session, or of the lock */
	bool lock;         /* it names a lock of a client's, not a session */
};

/* False: it is no key of this app's, and the error reply is written. */
bool socket_key(struct socket_client *c, struct view arg, struct socket_key *out);

/* The command reads or writes a session's value, as an application does that works on it. What only looks, sets a time
 * or ends the session does not count; nor do MGET, which lists sessions, and GETDEL, which has read nothing before. Of
 * a lock: nothing. */
void socket_touch(struct socket_client *c, const struct socket_key *k);

/* Ends the session, if there is one: *was. Waits until nothing of it can come back. *failed: nobody can say. */
enum socket_result socket_end_session(struct socket_client *c, const struct socket_key *k, bool *was, bool *failed);

/* What was gathered of the reply, behind what is written of it. A failure ends the connection. */
void socket_put_partial(struct socket_client *c);

/* A number without a sign, at most `max`; as in Redis no zero stands in front of others. */
bool socket_number(struct view v, uint64_t max, uint64_t *out);

/* Whether there is a session or a lock. *failed: nobody can say. */
enum socket_result socket_is_there(struct socket_client *c, const struct socket_key *k, bool *there, bool *failed);

/* One value to `to`, of a session or of a lock; null where there is none. */
enum socket_result socket_put_value(struct socket_client *c, const struct socket_key *k, struct buf *to);

/* Errors that more than one command gives. */
void socket_error(struct socket_client *c, const char *text);
void socket_wrong_arity(struct socket_client *c, struct view name);
void socket_unavailable(struct socket_client *c);

/* --- locks: socket_lock.c --- */

struct socket_set_wish {
	bool only_new;
	uint64_t ttl_ms; /* 0: none */
	struct view token;
};
enum socket_result socket_lock_take(struct socket_client *c, const struct socket_key *k,
				    const struct socket_set_wish *wish);
bool socket_lock_extend(struct socket_client *c, const struct socket_key *k, uint64_t ttl_ms); /* keylock_extend() */

#endif
