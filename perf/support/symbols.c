/* SPDX-License-Identifier: Apache-2.0 */
#include "perf/support/symbols.h"

#include <link.h>
#include <stdio.h>
#include <string.h>

#define FUNCTIONS_MAX 128u

struct function {
    uintptr_t address;
    char behaviors[96];
    const char *what;
};

struct symbols {
    struct function functions[FUNCTIONS_MAX];
    unsigned count;
};

/* An address on its way to an offset. */
struct place {
    uintptr_t address, offset;
};

static int look_into(struct dl_phdr_info *object, size_t size, void *arg)
{
    struct place *place = arg;
    (void)size;
    for (unsigned i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
        uintptr_t begin = object->dlpi_addr + segment->p_vaddr;
        if (segment->p_type == PT_LOAD && place->address >= begin && place->address < begin + segment->p_memsz) {
            place->offset = place->address - begin + segment->p_offset;
            return 1;
        }
    }
    return 0;
}

/* In the file that it was loaded from. */
static uintptr_t offset_of(uintptr_t address)
{
    struct place place = {address, 0};
    dl_iterate_phdr(look_into, &place);
    return place.offset;
}

static struct function *function_at(struct symbols *symbols, uintptr_t address, const char *what)
{
    for (unsigned i = 0; i < symbols->count; i++)
        if (symbols->functions[i].address == address)
            return &symbols->functions[i];
    if (symbols->count == FUNCTIONS_MAX)
        return NULL;
    struct function *function = &symbols->functions[symbols->count++];
    *function = (struct function){.address = address, .what = what};
    return function;
}

static void add(struct symbols *symbols, uintptr_t address, const char *behavior, const char *what)
{
    struct function *function = address ? function_at(symbols, address, what) : NULL;
    if (!function || strcmp(function->behaviors, behavior) == 0)
        return;
    size_t used = strlen(function->behaviors);
    snprintf(function->behaviors + used, sizeof function->behaviors - used, "%s%s", used ? "|" : "", behavior);
}

static void add_behavior(struct symbols *symbols, const troupe_behavior *behavior)
{
    const char *name = behavior->name;
    add(symbols, (uintptr_t)behavior->started, name, "started");
    add(symbols, (uintptr_t)behavior->restarted, name, "restarted");
    add(symbols, (uintptr_t)behavior->crashed, name, "crashed");
    add(symbols, (uintptr_t)behavior->stopped, name, "stopped");
    add(symbols, (uintptr_t)behavior->child_stopped, name, "child_stopped");
    add(symbols, (uintptr_t)behavior->child_escalated, name, "child_escalated");
    add(symbols, (uintptr_t)behavior->child_replaced, name, "child_replaced");
    for (unsigned i = 0; i < TROUPE_KINDS_MAX; i++)
        add(symbols, (uintptr_t)behavior->handlers[i].fn, name, behavior->handlers[i].name);
}

static void collect(struct symbols *symbols, const struct tr_case *code)
{
    for (unsigned i = 0; i < sizeof code->behaviors / sizeof code->behaviors[0] && code->behaviors[i]; i++)
        add_behavior(symbols, code->behaviors[i]);
}

bool tr_symbols_write(const struct tr_case *code, const char *path)
{
    struct symbols symbols = {.count = 0};
    FILE *file = fopen(path, "w");
    if (!file) {
        fprintf(stderr, "cannot write %s: %m\n", path);
        return false;
    }
    collect(&symbols, code);
    for (unsigned i = 0; i < symbols.count; i++)
        fprintf(file, "%lx %s.%s\n", (unsigned long)offset_of(symbols.functions[i].address),
                symbols.functions[i].behaviors, symbols.functions[i].what ? symbols.functions[i].what : "?");
    for (unsigned i = 0; i < sizeof code->frames / sizeof code->frames[0] && code->frames[i].fn; i++)
        fprintf(file, "%lx %s\n", (unsigned long)offset_of((uintptr_t)code->frames[i].fn), code->frames[i].name);
    return fclose(file) == 0;
}
