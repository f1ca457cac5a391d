/* The intrusive list: order, membership, and what a loop may do. */
#include "base/list.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

struct item {
	int number;
	struct list link;
};

static struct item items[4];

static void set_up(struct list *l, int count)
{
	list_init(l);
	for (int i = 0; i < 4; i++) {
		items[i].number = i;
		list_init(&items[i].link);
		if (i < count)
			list_append(l, &items[i].link);
	}
}

/* The numbers in the list are the digits of `wanted`, in both directions. */
static void expect(struct list *l, const char *wanted)
{
	size_t n = 0;

	LIST_EACH (node, l) {
		assert_true(wanted[n] != 0);
		assert_int_equal(CONTAINER_OF(node, struct item, link)->number, wanted[n++] - '0');
		assert_ptr_equal(node->next->prev, node);
	}
	assert_int_equal(wanted[n], 0);
	for (struct list *node = l->prev; node != l; node = node->prev)
		assert_int_equal(CONTAINER_OF(node, struct item, link)->number, wanted[--n] - '0');
	assert_int_equal(n, 0);
	assert_int_equal(list_empty(l), wanted[0] == 0);
}

static void append_and_prepend(void **state)
{
	struct list l;

	(void)state;
	set_up(&l, 0);
	expect(&l, "");
	list_append(&l, &items[1].link);
	expect(&l, "1");
	list_append(&l, &items[2].link);
	list_prepend(&l, &items[0].link);
	expect(&l, "012");
	list_prepend(&l, &items[3].link);
	expect(&l, "3012");
}

static void removing(void **state)
{
	struct list l;

	(void)state;
	set_up(&l, 4);
	assert_true(list_linked(&items[1].link));
	list_remove(&items[1].link);
	expect(&l, "023");
	assert_false(list_linked(&items[1].link));
	list_remove(&items[1].link); /* again: nothing happens */
	expect(&l, "023");
	list_remove(&items[3].link);
	list_remove(&items[0].link);
	expect(&l, "2");
	list_remove(&items[2].link);
	expect(&l, "");
	list_append(&l, &items[1].link);
	expect(&l, "1");
}

static void popping(void **state)
{
	struct list l;

	(void)state;
	set_up(&l, 2);
	assert_ptr_equal(list_pop(&l), &items[0].link);
	assert_false(list_linked(&items[0].link));
	expect(&l, "1");
	assert_ptr_equal(list_pop(&l), &items[1].link);
	assert_null(list_pop(&l));
	expect(&l, "");
}

static void moving_all(void **state)
{
	struct list from, to;

	(void)state;
	set_up(&from, 2);
	list_init(&to);
	list_move_all(&to, &from);
	expect(&to, "01");
	expect(&from, "");
	list_move_all(&to, &from); /* nothing to move */
	expect(&to, "01");
	list_append(&from, &items[2].link);
	list_append(&from, &items[3].link);
	list_move_all(&to, &from);
	expect(&to, "0123");
	expect(&from, "");
}

static void a_loop_may_remove_its_node(void **state)
{
	struct list l;
	int seen = 0;

	(void)state;
	set_up(&l, 4);
	LIST_EACH (node, &l) {
		seen++;
		if (CONTAINER_OF(node, struct item, link)->number % 2 == 1)
			list_remove(node);
	}
	assert_int_equal(seen, 4);
	expect(&l, "02");
	LIST_EACH (node, &l)
		list_remove(node);
	expect(&l, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(append_and_prepend),
	    cmocka_unit_test(removing),
	    cmocka_unit_test(popping),
	    cmocka_unit_test(moving_all),
	    cmocka_unit_test(a_loop_may_remove_its_node),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
