/*
 * Matrix's client-server API over HTTP/1.1 without TLS, one connection each. A sender makes a room
 * of two and writes into it; its requests follow each other without waiting for the answers, which
 * come in the same order. A receiver joins, and asks for what is new again and again; it sends no
 * receipts.
 *
 *     register ─► [sender: createRoom] ─► ready
 *                 [receiver: sync until there is an invitation ─► join] ─► ready, sync …
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "peer.h"

enum { REGISTERS, WAITS_FOR_ROOM, JOINS, READY };

enum { TOKEN_MAX = 512, SINCE_MAX = 256, ROOM_MAX = 256 };

/* struct client's own */
struct matrix {
    char token[TOKEN_MAX];
    char since[SINCE_MAX];
    char room[ROOM_MAX];
};

#define API "/_matrix/client/v3"
/* {"room":{"timeline":{"limit":100}}} */
#define FILTER "%7B%22room%22%3A%7B%22timeline%22%3A%7B%22limit%22%3A100%7D%7D%7D"

/* Who registers is new: rooms and invitations of an earlier run are not theirs. */
static void name_of(uint32_t pair, bool sends, char out[32])
{
    static long long began;
    began = began ? began : (long long)time(NULL);
    (void)snprintf(out, 32, "%c%ux%lld", sends ? 's' : 'r', pair, began);
}

static void put_request(struct load *l, const struct client *c, const char *method,
                        const char *path, const char *body)
{
    const struct matrix *m = c->own;
    peer_putf(l, "%s " API "%s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %zu\r\n", method,
              path, strlen(body));
    if (m->token[0] != '\0') {
        peer_putf(l, "Authorization: Bearer %s\r\n", m->token);
    }
    peer_putf(l, "\r\n%s", body);
}

static void open_connection(struct load *l, struct client *c)
{
    char name[32];
    char body[256];
    c->own = calloc(1, sizeof(struct matrix));
    if (!c->own) {
        peer_die("out of memory");
    }
    c->step = REGISTERS;
    name_of(c->pair, c->sends, name);
    (void)snprintf(body, sizeof(body),
                   "{\"auth\":{\"type\":\"m.login.dummy\"},\"username\":\"%s\","
                   "\"password\":\"of-a-measurement\"}",
                   name);
    put_request(l, c, "POST", "/register", body);
}

/* Room ids have a "!" and a ":", which a path has to have encoded. */
static void put_room(const struct matrix *m, char out[3 * ROOM_MAX])
{
    size_t n = 0;
    for (const char *p = m->room; *p; p++) {
        bool plain = *p != '!' && *p != ':' && *p != '/';
        n += (size_t)snprintf(out + n, 3 * ROOM_MAX - n, plain ? "%c" : "%%%02X", *p);
    }
    out[n] = '\0';
}

static void put_message(struct load *l, const struct client *c, uint32_t number, const char *text,
                        size_t n)
{
    char room[3 * ROOM_MAX];
    char path[4 * ROOM_MAX];
    char body[PEER_TEXT_MAX + 64];
    put_room(c->own, room);
    (void)snprintf(path, sizeof(path), "/rooms/%s/send/m.room.message/%u", room, number);
    (void)snprintf(body, sizeof(body), "{\"msgtype\":\"m.text\",\"body\":\"%.*s\"}", (int)n, text);
    put_request(l, c, "PUT", path, body);
}

static void put_sync(struct load *l, const struct client *c)
{
    const struct matrix *m = c->own;
    char path[SINCE_MAX + 128];
    (void)snprintf(path, sizeof(path), "/sync?timeout=30000&filter=%s%s%s", FILTER,
                   m->since[0] != '\0' ? "&since=" : "", m->since);
    put_request(l, c, "GET", path, "");
}

/* ---- What comes ---- */

/* The string after `key` (with what is between), into out. False: it is not there. */
static bool string_after(const char *p, size_t n, const char *key, char *out, size_t max)
{
    const char *at = memmem(p, n, key, strlen(key));
    if (!at) {
        return false;
    }
    at += strlen(key);
    const char *end = memchr(at, '"', n - (size_t)(at - p));
    if (!end || (size_t)(end - at) >= max) {
        peer_die("an answer is not understood: %.*s", (int)MIN(n, 300), p);
    }
    memcpy(out, at, (size_t)(end - at));
    out[end - at] = '\0';
    return true;
}

static void need(bool there, const char *p, size_t n)
{
    if (!there) {
        peer_die("an answer is not understood: %.*s", (int)MIN(n, 300), p);
    }
}

static void take_registered(struct load *l, struct client *c, const char *p, size_t n)
{
    struct matrix *m = c->own;
    char name[32];
    char body[256];
    need(string_after(p, n, "\"access_token\":\"", m->token, sizeof(m->token)), p, n);
    c->step = WAITS_FOR_ROOM;
    if (!c->sends) {
        put_sync(l, c);
        return;
    }
    name_of(c->pair, false, name);
    (void)snprintf(body, sizeof(body),
                   "{\"preset\":\"trusted_private_chat\",\"is_direct\":true,"
                   "\"invite\":[\"@%s:localhost\"]}",
                   name);
    put_request(l, c, "POST", "/createRoom", body);
}

static void take_invitation(struct load *l, struct client *c, const char *p, size_t n)
{
    struct matrix *m = c->own;
    char room[3 * ROOM_MAX];
    char path[4 * ROOM_MAX];
    if (!string_after(p, n, "\"invite\":{\"", m->room, sizeof(m->room))) {
        put_sync(l, c);
        return;
    }
    c->step = JOINS;
    put_room(m, room);
    (void)snprintf(path, sizeof(path), "/rooms/%s/join", room);
    put_request(l, c, "POST", path, "{}");
}

static void take_texts(struct load *l, const struct client *c, const char *p, size_t n)
{
    static const char key[] = "\"body\":\"";
    const char *end = p + n;
    while ((p = memmem(p, (size_t)(end - p), key, sizeof(key) - 1)) != NULL) {
        p += sizeof(key) - 1;
        const char *quote = memchr(p, '"', (size_t)(end - p));
        need(quote != NULL, p, (size_t)(end - p));
        peer_delivered(l, c, p, (size_t)(quote - p));
        p = quote;
    }
}

static void take_sender(struct load *l, struct client *c, const char *p, size_t n)
{
    struct matrix *m = c->own;
    switch (c->step) {
    case REGISTERS:
        take_registered(l, c, p, n);
        break;
    case WAITS_FOR_ROOM:
        need(string_after(p, n, "\"room_id\":\"", m->room, sizeof(m->room)), p, n);
        c->step = READY;
        peer_ready(l);
        break;
    default:
        need(memmem(p, n, "\"event_id\"", 10) != NULL, p, n);
        peer_acked(l, c);
        break;
    }
}

static void take_receiver(struct load *l, struct client *c, const char *p, size_t n)
{
    struct matrix *m = c->own;
    if (c->step != REGISTERS && c->step != JOINS) {
        need(string_after(p, n, "\"next_batch\":\"", m->since, sizeof(m->since)), p, n);
    }
    switch (c->step) {
    case REGISTERS:
        take_registered(l, c, p, n);
        break;
    case WAITS_FOR_ROOM:
        take_invitation(l, c, p, n);
        break;
    case JOINS:
        c->step = READY;
        peer_ready(l);
        put_sync(l, c);
        break;
    default:
        take_texts(l, c, p, n);
        put_sync(l, c);
        break;
    }
}

/* What follows the name of a header, whose name is `key` with a line's end before it; or NULL. */
static const char *header(const char *p, size_t n, const char *key)
{
    size_t len = strlen(key);
    for (size_t i = 0; i + len < n; i++) {
        if (strncasecmp(p + i, key, len) == 0) {
            return p + i + len;
        }
    }
    return NULL;
}

/* Puts the chunks at p together; the bytes that they take, 0 while the last has not come. */
static size_t unchunk(const char *p, size_t n, char *out, size_t *ret_n)
{
    size_t at = 0;
    *ret_n = 0;
    for (;;) {
        const char *line = memmem(p + at, n - at, "\r\n", 2);
        if (!line) {
            return 0;
        }
        size_t size = strtoul(p + at, NULL, 16);
        at = (size_t)(line - p) + 2;
        if (n - at < 2 || n - at - 2 < size) {
            return 0;
        }
        memcpy(out + *ret_n, p + at, size);
        *ret_n += size;
        at += size + 2;
        if (size == 0) {
            return at;
        }
    }
}

static size_t take(struct load *l, struct client *c, const uint8_t *bytes, size_t max)
{
    static char body[PEER_IN_BYTES];
    const char *p = (const char *)bytes;
    const char *end = memmem(p, max, "\r\n\r\n", 4);
    if (!end) {
        return 0;
    }
    size_t head = (size_t)(end - p) + 4;
    const char *length = header(p, head, "\r\nContent-Length:");
    size_t n = length ? strtoul(length, NULL, 10) : 0;
    size_t size = length ? n : unchunk(p + head, max - head, body, &n);
    if (max - head < size || (!length && size == 0)) {
        return 0;
    }
    if (length) {
        memcpy(body, p + head, n);
    }
    if (strncmp(p, "HTTP/1.1 200", 12) != 0) {
        peer_die("the server refuses: %.*s", (int)MIN(head + size, 600), p);
    }
    if (c->sends) {
        take_sender(l, c, body, n);
    } else {
        take_receiver(l, c, body, n);
    }
    return head + size;
}

const struct protocol matrix_protocol = {
    .name = "matrix",
    .open = open_connection,
    .message = put_message,
    .take = take,
};
