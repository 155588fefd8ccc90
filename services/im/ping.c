/* XMPP Ping (XEP-0199). */
#include "services/im/core.h"

void ping_answer(struct stanza *st, struct xml_node *query)
{
	(void)query;
	iq_result_empty(st);
}
