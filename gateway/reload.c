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

static struct listener *find_listener(const struct generation *before, const struct conf_listen *c)
{
	for (size_t i = 0; before && i < before->conf->listen_count; i++) {
		if (listener_is(before->listeners[i], c))
			return before->listeners[i];
	}
	return NULL;
}

/* Those that are in `before` too, and new ones, bound. */
static int find_listeners(struct generation *gen, const struct generation *before, struct buf *report)
{
	const struct conf *c = gen->conf;
	int err = 0;

	gen->listeners = calloc(c->listen_count, sizeof(struct listener *));
	if (!gen->listeners)
		return ERR_NO_MEMORY;
	for (size_t i = 0; i < c->listen_count && err != ERR_NO_MEMORY; i++) {
		struct listener *l = find_listener(before, &c->listens[i]);
		int one = 0;
		if (l)
			l->users++;
		else
			l = listener_new(&c->listens[i], report, &one);
		gen->listeners[i] = l;
		err = one ? one : err;
	}
	return err;
}

/* What the machine must give: all is tried, so that one run tells of all that is wrong. */
static int find_all(struct daemon *d, struct generation *gen, const struct generation *before, struct buf *report)
{
	int err = find_listeners(gen, before, report);
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
	return find_all(d, d->gateway.generation, NULL, report);
}

int reload_first_fill(struct daemon *d)
{
	return generation_fill(d->gateway.generation, &d->gateway, &d->book);
}

/* Gives the listeners that nobody polls yet to the workers, one after the other. */
static void hand_out(struct daemon *d)
{
	const struct generation *gen = d->gateway.generation;

	for (size_t i = 0; i < gen->conf->listen_count; i++) {
		if (!gen->listeners[i]->handed_to)
			listener_poll(gen->listeners[i],
				      &d->gateway.workers[d->next_polls++ % d->gateway.worker_count]);
	}
}

void reload_first_listen(struct daemon *d)
{
	pool_shared_lead(d->gateway.generation->pools, NULL);
	hand_out(d);
}

/* --- the end of old ones --- */

static void deliver_left(struct mail *mail)
{
	struct generation_share *s = share_of_mail(mail);
	struct generation *gen = s->generation;
	const struct daemon *d = daemon_of_share(s);

	INVARIANT(gen != d->gateway.generation);
	if (++gen->left < gen->share_count || d->state >= DAEMON_STORING)
		return;
	for (unsigned i = 0; i < gen->share_count; i++)
		share_forget(&gen->shares[i]);
}

static void deliver_forgotten(struct mail *mail)
{
	struct generation *gen = share_of_mail(mail)->generation;

	if (++gen->forgotten < gen->share_count)
		return;
	log_event(LOG_INFO, "generation_ended", LOG_I("generation", gen->number));
	generation_free(&gen);
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
	const struct listener *l = CONTAINER_OF(mail, struct listener, stop);

	count_removed((struct daemon *)l->handed_to->gateway);
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
	adjust_listeners(gen);
	d->reload = RELOAD_UNLISTEN;
	d->removing = 1;
	for (size_t i = 0; i < d->before->conf->listen_count; i++) {
		if (generation_listen(gen, d->before->listeners[i]))
			continue;
		d->removing++;
		listener_remove(d->before->listeners[i]);
	}
	count_removed(d);
}

static void finish(struct daemon *d)
{
	const struct generation *gen = d->gateway.generation;

	d->reload = RELOAD_NONE;
	d->before = NULL;
	d->reloaded = clock_wall();
	if (d->state != DAEMON_RUNNING)
		return;
	hand_out(d);
	log_event(LOG_INFO, "reloaded", LOG_I("generation", gen->number), LOG_I("listeners", gen->conf->listen_count),
		  LOG_I("apps", gen->conf->app_count));
	notify_ready(&d->notify);
	if (d->reload_again) {
		d->reload_again = false;
		reload_signal(d);
	}
}

/* --- the steps before it --- */

enum { NOTES_MAX = 16 };

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

/* Puts together what the conf asks for; *gen holds what there is of it, also after a failure. */
static int prepare(struct daemon *d, struct generation *gen, struct buf *report)
{
	const struct conf *c = gen->conf;
	int err = find_all(d, gen, d->gateway.generation, report);

	if (err != ERR_NO_MEMORY) {
		int log_err = try_log(c, report);
		err = err ? err : log_err;
	}
	if (!err)
		err = generation_fill(gen, &d->gateway, &d->book);
	if (!err)
		err = applications_start(d->applications, gen);
	if (!err && log_open(c->log_level, c->log_to) != 0)
		err = log_refused(c, report);
	return err;
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

void reload_abandon(struct daemon *d)
{
	const struct generation *gen = d->gateway.generation;

	d->reload_again = false;
	for (size_t i = 0; i < gen->conf->listen_count; i++) {
		if (!gen->listeners[i]->handed_to)
			listener_close(gen->listeners[i], false);
	}
}

void reload_fini(struct daemon *d)
{
	while (!list_empty(&d->generations)) {
		struct generation *gen = CONTAINER_OF(d->generations.next, struct generation, link);
		generation_free(&gen);
	}
}
