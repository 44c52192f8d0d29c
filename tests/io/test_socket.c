/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "io/socket.h"

Test(socket, listens_on_a_port_that_the_kernel_chose)
{
    int fd = tr_socket_listen("127.0.0.1", 0, 8);
    cr_assert_geq(fd, 0);
    cr_assert_gt(tr_socket_port(fd), 0);
    cr_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    cr_assert_eq(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
    close(fd);
}

Test(socket, localhost_and_ipv6_are_numeric_enough)
{
    int fd = tr_socket_listen("localhost", 0, 8);
    cr_assert_geq(fd, 0);
    close(fd);
    fd = tr_socket_listen("::1", 0, 8);
    cr_assert(fd >= 0 || fd == -EADDRNOTAVAIL || fd == -EAFNOSUPPORT);
    if (fd >= 0)
        close(fd);
}

Test(socket, refuses_a_name_instead_of_looking_it_up)
{
    cr_assert_eq(tr_socket_listen("example.org", 0, 8), -EINVAL);
    cr_assert_eq(tr_socket_listen("", 0, 8), -EINVAL);
    cr_assert_eq(tr_socket_listen("127.0.0.256", 0, 8), -EINVAL);
}

Test(socket, a_port_in_use_is_refused)
{
    int first = tr_socket_listen("127.0.0.1", 0, 8);
    cr_assert_eq(tr_socket_listen("127.0.0.1", (uint16_t)tr_socket_port(first), 8), -EADDRINUSE);
    close(first);
}

Test(socket, prepares_a_connect)
{
    struct sockaddr_storage addr;
    socklen_t addr_len;
    char name[64];
    int fd = tr_socket_connect_prepare("127.0.0.1", 7379, &addr, &addr_len);
    cr_assert_geq(fd, 0);
    cr_assert_eq(addr_len, sizeof(struct sockaddr_in));
    tr_socket_name((struct sockaddr *)&addr, name, sizeof name);
    cr_assert_str_eq(name, "127.0.0.1:7379");
    cr_assert_eq(tr_socket_nodelay(fd), 0);
    close(fd);
    cr_assert_eq(tr_socket_connect_prepare("nowhere", 1, &addr, &addr_len), -EINVAL);
}

Test(socket, names_are_terminated_and_cut_to_the_space)
{
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(80), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    struct sockaddr none = {.sa_family = AF_UNSPEC};
    char name[64], tiny[4];
    tr_socket_name((struct sockaddr *)&v6, name, sizeof name);
    cr_assert_str_eq(name, "[::1]:80");
    tr_socket_name((struct sockaddr *)&v6, tiny, sizeof tiny);
    cr_assert_str_eq(tiny, "[::");
    tr_socket_name((struct sockaddr *)&un, name, sizeof name);
    cr_assert_str_eq(name, "unix");
    tr_socket_name(&none, name, sizeof name);
    cr_assert_str_eq(name, "?");
}

Test(socket, errors_of_the_kernel_come_back_negative)
{
    cr_assert_eq(tr_socket_port(-1), -EBADF);
    cr_assert_eq(tr_socket_nodelay(-1), -EBADF);
}
