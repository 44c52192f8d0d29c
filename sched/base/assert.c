/* SPDX-License-Identifier: Apache-2.0 */
#include "sched/base/assert.h"

#include <stdio.h>
#include <stdlib.h>

void tr_assert_failed(const char *cond, const char *file, int line)
{
    fprintf(stderr, "troupe: broken invariant `%s` at %s:%d: this is a bug in troupe, please report it\n", cond, file,
            line);
    abort();
}
