#ifndef GATEWAY_LINK_LOCATE_H
#define GATEWAY_LINK_LOCATE_H

/* Questions to services where a user is, by number. The asker sets its own deadline: a question lives until it is answered or dropped. */

#include <stdbool.h>
#include <stdint.h>

struct locates;
struct svc_located;

/* Embedded in who asks; zeroed before its first use. */
struct locate_ask {
	/* The answer: a host as other_host_ok() wants it, or NULL. The question is over. */
	void (*answered)(struct locate_ask *a, const char *see_other_host);
	uint32_t request_;           /* 0: none is open */
	uint64_t link_;
};

struct locates *locates_new(void);
void locates_free(struct locates *ls);  /* what is open is never answered */
/* Opens a question that goes over this link; the number to ask by. */
uint32_t locates_open(struct locates *ls, struct locate_ask *a, uint64_t link);
void locates_drop(struct locates *ls, struct locate_ask *a);   /* also when none is open */
/* An answer that came over this link. One to a question that went over another is passed over: nobody answers for somebody else. */
void locates_answer(struct locates *ls, uint64_t link, const struct svc_located *m);

#endif
