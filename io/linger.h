/* SPDX-License-Identifier: Apache-2.0 */
/* Closes a socket whose output has been handed to the kernel while its peer may still be sending. A plain close(2) with
 * unread input makes the kernel send a reset, which throws away output that the peer has not read yet: so input is read
 * and dropped until the peer closes, or for a while. Owns the fd from the call on, and its own memory.
 * Any worker may call. It is not part of a stream: the stream's user is done by then. */
#ifndef TR_IO_LINGER_H
#define TR_IO_LINGER_H

struct tr_loop;

/* fd was shut down for writing and no op on it is in flight. Always ends with close(2); at once when memory is
 * short. */
void tr_linger(struct tr_loop *loop, int fd);

#endif
