/* DEL on the session socket, where two have opened one session before either has ended it, and both then wait for it to
 * be gone from below: that takes two threads that meet between two instructions, so what is around is made up here. */
#include "gateway/socket_command.h"
#include "session/claim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static struct conf_app app = {.name = "main", .session = {.key = "s:"}};
static struct gateway gateway;
static struct worker worker = {.gateway = &gateway};
static struct session *session = (struct session *)&session; /* nobody looks into it */
static bool has_ended;

/* --- the connection --- */

const struct conf_app *socket_app(const struct socket_client *c)
{
	(void)c;
	return &app;
}

uint16_t socket_stack_app(const struct socket_client *c)
{
	(void)c;
	return 0;
}

struct stack *socket_stack(const struct socket_client *c)
{
	(void)c;
	return NULL;
}

struct instant socket_now(const struct socket_client *c)
{
	(void)c;
	return (struct instant){.ms = 1};
}

struct buf *socket_out(struct socket_client *c)
{
	return &c->stream.out;
}

uint64_t socket_max_size(const struct socket_client *c)
{
	(void)c;
	return 1000;
}

void socket_error(struct socket_client *c, const char *text)
{
	resp_put_error(socket_out(c), text);
}

void socket_unavailable(struct socket_client *c)
{
	socket_error(c, "ERR");
}

/* --- waiting --- */

enum socket_result socket_open(struct socket_client *c, const struct sess_id *id, enum sess_open *found)
{
	(void)id;
	c->hold.session = session;
	*found = SESS_OPENED;
	return SOCKET_DONE;
}

void socket_let_go(struct socket_client *c)
{
	c->hold.session = NULL;
	c->task.ended = c->task.was = false;
}

enum socket_result socket_await_store(struct socket_client *c)
{
	c->wait = SOCKET_WAIT_STORE;
	return SOCKET_WAITS;
}

enum socket_result socket_await_moment(struct socket_client *c)
{
	(void)c;
	return SOCKET_WAITS;
}

/* --- below --- */

/* What has ended once is dropped, and still to be waited for. */
int stack_commit(struct stack *s, struct sess_hold *h, const struct sess_commit *c, const struct sess_id *fresh_id,
		 struct instant now, struct stack_wait *wait, struct sess_outcome *out)
{
	(void)s, (void)h, (void)fresh_id, (void)now, (void)wait;
	assert_true(c->end);
	*out = (struct sess_outcome){.dropped = has_ended, .forget = true};
	has_ended = true;
	return STACK_WAITS;
}

enum sess_open stack_peek(struct stack *s, uint16_t number, const struct sess_id *id, struct instant now,
			  struct sess_peek *out)
{
	(void)s, (void)number, (void)id, (void)now, (void)out;
	return SESS_ABSENT;
}

void claims_end(struct claims *cs, const struct sess_id *id, const struct claim_touch *by)
{
	(void)cs, (void)id, (void)by;
}

void claims_touch(const struct claims *cs, const struct sess_id *id, struct claim_touch *out)
{
	(void)cs, (void)id, (void)out;
}

static enum socket_result del(struct socket_client *c)
{
	struct view words[] = {VIEW("DEL"), VIEW("s:one")};
	struct resp_command cmd = {.args = words, .count = 2};

	return socket_del(c, &cmd);
}

static void only_who_has_ended_it_counts_it(void **state)
{
	struct socket_client one = {.worker = &worker}, two = {.worker = &worker};

	(void)state;
	assert_int_equal(del(&one), SOCKET_WAITS);
	assert_int_equal(del(&two), SOCKET_WAITS);
	assert_int_equal(del(&one), SOCKET_DONE);
	assert_int_equal(del(&two), SOCKET_DONE);
	assert_true(view_eq(buf_view(&one.stream.out), VIEW(":1\r\n")));
	assert_true(view_eq(buf_view(&two.stream.out), VIEW(":0\r\n")));
	buf_fini(&one.stream.out);
	buf_fini(&two.stream.out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(only_who_has_ended_it_counts_it)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
