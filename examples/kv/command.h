/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the table of commands: names, arities, where keys are, and the texts of errors about them.
 * Anybody in the example may call it, from any thread: the table is constant.
 * It is not the execution of anything. */
#ifndef KV_COMMAND_H
#define KV_COMMAND_H

#include <stdbool.h>
#include <stddef.h>

#include "buf.h"
#include "slice.h"

enum kv_command_id {
    KV_APPEND,
    KV_CLIENT,
    KV_COMMAND,
    KV_CONFIG,
    KV_DBSIZE,
    KV_DEBUG,
    KV_DECR,
    KV_DECRBY,
    KV_DEL,
    KV_ECHO,
    KV_EXISTS,
    KV_EXPIRE,
    KV_FLUSHALL,
    KV_FLUSHDB,
    KV_GET,
    KV_GETDEL,
    KV_HELLO,
    KV_INCR,
    KV_INCRBY,
    KV_INFO,
    KV_MGET,
    KV_MSET,
    KV_PERSIST,
    KV_PEXPIRE,
    KV_PING,
    KV_PTTL,
    KV_QUIT,
    KV_SELECT,
    KV_SET,
    KV_STRLEN,
    KV_TTL,
    KV_COMMAND_COUNT /* the table is indexed by id */
};

enum kv_command_flag {
    KV_WRITES = 1,      /* changes the keyspace */
    KV_READS = 2,       /* reads the keyspace */
    KV_DENY_OOM = 4,    /* may need memory: refused above the limit */
    KV_FAST = 8,        /* as Redis reports it */
    KV_ADMIN = 16,      /* as Redis reports it */
    KV_EVERY_SHARD = 32 /* concerns all keys, not named ones */
};

struct kv_command {
    char name[16]; /* lower case, padded with zeros */
    int arity;     /* arguments with the name; negative: at least so many */
    unsigned flags;
    int first_key; /* index of the first key argument, 0: no keys */
    int last_key;  /* index of the last; negative: from the end */
    int key_step;
    enum kv_command_id id;
};

/* Fixed error texts, without "-" and line end. */
#define KV_ERR_SYNTAX "ERR syntax error"
#define KV_ERR_NOT_INTEGER "ERR value is not an integer or out of range"
#define KV_ERR_OVERFLOW "ERR increment or decrement would overflow"
#define KV_ERR_DECR_OVERFLOW "ERR decrement would overflow"
#define KV_ERR_OOM "OOM command not allowed when used memory > 'maxmemory'."
#define KV_ERR_TOO_LONG "ERR string exceeds maximum allowed size (proto-max-bulk-len)"
#define KV_ERR_NO_MEMORY "OOM out of memory"

/* kv_command_find - the command of that name in any case, NULL if there is none. */
const struct kv_command *kv_command_find(struct kv_slice name);

/* kv_command_get - the command of an id. */
const struct kv_command *kv_command_get(enum kv_command_id id);

/* kv_command_arity_fits - is this number of arguments, the name included, allowed? (MSET: also paired.) */
bool kv_command_arity_fits(const struct kv_command *command, size_t argc);

/* kv_command_accept - find the command of a request and check its arity.
 * Returns NULL after writing the error reply that Redis gives. argc > 0. */
const struct kv_command *kv_command_accept(const struct kv_slice *argv, size_t argc, struct kv_buf *out);

/* kv_command_key_count - how many keys a request (of fitting arity) names; key i is
 * argv[first_key + i * key_step]. */
size_t kv_command_key_count(const struct kv_command *command, size_t argc);

/* Error replies that name something. Text from clients is cut and cleaned as Redis does. */
void kv_command_write_unknown(const struct kv_slice *argv, size_t argc, struct kv_buf *out);
void kv_command_write_arity(const char *name, struct kv_buf *out);
/* command: upper case; sub: what the client sent */
void kv_command_write_unknown_sub(const char *command, struct kv_slice sub, struct kv_buf *out);
/* command: lower case, as in "invalid expire time in 'set' command" */
void kv_command_write_bad_expire(const char *command, struct kv_buf *out);

/* kv_command_write_info - the element of COMMAND's reply (and COMMAND INFO's) for one command. */
void kv_command_write_info(const struct kv_command *command, struct kv_buf *out);

#endif
