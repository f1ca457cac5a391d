/* The byte queue. Depends on malloc only. */
#include "base/buf.h"

#include "base/bigendian.h"
#include "base/error.h"
#include "base/invariant.h"

#include <stdlib.h>

enum { BUF_FIRST_BYTES = 2048 };

void buf_check(const struct buf *b)
{
	INVARIANT(b->head <= b->tail);
	INVARIANT(b->tail <= b->cap);
	INVARIANT(b->cap == 0 || b->data != NULL);
	INVARIANT(b->max_bytes == 0 || b->cap <= b->max_bytes);
}

void buf_init(struct buf *b, size_t max_bytes)
{
	*b = (struct buf){.max_bytes = max_bytes};
}

void buf_fini(struct buf *b)
{
	free(b->data);
	buf_init(b, b->max_bytes);
}

void buf_clear(struct buf *b)
{
	b->head = b->tail = 0;
	b->err = 0;
}

static void compact(struct buf *b)
{
	if (b->head == 0)
		return;
	memmove(b->data, b->data + b->head, buf_len(b));
	b->tail -= b->head;
	b->head = 0;
}

static int grow(struct buf *b, size_t need)
{
	size_t cap = b->cap ? b->cap : BUF_FIRST_BYTES;

	while (cap < need)
		cap = cap > SIZE_MAX / 2 ? need : cap * 2;
	if (b->max_bytes && cap > b->max_bytes)
		cap = b->max_bytes;
	if (cap < need)
		return ERR_TOO_LARGE;
	uint8_t *data = realloc(b->data, cap);
	if (!data)
		return ERR_NO_MEMORY;
	b->data = data;
	b->cap = cap;
	return 0;
}

uint8_t *buf_reserve(struct buf *b, size_t n)
{
	if (b->err)
		return NULL;
	if (LIKELY(b->data && n <= b->cap - b->tail))
		return b->data + b->tail;
	if (n > SIZE_MAX - buf_len(b)) {
		b->err = ERR_TOO_LARGE;
		return NULL;
	}
	compact(b);
	if (!b->data || n > b->cap - b->tail)
		b->err = grow(b, b->tail + n);
	return b->err ? NULL : b->data + b->tail;
}

void buf_commit(struct buf *b, size_t n)
{
	INVARIANT(n <= b->cap - b->tail);
	b->tail += n;
}

void buf_put(struct buf *b, struct view v)
{
	if (v.len == 0)
		return;
	uint8_t *to = buf_reserve(b, v.len);
	if (!to)
		return;
	memcpy(to, v.at, v.len);
	b->tail += v.len;
}

void buf_put_u8(struct buf *b, uint8_t byte)
{
	buf_put(b, view_of(&byte, 1));
}

void buf_put_str(struct buf *b, const char *s)
{
	buf_put(b, view_str(s));
}

void buf_put_u64(struct buf *b, uint64_t n)
{
	char digits[20];
	size_t at = sizeof digits;

	do {
		digits[--at] = (char)('0' + n % 10);
		n /= 10;
	} while (n);
	buf_put(b, view_of(digits + at, sizeof digits - at));
}

void buf_put_number(struct buf *b, uint64_t n, unsigned bytes)
{
	uint8_t *to = buf_reserve(b, bytes);

	if (!to)
		return;
	(void)bigendian_put(to, n, bytes);
	b->tail += bytes;
}

void buf_put_text(struct buf *b, struct view text, unsigned count_bytes)
{
	INVARIANT(text.len >> (8 * count_bytes - 1) >> 1 == 0);
	buf_put_number(b, text.len, count_bytes);
	buf_put(b, text);
}

void buf_consume(struct buf *b, size_t n)
{
	INVARIANT(n <= buf_len(b));
	b->head += n;
	if (b->head == b->tail)
		b->head = b->tail = 0;
}
