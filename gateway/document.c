/* JSON, put together. */
#include "gateway/document.h"

#include "base/buf.h"

void document_put(json_t **o, const char *key, json_t *value)
{
	if (!*o) {
		json_decref(value);
		return;
	}
	if (json_object_set_new(*o, key, value) == 0)
		return;
	json_decref(*o);
	*o = NULL;
}

void document_put_number(json_t **o, const char *key, uint64_t n)
{
	document_put(o, key, json_integer(n > INT64_MAX ? INT64_MAX : (json_int_t)n));
}

void document_put_point(json_t **o, const char *key, int64_t s)
{
	document_put(o, key, s > 0 ? json_integer(s) : json_null());
}

void document_put_flag(json_t **o, const char *key, bool flag)
{
	document_put(o, key, json_boolean(flag));
}

void document_put_text(json_t **o, const char *key, const char *text)
{
	document_put(o, key, text ? document_string(view_str(text)) : json_null());
}

void document_append(json_t **array, json_t *value)
{
	if (!*array) {
		json_decref(value);
		return;
	}
	if (json_array_append_new(*array, value) == 0)
		return;
	json_decref(*array);
	*array = NULL;
}

static void put_byte(struct buf *out, uint8_t byte)
{
	static const char hex[] = "0123456789abcdef";

	if (byte < 0x80)
		buf_put_u8(out, byte);
	else
		buf_put(out, view_of((char[]){'\\', 'x', hex[byte >> 4], hex[byte & 15]}, 4));
}

json_t *document_string(struct view text)
{
	json_t *string = json_stringn(text.len > 0 ? (const char *)text.at : "", text.len);
	struct buf ascii = {.max_bytes = 0};

	if (string)
		return string;
	for (size_t i = 0; i < text.len; i++)
		put_byte(&ascii, text.at[i]);
	struct view all = buf_view(&ascii);
	if (!buf_error(&ascii) && all.len > 0)
		string = json_stringn((const char *)all.at, all.len);
	buf_fini(&ascii);
	return string;
}
