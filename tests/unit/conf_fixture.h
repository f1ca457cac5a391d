/* What the tests of the configuration share: texts that are read, and what is said about them. */
#ifndef WEIR_TESTS_UNIT_CONF_FIXTURE_H
#define WEIR_TESTS_UNIT_CONF_FIXTURE_H

#include "base/error.h"
#include "conf/conf.h"
#include "conf/options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define NETWORKS "\"ADDRESS\" or \"ADDRESS/BITS\", numeric, all bits behind BITS zero"

static char errors_text[1 << 16];

static inline int load(const char *text, struct conf **out)
{
	struct buf errors;

	buf_init(&errors, 0);
	int err = conf_load_text("f", view_str(text), out, &errors);
	struct view v = buf_view(&errors);
	assert_true(v.len < sizeof errors_text);
	if (v.len > 0)
		memcpy(errors_text, v.at, v.len);
	errors_text[v.len] = '\0';
	buf_fini(&errors);
	return err;
}

static inline struct conf *load_good(const char *text)
{
	struct conf *c = NULL;
	if (load(text, &c) != 0)
		fail_msg("refused: %s", errors_text);
	assert_string_equal(errors_text, "");
	assert_non_null(c);
	return c;
}

/* All that is said about the file, to the letter. */
static inline void assert_errors(const char *text, const char *expected)
{
	struct conf *untouched = (struct conf *)(uintptr_t) "x", *c = untouched;
	assert_int_equal(load(text, &c), ERR_CONFIG);
	assert_string_equal(errors_text, expected);
	assert_ptr_equal(c, untouched);
}

#endif
