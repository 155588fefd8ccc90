/*
 * A row of counters for each thread that counts, so that counting is one plain addition. Rows are never freed: a thread that ends
 * leaves its row, with what it counted, for the next one to go on with.
 */
#include "common/stat.h"

#include <pthread.h>

#include "common/obj.h"

const uint64_t stat_times_ms[STAT_BOUNDS] = {1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000};
const uint64_t stat_sizes_bytes[STAT_BOUNDS] = {1 << 8,  1 << 10, 1 << 12, 1 << 14, 1 << 16, 1 << 18,          1 << 20,
						1 << 22, 1 << 24, 1 << 26, 1 << 28, 1 << 30, UINT64_C(1) << 32};

struct row {
	struct row *next;
	_Atomic bool taken;
	_Atomic uint64_t counts[STAT_MAX_];
};

static struct row *_Atomic rows;
static _Thread_local struct row *my_row;
static pthread_key_t leave_key;
static pthread_once_t leave_once = PTHREAD_ONCE_INIT;

static void leave_row(void *arg)
{
	struct row *r = arg;

	my_row = NULL; /* a later destructor of this thread may count again */
	atomic_store_explicit(&r->taken, false, memory_order_release);
}

static void make_key(void)
{
	int err = pthread_key_create(&leave_key, leave_row);
	ASSERT(err == 0);
}

static struct row *find_free(void)
{
	for (struct row *r = atomic_load_explicit(&rows, memory_order_acquire); r; r = r->next) {
		bool taken = false;

		if (atomic_compare_exchange_strong_explicit(&r->taken, &taken, true, memory_order_acquire, memory_order_relaxed))
			return r;
	}
	return NULL;
}

static struct row *take_row(void)
{
	struct row *r = find_free();

	if (r == NULL) {
		r = NEW(struct row);
		atomic_init(&r->taken, true);
		r->next = atomic_load_explicit(&rows, memory_order_relaxed);
		while (!atomic_compare_exchange_weak_explicit(&rows, &r->next, r, memory_order_release, memory_order_relaxed))
			;
	}
	pthread_once(&leave_once, make_key);
	pthread_setspecific(leave_key, r);
	return r;
}

/* One writer for each row: no need of a locked addition. */
static inline void add_to(struct row *r, enum stat_id id, uint64_t n)
{
	uint64_t now = atomic_load_explicit(&r->counts[id], memory_order_relaxed);
	atomic_store_explicit(&r->counts[id], now + n, memory_order_relaxed);
}

/* Apart, so that nothing is saved for it each time. */
static __attribute__((noinline)) void add_first(enum stat_id id, uint64_t n)
{
	my_row = take_row();
	add_to(my_row, id, n);
}

void stat_add(enum stat_id id, uint64_t n)
{
	struct row *r = my_row;

	if (r != NULL)
		add_to(r, id, n);
	else
		add_first(id, n);
}

void stat_observe(enum stat_id id, const uint64_t bounds[STAT_BOUNDS], uint64_t value)
{
	unsigned i = 0;

	while (i < STAT_BOUNDS && value > bounds[i])
		i++;
	stat_add((enum stat_id)(id + i), 1);
	stat_add((enum stat_id)(id + STAT_BOUNDS + 1), value);
}

uint64_t stat_sum(enum stat_id id)
{
	uint64_t sum = 0;

	for (struct row *r = atomic_load_explicit(&rows, memory_order_acquire); r; r = r->next)
		sum += atomic_load_explicit(&r->counts[id], memory_order_relaxed);
	return sum;
}

const char *stat_help(enum stat_id id)
{
	static const char *const helps[] = {
#define STAT(name, help) [STAT_##name] = help,
#define STAT_SET(name, n, help) [STAT_##name] = help,
#define STAT_HISTOGRAM(name, help) [STAT_##name] = help,
#include "common/stat.def"
#undef STAT
#undef STAT_SET
#undef STAT_HISTOGRAM
	};

	return helps[id];
}
