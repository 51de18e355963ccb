/*
 * Sec-WebSocket-Extensions (RFC 6455, section 9.1) and the parameters of permessage-deflate
 * (RFC 7692, section 7.1).
 *
 * We ask for no_context_takeover both ways, so the windows matter within one message only. What the
 * client sends is inflated with the largest window there is, so client_max_window_bits needs no
 * answer. What the server sends has the window that the client asks for: 8 bits are more than zlib
 * can keep to, and such an offer is declined.
 */
#include <stdio.h>

#include "proto/deflate.h"
#include "proto/http1.h"
#include "proto/ws_internal.h"

#define NAME "permessage-deflate"

enum param {
    PARAM_SERVER_ALONE = 1, /* server_no_context_takeover */
    PARAM_CLIENT_ALONE = 2,
    PARAM_SERVER_BITS = 4,
    PARAM_CLIENT_BITS = 8,
};

static const struct {
    const char *name;
    enum param id;
    bool value;      /* may have one */
    bool value_must; /* has to */
} PARAMS[] = {
    {"server_no_context_takeover", PARAM_SERVER_ALONE, false, false},
    {"client_no_context_takeover", PARAM_CLIENT_ALONE, false, false},
    {"server_max_window_bits", PARAM_SERVER_BITS, true, true},
    {"client_max_window_bits", PARAM_CLIENT_BITS, true, false},
};

struct extension {
    struct span name;
    unsigned params;     /* enum param, of those that are understood */
    uint8_t server_bits; /* 0: no such parameter, or without value */
    uint8_t client_bits;
    bool bad; /* a parameter that is not understood, comes twice, or has a wrong value */
};

/* ---- Grammar ---- */

static bool is_token(uint8_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c != 0 && strchr("!#$%&'*+-.^_`|~", c));
}

static void skip_space(struct span *in)
{
    while (in->n > 0 && (in->p[0] == ' ' || in->p[0] == '\t')) {
        in->p++;
        in->n--;
    }
}

static bool take(struct span *in, char c)
{
    skip_space(in);
    if (in->n == 0 || in->p[0] != (uint8_t)c) {
        return false;
    }
    in->p++;
    in->n--;
    return true;
}

static bool take_token(struct span *in, struct span *ret)
{
    skip_space(in);
    size_t n = 0;
    while (n < in->n && is_token(in->p[n])) {
        n++;
    }
    *ret = span_of(in->p, n);
    in->p += n;
    in->n -= n;
    return n > 0;
}

/* A quoted one has to be a token inside, too. */
static bool take_value(struct span *in, struct span *ret)
{
    if (!take(in, '"')) {
        return take_token(in, ret);
    }
    return in->n > 0 && is_token(in->p[0]) && take_token(in, ret) && in->n > 0 && in->p[0] == '"' &&
           take(in, '"');
}

/* "8" to "15", without zeros before it; 0 when it is not that. */
static uint8_t bits_of(struct span v)
{
    if (v.n == 1 && (v.p[0] == '8' || v.p[0] == '9')) {
        return (uint8_t)(v.p[0] - '0');
    }
    if (v.n == 2 && v.p[0] == '1' && v.p[1] >= '0' && v.p[1] <= '5') {
        return (uint8_t)(10 + v.p[1] - '0');
    }
    return 0;
}

static void param_set(struct extension *e, struct span name, const struct span *value)
{
    for (size_t i = 0; i < ARRAY_LEN(PARAMS); i++) {
        if (!http_eq_nocase(name, PARAMS[i].name)) {
            continue;
        }
        uint8_t bits = value ? bits_of(*value) : 0;
        if ((e->params & PARAMS[i].id) || (value && (!PARAMS[i].value || bits == 0)) ||
            (!value && PARAMS[i].value_must)) {
            e->bad = true;
        }
        e->params |= PARAMS[i].id;
        if (PARAMS[i].id == PARAM_SERVER_BITS) {
            e->server_bits = bits;
        } else if (PARAMS[i].id == PARAM_CLIENT_BITS) {
            e->client_bits = bits;
        }
        return;
    }
    e->bad = true;
}

/* Takes one extension of the list. 1: there is one; 0: the end; -1: the grammar is broken. */
static int extension_next(struct span *in, struct extension *ret)
{
    struct span name;
    struct span value;
    *ret = (struct extension){.params = 0};
    while (take(in, ',')) {
        ; /* empty elements */
    }
    skip_space(in);
    if (in->n == 0) {
        return 0;
    }
    if (!take_token(in, &ret->name)) {
        return -1;
    }
    while (take(in, ';')) {
        if (!take_token(in, &name)) {
            return -1;
        }
        bool has_value = take(in, '=');
        if (has_value && !take_value(in, &value)) {
            return -1;
        }
        param_set(ret, name, has_value ? &value : NULL);
    }
    skip_space(in);
    return in->n == 0 || in->p[0] == ',' ? 1 : -1;
}

static bool is_extensions(const struct http_header *f)
{
    return http_eq_nocase(f->name, "sec-websocket-extensions");
}

/* ---- Server ---- */

bool ws_deflate_choose(const struct http_headers *h, struct ws_deflate *ret)
{
    *ret = (struct ws_deflate){.on = false};
    for (uint32_t i = 0; i < h->n; i++) {
        struct span list = h->at[i].value;
        struct extension e;
        int r = 0;
        while (is_extensions(&h->at[i]) && (r = extension_next(&list, &e)) == 1) {
            if (ret->on || e.bad || !http_eq_nocase(e.name, NAME) ||
                ((e.params & PARAM_SERVER_BITS) && e.server_bits < DEFLATE_BITS_MIN)) {
                continue;
            }
            ret->on = true;
            ret->tell_bits = e.server_bits != 0;
            ret->server_bits = ret->tell_bits ? e.server_bits : DEFLATE_BITS_MAX;
        }
        if (r < 0) {
            return false;
        }
    }
    return true;
}

void ws_deflate_put_answer(struct buf *b, const struct ws_deflate *d)
{
    char text[128];
    int n = snprintf(text, sizeof(text),
                     NAME "; server_no_context_takeover; client_no_context_takeover");
    if (d->tell_bits) {
        n += snprintf(text + n, sizeof(text) - (size_t)n, "; server_max_window_bits=%u",
                      d->server_bits);
    }
    http_put_header(b, "Sec-WebSocket-Extensions", span_of(text, (size_t)n));
}

/* ---- Client ---- */

void ws_deflate_put_offer(struct buf *b)
{
    http_put_header_str(b, "Sec-WebSocket-Extensions",
                        NAME "; server_no_context_takeover; client_no_context_takeover");
}

bool ws_deflate_verify(const struct http_headers *h, bool *io_deflate)
{
    bool agreed = false;
    for (uint32_t i = 0; i < h->n; i++) {
        struct span list = h->at[i].value;
        struct extension e;
        int r = 0;
        while (is_extensions(&h->at[i]) && (r = extension_next(&list, &e)) == 1) {
            /* Once, as offered, and nothing that only an offer of ours would allow. */
            if (agreed || !*io_deflate || e.bad || !http_eq_nocase(e.name, NAME) ||
                !(e.params & PARAM_SERVER_ALONE) || (e.params & PARAM_CLIENT_BITS)) {
                return false;
            }
            agreed = true;
        }
        if (r < 0) {
            return false;
        }
    }
    *io_deflate = agreed;
    return true;
}
