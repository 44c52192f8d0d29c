/* SPDX-License-Identifier: Apache-2.0 */
/* The same commands to redis-server and to troupe-kv must give the same replies. Where redis-server is not installed
 * the tests are skipped. TROUPE_DRILL=full sends fifty times as many. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <criterion/criterion.h>

#include "tests/support/kv_server.h"

TestSuite(kv_differential, .timeout = 300);

#define SEED UINT64_C(0x5eed0002)

static uint64_t random_state = SEED;

/* xorshift64*, Vigna 2016 */
static uint64_t random_next(void)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return random_state * UINT64_C(2685821657736338717);
}

static unsigned below(unsigned n)
{
    return (unsigned)(random_next() >> 33) % n;
}

/* --- random commands --- */

enum { ARGS = 12, ARG_MAX = 400 };

struct command {
    size_t argc;
    size_t lens[ARGS];
    char args[ARGS][ARG_MAX];
    bool clock; /* the reply is a remaining time: compared with tolerance */
};

static void add(struct command *c, const char *bytes, size_t len)
{
    memcpy(c->args[c->argc], bytes, len);
    c->lens[c->argc++] = len;
}

static void add_text(struct command *c, const char *text)
{
    add(c, text, strlen(text));
}

/* In random case. */
static void add_word(struct command *c, const char *word)
{
    char mixed[32];
    size_t len = strlen(word);
    for (size_t i = 0; i < len; i++)
        mixed[i] = (char)(below(4) && word[i] >= 'A' && word[i] <= 'Z' ? word[i] | 0x20 : word[i]);
    add(c, mixed, len);
}

static void add_key(struct command *c)
{
    char key[16];
    int len = below(30) ? snprintf(key, sizeof key, "key:%u", below(24)) : 0; /* now and then the empty one */
    add(c, key, (size_t)len);
}

static void add_number(struct command *c)
{
    static const char *const odd[] = {"9223372036854775807",
                                      "-9223372036854775808",
                                      "9223372036854775808",
                                      "0",
                                      "-0",
                                      "+1",
                                      "01",
                                      " 1",
                                      "1 ",
                                      "",
                                      "1.0",
                                      "x",
                                      "-1",
                                      "-"};
    char digits[24];
    if (below(4) == 0) {
        add_text(c, odd[below(sizeof odd / sizeof *odd)]);
        return;
    }
    snprintf(digits, sizeof digits, "%d", (int)below(2000) - 1000);
    add_text(c, digits);
}

static void add_value(struct command *c)
{
    char bytes[ARG_MAX];
    size_t len = below(8) ? below(20) : below(ARG_MAX);
    if (below(3) == 0) {
        add_number(c);
        return;
    }
    for (size_t i = 0; i < len; i++)
        bytes[i] = (char)random_next();
    add(c, bytes, len);
}

/* Far away, and different from all others by seconds: which of two deadlines is later must not depend on
 * milliseconds. */
static void add_time(struct command *c, unsigned unit)
{
    char digits[24];
    if (below(12) == 0) {
        static const char *const odd[] = {"9223372036854775807", "-9223372036854775808", "0", "-1", "x", "", "1e3"};
        add_text(c, odd[below(sizeof odd / sizeof *odd)]);
        return;
    }
    snprintf(digits, sizeof digits, "%u", (1000 + below(1000000)) * unit);
    add_text(c, digits);
}

static void make_set(struct command *c)
{
    static const char *const words[] = {"NX", "XX", "GET", "KEEPTTL", "EX", "PX", "EXAT", "PXAT", "BAD"};
    add_word(c, "SET");
    add_key(c);
    add_value(c);
    for (unsigned n = below(3) ? 0 : 1 + below(3); n > 0; n--) {
        unsigned which = below(below(10) ? 6 : 9);
        add_word(c, words[which]);
        if (which == 4)
            add_time(c, 1);
        else if (which == 5)
            add_time(c, 1000);
        else if (which == 6)
            add_text(c, "4102444800");
        else if (which == 7)
            add_text(c, "4102444800000"); /* not the past: redis-server counts such a key until it looks at it */
    }
}

static void make_expire(struct command *c)
{
    static const char *const words[] = {"NX", "XX", "GT", "LT", "BAD"};
    bool seconds = below(2);
    add_word(c, seconds ? "EXPIRE" : "PEXPIRE");
    add_key(c);
    add_time(c, seconds ? 1 : 1000);
    for (unsigned n = below(2) ? 0 : 1 + below(2); n > 0; n--)
        add_word(c, words[below(below(8) ? 4 : 5)]);
}

static void make_many(struct command *c)
{
    static const char *const names[] = {"MGET", "DEL", "EXISTS", "MSET"};
    unsigned which = below(4), keys = 1 + below(5);
    add_word(c, names[which]);
    for (; keys > 0; keys--) {
        add_key(c);
        if (which == 3)
            add_value(c);
    }
}

static void make_plain(struct command *c)
{
    static const struct {
        const char *name, *args; /* k: key, v: value, n: number */
    } forms[] = {{"GET", "k"},       {"GET", "k"},     {"GETDEL", "k"},  {"INCR", "k"},   {"DECR", "k"},
                 {"INCRBY", "kn"},   {"DECRBY", "kn"}, {"APPEND", "kv"}, {"STRLEN", "k"}, {"PERSIST", "k"},
                 {"PING", ""},       {"PING", "v"},    {"ECHO", "v"},    {"DBSIZE", ""},  {"SELECT", "0"},
                 {"SELECT", "99"},   {"SELECT", "x"},  {"TTL", "k"},     {"PTTL", "k"},   {"FOO", "vk"},
                 {"FOO BAR", "vvv"}, {"CONFIG", ""},   {"CLIENT", ""}};
    unsigned which = below(sizeof forms / sizeof *forms);
    add_word(c, forms[which].name);
    c->clock = strcmp(forms[which].args, "k") == 0 && strstr(forms[which].name, "TTL");
    for (const char *arg = forms[which].args; *arg; arg++) {
        if (*arg == 'k')
            add_key(c);
        else if (*arg == 'v')
            add_value(c);
        else if (*arg == 'n')
            add_number(c);
    }
    if (forms[which].args[0] == '0' || forms[which].args[0] == '9' || forms[which].args[0] == 'x')
        add_text(c, forms[which].args);
}

static void make(struct command *c)
{
    c->argc = 0;
    c->clock = false;
    unsigned kind = below(100);
    if (kind < 30)
        make_set(c);
    else if (kind < 40)
        make_expire(c);
    else if (kind < 55)
        make_many(c);
    else if (kind < 56)
        add_word(c, below(2) ? "FLUSHALL" : "FLUSHDB");
    else
        make_plain(c);
    unsigned broken = below(40); /* wrong numbers of arguments */
    if (broken == 0 && c->argc > 1)
        c->argc--;
    else if (broken == 1 && c->argc < ARGS)
        add_number(c);
}

static void send_it(struct client *to, const struct command *c)
{
    const char *argv[ARGS];
    for (size_t i = 0; i < c->argc; i++)
        argv[i] = c->args[i];
    client_send_args(to, c->argc, argv, c->lens);
}

/* Remaining times may differ by what passed between two servers. */
static bool same(const struct command *c, const char *theirs, const char *ours)
{
    if (strcmp(theirs, ours) == 0)
        return true;
    if (!c->clock || theirs[0] != ':' || ours[0] != ':')
        return false;
    long long a = strtoll(theirs + 1, NULL, 10), b = strtoll(ours + 1, NULL, 10);
    return a > 0 && b > 0 && llabs(a - b) < 5000;
}

static void explain(const struct command *c)
{
    for (size_t i = 0; i < c->argc; i++) {
        char text[4 * ARG_MAX + 1], *at = text;
        for (size_t k = 0; k < c->lens[i]; k++) {
            unsigned char byte = (unsigned char)c->args[i][k];
            at += sprintf(at, byte > ' ' && byte <= '~' ? "%c" : "\\x%02x", byte);
        }
        *at = '\0';
        cr_log_error("  argument %zu: %s", i, text);
    }
}

static void compare(struct client *redis, struct client *kv, unsigned count)
{
    enum { PIPE_MAX = 40 };
    static struct command commands[PIPE_MAX];
    for (unsigned done = 0, n; done < count; done += n) {
        n = below(3) ? 1 : 1 + below(PIPE_MAX);
        for (unsigned i = 0; i < n; i++) {
            make(&commands[i]);
            send_it(redis, &commands[i]);
            send_it(kv, &commands[i]);
        }
        for (unsigned i = 0; i < n; i++) {
            const char *theirs = client_reply(redis), *ours = client_reply(kv);
            if (same(&commands[i], theirs, ours))
                continue;
            explain(&commands[i]);
            cr_assert_fail("command %u (seed %#llx): redis says %s, troupe-kv says %s", done + i,
                           (unsigned long long)SEED, theirs, ours);
        }
    }
}

Test(kv_differential, random_commands_get_the_same_replies)
{
    struct kv redis, kv;
    if (!redis_start(&redis))
        cr_skip_test("redis-server is not installed");
    kv = kv_start(NULL);
    struct client a = client_connect(redis.port), b = client_connect(kv.port);
    compare(&a, &b, drill(20000, 1000000));
    kv_terminate(&kv);
    kv = kv_start(NULL); /* what the log brings back is the same, too */
    client_close(&b);
    b = client_connect(kv.port);
    compare(&a, &b, drill(2000, 20000));
    client_close(&a);
    client_close(&b);
    kv_terminate(&kv);
}

/* --- raw bytes; where troupe-kv differs on purpose: it takes a million arguments, not 2^31, cuts a client's words in
 * its errors at 100 bytes, and sees zero bytes in lines --- */

struct raw {
    const char *bytes;
    size_t len;
};

/* Everything that the server answers before it closes. */
static char *answer_to(const struct kv *kv, const struct raw *raw, size_t *len)
{
    struct client c = client_connect(kv->port);
    client_send(&c, raw->bytes, raw->len);
    cr_assert_eq(shutdown(c.fd, SHUT_WR), 0);
    char *text = NULL, part[4096];
    FILE *out = open_memstream(&text, len);
    for (ssize_t n; (n = recv(c.fd, part, sizeof part, 0)) > 0;)
        fwrite(part, 1, (size_t)n, out);
    fclose(out);
    client_close(&c);
    return text;
}

#define RAW(text)                                                                                                      \
    {                                                                                                                  \
        text, sizeof text - 1                                                                                          \
    }

static const struct raw raws[] = {
    RAW("*1\r\n$4\r\nPING\r\n"),
    RAW("PING\r\nPING\r\n"),
    RAW("*1\r\n4\r\nPING\r\n"),
    RAW("*1\r\n:4\r\nPING\r\n"),
    RAW("*x\r\n"),
    RAW("*\r\n"),
    RAW("*99999999999999999999\r\n"),
    RAW("*-1\r\nPING\r\n"),
    RAW("*0\r\nPING\r\n"),
    RAW("*1\r\n$-1\r\n"),
    RAW("*1\r\n$x\r\n"),
    RAW("*1\r\n$\r\n"),
    RAW("*1\r\n$ 4\r\nPING\r\n"),
    RAW("*1\r\n$99999999999\r\n"),
    RAW("*2\r\n$4\r\nECHO\r\n$0\r\n\r\n"),
    RAW("*1\r\n$0\r\n\r\nPING\r\n"),
    RAW("\"unbalanced\r\n"),
    RAW("'a'b c\r\n"),
    RAW("PING\r\n*1\r\n!\r\nPING\r\n"),
    RAW("GET a\nGET b\r\n\n\n\nGET\r\n"),
    RAW("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"),
    RAW("*2\r\n$3\r\nGET\r\n$1"),
    RAW(""),
    RAW("\r\n"),
    RAW("+OK\r\n"),
    RAW("$4\r\nPING\r\n"),
    RAW("*1\r\n$4\r\nPINGxx*1\r\n$4\r\nPING\r\n"),
};

Test(kv_differential, raw_bytes_get_the_same_replies)
{
    struct kv redis, kv = kv_start(NULL);
    if (!redis_start(&redis))
        cr_skip_test("redis-server is not installed");
    for (size_t i = 0; i < sizeof raws / sizeof *raws; i++) {
        size_t theirs_len, ours_len;
        char *theirs = answer_to(&redis, &raws[i], &theirs_len), *ours = answer_to(&kv, &raws[i], &ours_len);
        cr_expect(theirs_len == ours_len && memcmp(theirs, ours, ours_len) == 0,
                  "case %zu, %s: redis says %s, troupe-kv says %s", i, raws[i].bytes, theirs, ours);
        free(theirs);
        free(ours);
    }
    kv_terminate(&kv);
}
