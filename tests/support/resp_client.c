/* SPDX-License-Identifier: Apache-2.0 */
#include "resp_client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "process.h"

struct client client_connect(unsigned port)
{
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct client c = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    cr_assert_geq(c.fd, 0, "socket: %s", strerror(errno));
    cr_assert_eq(connect(c.fd, (struct sockaddr *)&to, sizeof to), 0, "connect: %s", strerror(errno));
    int on = 1;
    setsockopt(c.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return c;
}

void client_close(struct client *c)
{
    close(c->fd);
    free(c->in);
    free(c->shown);
    *c = (struct client){.fd = -1};
}

/* --- sending --- */

static void wait_for(const struct client *c, short events)
{
    struct pollfd ready = {.fd = c->fd, .events = events};
    cr_assert_gt(poll(&ready, 1, PATIENCE_MS), 0, "the server let the client wait for %d ms", PATIENCE_MS);
}

/* false: the connection is gone. */
static bool send_all(struct client *c, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = send(c->fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return false;
        if (n < 0)
            wait_for(c, POLLOUT);
        else
            bytes += n, len -= (size_t)n;
    }
    return true;
}

void client_send(struct client *c, const void *bytes, size_t len)
{
    cr_assert(send_all(c, bytes, len), "send: %s", strerror(errno));
}

void client_send_text(struct client *c, const char *text)
{
    client_send(c, text, strlen(text));
}

/* Command as multibulk; the caller's to free. */
static char *encode(size_t argc, const char *const argv[], const size_t lens[], size_t *size)
{
    char *bytes = NULL;
    FILE *out = open_memstream(&bytes, size);
    cr_assert_not_null(out);
    fprintf(out, "*%zu\r\n", argc);
    for (size_t i = 0; i < argc; i++) {
        size_t len = lens ? lens[i] : strlen(argv[i]);
        fprintf(out, "$%zu\r\n", len);
        fwrite(argv[i], 1, len, out);
        fputs("\r\n", out);
    }
    fclose(out);
    return bytes;
}

void client_send_args(struct client *c, size_t argc, const char *const argv[], const size_t lens[])
{
    size_t size;
    char *bytes = encode(argc, argv, lens, &size);
    client_send(c, bytes, size);
    free(bytes);
}

enum { WORDS_MAX = 256 };

static char *encode_line(const char *line, size_t *size)
{
    const char *argv[WORDS_MAX];
    size_t lens[WORDS_MAX], argc = 0;
    for (const char *at = line; at; argc++) {
        cr_assert_lt(argc, WORDS_MAX);
        const char *blank = strchr(at, ' ');
        argv[argc] = at;
        lens[argc] = blank ? (size_t)(blank - at) : strlen(at);
        at = blank ? blank + 1 : NULL;
    }
    return encode(argc, argv, lens, size);
}

void client_send_line(struct client *c, const char *line)
{
    size_t size;
    char *bytes = encode_line(line, &size);
    client_send(c, bytes, size);
    free(bytes);
}

/* --- receiving --- */

/* Receives some more; false: the server has closed. */
static bool receive(struct client *c)
{
    if (c->at > 0 && (c->at == c->len || c->at > c->cap / 2)) {
        memmove(c->in, c->in + c->at, c->len - c->at);
        c->len -= c->at;
        c->at = 0;
    }
    if (c->len == c->cap) {
        c->cap = c->cap ? 2 * c->cap : 4096;
        c->in = realloc(c->in, c->cap);
        cr_assert_not_null(c->in);
    }
    wait_for(c, POLLIN);
    ssize_t n = recv(c->fd, c->in + c->len, c->cap - c->len, 0);
    if (n > 0)
        c->len += (size_t)n;
    return n > 0;
}

const char *client_take(struct client *c, size_t len)
{
    while (c->len - c->at < len)
        cr_assert(receive(c), "the server has closed the connection in the middle of a reply");
    const char *bytes = c->in + c->at;
    c->at += len;
    return bytes;
}

/* One line without its end, copied to out. */
static bool take_line(struct client *c, char *out, size_t size)
{
    for (;;) {
        const char *from = c->in + c->at;
        const char *end = c->len > c->at ? memchr(from, '\n', c->len - c->at) : NULL;
        if (end) {
            size_t len = (size_t)(end - from);
            cr_assert(len > 0 && end[-1] == '\r' && len < size, "a malformed line: %.*s", (int)len, from);
            memcpy(out, from, len - 1);
            out[len - 1] = '\0';
            c->at += len + 1;
            return true;
        }
        if (!receive(c))
            return false;
    }
}

static void show_bulk(struct client *c, size_t len, FILE *out)
{
    const char *bytes = client_take(c, len + 2);
    cr_assert_eq(memcmp(bytes + len, "\r\n", 2), 0, "a bulk without its end");
    fputc('"', out);
    for (size_t i = 0; i < len; i++) {
        unsigned char byte = (unsigned char)bytes[i];
        if (byte < ' ' || byte > '~' || byte == '"' || byte == '\\')
            fprintf(out, "\\x%02x", byte);
        else
            fputc(byte, out);
    }
    fputc('"', out);
}

static bool show_reply(struct client *c, FILE *out)
{
    char line[4096];
    if (!take_line(c, line, sizeof line))
        return false;
    long count = strtol(line + 1, NULL, 10);
    switch (line[0]) {
    case '+':
    case '-':
    case ':':
        fputs(line, out);
        return true;
    case '$':
        if (count < 0)
            fputs("nil", out);
        else
            show_bulk(c, (size_t)count, out);
        return true;
    case '*':
        if (count < 0) {
            fputs("nil array", out);
            return true;
        }
        fputc('[', out);
        for (long i = 0; i < count; i++) {
            fputs(i ? " " : "", out);
            if (!show_reply(c, out))
                return false;
        }
        fputc(']', out);
        return true;
    default:
        cr_assert_fail("a malformed reply: %s", line);
        return false;
    }
}

static const char *reply_or_null(struct client *c)
{
    size_t size;
    free(c->shown);
    c->shown = NULL;
    FILE *out = open_memstream(&c->shown, &size);
    cr_assert_not_null(out);
    bool whole = show_reply(c, out);
    fclose(out);
    return whole ? c->shown : NULL;
}

const char *client_reply(struct client *c)
{
    const char *reply = reply_or_null(c);
    cr_assert_not_null(reply, "the server has closed the connection instead of replying");
    return reply;
}

const char *client_ask(struct client *c, const char *line)
{
    client_send_line(c, line);
    return client_reply(c);
}

const char *client_try(struct client *c, const char *line)
{
    size_t size;
    char *bytes = encode_line(line, &size);
    bool sent = send_all(c, bytes, size);
    free(bytes);
    return sent ? reply_or_null(c) : NULL;
}

bool client_ended(struct client *c)
{
    bool silent = c->at == c->len;
    while (receive(c))
        silent = false, c->at = c->len;
    return silent;
}
