/* What may be a name. Pure. */
#include "base/name.h"

bool name_is_good(struct view name)
{
	for (size_t i = 0; i < name.len && i <= NAME_BYTES_MAX; i++) {
		uint8_t c = name.at[i];
		bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
		if (!letter && !(c >= '0' && c <= '9') && c != '-' && c != '_' && c != '.')
			return false;
	}
	return name.len > 0 && name.len <= NAME_BYTES_MAX;
}

bool name_is_visible(struct view text, size_t max)
{
	if (text.len > max)
		return false;
	for (size_t i = 0; i < text.len; i++) {
		if (text.at[i] <= ' ' || text.at[i] >= 0x7f)
			return false;
	}
	return true;
}
