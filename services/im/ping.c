#include "services/im/core.h"

/* XMPP Ping (XEP-0199). */

void ping_answer(struct stanza *st, struct xml_node *query)
{
	(void)query;
	iq_result_empty(st);
}
