/* From one configuration to the next (doc/reload.md), and the first one. Main thread. */
#include "gateway/daemon_state.h"

#include "base/error.h"
#include "base/invariant.h"
#include "base/log.h"
#include "gateway/listener.h"
#include "gateway/report.h"
#include "gateway/restart.h"
#include "gateway/sessions.h"
#include "gateway/share.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static void finish(struct daemon *d);

static struct daemon *daemon_of_share(const struct generation_share *s)
{
	return (struct daemon *)s->worker->gateway;
}

static struct generation_share *share_of_mail(struct mail *mail)
{
	return CONTAINER_OF(mail, struct generation_share, mail);
}

/* --- making a generation --- */

/* What is open at that address, in whatever generation: a session socket stays for a while when it is in the newest one
 * no more. */
static struct listener *find_listener(const struct daemon *d, const struct conf_listen *c)
{
	LIST_EACH (node, &d->generations) {
		const struct generation *gen = CONTAINER_OF(node, struct generation, link);
		for (size_t i = 0; i < gen->conf->listen_count; i++) {
			struct listener *l = gen->listeners ? gen->listeners[i] : NULL;
			if (l && !l->closed && listener_at(l, c))
				return l;
		}
	}
	return NULL;
}

/* NULL: *err, and why in the report. */
static struct listener *get_listener(const struct daemon *d, const struct conf *c, size_t i, struct buf *report,
				     int *err)
{
	const struct conf_listen *at = &c->listens[i];
	const char *app = at->protocol == CONF_RESP ? c->apps[at->app].name : NULL;
	struct listener *l = find_listener(d, at);

	if (!l)
		return listener_new(at, app, report, err);
	if (l->going || !listener_serves(l, app)) {
		*err = ERR_BUSY;
		listener_put_why(at, "weir has it open for something else: take that out in a reload of its own",
				 report);
		return NULL;
	}
	l->users++;
	return l;
}

/* Those that are open already, and new ones, bound. */
static int find_listeners(const struct daemon *d, struct generation *gen, struct buf *report)
{
	const struct conf *c = gen->conf;
	struct listener **all = calloc(c->listen_count, sizeof(struct listener *));
	int err = 0;

	if (!all)
		return ERR_NO_MEMORY;
	for (size_t i = 0; i < c->listen_count && err != ERR_NO_MEMORY; i++) {
		int one = 0;
		all[i] = get_listener(d, c, i, report, &one);
		err = one ? one : err;
	}
	gen->listeners = all;
	return err;
}

/* What the machine must give: all is tried, so that one run tells of all that is wrong. */
static int find_all(struct daemon *d, struct generation *gen, struct buf *report)
{
	int err = find_listeners(d, gen, report);
	int other = err == ERR_NO_MEMORY ? 0 : applications_find(d->applications, gen, report);

	return err ? err : other;
}

static int log_refused(const struct conf *c, struct buf *report)
{
	buf_put_str(report, "log.to: \"");
	buf_put_str(report, c->log_to);
	buf_put_str(report, "\": ");
	buf_put_str(report, strerror(errno));
	buf_put_str(report, "\n");
	return ERR_SYSTEM;
}

/* Whether the log could be opened. It is not changed before all else is done. */
static int try_log(const struct conf *c, struct buf *report)
{
	if (strcmp(c->log_to, "stderr") == 0)
		return 0;
	int fd = open(c->log_to, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0640);
	if (fd < 0)
		return log_refused(c, report);
	close(fd);
	return 0;
}

/* --- the first one --- */

int reload_first_find(struct daemon *d, struct buf *report)
{
	return find_all(d, d->gateway.generation, report);
}

int reload_first_fill(struct daemon *d)
{
	return generation_fill(d->gateway.generation, &d->gateway, &d->book);
}

static void name_newest(struct generation *gen)
{
	for (size_t i = 0; i < gen->conf->listen_count; i++)
		gen->listeners[i]->newest = gen;
}

/* Gives the listeners that nobody polls yet to the workers, one after the other. */
static void hand_out(struct daemon *d)
{
	struct generation *gen = d->gateway.generation;

	for (size_t i = 0; i < gen->conf->listen_count; i++) {
		struct listener *l = gen->listeners[i];
		if (!l->handed_to && !l->closed)
			listener_poll(l, gen, &d->gateway.workers[d->next_polls++ % d->gateway.worker_count]);
	}
}

void reload_first_listen(struct daemon *d)
{
	pool_shared_lead(d->gateway.generation->pools, NULL);
	name_newest(d->gateway.generation);
	hand_out(d);
}

/* --- the end of old ones --- */

/* No session socket of the generation is open any more that is in no other. */
static void count_ending(const struct daemon *d, struct generation *gen)
{
	if (--gen->removing > 0 || d->state >= DAEMON_LEAVING)
		return;
	for (unsigned i = 0; i < gen->share_count; i++)
		share_forget(&gen->shares[i]);
}

/* No request of it is left. What was its session socket last may be that of an older one, whose requests still need it:
 * then it waits for that one. */
static bool may_end(const struct generation *gen)
{
	for (size_t i = 0; i < gen->conf->listen_count; i++) {
		const struct listener *l = gen->listeners[i];
		if (l->app && l->newest == gen && l->users > 1)
			return false;
	}
	return true;
}

static void begin_end(const struct daemon *d, struct generation *gen)
{
	gen->ending = true;
	gen->removing = 1;
	for (size_t i = 0; i < gen->conf->listen_count; i++) {
		struct listener *l = gen->listeners[i];
		if (!l->app || l->newest != gen)
			continue;
		gen->removing++;
		l->last = gen;
		listener_remove(l);
	}
	count_ending(d, gen);
}

/* Not during a reload, which may take up again what would be closed. */
static void look_ends(const struct daemon *d)
{
	if (d->reload != RELOAD_NONE || d->state >= DAEMON_LEAVING)
		return;
	LIST_EACH (node, &d->generations) {
		struct generation *gen = CONTAINER_OF(node, struct generation, link);
		if (gen->left == gen->share_count && !gen->ending && may_end(gen))
			begin_end(d, gen);
	}
}

static void deliver_left(struct mail *mail)
{
	struct generation_share *s = share_of_mail(mail);
	const struct daemon *d = daemon_of_share(s);

	INVARIANT(s->generation != d->gateway.generation);
	if (++s->generation->left == s->generation->share_count)
		look_ends(d);
}

static void deliver_forgotten(struct mail *mail)
{
	struct generation_share *s = share_of_mail(mail);
	const struct daemon *d = daemon_of_share(s);
	struct generation *gen = s->generation;

	if (++gen->forgotten < gen->share_count)
		return;
	log_event(LOG_INFO, "generation_ended", LOG_I("generation", gen->number));
	generation_free(&gen);
	look_ends(d);
}

/* --- the steps after the point of no return --- */

static void deliver_switched(struct mail *mail)
{
	struct generation_share *s = share_of_mail(mail);

	if (++s->generation->switched == s->generation->share_count)
		finish(daemon_of_share(s));
}

static void switch_all(struct daemon *d)
{
	struct generation *gen = d->gateway.generation;

	d->reload = RELOAD_SWITCH;
	pool_shared_lead(gen->pools, d->before->pools);
	for (unsigned i = 0; i < gen->share_count; i++)
		share_switch(&gen->shares[i]);
}

static void count_removed(struct daemon *d)
{
	if (--d->removing == 0 && d->state == DAEMON_RUNNING)
		switch_all(d);
}

static void deliver_removed(struct mail *mail)
{
	struct listener *l = CONTAINER_OF(mail, struct listener, stop);
	struct daemon *d = (struct daemon *)l->handed_to->gateway;

	l->closed = true;
	if (l->last)
		count_ending(d, l->last);
	else
		count_removed(d);
}

static void adjust_listeners(const struct generation *gen)
{
	for (size_t i = 0; i < gen->conf->listen_count; i++) {
		struct listener *l = gen->listeners[i];
		if (!listener_adjust(l, &gen->conf->listens[i]))
			log_event(LOG_WARN, "listener_not_changed", LOG_S("listener", l->name),
				  LOG_S("reason", strerror(errno)));
	}
}

/* Nothing can fail any more. */
static void commit(struct daemon *d, struct generation *gen)
{
	d->before = d->gateway.generation;
	d->gateway.generation = gen;
	d->numbers = gen->number;
	list_append(&d->generations, &gen->link);
	sessions_set(&d->gateway, gen->conf);
	admin_set(d->admin, &gen->conf->admin);
	name_newest(gen);
	adjust_listeners(gen);
	d->reload = RELOAD_UNLISTEN;
	d->removing = 1;
	for (size_t i = 0; i < d->before->conf->listen_count; i++) {
		struct listener *l = d->before->listeners[i];
		if (l->app || l->newest == gen)
			continue;
		d->removing++;
		listener_remove(l);
	}
	count_removed(d);
}

static void finish(struct daemon *d)
{
	const struct generation *gen = d->gateway.generation;

	d->reload = RELOAD_NONE;
	d->before = NULL;
	d->reloaded = clock_wall();
	/* At the end of the daemon too: requests of the new generation run already. */
	if (d->state == DAEMON_RUNNING || (d->state == DAEMON_DRAINING && !d->hung_up))
		hand_out(d);
	look_ends(d);
	if (d->state != DAEMON_RUNNING)
		return;
	log_event(LOG_INFO, "reloaded", LOG_I("generation", gen->number), LOG_I("listeners", gen->conf->listen_count),
		  LOG_I("apps", gen->conf->app_count));
	notify_ready(&d->notify);
	if (d->reload_again) {
		d->reload_again = false;
		reload_signal(d);
	}
}

/* --- the steps before it --- */

enum { NOTES_MAX = 32 };

/* Options that need a restart. */
struct notes {
	const char *options[NOTES_MAX]; /* static */
	size_t count;
};

static void note(void *arg, const char *option)
{
	struct notes *n = arg;

	INVARIANT(n->count < NOTES_MAX);
	n->options[n->count++] = option;
}

static int too_many(struct daemon *d, struct buf *report)
{
	unsigned count = 0;

	LIST_EACH (node, &d->generations)
		count++;
	if (count < GENERATIONS_MAX)
		return 0;
	buf_put_str(report, "requests of ");
	buf_put_u64(report, count);
	buf_put_str(report, " configurations still run: wait for the oldest ones to end\n");
	return ERR_FULL;
}

/* The last that can fail. The log goes back then to where it was: not to be had any more, it stays where it is. */
static int tell_cluster(const struct daemon *d, const struct conf *c, struct buf *report)
{
	const struct conf *now = daemon_conf(d);
	int err = d->gateway.member ? member_reload(d->gateway.member, c, report) : 0;

	if (err && log_open(now->log_level, now->log_to) != 0)
		log_event(LOG_WARN, "log_not_reopened", LOG_S("reason", strerror(errno)));
	return err;
}

/* Puts together what the conf asks for; *gen holds what there is of it, also after a failure. */
static int prepare(struct daemon *d, struct generation *gen, struct buf *report)
{
	const struct conf *c = gen->conf;
	int err = find_all(d, gen, report);

	if (err != ERR_NO_MEMORY) {
		int log_err = try_log(c, report);
		err = err ? err : log_err;
	}
	if (err != ERR_NO_MEMORY && d->gateway.member) {
		int member_err = member_try(d->gateway.member, c, report);
		err = err ? err : member_err;
	}
	if (!err)
		err = generation_fill(gen, &d->gateway, &d->book);
	if (!err)
		err = applications_start(d->applications, gen);
	if (!err && log_open(c->log_level, c->log_to) != 0)
		err = log_refused(c, report);
	return err ? err : tell_cluster(d, c, report);
}

static void log_refusal(const struct buf *report)
{
	struct view rest = buf_view(report), line;

	while (report_next(&rest, &line))
		log_event(LOG_ERROR, "reload_refused", LOG_V("reason", line));
}

static void tell_restarts(const struct daemon *d, const struct notes *notes, struct buf *report)
{
	for (size_t i = 0; i < notes->count; i++) {
		log_event(LOG_WARN, "reload_needs_restart", LOG_S("option", notes->options[i]));
		buf_put_str(report, d->path);
		buf_put_str(report, ": ");
		buf_put_str(report, notes->options[i]);
		buf_put_str(report, ": needs a restart; the old value stays in force\n");
	}
}

/* 0: *gen is ready to be used. Otherwise nothing has changed. */
static int make(struct daemon *d, struct conf *c, struct notes *notes, struct generation **gen, struct buf *report)
{
	struct buf trouble = {.max_bytes = 0};
	int err = restart_keep(c, daemon_conf(d), note, notes);

	*gen = generation_new(c, d->numbers + 1); /* takes the conf in any case */
	if (!*gen)
		return ERR_NO_MEMORY;
	if (!err)
		err = too_many(d, &trouble);
	if (!err)
		err = prepare(d, *gen, &trouble);
	report_put(report, d->path, buf_view(&trouble));
	buf_fini(&trouble);
	if (err)
		generation_free(gen);
	return err;
}

static int reload(struct daemon *d, struct buf *report)
{
	struct conf *c = NULL;
	struct generation *gen = NULL;
	struct notes notes = {.count = 0};
	int err = conf_load(d->path, &c, report);

	if (!err)
		err = make(d, c, &notes, &gen, report);
	if (!err) {
		tell_restarts(d, &notes, report);
		commit(d, gen);
		return 0;
	}
	if (buf_len(report) == 0) {
		buf_put_str(report, error_text(err));
		buf_put_str(report, "\n");
	}
	log_refusal(report);
	d->reloads_failed++;
	return err;
}

static int reload_now(struct daemon *d, struct buf *report)
{
	if (d->state != DAEMON_RUNNING || d->reload != RELOAD_NONE) {
		buf_put_str(report, d->state != DAEMON_RUNNING ? "weir is ending\n" : "a reload is under way\n");
		log_refusal(report);
		return ERR_BUSY;
	}
	notify_reloading(&d->notify);
	int err = reload(d, report);
	if (err)
		notify_ready(&d->notify);
	return err;
}

int control_reload(struct daemon *d, struct buf *report)
{
	return reload_now(d, report);
}

void reload_signal(struct daemon *d)
{
	struct buf report = {.max_bytes = 0};

	if (d->reload != RELOAD_NONE && d->state == DAEMON_RUNNING) {
		d->reload_again = true;
		return;
	}
	reload_now(d, &report); /* it has logged what is to be said */
	buf_fini(&report);
}

/* --- life --- */

int reload_init(struct daemon *d, struct conf *first)
{
	struct generation *gen = generation_new(first, ++d->numbers);

	if (!gen)
		return ERR_NO_MEMORY;
	list_init(&d->generations);
	list_append(&d->generations, &gen->link);
	d->gateway.generation = gen;
	pool_book_init(&d->book);
	d->gateway.main = &d->loop;
	d->gateway.removed = deliver_removed;
	d->gateway.switched = deliver_switched;
	d->gateway.left = deliver_left;
	d->gateway.forgotten = deliver_forgotten;
	return 0;
}

void reload_abandon(struct daemon *d, bool all)
{
	const struct generation *gen = d->gateway.generation;

	d->reload_again = false;
	for (size_t i = 0; i < gen->conf->listen_count; i++) {
		struct listener *l = gen->listeners[i];
		/* Where workers go over to the new generation the others are handed out when all have. */
		if (l->handed_to || (l->app && !all && d->reload == RELOAD_SWITCH))
			continue;
		l->closed = true;
		listener_close(l, false);
	}
}

void reload_fini(struct daemon *d)
{
	while (!list_empty(&d->generations)) {
		struct generation *gen = CONTAINER_OF(d->generations.next, struct generation, link);
		generation_free(&gen);
	}
}
