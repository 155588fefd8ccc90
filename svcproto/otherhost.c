/*
 * What a client is to dial must be exactly that: a value that a client might read in two ways (an IPv6 address without brackets, a port
 * with a sign, a scheme in front) is none.
 */
#include "svcproto/otherhost.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "svcproto/props.h"

#define NAME_MAX_BYTES 1023u
#define PORT_DIGITS_MAX 5u

static bool is_ipv6(const char *p, size_t n)
{
	unsigned char address[16];
	char copy[INET6_ADDRSTRLEN];

	if (n == 0 || n >= sizeof(copy))
		return false;
	memcpy(copy, p, n);
	copy[n] = '\0';
	return inet_pton(AF_INET6, copy, address) == 1;
}

/* Letters, digits and hyphens between single dots; internationalised names as UTF-8. An IPv4 address looks the same. */
static bool is_name(const char *p, size_t n)
{
	bool label = false; /* a character of one has come */

	if (n == 0 || n > NAME_MAX_BYTES || !props_utf8_ok((const uint8_t *)p, n))
		return false;
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)p[i];
		bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c >= 0x80;

		if (c == '.' ? !label : !plain && c != '-' && c != '_')
			return false;
		label = c != '.';
	}
	return label;
}

/* "" or ":PORT" */
static bool is_port(const char *p)
{
	unsigned long port = 0;
	size_t n = strlen(p);

	if (n == 0)
		return true;
	if (p[0] != ':' || n < 2 || n > 1 + PORT_DIGITS_MAX || p[1] == '0')
		return false;
	for (size_t i = 1; i < n; i++) {
		if (p[i] < '0' || p[i] > '9')
			return false;
		port = port * 10 + (unsigned long)(p[i] - '0');
	}
	return port <= 65535;
}

bool other_host_ok(const char *text)
{
	const char *end;

	if (text == NULL)
		return false;
	if (text[0] == '[') {
		end = strchr(text, ']');
		return end != NULL && is_ipv6(text + 1, (size_t)(end - text - 1)) && is_port(end + 1);
	}
	end = strchr(text, ':');
	end = end != NULL ? end : text + strlen(text);
	return is_name(text, (size_t)(end - text)) && is_port(end);
}

/* Without a port that needs not be written. */
static size_t core_length(const char *text)
{
	static const char suffix[] = ":5222";
	size_t n = strlen(text);

	return n > sizeof(suffix) - 1 && strcmp(text + n - (sizeof(suffix) - 1), suffix) == 0 ? n - (sizeof(suffix) - 1) : n;
}

bool other_host_same(const char *a, const char *b)
{
	size_t n = core_length(a);

	return n == core_length(b) && strncasecmp(a, b, n) == 0;
}

bool other_host_make(char *out, size_t size, const char *host, unsigned port)
{
	bool bare = host != NULL && is_ipv6(host, strlen(host));
	char number[8] = "";
	int n;

	if (host == NULL || port > 65535)
		return false;
	if (port != 0 && port != OTHER_HOST_PORT)
		snprintf(number, sizeof(number), ":%u", port);
	n = snprintf(out, size, "%s%s%s%s", bare ? "[" : "", host, bare ? "]" : "", number);
	return n > 0 && (size_t)n < size && other_host_ok(out);
}
