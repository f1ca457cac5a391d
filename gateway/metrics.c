/* Counting requests. Pure but for the counters that are handed in. */
#include "gateway/metrics.h"

const uint32_t metrics_bounds_us[METRICS_BUCKETS - 1] = METRICS_BOUNDS;

void metrics_latency(struct metrics *m, uint64_t us)
{
	size_t i = 0;

	while (i < METRICS_BUCKETS - 1 && us > metrics_bounds_us[i])
		i++;
	metrics_add(&m->latency[i], 1);
	metrics_add(&m->latency_us, us);
}

/* --- the status of an answer --- */

static bool begins(struct view line, const char *name)
{
	size_t len = strlen(name);

	return line.len >= len && view_eq_nocase(view_of(line.at, len), view_of(name, len));
}

/* "200 OK": three digits, of which the first is 1 to 5. */
static unsigned class_of(struct view value)
{
	uint64_t status;
	size_t digits = 0;

	while (digits < value.len && value.at[digits] >= '0' && value.at[digits] <= '9')
		digits++;
	if (digits != 3 || !view_to_u64(view_of(value.at, digits), 599, &status) || status < 100)
		return METRICS_STATUS_NONE;
	return (unsigned)status / 100;
}

/* Runs for every answer, so it looks at the first letter of each line, and at more only of those that begin well. */
unsigned metrics_status_class(struct view head)
{
	const uint8_t *at = head.at;
	const uint8_t *end = head.len > 0 ? at + head.len : at;
	unsigned class = 2;

	while (at < end) {
		size_t left = (size_t)(end - at);
		uint8_t first = *at | 0x20;
		const uint8_t *lf = memchr(at, '\n', left);
		struct view line = view_of(at, lf ? (size_t)(lf - at) : left);
		if (first == 's' && begins(line, "Status:")) {
			(void)view_take(&line, strlen("Status:"));
			return class_of(view_trim(line));
		}
		if (first == 'l' && begins(line, "Location:"))
			class = 3;
		if (!lf)
			break;
		at = lf + 1;
	}
	return class;
}

/* --- the sum --- */

static void add(uint64_t *to, const _Atomic uint64_t *from, size_t count)
{
	for (size_t i = 0; i < count; i++)
		to[i] += atomic_load_explicit(&from[i], memory_order_relaxed);
}

void metrics_gather(const struct metrics *m, struct metrics_sum *sum)
{
	/* Ends first: what has ended by then has begun. */
	add(sum->ended, m->ended, METRICS_ENDS);
	add(&sum->begun, &m->begun, 1);
	add(sum->status, m->status, METRICS_STATUS_CLASSES);
	add(sum->latency, m->latency, METRICS_BUCKETS);
	add(&sum->latency_us, &m->latency_us, 1);
	add(&sum->in_bytes, &m->in_bytes, 1);
	add(&sum->out_bytes, &m->out_bytes, 1);
	add(&sum->session_none, &m->session_none, 1);
	add(&sum->session_new, &m->session_new, 1);
	add(&sum->session_live, &m->session_live, 1);
	add(&sum->session_dropped, &m->session_dropped, 1);
	add(&sum->fenced_requests, &m->fenced_requests, 1);
	add(&sum->fenced_commands, &m->fenced_commands, 1);
	add(&sum->status_page, &m->status_page, 1);
}

uint64_t metrics_latencies(const struct metrics_sum *sum)
{
	uint64_t n = 0;

	for (size_t i = 0; i < METRICS_BUCKETS; i++)
		n += sum->latency[i];
	return n;
}

uint64_t metrics_percentile_us(const struct metrics_sum *sum, double percent)
{
	double rank = (double)metrics_latencies(sum) * percent / 100;
	double below = 0;
	uint64_t from = 0, last = 0; /* last: the end of the last bucket that is not empty */

	for (size_t i = 0; i < METRICS_BUCKETS - 1; i++) {
		double here = (double)sum->latency[i];
		if (here > 0 && below + here >= rank) {
			double width = (double)(metrics_bounds_us[i] - from);
			return from + (uint64_t)(width * (rank - below) / here + 0.5);
		}
		below += here;
		from = metrics_bounds_us[i];
		last = here > 0 ? from : last;
	}
	return sum->latency[METRICS_BUCKETS - 1] > 0 ? from : last;
}
