/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/crashtext.h"

#include <stdio.h>
#include <string.h>

#define INLINED_MAX 6     /* symbols of one address */
#define THREAD_BASE_MAX 4 /* frames of the C library, or a sanitizer, below a worker's first function */

static unsigned slot_of(troupe_addr addr)
{
    return (unsigned)(addr.bits & UINT32_MAX);
}

/* --- the line ----------------------------------------------------------------------------------------------------- */

static const char *what_happened(troupe_cause cause)
{
    switch (cause) {
    case TROUPE_CAUSE_SIBLING:
        return "restarts with its sibling";
    case TROUPE_CAUSE_ENDED:
        return "ended";
    case TROUPE_CAUSE_PANIC:
    case TROUPE_CAUSE_START:
    case TROUPE_CAUSE_FAULT:
    case TROUPE_CAUSE_LINK:
    case TROUPE_CAUSE_CHILD:
    case TROUPE_CAUSE_COUNT:
        break;
    }
    return "crashed";
}

void tr_crash_headline(struct tr_text *text, const troupe_crash *crash)
{
    tr_text_addf(text, "%s#%u (incarnation %u) %s", crash->behavior, slot_of(crash->actor), crash->incarnation,
                 what_happened(crash->cause));
    if (crash->handler && crash->handler[0])
        tr_text_addf(text, " in %s\"%s\"", crash->has_message ? "handler " : "", crash->handler);
    if (crash->text[0]) {
        tr_text_addf(text, ": ");
        tr_text_escape(text, crash->text, TR_TEXT_LINE);
    }
    if (crash->file && crash->file[0])
        tr_text_addf(text, " at %s:%u", crash->file, crash->line);
}

/* --- the backtrace ------------------------------------------------------------------------------------------------ */

/* A return address belongs to the call before it; of a fault the first frame is the instruction itself. */
static uintptr_t instruction(const troupe_crash *crash, unsigned frame)
{
    uintptr_t address = crash->frames[frame];
    return address == 0 || (frame == 0 && crash->cause == TROUPE_CAUSE_FAULT && address == crash->pc) ? address
                                                                                                      : address - 1;
}

/* Is it of the runtime itself? This file's own name says where its sources were when they were compiled. */
static bool is_ours(const char *file)
{
    static const char here[] = __FILE__, from_root[] = "runtime/crashtext.c";
    static const char *const folders[] = {"runtime/", "sched/", "io/"};
    size_t root = sizeof here > sizeof from_root ? sizeof here - sizeof from_root : 0;
    if (root == 0 || strncmp(file, here, root) != 0)
        return false;
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++)
        if (strncmp(file + root, folders[i], strlen(folders[i])) == 0)
            return true;
    return false;
}

static bool frame_is_ours(const troupe_crash *crash, unsigned frame)
{
    struct tr_symbol symbols[INLINED_MAX];
    unsigned count = tr_symbol_find(instruction(crash, frame), TR_SYMBOL_DEBUG, symbols, INLINED_MAX);
    return is_ours(symbols[count - 1].file);
}

/* How many frames tell something: those of the runtime below the actor's outermost function, and the thread's beginning
 * below these, are the same in every crash. All, when they are not recognised; none, when there is no other: it was the
 * runtime that ended the incarnation, and the text says why. */
static unsigned frames_worth_telling(const troupe_crash *crash, enum tr_symbol_source best)
{
    unsigned count = crash->frames_count, base = 0;
    if (best != TR_SYMBOL_DEBUG)
        return count;
    while (base < THREAD_BASE_MAX && base < count && !frame_is_ours(crash, count - base - 1))
        base++;
    if (base == THREAD_BASE_MAX || base == count)
        return count;
    unsigned told = count - base;
    while (told > 0 && frame_is_ours(crash, told - 1))
        told--;
    return told;
}

static void add_symbol(struct tr_text *text, unsigned number, const struct tr_symbol *symbol)
{
    tr_text_addf(text, "    %u ", number);
    if (symbol->function[0] && symbol->file[0])
        tr_text_addf(text, "%s at %s:%u", symbol->function, symbol->file, symbol->line);
    else if (symbol->function[0])
        tr_text_addf(text, "%s (%s+%#zx)", symbol->function, symbol->module, (size_t)symbol->offset);
    else
        tr_text_addf(text, "%s+%#zx", symbol->module[0] ? symbol->module : "?", (size_t)symbol->offset);
    tr_text_addf(text, "%s\n", symbol->inlined ? ", inlined" : "");
}

static unsigned add_address(struct tr_text *text, unsigned number, uintptr_t address, enum tr_symbol_source best)
{
    struct tr_symbol symbols[INLINED_MAX];
    unsigned count = tr_symbol_find(address, best, symbols, INLINED_MAX);
    for (unsigned i = 0; i < count; i++)
        add_symbol(text, number++, &symbols[i]);
    return number;
}

static void add_frames(struct tr_text *text, const troupe_crash *crash, enum tr_symbol_source best)
{
    unsigned number = 0;
    if (crash->cause == TROUPE_CAUSE_FAULT && crash->pc && (crash->frames_count == 0 || crash->frames[0] != crash->pc))
        number = add_address(text, number, crash->pc, best);
    unsigned told = frames_worth_telling(crash, best);
    for (unsigned i = 0; i < told; i++)
        number = add_address(text, number, instruction(crash, i), best);
}

/* --- the details -------------------------------------------------------------------------------------------------- */

static void add_message(struct tr_text *text, const troupe_crash *crash)
{
    tr_text_addf(text, "  message kind %u from ", crash->kind);
    if (troupe_addr_is_nobody(crash->sender))
        tr_text_addf(text, "outside");
    else if (troupe_addr_same(crash->sender, crash->actor))
        tr_text_addf(text, "itself");
    else
        tr_text_addf(text, "%s#%u", troupe_addr_same(crash->sender, crash->parent) ? "its parent " : "actor ",
                     slot_of(crash->sender));
    tr_text_addf(text, ", attempt %u\n", crash->attempt);
}

void tr_crash_details(struct tr_text *text, const troupe_crash *crash, enum tr_symbol_source best)
{
    if (crash->has_message)
        add_message(text, crash);
    if (crash->cause == TROUPE_CAUSE_FAULT)
        tr_text_addf(text, "  signal %d (%s), code %d, address %#zx\n", crash->signal, strsignal(crash->signal),
                     crash->code, (size_t)crash->address);
    if (crash->tainted)
        tr_text_addf(text, "  a hardware fault was recovered in this process: trust its memory no further than that\n");
    add_frames(text, crash, best);
}

size_t troupe_crash_print(const troupe_crash *crash, char *out, size_t size)
{
    struct tr_text text;
    tr_text_init(&text, out, size);
    tr_crash_headline(&text, crash);
    tr_text_char(&text, '\n');
    tr_crash_details(&text, crash, TR_SYMBOL_DEBUG);
    return text.length;
}

/* --- the fields --------------------------------------------------------------------------------------------------- */

static void add(struct tr_crash_fields *fields, const char *key, const char *value)
{
    fields->list[fields->count++] = (troupe_log_field){key, value};
}

/* With a value that is printed; what does not fit any more is cut. */
static void TROUPE_PRINTF(3, 4) addf(struct tr_crash_fields *fields, const char *key, const char *format, ...)
{
    char *value = fields->room + fields->room_used;
    size_t left = sizeof fields->room - fields->room_used;
    va_list args;
    va_start(args, format);
    int length = vsnprintf(value, left, format, args);
    va_end(args);
    add(fields, key, value);
    if (length > 0)
        fields->room_used += (size_t)length + 1 < left ? (size_t)length + 1 : left - 1; /* a last byte stays "" */
}

static void add_where(struct tr_crash_fields *fields, const troupe_crash *crash)
{
    if (crash->handler && crash->handler[0])
        add(fields, "handler", crash->handler);
    if (crash->has_message) {
        addf(fields, "kind", "%u", crash->kind);
        addf(fields, "sender", "%#llx", (unsigned long long)crash->sender.bits);
        addf(fields, "attempt", "%u", crash->attempt);
    }
    add(fields, "panic", crash->text);
    if (crash->file && crash->file[0]) {
        add(fields, "file", crash->file);
        addf(fields, "line", "%u", crash->line);
    }
}

/* At most TROUPE_LOG_FIELDS_MAX: a crash has a status, a signal, or neither. */
void tr_crash_fields_fill(struct tr_crash_fields *fields, const troupe_crash *crash, const char *consequence)
{
    fields->count = fields->room_used = 0;
    addf(fields, "actor", "%#llx", (unsigned long long)crash->actor.bits);
    addf(fields, "incarnation", "%u", crash->incarnation);
    addf(fields, "restarts", "%u", crash->restarts);
    add(fields, "behavior", crash->behavior);
    add(fields, "cause", troupe_cause_name(crash->cause));
    add(fields, "consequence", consequence);
    add_where(fields, crash);
    if (crash->cause == TROUPE_CAUSE_START)
        addf(fields, "status", "%d", crash->status);
    if (crash->cause == TROUPE_CAUSE_FAULT) {
        addf(fields, "signal", "%d", crash->signal);
        addf(fields, "address", "%#zx", (size_t)crash->address);
    }
    if (crash->tainted)
        add(fields, "tainted", "true");
}

_Static_assert(TROUPE_LOG_FIELDS_MAX >= 16, "six for who and what follows, seven for where, three more");
