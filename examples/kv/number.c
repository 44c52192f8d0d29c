/* SPDX-License-Identifier: Apache-2.0 */
#include "number.h"

bool kv_number_parse(const char *text, size_t len, int64_t *out)
{
    if (len == 0 || len > KV_NUMBER_MAX)
        return false;
    if (len == 1 && text[0] == '0') {
        *out = 0;
        return true;
    }
    bool negative = text[0] == '-';
    size_t i = negative ? 1 : 0;
    if (i == len || text[i] < '1' || text[i] > '9')
        return false;
    uint64_t value = 0;
    for (; i < len; i++) {
        unsigned digit = (unsigned)(unsigned char)text[i] - '0';
        if (digit > 9 || value > (UINT64_MAX - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    uint64_t bound = negative ? (uint64_t)INT64_MAX + 1 : (uint64_t)INT64_MAX;
    if (value > bound)
        return false;
    *out = negative ? (int64_t)(0 - value) : (int64_t)value;
    return true;
}

size_t kv_number_format(char out[KV_NUMBER_MAX], int64_t value)
{
    char reversed[KV_NUMBER_MAX];
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    size_t digits = 0, len = 0;
    do {
        reversed[digits++] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest != 0);
    if (value < 0)
        out[len++] = '-';
    while (digits > 0)
        out[len++] = reversed[--digits];
    return len;
}
