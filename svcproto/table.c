/* Linear probing with backward shifting on removal, so that no tombstones pile up on a link whose streams come and go. */
#include "svcproto/table.h"

#include <stdlib.h>

#include <ambrosia/svcproto.h>

#define TABLE_MIN 16u

struct table_slot {
	uint32_t handle;
	struct svc_stream *s; /* NULL: empty */
};

static uint32_t home(const struct table *t, uint32_t handle)
{
	uint64_t x = (uint64_t)handle * UINT64_C(0x9e3779b97f4a7c15) ^ t->seed;

	x = (x ^ x >> 32) * UINT64_C(0xd6e8feb86659fd93);
	x = (x ^ x >> 32) * UINT64_C(0xd6e8feb86659fd93);
	return (uint32_t)(x >> 32) & (t->cap - 1);
}

void table_clear(struct table *t)
{
	free(t->slots);
	t->slots = NULL;
	t->cap = t->nr = 0;
}

static struct table_slot *slot_of(const struct table *t, uint32_t handle)
{
	uint32_t i = home(t, handle);

	while (t->slots[i].s != NULL && t->slots[i].handle != handle)
		i = (i + 1) & (t->cap - 1);
	return &t->slots[i];
}

struct svc_stream *table_find(const struct table *t, uint32_t handle)
{
	return t->cap == 0 ? NULL : slot_of(t, handle)->s;
}

static int resize(struct table *t, uint32_t cap)
{
	struct table old = *t;
	struct table_slot *slots = calloc(cap, sizeof(*slots));

	if (slots == NULL)
		return SVCPROTO_E_NOMEM;
	t->slots = slots;
	t->cap = cap;
	for (uint32_t i = 0; i < old.cap; i++)
		if (old.slots[i].s != NULL)
			*slot_of(t, old.slots[i].handle) = old.slots[i];
	free(old.slots);
	return 0;
}

int table_add(struct table *t, uint32_t handle, struct svc_stream *s)
{
	if (t->nr + 1 > t->cap / 4 * 3) {
		int rc = t->cap > UINT32_MAX / 4 ? SVCPROTO_E_NOMEM : resize(t, t->cap == 0 ? TABLE_MIN : t->cap * 2);

		if (rc != 0)
			return rc;
	}
	*slot_of(t, handle) = (struct table_slot){ handle, s };
	t->nr++;
	return 0;
}

void table_remove(struct table *t, uint32_t handle)
{
	struct table_slot *hole = t->cap == 0 ? NULL : slot_of(t, handle);
	uint32_t mask = t->cap - 1, i, at;

	if (hole == NULL || hole->s == NULL)
		return;
	i = at = (uint32_t)(hole - t->slots);
	for (;;) {
		at = (at + 1) & mask;
		if (t->slots[at].s == NULL)
			break;
		if (((at - home(t, t->slots[at].handle)) & mask) >= ((at - i) & mask)) { /* may move back to the hole */
			t->slots[i] = t->slots[at];
			i = at;
		}
	}
	t->slots[i].s = NULL;
	t->nr--;
	if (t->nr == 0)
		table_clear(t);
	else if (t->cap > TABLE_MIN && t->nr < t->cap / 8)
		(void)resize(t, t->cap / 2); /* without memory it stays large */
}
