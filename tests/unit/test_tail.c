/* The held tail of an answer: what may leave before the application has ended the request. */
#include "base/buf.h"
#include "gateway/tail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

static struct tail begun(const char *method, const char *head)
{
	struct tail t = {.holds = false};

	tail_begin(&t, view_str(method), view_str(head));
	return t;
}

static void which_answers_are_held(void **unused)
{
	(void)unused;
	assert_true(begun("GET", "Content-Type: text/html\r\n\r\n").holds);
	assert_true(begun("POST", "Status: 302 Found\nLocation: /\n\n").holds);
	assert_true(begun("GET", "X-Type: text/event-stream\r\n\r\n").holds);
	assert_true(begun("GET", "Content-Type: text/event-streams\r\n\r\n").holds);
	assert_true(begun("GET", "Content-Type: \r\n\r\n").holds);
	assert_false(begun("GET", "Content-Type: text/event-stream\r\n\r\n").holds);
	assert_false(begun("GET", "X: y\ncontent-type:Text/Event-Stream ; charset=utf-8\n\n").holds);
	assert_false((struct tail){.byte = 0}.holds);
}

static void which_have_no_body(void **unused)
{
	(void)unused;
	assert_true(begun("HEAD", "Content-Length: 5\r\n\r\n").bare);
	assert_true(begun("GET", "Status: 204 No Content\r\n\r\n").bare);
	assert_true(begun("GET", "A: b\r\nstatus:304\r\n\r\n").bare);
	assert_false(begun("GET", "Status: 200 OK\r\n\r\n").bare);
	assert_false(begun("GET", "Status: 20\r\n\r\n").bare);
	assert_false(begun("GET", "X-Status: 304\r\n\r\n").bare);
	assert_false(begun("head", "A: b\r\n\r\n").bare); /* methods are case-sensitive */
	/* Nothing is held, so nothing has to be left out. */
	assert_false(begun("HEAD", "Content-Type: text/event-stream\r\n\r\n").bare);
}

static void nothing_is_held_unless_asked_for(void **unused)
{
	struct tail t = {.holds = false};

	(void)unused;
	assert_true(view_eq(tail_hold(&t, VIEW("abc")), VIEW("abc")));
	assert_int_equal(tail_release(&t).len, 0);
}

/* However the answer is cut into pieces: all of it in the end, and all but one byte before. */
static void all_but_the_last_byte(void **unused)
{
	static const char whole[] = "Content-Type: text/plain\r\n\r\nhello world";
	struct buf out;

	(void)unused;
	for (size_t step = 1; step < sizeof whole; step++) {
		struct tail t = {.holds = true};
		struct view rest = view_str(whole);
		size_t came = 0;
		buf_init(&out, 0);
		while (rest.len > 0) {
			struct view piece = view_take(&rest, step);
			came += piece.len;
			buf_put(&out, tail_release(&t));
			buf_put(&out, tail_hold(&t, piece));
			assert_int_equal(buf_len(&out), came - 1);
		}
		buf_put(&out, tail_release(&t));
		assert_true(view_eq(buf_view(&out), view_str(whole)));
		assert_int_equal(tail_release(&t).len, 0);
		buf_fini(&out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(which_answers_are_held),
	    cmocka_unit_test(which_have_no_body),
	    cmocka_unit_test(nothing_is_held_unless_asked_for),
	    cmocka_unit_test(all_but_the_last_byte),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
