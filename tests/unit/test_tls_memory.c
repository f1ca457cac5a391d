/* The N-th allocation fails, be it OpenSSL's, a buffer's or of tls/ itself: what was asked for fails or goes through,
 * and nothing else happens. */
#include "tests/unit/tls_pair.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <stdlib.h>

void *__real_realloc(void *old, size_t bytes);
void *__wrap_realloc(void *old, size_t bytes);
void *__real_calloc(size_t n, size_t bytes);
void *__wrap_calloc(size_t n, size_t bytes);

enum { STEP = 41 }; /* a prime: there are thousands */

static unsigned long countdown; /* 1: the next one fails; 0: none does */

static bool fails(void)
{
	return countdown > 0 && --countdown == 0;
}

void *__wrap_realloc(void *old, size_t bytes)
{
	return fails() ? NULL : __real_realloc(old, bytes);
}

void *__wrap_calloc(size_t n, size_t bytes)
{
	return fails() ? NULL : __real_calloc(n, bytes);
}

static void *ssl_malloc(size_t bytes, const char *file, int line)
{
	(void)file;
	(void)line;
	return fails() ? NULL : malloc(bytes);
}

static void *ssl_realloc(void *old, size_t bytes, const char *file, int line)
{
	(void)file;
	(void)line;
	return fails() ? NULL : __real_realloc(old, bytes);
}

static void ssl_free(void *p, const char *file, int line)
{
	(void)file;
	(void)line;
	free(p);
}

/* Whether both have heard each other. */
static bool talk(void)
{
	if (tls_channel_new(&listens.channel, beta, TLS_LISTENS, NULL, day(1)) != 0)
		return false;
	if (tls_channel_new(&dials.channel, alpha, TLS_DIALS, "beta", day(1)) != 0)
		return false;
	tls_channel_start(dials.channel, &dials.out);
	for (int i = 0; i < 3; i++) {
		tls_channel_feed(listens.channel, buf_view(&dials.out), &listens.plain, &listens.out);
		buf_clear(&dials.out);
		tls_channel_feed(dials.channel, buf_view(&listens.out), &dials.plain, &dials.out);
		buf_clear(&listens.out);
	}
	if (tls_channel_write(dials.channel, VIEW("hello"), &dials.out) != 0)
		return false;
	tls_channel_feed(listens.channel, buf_view(&dials.out), &listens.plain, &listens.out);
	return buf_len(&listens.plain) == 5;
}

/* A full handshake each time, and a resumed one. */
static void a_handshake(void **state)
{
	unsigned long n = 1, failed = 0;

	(void)state;
	for (bool done = false; !done; n += n < 60 ? 1 : STEP) {
		countdown = n;
		bool good = talk();
		done = countdown > 0;
		countdown = 0;
		failed += !good;
		assert_true(good || !done);
		hang_up();
	}
	assert_true(n > 200);
	assert_true(failed > 30);
	assert_true(talk());
}

static void a_load(void **state)
{
	struct tls_settings s = settings_of("eu", "eu", "alpha");
	unsigned long n = 1;

	(void)state;
	for (bool done = false; !done; n += STEP) {
		struct tls_context *c = NULL;
		countdown = n;
		int err = tls_context_load(&c, &s, day(1), &said);
		done = countdown > 0;
		countdown = 0;
		assert_true((err == 0) == (c != NULL));
		assert_true(!done || err == 0);
		tls_context_unref(&c);
	}
	assert_true(n > 200);
}

static void an_authority(void **state)
{
	struct tls_pki_issued issued;
	unsigned count;
	unsigned long n = 1;

	(void)state;
	for (bool done = false; !done; n += STEP) {
		char dir[32];
		snprintf(dir, sizeof dir, "a%lu", n);
		countdown = n;
		int err = tls_pki_init(in_folder(dir), "us", (struct tls_pki_terms){day(0), 10}, &issued, why);
		if (!err)
			err = tls_pki_issue(in_folder(dir), "alpha", "a,10.0.0.1", false,
					    (struct tls_pki_terms){day(0), 10}, &issued, why);
		if (!err)
			err = tls_pki_revoke(in_folder(dir), "alpha", day(0), &count, why);
		done = countdown > 0;
		countdown = 0;
		assert_true(!done || err == 0);
		assert_true(err == 0 || *why);
	}
	assert_true(n > 200);
}

int main(void)
{
	const struct CMUnitTest tests[] = {TEST(a_handshake), TEST(a_load), TEST(an_authority)};

	if (CRYPTO_set_mem_functions(ssl_malloc, ssl_realloc, ssl_free) != 1)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
