/* base64url without padding (RFC 4648 section 5). Pure. */
#ifndef WEIR_BASE_BASE64_H
#define WEIR_BASE_BASE64_H

#include "base/view.h"

/* Characters needed for n bytes. */
#define BASE64_LEN(n) (((n)*4 + 2) / 3)

/* Writes BASE64_LEN(in.len) characters, no NUL. */
void base64_encode(struct view in, char *out);

/* Exactly out_len bytes, or false: wrong length, a foreign character, or unused bits that are not 0 (so that every
 * value has one spelling). `out` is untouched on failure only as far as it was not reached: do not use it. */
bool base64_decode(struct view in, uint8_t *out, size_t out_len);

#endif
