/* What a transcript plays with unless it says otherwise. */
#include "play.h"

#include <stdlib.h>

void play_config_init(struct play_config *c)
{
	struct xml_limits before = {.element_bytes = 8192, .tag_bytes = 4096, .depth_max = 16, .attrs_max = 32};
	struct xml_limits after = {.element_bytes = 32768, .tag_bytes = STREAM_TAG_MAX, .depth_max = 64, .attrs_max = 64};

	*c = (struct play_config){
		.limits = {
			.before_auth = before,
			.after_auth = after,
			.negotiation_ms = 30000,
			.tls_ms = 10000,
			.close_ms = 2000,
			.auth_attempts_max = 3,
			.negotiation_bytes = 262144,
			.negotiation_blanks = 1024,
		},
		.hosts = {mem_strdup("example.com")},
		.from = mem_strdup("here.example"),
		.to = mem_strdup("there.example"),
	};
}

void play_config_clear(struct play_config *c)
{
	for (unsigned i = 0; i < PLAY_WORDS; i++) {
		free((char *)c->hosts[i]);
		free((char *)c->mechs[i]);
		free((char *)c->bindings[i]);
	}
	free(c->from);
	free(c->to);
	free(c->see_other_host);
}
