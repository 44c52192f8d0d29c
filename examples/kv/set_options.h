/* SPDX-License-Identifier: Apache-2.0 */
/* Owns nothing: reads the options behind SET's value and EXPIRE's time.
 * apply.c may call it.
 * It is not the execution of the command. */
#ifndef KV_SET_OPTIONS_H
#define KV_SET_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "slice.h"

struct kv_set_options {
    bool only_new; /* NX */
    bool only_old; /* XX */
    bool keep_ttl; /* KEEPTTL */
    bool get;      /* GET */
    bool expires;  /* EX PX EXAT PXAT */
    int64_t at_ms; /* expires: the deadline */
};

struct kv_expire_options {
    bool only_without; /* NX: only if the key has no deadline */
    bool only_with;    /* XX */
    bool only_later;   /* GT */
    bool only_sooner;  /* LT */
};

/* kv_set_options_read - read argv[3..argc). Returns false after writing the error reply. */
bool kv_set_options_read(const struct kv_slice *argv, size_t argc, int64_t now_ms, struct kv_set_options *options,
                         struct kv_buf *out);

/* kv_expire_options_read - likewise of EXPIRE and PEXPIRE. */
bool kv_expire_options_read(const struct kv_slice *argv, size_t argc, struct kv_expire_options *options,
                            struct kv_buf *out);

/* kv_deadline_after - the point in time `amount` units after now; false if it cannot be expressed.
 *   unit_ms  1 or 1000 */
bool kv_deadline_after(int64_t now_ms, int64_t amount, int64_t unit_ms, int64_t *at_ms);

#endif
