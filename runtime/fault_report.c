/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/fault_report.h"

#include "runtime/fault_support.h"

#if TR_FAULTS

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#define REPORT_MAX 1024

struct text {
    char *out;
    size_t size, length; /* length < size */
};

static void put(struct text *t, const char *s)
{
    for (; *s && t->length + 1 < t->size; s++)
        t->out[t->length++] = *s;
    t->out[t->length] = '\0';
}

static void put_number(struct text *t, uint64_t value, unsigned base)
{
    char digits[24];
    size_t at = sizeof digits;
    digits[--at] = '\0';
    do
        digits[--at] = "0123456789abcdef"[value % base];
    while ((value /= base) > 0);
    if (base == 16)
        put(t, "0x");
    put(t, digits + at);
}

/* Module and offset, as addr2line wants it. */
static void put_place(struct text *t, uintptr_t pc)
{
    struct dl_find_object found;
    if (_dl_find_object((void *)pc, &found) != 0) {
        put_number(t, pc, 16);
        return;
    }
    const struct link_map *map = found.dlfo_link_map;
    const char *name = map->l_name && map->l_name[0] ? map->l_name : program_invocation_short_name;
    const char *slash = strrchr(name, '/');
    put(t, slash ? slash + 1 : name);
    put(t, "+");
    put_number(t, pc - map->l_addr, 16);
}

static const char *signal_name(int signal)
{
    switch (signal) {
    case SIGSEGV:
        return "SIGSEGV";
    case SIGBUS:
        return "SIGBUS";
    case SIGFPE:
        return "SIGFPE";
    case SIGILL:
        return "SIGILL";
    default:
        return "a signal";
    }
}

static void put_memory_fault(struct text *t, const struct tr_fault_facts *facts)
{
    static const char *const what[] = {
        [TR_ACCESS_UNKNOWN] = "an access to",
        [TR_ACCESS_READ] = "a read of",
        [TR_ACCESS_WRITE] = "a write to",
        [TR_ACCESS_EXECUTE] = "a jump to",
        [TR_ACCESS_STACK_OVERFLOW] = "stack overflow,",
    };
    put(t, what[facts->access]);
    if (facts->address_known) {
        put(t, " address ");
        put_number(t, facts->address, 16);
    } else {
        put(t, " an address that the CPU did not tell");
    }
}

static void put_what(struct text *t, const struct tr_fault_facts *facts)
{
    if (facts->sender > 0 || facts->code <= 0)
        put(t, "a signal sent by a process");
    else if (facts->signal == SIGFPE)
        put(t,
            facts->code == FPE_INTDIV ? "an integer division by zero, or one that overflows" : "an arithmetic fault");
    else if (facts->signal == SIGILL)
        put(t, "an illegal instruction");
    else
        put_memory_fault(t, facts);
}

static void put_facts(struct text *t, const struct tr_fault_facts *facts)
{
    put_what(t, facts);
    put(t, " (");
    put(t, signal_name(facts->signal));
    put(t, ") at ");
    put_place(t, facts->pc);
}

void tr_fault_describe(const struct tr_fault_facts *facts, char *out, size_t size)
{
    struct text t = {.size = size};
    t.out = out;
    put_facts(&t, facts);
}

static void put_actor(struct text *t, const struct tr_fault_facts *facts)
{
    put(t, ", in actor ");
    put(t, facts->behavior);
    put(t, "#");
    put_number(t, facts->index, 10);
    if (facts->handler) {
        put(t, ", handler ");
        put(t, facts->handler);
    }
}

void tr_fault_report(const struct tr_fault_facts *facts, const char *why)
{
    char line[REPORT_MAX];
    struct text t = {.out = line, .size = sizeof line - 1}; /* the newline has its place */
    put(&t, "troupe: fatal: ");
    put_facts(&t, facts);
    if (facts->code <= 0) {
        put(&t, ", sender ");
        put_number(&t, (uint64_t)facts->sender, 10);
    }
    if (facts->behavior)
        put_actor(&t, facts);
    put(&t, ": not recovered: ");
    put(&t, why);
    line[t.length++] = '\n';
    while (write(STDERR_FILENO, line, t.length) < 0 && errno == EINTR)
        ;
}

#endif
