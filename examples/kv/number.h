/* SPDX-License-Identifier: Apache-2.0 */
/* Owns nothing: decimal text to and from signed 64-bit numbers, exactly as Redis accepts them.
 * Anybody in the example may call it, from any thread.
 * It is not strtoll: no blanks, no plus sign, no leading zero, no locale. */
#ifndef KV_NUMBER_H
#define KV_NUMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { KV_NUMBER_MAX = 20 }; /* "-9223372036854775808" */

/* kv_number_parse - read the whole of text as one number.
 * Returns false (and leaves *out alone) unless text is "0" or an optional '-' and digits of which
 * the first is not 0, within the range of int64_t. */
bool kv_number_parse(const char *text, size_t len, int64_t *out);

/* kv_number_format - write a number's digits, without terminator; returns how many (1..KV_NUMBER_MAX). */
size_t kv_number_format(char out[KV_NUMBER_MAX], int64_t value);

#endif
