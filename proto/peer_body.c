/* The bodies of HELLO, GOODBYE, BEAT and CREDIT (doc/peer-protocol.md, "Bodies"). Pure. Each has one spelling: what a
 * decoder takes, its encoder gives again byte for byte. */
#include "proto/peer_inside.h"

#include "base/error.h"
#include "base/invariant.h"
#include "base/reader.h"

static const uint8_t magic[PEER_MAGIC_BYTES] = {'w', 'e', 'i', 'r'};

enum { FLAG_WITNESS = 1, FLAG_VOTES = 2, FLAG_LEAVING = 4, FLAGS_KNOWN = FLAG_WITNESS | FLAG_VOTES | FLAG_LEAVING };

/* --- HELLO --- */

/* One line for people: printable ASCII and blanks. */
static bool is_line(struct view text, size_t max)
{
	if (text.len > max)
		return false;
	for (size_t i = 0; i < text.len; i++) {
		if (text.at[i] < ' ' || text.at[i] >= 0x7f)
			return false;
	}
	return true;
}

static bool are_sound_apps(const struct peer_app *apps, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (!name_is_good(apps[i].name) || !is_line(apps[i].settings, PEER_SETTINGS_MAX) ||
		    (i > 0 && view_compare(apps[i - 1].name, apps[i].name) >= 0))
			return false;
	}
	return true;
}

/* What a view demands of a member (cluster/view.h), so that whoever says HELLO can become one. */
static bool is_sound(const struct peer_hello *h)
{
	if (h->version_least == 0 || h->version_least > h->version_greatest || h->app_count > PEER_APPS_MAX)
		return false;
	if (h->link != PEER_LINK_CONTROL && h->link != PEER_LINK_BULK)
		return false;
	if (!name_is_good(h->name) || h->incarnation == 0 || h->address.len == 0 ||
	    !name_is_visible(h->address, PEER_ADDRESS_MAX))
		return false;
	if ((h->zone.len > 0 && !name_is_good(h->zone)) || !name_is_visible(h->url, PEER_URL_MAX))
		return false;
	return !(h->witness && h->app_count > 0) && are_sound_apps(h->apps, h->app_count);
}

void peer_hello_encode(const struct peer_hello *h, struct buf *out)
{
	INVARIANT(is_sound(h));
	buf_put(out, view_of(magic, sizeof magic));
	buf_put_number(out, h->version_least, 2);
	buf_put_number(out, h->version_greatest, 2);
	buf_put_number(out, h->link, 1);
	buf_put(out, view_of(h->cluster, PEER_CLUSTER_BYTES));
	buf_put_text(out, h->name, 1);
	buf_put_number(out, h->incarnation, 8);
	buf_put_number(out, h->epoch, 8);
	buf_put_number(
	    out, (h->witness ? FLAG_WITNESS : 0U) | (h->votes ? FLAG_VOTES : 0U) | (h->leaving ? FLAG_LEAVING : 0U), 1);
	buf_put_text(out, h->address, 2);
	buf_put_text(out, h->zone, 1);
	buf_put_text(out, h->url, 2);
	buf_put_number(out, h->app_count, 2);
	for (size_t i = 0; i < h->app_count; i++) {
		buf_put_text(out, h->apps[i].name, 1);
		buf_put_number(out, h->apps[i].digest, 8);
		buf_put_text(out, h->apps[i].settings, 2);
	}
}

struct versions {
	uint16_t least, greatest;
};

static void take_start(struct reader *r, struct versions *out)
{
	reader_demand(r, view_eq(reader_bytes(r, sizeof magic), view_of(magic, sizeof magic)));
	out->least = (uint16_t)reader_number(r, 2);
	out->greatest = (uint16_t)reader_number(r, 2);
	reader_demand(r, out->least > 0 && out->least <= out->greatest);
}

int peer_hello_versions(struct view body, uint16_t *least, uint16_t *greatest)
{
	struct reader r = reader_of(body);
	struct versions said;

	take_start(&r, &said);
	if (r.broken)
		return ERR_MALFORMED;
	*least = said.least;
	*greatest = said.greatest;
	return 0;
}

static void take_flags(struct reader *r, struct peer_hello *h)
{
	uint64_t flags = reader_number(r, 1);

	reader_demand(r, (flags & ~(uint64_t)FLAGS_KNOWN) == 0);
	h->witness = (flags & FLAG_WITNESS) != 0;
	h->votes = (flags & FLAG_VOTES) != 0;
	h->leaving = (flags & FLAG_LEAVING) != 0;
}

static void take_apps(struct reader *r, struct peer_hello *h)
{
	uint64_t count = reader_number(r, 2);

	reader_demand(r, count <= PEER_APPS_MAX);
	for (size_t i = 0; !r->broken && i < count; i++) {
		h->apps[i].name = reader_text(r, 1);
		h->apps[i].digest = reader_number(r, 8);
		h->apps[i].settings = reader_text(r, 2);
	}
	h->app_count = (uint16_t)count;
}

static uint16_t common(struct versions a, struct versions b)
{
	uint16_t least = a.least > b.least ? a.least : b.least;
	uint16_t greatest = a.greatest < b.greatest ? a.greatest : b.greatest;

	return least <= greatest ? greatest : 0;
}

int peer_hello_decode(struct view body, struct peer_hello *out)
{
	struct reader r = reader_of(body);
	struct versions said;
	struct peer_hello h = {0};

	take_start(&r, &said);
	if (!r.broken && common(said, (struct versions){PEER_VERSION_LEAST, PEER_VERSION_GREATEST}) == 0)
		return ERR_VERSION;
	h.version_least = said.least;
	h.version_greatest = said.greatest;
	h.link = (enum peer_link)reader_number(&r, 1);
	struct view cluster = reader_bytes(&r, PEER_CLUSTER_BYTES);
	h.name = reader_text(&r, 1);
	h.incarnation = reader_number(&r, 8);
	h.epoch = reader_number(&r, 8);
	take_flags(&r, &h);
	h.address = reader_text(&r, 2);
	h.zone = reader_text(&r, 1);
	h.url = reader_text(&r, 2);
	take_apps(&r, &h);
	if (!reader_done(&r) || !is_sound(&h))
		return ERR_MALFORMED;
	memcpy(h.cluster, cluster.at, PEER_CLUSTER_BYTES);
	*out = h;
	return 0;
}

uint16_t peer_version_common(const struct peer_hello *a, const struct peer_hello *b)
{
	return common((struct versions){a->version_least, a->version_greatest},
		      (struct versions){b->version_least, b->version_greatest});
}

/* --- GOODBYE --- */

const char *peer_goodbye_text(unsigned reason)
{
#define ROW(name, number, text)                                                                                        \
	if (reason == (number))                                                                                        \
		return text;
	PEER_GOODBYE_TABLE(ROW)
#undef ROW
	return "unknown";
}

void peer_goodbye_encode(const struct peer_goodbye *g, struct buf *out)
{
	buf_put_number(out, g->reason, 2);
	buf_put_text(out, g->text, 1);
}

int peer_goodbye_decode(struct view body, struct peer_goodbye *out)
{
	struct reader r = reader_of(body);
	uint16_t reason = (uint16_t)reader_number(&r, 2);
	struct view text = reader_text(&r, 1);

	if (!reader_done(&r))
		return ERR_MALFORMED;
	*out = (struct peer_goodbye){.reason = reason, .text = text};
	return 0;
}

/* --- BEAT --- */

bool peer_heard_next(struct view *rest, struct view *name)
{
	if (rest->len == 0)
		return false;
	struct reader r = reader_of(*rest);
	struct view next = reader_text(&r, 1);
	if (r.broken)
		return false;
	*rest = r.rest;
	*name = next;
	return true;
}

void peer_heard_put(struct buf *out, struct view name)
{
	INVARIANT(name_is_good(name));
	buf_put_text(out, name, 1);
}

/* Exactly `count` names. */
static bool is_heard(struct view heard, size_t count)
{
	struct view name;

	while (count > 0 && peer_heard_next(&heard, &name) && name_is_good(name))
		count--;
	return count == 0 && heard.len == 0;
}

void peer_beat_encode(const struct peer_beat *b, struct buf *out)
{
	INVARIANT(b->heard_count <= PEER_HEARD_MAX);
	INVARIANT(is_heard(b->heard, b->heard_count));
	buf_put_number(out, b->sent_us, 8);
	buf_put_number(out, b->echo_us, 8);
	buf_put_number(out, b->held_us, 8);
	buf_put_number(out, b->epoch, 8);
	buf_put_number(out, b->heard_count, 2);
	buf_put(out, b->heard);
}

int peer_beat_decode(struct view body, struct peer_beat *out)
{
	struct reader r = reader_of(body);
	struct peer_beat b = {.sent_us = reader_number(&r, 8)};

	b.echo_us = reader_number(&r, 8);
	b.held_us = reader_number(&r, 8);
	b.epoch = reader_number(&r, 8);
	b.heard_count = (uint16_t)reader_number(&r, 2);
	if (r.broken || b.heard_count > PEER_HEARD_MAX || !is_heard(r.rest, b.heard_count))
		return ERR_MALFORMED;
	b.heard = r.rest;
	*out = b;
	return 0;
}

/* --- CREDIT --- */

void peer_credit_encode(uint32_t bytes, struct buf *out)
{
	buf_put_number(out, bytes, PEER_CREDIT_BYTES);
}

int peer_credit_decode(struct view body, uint32_t *bytes)
{
	struct reader r = reader_of(body);
	uint32_t said = (uint32_t)reader_number(&r, PEER_CREDIT_BYTES);

	if (!reader_done(&r))
		return ERR_MALFORMED;
	*bytes = said;
	return 0;
}
