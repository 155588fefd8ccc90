/*
 * RFC 7673 is about whom we dial; this is the other direction: what a domain's servers may show to clients they may show to us. A match is
 * as good as an authority's word, a mismatch outweighs it. Bogus is a mismatch. No answer at all leaves the authorities: who is away in the
 * DNS for a while could not speak to us otherwise. It may not listen, though: nobody would have been dialled. Where the DNS was not asked
 * since we ask too much for that peer already, the authorities do not count either: it would have had that in its own hands.
 */
#include "role/peer_dane.h"

#include <stdlib.h>

#include "common/log.h"
#include "common/stat.h"
#include "xml/jid.h"

/* Of any of the domain's servers: which of them it is that dials us, nobody says. */
static enum tls_dane judge(const struct peer_dane *d, const struct resolve_target *targets, size_t nr, const char **why)
{
	enum tls_dane result = TLS_DANE_NONE;

	for (size_t i = 0; i < nr && result != TLS_DANE_MATCH; i++) {
		enum tls_dane one = TLS_DANE_NONE;

		if (targets[i].tlsa != NULL)
			one = tls_peer_dane(d->ssl_, targets[i].tlsa, targets[i].host, d->domain_, why);
		result = one != TLS_DANE_NONE ? one : result;
	}
	return result;
}

static void on_resolved(void *arg, enum resolve_status status, const struct resolve_target *targets, size_t nr, const char *why)
{
	struct peer_dane *d = arg;

	d->resolve_ = NULL;
	d->in_doubt = status == RESOLVE_TIMEOUT;
	d->verdict = status == RESOLVE_BOGUS || status == RESOLVE_CROWDED ? TLS_DANE_MISMATCH : judge(d, targets, nr, &why);
	if (d->verdict != TLS_DANE_NONE) {
		stat_add(d->verdict == TLS_DANE_MATCH ? STAT_dane_matched : STAT_dane_refused, 1);
		log_info("s2s-in", d->log_id_, "dane", "domain=%s match=%d why=%s", d->domain_, d->verdict == TLS_DANE_MATCH,
			 why ? log_escape(slice_str(why)) : "-");
	}
	peer_dane_cancel(d);
	d->done_(d->arg_);
}

bool peer_dane_ask(struct peer_dane *d, struct edge *e, const char *domain, void (*done)(void *arg), void *arg)
{
	char *ascii = jid_domain_ascii(slice_str(domain));
	SSL *ssl = conn_ssl(e->conn);

	if (ascii == NULL || ssl == NULL || !resolver_validates(e->env->resolver)) {
		free(ascii);
		return false;
	}
	*d = (struct peer_dane){.in_doubt = true, .ssl_ = ssl, .domain_ = ascii, .log_id_ = e->id, .done_ = done, .arg_ = arg};
	d->resolve_ = resolve_server(e->env->resolver, ascii, edge_who(e), on_resolved, d);
	return true;
}

void peer_dane_cancel(struct peer_dane *d)
{
	if (d->resolve_ != NULL)
		resolve_cancel(d->resolve_);
	d->resolve_ = NULL;
	free(d->domain_);
	d->domain_ = NULL;
}

bool peer_dane_may_send(const struct peer_dane *d)
{
	return d->verdict == TLS_DANE_MATCH || (d->verdict == TLS_DANE_NONE && !d->in_doubt);
}
