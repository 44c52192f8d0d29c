/* SPDX-License-Identifier: Apache-2.0 */
/* What clients, pool and workers say to each other. */
#ifndef POOL_JOB_H
#define POOL_JOB_H

#include <troupe/troupe.h>

/* An ask, of the pool and of its workers; the payload is a struct job. */
enum { JOB };

/* Count the steps of the Collatz sequence from n to 1. There is none from 0: the worker that is given it crashes. */
struct job {
    uint64_t n;
};

/* The reply. */
struct job_result {
    enum job_status {
        JOB_DONE,
        JOB_FAILED, /* its worker crashed */
        JOB_REFUSED /* the waiting line is full: try again later */
    } status;
    uint64_t steps;
};

#endif
