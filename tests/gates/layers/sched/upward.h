/* SPDX-License-Identifier: Apache-2.0
 *
 * A planted breach: the scheduler knows the I/O layer. */
#include "io/loop.h"
