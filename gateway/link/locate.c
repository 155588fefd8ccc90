#include "link/locate.h"

#include <stdlib.h>

#include "common/hash.h"
#include "common/log.h"
#include "svcproto/link.h"
#include "svcproto/otherhost.h"

/*
 * The open questions by their number. As many as there are logins that fail just now, at most: each asker has one.
 */

struct locates {
	struct hash *open;           /* struct locate_ask *, by request_ */
	uint32_t last;
};

struct locates *locates_new(void)
{
	struct locates *ls = NEW(struct locates);

	ls->open = hash_new();
	return ls;
}

void locates_free(struct locates *ls)
{
	if (ls == NULL)
		return;
	hash_free(ls->open);
	free(ls);
}

static struct slice key_of(const uint32_t *request)
{
	return (struct slice){(const char *)request, sizeof *request};
}

uint32_t locates_open(struct locates *ls, struct locate_ask *a, uint64_t link)
{
	ASSERT(a->request_ == 0 && a->answered != NULL);
	do
		ls->last++;
	while (ls->last == 0 || hash_get(ls->open, key_of(&ls->last)) != NULL);
	a->request_ = ls->last;
	a->link_ = link;
	hash_put(ls->open, key_of(&a->request_), a);
	return a->request_;
}

void locates_drop(struct locates *ls, struct locate_ask *a)
{
	if (a->request_ == 0)
		return;
	hash_del(ls->open, key_of(&a->request_));
	a->request_ = 0;
}

void locates_answer(struct locates *ls, uint64_t link, const struct svc_located *m)
{
	struct locate_ask *a = hash_get(ls->open, key_of(&m->request));
	const char *host = m->see_other_host;

	if (a == NULL || a->link_ != link)
		return;
	if (host != NULL && !other_host_ok(host)) {
		log_warn("link", link, "located", "host=%s why=\"not a host\"", log_escape(slice_str(host)));
		host = NULL;
	}
	locates_drop(ls, a);
	a->answered(a, host);
}
