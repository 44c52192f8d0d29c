/* SPDX-License-Identifier: Apache-2.0 */
/* Debug information, read by elfutils' libdw, which is loaded when first needed: programs are not linked with it and
 * work without it. For symbol.c only; any thread, one after the other under a lock of its own.
 * It is not for handlers: files are opened, mapped and parsed. */
#ifndef TR_RUNTIME_DWARF_H
#define TR_RUNTIME_DWARF_H

#include "runtime/symbol.h"

/* As tr_symbol_find, but for module and offset. 0: nothing is known of the address. */
unsigned tr_dwarf_find(uintptr_t address, struct tr_symbol *out, unsigned max);
void tr_dwarf_forget(void);

#endif
