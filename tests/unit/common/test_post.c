/* How a post wakes the loop that it is for. */
#include <pthread.h>
#include <semaphore.h>
#include <unistd.h>

#include "check.h"
#include "common/loop.h"

static struct loop *loop;
static unsigned nr_ran;
static void (*before_write)(void);      /* once, in whoever writes next */

ssize_t __real_write(int fd, const void *from, size_t n);
ssize_t __wrap_write(int fd, const void *from, size_t n);

ssize_t __wrap_write(int fd, const void *from, size_t n)
{
	void (*fn)(void) = before_write;

	before_write = NULL;
	if (fn)
		fn();
	return __real_write(fd, from, n);
}

static void on_post(void *arg)
{
	(void)arg;
	if (++nr_ran == 2)
		loop_stop(loop);
}

static void post_another(void)
{
	CHECK_EQ(loop_post(loop, on_post, NULL), 0);
}

/* Whoever is woken up finds the lock free. */
static void test_wakes_without_lock(void)
{
	loop = loop_new();
	nr_ran = 0;
	before_write = post_another;
	CHECK_EQ(loop_post(loop, on_post, NULL), 0);
	loop_run(loop);
	CHECK_EQ(nr_ran, 2);
	loop_free(loop);
}

static sem_t posted, freeing;

static void be_late(void)
{
	sem_post(&posted);
	sem_wait(&freeing);
}

static void *post_late(void *arg)
{
	(void)arg;
	before_write = be_late;
	CHECK_EQ(loop_post(loop, on_post, NULL), 0);
	return NULL;
}

static void *let_write(void *arg)
{
	(void)arg;
	usleep(20000); /* loop_free is waiting by now; if not, the test is weaker, not wrong */
	sem_post(&freeing);
	return NULL;
}

/* Who has posted and not yet woken the loop is waited for. */
static void test_free_waits(void)
{
	pthread_t late, helper;

	loop = loop_new();
	nr_ran = 0;
	sem_init(&posted, 0, 0);
	sem_init(&freeing, 0, 0);
	CHECK_EQ(pthread_create(&late, NULL, post_late, NULL), 0);
	sem_wait(&posted);
	CHECK_EQ(pthread_create(&helper, NULL, let_write, NULL), 0);
	loop_free(loop);
	pthread_join(late, NULL);
	pthread_join(helper, NULL);
	CHECK_EQ(nr_ran, 0);
}

int main(void)
{
	RUN(test_wakes_without_lock);
	RUN(test_free_waits);
	return check_done("unit.common.post");
}
