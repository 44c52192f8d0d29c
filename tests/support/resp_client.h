/* SPDX-License-Identifier: Apache-2.0 */
/* Owns one RESP2 connection of a test: commands and raw bytes out, replies in, as text that tests compare.
 * A Criterion test may call it; a time-out, a broken connection or a malformed reply fails that test.
 * It is not the server's parser: it shares no code with what it tests. */
#ifndef TR_TESTS_SUPPORT_RESP_CLIENT_H
#define TR_TESTS_SUPPORT_RESP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>

struct client {
    int fd;
    char *in; /* received and not yet taken: in[at..len) */
    size_t at, len, cap;
    char *shown; /* the last reply as text */
};

struct client client_connect(unsigned port);
void client_close(struct client *c);

/* client_send - all of these bytes. */
void client_send(struct client *c, const void *bytes, size_t len);
void client_send_text(struct client *c, const char *text);

/* client_send_line - the words of a line, split at single blanks, as one multibulk command. */
void client_send_line(struct client *c, const char *line);

/* client_send_args - one multibulk command; lens: NULL when all are C strings. */
void client_send_args(struct client *c, size_t argc, const char *const argv[], const size_t lens[]);

/* client_reply - wait for one whole reply. As text: +OK, -ERR …, :1, "a bulk" with \xNN for what is not printable, nil,
 * [element element]. It belongs to the client until the next reply. */
const char *client_reply(struct client *c);

/* client_ask - client_send_line, then client_reply. */
const char *client_ask(struct client *c, const char *line);

/* client_take - wait for the next len bytes as they are; they belong to the client until the next call. */
const char *client_take(struct client *c, size_t len);

/* client_ended - wait until the server closes the connection; true when nothing came before that. */
bool client_ended(struct client *c);

/* client_try - as client_send_line and client_reply, but NULL when the connection has gone. */
const char *client_try(struct client *c, const char *line);

#endif
