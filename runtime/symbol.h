/* SPDX-License-Identifier: Apache-2.0 */
/* Symbols: from an address in code to its function, file and line, for reports. Any thread, one after the other; the
 * first look-up may take tens of milliseconds, so never on a worker with TR_SYMBOL_DEBUG.
 * What is known of the process's modules is kept between look-ups, and is the same for all runtimes in the process.
 * It takes no backtraces: see backtrace.h. */
#ifndef TR_RUNTIME_SYMBOL_H
#define TR_RUNTIME_SYMBOL_H

#include <troupe/types.h>

/* The best source that may be asked. Each falls back to the ones below it. */
enum tr_symbol_source {
    TR_SYMBOL_MODULE, /* module and offset, as addr2line understands them */
    TR_SYMBOL_LOADER, /* exported functions, from the dynamic loader: microseconds, no files */
    TR_SYMBOL_DEBUG   /* all functions, files, lines and inlined calls, from debug information, if libdw is there */
};

struct tr_symbol {
    char function[128]; /* "": unknown */
    char file[256];     /* "": unknown */
    unsigned line;
    bool inlined;     /* into the function of the next symbol */
    char module[256]; /* path of the program or library; "": unknown */
    uintptr_t offset; /* in the module, as it was linked */
};

/* Looks up the instruction at address. Fills in up to max symbols, at least one: the innermost inlined function first,
 * the function that is really there last. Returns how many. */
unsigned tr_symbol_find(uintptr_t address, enum tr_symbol_source best, struct tr_symbol *out, unsigned max);
/* Frees what is kept; the next look-up begins anew. */
void tr_symbol_forget(void);

#endif
