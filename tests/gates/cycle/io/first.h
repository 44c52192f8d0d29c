/* SPDX-License-Identifier: Apache-2.0
 *
 * A planted cycle, with second.h. */
#include "io/second.h"
