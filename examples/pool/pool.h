/* SPDX-License-Identifier: Apache-2.0 */
/* A pool: supervises its workers and gives each one job at a time. Jobs that find all workers busy wait in a line; when
 * the line is full they are refused at once, so that memory is bounded and clients learn that they are too fast. Each
 * job is answered exactly once, also if its worker or the pool itself crashes (then the ask comes back with a
 * status). */
#ifndef POOL_POOL_H
#define POOL_POOL_H

#include "job.h"

#define POOL_WORKERS_MAX 64
#define POOL_LINE_MAX 32

struct pool_args {
    unsigned workers; /* 1 to POOL_WORKERS_MAX */
};

extern const troupe_behavior pool_behavior; /* JOB asks are answered with struct job_result */

#endif
