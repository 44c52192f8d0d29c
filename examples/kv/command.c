/* SPDX-License-Identifier: Apache-2.0 */
#include "command.h"

#include <stdint.h>
#include <stdio.h>

#include "resp_write.h"

static const struct kv_command table[KV_COMMAND_COUNT] = {
    [KV_APPEND] = {"append", 3, KV_WRITES | KV_DENY_OOM | KV_FAST, 1, 1, 1, KV_APPEND},
    [KV_CLIENT] = {"client", -2, 0, 0, 0, 0, KV_CLIENT},
    [KV_COMMAND] = {"command", -1, 0, 0, 0, 0, KV_COMMAND},
    [KV_CONFIG] = {"config", -2, KV_ADMIN, 0, 0, 0, KV_CONFIG},
    [KV_DBSIZE] = {"dbsize", 1, KV_READS | KV_FAST | KV_EVERY_SHARD, 0, 0, 0, KV_DBSIZE},
    [KV_DEBUG] = {"debug", -2, KV_ADMIN, 0, 0, 0, KV_DEBUG},
    [KV_DECR] = {"decr", 2, KV_WRITES | KV_DENY_OOM | KV_FAST, 1, 1, 1, KV_DECR},
    [KV_DECRBY] = {"decrby", 3, KV_WRITES | KV_DENY_OOM | KV_FAST, 1, 1, 1, KV_DECRBY},
    [KV_DEL] = {"del", -2, KV_WRITES, 1, -1, 1, KV_DEL},
    [KV_ECHO] = {"echo", 2, KV_FAST, 0, 0, 0, KV_ECHO},
    [KV_EXISTS] = {"exists", -2, KV_READS | KV_FAST, 1, -1, 1, KV_EXISTS},
    [KV_EXPIRE] = {"expire", -3, KV_WRITES | KV_FAST, 1, 1, 1, KV_EXPIRE},
    [KV_FLUSHALL] = {"flushall", -1, KV_WRITES | KV_EVERY_SHARD, 0, 0, 0, KV_FLUSHALL},
    [KV_FLUSHDB] = {"flushdb", -1, KV_WRITES | KV_EVERY_SHARD, 0, 0, 0, KV_FLUSHDB},
    [KV_GET] = {"get", 2, KV_READS | KV_FAST, 1, 1, 1, KV_GET},
    [KV_GETDEL] = {"getdel", 2, KV_WRITES | KV_FAST, 1, 1, 1, KV_GETDEL},
    [KV_HELLO] = {"hello", -1, KV_FAST, 0, 0, 0, KV_HELLO},
    [KV_INCR] = {"incr", 2, KV_WRITES | KV_DENY_OOM | KV_FAST, 1, 1, 1, KV_INCR},
    [KV_INCRBY] = {"incrby", 3, KV_WRITES | KV_DENY_OOM | KV_FAST, 1, 1, 1, KV_INCRBY},
    [KV_INFO] = {"info", -1, 0, 0, 0, 0, KV_INFO},
    [KV_MGET] = {"mget", -2, KV_READS | KV_FAST, 1, -1, 1, KV_MGET},
    [KV_MSET] = {"mset", -3, KV_WRITES | KV_DENY_OOM, 1, -1, 2, KV_MSET},
    [KV_PERSIST] = {"persist", 2, KV_WRITES | KV_FAST, 1, 1, 1, KV_PERSIST},
    [KV_PEXPIRE] = {"pexpire", -3, KV_WRITES | KV_FAST, 1, 1, 1, KV_PEXPIRE},
    [KV_PING] = {"ping", -1, KV_FAST, 0, 0, 0, KV_PING},
    [KV_PTTL] = {"pttl", 2, KV_READS | KV_FAST, 1, 1, 1, KV_PTTL},
    [KV_QUIT] = {"quit", -1, KV_FAST, 0, 0, 0, KV_QUIT},
    [KV_SELECT] = {"select", 2, KV_FAST, 0, 0, 0, KV_SELECT},
    [KV_SET] = {"set", -3, KV_WRITES | KV_DENY_OOM, 1, 1, 1, KV_SET},
    [KV_STRLEN] = {"strlen", 2, KV_READS | KV_FAST, 1, 1, 1, KV_STRLEN},
    [KV_TTL] = {"ttl", 2, KV_READS | KV_FAST, 1, 1, 1, KV_TTL},
};

/* Commands by the length of their names, the frequent ones first; END closes a row. */
enum { LEN_MIN = 3, LEN_MAX = 8, END = KV_COMMAND_COUNT };

static const unsigned char by_length[LEN_MAX - LEN_MIN + 1][12] = {
    [3 - LEN_MIN] = {KV_GET, KV_SET, KV_DEL, KV_TTL, END},
    [4 - LEN_MIN] = {KV_INCR, KV_MGET, KV_MSET, KV_PING, KV_DECR, KV_PTTL, KV_ECHO, KV_INFO, KV_QUIT, END},
    [5 - LEN_MIN] = {KV_HELLO, KV_DEBUG, END},
    [6 - LEN_MIN] = {KV_EXISTS, KV_EXPIRE, KV_INCRBY, KV_APPEND, KV_GETDEL, KV_STRLEN, KV_DECRBY, KV_DBSIZE, KV_SELECT,
                     KV_CLIENT, KV_CONFIG, END},
    [7 - LEN_MIN] = {KV_PEXPIRE, KV_PERSIST, KV_FLUSHDB, KV_COMMAND, END},
    [8 - LEN_MIN] = {KV_FLUSHALL, END},
};

const struct kv_command *kv_command_get(enum kv_command_id id)
{
    return &table[id];
}

/* Names are letters only, and setting bit 5 makes a byte a small letter only if it was a letter:
 * so names are compared as one word each. */
const struct kv_command *kv_command_find(struct kv_slice name)
{
    if (name.len < LEN_MIN || name.len > LEN_MAX)
        return NULL;
    uint64_t asked = 0;
    for (size_t i = 0; i < name.len; i++)
        ((char *)&asked)[i] = (char)(name.ptr[i] | 0x20);
    for (const unsigned char *id = by_length[name.len - LEN_MIN]; *id != END; id++) {
        uint64_t known;
        memcpy(&known, table[*id].name, sizeof known);
        if (known == asked)
            return &table[*id];
    }
    return NULL;
}

bool kv_command_arity_fits(const struct kv_command *command, size_t argc)
{
    if (command->id == KV_MSET && argc % 2 == 0)
        return false;
    if (command->id == KV_PING && argc > 2)
        return false;
    return command->arity >= 0 ? argc == (size_t)command->arity : argc >= (size_t)-command->arity;
}

const struct kv_command *kv_command_accept(const struct kv_slice *argv, size_t argc, struct kv_buf *out)
{
    const struct kv_command *command = kv_command_find(argv[0]);
    if (command == NULL) {
        kv_command_write_unknown(argv, argc, out);
        return NULL;
    }
    if (!kv_command_arity_fits(command, argc)) {
        kv_command_write_arity(command->name, out);
        return NULL;
    }
    return command;
}

size_t kv_command_key_count(const struct kv_command *command, size_t argc)
{
    if (command->first_key == 0)
        return 0;
    size_t first = (size_t)command->first_key, step = (size_t)command->key_step;
    size_t last = command->last_key > 0 ? (size_t)command->last_key : argc - (size_t)-command->last_key;
    return last < first ? 0 : (last - first) / step + 1;
}

/* ---- error texts ---- */

enum { QUOTE_MAX = 128 }; /* bytes of a client's text that an error repeats */

/* The text up to a zero byte, as C's formats see it. */
static int shown(struct kv_slice text, size_t max)
{
    size_t len = text.len < max ? text.len : max;
    const char *end = len > 0 ? memchr(text.ptr, '\0', len) : NULL;
    return (int)(end != NULL ? (size_t)(end - text.ptr) : len);
}

void kv_command_write_unknown(const struct kv_slice *argv, size_t argc, struct kv_buf *out)
{
    char args[2 * QUOTE_MAX] = "", text[4 * QUOTE_MAX];
    size_t len = 0;
    for (size_t i = 1; i < argc && len < QUOTE_MAX; i++) {
        int part = shown(argv[i], QUOTE_MAX - len);
        len += (size_t)snprintf(args + len, sizeof args - len, "'%.*s' ", part, argv[i].ptr);
    }
    (void)snprintf(text, sizeof text, "ERR unknown command '%.*s', with args beginning with: %s",
                   shown(argv[0], QUOTE_MAX), argv[0].ptr, args);
    kv_resp_write_error(out, text);
}

void kv_command_write_arity(const char *name, struct kv_buf *out)
{
    char text[QUOTE_MAX];
    (void)snprintf(text, sizeof text, "ERR wrong number of arguments for '%s' command", name);
    kv_resp_write_error(out, text);
}

void kv_command_write_unknown_sub(const char *command, struct kv_slice sub, struct kv_buf *out)
{
    char text[2 * QUOTE_MAX];
    (void)snprintf(text, sizeof text, "ERR unknown subcommand '%.*s'. Try %s HELP.", shown(sub, QUOTE_MAX), sub.ptr,
                   command);
    kv_resp_write_error(out, text);
}

void kv_command_write_bad_expire(const char *command, struct kv_buf *out)
{
    char text[QUOTE_MAX];
    (void)snprintf(text, sizeof text, "ERR invalid expire time in '%s' command", command);
    kv_resp_write_error(out, text);
}

/* ---- COMMAND ---- */

void kv_command_write_info(const struct kv_command *command, struct kv_buf *out)
{
    static const struct {
        unsigned flag;
        const char *name;
    } flags[] = {
        {KV_WRITES, "write"}, {KV_READS, "readonly"}, {KV_DENY_OOM, "denyoom"}, {KV_ADMIN, "admin"}, {KV_FAST, "fast"}};
    size_t count = 0;
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++)
        count += (command->flags & flags[i].flag) != 0;
    kv_resp_write_array(out, 6);
    kv_resp_write_text(out, command->name);
    kv_resp_write_integer(out, command->arity);
    kv_resp_write_array(out, count);
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++)
        if ((command->flags & flags[i].flag) != 0)
            kv_resp_write_simple(out, flags[i].name);
    kv_resp_write_integer(out, command->first_key);
    kv_resp_write_integer(out, command->last_key);
    kv_resp_write_integer(out, command->key_step);
}
