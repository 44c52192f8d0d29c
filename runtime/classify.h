/* SPDX-License-Identifier: Apache-2.0 */
/* Whose code was it? Decides whether a fault hit user code and nothing else: whether every frame from the faulting
 * instruction to the boundary, where an activation begins, is known and may be abandoned. In doubt it refuses.
 * tr_classify_prepare is called under fault.c's lock before the handlers are installed; from then on all is constant
 * and any thread may ask, in a signal handler too. It does not recover anything. */
#ifndef TR_RUNTIME_CLASSIFY_H
#define TR_RUNTIME_CLASSIFY_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/unwind.h"

enum tr_origin {
    TR_ORIGIN_UNKNOWN, /* in no module, or where a module has no code */
    TR_ORIGIN_USER,    /* the main program, the library's own code and malloc aside */
    TR_ORIGIN_RUNTIME,
    TR_ORIGIN_LIBC,
    TR_ORIGIN_LIBRARY, /* all others, the dynamic linker too */
};

struct tr_classify {
    struct tr_unwind at;   /* in: the machine at the fault, and the stack's bounds */
    uintptr_t boundary;    /* in: the frame address of the function that TR_LAND marked */
    uintptr_t address;     /* in: si_addr */
    bool address_known;    /* in: the CPU told it */
    uintptr_t landing_sp;  /* out: the stack pointer in that function */
    unsigned frames_max;   /* in */
    unsigned frames_count; /* out, also when refused */
    uintptr_t *frames;     /* out: return addresses, innermost first */
};

/* Looks at the program. NULL: faults can be told apart; else why not. */
const char *tr_classify_prepare(void);
enum tr_origin tr_classify_pc(uintptr_t pc);
/* NULL: recover; else why not. Async-signal-safe. */
const char *tr_classify(struct tr_classify *c);

#endif
