/* Redis's protocol, RESP2 and RESP3 (the specification "RESP protocol description"): commands of clients in, replies
 * out. Pure; allocates nothing but in the reply's buffer. */
#ifndef WEIR_PROTO_RESP_H
#define WEIR_PROTO_RESP_H

#include "base/buf.h"
#include "base/view.h"
#include "proto/decode.h"

enum {
	RESP_ARGS_MAX = 65536,      /* of one command */
	RESP_ARGS_FEW = 8,          /* for so many a command needs no memory of its own */
	RESP_INLINE_MAX = 64 << 10, /* bytes of an inline command */
};

enum resp_version { RESP_2 = 2, RESP_3 = 3 };

/* --- commands --- */

struct resp_limits {
	size_t bulk_bytes;    /* of one argument */
	size_t command_bytes; /* of all arguments of one command */
	size_t args;          /* of one command, at most RESP_ARGS_MAX */
};

/* A zeroed struct is a valid empty one. It must not be moved: `args` may point into it. */
struct resp_command {
	struct view *args; /* borrowed from the input; args[0] is the name. The array itself is `few`, or in `many` */
	size_t count;      /* 0: an empty line or an empty array, which gets no reply */

	/* The decoder's. What it has read of an array is not read again when more has come. */
	const uint8_t *base; /* where the input was */
	size_t read;         /* bytes of it: headers and arguments that are whole; 0: none */
	size_t wanted, got;  /* arguments; the same: it is whole */
	size_t room;         /* bytes that the arguments may still have */
	struct view few[RESP_ARGS_FEW];
	struct buf many; /* owned; of struct view */
};

/* Done with the command: the next one begins. Frees what it needed. */
void resp_command_forget(struct resp_command *c);

/* The first command of `in`, which begins where a command begins: an array of bulk strings, or an inline command (words
 * parted by blanks, with Redis's quotes; quoted words are unquoted into `space`, which the args then borrow from).
 * OK: *out, and *consumed bytes are it. NEED_MORE: nothing is consumed; *need is the least length of `in` at which it
 * is worth to ask again. Then, and after OK, `in` has to begin with the same bytes until resp_command_forget(), but may
 * have moved and grown: an array goes on where it had ended, and one that is whole is only moved. Its memory grows with
 * the arguments that have come, not with what is announced. MALFORMED: *reason is Redis's own text behind "ERR Protocol
 * error: ", static; the connection cannot go on. Over a limit: "invalid bulk length", as soon as the length is there,
 * or "too big inline request"; without memory: error_text(). `space` is forgotten by the next inline command. Never
 * reads past `in`, looks at each byte of a bulk string at no time, and costs no more than its headers. */
enum decode resp_command_decode(struct view in, const struct resp_limits *limits, struct buf *space,
				struct resp_command *out, size_t *consumed, size_t *need, const char **reason);

/* --- replies --- */

void resp_put_simple(struct buf *b, const char *text); /* "+text" */
void resp_put_error(struct buf *b, const char *text);  /* "-text": begins with its code, as "ERR ..." */
void resp_put_error_of(struct buf *b, const char *before, struct view what, const char *behind); /* `what` cut at 128
					bytes, and all but printable ASCII is a dot */
void resp_put_integer(struct buf *b, int64_t n);
void resp_put_bulk(struct buf *b, struct view bytes);
void resp_put_null(struct buf *b, enum resp_version v);              /* "$-1" or "_" */
void resp_put_null_array(struct buf *b, enum resp_version v);        /* "*-1" or "_" */
void resp_put_array(struct buf *b, size_t count);                    /* count replies follow */
void resp_put_map(struct buf *b, enum resp_version v, size_t pairs); /* pairs of replies follow: "%n" or "*2n" */

#endif
