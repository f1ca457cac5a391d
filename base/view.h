/* A view of bytes that somebody else owns. Pure; never allocates. The bytes must outlive the view. */
#ifndef WEIR_BASE_VIEW_H
#define WEIR_BASE_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct view {
	const uint8_t *at; /* borrowed; may be NULL when len is 0 */
	size_t len;        /* bytes */
};

static inline struct view view_of(const void *at, size_t len)
{
	return (struct view){.at = at, .len = len};
}

/* A view of a NUL-terminated string, without the NUL. */
static inline struct view view_str(const char *s)
{
	return view_of(s, strlen(s));
}

/* A string literal. */
#define VIEW(literal) view_of("" literal, sizeof(literal) - 1)

static inline bool view_eq(struct view a, struct view b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

/* < 0, 0 or > 0: the order of bytes; what begins like another and ends there comes before it. */
int view_compare(struct view a, struct view b);

/* Equal but for the case of ASCII letters. */
bool view_eq_nocase(struct view a, struct view b);

bool view_starts(struct view v, struct view prefix);
bool view_ends(struct view v, struct view suffix);

/* Cuts the first n bytes (at most all) off `v` and returns them. */
struct view view_take(struct view *v, size_t n);

/* Without blanks and tabs at both ends. */
struct view view_trim(struct view v);

/* A decimal number without sign, no other byte in `v`, at most `max`. False leaves *out as it was. */
bool view_to_u64(struct view v, uint64_t max, uint64_t *out);

#endif
