#ifndef GATEWAY_STREAM_CLOSE_H
#define GATEWAY_STREAM_CLOSE_H

/* Conditions as constants. Each returns a static string: the name if it is one of the defined ones, "undefined-condition" else (also for
 * NULL). */

const char *close_stream_condition(const char *name);   /* RFC 6120 section 4.9.3 */
const char *close_sasl_condition(const char *name);     /* RFC 6120 section 6.5 */
const char *close_stanza_condition(const char *name);   /* RFC 6120 section 8.3.3, and XEP-0220's remote-connection-failed */

#endif
