/* JSON documents, put together so that memory that runs out is noticed once, at the end: *o is NULL after the first
 * thing that found none, and stays so. */
#ifndef WEIR_GATEWAY_DOCUMENT_H
#define WEIR_GATEWAY_DOCUMENT_H

#include "base/view.h"

#include <jansson.h>
#include <stdbool.h>

void document_put(json_t **o, const char *key, json_t *value); /* takes value; NULL is such a thing */
void document_put_number(json_t **o, const char *key, uint64_t n);
void document_put_point(json_t **o, const char *key, int64_t s); /* on the calendar; 0, never: null */
void document_put_flag(json_t **o, const char *key, bool flag);
void document_put_text(json_t **o, const char *key, const char *text); /* NULL: null */
void document_append(json_t **array, json_t *value);                   /* takes value */

/* A string; what is not valid UTF-8 has \xHH for each byte outside of ASCII. */
json_t *document_string(struct view text);

#endif
