#include "reload.h"

#include <stdlib.h>

#include "commands.h"

/* Who asked waits in a list until the end of the main loop's turn: workers of one process are asked together, and reading the certificates
 * once is enough. */

struct asker {
	struct reload *r;
	struct worker *w;
	uint64_t request;
	char *error;             /* the answer */
	struct asker *next;
};

struct reload {
	struct loop *loop;
	int (*again)(void *arg, char *why, size_t why_size);
	void *arg;
	struct asker *askers;
	struct loop_task task;
};

/* On the worker's thread. */
static void on_answer(void *arg)
{
	struct asker *a = arg;

	commands_reloaded(worker_commands(a->w), a->request, a->error);
	free(a->error);
	free(a);
}

static void on_task(void *arg)
{
	struct reload *r = arg;
	struct asker *a = r->askers;
	char why[256] = "";
	int err = r->again(r->arg, why, sizeof why);

	r->askers = NULL;
	while (a != NULL) {
		struct asker *next = a->next;

		a->error = err != 0 ? mem_strdup(why) : NULL;
		if (worker_post(a->w, on_answer, a) != 0) {
			free(a->error);
			free(a);
		}
		a = next;
	}
}

static void on_asked(void *arg)
{
	struct asker *a = arg;

	a->next = a->r->askers;
	a->r->askers = a;
	loop_task_queue(a->r->loop, &a->r->task);
}

int reload_ask(struct reload *r, struct worker *w, uint64_t request)
{
	struct asker *a = NEW(struct asker);
	int err;

	*a = (struct asker){.r = r, .w = w, .request = request};
	err = loop_post(r->loop, on_asked, a);
	if (err != 0)
		free(a);
	return err;
}

struct reload *reload_new(struct loop *main_loop, int (*again)(void *arg, char *why, size_t why_size), void *arg)
{
	struct reload *r = NEW(struct reload);

	r->loop = main_loop;
	r->again = again;
	r->arg = arg;
	loop_task_init(&r->task, on_task, r);
	return r;
}

void reload_free(struct reload *r)
{
	free(r);
}
