/* Client streams, which outlive gateways, and peer streams, which are opened anew and say how far they were: as PROTOCOL.md has them. */
#include "tests/unit/im/order.h"

#include <stdio.h>

/* --- client streams --- */

void user_bind(unsigned user)
{
	struct user *u = &users[user];
	unsigned g = order_rnd(GATEWAYS);
	struct node *n = node_pick(NODES + g, user, true);
	struct svcproto_open o = {.bare_jid = u->bare, .resource = "phone", .secure = true};
	char xml[256];
	u->bind_at = now + 300 + order_rnd(500);
	if (!n || now < gateway_up_at[g])
		return;
	if (u->session)
		u->session->left = true;
	struct session *s = NEW(struct session);
	*s = (struct session){.next = sessions, .user = user, .node = n, .gateway = g};
	sessions = s;
	u->session = s;
	u->was_here = true;
	order_note(user, "%s comes to i%u", u->bare, n->index);
	im_turn_begin(n->im, now, (int64_t)(now / 1000));
	s->im = im_session_open(n->im, s, &o);
	node_turn_end(n);
	snprintf(xml, sizeof xml, "<presence xmlns='jabber:client' from='%s/phone'/>", u->bare);
	items_put(&s->up, xml, strlen(xml), 0);
	for (unsigned i = 1; i <= u->said; i++) {
		snprintf(xml, sizeof xml, "<message xmlns='jabber:client' from='%s/phone' to='%s' type='chat'><body>%u</body></message>",
			 u->bare, users[user ^ 1].bare, i);
		if (!u->acked[i])
			items_put(&s->up, xml, strlen(xml), 0);
	}
}

static void say(struct user *u, unsigned user)
{
	char xml[256];
	if (u->said + 1 == NUMBERS)
		return;
	u->said++;
	snprintf(xml, sizeof xml, "<message xmlns='jabber:client' from='%s/phone' to='%s' type='chat'><body>%u</body></message>", u->bare,
		 users[user ^ 1].bare, u->said);
	items_put(&u->session->up, xml, strlen(xml), 0);
}

/* Now and then more than the other one's session has room for. */
void user_say(unsigned user)
{
	struct user *u = &users[user];
	u->say_at = now + 200 + order_rnd(3000);
	if (!users[user ^ 1].was_here || !u->session || u->session->left || u->session->node->dead)
		return;
	for (unsigned nr = order_rnd(20) ? 1 : 2 * ROOM; nr > 0; nr--)
		say(u, user);
}

static void arrive(struct session *s, const struct item *i)
{
	struct user *u = &users[s->user];
	if (!i->number)
		return;
	order_note(s->user, "%u of %s has arrived from i%u%s", i->number, users[s->user ^ 1].bare, s->node->index,
		   u->got[i->number] ? " again" : "");
	if (!u->got[i->number] && i->number < u->highest)
		order_fail(s->user ^ 1, i->number, "was overtaken");
	u->got[i->number] = true;
	if (i->number > u->highest)
		u->highest = i->number;
}

static void deliver_acks(struct session *s, size_t upto)
{
	while (s->acked < upto)
		im_delivered(s->node->im, s->down.v[s->acked++].cookie);
}

static void finish(struct session *s)
{
	order_note(s->user, "i%u knows that the session of %s is over", s->node->index, users[s->user].bare);
	s->over = true;
	while (s->acked < s->down.nr) {
		struct item *i = &s->down.v[s->acked++];
		im_undeliverable(s->node->im, i->cookie, "wait", "recipient-unavailable", i->xml, strlen(i->xml));
	}
	im_session_closed(s->im);
}

void client_leave(struct session *s, unsigned after_ms)
{
	s->left = true;
	if (users[s->user].session == s) {
		users[s->user].session = NULL;
		users[s->user].bind_at = now + 20 + order_rnd(after_ms);
	}
}

static void session_up(struct session *s)
{
	while (s->handed < s->up.nr && order_rnd(s->up.nr - s->handed > ROOM / 2 ? ROOM : 4)) {
		struct item *i = &s->up.v[s->handed++];
		if (i->number && !s->closing)
			order_note(s->user, "%u of %s comes to i%u", i->number, users[s->user].bare, s->node->index);
		node_hand_over(s->node, (struct ticket){.session = s, .at = s->handed - 1}, i);
	}
	while (s->told < s->row && order_rnd(4)) {
		unsigned number = s->up.v[s->told++].number;
		if (number && !users[s->user].acked[number])
			order_note(s->user, "%u of %s is acknowledged by i%u", number, users[s->user].bare, s->node->index);
		users[s->user].acked[number] = true;
	}
}

/* In its node's turn. */
void session_step(struct session *s)
{
	if (s->over_at && now >= s->over_at) {
		finish(s);
		return;
	}
	if (s->over_at || now < s->away_until || !node_is_linked(s->gateway, s->node))
		return;
	if (s->closing && s->left) { /* the gateway's answer, with what its client had */
		deliver_acks(s, s->arrived);
		finish(s);
		return;
	}
	if (s->closing) {
		if (order_rnd(2))
			client_leave(s, 500);
		return;
	}
	if (s->left) { /* the client closed it */
		deliver_acks(s, s->arrived);
		finish(s);
		return;
	}
	session_up(s);
	while (s->arrived < s->down.nr && order_rnd(4))
		arrive(s, &s->down.v[s->arrived++]);
	if (order_rnd(2))
		deliver_acks(s, s->arrived);
}

/* --- peer streams --- */

static struct row *row_of(struct node *at, unsigned origin)
{
	struct row *r = rows;
	while (r && (r->at != at || r->origin != origin))
		r = r->next;
	if (!r) {
		r = NEW(struct row);
		*r = (struct row){.next = rows, .origin = origin, .at = at, .handled = mem_alloc(4 * NUMBERS)};
		memset(r->handled, 0, 4 * NUMBERS);
		rows = r;
	}
	return r;
}

static void bounce(struct node *n, struct pair *p, unsigned user)
{
	for (size_t nr = p->queue.nr - p->acked; nr > 0; nr--) {
		struct item i = p->queue.v[p->acked++];
		order_note(user, "%u comes back to i%u", i.number, n->index);
		im_undeliverable(n->im, i.cookie, "cancel", "recipient-unavailable", i.xml, strlen(i.xml));
	}
	p->origin = 0;
}

static void pair_open(struct node *n, struct pair *p, unsigned user)
{
	unsigned char instance[16];
	unsigned g = order_rnd(GATEWAYS);
	if (now < p->retry_at || !node_is_linked(g, n))
		return;
	struct node *far = node_pick(NODES + g, user, true);
	if (!far || far == n) {
		if (node_is_here(n, users[user].bare, instance))
			bounce(n, p, user);
		p->retry_at = now + 500 + order_rnd(500);
		return;
	}
	if (!p->origin) {
		p->origin = ++nr_origins;
		p->first = p->acked;
	}
	p->far = far;
	p->gateway = g;
	p->sent = p->acked;
	order_note(user, "stream from i%u for %s to i%u", n->index, users[user].bare, far->index);
	struct row *r = row_of(far, p->origin);
	if (r->received < p->acked - p->first)
		r->received = r->row = p->acked - p->first;
}

/* In the turn of the one that sends. */
void pair_near(struct node *n, struct pair *p, unsigned user)
{
	if (p->far && (p->far->dead || now < gateway_up_at[p->gateway])) {
		p->far = NULL;
		p->retry_at = now + order_rnd(1500);
	} else if (p->far && !node_is_linked(p->gateway, p->far) && order_rnd(20) == 0) {
		p->far = NULL;
		p->retry_at = now + order_rnd(500);
	}
	if (!p->far && p->queue.nr > p->acked)
		pair_open(n, p, user);
	if (!p->far || !node_is_linked(p->gateway, n) || !node_is_linked(p->gateway, p->far) || order_rnd(2))
		return;
	for (struct row *r = row_of(p->far, p->origin); p->acked - p->first < r->row && p->acked < p->sent;)
		im_delivered(n->im, p->queue.v[p->acked++].cookie);
}

void pair_far(struct node *n, struct pair *p, struct node *far)
{
	if (!node_is_linked(p->gateway, n) || !node_is_linked(p->gateway, far))
		return;
	while (p->sent < p->queue.nr && order_rnd(3)) {
		struct row *r = row_of(far, p->origin);
		struct item *i = &p->queue.v[p->sent++];
		if (p->sent - p->first <= r->received)
			continue;
		r->received = p->sent - p->first;
		node_hand_over(far, (struct ticket){.row = r, .at = r->received}, i);
	}
}
