/* Numbers and texts out of a view whose bytes nobody has looked at yet. Pure; allocates nothing.
 *
 * Each taking is bounded by what is left. The first that is not there breaks the reader, and all that follow answer 0
 * or nothing: so a format is read from its beginning to its end and looked at once, with reader_done(). */
#ifndef WEIR_BASE_READER_H
#define WEIR_BASE_READER_H

#include "base/bigendian.h"
#include "base/view.h"

struct reader {
	struct view rest; /* borrowed */
	bool broken;
};

static inline struct reader reader_of(struct view bytes)
{
	return (struct reader){.rest = bytes};
}

static inline struct view reader_bytes(struct reader *r, size_t len)
{
	if (r->broken || r->rest.len < len) {
		r->broken = true;
		return view_of(NULL, 0);
	}
	return view_take(&r->rest, len);
}

/* Of 1 to 8 bytes, big endian. */
static inline uint64_t reader_number(struct reader *r, unsigned bytes)
{
	struct view v = reader_bytes(r, bytes);

	return r->broken ? 0 : bigendian_get(v.at, bytes);
}

/* As many bytes as the number of `count_bytes` bytes in front of them says. */
static inline struct view reader_text(struct reader *r, unsigned count_bytes)
{
	return reader_bytes(r, reader_number(r, count_bytes));
}

/* For what else the format demands. */
static inline void reader_demand(struct reader *r, bool holds)
{
	r->broken = r->broken || !holds;
}

/* All was there, and nothing is left. */
static inline bool reader_done(const struct reader *r)
{
	return !r->broken && r->rest.len == 0;
}

#endif
