/* SPDX-License-Identifier: Apache-2.0 */
#include "local.h"

#include <fnmatch.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "number.h"
#include "resp_write.h"

void kv_local_ping(const struct kv_slice *argv, size_t argc, struct kv_buf *out)
{
    if (argc > 2)
        kv_command_write_arity("ping", out);
    else if (argc == 2)
        kv_resp_write_bulk(out, argv[1]);
    else
        kv_resp_write_simple(out, "PONG");
}

void kv_local_select(const struct kv_slice *argv, struct kv_buf *out)
{
    int64_t db;
    if (!kv_number_parse(argv[1].ptr, argv[1].len, &db))
        kv_resp_write_error(out, KV_ERR_NOT_INTEGER);
    else if (db != 0)
        kv_resp_write_error(out, "ERR DB index is out of range");
    else
        kv_resp_write_simple(out, "OK");
}

struct setting {
    const char *name;
    char value[600];
};

enum { SETTINGS = 8 };

static void settings_fill(const struct kv_server *server, struct setting s[SETTINGS])
{
    const struct kv_options *o = server->options;
    const char *const names[SETTINGS] = {"maxmemory", "maxclients", "appendfsync", "appendonly",
                                         "save",      "port",       "bind",        "dir"};
    for (int i = 0; i < SETTINGS; i++)
        s[i].name = names[i];
    snprintf(s[0].value, sizeof s[0].value, "%zu", o->max_memory);
    snprintf(s[1].value, sizeof s[1].value, "%u", o->max_clients);
    snprintf(s[2].value, sizeof s[2].value, "%s", kv_fsync_name(o->fsync));
    snprintf(s[3].value, sizeof s[3].value, "yes");
    s[4].value[0] = '\0';
    snprintf(s[5].value, sizeof s[5].value, "%u", server->port);
    snprintf(s[6].value, sizeof s[6].value, "%s", o->host);
    snprintf(s[7].value, sizeof s[7].value, "%s", o->dir);
}

/* Does any of the patterns (glob, any case) match the name? */
static bool matches(const struct kv_slice *patterns, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        char pattern[64];
        if (patterns[i].len >= sizeof pattern)
            continue;
        memcpy(pattern, patterns[i].ptr, patterns[i].len);
        pattern[patterns[i].len] = '\0';
        if (fnmatch(pattern, name, FNM_CASEFOLD) == 0)
            return true;
    }
    return false;
}

void kv_local_config(const struct kv_server *server, const struct kv_slice *argv, size_t argc, struct kv_buf *out)
{
    if (!kv_slice_is_word(argv[1], "get")) {
        kv_command_write_unknown_sub("CONFIG", argv[1], out);
        return;
    }
    if (argc < 3) {
        kv_command_write_arity("config|get", out);
        return;
    }
    struct setting settings[SETTINGS];
    size_t found = 0;
    settings_fill(server, settings);
    for (int i = 0; i < SETTINGS; i++)
        found += matches(argv + 2, argc - 2, settings[i].name);
    kv_resp_write_array(out, 2 * found);
    for (int i = 0; i < SETTINGS; i++)
        if (matches(argv + 2, argc - 2, settings[i].name)) {
            kv_resp_write_text(out, settings[i].name);
            kv_resp_write_text(out, settings[i].value);
        }
}

void kv_local_command(const struct kv_slice *argv, size_t argc, struct kv_buf *out)
{
    if (argc == 1) {
        kv_resp_write_array(out, KV_COMMAND_COUNT);
        for (int id = 0; id < KV_COMMAND_COUNT; id++)
            kv_command_write_info(kv_command_get((enum kv_command_id)id), out);
    } else if (kv_slice_is_word(argv[1], "count")) {
        kv_resp_write_integer(out, KV_COMMAND_COUNT);
    } else if (kv_slice_is_word(argv[1], "docs")) {
        kv_resp_write_array(out, 0);
    } else if (kv_slice_is_word(argv[1], "info")) {
        kv_resp_write_array(out, argc - 2);
        for (size_t i = 2; i < argc; i++) {
            const struct kv_command *command = kv_command_find(argv[i]);
            if (command)
                kv_command_write_info(command, out);
            else
                kv_resp_write_null_array(out);
        }
    } else {
        kv_command_write_unknown_sub("COMMAND", argv[1], out);
    }
}

void kv_local_hello(const struct kv_slice *argv, size_t argc, uint64_t client_id, struct kv_buf *out)
{
    int64_t version = 2;
    if (argc > 1 && !kv_number_parse(argv[1].ptr, argv[1].len, &version)) {
        kv_resp_write_error(out, "ERR Protocol version is not an integer or out of range");
        return;
    }
    if (version != 2) {
        kv_resp_write_error(out, "NOPROTO unsupported protocol version");
        return;
    }
    if (argc > 2) {
        kv_resp_write_error(out, KV_ERR_SYNTAX);
        return;
    }
    kv_resp_write_array(out, 14);
    kv_resp_write_text(out, "server");
    kv_resp_write_text(out, "troupe-kv");
    kv_resp_write_text(out, "version");
    kv_resp_write_text(out, "7.0.0");
    kv_resp_write_text(out, "proto");
    kv_resp_write_integer(out, 2);
    kv_resp_write_text(out, "id");
    kv_resp_write_integer(out, (int64_t)client_id);
    kv_resp_write_text(out, "mode");
    kv_resp_write_text(out, "standalone");
    kv_resp_write_text(out, "role");
    kv_resp_write_text(out, "master");
    kv_resp_write_text(out, "modules");
    kv_resp_write_array(out, 0);
}
