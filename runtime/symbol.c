/* SPDX-License-Identifier: Apache-2.0 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* dladdr, dl_iterate_phdr */
#endif

#include "runtime/symbol.h"

#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "runtime/dwarf.h"

/* A static program has no loader: then this is NULL, and linking it brings no warning. */
#pragma weak dladdr

struct module_query {
    uintptr_t address;
    struct tr_symbol *out;
};

static bool holds(const struct dl_phdr_info *info, uintptr_t address)
{
    for (size_t i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        if (segment->p_type == PT_LOAD && address - info->dlpi_addr - segment->p_vaddr < segment->p_memsz)
            return true;
    }
    return false;
}

static int look_into_module(struct dl_phdr_info *info, size_t size, void *arg)
{
    struct module_query *query = arg;
    (void)size;
    if (!holds(info, query->address))
        return 0;
    struct tr_symbol *out = query->out;
    out->offset = query->address - info->dlpi_addr;
    ssize_t length;
    if (info->dlpi_name && info->dlpi_name[0])
        snprintf(out->module, sizeof out->module, "%s", info->dlpi_name);
    else if ((length = readlink("/proc/self/exe", out->module, sizeof out->module - 1)) >= 0)
        out->module[length] = '\0';
    return 1;
}

static void find_module(uintptr_t address, struct tr_symbol *out)
{
    *out = (struct tr_symbol){.offset = address};
    dl_iterate_phdr(look_into_module, &(struct module_query){address, out});
}

static void find_exported(uintptr_t address, struct tr_symbol *out)
{
    Dl_info info;
    if (dladdr && dladdr((const void *)address, &info) && info.dli_sname)
        snprintf(out->function, sizeof out->function, "%s", info.dli_sname);
}

unsigned tr_symbol_find(uintptr_t address, enum tr_symbol_source best, struct tr_symbol *out, unsigned max)
{
    struct tr_symbol module;
    find_module(address, &module);
    unsigned count = best == TR_SYMBOL_DEBUG ? tr_dwarf_find(address, out, max) : 0;
    for (unsigned i = 0; i < count; i++) {
        memcpy(out[i].module, module.module, sizeof module.module);
        out[i].offset = module.offset;
    }
    if (count > 0 && out[count - 1].function[0])
        return count;
    out[0] = module;
    if (best != TR_SYMBOL_MODULE)
        find_exported(address, &out[0]);
    return 1;
}

void tr_symbol_forget(void)
{
    tr_dwarf_forget();
}
