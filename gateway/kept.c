#include "kept.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/log.h"
#include "svcproto/directory_keep.h"
#include "svcproto/keys.h"

/*
 * Loads change all the time and are not kept, so most changes give the same bytes, and nothing is written. Collecting them takes time on
 * the loop: the larger a cluster is, the rarer it is done, for at most a hundredth of the time.
 */

#define SAVE_MS 5000u
#define SHARE 100u

struct bytes {
	uint8_t *p;
	size_t n, cap;
	uint64_t hash;
};

struct kept {
	struct loop *loop;
	struct jobs *jobs;
	struct directory *d;
	char *path;
	struct loop_timer timer;
	bool dirty, saving;
	uint64_t pause_ms;       /* since what was collected last until the next time */
	uint64_t saved_hash;     /* of what is on disk */
	uint64_t warned_ms;
};

struct save {
	struct job job;          /* first */
	struct kept *k;          /* the loop's: done() only */
	char *path;
	struct bytes b;
	int rc;
};

/* --- bytes ---------------------------------------------------------------- */

/* FNV-1a. */
static bool add_bytes(void *arg, const void *p, size_t n)
{
	struct bytes *b = arg;
	const uint8_t *at = p;

	if (b->n + n > DIRECTORY_KEEP_MAX)
		return false;
	if (b->n + n > b->cap) {
		b->cap = 2 * (b->n + n);
		b->p = mem_resize(b->p, b->cap);
	}
	memcpy(b->p + b->n, p, n);
	b->n += n;
	for (size_t i = 0; i < n; i++)
		b->hash = (b->hash ^ at[i]) * UINT64_C(0x100000001b3);
	return true;
}

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* False: there is nothing to write. */
static bool collect(struct kept *k, struct bytes *b)
{
	uint64_t since = now_us();
	bool all;

	*b = (struct bytes){.hash = UINT64_C(0xcbf29ce484222325)};
	all = directory_keep_write(k->d, add_bytes, b);
	k->pause_ms = (now_us() - since) * SHARE / 1000;
	k->dirty = false;
	if (all && b->hash != k->saved_hash)
		return true;
	free(b->p);
	return false;
}

/* --- writing ---------------------------------------------------------------- */

static void arm(struct kept *k)
{
	if (k->dirty && !k->saving && !loop_timer_pending(&k->timer))
		loop_timer_set(&k->timer, k->pause_ms > SAVE_MS ? k->pause_ms : SAVE_MS);
}

static void save_free(struct save *s)
{
	free(s->b.p);
	free(s->path);
	free(s);
}

static void run_save(struct job *j)
{
	struct save *s = (struct save *)j;

	s->rc = svc_file_replace(s->path, s->b.p, s->b.n);
}

static void note(struct kept *k, int rc, uint64_t hash)
{
	if (rc == 0)
		k->saved_hash = hash;
	else if (log_once_a_second(&k->warned_ms))
		log_warn("registry", 0, "keep", "file=%s why=\"cannot be written: a start without a registry will know nothing\"",
			 log_escape(slice_str(k->path)));
}

static void done_save(struct job *j)
{
	struct save *s = (struct save *)j;

	s->k->saving = false;
	note(s->k, s->rc, s->b.hash);
	arm(s->k);
	save_free(s);
}

static void drop_save(struct job *j)
{
	save_free((struct save *)j);
}

static void on_timer(void *arg)
{
	struct kept *k = arg;
	struct bytes b;
	struct save *s;

	if (!collect(k, &b))
		return;
	s = NEW(struct save);
	s->job = (struct job){.run = run_save, .done = done_save, .drop = drop_save};
	s->k = k;
	s->path = mem_strdup(k->path);
	s->b = b;
	k->saving = jobs_submit(k->jobs, k->loop, &s->job) == 0;
	if (k->saving)
		return;
	save_free(s);
	k->dirty = true; /* the threads are busy: later */
	arm(k);
}

void kept_changed(struct kept *k)
{
	if (k->jobs == NULL)
		return;
	k->dirty = true;
	arm(k);
}

/* --- life ------------------------------------------------------------------- */

static void load(struct kept *k)
{
	size_t n;
	uint8_t *p = svc_file_load(k->path, DIRECTORY_KEEP_MAX, &n);
	int rc;

	if (p == NULL && errno == ENOENT)
		return;
	rc = p != NULL ? directory_keep_read(k->d, p, n, loop_now_ms(k->loop)) : SVCPROTO_E_KEY;
	if (rc == 0)
		log_info("registry", 0, "kept", "file=%s bytes=%zu", log_escape(slice_str(k->path)), n);
	else
		log_warn("registry", 0, "kept", "file=%s why=\"not a whole directory, or not a file of ours with mode 0600: passed over\"",
			 log_escape(slice_str(k->path)));
	free(p);
}

struct kept *kept_new(struct loop *l, struct jobs *jobs, struct directory *d, const char *path)
{
	struct kept *k = NEW(struct kept);

	k->loop = l;
	k->jobs = jobs;
	k->d = d;
	k->path = mem_strdup(path);
	loop_timer_init(l, &k->timer, on_timer, k);
	load(k);
	return k;
}

/* The loop has stopped: nobody waits for the disk. */
void kept_free(struct kept *k)
{
	struct bytes b;

	if (k == NULL)
		return;
	loop_timer_cancel(&k->timer);
	if (k->dirty && collect(k, &b)) {
		note(k, svc_file_replace(k->path, b.p, b.n), b.hash);
		free(b.p);
	}
	free(k->path);
	free(k);
}
