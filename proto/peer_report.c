/* REPORT's body (doc/peer-protocol.md, "Bodies"). Pure. A field that a kind does not have is 0, so that each report has
 * one spelling. */
#include "proto/peer_inside.h"

#include "base/error.h"
#include "base/invariant.h"
#include "base/reader.h"

static bool is_sound(const struct peer_report *r)
{
	bool buckets = r->kind == PEER_REPORT_ASKED || r->kind == PEER_REPORT_LOST;
	bool seen = r->kind == PEER_REPORT_REFUSED || r->kind == PEER_REPORT_SILENT;

	if (r->kind < PEER_REPORT_REFUSED || r->kind > PEER_REPORT_LOST)
		return false;
	if (r->kind == PEER_REPORT_LEAVE ? r->name.len > 0 : !name_is_good(r->name))
		return false;
	if (seen != (r->incarnation != 0) || buckets != (r->epoch != 0) || buckets != (r->count != 0))
		return false;
	return buckets ? r->count <= UINT32_MAX - r->first : r->first == 0;
}

void peer_report_encode(const struct peer_report *r, struct buf *out)
{
	INVARIANT(is_sound(r));
	buf_put_number(out, r->kind, 1);
	buf_put_text(out, r->name, 1);
	buf_put_number(out, r->incarnation, 8);
	buf_put_number(out, r->epoch, 8);
	buf_put_number(out, r->first, 4);
	buf_put_number(out, r->count, 4);
}

int peer_report_decode(struct view body, struct peer_report *out)
{
	struct reader in = reader_of(body);
	struct peer_report r = {.kind = (enum peer_report_kind)reader_number(&in, 1)};

	r.name = reader_text(&in, 1);
	r.incarnation = reader_number(&in, 8);
	r.epoch = reader_number(&in, 8);
	r.first = (uint32_t)reader_number(&in, 4);
	r.count = (uint32_t)reader_number(&in, 4);
	if (!reader_done(&in) || !is_sound(&r))
		return ERR_MALFORMED;
	*out = r;
	return 0;
}
