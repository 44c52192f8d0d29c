/* SPDX-License-Identifier: Apache-2.0
 *
 * A planted cycle, with first.h. */
#include "io/first.h"
