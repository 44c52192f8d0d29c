/* SPDX-License-Identifier: Apache-2.0 */
#include "set_options.h"

#include <stdio.h>

#include "command.h"
#include "keyspace.h"
#include "number.h"
#include "resp_write.h"

bool kv_deadline_after(int64_t now_ms, int64_t amount, int64_t unit_ms, int64_t *at_ms)
{
    int64_t delay;
    if (__builtin_mul_overflow(amount, unit_ms, &delay) || __builtin_add_overflow(now_ms, delay, at_ms))
        return false;
    if (*at_ms == KV_NEVER)
        --*at_ms; /* a key that has a deadline has one, if only in 292 million years */
    return true;
}

/* The words of an expiry in SET. */
struct expiry_word {
    const char *word;
    int64_t unit_ms;
    bool relative;
};

static const struct expiry_word expiry_words[] = {
    {"ex", 1000, true}, {"px", 1, true}, {"exat", 1000, false}, {"pxat", 1, false}};

static const struct expiry_word *find_expiry_word(struct kv_slice word)
{
    for (size_t i = 0; i < sizeof expiry_words / sizeof expiry_words[0]; i++)
        if (kv_slice_is_word(word, expiry_words[i].word))
            return &expiry_words[i];
    return NULL;
}

/* A word without argument; false if it is none, or contradicts an earlier one. */
static bool plain_word(struct kv_slice word, struct kv_set_options *options)
{
    if (kv_slice_is_word(word, "nx") && !options->only_old)
        return options->only_new = true;
    if (kv_slice_is_word(word, "xx") && !options->only_new)
        return options->only_old = true;
    if (kv_slice_is_word(word, "get"))
        return options->get = true;
    if (kv_slice_is_word(word, "keepttl") && !options->expires)
        return options->keep_ttl = true;
    return false;
}

/* Read the words; *expiry and *amount are those of the last expiry, NULL if there is none. */
static bool read_words(const struct kv_slice *argv, size_t argc, struct kv_set_options *options,
                       const struct expiry_word **expiry, struct kv_slice *amount)
{
    for (size_t i = 3; i < argc; i++) {
        if (plain_word(argv[i], options))
            continue;
        const struct expiry_word *found = find_expiry_word(argv[i]);
        bool contradicts = options->keep_ttl || (*expiry != NULL && *expiry != found);
        if (found == NULL || contradicts || i + 1 == argc)
            return false;
        options->expires = true;
        *expiry = found; /* the same word again is allowed: the last counts */
        *amount = argv[++i];
    }
    return true;
}

bool kv_set_options_read(const struct kv_slice *argv, size_t argc, int64_t now_ms, struct kv_set_options *options,
                         struct kv_buf *out)
{
    const struct expiry_word *expiry = NULL;
    struct kv_slice amount = {0};
    int64_t number;
    *options = (struct kv_set_options){0};
    if (!read_words(argv, argc, options, &expiry, &amount)) {
        kv_resp_write_error(out, KV_ERR_SYNTAX);
        return false;
    }
    if (expiry == NULL)
        return true;
    if (!kv_number_parse(amount.ptr, amount.len, &number)) {
        kv_resp_write_error(out, KV_ERR_NOT_INTEGER);
        return false;
    }
    int64_t from_ms = expiry->relative ? now_ms : 0;
    if (number <= 0 || !kv_deadline_after(from_ms, number, expiry->unit_ms, &options->at_ms)) {
        kv_command_write_bad_expire("set", out);
        return false;
    }
    return true;
}

bool kv_expire_options_read(const struct kv_slice *argv, size_t argc, struct kv_expire_options *options,
                            struct kv_buf *out)
{
    *options = (struct kv_expire_options){0};
    for (size_t i = 3; i < argc; i++) {
        if (kv_slice_is_word(argv[i], "nx")) {
            options->only_without = true;
        } else if (kv_slice_is_word(argv[i], "xx")) {
            options->only_with = true;
        } else if (kv_slice_is_word(argv[i], "gt")) {
            options->only_later = true;
        } else if (kv_slice_is_word(argv[i], "lt")) {
            options->only_sooner = true;
        } else {
            char text[160];
            int shown = (int)(argv[i].len < 100 ? argv[i].len : 100);
            (void)snprintf(text, sizeof text, "ERR Unsupported option %.*s", shown, argv[i].ptr);
            kv_resp_write_error(out, text);
            return false;
        }
    }
    if (options->only_without && (options->only_with || options->only_later || options->only_sooner)) {
        kv_resp_write_error(out, "ERR NX and XX, GT or LT options at the same time are not compatible");
        return false;
    }
    if (options->only_later && options->only_sooner) {
        kv_resp_write_error(out, "ERR GT and LT options at the same time are not compatible");
        return false;
    }
    return true;
}
