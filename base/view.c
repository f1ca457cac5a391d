/* Comparing, cutting and reading views. Pure. */
#include "base/view.h"

int view_compare(struct view a, struct view b)
{
	size_t len = a.len < b.len ? a.len : b.len;
	int order = len > 0 ? memcmp(a.at, b.at, len) : 0;

	return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static uint8_t lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c + ('a' - 'A')) : c;
}

bool view_eq_nocase(struct view a, struct view b)
{
	if (a.len != b.len)
		return false;
	for (size_t i = 0; i < a.len; i++) {
		if (lower(a.at[i]) != lower(b.at[i]))
			return false;
	}
	return true;
}

bool view_starts(struct view v, struct view prefix)
{
	return v.len >= prefix.len && view_eq(view_of(v.at, prefix.len), prefix);
}

bool view_ends(struct view v, struct view suffix)
{
	return suffix.len == 0 ||
	       (v.len >= suffix.len && view_eq(view_of(v.at + (v.len - suffix.len), suffix.len), suffix));
}

struct view view_take(struct view *v, size_t n)
{
	if (n > v->len)
		n = v->len;
	struct view head = view_of(v->at, n);
	if (n > 0) {
		v->at += n;
		v->len -= n;
	}
	return head;
}

static bool blank(uint8_t c)
{
	return c == ' ' || c == '\t';
}

struct view view_trim(struct view v)
{
	while (v.len > 0 && blank(v.at[0]))
		(void)view_take(&v, 1);
	while (v.len > 0 && blank(v.at[v.len - 1]))
		v.len--;
	return v;
}

bool view_to_u64(struct view v, uint64_t max, uint64_t *out)
{
	uint64_t n = 0;

	if (v.len == 0)
		return false;
	for (size_t i = 0; i < v.len; i++) {
		if (v.at[i] < '0' || v.at[i] > '9')
			return false;
		uint64_t digit = (uint64_t)(v.at[i] - '0');
		if (n > (max - digit) / 10 || digit > max)
			return false;
		n = n * 10 + digit;
	}
	*out = n;
	return true;
}
