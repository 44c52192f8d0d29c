/* SPDX-License-Identifier: Apache-2.0 */
/* Records as lines of key=value ("logfmt"), for programs whose log is read by machines. */
#include <troupe/log.h>

#include <string.h>

#include "runtime/log.h"
#include "runtime/text.h"

/* Keys are ours or the program's own constants; what a reader could take for the end of one is replaced. */
static void add_key(struct tr_text *text, const char *key)
{
    for (; *key; key++) {
        bool plain = (*key >= 'a' && *key <= 'z') || (*key >= 'A' && *key <= 'Z') || (*key >= '0' && *key <= '9') ||
                     strchr("_.-", *key);
        tr_text_char(text, plain ? *key : '_');
    }
}

static void add_pair(struct tr_text *text, const char *key, const char *value)
{
    if (!value)
        value = "";
    if (text->length > 0)
        tr_text_char(text, ' ');
    add_key(text, key);
    tr_text_char(text, '=');
    bool quoted = !value[0] || strpbrk(value, " =") || !tr_text_harmless(value);
    if (quoted)
        tr_text_char(text, '"');
    tr_text_escape(text, value, TR_TEXT_QUOTED);
    if (quoted)
        tr_text_char(text, '"');
}

size_t troupe_log_format(const troupe_log_record *record, char *out, size_t size)
{
    struct tr_text text;
    tr_text_init(&text, out, size);
    add_pair(&text, "level", tr_log_level_name(record->level));
    add_pair(&text, "event", record->event);
    add_pair(&text, "msg", record->text);
    for (size_t i = 0; i < record->fields_count; i++)
        add_pair(&text, record->fields[i].key, record->fields[i].value);
    return text.length;
}
