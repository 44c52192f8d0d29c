/* SPDX-License-Identifier: Apache-2.0 */
/* Owns several pipelined connections that write numbered values and remember which of them were acknowledged;
 * afterwards they can say whether a server lost any. One test may call it.
 * It is not a benchmark, and starts no server. */
#ifndef TR_TESTS_INTEGRATION_WRITERS_H
#define TR_TESTS_INTEGRATION_WRITERS_H

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <criterion/criterion.h>

#include "tests/support/process.h"
#include "tests/support/resp_client.h"

enum { WRITERS = 4, WRITER_WINDOW = 16, WRITER_KEYS = 100 };

/* One connection. Its n-th SET (from 1) goes to its key n % WRITER_KEYS, with a value that begins with n; so of each
 * key the number found must be at least the last one acknowledged. */
struct writer {
    struct client client;
    unsigned sent, answered;
    unsigned acked[WRITER_KEYS]; /* the last number acknowledged with OK */
    bool over;                   /* the connection has ended */
};

struct writers {
    struct writer writer[WRITERS];
    unsigned long acks, refusals;
    char refusal[256]; /* the last error reply */
    char *padding;
};

static inline void writers_connect(struct writers *w, unsigned port)
{
    for (int i = 0; i < WRITERS; i++) {
        w->writer[i].client = client_connect(port);
        w->writer[i].sent = w->writer[i].answered;
        w->writer[i].over = false;
    }
}

/* value_len - bytes of each value, about. */
static inline struct writers *writers_start(unsigned port, size_t value_len)
{
    struct writers *w = calloc(1, sizeof *w);
    cr_assert_not_null(w);
    w->padding = malloc(value_len + 1);
    cr_assert_not_null(w->padding);
    memset(w->padding, '.', value_len);
    w->padding[value_len] = '\0';
    writers_connect(w, port);
    return w;
}

static inline void writers_close(struct writers *w)
{
    for (int i = 0; i < WRITERS; i++)
        client_close(&w->writer[i].client);
}

static inline void writers_free(struct writers *w)
{
    free(w->padding);
    free(w);
}

/* Keys are key0, key1, ... over all writers, so that a test can name one of them. */
static inline void writer_send(struct writers *w, int i)
{
    struct writer *writer = &w->writer[i];
    char text[128];
    unsigned n = ++writer->sent;
    int key = snprintf(text, sizeof text, "key%u", (n % WRITER_KEYS) * WRITERS + (unsigned)i);
    char number[32];
    int digits = snprintf(number, sizeof number, "%u:", n);
    size_t padding = strlen(w->padding);
    int head = snprintf(text, sizeof text, "*3\r\n$3\r\nSET\r\n$%d\r\nkey%u\r\n$%zu\r\n%s", key,
                        (n % WRITER_KEYS) * WRITERS + (unsigned)i, (size_t)digits + padding, number);
    char *bytes = malloc((size_t)head + padding + 2);
    cr_assert_not_null(bytes);
    memcpy(bytes, text, (size_t)head);
    memcpy(bytes + head, w->padding, padding);
    memcpy(bytes + (size_t)head + padding, "\r\n", 2);
    size_t left = (size_t)head + padding + 2;
    for (const char *at = bytes; left > 0 && !writer->over;) {
        ssize_t sent = send(writer->client.fd, at, left, MSG_NOSIGNAL);
        if (sent < 0)
            writer->over = true;
        else
            at += sent, left -= (size_t)sent;
    }
    free(bytes);
}

/* Takes what has been answered. Replies are read from the socket even after the server died: what had been sent
 * counts. */
static inline void writer_receive(struct writers *w, int i)
{
    struct writer *writer = &w->writer[i];
    struct client *c = &writer->client;
    if (c->cap == 0) {
        c->cap = 65536;
        c->in = malloc(c->cap);
        cr_assert_not_null(c->in);
    }
    ssize_t n = recv(c->fd, c->in + c->len, c->cap - c->len, 0);
    if (n <= 0) {
        writer->over = true;
        return;
    }
    c->len += (size_t)n;
    for (char *end; (end = memchr(c->in + c->at, '\n', c->len - c->at));) {
        const char *line = c->in + c->at;
        unsigned number = ++writer->answered;
        if (strncmp(line, "+OK\r", 4) == 0) {
            writer->acked[number % WRITER_KEYS] = number;
            w->acks++;
        } else {
            cr_assert_eq(line[0], '-', "neither OK nor an error: %.*s", (int)(end - line), line);
            snprintf(w->refusal, sizeof w->refusal, "%.*s", (int)(end - line - 1), line);
            w->refusals++;
        }
        c->at = (size_t)(end - c->in) + 1;
    }
    memmove(c->in, c->in + c->at, c->len - c->at);
    c->len -= c->at;
    c->at = 0;
}

/* Waits for replies; false when every connection has ended. */
static inline bool writers_wait(struct writers *w)
{
    struct pollfd fds[WRITERS];
    int open = 0;
    for (int i = 0; i < WRITERS; i++) {
        fds[i] = (struct pollfd){.fd = w->writer[i].over ? -1 : w->writer[i].client.fd, .events = POLLIN};
        open += !w->writer[i].over;
    }
    if (open == 0)
        return false;
    cr_assert_gt(poll(fds, WRITERS, PATIENCE_MS), 0, "no write was answered in %d ms", PATIENCE_MS);
    for (int i = 0; i < WRITERS; i++)
        if (fds[i].revents)
            writer_receive(w, i);
    return true;
}

/* Write until so many more have been answered; requests stay in flight. */
static inline void writers_go_on(struct writers *w, unsigned long count)
{
    unsigned long until = w->acks + w->refusals + count;
    do {
        for (int i = 0; i < WRITERS; i++)
            while (!w->writer[i].over && w->writer[i].sent - w->writer[i].answered < WRITER_WINDOW)
                writer_send(w, i);
    } while (w->acks + w->refusals < until && writers_wait(w));
}

/* Wait for the replies in flight, send nothing more; also for what a dead server had still sent. Closes. */
static inline void writers_finish(struct writers *w)
{
    for (;;) {
        bool waiting = false;
        for (int i = 0; i < WRITERS; i++)
            waiting |= !w->writer[i].over && w->writer[i].answered < w->writer[i].sent;
        if (!waiting)
            break;
        writers_wait(w);
    }
    writers_close(w);
}

/* Is everything acknowledged there? */
static inline void writers_check(const struct writers *w, unsigned port)
{
    struct client c = client_connect(port);
    for (unsigned i = 0; i < WRITERS; i++)
        for (unsigned k = 0; k < WRITER_KEYS; k++) {
            unsigned acked = w->writer[i].acked[k];
            char line[32];
            if (acked == 0)
                continue;
            snprintf(line, sizeof line, "GET key%u", k * WRITERS + i);
            const char *reply = client_ask(&c, line);
            unsigned found = reply[0] == '"' ? (unsigned)strtoul(reply + 1, NULL, 10) : 0;
            cr_assert(found >= acked && found <= w->writer[i].sent && found % WRITER_KEYS == k,
                      "key%u: %u was acknowledged, %u is there (%.40s)", k * WRITERS + i, acked, found, reply);
        }
    client_close(&c);
}

#endif
