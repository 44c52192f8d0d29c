/* SPDX-License-Identifier: Apache-2.0 */
/* Words about a hardware fault: the line on stderr before the process dies, and the text of the crash that it
 * became. The first is async-signal-safe: no stdio, no locks, one write. Owned by the caller; any thread. */
#ifndef TR_RUNTIME_FAULT_REPORT_H
#define TR_RUNTIME_FAULT_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum tr_access { TR_ACCESS_UNKNOWN, TR_ACCESS_READ, TR_ACCESS_WRITE, TR_ACCESS_EXECUTE, TR_ACCESS_STACK_OVERFLOW };

struct tr_fault_facts {
    int signal, code;
    uintptr_t address;
    bool address_known;
    uintptr_t pc;
    enum tr_access access;
    int sender;           /* pid; 0: nobody sent it */
    const char *behavior; /* NULL: no actor ran */
    uint32_t index;       /* of its slot */
    const char *handler;  /* NULL: none */
};

/* "a read of address 0x10 (SIGSEGV) at program+0x1234"; cut at size, terminated. Async-signal-safe. */
void tr_fault_describe(const struct tr_fault_facts *facts, char *out, size_t size);
/* One line to stderr: all that, and why it is not recovered. Async-signal-safe. */
void tr_fault_report(const struct tr_fault_facts *facts, const char *why);

#endif
