/* SPDX-License-Identifier: Apache-2.0 */
#include "apply.h"

#include <assert.h>

#include "blob.h"
#include "number.h"
#include "resp_write.h"
#include "set_options.h"

/* One command under way. */
struct call {
    struct kv_apply *apply;
    const struct kv_slice *argv;
    size_t argc;
    struct kv_rope *reply;
};

/* ---- helpers ---- */

static void emit(struct kv_apply *apply, enum kv_log_type type, const struct kv_key *key, struct kv_slice value,
                 int64_t deadline_ms)
{
    if (apply->sink == NULL)
        return;
    struct kv_log_record record = {.type = type, .deadline_ms = deadline_ms, .value = value};
    if (key != NULL)
        record.key = kv_slice_of(key->ptr, key->len);
    apply->sink(apply->sink_ctx, &record);
}

static void emit_bare(struct kv_apply *apply, enum kv_log_type type, const struct kv_key *key)
{
    emit(apply, type, key, kv_slice_of("", 0), KV_NEVER);
}

/* key must not lie in the entry that goes. */
static void delete_key(struct kv_apply *apply, const struct kv_key *key)
{
    (void)kv_keyspace_delete(apply->keys, key);
    emit_bare(apply, KV_LOG_DELETE, key);
}

/* The key's entry, NULL if there is none or its deadline has passed: then it is deleted here. */
static struct kv_entry *find_live(struct kv_apply *apply, const struct kv_key *key)
{
    struct kv_entry *entry = kv_keyspace_find(apply->keys, key);
    if (entry == NULL || kv_entry_deadline(apply->keys, entry) > apply->now_ms)
        return entry;
    delete_key(apply, key);
    return NULL;
}

static struct kv_key key_at(const struct call *call, size_t i)
{
    return kv_keyspace_key(call->apply->keys, call->argv[i]);
}

static void reply_error(const struct call *call, const char *text)
{
    kv_resp_write_error(&call->reply->bytes, text);
}

static void reply_integer(const struct call *call, int64_t number)
{
    kv_resp_write_integer(&call->reply->bytes, number);
}

static void reply_ok(const struct call *call)
{
    kv_buf_append(&call->reply->bytes, "+OK\r\n", 5);
}

static void reply_entry(const struct call *call, const struct kv_entry *entry)
{
    if (entry == NULL)
        kv_resp_write_null(&call->reply->bytes);
    else
        kv_resp_write_value(call->reply, kv_entry_value(entry));
}

/* ---- GET and its like ---- */

static void do_get(const struct call *call)
{
    for (size_t i = 1; i < call->argc; i++) {
        struct kv_key key = key_at(call, i);
        reply_entry(call, find_live(call->apply, &key));
    }
}

static void do_getdel(const struct call *call)
{
    struct kv_key key = key_at(call, 1);
    struct kv_entry *entry = find_live(call->apply, &key);
    reply_entry(call, entry);
    if (entry != NULL)
        delete_key(call->apply, &key);
}

static void do_strlen(const struct call *call)
{
    struct kv_key key = key_at(call, 1);
    const struct kv_entry *entry = find_live(call->apply, &key);
    reply_integer(call, entry == NULL ? 0 : (int64_t)kv_entry_value(entry).len);
}

static void do_exists(const struct call *call)
{
    int64_t found = 0;
    for (size_t i = 1; i < call->argc; i++) {
        struct kv_key key = key_at(call, i);
        found += find_live(call->apply, &key) != NULL;
    }
    reply_integer(call, found);
}

static void do_del(const struct call *call)
{
    int64_t deleted = 0;
    for (size_t i = 1; i < call->argc; i++) {
        struct kv_key key = key_at(call, i);
        if (find_live(call->apply, &key) == NULL)
            continue;
        delete_key(call->apply, &key);
        deleted++;
    }
    reply_integer(call, deleted);
}

/* ---- SET and its like ---- */

/* Store a value that keeps the key's deadline, and log it; false when memory is short. */
static bool store_keeping(struct kv_apply *apply, const struct kv_key *key, struct kv_slice value)
{
    struct kv_entry *entry = kv_keyspace_set(apply->keys, key, value);
    if (entry == NULL)
        return false;
    struct kv_slice stored = kv_entry_value(entry);
    emit(apply, KV_LOG_SET, key, stored, kv_entry_deadline(apply->keys, entry));
    return true;
}

/* Store a value and its deadline, and log it; false when memory is short: the key is unchanged then,
 * or, if it was the deadline that found no memory, gone. */
static bool store(struct kv_apply *apply, const struct kv_key *key, struct kv_slice value, int64_t deadline_ms)
{
    struct kv_entry *entry = kv_keyspace_set(apply->keys, key, value);
    if (entry == NULL)
        return false;
    if (!kv_keyspace_expire_at(apply->keys, entry, deadline_ms)) {
        delete_key(apply, key);
        return false;
    }
    emit(apply, KV_LOG_SET, key, kv_entry_value(entry), deadline_ms);
    return true;
}

/* SET's condition failed, or it succeeded: nil or OK, unless GET has replied already. */
static void reply_set(const struct call *call, const struct kv_set_options *options, bool done)
{
    if (options->get)
        return;
    if (done)
        reply_ok(call);
    else
        kv_resp_write_null(&call->reply->bytes);
}

static bool store_with(const struct call *call, const struct kv_key *key, const struct kv_set_options *options)
{
    struct kv_apply *apply = call->apply;
    if (options->keep_ttl)
        return store_keeping(apply, key, call->argv[2]);
    if (!options->expires)
        return store(apply, key, call->argv[2], KV_NEVER);
    if (options->at_ms > apply->now_ms)
        return store(apply, key, call->argv[2], options->at_ms);
    if (kv_keyspace_find(apply->keys, key) != NULL)
        delete_key(apply, key); /* its deadline has passed before it begins */
    return true;
}

static void do_set(const struct call *call)
{
    struct kv_key key = key_at(call, 1);
    if (call->argc == 3) {
        if (store(call->apply, &key, call->argv[2], KV_NEVER))
            reply_ok(call);
        else
            reply_error(call, KV_ERR_NO_MEMORY);
        return;
    }
    struct kv_set_options options;
    if (!kv_set_options_read(call->argv, call->argc, call->apply->now_ms, &options, &call->reply->bytes))
        return;
    struct kv_entry *old = find_live(call->apply, &key);
    struct kv_rope shown = {0};
    if (options.get) {
        const struct call to_shown = {.reply = &shown};
        reply_entry(&to_shown, old);
    }
    bool wanted = !(options.only_new && old != NULL) && !(options.only_old && old == NULL);
    if (wanted && !store_with(call, &key, &options)) {
        reply_error(call, KV_ERR_NO_MEMORY);
    } else {
        kv_rope_move(call->reply, &shown);
        reply_set(call, &options, wanted);
    }
    kv_rope_free(&shown);
}

static void do_mset(const struct call *call)
{
    for (size_t i = 1; i + 1 < call->argc; i += 2) {
        struct kv_key key = key_at(call, i);
        if (!store(call->apply, &key, call->argv[i + 1], KV_NEVER)) {
            reply_error(call, KV_ERR_NO_MEMORY);
            return;
        }
    }
    reply_ok(call);
}

static void do_append(const struct call *call)
{
    struct kv_apply *apply = call->apply;
    struct kv_key key = key_at(call, 1);
    struct kv_slice tail = call->argv[2];
    struct kv_entry *entry = find_live(apply, &key);
    size_t before = entry == NULL ? 0 : kv_entry_value(entry).len;
    if (tail.len > apply->value_max || before > apply->value_max - tail.len) {
        reply_error(call, KV_ERR_TOO_LONG);
        return;
    }
    bool stored =
        entry == NULL ? store(apply, &key, tail, KV_NEVER) : kv_keyspace_append(apply->keys, entry, tail) != NULL;
    if (!stored) {
        reply_error(call, KV_ERR_NO_MEMORY);
        return;
    }
    if (entry != NULL && tail.len > 0)
        emit(apply, KV_LOG_APPEND, &key, tail, KV_NEVER);
    reply_integer(call, (int64_t)(before + tail.len));
}

static void add_number(const struct call *call, int64_t step)
{
    struct kv_key key = key_at(call, 1);
    const struct kv_entry *entry = find_live(call->apply, &key);
    int64_t number = 0;
    if (entry != NULL) {
        struct kv_slice value = kv_entry_value(entry);
        if (!kv_number_parse(value.ptr, value.len, &number)) {
            reply_error(call, KV_ERR_NOT_INTEGER);
            return;
        }
    }
    if (__builtin_add_overflow(number, step, &number)) {
        reply_error(call, KV_ERR_OVERFLOW);
        return;
    }
    char digits[KV_NUMBER_MAX];
    if (store_keeping(call->apply, &key, kv_slice_of(digits, kv_number_format(digits, number))))
        reply_integer(call, number);
    else
        reply_error(call, KV_ERR_NO_MEMORY);
}

static void do_incrby(const struct call *call, bool negate)
{
    int64_t step;
    if (!kv_number_parse(call->argv[2].ptr, call->argv[2].len, &step))
        reply_error(call, KV_ERR_NOT_INTEGER);
    else if (negate && step == INT64_MIN)
        reply_error(call, KV_ERR_DECR_OVERFLOW);
    else
        add_number(call, negate ? -step : step);
}

/* ---- deadlines ---- */

static bool expire_wanted(const struct kv_expire_options *options, int64_t present_ms, int64_t at_ms)
{
    if (options->only_without && present_ms != KV_NEVER)
        return false;
    if (options->only_with && present_ms == KV_NEVER)
        return false;
    if (options->only_later && at_ms <= present_ms)
        return false; /* a key without a deadline has the latest of all */
    return !(options->only_sooner && at_ms >= present_ms);
}

static void do_expire(const struct call *call, int64_t unit_ms)
{
    struct kv_apply *apply = call->apply;
    struct kv_expire_options options;
    int64_t amount, at_ms;
    if (!kv_expire_options_read(call->argv, call->argc, &options, &call->reply->bytes))
        return;
    if (!kv_number_parse(call->argv[2].ptr, call->argv[2].len, &amount)) {
        reply_error(call, KV_ERR_NOT_INTEGER);
        return;
    }
    if (!kv_deadline_after(apply->now_ms, amount, unit_ms, &at_ms)) {
        kv_command_write_bad_expire(unit_ms == 1 ? "pexpire" : "expire", &call->reply->bytes);
        return;
    }
    struct kv_key key = key_at(call, 1);
    struct kv_entry *entry = find_live(apply, &key);
    if (entry == NULL || !expire_wanted(&options, kv_entry_deadline(apply->keys, entry), at_ms)) {
        reply_integer(call, 0);
    } else if (at_ms <= apply->now_ms) {
        delete_key(apply, &key);
        reply_integer(call, 1);
    } else if (kv_keyspace_expire_at(apply->keys, entry, at_ms)) {
        emit(apply, KV_LOG_EXPIRE, &key, kv_slice_of("", 0), at_ms);
        reply_integer(call, 1);
    } else {
        reply_error(call, KV_ERR_NO_MEMORY);
    }
}

static void do_ttl(const struct call *call, bool seconds)
{
    struct kv_key key = key_at(call, 1);
    const struct kv_entry *entry = find_live(call->apply, &key);
    int64_t deadline_ms = entry == NULL ? 0 : kv_entry_deadline(call->apply->keys, entry);
    int64_t left_ms = deadline_ms - call->apply->now_ms;
    if (entry == NULL)
        reply_integer(call, -2);
    else if (deadline_ms == KV_NEVER)
        reply_integer(call, -1);
    else
        reply_integer(call, seconds ? left_ms / 1000 + (left_ms % 1000 >= 500) : left_ms);
}

static void do_persist(const struct call *call)
{
    struct kv_key key = key_at(call, 1);
    struct kv_entry *entry = find_live(call->apply, &key);
    bool had = entry != NULL && kv_entry_deadline(call->apply->keys, entry) != KV_NEVER;
    if (had) {
        (void)kv_keyspace_expire_at(call->apply->keys, entry, KV_NEVER);
        emit_bare(call->apply, KV_LOG_PERSIST, &key);
    }
    reply_integer(call, had);
}

/* ---- the whole shard ---- */

static void do_flush(const struct call *call)
{
    bool plain =
        call->argc == 1 ||
        (call->argc == 2 && (kv_slice_is_word(call->argv[1], "async") || kv_slice_is_word(call->argv[1], "sync")));
    if (!plain) {
        reply_error(call, KV_ERR_SYNTAX);
        return;
    }
    kv_keyspace_flush(call->apply->keys);
    emit_bare(call->apply, KV_LOG_FLUSH, NULL);
    reply_ok(call);
}

static void do_dbsize(const struct call *call)
{
    reply_integer(call, (int64_t)kv_keyspace_stats(call->apply->keys).keys);
}

/* Would this command, if it stored all its arguments, exceed the limit? */
static bool out_of_memory(const struct kv_apply *apply, enum kv_command_id id, const struct kv_slice *argv, size_t argc)
{
    if (apply->memory_limit == 0 || (kv_command_get(id)->flags & KV_DENY_OOM) == 0)
        return false;
    size_t used = kv_keyspace_bytes(apply->keys);
    for (size_t i = 1; i < argc; i++)
        used += argv[i].len;
    return used > apply->memory_limit;
}

static void dispatch(const struct call *call, enum kv_command_id id)
{
    switch (id) {
    case KV_APPEND:
        do_append(call);
        return;
    case KV_DBSIZE:
        do_dbsize(call);
        return;
    case KV_DECR:
        add_number(call, -1);
        return;
    case KV_DECRBY:
        do_incrby(call, true);
        return;
    case KV_DEL:
        do_del(call);
        return;
    case KV_EXISTS:
        do_exists(call);
        return;
    case KV_EXPIRE:
        do_expire(call, 1000);
        return;
    case KV_FLUSHALL:
    case KV_FLUSHDB:
        do_flush(call);
        return;
    case KV_GET:
    case KV_MGET:
        do_get(call);
        return;
    case KV_GETDEL:
        do_getdel(call);
        return;
    case KV_INCR:
        add_number(call, 1);
        return;
    case KV_INCRBY:
        do_incrby(call, false);
        return;
    case KV_MSET:
        do_mset(call);
        return;
    case KV_PERSIST:
        do_persist(call);
        return;
    case KV_PEXPIRE:
        do_expire(call, 1);
        return;
    case KV_PTTL:
        do_ttl(call, false);
        return;
    case KV_SET:
        do_set(call);
        return;
    case KV_STRLEN:
        do_strlen(call);
        return;
    case KV_TTL:
        do_ttl(call, true);
        return;
    case KV_CLIENT:
    case KV_COMMAND:
    case KV_CONFIG:
    case KV_DEBUG:
    case KV_ECHO:
    case KV_HELLO:
    case KV_INFO:
    case KV_PING:
    case KV_QUIT:
    case KV_SELECT:
    case KV_COMMAND_COUNT:
        assert(false); /* the caller sends only what concerns a shard */
        reply_error(call, "ERR command concerns no shard");
    }
}

void kv_apply_command(struct kv_apply *apply, enum kv_command_id id, const struct kv_slice *argv, size_t argc,
                      struct kv_rope *reply)
{
    const struct call call = {.apply = apply, .argv = argv, .argc = argc, .reply = reply};
    if (out_of_memory(apply, id, argv, argc))
        reply_error(&call, KV_ERR_OOM);
    else
        dispatch(&call, id);
}

/* ---- deadlines that pass, replay, rewrite ---- */

size_t kv_apply_due(struct kv_apply *apply, size_t max)
{
    size_t count = 0;
    struct kv_entry *entry;
    for (; count < max && (entry = kv_keyspace_due(apply->keys, apply->now_ms)) != NULL; count++) {
        struct kv_key key = kv_keyspace_key(apply->keys, kv_entry_key(entry));
        emit_bare(apply, KV_LOG_DELETE, &key); /* first: the key lies in the entry */
        (void)kv_keyspace_delete(apply->keys, &key);
    }
    return count;
}

static bool replay_append(struct kv_keyspace *keys, const struct kv_key *key, struct kv_slice tail)
{
    struct kv_entry *entry = kv_keyspace_find(keys, key);
    if (entry == NULL)
        return kv_keyspace_set(keys, key, tail) != NULL;
    return kv_keyspace_append(keys, entry, tail) != NULL;
}

static bool replay_deadline(struct kv_keyspace *keys, const struct kv_key *key, int64_t at_ms)
{
    struct kv_entry *entry = kv_keyspace_find(keys, key);
    return entry == NULL || kv_keyspace_expire_at(keys, entry, at_ms);
}

bool kv_apply_record(struct kv_keyspace *keys, const struct kv_log_record *record)
{
    struct kv_key key = kv_keyspace_key(keys, record->key);
    switch (record->type) {
    case KV_LOG_SET:
        return kv_keyspace_set(keys, &key, record->value) != NULL && replay_deadline(keys, &key, record->deadline_ms);
    case KV_LOG_APPEND:
        return replay_append(keys, &key, record->value);
    case KV_LOG_DELETE:
        (void)kv_keyspace_delete(keys, &key);
        return true;
    case KV_LOG_EXPIRE:
        return replay_deadline(keys, &key, record->deadline_ms);
    case KV_LOG_PERSIST:
        return replay_deadline(keys, &key, KV_NEVER);
    case KV_LOG_FLUSH:
        kv_keyspace_flush(keys);
        return true;
    }
    return false;
}

struct kv_log_record kv_apply_snapshot(const struct kv_keyspace *keys, const struct kv_entry *entry)
{
    return (struct kv_log_record){
        .type = KV_LOG_SET,
        .deadline_ms = kv_entry_deadline(keys, entry),
        .key = kv_entry_key(entry),
        .value = kv_entry_value(entry),
    };
}
