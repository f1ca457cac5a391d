/* What the cluster's node writes to the log. The events and their fields are told in weir(8). */
#include "cluster/node_state.h"

#include "base/bigendian.h"
#include "base/log.h"
#include "base/siphash.h"

#include <inttypes.h>
#include <stdio.h>

/* Where every format of a view has its epoch. */
enum { EPOCH_AT = 4 + 2 + 4 + CLUS_ID_BYTES, EPOCH_BYTES = 8, FIELDS = 6 };

static const char *const names[] = {
#define NODE_LOG_ROW(name, text) [name] = (text),
    CLUS_LOG_TABLE(NODE_LOG_ROW)
#undef NODE_LOG_ROW
};

static enum log_level level_of(enum clus_log log)
{
	return log == CLUS_LOG_JOINED || log == CLUS_LOG_LEFT || log == CLUS_LOG_COORDINATES ? LOG_INFO : LOG_WARN;
}

static void put(struct log_field *fields, size_t *count, const char *key, struct view text)
{
	if (text.len > 0)
		fields[(*count)++] = LOG_V(key, text);
}

static void put_number(struct log_field *fields, size_t *count, const char *key, uint64_t number, char text[24])
{
	snprintf(text, 24, "%" PRIu64, number);
	fields[(*count)++] = LOG_S(key, text);
}

void node_log(const struct clus_effect *e)
{
	struct log_field fields[FIELDS];
	size_t count = 0;
	char number[24];

	if (!log_wants(level_of(e->log)))
		return;
	put(fields, &count, "name", e->name);
	put(fields, &count, "app", e->app);
	if (e->log == CLUS_LOG_SETTINGS) {
		fields[count++] = LOG_V("settings", e->text);
		fields[count++] = LOG_V("counting", e->other);
	} else {
		put(fields, &count, "reason", e->text);
	}
	if (e->log == CLUS_LOG_COORDINATES)
		put_number(fields, &count, "after_epoch", e->number, number);
	else if (e->number > 0)
		put_number(fields, &count, "number", e->number, number);
	log_write(level_of(e->log), names[e->log], fields, count);
}

/* Says only which views are the same. */
static const char *digest_of(struct view bytes, char text[24])
{
	static const uint8_t key[16] = {0};

	snprintf(text, 24, "%016" PRIx64, siphash(siphash_key_load(key), bytes));
	return text;
}

void node_log_installed(const struct clus_view *v, struct view bytes)
{
	char digest[24];

	log_event(LOG_INFO, "view_installed", LOG_I("epoch", v->epoch),
		  LOG_V("coordinator", v->members[v->coordinator].name), LOG_I("members", v->member_count),
		  LOG_I("voters", v->voter_count), LOG_S("digest", digest_of(bytes, digest)));
}

void node_log_committed(struct view bytes)
{
	char digest[24];

	if (bytes.len < EPOCH_AT + EPOCH_BYTES)
		return;
	log_event(LOG_INFO, "view_committed", LOG_I("epoch", bigendian_get(bytes.at + EPOCH_AT, EPOCH_BYTES)),
		  LOG_S("digest", digest_of(bytes, digest)));
}

const char *node_state_text(enum clus_state state)
{
	static const char *const texts[] = {"seeking", "member", "fenced", "leaving", "gone"};

	return texts[state];
}
