#include <stdlib.h>

#include "check.h"
#include "child.h"
#include "common/log.h"
#include "common/option.h"

struct settings {
	int before; /* an offset of 0 would hide mistakes */
	char *name, *unset, *endpoint;
	struct option_list items, folders;
	uint64_t number;
	struct option_addr listen;
	enum log_level level;
	bool verbose;
};

#define AT(field) offsetof(struct settings, field)
static const struct option_def defs[] = {
	{.flag = "--the-name", .arg = "NAME", .type = OPTION_STRING, .offset = AT(name), .def = "nobody", .help = "a name"},
	{.flag = "--unset", .arg = "X", .type = OPTION_STRING, .offset = AT(unset), .def_text = "the machine's", .help = "not set"},
	{.flag = "--endpoint", .arg = "ENDPOINT", .type = OPTION_ENDPOINT, .offset = AT(endpoint), .help = "an endpoint"},
	{.flag = "--item", .arg = "ITEM", .type = OPTION_LIST, .offset = AT(items), .help = "an item"},
	{.flag = "--folder", .arg = "DIR", .type = OPTION_LIST, .offset = AT(folders), .def = "/a,/b", .help = "a folder"},
	{.flag = "--number", .arg = "N", .type = OPTION_NUMBER, .offset = AT(number), .def = "7", .min = 1, .max = 100,
	 .help = "a number whose explanation is so long that it cannot possibly stand in one line of a terminal of eighty columns"},
	{.flag = "--listen", .arg = "ADDR:PORT", .type = OPTION_LISTEN, .offset = AT(listen), .def = "[::]:5222", .help = "where"},
	{.flag = "--log-level", .arg = "LEVEL", .type = OPTION_LEVEL, .offset = AT(level), .def = "info", .help = "how much"},
	{.flag = "--verbose", .type = OPTION_SWITCH, .offset = AT(verbose), .help = "says more"},
	{0},
};
static const struct option_program program = {.name = "prog", .summary = "tests options", .defs = defs};

enum { ARGS_MAX = 12 };
static struct settings s;
static struct child c;

static int parse(char *const *args, char ***rest, int *nr_rest)
{
	static char *argv[ARGS_MAX + 2];
	static char name[] = "prog";
	int argc = 1;

	argv[0] = name;
	for (; args[argc - 1]; argc++)
		argv[argc] = args[argc - 1];
	argv[argc] = NULL;
	memset(&s, 0xa5, sizeof s); /* what was there before doesn't matter */
	option_parse(&program, &s, argc, argv, rest, nr_rest);
	return argc;
}

static void parse_in_child(void *args)
{
	parse(args, NULL, NULL);
	option_free(&program, &s);
}

#define ARGS(...) ((char *[ARGS_MAX]){__VA_ARGS__})
#define A(literal) ((char[]){literal})

static void test_defaults(void)
{
	parse(ARGS(NULL), NULL, NULL);
	CHECK_STR(s.name, "nobody");
	CHECK(s.unset == NULL);
	CHECK_EQ(s.items.nr, 0);
	CHECK_EQ(s.folders.nr, 2);
	CHECK_STR(s.folders.v[1], "/b");
	CHECK_EQ(s.number, 7);
	CHECK(!s.listen.none);
	CHECK_STR(s.listen.host, "::");
	CHECK_EQ(s.listen.port, 5222);
	CHECK_EQ(s.level, LOG_INFO);
	option_free(&program, &s);
	CHECK(s.name == NULL && s.folders.v == NULL);
}

static void test_both_forms(void)
{
	parse(ARGS(A("--the-name"), A("me"), A("--number=9"), A("--unset="), A("--listen"), A("127.0.0.1:0"), A("--log-level=debug")),
	      NULL, NULL);
	CHECK_STR(s.name, "me");
	CHECK_EQ(s.number, 9);
	CHECK_STR(s.unset, "");
	CHECK_STR(s.listen.host, "127.0.0.1");
	CHECK_EQ(s.listen.port, 0);
	CHECK_EQ(s.level, LOG_DEBUG);
	option_free(&program, &s);
	parse(ARGS(A("--the-name=a=b"), A("--the-name"), A("last"), A("--listen=none"), A("--unset=--x")), NULL, NULL);
	CHECK_STR(s.name, "last");
	CHECK(s.listen.none);
	CHECK_STR(s.unset, "--x");
	option_free(&program, &s);
}

static void test_lists(void)
{
	setenv("AMBROSIA_ITEM", "a b,c,, d ", 1);
	parse(ARGS(NULL), NULL, NULL);
	CHECK_EQ(s.items.nr, 4);
	CHECK_STR(s.items.v[0], "a");
	CHECK_STR(s.items.v[3], "d");
	option_free(&program, &s);
	/* flags replace what the variable and the default said, and their values are not split */
	parse(ARGS(A("--item"), A("x,y"), A("--folder=/c"), A("--item"), A("z")), NULL, NULL);
	CHECK_EQ(s.items.nr, 2);
	CHECK_STR(s.items.v[0], "x,y");
	CHECK_STR(s.items.v[1], "z");
	CHECK_EQ(s.folders.nr, 1);
	option_free(&program, &s);
	unsetenv("AMBROSIA_ITEM");
}

static void test_environment(void)
{
	setenv("AMBROSIA_THE_NAME", "env", 1);
	setenv("AMBROSIA_NUMBER", "", 1); /* as if unset */
	setenv("AMBROSIA_LOG_LEVEL", "warn", 1);
	parse(ARGS(A("--log-level"), A("error")), NULL, NULL);
	CHECK_STR(s.name, "env");
	CHECK_EQ(s.number, 7);
	CHECK_EQ(s.level, LOG_ERROR);
	option_free(&program, &s);
	setenv("AMBROSIA_LOG_LEVEL", "loud", 1);
	child_run(&c, STDERR_FILENO, parse_in_child, ARGS(NULL));
	CHECK_EQ(c.status, 2);
	CHECK_STR(c.text, "prog: AMBROSIA_LOG_LEVEL wants error, warn, info or debug, not \"loud\"\n");
	unsetenv("AMBROSIA_THE_NAME");
	unsetenv("AMBROSIA_NUMBER");
	unsetenv("AMBROSIA_LOG_LEVEL");
}

/* Exit status 2 and one line that holds `want`. */
static void check_wrong(char **args, const char *want)
{
	child_run(&c, STDERR_FILENO, parse_in_child, args);
	CHECK_EQ(c.status, 2);
	CHECK(strncmp(c.text, "prog: ", 6) == 0);
	CHECK(strstr(c.text, want) != NULL);
	CHECK(c.n > 0 && strchr(c.text, '\n') == c.text + c.n - 1);
	if (check_bad_)
		fprintf(stderr, "said: %s", c.text);
}

static void test_wrong_usage(void)
{
	check_wrong(ARGS(A("--nothing=1")), "unknown flag \"--nothing\": prog --help lists them");
	check_wrong(ARGS(A("-x")), "unknown flag \"-x\"");
	check_wrong(ARGS(A("--the-nam"), A("x")), "unknown flag");
	check_wrong(ARGS(A("--number")), "--number needs a value: --number N");
	check_wrong(ARGS(A("--the-name"), A("--number=3")), "--the-name needs a value");
	check_wrong(ARGS(A("--number=0")), "from 1 to 100, not \"0\"");
	check_wrong(ARGS(A("--number=101")), "from 1 to 100");
	check_wrong(ARGS(A("--number=99999999999999999999999")), "from 1 to 100");
	check_wrong(ARGS(A("--number=+5")), "from 1 to 100");
	check_wrong(ARGS(A("--number=5x")), "from 1 to 100");
	check_wrong(ARGS(A("--number=")), "from 1 to 100");
	check_wrong(ARGS(A("stray")), "\"stray\" is not expected");
	check_wrong(ARGS(A("--"), A("--number=5")), "\"--number=5\" is not expected");
}

static void test_addresses(void)
{
	static const char *const wrong[] = {
		"", "5222", ":5222", "localhost:5222", "::1:5222", "[::1]", "[::1]5222", "[::1:5222", "[]:1", "[127.0.0.1]:1", "127.0.0.1:",
		"127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:1x", "1.2.3:5", "[fe80::1%lo]:1", "[:5222", "None",
		"[0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000::1]:5222",
	};
	struct option_addr a;

	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		CHECK(option_read_addr(wrong[i], &a) < 0);
		if (check_bad_) {
			fprintf(stderr, "with \"%s\"\n", wrong[i]);
			return;
		}
	}
	CHECK_EQ(option_read_addr("[2001:db8::1]:65535", &a), 0);
	CHECK_STR(a.host, "2001:db8::1");
	CHECK_EQ(a.port, 65535);
	CHECK_EQ(option_read_addr("0.0.0.0:1", &a), 0);
	CHECK_EQ(option_read_addr("none", &a), 0);
	CHECK(a.none);
	check_wrong(ARGS(A("--listen=5222")), "--listen wants a numeric ADDR:PORT");
}

static void test_endpoints(void)
{
	static const char *const right[] = {"tcp://127.0.0.1:5320", "tcp://*:*", "tcp://[::1]:0", "tcp://gw-1.example.org:65535"};
	static const char *const wrong[] = {"",
					    "tcp://",
					    "nonsense",
					    "tcp://127.0.0.1",
					    "tcp://127.0.0.1:",
					    "tcp://:5320",
					    "tcp://127.0.0.1:65536",
					    "tcp://127.0.0.1:99999",
					    "tcp://a b:1",
					    "tcp://a/b:1",
					    "ipc:///tmp/x:1",
					    "tcp:127.0.0.1:1",
					    "tcp://a:-1"};

	for (size_t i = 0; i < ARRAY_LEN(right); i++)
		CHECK(option_is_endpoint(right[i]));
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		CHECK(!option_is_endpoint(wrong[i]));
		if (check_bad_)
			fprintf(stderr, "with \"%s\"\n", wrong[i]);
	}
	parse(ARGS(A("--endpoint=tcp://[::1]:1")), NULL, NULL);
	CHECK_STR(s.endpoint, "tcp://[::1]:1");
	option_free(&program, &s);
	CHECK(s.endpoint == NULL);
	check_wrong(ARGS(A("--endpoint=nonsense")), "--endpoint wants tcp://HOST:PORT, not \"nonsense\"");
}

static void test_positional(void)
{
	char **rest;
	int nr;

	parse(ARGS(A("status"), A("--number=5"), A("-"), A("--"), A("--the-name")), &rest, &nr);
	CHECK_EQ(nr, 3);
	CHECK_STR(rest[0], "status");
	CHECK_STR(rest[1], "-");
	CHECK_STR(rest[2], "--the-name");
	CHECK_EQ(s.number, 5);
	CHECK_STR(s.name, "nobody");
	option_free(&program, &s);
}

static void test_switches(void)
{
	char **rest;
	int nr_rest;

	parse(ARGS(A("--verbose"), A("word")), &rest, &nr_rest); /* takes no value */
	CHECK(s.verbose && nr_rest == 1);
	option_free(&program, &s);
	parse(ARGS(A("--verbose"), A("--verbose=no")), NULL, NULL);
	CHECK(!s.verbose);
	option_free(&program, &s);
	check_wrong(ARGS(A("--verbose=perhaps")), "yes or no");
	setenv("AMBROSIA_VERBOSE", "yes", 1);
	parse(ARGS(NULL), NULL, NULL);
	CHECK(s.verbose);
	option_free(&program, &s);
	unsetenv("AMBROSIA_VERBOSE");
}

/* A program that answers one question has few settings: the other flags have no variable. */
static const char *const few[] = {"--the-name", NULL};
static const struct option_program asker = {
	.name = "asker", .summary = "asks", .defs = defs, .env = few, .arguments = "COMMAND [ARGUMENT ...]", .notes = "Commands:\n  one\n"};

static void asker_in_child(void *args)
{
	char *argv[] = {A("asker"), args, NULL};

	option_parse(&asker, &s, 2, argv, NULL, NULL);
}

static void test_few_variables(void)
{
	char *argv[] = {A("asker"), NULL};

	setenv("AMBROSIA_THE_NAME", "taken", 1);
	setenv("AMBROSIA_NUMBER", "99", 1);
	option_parse(&asker, &s, 1, argv, NULL, NULL);
	CHECK_STR(s.name, "taken");
	CHECK_EQ(s.number, 7);
	option_free(&asker, &s);
	unsetenv("AMBROSIA_THE_NAME");
	unsetenv("AMBROSIA_NUMBER");
	child_run(&c, STDOUT_FILENO, asker_in_child, A("--help"));
	CHECK(strstr(c.text, "Usage: asker [flag ...] COMMAND [ARGUMENT ...]\n\nCommands:\n  one\n") != NULL);
	CHECK(strstr(c.text, "environment: AMBROSIA_THE_NAME") != NULL && strstr(c.text, "AMBROSIA_NUMBER") == NULL);
	CHECK(strstr(c.text, "\n  --verbose\n        says more\n") != NULL);
}

static void test_help(void)
{
	child_run(&c, STDOUT_FILENO, parse_in_child, ARGS(A("--help"), A("--wrong")));
	CHECK_EQ(c.status, 0);
	CHECK(strstr(c.text, "prog - tests options\n\nUsage: prog [flag ...]\n") == c.text);
	CHECK(strstr(c.text, "\n  --the-name NAME\n        a name\n        [default: nobody; environment: AMBROSIA_THE_NAME]\n") != NULL);
	CHECK(strstr(c.text, "[default: the machine's; environment: AMBROSIA_UNSET]") != NULL);
	CHECK(strstr(c.text, "\n  --item ITEM ...\n        an item\n        [environment: AMBROSIA_ITEM]\n") != NULL);
	CHECK(strstr(c.text, "\n  --print-config\n") != NULL);
	for (char *line = c.text; *line; line = strchr(line, '\n') + 1)
		CHECK(strcspn(line, "\n") < 100);
	char *wrapped = strstr(c.text, "a number whose");
	CHECK(wrapped != NULL && strcspn(wrapped, "\n") <= 71);
}

static void test_version(void)
{
	child_run(&c, STDOUT_FILENO, parse_in_child, ARGS(A("--version")));
	CHECK_EQ(c.status, 0);
	CHECK_STR(c.text, "prog " AMBROSIA_VERSION "\n");
}

static void test_print_config(void)
{
	child_run(&c, STDOUT_FILENO, parse_in_child, ARGS(A("--print-config"), A("--item=a"), A("--item=b"), A("--listen=[::1]:5")));
	CHECK_EQ(c.status, 0);
	CHECK_STR(c.text, "--the-name nobody\n--unset (the machine's)\n--endpoint (not set)\n--item a\n--item b\n--folder /a\n--folder "
			  "/b\n--number 7\n"
			  "--listen [::1]:5\n--log-level info\n--verbose no\n");
	/* what follows is looked at all the same */
	check_wrong(ARGS(A("--print-config"), A("--number=0")), "from 1 to 100");
}

static void say_wrong(void *arg)
{
	option_wrong(&program, "no %s: give --%s NAME", (const char *)arg, (const char *)arg);
}

static void test_wrong_by_program(void)
{
	child_run(&c, STDERR_FILENO, say_wrong, A("domain"));
	CHECK_EQ(c.status, 2);
	CHECK_STR(c.text, "prog: no domain: give --domain NAME\n");
}

int main(void)
{
	RUN(test_defaults);
	RUN(test_both_forms);
	RUN(test_lists);
	RUN(test_environment);
	RUN(test_wrong_usage);
	RUN(test_addresses);
	RUN(test_endpoints);
	RUN(test_positional);
	RUN(test_switches);
	RUN(test_few_variables);
	RUN(test_help);
	RUN(test_version);
	RUN(test_print_config);
	RUN(test_wrong_by_program);
	return check_done("unit.common.option");
}
