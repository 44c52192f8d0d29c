/* SPDX-License-Identifier: Apache-2.0 */
#include "info.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "resp_write.h"

static const struct {
    const char *name;
    unsigned section;
} sections[] = {
    {"", KV_INFO_ALL},
    {"all", KV_INFO_ALL},
    {"default", KV_INFO_ALL},
    {"everything", KV_INFO_ALL},
    {"server", KV_INFO_SERVER},
    {"clients", KV_INFO_CLIENTS},
    {"memory", KV_INFO_MEMORY},
    {"persistence", KV_INFO_PERSISTENCE},
    {"keyspace", KV_INFO_KEYSPACE},
    {"troupe", KV_INFO_TROUPE},
};

unsigned kv_info_section(struct kv_slice name)
{
    for (size_t i = 0; i < sizeof sections / sizeof *sections; i++)
        if (kv_slice_is_word(name, sections[i].name))
            return sections[i].section;
    return 0;
}

void kv_info_add(struct kv_shard_facts *total, const struct kv_shard_facts *facts)
{
    total->keys += facts->keys;
    total->deadlines += facts->deadlines;
    total->bytes += facts->bytes;
    total->log_bytes += facts->log_bytes;
    total->log_rewrites += facts->log_rewrites;
}

static void line(struct kv_buf *out, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void line(struct kv_buf *out, const char *format, ...)
{
    char text[256];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    kv_buf_append(out, text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
    kv_buf_append(out, "\r\n", 2);
}

static void number(struct kv_buf *out, const char *name, uint64_t value)
{
    line(out, "%s:%" PRIu64, name, value);
}

static uint64_t resident_bytes(void)
{
    unsigned long pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (!f)
        return 0;
    if (fscanf(f, "%*s %lu", &pages) != 1)
        pages = 0;
    fclose(f);
    return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void write_server(troupe_ctx *ctx, const struct kv_server *server, struct kv_buf *out)
{
    line(out, "# Server");
    line(out, "redis_version:7.0.0"); /* the protocol's and the commands' model, for clients that look */
    line(out, "server:troupe-kv");
    number(out, "process_id", (uint64_t)getpid());
    number(out, "tcp_port", server->port);
    number(out, "uptime_in_seconds", (troupe_now(ctx) - server->started_ns) / TROUPE_SEC(1));
    number(out, "shards", server->options->shards);
}

static void write_troupe(const troupe_stats *s, struct kv_buf *out)
{
    line(out, "# Troupe");
    number(out, "workers", s->workers);
    number(out, "actors", s->actors);
    number(out, "messages_handled", s->messages_handled);
    number(out, "activations", s->activations);
    number(out, "steals", s->steals);
    number(out, "parks", s->parks);
    number(out, "wakes", s->wakes);
    number(out, "crashes", s->crashes);
    number(out, "restarts", s->restarts);
    number(out, "escalations", s->escalations);
    for (unsigned i = 0; i < TROUPE_DEAD_COUNT; i++)
        line(out, "dead_letters_%s:%" PRIu64, troupe_dead_reason_name((troupe_dead_reason)i), s->dead_letters[i]);
    number(out, "mailbox_high_water", s->mailbox_high_water);
    number(out, "io_submitted", s->io_submitted);
    number(out, "io_completed", s->io_completed);
    number(out, "io_system_calls", s->io_system_calls);
    number(out, "io_in_flight", s->io_in_flight);
    number(out, "io_in_use", s->io_in_use);
    number(out, "io_buffers_lent", s->io_buffers_lent);
    number(out, "timers_armed", s->timers_armed);
}

void kv_info_write(troupe_ctx *ctx, const struct kv_server *server, unsigned wanted, const struct kv_shard_facts *facts,
                   struct kv_buf *out)
{
    struct kv_buf text = {0};
    troupe_stats stats;
    troupe_stats_read(troupe_ctx_runtime(ctx), &stats);
    if (wanted & KV_INFO_SERVER)
        write_server(ctx, server, &text);
    if (wanted & KV_INFO_CLIENTS) {
        line(&text, "# Clients");
        number(&text, "connected_clients", stats.actors - server->options->shards - 2);
        number(&text, "maxclients", server->options->max_clients);
    }
    if (wanted & KV_INFO_MEMORY) {
        line(&text, "# Memory");
        number(&text, "used_memory", facts->bytes);
        number(&text, "used_memory_rss", resident_bytes());
        number(&text, "maxmemory", server->options->max_memory);
    }
    if (wanted & KV_INFO_PERSISTENCE) {
        line(&text, "# Persistence");
        line(&text, "aof_enabled:1");
        line(&text, "appendfsync:%s", kv_fsync_name(server->options->fsync));
        number(&text, "aof_current_size", facts->log_bytes);
        number(&text, "aof_rewrites", facts->log_rewrites);
    }
    if (wanted & KV_INFO_KEYSPACE) {
        line(&text, "# Keyspace");
        if (facts->keys > 0)
            line(&text, "db0:keys=%" PRIu64 ",expires=%" PRIu64 ",avg_ttl=0", facts->keys, facts->deadlines);
    }
    if (wanted & KV_INFO_TROUPE)
        write_troupe(&stats, &text);
    out->failed |= text.failed;
    kv_resp_write_bulk(out, kv_slice_of(text.data ? text.data : "", text.len));
    kv_buf_free(&text);
}
