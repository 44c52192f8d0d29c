/* SPDX-License-Identifier: Apache-2.0 */
#include "options.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <troupe/runtime.h>

#include "number.h"
#include "split.h"

const char kv_options_help[] =
    "usage: kv [options]\n"
    "A key-value server that speaks RESP2, built of supervised actors.\n"
    "\n"
    "  --host ADDRESS         address to listen on (127.0.0.1)\n"
    "  --port N               TCP port, 0..65535; 0: any free one (7379)\n"
    "  --dir PATH             folder of the logs, made if missing (kv-data)\n"
    "  --shards N             partitions of the keyspace, 1..4096; fixed once there are logs (8)\n"
    "  --workers N            threads, 1..64 (one for each processor but one)\n"
    "  --fsync always|everysec|no\n"
    "                         when a write is safe from a power failure (everysec)\n"
    "  --max-memory BYTES     of keys and values, with k, m or g; 0: no limit (0)\n"
    "  --max-clients N        connections at once, 1..1000000 (10000)\n"
    "  --help                 this text\n"
    "\n"
    "Commands: APPEND CLIENT COMMAND CONFIG-GET DBSIZE DEBUG DECR DECRBY DEL ECHO EXISTS EXPIRE FLUSHALL FLUSHDB GET\n"
    "GETDEL HELLO INCR INCRBY INFO MGET MSET PERSIST PEXPIRE PING PTTL QUIT SELECT SET STRLEN TTL.\n"
    "DEBUG PANIC key, DEBUG PANIC-CONNECTION and DEBUG RESTARTS show how crashes are survived.\n";

/* An option: how its value is read, and what is expected of it. */
struct option {
    const char *name;
    const char *expected;
    bool (*read)(struct kv_options *options, const char *value);
};

static bool read_unsigned(const char *text, unsigned min, unsigned max, unsigned *out)
{
    int64_t number;
    if (!kv_number_parse(text, strlen(text), &number) || number < min || number > max)
        return false;
    *out = (unsigned)number;
    return true;
}

static bool read_host(struct kv_options *options, const char *value)
{
    options->host = value;
    return value[0] != '\0';
}

static bool read_port(struct kv_options *options, const char *value)
{
    return read_unsigned(value, 0, 65535, &options->port);
}

static bool read_dir(struct kv_options *options, const char *value)
{
    options->dir = value;
    return value[0] != '\0';
}

static bool read_shards(struct kv_options *options, const char *value)
{
    return read_unsigned(value, 1, KV_SPLIT_SHARDS_MAX, &options->shards);
}

static bool read_workers(struct kv_options *options, const char *value)
{
    return read_unsigned(value, 1, TROUPE_WORKERS_MAX, &options->workers);
}

static bool read_max_clients(struct kv_options *options, const char *value)
{
    return read_unsigned(value, 1, 1000000, &options->max_clients);
}

static const char *const fsync_names[] = {
    [KV_FSYNC_ALWAYS] = "always", [KV_FSYNC_EVERYSEC] = "everysec", [KV_FSYNC_NO] = "no"};

const char *kv_fsync_name(enum kv_fsync fsync)
{
    return fsync_names[fsync];
}

static bool read_fsync(struct kv_options *options, const char *value)
{
    for (unsigned i = 0; i < sizeof fsync_names / sizeof fsync_names[0]; i++) {
        if (strcmp(value, fsync_names[i]) == 0) {
            options->fsync = (enum kv_fsync)i;
            return true;
        }
    }
    return false;
}

static bool read_max_memory(struct kv_options *options, const char *value)
{
    static const char suffixes[] = "kKmMgG";
    size_t len = strlen(value);
    const char *suffix = len > 0 ? strchr(suffixes, value[len - 1]) : NULL;
    int64_t number, unit = 1;
    if (suffix != NULL) {
        unit = (int64_t)1 << (10 * ((suffix - suffixes) / 2 + 1));
        len--;
    }
    if (!kv_number_parse(value, len, &number) || number < 0 || __builtin_mul_overflow(number, unit, &number))
        return false;
    options->max_memory = (size_t)number;
    return true;
}

static const struct option table[] = {
    {"--host", "an address", read_host},
    {"--port", "a number from 0 to 65535", read_port},
    {"--dir", "a folder", read_dir},
    {"--shards", "a number from 1 to 4096", read_shards},
    {"--workers", "a number from 1 to 64", read_workers},
    {"--fsync", "always, everysec or no", read_fsync},
    {"--max-memory", "a number of bytes such as 1000000, 512k, 64m or 2g", read_max_memory},
    {"--max-clients", "a number from 1 to 1000000", read_max_clients},
};

static const struct option *find_option(const char *name, size_t len)
{
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (strlen(table[i].name) == len && memcmp(table[i].name, name, len) == 0)
            return &table[i];
    return NULL;
}

static enum kv_options_result unknown(struct kv_options *options, const char *word)
{
    (void)snprintf(options->error, sizeof options->error, "%.100s: no such option; --help lists them", word);
    return KV_OPTIONS_WRONG;
}

static enum kv_options_result set_option(struct kv_options *options, const struct option *option, const char *value)
{
    if (value == NULL) {
        (void)snprintf(options->error, sizeof options->error, "%s: a value is missing: expected %s", option->name,
                       option->expected);
        return KV_OPTIONS_WRONG;
    }
    if (!option->read(options, value)) {
        (void)snprintf(options->error, sizeof options->error, "%s: '%.100s' is wrong: expected %s", option->name, value,
                       option->expected);
        return KV_OPTIONS_WRONG;
    }
    return KV_OPTIONS_GOOD;
}

enum kv_options_result kv_options_read(struct kv_options *options, int argc, char *const argv[])
{
    *options = (struct kv_options){
        .host = "127.0.0.1",
        .port = 7379,
        .dir = "kv-data",
        .shards = 8,
        .fsync = KV_FSYNC_EVERYSEC,
        .max_clients = 10000,
    };
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i], *equals = strchr(word, '=');
        if (strcmp(word, "--help") == 0)
            return KV_OPTIONS_HELP;
        const struct option *option = find_option(word, equals != NULL ? (size_t)(equals - word) : strlen(word));
        if (option == NULL)
            return unknown(options, word);
        const char *value = equals != NULL ? equals + 1 : i + 1 < argc ? argv[++i] : NULL;
        enum kv_options_result result = set_option(options, option, value);
        if (result != KV_OPTIONS_GOOD)
            return result;
    }
    return KV_OPTIONS_GOOD;
}
