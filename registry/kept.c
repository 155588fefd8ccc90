#include "registry/kept.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/mem.h"
#include "registry/keep.h"
#include "registry/server_int.h"

#define SAVE_MS 500u     /* after a change, so that many go together */
#define SHARE 100u

struct bytes {
	uint8_t *p;
	size_t n, cap;
};

static bool add_bytes(void *arg, const void *p, size_t n)
{
	struct bytes *b = arg;

	if (b->n + n > KEEP_MAX)
		return false;
	if (b->n + n > b->cap) {
		b->cap = 2 * (b->n + n);
		b->p = mem_resize(b->p, b->cap);
	}
	memcpy(b->p + b->n, p, n);
	b->n += n;
	return true;
}

static void save(struct kept_redirects *k, const struct registry_table *t)
{
	struct bytes b = { .p = NULL };
	uint64_t since = registry_now_ms();
	bool ok =
	    keep_write(registry_table_redirects(t), since, registry_wall_ms(), add_bytes, &b) && svc_file_replace(k->path, b.p, b.n) == 0;

	if (!ok && log_once_a_second(&k->warned_ms))
		log_warn("registry", 0, "keep", "file=%s why=\"cannot be written: redirects will not outlive a restart of all registries\"",
			 log_escape(slice_str(k->path)));
	free(b.p);
	k->due_ms = UINT64_MAX;
	k->rest_until_ms = registry_now_ms() + (registry_now_ms() - since) * SHARE;
}

void kept_redirects_open(struct kept_redirects *k, const char *state_dir, struct registry_table *t)
{
	size_t n;
	uint8_t *p;
	int rc;

	k->due_ms = UINT64_MAX;
	snprintf(k->path, sizeof(k->path), "%s/redirects", state_dir);
	p = svc_file_load(k->path, KEEP_MAX, &n);
	if (p == NULL && errno == ENOENT)
		return;
	rc = p != NULL ? keep_read(t, p, n, registry_now_ms(), registry_wall_ms()) : SVCPROTO_E_KEY;
	if (rc == 0)
		log_info("registry", 0, "kept", "file=%s redirects=%zu", log_escape(slice_str(k->path)),
			 redirects_count(registry_table_redirects(t)));
	else
		log_warn("registry", 0, "kept",
			 "file=%s why=\"not all of it is there, or it is not a file of ours with mode 0600: passed over\"",
			 log_escape(slice_str(k->path)));
	free(p);
}

void kept_redirects_changed(struct kept_redirects *k, uint64_t now_ms)
{
	if (k->due_ms == UINT64_MAX)
		k->due_ms = now_ms + SAVE_MS > k->rest_until_ms ? now_ms + SAVE_MS : k->rest_until_ms;
}

uint64_t kept_redirects_tick(struct kept_redirects *k, const struct registry_table *t, uint64_t now_ms)
{
	if (now_ms >= k->due_ms)
		save(k, t);
	return k->due_ms;
}

void kept_redirects_close(struct kept_redirects *k, const struct registry_table *t)
{
	if (k->due_ms != UINT64_MAX)
		save(k, t);
}
