/* A byte queue: appended at the end, consumed at the front.
 *
 *   data          head           tail          cap
 *    | consumed    | content      | free        |
 *
 * Holds head <= tail <= cap. The first failure (out of memory, over `max_bytes`) is remembered in `err`; every later
 * append does nothing, so a caller appends as often as it likes and looks once, with buf_error().
 * Memory comes from malloc and is owned by the buffer. A zeroed struct is a valid empty buffer without a bound. */
#ifndef WEIR_BASE_BUF_H
#define WEIR_BASE_BUF_H

#include "base/compiler.h"
#include "base/view.h"

struct buf {
	uint8_t *data; /* owned */
	size_t head, tail, cap;
	size_t max_bytes; /* bound on cap; 0: none */
	int err;          /* 0 or the first error */
};

void buf_init(struct buf *b, size_t max_bytes);
void buf_fini(struct buf *b); /* frees; leaves a valid empty buffer with the same bound */

/* Forgets content and error, keeps the memory. */
void buf_clear(struct buf *b);

static inline size_t buf_len(const struct buf *b)
{
	return b->tail - b->head;
}

static inline struct view buf_view(const struct buf *b)
{
	return view_of(b->data ? b->data + b->head : NULL, buf_len(b));
}

static inline int buf_error(const struct buf *b)
{
	return b->err;
}

/* Room for n more bytes at the returned place; buf_commit() makes them content. NULL after an error. */
uint8_t *buf_reserve(struct buf *b, size_t n);
void buf_commit(struct buf *b, size_t n);

void buf_put(struct buf *b, struct view v);
void buf_put_u8(struct buf *b, uint8_t byte);
void buf_put_str(struct buf *b, const char *s);
void buf_put_u64(struct buf *b, uint64_t n); /* decimal digits */
/* The lowest `bytes` bytes of n, big endian, as reader_number() reads them. */
void buf_put_number(struct buf *b, uint64_t n, unsigned bytes);
/* Its length as such a number, which must hold it, and the text: reader_text(). */
void buf_put_text(struct buf *b, struct view text, unsigned count_bytes);

/* Drops n bytes from the front; n is at most buf_len(). */
void buf_consume(struct buf *b, size_t n);

void buf_check(const struct buf *b); /* INVARIANTs */

#endif
