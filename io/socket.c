/* SPDX-License-Identifier: Apache-2.0 */
#include "io/socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int parse(const char *host, uint16_t port, struct sockaddr_storage *addr, socklen_t *addr_len)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)addr;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)addr;
    memset(addr, 0, sizeof *addr);
    if (strcmp(host, "localhost") == 0)
        host = "127.0.0.1";
    if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        *addr_len = sizeof *v4;
        return 0;
    }
    if (inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        *addr_len = sizeof *v6;
        return 0;
    }
    return -EINVAL;
}

static int set_flag(int fd, int level, int name)
{
    int on = 1;
    return setsockopt(fd, level, name, &on, sizeof on) == 0 ? 0 : -errno;
}

int tr_socket_listen(const char *host, uint16_t port, int backlog)
{
    struct sockaddr_storage addr;
    socklen_t addr_len;
    int error = parse(host, port, &addr, &addr_len);
    if (error)
        return error;
    int fd = socket(addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    error = set_flag(fd, SOL_SOCKET, SO_REUSEADDR);
    if (!error && bind(fd, (struct sockaddr *)&addr, addr_len) != 0)
        error = -errno;
    if (!error && listen(fd, backlog) != 0)
        error = -errno;
    if (!error)
        return fd;
    close(fd);
    return error;
}

int tr_socket_connect_prepare(const char *host, uint16_t port, struct sockaddr_storage *addr, socklen_t *addr_len)
{
    int error = parse(host, port, addr, addr_len);
    if (error)
        return error;
    int fd = socket(addr->ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return fd < 0 ? -errno : fd;
}

int tr_socket_port(int fd)
{
    struct sockaddr_storage addr = {.ss_family = AF_UNSPEC};
    socklen_t addr_len = sizeof addr;
    if (getsockname(fd, (struct sockaddr *)&addr, &addr_len) != 0)
        return -errno;
    if (addr.ss_family == AF_INET)
        return ntohs(((const struct sockaddr_in *)&addr)->sin_port);
    if (addr.ss_family == AF_INET6)
        return ntohs(((const struct sockaddr_in6 *)&addr)->sin6_port);
    return -EAFNOSUPPORT;
}

int tr_socket_nodelay(int fd)
{
    return set_flag(fd, IPPROTO_TCP, TCP_NODELAY);
}

void tr_socket_name(const struct sockaddr *addr, char *out, size_t size)
{
    char host[INET6_ADDRSTRLEN] = "?";
    if (addr->sa_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)addr;
        inet_ntop(AF_INET, &v4->sin_addr, host, sizeof host);
        snprintf(out, size, "%s:%u", host, ntohs(v4->sin_port));
    } else if (addr->sa_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)addr;
        inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof host);
        snprintf(out, size, "[%s]:%u", host, ntohs(v6->sin6_port));
    } else if (addr->sa_family == AF_UNIX) {
        snprintf(out, size, "unix");
    } else {
        snprintf(out, size, "?");
    }
}
