/* Redis's commands. First byte: where the rest is cut. However it is cut, the commands, what is left and the complaint
 * must be the same; arguments lie in the input or in the space for quotes; commands encoded again say the same. */
#include "tests/fuzz/fuzz.h"

#include "proto/resp.h"

static const struct resp_limits limits = {.bulk_bytes = 1000, .command_bytes = 2000, .args = RESP_ARGS_MAX};

/* All commands of an input, each as an array again. */
struct result {
	struct buf commands;
	size_t left;        /* bytes of no whole command */
	const char *reason; /* MALFORMED */
};

static bool lies_in(struct view v, struct view in)
{
	return v.at >= in.at && v.len <= in.len && (size_t)(v.at - in.at) <= in.len - v.len;
}

static void put(struct result *r, const struct resp_command *c, struct view in, const struct buf *space)
{
	size_t bytes = 0;

	EXPECT(c->count <= RESP_ARGS_MAX);
	resp_put_array(&r->commands, c->count);
	for (size_t i = 0; i < c->count; i++) {
		struct view arg = c->args[i];
		EXPECT(arg.len <= limits.bulk_bytes);
		EXPECT(lies_in(arg, in) || lies_in(arg, buf_view(space)));
		bytes += arg.len;
		resp_put_bulk(&r->commands, arg);
	}
	EXPECT(bytes <= limits.command_bytes);
}

/* The input lies somewhere else each time, also when a command that is whole is asked for again. */
static enum decode next(struct result *r, struct view in, struct buf *space, struct resp_command *command,
			size_t *consumed, size_t *need)
{
	struct view before = copy_exact(in);
	enum decode answer = resp_command_decode(before, &limits, space, command, consumed, need, &r->reason);
	struct view exact = copy_exact(in);

	free_exact(before);
	if (answer == DECODE_OK)
		EXPECT(resp_command_decode(exact, &limits, space, command, consumed, need, &r->reason) == DECODE_OK);

	EXPECT((answer == DECODE_MALFORMED) == (r->reason != NULL));
	EXPECT(answer != DECODE_OK || (*consumed > 0 && *consumed <= in.len));
	EXPECT(answer != DECODE_NEED_MORE || *need > in.len);
	if (answer == DECODE_OK)
		put(r, command, exact, space);
	if (answer == DECODE_OK)
		resp_command_forget(command);
	free_exact(exact);
	return answer;
}

/* As a connection does: what was told to be needed is waited for. */
static void run(struct result *r, struct view in, struct cutter *cut)
{
	struct resp_command command = {.count = 0};
	struct buf space = {0};
	struct view rest = in;
	size_t at = 0, have = 0, need = 1;

	*r = (struct result){.reason = NULL};
	do {
		have += cut ? cutter_next(cut, &rest).len : view_take(&rest, rest.len).len;
		while (have - at >= need) {
			size_t consumed = 0;
			enum decode answer =
			    next(r, view_of(in.at + at, have - at), &space, &command, &consumed, &need);
			if (answer == DECODE_MALFORMED)
				goto out;
			at += consumed;
			need = answer == DECODE_OK ? 1 : need;
		}
	} while (rest.len > 0);
	r->left = have - at;
out:
	EXPECT(buf_error(&r->commands) == 0);
	resp_command_forget(&command);
	buf_fini(&space);
}

static void expect_same(const struct result *a, const struct result *b)
{
	EXPECT(a->reason == b->reason);
	EXPECT(a->left == b->left);
	EXPECT(view_eq(buf_view(&a->commands), buf_view(&b->commands)));
}

static void read_again(struct result *first)
{
	struct result again;

	run(&again, buf_view(&first->commands), NULL);
	EXPECT(again.reason == NULL);
	EXPECT(again.left == 0);
	EXPECT(view_eq(buf_view(&again.commands), buf_view(&first->commands)));
	buf_fini(&again.commands);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct view in = view_of(data, size);
	struct result whole, pieces, bytes;

	if (size < 1 || size > 4096) /* pieces are copied whole each time */
		return 0;
	struct cutter cut = cutter_of(data[0]), bytewise = cutter_of(0);
	(void)view_take(&in, 1);
	run(&whole, in, NULL);
	run(&pieces, in, &cut);
	run(&bytes, in, &bytewise);
	expect_same(&whole, &pieces);
	expect_same(&whole, &bytes);
	read_again(&whole);
	buf_fini(&whole.commands);
	buf_fini(&pieces.commands);
	buf_fini(&bytes.commands);
	return 0;
}
