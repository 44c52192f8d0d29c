/* SPDX-License-Identifier: Apache-2.0 */
/* What each command of the server answers, to the letter. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "tests/support/kv_server.h"

TestSuite(kv_commands, .timeout = 120);

struct talk {
    const char *line, *reply;
};

/* Lines and replies as resp_client.h shows them, in order on one fresh server. */
static void talk(const struct talk *talk, size_t count)
{
    struct kv kv = kv_start(NULL);
    struct client c = client_connect(kv.port);
    for (size_t i = 0; i < count; i++) {
        const char *reply = client_ask(&c, talk[i].line);
        cr_expect_str_eq(reply, talk[i].reply, "%s: got %s, expected %s", talk[i].line, reply, talk[i].reply);
    }
    client_close(&c);
    kv_terminate(&kv);
}

#define TALK(...) talk((const struct talk[]){__VA_ARGS__}, sizeof(struct talk[]){__VA_ARGS__} / sizeof(struct talk))

Test(kv_commands, strings_are_set_and_got)
{
    TALK({"PING", "+PONG"}, {"PING hello", "\"hello\""}, {"ECHO hello", "\"hello\""}, {"GET k", "nil"},
         {"SET k v", "+OK"}, {"get k", "\"v\""}, {"SET k w NX", "nil"}, {"GET k", "\"v\""}, {"SET k w XX", "+OK"},
         {"GET k", "\"w\""}, {"SET none v XX", "nil"}, {"GET none", "nil"}, {"SET k x GET", "\"w\""},
         {"SET new x GET", "nil"}, {"SET new y NX GET", "\"x\""}, {"GET new", "\"x\""}, {"SET e ", "+OK"},
         {"GET e", "\"\""}, {"STRLEN e", ":0"}, {"STRLEN k", ":1"}, {"STRLEN none", ":0"}, {"APPEND k yz", ":3"},
         {"GET k", "\"xyz\""}, {"APPEND fresh ab", ":2"}, {"GETDEL k", "\"xyz\""}, {"GETDEL k", "nil"},
         {"EXISTS k new fresh new", ":3"}, {"DEL new fresh none", ":2"}, {"DEL new", ":0"});
}

Test(kv_commands, numbers_are_counted)
{
    TALK({"INCR n", ":1"}, {"INCR n", ":2"}, {"DECR n", ":1"}, {"INCRBY n 41", ":42"}, {"INCRBY n -2", ":40"},
         {"DECRBY n 50", ":-10"}, {"GET n", "\"-10\""}, {"SET n 9223372036854775807", "+OK"},
         {"INCR n", "-ERR increment or decrement would overflow"}, {"GET n", "\"9223372036854775807\""},
         {"SET n -9223372036854775808", "+OK"}, {"DECR n", "-ERR increment or decrement would overflow"},
         {"DECRBY n -9223372036854775808", "-ERR decrement would overflow"}, {"SET n abc", "+OK"},
         {"INCR n", "-ERR value is not an integer or out of range"}, {"SET n 012", "+OK"},
         {"INCR n", "-ERR value is not an integer or out of range"},
         {"INCRBY m 1.5", "-ERR value is not an integer or out of range"},
         {"INCRBY m 9223372036854775808", "-ERR value is not an integer or out of range"}, {"EXISTS m", ":0"});
}

Test(kv_commands, many_keys_over_many_shards_answer_in_order)
{
    TALK({"MSET a 1 b 2 c 3 d 4 e 5 f 6 g 7 h 8 i 9 j 10", "+OK"}, {"DBSIZE", ":10"},
         {"MGET j i h g f e d c b a", "[\"10\" \"9\" \"8\" \"7\" \"6\" \"5\" \"4\" \"3\" \"2\" \"1\"]"},
         {"MGET a none a b", "[\"1\" nil \"1\" \"2\"]"}, {"MSET x 1 x 2 x 3", "+OK"}, {"GET x", "\"3\""},
         {"EXISTS a b c d none e", ":5"}, {"DEL a b none c", ":3"}, {"DBSIZE", ":8"}, {"FLUSHALL", "+OK"},
         {"DBSIZE", ":0"}, {"MGET d e", "[nil nil]"}, {"SET a 1", "+OK"}, {"FLUSHALL SYNC", "+OK"}, {"DBSIZE", ":0"},
         {"FLUSHALL NONSENSE", "-ERR syntax error"});
}

Test(kv_commands, deadlines_are_told_and_taken_back)
{
    TALK({"SET k v", "+OK"}, {"TTL k", ":-1"}, {"PTTL k", ":-1"}, {"TTL none", ":-2"}, {"PTTL none", ":-2"},
         {"EXPIRE none 10", ":0"}, {"EXPIRE k 100", ":1"}, {"TTL k", ":100"}, {"PERSIST k", ":1"}, {"PERSIST k", ":0"},
         {"PERSIST none", ":0"}, {"TTL k", ":-1"}, {"PEXPIRE k 100000", ":1"}, {"TTL k", ":100"},
         {"EXPIRE k 200 NX", ":0"}, {"EXPIRE k 50 GT", ":0"}, {"EXPIRE k 50 LT", ":1"}, {"EXPIRE k 500 XX", ":1"},
         {"TTL k", ":500"}, {"SET k w KEEPTTL", "+OK"}, {"TTL k", ":500"}, {"INCR n", ":1"}, {"SET k w", "+OK"},
         {"TTL k", ":-1"}, {"SET k w EX 300", "+OK"}, {"TTL k", ":300"}, {"APPEND k x", ":2"}, {"TTL k", ":300"},
         {"SET k w PX 300000", "+OK"}, {"TTL k", ":300"}, {"EXPIRE k -1", ":1"}, {"EXISTS k", ":0"},
         {"SET k v PXAT 1000", "+OK"}, {"DBSIZE", ":1"}, {"SET k v", "+OK"}, {"SET k v EXAT 1", "+OK"},
         {"GET k", "nil"}, {"SET k v EX 0", "-ERR invalid expire time in 'set' command"},
         {"SET k v EX -5", "-ERR invalid expire time in 'set' command"},
         {"SET k v EX x", "-ERR value is not an integer or out of range"},
         {"SET k v EX 9223372036854775807", "-ERR invalid expire time in 'set' command"},
         {"EXPIRE k 9223372036854775807", "-ERR invalid expire time in 'expire' command"},
         {"EXPIRE k x", "-ERR value is not an integer or out of range"},
         {"EXPIRE k 1 BAD", "-ERR Unsupported option BAD"},
         {"EXPIRE k 1 NX GT", "-ERR NX and XX, GT or LT options at the same time are not compatible"},
         {"EXPIRE k 1 GT LT", "-ERR GT and LT options at the same time are not compatible"},
         {"SET k v EX", "-ERR syntax error"}, {"SET k v EX 1 PX 1", "-ERR syntax error"},
         {"SET k v EX 1 KEEPTTL", "-ERR syntax error"}, {"SET k v NX XX", "-ERR syntax error"},
         {"SET k v NONSENSE", "-ERR syntax error"});
}

/* Asks until the reply comes; each question is a round trip. */
static void ask_until(struct client *c, const char *line, const char *reply, int ms)
{
    int64_t until = now_ms() + ms;
    while (strcmp(client_ask(c, line), reply) != 0)
        cr_assert_lt(now_ms(), until, "%s: never became %s", line, reply);
}

Test(kv_commands, keys_are_gone_when_their_time_is_over)
{
    struct kv kv = kv_start(NULL);
    struct client c = client_connect(kv.port);
    int64_t set = now_ms();
    cr_assert_str_eq(client_ask(&c, "SET a v PX 300"), "+OK");
    cr_assert_str_eq(client_ask(&c, "SET b v"), "+OK");
    cr_assert_str_eq(client_ask(&c, "PEXPIRE b 300"), ":1");
    cr_assert_str_eq(client_ask(&c, "SET c v EX 1"), "+OK");
    ask_until(&c, "GET a", "nil", 5000);
    cr_assert_geq(now_ms() - set, 299);
    ask_until(&c, "EXISTS b", ":0", 5000);
    ask_until(&c, "DBSIZE", ":0", 5000); /* c goes without being looked at */
    cr_assert_geq(now_ms() - set, 999);
    cr_assert_str_eq(client_ask(&c, "TTL a"), ":-2");
    client_close(&c);
    kv_terminate(&kv);
}

Test(kv_commands, mistakes_are_answered_as_redis_does)
{
    TALK({"NONSENSE", "-ERR unknown command 'NONSENSE', with args beginning with: "},
         {"nonsense a b", "-ERR unknown command 'nonsense', with args beginning with: 'a' 'b' "},
         {"GET", "-ERR wrong number of arguments for 'get' command"},
         {"GET a b", "-ERR wrong number of arguments for 'get' command"},
         {"SET a", "-ERR wrong number of arguments for 'set' command"},
         {"MSET a", "-ERR wrong number of arguments for 'mset' command"},
         {"MSET a 1 b", "-ERR wrong number of arguments for 'mset' command"},
         {"PING a b", "-ERR wrong number of arguments for 'ping' command"},
         {"DEL", "-ERR wrong number of arguments for 'del' command"},
         {"ECHO", "-ERR wrong number of arguments for 'echo' command"},
         {"INCRBY a", "-ERR wrong number of arguments for 'incrby' command"},
         {"DBSIZE x", "-ERR wrong number of arguments for 'dbsize' command"},
         {"SELECT", "-ERR wrong number of arguments for 'select' command"}, {"SELECT 0", "+OK"},
         {"SELECT 1", "-ERR DB index is out of range"}, {"SELECT x", "-ERR value is not an integer or out of range"},
         {"CONFIG", "-ERR wrong number of arguments for 'config' command"},
         {"CONFIG NONSENSE", "-ERR unknown subcommand 'NONSENSE'. Try CONFIG HELP."},
         {"CLIENT NONSENSE", "-ERR unknown subcommand 'NONSENSE'. Try CLIENT HELP."}, {"PING", "+PONG"});
}

Test(kv_commands, hello_speaks_version_2_only)
{
    TALK({"HELLO", "[\"server\" \"troupe-kv\" \"version\" \"7.0.0\" \"proto\" :2 \"id\" :1 \"mode\" \"standalone\" "
                   "\"role\" \"master\" \"modules\" []]"},
         {"HELLO 2", "[\"server\" \"troupe-kv\" \"version\" \"7.0.0\" \"proto\" :2 \"id\" :1 \"mode\" \"standalone\" "
                     "\"role\" \"master\" \"modules\" []]"},
         {"HELLO 3", "-NOPROTO unsupported protocol version"},
         {"HELLO x", "-ERR Protocol version is not an integer or out of range"}, {"PING", "+PONG"});
}

Test(kv_commands, clients_have_names_ids_and_a_list)
{
    struct kv kv = kv_start(NULL);
    struct client a = client_connect(kv.port), b = client_connect(kv.port);
    cr_assert_str_eq(client_ask(&a, "CLIENT GETNAME"), "nil");
    cr_assert_str_eq(client_ask(&a, "CLIENT SETNAME first"), "+OK");
    cr_assert_str_eq(client_ask(&a, "CLIENT GETNAME"), "\"first\"");
    cr_assert_str_eq(client_ask(&b, "CLIENT GETNAME"), "nil");
    long id_a = strtol(client_ask(&a, "CLIENT ID") + 1, NULL, 10);
    long id_b = strtol(client_ask(&b, "CLIENT ID") + 1, NULL, 10);
    cr_assert(id_a > 0 && id_b > 0 && id_a != id_b);
    const char bad[] = "*3\r\n$6\r\nCLIENT\r\n$7\r\nSETNAME\r\n$3\r\na b\r\n";
    client_send_text(&b, bad);
    cr_assert_str_eq(client_reply(&b), "-ERR Client names cannot contain spaces, newlines or special characters.");
    const char *list = client_ask(&a, "CLIENT LIST");
    char want_a[64], want_b[64];
    snprintf(want_a, sizeof want_a, "id=%ld addr=127.0.0.1:", id_a);
    snprintf(want_b, sizeof want_b, "id=%ld addr=127.0.0.1:", id_b);
    cr_assert(strstr(list, want_a) && strstr(list, want_b) && strstr(list, " name=first "), "%s", list);
    client_close(&b);
    int64_t until = now_ms() + 5000;
    while (strstr(client_ask(&a, "CLIENT LIST"), want_b))
        cr_assert_lt(now_ms(), until, "a closed connection stays on the list");
    client_close(&a);
    kv_terminate(&kv);
}

Test(kv_commands, config_tells_what_the_options_said)
{
    struct kv kv =
        kv_start(&(struct kv_setup){.args = {"--max-memory", "64m", "--max-clients", "99", "--fsync", "no"}});
    struct client c = client_connect(kv.port);
    cr_expect_str_eq(client_ask(&c, "CONFIG GET maxmemory"), "[\"maxmemory\" \"67108864\"]");
    cr_expect_str_eq(client_ask(&c, "CONFIG GET MAXCLIENTS"), "[\"maxclients\" \"99\"]");
    cr_expect_str_eq(client_ask(&c, "CONFIG GET append*"), "[\"appendfsync\" \"no\" \"appendonly\" \"yes\"]");
    cr_expect_str_eq(client_ask(&c, "CONFIG GET save"), "[\"save\" \"\"]");
    cr_expect_str_eq(client_ask(&c, "CONFIG GET none*"), "[]");
    client_close(&c);
    kv_terminate(&kv);
}

Test(kv_commands, commands_are_described)
{
    struct kv kv = kv_start(NULL);
    struct client c = client_connect(kv.port);
    long count = strtol(client_ask(&c, "COMMAND COUNT") + 1, NULL, 10);
    cr_expect_geq(count, 30);
    const char *all = client_ask(&c, "COMMAND");
    static const char *const names[] = {
        "ping",   "echo",    "set",   "get",    "getdel", "del",     "exists", "incr",     "decr",   "incrby", "append",
        "strlen", "mget",    "mset",  "expire", "ttl",    "pexpire", "pttl",   "persist",  "dbsize", "info",   "config",
        "select", "command", "hello", "client", "quit",   "debug",   "decrby", "flushall", NULL};
    for (const char *const *name = names; *name; name++) {
        char quoted[32];
        snprintf(quoted, sizeof quoted, "[\"%s\" :", *name);
        cr_expect_not_null(strstr(all, quoted), "COMMAND lacks %s", *name);
    }
    cr_expect_str_eq(client_ask(&c, "COMMAND INFO get none"), "[[\"get\" :2 [+readonly +fast] :1 :1 :1] nil array]");
    cr_expect_str_eq(client_ask(&c, "COMMAND DOCS"), "[]");
    client_close(&c);
    kv_terminate(&kv);
}

Test(kv_commands, info_has_every_section_and_field)
{
    struct kv kv = kv_start(&(struct kv_setup){.args = {"--shards", "3", "--workers", "2"}});
    struct client c = client_connect(kv.port);
    const char *info = client_ask(&c, "INFO");
    static const char *const parts[] = {"# Server\\x0d\\x0a",      "# Clients\\x0d\\x0a",      "# Memory\\x0d\\x0a",
                                        "# Persistence\\x0d\\x0a", "# Keyspace\\x0d\\x0a",     "# Troupe\\x0d\\x0a",
                                        "shards:3\\x0d",           "connected_clients:1\\x0d", NULL};
    for (const char *const *part = parts; *part; part++)
        cr_expect_not_null(strstr(info, *part), "%s is not in %s", *part, info);
    static const char *const fields[] = {"actors",
                                         "messages_handled",
                                         "steals",
                                         "parks",
                                         "restarts",
                                         "escalations",
                                         "dead_letters_no_actor",
                                         "dead_letters_crashed",
                                         "mailbox_high_water",
                                         "io_in_flight",
                                         "io_in_use",
                                         "io_buffers_lent",
                                         NULL};
    cr_expect_eq(kv_info(&c, "workers"), 2);
    for (const char *const *field = fields; *field; field++)
        cr_expect_geq(kv_info(&c, *field), 0);
    cr_expect_gt(kv_info(&c, "messages_handled"), 0);
    cr_expect_eq(kv_info(&c, "restarts"), 0);
    const char *troupe = client_ask(&c, "INFO troupe");
    cr_expect_eq(strncmp(troupe, "\"# Troupe\\x0d\\x0aworkers:2\\x0d\\x0a", 32), 0, "%s", troupe);
    cr_expect_null(strstr(troupe, "# Server"));
    cr_assert_str_eq(client_ask(&c, "SET k v EX 100"), "+OK");
    cr_expect_not_null(strstr(client_ask(&c, "INFO keyspace"), "db0:keys=1,expires=1,"));
    client_close(&c);
    kv_terminate(&kv);
}

Test(kv_commands, quit_answers_and_closes)
{
    struct kv kv = kv_start(NULL);
    struct client c = client_connect(kv.port);
    client_send_text(&c, "SET k v\r\nQUIT\r\nSET k never\r\n");
    cr_assert_str_eq(client_reply(&c), "+OK");
    cr_assert_str_eq(client_reply(&c), "+OK");
    cr_assert(client_ended(&c));
    client_close(&c);
    c = client_connect(kv.port);
    cr_assert_str_eq(client_ask(&c, "GET k"), "\"v\"");
    client_close(&c);
    kv_terminate(&kv);
}

Test(kv_commands, lines_without_the_protocol_are_commands_too)
{
    struct kv kv = kv_start(NULL);
    struct client c = client_connect(kv.port);
    client_send_text(&c, "PING\r\n\r\n\nSET \"a key\" \"\\x01\\n\\\"\"\n  GET   'a key'  \r\nECHO ''\r\n");
    cr_expect_str_eq(client_reply(&c), "+PONG");
    cr_expect_str_eq(client_reply(&c), "+OK");
    cr_expect_str_eq(client_reply(&c), "\"\\x01\\x0a\\x22\"");
    cr_expect_str_eq(client_reply(&c), "\"\"");
    client_close(&c);
    kv_terminate(&kv);
}

/* Commands of all kinds in one go: local ones, of one shard, of many, of all, wrong ones. */
Test(kv_commands, a_pipeline_over_many_shards_is_answered_in_order)
{
    enum { ROUNDS = 500 };
    struct kv kv = kv_start(NULL);
    struct client c = client_connect(kv.port);
    char *bytes = NULL, want[128];
    size_t size;
    FILE *out = open_memstream(&bytes, &size);
    cr_assert_not_null(out);
    for (int i = 0; i < ROUNDS; i++)
        fprintf(out, "SET k%d v%d\r\nGET k%d\r\nPING %d\r\nMGET k%d none k%d\r\nINCR n\r\nNONE\r\nDBSIZE\r\nGET\r\n", i,
                i, i / 2, i, i, i / 3);
    fclose(out);
    client_send(&c, bytes, size);
    free(bytes);
    for (int i = 0; i < ROUNDS; i++) {
        cr_assert_str_eq(client_reply(&c), "+OK");
        snprintf(want, sizeof want, "\"v%d\"", i / 2);
        cr_assert_str_eq(client_reply(&c), want);
        snprintf(want, sizeof want, "\"%d\"", i);
        cr_assert_str_eq(client_reply(&c), want);
        snprintf(want, sizeof want, "[\"v%d\" nil \"v%d\"]", i, i / 3);
        cr_assert_str_eq(client_reply(&c), want);
        snprintf(want, sizeof want, ":%d", i + 1);
        cr_assert_str_eq(client_reply(&c), want);
        cr_assert_str_eq(client_reply(&c), "-ERR unknown command 'NONE', with args beginning with: ");
        snprintf(want, sizeof want, ":%d", i + 2); /* n, and each k */
        cr_assert_str_eq(client_reply(&c), want);
        cr_assert_str_eq(client_reply(&c), "-ERR wrong number of arguments for 'get' command");
    }
    client_close(&c);
    kv_terminate(&kv);
}

Test(kv_commands, redis_cli_works)
{
    struct kv kv = kv_start(NULL);
    static const struct {
        char *words[6];
        const char *printed;
    } cases[] = {
        {{"set", "key", "a value"}, "OK\n"},
        {{"get", "key"}, "a value\n"},
        {{"--no-raw", "get", "none"}, "(nil)\n"},
        {{"--no-raw", "incr", "n"}, "(integer) 1\n"},
        {{"mget", "key", "n"}, "a value\n1\n"},
        {{"nonsense"}, "ERR unknown command 'nonsense', with args beginning with: \n\n"},
        {{"dbsize"}, "2\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *printed = kv_cli(&kv, cases[i].words);
        cr_expect_str_eq(printed, cases[i].printed, "%s: %s", cases[i].words[0], printed);
        free(printed);
    }
    kv_terminate(&kv);
}

Test(kv_commands, above_max_memory_writes_are_refused_and_reads_go_on)
{
    struct kv kv = kv_start(&(struct kv_setup){.args = {"--max-memory", "1m", "--shards", "1"}});
    struct client c = client_connect(kv.port);
    char *value = malloc(100001), line[32];
    memset(value, 'x', 100000);
    value[100000] = '\0';
    int stored = 0;
    for (const char *reply = "+OK"; reply[0] == '+' && stored < 100; stored++) {
        snprintf(line, sizeof line, "key%d", stored);
        client_send_args(&c, 3, (const char *const[]){"SET", line, value}, NULL);
        reply = client_reply(&c);
        if (reply[0] != '+')
            cr_assert_str_eq(reply, "-OOM command not allowed when used memory > 'maxmemory'.");
    }
    cr_assert(stored > 5 && stored <= 11, "%d values of 100 kB in 1 MiB", stored);
    cr_assert_str_eq(client_ask(&c, "STRLEN key0"), ":100000");
    cr_assert_str_eq(client_ask(&c, "DEL key0 key1"), ":2");
    cr_assert_str_eq(client_ask(&c, "SET small v"), "+OK");
    free(value);
    client_close(&c);
    kv_terminate(&kv);
}
