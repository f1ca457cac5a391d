/* One event loop and what its thread shares: the clock of the current turn, timers, the mailbox, the read space and
 * spare buffers. Everything here belongs to the loop's thread; only net_loop_post() may be called from others.
 *
 * A turn is one callback of libuv. What it wrote to streams leaves in one go at its end (net_loop_flush), so that a
 * request's head and body, or an answer and its end, are one system call. */
#ifndef WEIR_NET_LOOP_H
#define WEIR_NET_LOOP_H

#include "base/buf.h"
#include "base/clock.h"
#include "base/mailbox.h"
#include "base/wheel.h"

#include <uv.h>

enum {
	NET_READ_BYTES = 65536,   /* one read(2) */
	NET_TICK_MS = 10,         /* resolution of timers */
	NET_SPARE_BUFS = 16,      /* buffers kept for reuse */
	NET_SPARE_BYTES = 131072, /* a larger one is freed instead of kept */
};

struct net_timer {
	struct wheel_node node;
	void (*fire)(struct net_timer *t); /* on the loop's thread; the timer is stopped, and may be started again */
};

struct net_loop {
	uv_loop_t uv;
	uv_async_t wake;
	struct mailbox inbox;
	struct wheel timers;
	uv_timer_t tick;
	uint64_t tick_due;   /* tick for which `tick` is armed; UINT64_MAX: not armed */
	struct list dirty;   /* of struct net_stream: output to flush at the end of this turn */
	uint8_t *read_space; /* NET_READ_BYTES; owned; content is only good inside a read callback */
	struct buf spare[NET_SPARE_BUFS];
	unsigned spare_count;
};

MUST_USE int net_loop_init(struct net_loop *l);

/* Runs until net_loop_stop() and until every handle is closed. */
void net_loop_run(struct net_loop *l);

/* Closes the loop's own handles; net_loop_run() returns when all others are closed too. */
void net_loop_stop(struct net_loop *l);
void net_loop_fini(struct net_loop *l);

/* Sends a mail to this loop; any thread. */
void net_loop_post(struct net_loop *l, struct mail *mail);

/* The time of this turn. */
static inline struct instant net_now(const struct net_loop *l)
{
	return (struct instant){.ms = uv_now(&l->uv)};
}

/* Writes out what the streams of this turn hold. To be called at the end of every libuv callback. */
void net_loop_flush(struct net_loop *l);

void net_timer_init(struct net_timer *t, void (*fire)(struct net_timer *));
/* (Re)starts the timer; it fires at the end of `ms` milliseconds, or up to a tick later. */
void net_timer_start(struct net_loop *l, struct net_timer *t, uint64_t ms);
/* The same, but a timer that runs and would fire earlier is left as it is. */
void net_timer_start_before(struct net_loop *l, struct net_timer *t, uint64_t ms);
void net_timer_stop(struct net_loop *l, struct net_timer *t);

/* An empty buffer, with memory if a spare one is there; and back. */
void net_buf_take(struct net_loop *l, struct buf *b);
void net_buf_give(struct net_loop *l, struct buf *b);

#endif
