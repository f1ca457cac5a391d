/* What nodes must agree on: its line, what changes it and what does not, and its digest. */
#include "conf/agreed.h"
#include "tests/unit/conf_fixture.h"

#include <string.h>

#define LISTEN "listen '127.0.0.1:9001' { protocol = fastcgi }\n"
#define FILE_OF(app, session, cluster)                                                                                 \
	"node alpha { }\n" LISTEN "app a { backend '127.0.0.1:9002' { } " app " session { " session " } }\n"           \
	"cluster eu { certificate=/c key=/k ca=/a listen='10.0.0.1:7400' " cluster " }\n"
#define ADOPTED "mode = adopted cookie = PHPSESSID key = 'K:' socket = 'unix:/s' "
#define CLUSTER " buckets=1024 failure-timeout=2s"
#define MANAGED_BUT_COOKIE                                                                                             \
	" cookie-path=/ cookie-domain= cookie-http-only=yes cookie-same-site=lax cookie-secure=auto ttl=30m "          \
	"max-size=60k lock=exclusive"

static char line[4096];

static const char *line_of(const char *text)
{
	struct conf *c = load_good(text);
	struct buf out;

	buf_init(&out, 0);
	conf_agreed_put(&c->apps[0], &c->cluster, &out);
	assert_int_equal(buf_error(&out), 0);
	assert_true(buf_len(&out) <= CONF_AGREED_MAX);
	snprintf(line, sizeof line, "%.*s", (int)buf_len(&out), (const char *)buf_view(&out).at);
	buf_fini(&out);
	conf_free(&c);
	return line;
}

static void the_lines(void **state)
{
	(void)state;
	assert_string_equal(line_of(FILE_OF("", "", "")), "mode=managed cookie=WEIRSID" MANAGED_BUT_COOKIE CLUSTER);
	assert_string_equal(line_of(FILE_OF("", ADOPTED "password = tell cookie-format = express", "buckets = 7")),
			    "mode=adopted cookie=PHPSESSID cookie-format=express max-size=1M lock=exclusive key=K: "
			    "buckets=7 failure-timeout=2s");
	assert_string_equal(line_of(FILE_OF("", "mode = none ttl = 1h cookie = x lock = shared", "")),
			    "mode=none" CLUSTER);
	assert_string_equal(line_of(FILE_OF("",
					    "cookie-path = /shop cookie-domain = .a.org cookie-http-only = no "
					    "cookie-same-site = strict cookie-secure = always ttl = 1500ms "
					    "max-size = 1000 lock = shared",
					    "failure-timeout = 500ms")),
			    "mode=managed cookie=WEIRSID cookie-path=/shop cookie-domain=.a.org cookie-http-only=no "
			    "cookie-same-site=strict cookie-secure=always ttl=1500ms max-size=1000 lock=shared "
			    "buckets=1024 failure-timeout=500ms");
}

/* Each of them makes another line, and another digest. */
static void what_must_be_alike(void **state)
{
	(void)state;
	static const char *const files[] = {
	    FILE_OF("", "", ""),
	    FILE_OF("", "mode = none", ""),
	    FILE_OF("", ADOPTED, ""),
	    FILE_OF("", ADOPTED "cookie-format = express", ""),
	    FILE_OF("", "mode = adopted cookie = PHPSESSID key = 'L:' socket = 'unix:/s'", ""),
	    FILE_OF("", "cookie = OTHER", ""),
	    FILE_OF("", "cookie-path = /a", ""),
	    FILE_OF("", "cookie-domain = a.org", ""),
	    FILE_OF("", "cookie-http-only = no", ""),
	    FILE_OF("", "cookie-same-site = strict", ""),
	    FILE_OF("", "cookie-secure = always", ""),
	    FILE_OF("", "ttl = 1499ms", ""),
	    FILE_OF("", "ttl = 1500ms", ""),
	    FILE_OF("", "max-size = 61441", ""),
	    FILE_OF("", "lock = shared", ""),
	    FILE_OF("", "", "buckets = 1025"),
	    FILE_OF("", "", "failure-timeout = 3s"),
	};
	uint64_t digests[sizeof files / sizeof *files];

	for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
		digests[i] = conf_agreed_digest(view_str(line_of(files[i])));
		for (size_t k = 0; k < i; k++)
			assert_true(digests[i] != digests[k]);
	}
}

/* In the same words or others; what each node may have for itself; what goes with another mode. */
static void what_makes_no_difference(void **state)
{
	(void)state;
	static const char managed[] = "mode=managed cookie=WEIRSID" MANAGED_BUT_COOKIE CLUSTER;
	assert_string_equal(line_of(FILE_OF("", "ttl = 1800s max-size = 61440 cookie-http-only = true", "")), managed);
	assert_string_equal(line_of(FILE_OF("timeout = 3s queue = 7 match = 'path:/x'",
					    "lock-wait = 3s read-only = '/r' stateless = '*.css'",
					    "zone = z priority = 3 peers = '10.0.0.2:1' election-timeout = 10ms")),
			    managed);
	assert_string_equal(line_of(FILE_OF("", "mode = none cookie-path = /x", "")), "mode=none" CLUSTER);
	char one[sizeof line];
	snprintf(one, sizeof one, "%s", line_of(FILE_OF("", ADOPTED "password = one", "")));
	assert_null(strstr(one, "one"));
	assert_string_equal(line_of(FILE_OF("", ADOPTED "password = two socket-mode = 0600", "")), one);
}

/* A blank or what looks like an option of its own can come into no value. */
static void values_are_escaped(void **state)
{
	(void)state;
	assert_string_equal(
	    line_of(FILE_OF("", "mode=adopted cookie=c socket='unix:/s' key='a=b%\"ttl'", "")),
	    "mode=adopted cookie=c cookie-format=plain max-size=1M lock=exclusive key=a=b%25\"ttl" CLUSTER);
	assert_non_null(strstr(line_of(FILE_OF("", "cookie-path='/\xc3\xa4'", "")), " cookie-path=/%c3%a4 "));
}

/* It fits in any case, and what was cut off counts. */
static void long_values_are_cut(void **state)
{
	(void)state;
	enum { PATH_BYTES = 5000 };
	char path[PATH_BYTES + 1], text[PATH_BYTES + 512], first[sizeof line], cookie[65];

	memset(cookie, '%', 64);
	cookie[64] = '\0';
	memset(path, '\xff', PATH_BYTES);
	path[0] = '/';
	path[PATH_BYTES] = '\0';
	snprintf(text, sizeof text, FILE_OF("", "cookie = '%s' cookie-path = '%s'", ""), cookie, path);
	snprintf(first, sizeof first, "%s", line_of(text));
	assert_non_null(strstr(first, "%ff...%%"));
	path[PATH_BYTES - 1] = 'x';
	snprintf(text, sizeof text, FILE_OF("", "cookie = '%s' cookie-path = '%s'", ""), cookie, path);
	assert_string_not_equal(line_of(text), first);
	/* The longest that is written whole, and one more. */
	memset(path, 'a', PATH_BYTES);
	path[0] = '/';
	path[256] = '\0';
	snprintf(text, sizeof text, FILE_OF("", "cookie-path = '%s'", ""), path);
	assert_null(strstr(line_of(text), "%%"));
	path[256] = 'a';
	path[257] = '\0';
	snprintf(text, sizeof text, FILE_OF("", "cookie-path = '%s'", ""), path);
	assert_non_null(strstr(line_of(text), "a...%%"));
}

/* Nodes of different versions compare it: it never changes. */
static void the_digest_is_for_ever(void **state)
{
	(void)state;
	assert_true(conf_agreed_digest(VIEW("mode=none buckets=1024 failure-timeout=2s")) ==
		    UINT64_C(0x225a1a68d92ecabe));
	assert_true(conf_agreed_digest(VIEW("")) == UINT64_C(0x134c0c9819ffe953));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_lines),
	    cmocka_unit_test(what_must_be_alike),
	    cmocka_unit_test(what_makes_no_difference),
	    cmocka_unit_test(values_are_escaped),
	    cmocka_unit_test(long_values_are_cut),
	    cmocka_unit_test(the_digest_is_for_ever),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
