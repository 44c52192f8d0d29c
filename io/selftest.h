/* SPDX-License-Identifier: Apache-2.0 */
/* Tries on a throw-away loop what every loop will rely on: a receive into a lent buffer, a cancel, a wait that times
 * out. Owns nothing afterwards. tr_io_create calls it, once, in the thread that creates the io.
 * It is not a probe of kernel versions: only what was seen to work counts. */
#ifndef TR_IO_SELFTEST_H
#define TR_IO_SELFTEST_H

struct tr_io;
struct tr_hooks;

/* Leaves the features that work in io (rung, options.without) and its description in io->describe. Returns 0 or the
 * -errno for the diagnosis; -ENOTSUP: the kernel took the requests and answered wrongly. */
int tr_io_selftest(struct tr_io *io, const struct tr_hooks *hooks);

#endif
