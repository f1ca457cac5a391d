/* The mailbox: order, one wake-up for many messages, and nothing lost between threads (run under TSan as well). */
#include "base/mailbox.h"

#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

enum { POSTERS = 4, MAILS = 20000 };

struct letter {
	struct mail mail;
	int poster, number;
};

static struct mailbox box;
static int delivered[POSTERS]; /* the receiver's thread only */
static bool out_of_order;

static void deliver(struct mail *mail)
{
	struct letter *l = CONTAINER_OF(mail, struct letter, mail);

	if (delivered[l->poster] != l->number)
		out_of_order = true;
	delivered[l->poster]++;
}

static void count_wake(void *arg)
{
	++*(int *)arg;
}

static void reset(void)
{
	for (int i = 0; i < POSTERS; i++)
		delivered[i] = 0;
	out_of_order = false;
}

static void one_wake_up_for_many(void **state)
{
	struct letter letters[3];
	int wakes = 0;

	(void)state;
	reset();
	mailbox_init(&box, count_wake, &wakes);
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < 3; i++) {
			letters[i] = (struct letter){{.deliver = deliver}, 0, round * 3 + i};
			mailbox_post(&box, &letters[i].mail);
			assert_int_equal(wakes, round + 1);
		}
		assert_int_equal(delivered[0], round * 3);
		mailbox_deliver(&box);
		assert_int_equal(delivered[0], round * 3 + 3);
		mailbox_deliver(&box); /* nothing is there, nothing happens */
	}
	assert_int_equal(delivered[0], 6);
	assert_false(out_of_order);
	mailbox_fini(&box);
}

static struct letter again;

static void deliver_and_post(struct mail *mail)
{
	deliver(mail);
	again = (struct letter){{.deliver = deliver}, 0, 1};
	mailbox_post(&box, &again.mail);
}

/* A message posted while messages are delivered waits for the next round, with a wake-up of its own: a receiver that
 * posts to itself cannot starve its loop. */
static void posting_while_delivering(void **state)
{
	struct letter first = {{.deliver = deliver_and_post}, 0, 0};
	int wakes = 0;

	(void)state;
	reset();
	mailbox_init(&box, count_wake, &wakes);
	mailbox_post(&box, &first.mail);
	mailbox_deliver(&box);
	assert_int_equal(delivered[0], 1);
	assert_int_equal(wakes, 2);
	mailbox_deliver(&box);
	assert_int_equal(delivered[0], 2);
	mailbox_fini(&box);
}

static struct letter letters[POSTERS][MAILS];
static sem_t woken;

static void post_wake(void *arg)
{
	(void)arg;
	sem_post(&woken);
}

static void *poster(void *arg)
{
	int which = *(int *)arg;

	for (int i = 0; i < MAILS; i++) {
		letters[which][i] = (struct letter){{.deliver = deliver}, which, i};
		mailbox_post(&box, &letters[which][i].mail);
	}
	return NULL;
}

static bool all_delivered(void)
{
	for (int i = 0; i < POSTERS; i++) {
		if (delivered[i] < MAILS)
			return false;
	}
	return true;
}

/* The receiver sleeps unless it is woken: a lost wake-up would hang here. */
static void many_threads_post(void **state)
{
	pthread_t threads[POSTERS];
	int which[POSTERS];

	(void)state;
	reset();
	assert_int_equal(sem_init(&woken, 0, 0), 0);
	mailbox_init(&box, post_wake, NULL);
	for (int i = 0; i < POSTERS; i++) {
		which[i] = i;
		assert_int_equal(pthread_create(&threads[i], NULL, poster, &which[i]), 0);
	}
	while (!all_delivered()) {
		while (sem_wait(&woken) != 0)
			;
		mailbox_deliver(&box);
	}
	for (int i = 0; i < POSTERS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_false(out_of_order);
	mailbox_fini(&box);
	sem_destroy(&woken);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(one_wake_up_for_many),
	    cmocka_unit_test(posting_while_delivering),
	    cmocka_unit_test(many_threads_post),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
