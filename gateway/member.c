/* A member of a cluster: from conf to settings, and the look of each second. */
#include "gateway/member.h"

#include "base/error.h"
#include "base/invariant.h"
#include "base/log.h"
#include "conf/agreed.h"
#include "gateway/notify.h"
#include "net/loop.h"
#include "net/socket.h"
#include "tls/tls.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
	LOOK_MS = 1000,
	BACKLOG = 128,
	WARN_AGAIN_S = 24 * 3600,
};

struct member {
	struct cluster *cluster;         /* owned; NULL: not started */
	struct tls_context *tls, *tried; /* counted; tried: of the reload under way */
	int fd;                          /* owned until the cluster has it; -1: none */
	struct net_loop *loop;           /* borrowed */
	struct notify *notify;           /* borrowed */
	const struct member_ops *ops;    /* static */
	void *owner;                     /* borrowed */
	char *name, *node;               /* owned */
	struct member_apps *apps;        /* counted: of the conf in force */
	struct net_timer timer;
	struct cluster_look look;
	bool looking, stopping, broken;
	struct lease_time looked; /* when the fence was looked at last */
	bool fenced;              /* what it was then */
	uint64_t fenced_ms;
	int64_t warned_s; /* of the certificate's end */
	char status[160]; /* what the service manager was told last */
	pthread_mutex_t lock;
	struct member_look *seen; /* counted; guarded by lock */
};

/* --- what others are told of the apps --- */

static void apps_unref(struct member_apps **all)
{
	struct member_apps *a = *all;

	*all = NULL;
	if (!a || atomic_fetch_sub(&a->refs, 1) > 1)
		return;
	for (size_t i = 0; i < a->count; i++) {
		free(a->at[i].name);
		free(a->at[i].settings);
	}
	free(a);
}

static struct member_apps *apps_ref(struct member_apps *a)
{
	atomic_fetch_add(&a->refs, 1);
	return a;
}

static bool app_fill(struct member_app *to, const struct conf_app *app, const struct conf_cluster *c)
{
	struct buf line = {.max_bytes = 0};

	conf_agreed_put(app, c, &line);
	to->digest = conf_agreed_digest(buf_view(&line));
	buf_put_u8(&line, '\0');
	to->name = strdup(app->name);
	struct view text = buf_view(&line);
	to->settings = !buf_error(&line) && text.at ? strdup((const char *)text.at) : NULL;
	buf_fini(&line);
	return to->name && to->settings;
}

/* Those that have sessions: what has none needs no buckets, which are slices of their ids. NULL: no memory. */
static struct member_apps *apps_of(const struct conf *c)
{
	struct member_apps *a = calloc(1, sizeof *a + c->app_count * sizeof a->at[0]);

	if (!a)
		return NULL;
	atomic_init(&a->refs, 1);
	for (size_t i = 0; i < c->app_count; i++) {
		if (c->apps[i].session.mode == CONF_SESSION_NONE)
			continue;
		if (!app_fill(&a->at[a->count++], &c->apps[i], &c->cluster)) {
			apps_unref(&a);
			return NULL;
		}
	}
	return a;
}

/* --- settings --- */

/* The arrays that the settings borrow. */
struct room {
	const char **peers;
	struct cluster_app *apps;
	char *folder;
};

static void room_free(struct room *r)
{
	free(r->peers);
	free(r->apps);
	free(r->folder);
}

static bool room_fill(struct room *r, const struct conf *c, const struct member_apps *apps)
{
	const struct conf_addresses *peers = &c->cluster.peers;
	size_t folder_bytes = strlen(c->state_dir) + sizeof "/cluster";

	r->peers = calloc(peers->count + 1, sizeof *r->peers);
	r->apps = calloc(apps->count + 1, sizeof *r->apps);
	r->folder = malloc(folder_bytes);
	if (!r->peers || !r->apps || !r->folder)
		return false;
	snprintf(r->folder, folder_bytes, "%s/cluster", c->state_dir);
	for (size_t i = 0; i < peers->count; i++)
		r->peers[i] = peers->at[i].text;
	for (size_t i = 0; i < apps->count; i++)
		r->apps[i] = (struct cluster_app){
		    .name = apps->at[i].name, .settings = apps->at[i].settings, .digest = apps->at[i].digest};
	return true;
}

static struct cluster_settings settings_of(const struct conf *c, const struct room *r, size_t app_count)
{
	const struct conf_cluster *k = &c->cluster;

	return (struct cluster_settings){
	    .name = k->name,
	    .node = c->node,
	    .folder = r->folder,
	    .address = k->address.text,
	    .peers = r->peers,
	    .peer_count = k->peers.count,
	    .zone = k->zone,
	    .url = k->public_url,
	    .votes = k->votes,
	    .witness = k->witness,
	    .priority = k->priority,
	    .buckets = k->buckets,
	    .failure_ms = k->failure_timeout_ms,
	    .election_ms = k->election_timeout_ms,
	    .apps = r->apps,
	    .app_count = app_count,
	    .listen_fd = -1,
	};
}

/* --- certificates and the socket --- */

static int read_files(struct tls_context **out, const struct conf *c, struct tls_said *said)
{
	const struct tls_settings s = {.cluster = c->cluster.name,
				       .node = c->node,
				       .certificate = c->cluster.certificate,
				       .key = c->cluster.key,
				       .authority = c->cluster.ca,
				       .crl = c->cluster.crl};

	return tls_context_load(out, &s, clock_wall(), said);
}

static int load_tls(struct tls_context **out, const struct conf *c, struct tls_said *said)
{
	int err = read_files(out, c, said);

	if (!err && *said->warning)
		log_event(LOG_WARN, "cluster_certificate", LOG_S("reason", said->warning));
	return err;
}

static int listen_at(struct member *m, const struct conf_address *at, char why[MEMBER_WHY_BYTES])
{
	struct net_address address;
	int err =
	    net_address_tcp(&address, at->host, at->port) ? net_listen(&address, BACKLOG, NULL, &m->fd) : ERR_CONFIG;

	if (err)
		snprintf(why, MEMBER_WHY_BYTES, "cluster.listen: \"%s\": %s", at->text,
			 err == ERR_SYSTEM ? strerror(errno) : error_text(err));
	return err;
}

/* --- the look --- */

static void look_free(struct member_look *l)
{
	cluster_picture_fini(&l->picture);
	if (l->apps)
		apps_unref(&l->apps);
	free(l->cluster);
	free(l->node);
	free(l);
}

void member_unref(struct member_look **look)
{
	struct member_look *l = *look;

	*look = NULL;
	if (l && atomic_fetch_sub(&l->refs, 1) == 1)
		look_free(l);
}

struct member_look *member_take(struct member *m)
{
	pthread_mutex_lock(&m->lock);
	struct member_look *l = m->seen;
	if (l)
		atomic_fetch_add(&l->refs, 1);
	pthread_mutex_unlock(&m->lock);
	return l;
}

struct member_look *member_see(struct member *m, struct cluster_picture *picture)
{
	struct member_look *l = calloc(1, sizeof *l);

	if (!l) {
		cluster_picture_fini(picture);
		return NULL;
	}
	l->picture = *picture;
	*picture = (struct cluster_picture){.epoch = 0};
	l->apps = apps_ref(m->apps);
	l->cluster = strdup(m->name);
	l->node = strdup(m->node);
	l->fenced_ms = m->fenced_ms;
	l->certificate_ends_s = tls_context_expires(m->tls).s;
	l->broken = m->broken;
	if (!l->cluster || !l->node) {
		look_free(l);
		return NULL;
	}
	atomic_init(&l->refs, 2);
	pthread_mutex_lock(&m->lock);
	struct member_look *before = m->seen;
	m->seen = l;
	pthread_mutex_unlock(&m->lock);
	member_unref(&before);
	return l;
}

/* One line for the service manager, when it is another than before. */
static void tell(struct member *m, const struct member_look *l)
{
	const struct cluster_picture *p = &l->picture;
	size_t members = p->view ? p->view->view.member_count : 0;
	char text[sizeof m->status];

	if (m->broken)
		snprintf(text, sizeof text, "cluster %s: broken, requests that need a session get 503", m->name);
	else
		snprintf(text, sizeof text, "cluster %s: %s%s, epoch %llu, %zu members%s", m->name, p->state,
			 p->coordinates ? ", coordinates" : "", (unsigned long long)p->epoch, members,
			 p->may_act ? "" : "; requests that need a session get 503");
	if (strcmp(text, m->status) == 0)
		return;
	memcpy(m->status, text, sizeof text);
	notify_status(m->notify, text);
}

static void looked(struct cluster_look *look)
{
	struct member *m = CONTAINER_OF(look, struct member, look);

	m->looking = false;
	if (look->err)
		return; /* what was seen before goes on to be told */
	struct member_look *l = member_see(m, &look->picture);
	if (!l)
		return;
	if (!m->stopping)
		tell(m, l);
	member_unref(&l);
}

static void count_fenced(struct member *m)
{
	struct lease_time now = clock_lease();

	if (m->fenced)
		m->fenced_ms += lease_time_since_ms(now, m->looked);
	m->fenced = !cluster_may_act(m->cluster, now);
	m->looked = now;
}

static void watch_certificate(struct member *m)
{
	int64_t now_s = clock_wall().s, ends_s = tls_context_expires(m->tls).s;

	if (ends_s - now_s > MEMBER_WARN_S || now_s - m->warned_s < WARN_AGAIN_S)
		return;
	m->warned_s = now_s;
	log_event(LOG_WARN, "cluster_certificate", LOG_S("reason", ends_s > now_s ? "it ends soon" : "it has ended"),
		  LOG_I("seconds", ends_s > now_s ? ends_s - now_s : 0));
}

static void on_timer(struct net_timer *timer)
{
	struct member *m = CONTAINER_OF(timer, struct member, timer);

	count_fenced(m);
	watch_certificate(m);
	if (!m->looking) {
		m->looking = true;
		cluster_look(m->cluster, &m->look);
	}
	net_timer_start(m->loop, timer, LOOK_MS);
}

/* --- what the cluster says --- */

static void on_left(void *owner, const char *why)
{
	struct member *m = owner;

	if (why)
		log_event(LOG_WARN, "cluster_not_left", LOG_S("reason", why));
	else
		log_event(LOG_INFO, "cluster_left", LOG_S("cluster", m->name));
	m->ops->left(m->owner);
}

static void on_broken(void *owner, const char *why)
{
	struct member *m = owner;

	(void)why; /* it has been logged */
	m->broken = true;
}

static void on_stopped(void *owner)
{
	struct member *m = owner;

	INVARIANT(!m->looking);
	m->ops->stopped(m->owner);
}

static const struct cluster_ops cluster_ops = {.left = on_left, .broken = on_broken, .stopped = on_stopped};

/* --- life --- */

int member_new(struct member **out, const struct conf *c, char why[MEMBER_WHY_BYTES])
{
	struct tls_said said = {.why = ""};

	*out = NULL;
	if (!c->cluster.name)
		return 0;
	struct member *m = calloc(1, sizeof *m);
	if (!m)
		return ERR_NO_MEMORY;
	*out = m;
	m->fd = -1;
	m->name = strdup(c->cluster.name);
	m->node = strdup(c->node);
	m->apps = apps_of(c);
	pthread_mutex_init(&m->lock, NULL);
	net_timer_init(&m->timer, on_timer);
	if (!m->name || !m->node || !m->apps)
		return ERR_NO_MEMORY;
	int err = load_tls(&m->tls, c, &said);
	if (err && *said.why)
		snprintf(why, MEMBER_WHY_BYTES, "cluster: %s", said.why);
	return err ? err : listen_at(m, &c->cluster.listen, why);
}

void member_try_files(const struct conf *c)
{
	struct tls_context *again = NULL;
	struct tls_said said = {.why = ""};

	if (!c->cluster.name)
		return;
	if (read_files(&again, c, &said) != 0 && *said.why)
		log_event(LOG_WARN, "cluster_file_is_roots", LOG_S("reason", said.why));
	if (again)
		tls_context_unref(&again);
}

int member_start(struct member *m, const struct conf *c, struct net_loop *loop, struct notify *notify,
		 const struct member_ops *ops, void *owner, char why[MEMBER_WHY_BYTES])
{
	struct room room = {.peers = NULL};
	char reason[200] = "";
	int err = ERR_NO_MEMORY;

	m->loop = loop;
	m->notify = notify;
	m->ops = ops;
	m->owner = owner;
	if (room_fill(&room, c, m->apps)) {
		struct cluster_settings s = settings_of(c, &room, m->apps->count);
		s.tls = m->tls;
		s.listen_fd = m->fd;
		m->fd = -1;
		err = cluster_start(&m->cluster, &s, &cluster_ops, m, loop, reason);
	}
	room_free(&room);
	if (err && *reason)
		snprintf(why, MEMBER_WHY_BYTES, "cluster: %s", reason);
	if (err)
		return err;
	m->look.done = looked;
	list_init(&m->look.mail.link);
	m->looked = clock_lease();
	m->fenced = true; /* it has found nobody yet */
	on_timer(&m->timer);
	return 0;
}

struct cluster *member_cluster(const struct member *m)
{
	return m->cluster;
}

static void put_line(struct buf *report, const char *why)
{
	buf_put_str(report, "cluster: ");
	buf_put_str(report, why);
	buf_put_str(report, "\n");
}

int member_try(struct member *m, const struct conf *c, struct buf *report)
{
	struct tls_said said = {.why = ""};

	if (m->tried)
		tls_context_unref(&m->tried);
	int err = load_tls(&m->tried, c, &said);
	if (err && *said.why)
		put_line(report, said.why);
	return err;
}

static void take_tried(struct member *m)
{
	tls_context_unref(&m->tls);
	m->tls = m->tried;
	m->tried = NULL;
	m->warned_s = 0;
}

int member_reload(struct member *m, const struct conf *c, struct buf *report)
{
	char why[200] = "";
	struct member_apps *apps = apps_of(c);
	struct room room = {.peers = NULL};
	int err = ERR_NO_MEMORY;

	INVARIANT(m->tried != NULL);
	if (apps && room_fill(&room, c, apps)) {
		struct cluster_settings s = settings_of(c, &room, apps->count);
		s.tls = m->tried;
		err = cluster_reload(m->cluster, &s, why);
	}
	room_free(&room);
	if (err && err != ERR_NO_MEMORY)
		put_line(report, why);
	if (err) {
		apps_unref(&apps);
		return err;
	}
	take_tried(m);
	apps_unref(&m->apps);
	m->apps = apps;
	return 0;
}

void member_leave(struct member *m)
{
	cluster_leave(m->cluster);
}

void member_stop(struct member *m)
{
	if (!m->cluster) {
		m->ops->stopped(m->owner);
		return;
	}
	m->stopping = true;
	net_timer_stop(m->loop, &m->timer);
	cluster_stop(m->cluster);
}

void member_free(struct member **mm)
{
	struct member *m = *mm;

	*mm = NULL;
	if (!m)
		return;
	if (m->cluster)
		cluster_free(&m->cluster);
	member_unref(&m->seen);
	if (m->apps)
		apps_unref(&m->apps);
	if (m->tls)
		tls_context_unref(&m->tls);
	if (m->tried)
		tls_context_unref(&m->tried);
	if (m->fd >= 0)
		close(m->fd);
	pthread_mutex_destroy(&m->lock);
	free(m->name);
	free(m->node);
	free(m);
}
