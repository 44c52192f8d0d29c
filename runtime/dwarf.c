/* SPDX-License-Identifier: Apache-2.0 */
/* One instance for the process, because the modules are the process's: opened at the first look-up, again whenever
 * modules were loaded or unloaded since (the loader counts that), and closed by tr_dwarf_forget. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* dl_iterate_phdr */
#endif

#include "runtime/dwarf.h"

#ifndef TR_HAVE_LIBDW /* built without libdw's headers */

unsigned tr_dwarf_find(uintptr_t address, struct tr_symbol *out, unsigned max)
{
    (void)address, (void)out, (void)max;
    return 0;
}

void tr_dwarf_forget(void) {}

#else

#include <dlfcn.h>
#include <dwarf.h>
#include <elfutils/libdw.h>
#include <elfutils/libdwfl.h>
#include <link.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Not asked for by a static program. dlopen is had through it, because the linker warns of each static program that
 * names dlopen. */
#pragma weak dlsym

#define CALLS(X)                                                                                                       \
    X(dwfl_begin)                                                                                                      \
    X(dwfl_end)                                                                                                        \
    X(dwfl_linux_proc_report)                                                                                          \
    X(dwfl_report_end)                                                                                                 \
    X(dwfl_linux_proc_find_elf)                                                                                        \
    X(dwfl_standard_find_debuginfo)                                                                                    \
    X(dwfl_build_id_find_debuginfo)                                                                                    \
    X(dwfl_addrmodule)                                                                                                 \
    X(dwfl_module_addrname)                                                                                            \
    X(dwfl_module_addrdie)                                                                                             \
    X(dwfl_module_nextcu)                                                                                              \
    X(dwarf_haspc)                                                                                                     \
    X(dwarf_getsrc_die)                                                                                                \
    X(dwarf_linesrc)                                                                                                   \
    X(dwarf_lineno)                                                                                                    \
    X(dwarf_getscopes)                                                                                                 \
    X(dwarf_getscopes_die)                                                                                             \
    X(dwarf_tag)                                                                                                       \
    X(dwarf_diename)                                                                                                   \
    X(dwarf_attr)                                                                                                      \
    X(dwarf_formudata)                                                                                                 \
    X(dwarf_getsrcfiles)                                                                                               \
    X(dwarf_filesrc)

static struct {
    pthread_mutex_t lock; /* guards the rest */
    enum { UNTRIED, LOADED, ABSENT } found;
#define MEMBER(name) __typeof__(name) *(name);
    CALLS(MEMBER)
#undef MEMBER
    Dwfl_Callbacks callbacks;
    Dwfl *open;                                        /* NULL: closed */
    unsigned long long modules_added, modules_removed; /* by the loader, when it was opened */
} dw = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* --- opening ------------------------------------------------------------------------------------------------------ */

/* Separate debug files are looked for on this machine only: with DEBUGINFOD_URLS set, the standard way would go to the
 * network, and the report would wait for it. */
static int find_debuginfo(Dwfl_Module *module, void **userdata, const char *name, Dwarf_Addr base, const char *file,
                          const char *link, GElf_Word crc, char **found)
{
    const char *urls = getenv("DEBUGINFOD_URLS");
    return (urls && urls[0] ? dw.dwfl_build_id_find_debuginfo
                            : dw.dwfl_standard_find_debuginfo)(module, userdata, name, base, file, link, crc, found);
}

/* The first module is the program; a dynamic one names its loader. */
static int has_loader(struct dl_phdr_info *info, size_t size, void *arg)
{
    bool *answer = arg;
    (void)size;
    for (size_t i = 0; i < info->dlpi_phnum; i++)
        *answer |= info->dlpi_phdr[i].p_type == PT_INTERP;
    return 1;
}

/* NULL as well in a static program: there dlopen, if it is there at all, brings a second C library and crashes in it.
 * The library stays loaded for good: its like was not made to be unloaded. */
static void *open_library(void)
{
    bool dynamic = false;
    dl_iterate_phdr(has_loader, &dynamic);
    void *(*open)(const char *, int) =
        dynamic && dlsym ? (void *(*)(const char *, int))dlsym(RTLD_DEFAULT, "dlopen") : NULL;
    return open ? open("libdw.so.1", RTLD_NOW | RTLD_LOCAL) : NULL;
}

static void load(void)
{
    dw.found = ABSENT;
    void *handle = open_library();
    if (!handle)
        return;
#define RESOLVE(name)                                                                                                  \
    if (!(dw.name = (__typeof__(dw.name))dlsym(handle, #name)))                                                        \
        return;
    CALLS(RESOLVE)
#undef RESOLVE
    dw.callbacks = (Dwfl_Callbacks){.find_elf = dw.dwfl_linux_proc_find_elf, .find_debuginfo = find_debuginfo};
    dw.found = LOADED;
}

static int count_modules(struct dl_phdr_info *info, size_t size, void *arg)
{
    unsigned long long *counts = arg;
    (void)size;
    counts[0] = info->dlpi_adds;
    counts[1] = info->dlpi_subs;
    return 1; /* every module tells the same */
}

static void close_modules(void)
{
    if (dw.open)
        dw.dwfl_end(dw.open);
    dw.open = NULL;
}

/* What was opened is of use as long as the modules are the same. */
static bool open_modules(void)
{
    unsigned long long counts[2] = {0, 0};
    if (dw.found == UNTRIED)
        load();
    if (dw.found == ABSENT)
        return false;
    dl_iterate_phdr(count_modules, counts);
    if (dw.open && counts[0] == dw.modules_added && counts[1] == dw.modules_removed)
        return true;
    close_modules();
    dw.open = dw.dwfl_begin(&dw.callbacks);
    if (!dw.open)
        return false;
    if (dw.dwfl_linux_proc_report(dw.open, getpid()) != 0 || dw.dwfl_report_end(dw.open, NULL, NULL) != 0)
        close_modules();
    dw.modules_added = counts[0];
    dw.modules_removed = counts[1];
    return dw.open != NULL;
}

/* --- looking up --------------------------------------------------------------------------------------------------- */

static void set(struct tr_symbol *symbol, const char *function, const char *file, unsigned line)
{
    *symbol = (struct tr_symbol){.line = file ? line : 0};
    snprintf(symbol->function, sizeof symbol->function, "%s", function ? function : "");
    snprintf(symbol->file, sizeof symbol->file, "%s", file ? file : "");
}

/* Where the inlined function stands in the one around it. */
static const char *call_place(Dwarf_Die *unit, Dwarf_Die *inlined, unsigned *line)
{
    Dwarf_Attribute attribute;
    Dwarf_Word file = 0, number = 0;
    Dwarf_Files *files;
    dw.dwarf_formudata(dw.dwarf_attr(inlined, DW_AT_call_line, &attribute), &number);
    *line = (unsigned)number;
    if (dw.dwarf_formudata(dw.dwarf_attr(inlined, DW_AT_call_file, &attribute), &file) != 0 ||
        dw.dwarf_getsrcfiles(unit, &files, NULL) != 0)
        return NULL;
    return dw.dwarf_filesrc(files, file, NULL, NULL);
}

/* From the innermost scope outwards: each inlined function, then the one that they all are inlined into. file and line
 * are those of the instruction itself. */
static unsigned unfold(Dwarf_Die *unit, Dwarf_Die *scopes, int scopes_count, const char *file, unsigned line,
                       struct tr_symbol *out, unsigned max)
{
    unsigned count = 0;
    for (int i = 0; i < scopes_count && count < max; i++) {
        int tag = dw.dwarf_tag(&scopes[i]);
        if (tag != DW_TAG_inlined_subroutine && tag != DW_TAG_subprogram)
            continue;
        set(&out[count], dw.dwarf_diename(&scopes[i]), file, line);
        out[count].inlined = tag == DW_TAG_inlined_subroutine;
        if (!out[count++].inlined)
            break;
        file = call_place(unit, &scopes[i], &line);
    }
    return count;
}

/* The compilation unit, and the address as it counts: by the index that gcc writes, or one by one, for clang writes
 * none. */
static Dwarf_Die *find_unit(Dwfl_Module *module, Dwarf_Addr *address)
{
    Dwarf_Addr bias;
    Dwarf_Die *unit = dw.dwfl_module_addrdie(module, *address, &bias);
    if (!unit)
        while ((unit = dw.dwfl_module_nextcu(module, unit, &bias)) && dw.dwarf_haspc(unit, *address - bias) <= 0) {}
    if (unit)
        *address -= bias;
    return unit;
}

/* By debug information; 0: it has none for this address. */
static unsigned find_scopes(Dwarf_Die *unit, Dwarf_Addr address, const char *file, unsigned line, struct tr_symbol *out,
                            unsigned max)
{
    Dwarf_Die *scopes = NULL, *around = NULL;
    unsigned count = 0;
    if (dw.dwarf_getscopes(unit, address, &scopes) <= 0)
        return 0;
    int around_count = dw.dwarf_getscopes_die(&scopes[0], &around);
    if (around_count > 0)
        count = unfold(unit, around, around_count, file, line, out, max);
    free(around);
    free(scopes);
    return count;
}

static unsigned find(Dwarf_Addr address, struct tr_symbol *out, unsigned max)
{
    int line = 0;
    Dwfl_Module *module = dw.dwfl_addrmodule(dw.open, address);
    if (!module)
        return 0;
    Dwarf_Addr in_unit = address;
    Dwarf_Die *unit = find_unit(module, &in_unit);
    Dwarf_Line *entry = unit ? dw.dwarf_getsrc_die(unit, in_unit) : NULL;
    const char *file = entry ? dw.dwarf_linesrc(entry, NULL, NULL) : NULL;
    if (entry)
        dw.dwarf_lineno(entry, &line);
    unsigned count = unit ? find_scopes(unit, in_unit, file, (unsigned)line, out, max) : 0;
    if (count > 0)
        return count;
    const char *name = dw.dwfl_module_addrname(module, address); /* the symbol table knows static functions too */
    set(&out[0], name, file, (unsigned)line);
    return name ? 1 : 0;
}

unsigned tr_dwarf_find(uintptr_t address, struct tr_symbol *out, unsigned max)
{
    pthread_mutex_lock(&dw.lock);
    unsigned count = open_modules() ? find(address, out, max) : 0;
    pthread_mutex_unlock(&dw.lock);
    return count;
}

void tr_dwarf_forget(void)
{
    pthread_mutex_lock(&dw.lock);
    close_modules();
    pthread_mutex_unlock(&dw.lock);
}

#endif
