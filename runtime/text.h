/* SPDX-License-Identifier: Apache-2.0 */
/* A text that grows in the caller's buffer, counted on beyond its end as snprintf counts, and made harmless for
 * terminals and logs. The caller owns the buffer; one thread at a time. It allocates nothing, also when the buffer is
 * too small. */
#ifndef TR_RUNTIME_TEXT_H
#define TR_RUNTIME_TEXT_H

#include <troupe/types.h>

#include <stdarg.h>

struct tr_text {
    char *out;
    size_t size;   /* of out, the terminator included; 0: nothing is written */
    size_t length; /* of the whole text, also of what did not fit */
};

/* Which characters tr_text_escape replaces besides the hostile ones. */
enum tr_text_escaping {
    TR_TEXT_LINE,  /* none: for a person */
    TR_TEXT_QUOTED /* '"' and '\': for a quoted value */
};

/* out is terminated from here on, unless size is 0. */
void tr_text_init(struct tr_text *text, char *out, size_t size);
void tr_text_char(struct tr_text *text, char c);
void tr_text_addf(struct tr_text *text, const char *format, ...) TROUPE_PRINTF(2, 3);
/* Adds s with control characters, what is no UTF-8, and characters that turn lines or directions round written as \n,
 * \t, \r or \xNN. NULL counts as "". */
void tr_text_escape(struct tr_text *text, const char *s, enum tr_text_escaping how);
/* printf and tr_text_escape in one. What is longer than about 1000 bytes before the escaping is cut. */
void tr_text_addv_escaped(struct tr_text *text, const char *format, va_list args);
/* Does s hold nothing that tr_text_escape would replace in quotes? */
bool tr_text_harmless(const char *s);

#endif
