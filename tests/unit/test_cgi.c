/* The head of a CGI response: where it ends, wherever it is cut, and what its lines say. */
#include "proto/cgi.h"

#include "base/error.h"
#include "tests/unit/fail_alloc.h"
#include "tests/unit/guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static const struct {
	const char *text;
	size_t head; /* 0: not complete */
} heads[] = {
    {"", 0},
    {"A: b", 0},
    {"A: b\n", 0},
    {"A: b\r\n", 0},
    {"A: b\r\n\r", 0},
    {"A: b\n\nbody", 6},
    {"A: b\r\n\r\nbody", 8},
    {"A: b\n\r\nbody", 7},
    {"A: b\r\n\nbody", 7},
    {"A: b\nC: d\r\nE: f\n\nbody\n\n", 17},
    {"\nbody", 1},
    {"\r\nbody", 2},
    {"\n\n", 1},
    {"A: b\n\r\r\n\n", 9}, /* CR CR LF is a line, not an empty one */
    {"\r\r\n\nbody", 4},
    {"A: b\r\r\n\r\nbody", 9},
    {"A: b\n \n\nbody", 8},
    {"\r", 0},
    {"A\rB\r\rC", 0},
};

/* Fed in pieces, each search goes on where the last one stopped. */
static void expect_head(struct view text, size_t wanted, size_t cut, size_t piece)
{
	size_t have = cut, searched = 0, head = 0;

	for (;; have += piece < text.len - have ? piece : text.len - have) {
		enum decode answer = cgi_head_find(guarded(view_of(text.at, have)), searched, &head);
		if (answer == DECODE_OK) {
			assert_int_equal(head, wanted);
			assert_true(have >= wanted);
			return;
		}
		assert_int_equal(answer, DECODE_NEED_MORE);
		assert_int_equal(head, 0);
		assert_true(wanted == 0 || have < wanted);
		if (have == text.len)
			return;
		searched = have;
	}
}

static void heads_cut_at_every_byte(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
		struct view text = view_str(heads[i].text);
		for (size_t cut = 0; cut <= text.len; cut++)
			expect_head(text, heads[i].head, cut, SIZE_MAX);
		for (size_t piece = 1; piece < 5; piece++)
			expect_head(text, heads[i].head, 0, piece);
	}
}

static void expect_line(struct view *head, const char *line, const char *name, const char *value)
{
	struct cgi_header h;

	assert_true(cgi_header_next(head, &h));
	if (!view_eq(h.line, view_str(line)) || !view_eq(h.name, view_str(name)) || !view_eq(h.value, view_str(value)))
		fail_msg("line \"%.*s\" name \"%.*s\" value \"%.*s\"", (int)h.line.len, (const char *)h.line.at,
			 (int)h.name.len, (const char *)h.name.at, (int)h.value.len, (const char *)h.value.at);
}

static void lines_of_a_head(void **state)
{
	struct view head = guarded(VIEW("Status: 200 OK\r\n"
					"Set-Cookie:a=b; Path=/\n"
					"Set-Cookie:\t c:d \t\r\n"
					"X-Empty:\n"
					"X-Blanks:   \r\n"
					"no colon\r\n"
					": no name\r\n"
					"\t: no name either\n"
					" continued: line\r\n"
					"X-Blank-Before \t: x\n"
					"X-CR:\ra\r\r\n"
					"\r\n"
					"body: this is none\n"));
	struct cgi_header h;

	(void)state;
	expect_line(&head, "Status: 200 OK\r\n", "Status", "200 OK");
	expect_line(&head, "Set-Cookie:a=b; Path=/\n", "Set-Cookie", "a=b; Path=/");
	expect_line(&head, "Set-Cookie:\t c:d \t\r\n", "Set-Cookie", "c:d");
	expect_line(&head, "X-Empty:\n", "X-Empty", "");
	expect_line(&head, "X-Blanks:   \r\n", "X-Blanks", "");
	expect_line(&head, "no colon\r\n", "", "");
	expect_line(&head, ": no name\r\n", "", "no name");
	expect_line(&head, "\t: no name either\n", "", "");
	expect_line(&head, " continued: line\r\n", "", "");
	expect_line(&head, "X-Blank-Before \t: x\n", "X-Blank-Before", "x");
	expect_line(&head, "X-CR:\ra\r\r\n", "X-CR", "\ra\r");
	assert_false(cgi_header_next(&head, &h));
}

static void lines_end_with_the_head(void **state)
{
	static const char *const none[] = {"", "\n", "\r\n", "no end of line", "A: b"};
	struct cgi_header h;

	(void)state;
	for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
		struct view head = guarded(view_str(none[i]));
		assert_false(cgi_header_next(&head, &h));
	}
	struct view head = guarded(VIEW("A: b\n"));
	expect_line(&head, "A: b\n", "A", "b");
	assert_false(cgi_header_next(&head, &h));
	head = view_of(NULL, 0);
	assert_false(cgi_header_next(&head, &h));
}

static void expect_answer(unsigned status, unsigned retry_after_s, const char *wanted)
{
	struct buf b = {0};

	cgi_put_answer(&b, status, retry_after_s);
	assert_int_equal(buf_error(&b), 0);
	if (!view_eq(buf_view(&b), view_str(wanted)))
		fail_msg("said\n%.*s", (int)buf_len(&b), (const char *)buf_view(&b).at);
	size_t head = 0;
	assert_int_equal(cgi_head_find(buf_view(&b), 0, &head), DECODE_OK);
	buf_fini(&b);
}

static void own_answers(void **state)
{
	(void)state;
	expect_answer(503, 0,
		      "Status: 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: 24\r\n"
		      "Cache-Control: no-store\r\n\r\n503 Service Unavailable\n");
	expect_answer(503, 30,
		      "Status: 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: 24\r\n"
		      "Cache-Control: no-store\r\nRetry-After: 30\r\n\r\n503 Service Unavailable\n");
	expect_answer(599, 0,
		      "Status: 599 Error\r\nContent-Type: text/plain\r\nContent-Length: 10\r\n"
		      "Cache-Control: no-store\r\n\r\n599 Error\n");
	/* Every status that the design names has a phrase of its own. */
	static const unsigned said[] = {403, 404, 413, 431, 502, 503, 504, 307};
	for (size_t i = 0; i < sizeof said / sizeof said[0]; i++)
		assert_string_not_equal(cgi_status_text(said[i]), "Error");
}

static void answer_without_room(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 64);
	cgi_put_answer(&b, 404, 0);
	assert_int_equal(buf_error(&b), ERR_TOO_LARGE);
	buf_fini(&b);
	buf_init(&b, 0);
	fail_alloc_at(1);
	cgi_put_answer(&b, 404, 0);
	assert_int_equal(buf_error(&b), ERR_NO_MEMORY);
	assert_int_equal(buf_len(&b), 0);
	fail_alloc_at(0);
	buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(heads_cut_at_every_byte), cmocka_unit_test(lines_of_a_head),
	    cmocka_unit_test(lines_end_with_the_head), cmocka_unit_test(own_answers),
	    cmocka_unit_test(answer_without_room),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
