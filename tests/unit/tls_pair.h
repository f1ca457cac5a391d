/* Two nodes of the fixture's cluster, alpha and beta, for each test anew. Nothing here is shared between programs. */
#ifndef TESTS_UNIT_TLS_PAIR_H
#define TESTS_UNIT_TLS_PAIR_H

#include "tests/unit/tls_fixture.h"

static struct tls_context *alpha, *beta;

static int set_up(void **state)
{
	if (cluster_set_up(state) != 0)
		return -1;
	alpha = load("alpha");
	beta = load("beta");
	return 0;
}

static int tear_down(void **state)
{
	int err = cluster_tear_down(state);

	tls_context_unref(&alpha);
	tls_context_unref(&beta);
	return err;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
