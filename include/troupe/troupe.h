/* SPDX-License-Identifier: Apache-2.0 */
/* Troupe: a work-stealing multicore actor runtime with supervision, for Linux. This header includes all the others.
 * Start with troupe_run (runtime.h) and troupe_behavior (actor.h); examples/hello.c is a whole program.
 * Statuses are 0 or -errno; troupe_strerror says cause and remedy. */
#ifndef TROUPE_TROUPE_H
#define TROUPE_TROUPE_H

#include <troupe/actor.h>
#include <troupe/crash.h>
#include <troupe/file.h>
#include <troupe/group.h>
#include <troupe/log.h>
#include <troupe/message.h>
#include <troupe/monitor.h>
#include <troupe/net.h>
#include <troupe/offload.h>
#include <troupe/own.h>
#include <troupe/quarantine.h>
#include <troupe/registry.h>
#include <troupe/router.h>
#include <troupe/runtime.h>
#include <troupe/stash.h>
#include <troupe/supervision.h>
#include <troupe/timer.h>
#include <troupe/token.h>
#include <troupe/topic.h>
#include <troupe/types.h>

#endif
