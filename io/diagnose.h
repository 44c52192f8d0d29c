/* SPDX-License-Identifier: Apache-2.0 */
/* Why the kernel refuses io_uring, and what the user can do about it. Owns nothing; any thread may call.
 * It is not a probe: it explains an error that has already been seen. */
#ifndef TR_IO_DIAGNOSE_H
#define TR_IO_DIAGNOSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is known of the process and the kernel. */
struct tr_refusal_facts {
    int io_uring_disabled;  /* sysctl kernel.io_uring_disabled: 0, 1, 2; -1 unknown or absent */
    int seccomp;            /* /proc/self/status Seccomp: 0 none, 1 strict, 2 filter; -1 unknown */
    bool root;              /* effective uid 0 */
    uint64_t memlock_bytes; /* soft RLIMIT_MEMLOCK; UINT64_MAX: unlimited */
    uint64_t files;         /* soft RLIMIT_NOFILE */
    char kernel[64];        /* release, as uname -r gives it */
};

void tr_diagnose_facts(struct tr_refusal_facts *facts);
/* Pure. Writes one sentence or two: cause and remedy, for the negative errno `error`. Always terminated. */
void tr_diagnose_refusal(int error, const struct tr_refusal_facts *facts, char *out, size_t size);
/* Both. */
void tr_diagnose(int error, char *out, size_t size);

#endif
