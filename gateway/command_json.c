/* Documents of the admin socket, put together so that memory that runs out is noticed once, at the end. */
#include "gateway/command_run.h"

void command_put(json_t **o, const char *key, json_t *value)
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

void command_put_number(json_t **o, const char *key, uint64_t n)
{
	command_put(o, key, json_integer(n > INT64_MAX ? INT64_MAX : (json_int_t)n));
}

void command_put_flag(json_t **o, const char *key, bool flag)
{
	command_put(o, key, json_boolean(flag));
}

void command_put_text(json_t **o, const char *key, const char *text)
{
	command_put(o, key, text ? command_string(view_str(text)) : json_null());
}

void command_append(json_t **array, json_t *value)
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

json_t *command_string(struct view text)
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
