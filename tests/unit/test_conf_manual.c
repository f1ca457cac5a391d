/* The table of options, what weir -o makes of it, and that weir.conf(5) says the same. */
#include "tests/unit/conf_fixture.h"

/* --- the table ------------------------------------------------------------------------------------------------- */

static void the_table_is_sound(void **state)
{
	(void)state;
	for (size_t i = 0; i < conf_option_count; i++) {
		const struct conf_option *o = &conf_options[i];
		assert_ptr_equal(conf_option_find(o->section, view_str(o->name)), o); /* no name twice */
		assert_true(o->type == CONF_TYPE_LATER || (o->help && *o->help));
		assert_true((o->type == CONF_TYPE_SECTION) == (o->opens != NULL));
		if (conf_option_has_value(o))
			assert_int_equal(!!o->required + !!o->preset + !!o->preset_note, 1);
		for (size_t k = 0; k < i; k++) { /* sections are recognised by their names */
			if (o->type == CONF_TYPE_SECTION && conf_options[k].type == CONF_TYPE_SECTION)
				assert_string_not_equal(o->name, conf_options[k].name);
		}
	}
}

static void help_names_every_option(void **state)
{
	(void)state;
	struct buf out;
	buf_init(&out, 0);
	conf_help(&out);
	buf_put_u8(&out, '\0');
	assert_int_equal(buf_error(&out), 0);
	const char *text = (const char *)buf_view(&out).at;
	for (size_t i = 0; i < conf_option_count; i++) {
		if (conf_options[i].type == CONF_TYPE_LATER)
			continue;
		assert_non_null(strstr(text, conf_options[i].name));
		assert_non_null(strstr(text, conf_options[i].help));
	}
	assert_non_null(strstr(text, "    drain-timeout = ...   a time from 0 to 1d; default 30s. After TERM, "));
	assert_non_null(strstr(text, "        max = ...   a size from 1M to 1024G; default 512M. "));
	assert_non_null(strstr(text, "    protocol = ...   fastcgi or scgi; required. "));
	assert_non_null(
	    strstr(text, "    socket = ...   a full path of at most 107 bytes; default: admin.sock in run-dir. "));
	assert_non_null(strstr(text, "    allow = { ... }   " NETWORKS "; default 127.0.0.0/8, ::1. "));
	buf_fini(&out);
}

/* --- the man page ---------------------------------------------------------------------------------------------- */

static char page[1 << 17];

static void read_page(void)
{
	FILE *f = fopen("doc/weir.conf.5", "r");
	if (!f)
		fail_msg("no doc/weir.conf.5 here: run this from the top of the tree");
	page[fread(page, 1, sizeof page - 1, f)] = '\0';
	fclose(f);
}

/* Whether the item says of the option what the table says: all that is allowed, and the default. */
static void assert_item_true(const struct conf_option *o, const char *item)
{
	struct buf b;
	buf_init(&b, 0);
	if (o->type != CONF_TYPE_TOKEN) /* has characters that a man page writes in other ways */
		conf_option_put_allowed(o, &b);
	buf_put_str(&b, o->required || o->preset ? "; " : ";\ndefault: ");
	if (o->required)
		buf_put_str(&b, "required.");
	else if (o->preset)
		buf_put_str(&b, *o->preset ? "default " : "default empty");
	buf_put_str(&b, o->preset ? o->preset : "");
	buf_put_str(&b, o->preset ? "." : o->preset_note ? o->preset_note : "");
	buf_put_u8(&b, '\0');
	/* Lines are blanks. */
	for (char *c = (char *)b.data; *c; c++)
		*c = *c == '\n' ? ' ' : *c;
	if (!strstr(item, (char *)b.data))
		fail_msg("the man page does not say of %s.%s: %s", o->section, o->name, (char *)b.data);
	buf_fini(&b);
}

static size_t check_item(const char *section, const char *line)
{
	char item[4096];
	const char *end = strstr(line, "\n.It "), *list_end = strstr(line, "\n.El");
	if (!end || list_end < end)
		end = list_end;
	assert_true(end && (size_t)(end - line) < sizeof item);
	memcpy(item, line, (size_t)(end - line));
	item[end - line] = '\0';
	const struct conf_option *o = conf_option_find(section, view_of(item, strcspn(item, " \n")));
	if (!o || o->type == CONF_TYPE_LATER)
		fail_msg("the man page has %s.%.20s, the table has not", section, item);
	for (char *c = item; *c; c++)
		*c = *c == '\n' ? ' ' : *c;
	if (conf_option_has_value(o))
		assert_item_true(o, item);
	return (size_t)(o - conf_options);
}

static void the_man_page_tells_what_the_table_tells(void **state)
{
	(void)state;
	bool seen[256] = {false};
	char section[32] = "";
	read_page();
	char *start = strstr(page, "\n.Sh SECTIONS"), *end = strstr(page, "\n.Ss Not built yet");
	assert_true(start && end && start < end);
	for (char *line = start + 1; line < end; line = strchr(line, '\n') + 1) {
		if (strncmp(line, ".Ss ", 4) == 0)
			snprintf(section, sizeof section, "%.*s", (int)strcspn(line + 4, "\n"), line + 4);
		if (strncmp(line, ".It Ic ", 7) == 0)
			seen[check_item(section, line + 7)] = true;
	}
	for (size_t i = 0; i < conf_option_count; i++) {
		const struct conf_option *o = &conf_options[i];
		if (o->type != CONF_TYPE_LATER && !seen[i])
			fail_msg("the man page has no %s.%s", o->section, o->name);
		if (o->type == CONF_TYPE_LATER && !strstr(end, o->name))
			fail_msg("the man page does not say that %s.%s is not built", o->section, o->name);
	}
}

static void the_example_of_the_man_page_loads(void **state)
{
	(void)state;
	read_page();
	char *start = strstr(page, "\n.Sh EXAMPLES");
	assert_non_null(start);
	start = strstr(start, "\n.Bd -literal");
	assert_non_null(start);
	start = strchr(start + 1, '\n');
	char *end = strstr(start, "\n.Ed");
	assert_non_null(end);
	*end = '\0';
	struct conf *c = load_good(start);
	assert_int_equal(c->app_count, 2);
	assert_string_equal(c->status.path, "/weir-status");
	assert_int_equal(c->status.allow.count, 3);
	conf_free(&c);
}
int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_table_is_sound),
	    cmocka_unit_test(help_names_every_option),
	    cmocka_unit_test(the_man_page_tells_what_the_table_tells),
	    cmocka_unit_test(the_example_of_the_man_page_loads),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
