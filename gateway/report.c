/* Lines. */
#include "gateway/report.h"

#include "base/invariant.h"

bool report_next(struct view *rest, struct view *line)
{
	if (rest->len == 0)
		return false;
	INVARIANT(rest->at != NULL);
	const uint8_t *end = memchr(rest->at, '\n', rest->len);
	*line = view_take(rest, end ? (size_t)(end - rest->at) : rest->len);
	(void)view_take(rest, 1); /* its end, if it has one */
	return true;
}

void report_put(struct buf *report, const char *file, struct view lines)
{
	struct view line;

	while (report_next(&lines, &line)) {
		buf_put_str(report, file);
		buf_put_str(report, ": ");
		buf_put(report, line);
		buf_put_str(report, "\n");
	}
}
