/* What the kernel has noted, which an older one than 6.12 does not do: there only that nothing else changes. */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "check.h"
#include "child.h"
#include "common/daemon.h"
#include "common/jobs.h"
#include "common/prompt.h"

struct attributes {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
};

static struct child c;

static bool kernel_knows(void)
{
	struct utsname u;
	unsigned major = 0, minor = 0;

	return uname(&u) == 0 && sscanf(u.release, "%u.%u", &major, &minor) == 2 && (major > 6 || (major == 6 && minor >= 12));
}

static struct attributes now(void)
{
	struct attributes a = {.size = sizeof a};

	CHECK_EQ(syscall(SYS_sched_getattr, 0, &a, sizeof a, 0), 0);
	return a;
}

static void check_slice(unsigned us)
{
	if (kernel_knows())
		CHECK_EQ(now().runtime, us * 1000);
}

static void *heir(void *arg)
{
	check_slice(PROMPT_SLICE_US);
	patient_thread();
	check_slice(PATIENT_SLICE_US);
	return arg;
}

static void test_thread(void)
{
	struct attributes before = now(), after;
	pthread_t t;

	prompt_thread();
	check_slice(PROMPT_SLICE_US);
	after = now();
	CHECK_EQ(after.policy, before.policy);
	CHECK_EQ(after.nice, before.nice);
	CHECK_EQ(pthread_create(&t, NULL, heir, NULL), 0);
	pthread_join(t, NULL);
	check_slice(PROMPT_SLICE_US); /* that of the other is its own */
}

static void with_policy(void *arg)
{
	struct sched_param none = {0};

	(void)arg;
	sched_setscheduler(0, SCHED_IDLE, &none);
	prompt_thread();
	printf("%d %d\n", sched_getscheduler(0) == SCHED_IDLE, now().runtime != PROMPT_SLICE_US * 1000);
}

static void test_other_policies_stay(void)
{
	child_run(&c, STDOUT_FILENO, with_policy, NULL);
	CHECK_STR(c.text, "1 1\n");
}

static void init(void *arg)
{
	(void)arg;
	daemon_init();
	printf("%d\n", !kernel_knows() || now().runtime == PROMPT_SLICE_US * 1000);
}

static void test_daemons_are_prompt(void)
{
	child_run(&c, STDOUT_FILENO, init, NULL);
	CHECK_STR(c.text, "1\n");
}

static struct loop *loop;
static int nice_in_job;

static void on_run(struct job *j)
{
	(void)j;
	check_slice(PATIENT_SLICE_US);
	nice_in_job = getpriority(PRIO_PROCESS, (id_t)gettid());
}

static void on_done(struct job *j)
{
	(void)j;
	loop_stop(loop);
}

static void test_jobs_are_patient(void)
{
	int nice = getpriority(PRIO_PROCESS, 0);
	struct job j = {.run = on_run, .done = on_done};
	struct jobs *js = jobs_new(1, 1);

	loop = loop_new();
	prompt_thread();
	CHECK_EQ(jobs_submit(js, loop, &j), 0);
	loop_run(loop);
	CHECK(nice_in_job > nice || nice >= 5);
	jobs_free(js);
	loop_free(loop);
}

int main(void)
{
	RUN(test_other_policies_stay);
	RUN(test_daemons_are_prompt);
	RUN(test_thread);
	RUN(test_jobs_are_patient);
	return check_done("unit.common.prompt");
}
