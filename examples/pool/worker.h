/* SPDX-License-Identifier: Apache-2.0 */
/* A worker: does one job at a time, as an ask from its pool. It knows neither the waiting line nor the clients. */
#ifndef POOL_WORKER_H
#define POOL_WORKER_H

#include "job.h"

extern const troupe_behavior worker_behavior;

#endif
