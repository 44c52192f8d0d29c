/* SPDX-License-Identifier: Apache-2.0 */
/* Making and naming sockets. Owns nothing: the fds are the caller's. Any thread may call; nothing here waits: a
 * host name that is not numeric is refused, not looked up.
 * It is not a stream: see io/stream.h. */
#ifndef TR_IO_SOCKET_H
#define TR_IO_SOCKET_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* Opens a listening TCP socket on a numeric IPv4/IPv6 host (or "localhost"). port 0: chosen by the kernel. Returns the
 * fd (close-on-exec, SO_REUSEADDR), or -errno (-EINVAL: host not numeric). */
int tr_socket_listen(const char *host, uint16_t port, int backlog);
/* Starts nothing: makes the socket and fills addr for a TR_OP_CONNECT. Returns the fd or -errno. */
int tr_socket_connect_prepare(const char *host, uint16_t port, struct sockaddr_storage *addr, socklen_t *addr_len);
int tr_socket_port(int fd); /* local port, or -errno */
int tr_socket_nodelay(int fd);
/* "127.0.0.1:7379", "[::1]:80"; always terminated. */
void tr_socket_name(const struct sockaddr *addr, char *out, size_t size);

#endif
