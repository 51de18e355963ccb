/*
 * HTTP/1.1 messages (RFC 9110, 9112): strict parser for requests and responses, body decoder,
 * writer. No I/O and no memory of its own: a head is parsed into borrowed views of the caller's
 * bytes once all of it is there, and a body is handed out piece by piece.
 *
 * What two parsers might read differently is refused, not repaired: bare CR or LF, folded lines,
 * space around the field name, several or odd Content-Length, Content-Length with
 * Transfer-Encoding, any coding but one "chunked", control characters, a missing or second Host,
 * empty lines before the request. After an error the connection must be closed: nothing behind it
 * can be trusted.
 *
 * Pipelining: a result says how many bytes it consumed; what follows is the next message.
 */
#ifndef CONFAB_PROTO_HTTP1_H
#define CONFAB_PROTO_HTTP1_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "proto/scratch.h"

#define HTTP_HEADERS_MAX   64U
#define HTTP_HEAD_MAX      (16U * 1024U) /* start line, fields and the empty line */
#define HTTP_TARGET_MAX    (8U * 1024U)
#define HTTP_CHUNK_EXT_MAX 256U  /* bytes of extensions in one chunk's line */
#define HTTP_TRAILER_MAX   4096U /* bytes of all trailer lines */

enum http_method {
    HTTP_OTHER = 0, /* a valid token that is none of these */
    HTTP_GET,
    HTTP_HEAD,
    HTTP_POST,
    HTTP_PUT,
    HTTP_PATCH,
    HTTP_DELETE,
    HTTP_OPTIONS,
};

enum http_result { HTTP_MORE = 0, HTTP_DONE, HTTP_BAD };

/* Why HTTP_BAD: the status to answer with, and static text. */
struct http_error {
    int status;
    const char *why;
};

struct http_header {
    struct span name;  /* as sent; compare without case */
    struct span value; /* without surrounding blanks */
};

/* Where the search for the end of the head goes on. Zero it before each message. */
struct http_scan {
    uint32_t pos;
    bool line; /* the first line is complete */
};

struct http_headers {
    uint32_t n;
    struct http_header at[HTTP_HEADERS_MAX];
};

struct http_request {
    enum http_method method;
    struct span method_text;
    struct span target;   /* as sent */
    struct span path;     /* still percent-encoded, starts with '/'; "*" only for OPTIONS */
    struct span query;    /* without '?'; p is NULL when there is no '?' */
    struct span host;     /* of the Host field, or of an absolute target; may be empty in 1.0 */
    uint8_t minor;        /* HTTP/1.minor: 0 or 1 */
    bool keep_alive;      /* what the client wants and its version allows */
    bool upgrade;         /* Connection names Upgrade */
    bool expect_continue; /* waits for 100 Continue before the body */
    bool chunked;
    uint64_t content_length; /* 0 without the field or when chunked */
    size_t head_len;         /* bytes consumed */
    struct http_headers headers;
};

struct http_response {
    int status; /* 100 to 599 */
    struct span reason;
    uint8_t minor;
    bool keep_alive;
    bool upgrade;
    bool chunked;
    bool until_close; /* the body ends with the connection */
    uint64_t content_length;
    size_t head_len;
    struct http_headers headers;
};

/*
 * Parses a head at the start of `in`. HTTP_MORE: call again with the same bytes and more behind
 * them (they may have moved) and the same scan: each byte is looked at once until the head is
 * whole. HTTP_DONE: `ret` borrows from `in`. HTTP_BAD: err says why. Statuses: 400, 414, 417, 431,
 * 501, 505.
 */
enum http_result http_request_parse(struct http_scan *scan, struct span in,
                                    struct http_request *ret, struct http_error *err);
/* `head`: the answer is to HEAD, so it has no body. Interim 1xx answers are returned like others.
 */
enum http_result http_response_parse(struct http_scan *scan, struct span in, bool head,
                                     struct http_response *ret, struct http_error *err);

/* First field of that name (lower case), p is NULL when there is none. */
struct span http_header_get(const struct http_headers *h, const char *name);
uint32_t http_header_count(const struct http_headers *h, const char *name);
/* Does any field of that name hold this token (lower case) in its comma-separated list? */
bool http_header_has_token(const struct http_headers *h, const char *name, const char *token);
/* ASCII only; `lower` is in lower case. */
bool http_eq_nocase(struct span s, const char *lower);

/* ---- Body ---- */

struct http_body {
    uint64_t left; /* of the body or of the chunk */
    uint64_t max;  /* payload bytes still allowed */
    uint32_t line; /* bytes of the line or of the trailers under way */
    uint8_t state;
    uint8_t digits;
};

/* `max`: larger bodies are HTTP_BAD with 413, at once when the length is declared. */
void http_body_init_request(struct http_body *b, const struct http_request *req, uint64_t max);
void http_body_init_response(struct http_body *b, const struct http_response *res, uint64_t max);
/*
 * Takes bytes from `in`. ret_consumed: those to drop; ret_piece: payload among them, borrowed, may
 * be empty. HTTP_MORE: drop them, and go on with the rest or with new bytes. HTTP_DONE: the body is
 * complete with this piece. Needs no byte kept back. Trailer fields are checked and dropped. A body
 * that ends with the connection stays at HTTP_MORE.
 */
enum http_result http_body_next(struct http_body *b, struct span in, size_t *ret_consumed,
                                struct span *ret_piece, struct http_error *err);

/* ---- Targets ---- */

enum http_decode_flags { HTTP_DECODE_PLUS = 1 /* '+' is a space: query parameters */ };

/*
 * Percent-decodes; borrowed when there is nothing to decode. CONFAB_INVALID: bad or missing hex
 * digits, %00, or the result is not UTF-8. CONFAB_TOO_LARGE: scratch is full.
 */
CONFAB_NODISCARD enum confab_err http_decode(struct span raw, int flags, struct scratch *scratch,
                                             struct span *ret);
/*
 * Takes the next raw segment of a path, without the slash; false at the end. "/a/b" has two, "/a/"
 * too (the second is empty).
 */
bool http_segment_next(struct span *path, struct span *ret_raw);
/* Takes the next raw pair of a query; false at the end. Empty pairs are left out. */
bool http_query_next(struct span *query, struct span *ret_name, struct span *ret_value);
/*
 * Decoded value of the first parameter of that (unencoded) name. CONFAB_NOT_FOUND; CONFAB_INVALID
 * when it cannot be decoded or is there twice.
 */
CONFAB_NODISCARD enum confab_err http_query_get(struct span query, const char *name,
                                                struct scratch *scratch, struct span *ret);

/* ---- Writing ---- */

/* Standard reason of a status; "Unknown" for others; never NULL. */
const char *http_reason(int status);
void http_put_status(struct buf *b, int status); /* "HTTP/1.1 200 OK\r\n" */
/* DCHECKs that neither holds CR or LF. */
void http_put_header(struct buf *b, const char *name, struct span value);
void http_put_header_str(struct buf *b, const char *name, const char *value);
void http_put_header_u64(struct buf *b, const char *name, uint64_t value);
void http_put_end(struct buf *b); /* the empty line */
/*
 * A whole head: status, Content-Type when `type` is not NULL, Content-Length (not for 1xx, 204 and
 * 304), Connection: close or, for keep_alive with minor 0, keep-alive; then `extra` lines (each
 * ending with CRLF, may be empty) and the empty line.
 */
void http_put_head(struct buf *b, int status, const char *type, uint64_t content_length,
                   bool keep_alive, uint8_t minor, struct span extra);
void http_put_continue(struct buf *b); /* 100 Continue */
/* Request line and Host. */
void http_put_request(struct buf *b, const char *method, struct span target, struct span host);
/* Percent-encodes everything but unreserved characters. */
void http_put_encoded(struct buf *b, struct span text);

#endif
