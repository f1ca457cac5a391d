/* The event loop's shared parts. Depends on libuv and base/. */
#include "net/loop.h"

#include "base/error.h"
#include "base/invariant.h"
#include "net/stream.h"

#include <stdlib.h>

static uint64_t tick_of(uint64_t ms)
{
	return ms / NET_TICK_MS;
}

static void on_wake(uv_async_t *wake)
{
	struct net_loop *l = wake->data;

	mailbox_deliver(&l->inbox);
	net_loop_flush(l);
}

static void wake_loop(void *arg)
{
	struct net_loop *l = arg;

	uv_async_send(&l->wake);
}

static void on_tick(uv_timer_t *tick);

static void arm(struct net_loop *l, uint64_t due)
{
	uint64_t now = uv_now(&l->uv);
	uint64_t at = due * NET_TICK_MS;

	l->tick_due = due;
	uv_timer_start(&l->tick, on_tick, at > now ? at - now : 0, 0);
}

static void on_tick(uv_timer_t *tick)
{
	struct net_loop *l = tick->data;
	uint64_t now = tick_of(uv_now(&l->uv));
	struct wheel_node *n;

	l->tick_due = UINT64_MAX;
	/* The wheel hands a crowded slot out in portions: an empty answer is the end only when nothing is due. */
	do {
		while ((n = wheel_next(&l->timers, now))) {
			struct net_timer *t = CONTAINER_OF(n, struct net_timer, node);
			t->fire(t);
		}
	} while (wheel_wait(&l->timers) == 0);
	uint64_t wait = wheel_wait(&l->timers);
	if (wait != UINT64_MAX && now + wait < l->tick_due)
		arm(l, now + (wait ? wait : 1));
	net_loop_flush(l);
}

int net_loop_init(struct net_loop *l)
{
	memset(l, 0, sizeof *l);
	l->read_space = malloc(NET_READ_BYTES);
	if (!l->read_space)
		return ERR_NO_MEMORY;
	if (uv_loop_init(&l->uv) != 0) {
		free(l->read_space);
		return ERR_SYSTEM;
	}
	uv_async_init(&l->uv, &l->wake, on_wake);
	uv_timer_init(&l->uv, &l->tick);
	l->wake.data = l->tick.data = l;
	mailbox_init(&l->inbox, wake_loop, l);
	wheel_init(&l->timers, tick_of(uv_now(&l->uv)));
	l->tick_due = UINT64_MAX;
	list_init(&l->dirty);
	return 0;
}

void net_loop_run(struct net_loop *l)
{
	uv_run(&l->uv, UV_RUN_DEFAULT);
}

void net_loop_stop(struct net_loop *l)
{
	uv_close((uv_handle_t *)&l->wake, NULL);
	uv_close((uv_handle_t *)&l->tick, NULL);
}

void net_loop_fini(struct net_loop *l)
{
	mailbox_deliver(&l->inbox);
	mailbox_fini(&l->inbox);
	INVARIANT(uv_loop_close(&l->uv) == 0);
	while (l->spare_count > 0)
		buf_fini(&l->spare[--l->spare_count]);
	free(l->read_space);
}

void net_loop_post(struct net_loop *l, struct mail *mail)
{
	mailbox_post(&l->inbox, mail);
}

void net_loop_flush(struct net_loop *l)
{
	struct list *node;

	while ((node = list_pop(&l->dirty)))
		net_stream_flush(CONTAINER_OF(node, struct net_stream, dirty));
}

void net_timer_init(struct net_timer *t, void (*fire)(struct net_timer *))
{
	wheel_node_init(&t->node);
	t->fire = fire;
}

static uint64_t due_after(const struct net_loop *l, uint64_t ms)
{
	uint64_t now = uv_now(&l->uv);
	uint64_t due = tick_of(now + ms + NET_TICK_MS - 1);

	/* Never the tick that is firing: a timer that starts itself again must let others have their turn. */
	return due > tick_of(now) ? due : tick_of(now) + 1;
}

void net_timer_start(struct net_loop *l, struct net_timer *t, uint64_t ms)
{
	uint64_t due = due_after(l, ms);

	wheel_start(&l->timers, &t->node, due);
	if (due < l->tick_due && !uv_is_closing((uv_handle_t *)&l->tick))
		arm(l, due);
}

void net_timer_start_before(struct net_loop *l, struct net_timer *t, uint64_t ms)
{
	if (!wheel_running(&t->node) || due_after(l, ms) < t->node.due)
		net_timer_start(l, t, ms);
}

void net_timer_stop(struct net_loop *l, struct net_timer *t)
{
	wheel_stop(&l->timers, &t->node);
}

void net_buf_take(struct net_loop *l, struct buf *b)
{
	if (l->spare_count > 0)
		*b = l->spare[--l->spare_count];
	else
		buf_init(b, 0);
}

void net_buf_give(struct net_loop *l, struct buf *b)
{
	if (b->data && b->cap <= NET_SPARE_BYTES && l->spare_count < NET_SPARE_BUFS) {
		buf_clear(b);
		l->spare[l->spare_count++] = *b;
		buf_init(b, 0);
	} else {
		buf_fini(b);
	}
}
