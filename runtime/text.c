/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/text.h"

#include <stdio.h>

#define FORMATTED_MAX 1024

void tr_text_init(struct tr_text *text, char *out, size_t size)
{
    *text = (struct tr_text){out, size, 0};
    if (size)
        out[0] = '\0';
}

void tr_text_char(struct tr_text *text, char c)
{
    if (text->length + 1 < text->size) {
        text->out[text->length] = c;
        text->out[text->length + 1] = '\0';
    }
    text->length++;
}

void tr_text_addf(struct tr_text *text, const char *format, ...)
{
    bool room = text->length < text->size;
    va_list args;
    va_start(args, format);
    int n = vsnprintf(room ? text->out + text->length : NULL, room ? text->size - text->length : 0, format, args);
    va_end(args);
    if (n > 0)
        text->length += (size_t)n;
}

/* --- escaping: byte by byte, but what is valid UTF-8 and harmless stays ------------------------------------------- */

/* The bytes of the UTF-8 sequence that begins with this one; 0: none does. */
static unsigned sequence_length(unsigned char first)
{
    return first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
}

/* Control characters; separators of lines; marks that turn the direction of what follows round. */
static bool hostile(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c <= 0x9f) || (c >= 0x200e && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
           (c >= 0x2066 && c <= 0x2069);
}

/* The bytes of the harmless character at s; 0: it begins with a byte that must be escaped. Stops at the terminator. */
static unsigned harmless_length(const unsigned char *s)
{
    static const unsigned char first_bits[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned length = sequence_length(s[0]);
    uint32_t c = s[0] & first_bits[length];
    for (unsigned i = 1; i < length; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (s[i] & 0x3f);
    }
    if (c < least[length] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff) || hostile(c))
        return 0;
    return length;
}

static void escape_byte(struct tr_text *text, unsigned char byte)
{
    switch (byte) {
    case '\n':
        tr_text_addf(text, "\\n");
        break;
    case '\t':
        tr_text_addf(text, "\\t");
        break;
    case '\r':
        tr_text_addf(text, "\\r");
        break;
    default:
        tr_text_addf(text, "\\x%02x", byte);
    }
}

void tr_text_escape(struct tr_text *text, const char *s, enum tr_text_escaping how)
{
    if (!s)
        return;
    for (const unsigned char *at = (const unsigned char *)s; *at;) {
        unsigned length = harmless_length(at);
        if (length == 0) {
            escape_byte(text, *at++);
            continue;
        }
        if (how == TR_TEXT_QUOTED && (*at == '"' || *at == '\\'))
            tr_text_char(text, '\\');
        while (length--)
            tr_text_char(text, (char)*at++);
    }
}

void tr_text_addv_escaped(struct tr_text *text, const char *format, va_list args)
{
    char formatted[FORMATTED_MAX];
    if (vsnprintf(formatted, sizeof formatted, format, args) > 0)
        tr_text_escape(text, formatted, TR_TEXT_LINE);
}

bool tr_text_harmless(const char *s)
{
    for (const unsigned char *at = (const unsigned char *)s; *at;) {
        unsigned length = harmless_length(at);
        if (length == 0 || *at == '"' || *at == '\\')
            return false;
        at += length;
    }
    return true;
}
