/* Character classes shared by the http1*.c files; nobody else includes this. */
#ifndef CONFAB_PROTO_HTTP1_INTERNAL_H
#define CONFAB_PROTO_HTTP1_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/http1.h"

static inline bool http_is_alnum(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* tchar of RFC 9110. */
static inline bool http_is_token(uint8_t c)
{
    if (http_is_alnum(c)) {
        return true;
    }
    switch (c) {
    case '!':
    case '#':
    case '$':
    case '%':
    case '&':
    case '\'':
    case '*':
    case '+':
    case '-':
    case '.':
    case '^':
    case '_':
    case '`':
    case '|':
    case '~':
        return true;
    default:
        return false;
    }
}

/* What may stand in a field value or a chunk extension: no controls but the tab. */
static inline bool http_is_text(uint8_t c)
{
    return (c >= 0x20 && c != 0x7f) || c == '\t';
}

static inline int http_hex(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    uint8_t l = c | 0x20;
    return l >= 'a' && l <= 'f' ? l - 'a' + 10 : -1;
}

static inline enum http_result http_bad(struct http_error *err, int status, const char *why)
{
    err->status = status;
    err->why = why;
    return HTTP_BAD;
}

#endif
