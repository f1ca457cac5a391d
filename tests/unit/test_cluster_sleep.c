/* A machine that was suspended: the clock of timers has stood still, the one that the right to act is reckoned by has
 * gone on. The nodes are of one process, so all of them sleep. */
#include "cluster/node_state.h"
#include "tests/unit/cluster_fixture.h"

#include <semaphore.h>
#include <time.h>

/* --- the clocks --- */

static _Atomic uint64_t slept_ms;

int __real_clock_gettime(clockid_t id, struct timespec *t);
int __wrap_clock_gettime(clockid_t id, struct timespec *t);
int __wrap_clock_gettime(clockid_t id, struct timespec *t)
{
	int err = __real_clock_gettime(id, t);

	if (!err && id == CLOCK_BOOTTIME)
		t->tv_sec += (time_t)(slept_ms / 1000);
	return err;
}

/* --- a thread that stands still, as all do while the machine sleeps --- */

struct halt {
	struct mail mail;
	sem_t halted, go_on;
};

static void deliver_halt(struct mail *mail)
{
	struct halt *h = CONTAINER_OF(mail, struct halt, mail);

	sem_post(&h->halted);
	while (sem_wait(&h->go_on) != 0)
		;
}

static void halt(struct halt *h, struct node *n)
{
	h->mail.deliver = deliver_halt;
	list_init(&h->mail.link);
	sem_init(&h->halted, 0, 0);
	sem_init(&h->go_on, 0, 0);
	net_loop_post(&n->cluster->loop, &h->mail);
	while (sem_wait(&h->halted) != 0)
		;
}

/* --- tests --- */

/* Whoever asks first after the sleep is told no, though no thread of the cluster has had a turn since. Later they
 * agree again: beats, core and fence go by one clock. */
static void who_has_slept_may_not_act(void **state)
{
	struct halt halts[NODES];

	(void)state;
	all_start();
	RUN_UNTIL(are_one(NODES));
	for (unsigned i = 0; i < NODES; i++)
		halt(&halts[i], &nodes[i]);
	slept_ms += 1000 * ((FAILURE_MS + 999) / 1000);
	unsigned acting = 0;
	for (unsigned i = 0; i < NODES; i++)
		acting += acts(&nodes[i]);
	for (unsigned i = 0; i < NODES; i++)
		sem_post(&halts[i].go_on);
	assert_int_equal(acting, 0);
	RUN_UNTIL(are_one(NODES));
}

/* Nobody was there to take it out: it goes on by itself. */
static void alone_it_goes_on(void **state)
{
	(void)state;
	node_begin(&nodes[0], 0);
	RUN_UNTIL(are_one(1));
	slept_ms += 3600 * 1000;
	RUN_UNTIL(are_one(1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(who_has_slept_may_not_act, nodes_set_up, nodes_tear_down),
	    cmocka_unit_test_setup_teardown(alone_it_goes_on, nodes_set_up, nodes_tear_down),
	};
	return cmocka_run_group_tests(tests, cluster_folder, cluster_folder_gone);
}
