/*
 * Bodies: by length, chunked, or up to the end of the connection.
 *
 * States of a chunked body, a byte each but for DATA:
 *
 *     SIZE --;--> EXT --CR--> SIZE_LF --LF--> DATA --left = 0--> DATA_CR --> DATA_LF --> SIZE
 *      '--CR------------------^    '--LF, size 0--> TRAILER
 *     TRAILER --token--> NAME --:--> VALUE --CR--> LINE_LF --LF--> TRAILER
 *        '--CR--> END_LF --LF--> DONE
 */
#include "proto/http1.h"

#include "proto/http1_internal.h"

enum state {
    DONE = 0,
    LENGTH,
    UNTIL_CLOSE,
    SIZE,
    EXT,
    SIZE_LF,
    DATA,
    DATA_CR,
    DATA_LF,
    TRAILER,
    NAME,
    VALUE,
    LINE_LF,
    END_LF,
};

enum { DIGITS_MAX = 16 };

static void body_init(struct http_body *b, bool chunked, uint64_t length, bool until_close,
                      uint64_t max)
{
    enum state s = chunked ? SIZE : until_close ? UNTIL_CLOSE : length > 0 ? LENGTH : DONE;
    *b = (struct http_body){.left = length, .max = max, .state = (uint8_t)s};
}

void http_body_init_request(struct http_body *b, const struct http_request *req, uint64_t max)
{
    body_init(b, req->chunked, req->content_length, false, max);
}

void http_body_init_response(struct http_body *b, const struct http_response *res, uint64_t max)
{
    body_init(b, res->chunked, res->content_length, res->until_close, max);
}

static enum http_result too_large(struct http_error *err)
{
    return http_bad(err, 413, "the body is too large");
}

static enum http_result bad_chunk(struct http_error *err)
{
    return http_bad(err, 400, "bad chunk");
}

/* SIZE: a digit, or what ends the digits. */
static enum http_result take_size(struct http_body *b, uint8_t c, struct http_error *err)
{
    int digit = http_hex(c);
    if (digit >= 0) {
        if (b->digits == DIGITS_MAX) {
            return bad_chunk(err);
        }
        b->digits++;
        b->left = b->left << 4 | (uint64_t)digit; /* 16 digits fit */
        return HTTP_MORE;
    }
    if (b->digits == 0 || (c != '\r' && c != ';')) {
        return bad_chunk(err);
    }
    b->state = c == '\r' ? SIZE_LF : EXT;
    b->line = 0;
    return HTTP_MORE;
}

static enum http_result take_trailer(struct http_body *b, uint8_t c, struct http_error *err)
{
    if (++b->line > HTTP_TRAILER_MAX) {
        return http_bad(err, 431, "the trailer is too long");
    }
    switch (b->state) {
    case TRAILER:
        if (c == '\r') {
            b->state = END_LF;
            return HTTP_MORE;
        }
        b->state = NAME;
        return http_is_token(c) ? HTTP_MORE : bad_chunk(err);
    case NAME:
        if (c == ':') {
            b->state = VALUE;
            return HTTP_MORE;
        }
        return http_is_token(c) ? HTTP_MORE : bad_chunk(err);
    case VALUE:
        if (c == '\r') {
            b->state = LINE_LF;
            return HTTP_MORE;
        }
        return http_is_text(c) ? HTTP_MORE : bad_chunk(err);
    case LINE_LF:
        b->state = TRAILER;
        return c == '\n' ? HTTP_MORE : bad_chunk(err);
    default: /* END_LF */
        if (c != '\n') {
            return bad_chunk(err);
        }
        b->state = DONE;
        return HTTP_DONE;
    }
}

/* One byte of what is not payload. */
static enum http_result take_byte(struct http_body *b, uint8_t c, struct http_error *err)
{
    switch (b->state) {
    case SIZE:
        return take_size(b, c, err);
    case EXT:
        if (++b->line > HTTP_CHUNK_EXT_MAX) {
            return bad_chunk(err);
        }
        if (c == '\r') {
            b->state = SIZE_LF;
            return HTTP_MORE;
        }
        return http_is_text(c) ? HTTP_MORE : bad_chunk(err);
    case SIZE_LF:
        if (c != '\n') {
            return bad_chunk(err);
        }
        if (b->left > b->max) {
            return too_large(err);
        }
        b->state = b->left > 0 ? DATA : TRAILER;
        b->line = 0;
        return HTTP_MORE;
    case DATA_CR:
        b->state = DATA_LF;
        return c == '\r' ? HTTP_MORE : bad_chunk(err);
    case DATA_LF:
        b->state = SIZE;
        b->digits = 0;
        return c == '\n' ? HTTP_MORE : bad_chunk(err);
    default:
        return take_trailer(b, c, err);
    }
}

enum http_result http_body_next(struct http_body *b, struct span in, size_t *ret_consumed,
                                struct span *ret_piece, struct http_error *err)
{
    *ret_consumed = 0;
    *ret_piece = span_of(in.p, 0);
    if (b->state == DONE) {
        return HTTP_DONE;
    }
    if (b->state == LENGTH && b->left > b->max) {
        return too_large(err);
    }
    size_t i = 0;
    while (i < in.n) {
        if (b->state == LENGTH || b->state == DATA || b->state == UNTIL_CLOSE) {
            size_t n = in.n - i;
            if (b->state == UNTIL_CLOSE) {
                if (n > b->max) {
                    return too_large(err);
                }
            } else {
                n = (size_t)MIN((uint64_t)n, b->left);
                b->left -= n;
            }
            b->max -= n;
            *ret_piece = span_of(in.p + i, n);
            *ret_consumed = i + n;
            if (b->left > 0 || b->state == UNTIL_CLOSE) {
                return HTTP_MORE;
            }
            bool done = b->state == LENGTH;
            b->state = done ? DONE : DATA_CR;
            return done ? HTTP_DONE : HTTP_MORE;
        }
        enum http_result r = take_byte(b, in.p[i++], err);
        if (r != HTTP_MORE) {
            *ret_consumed = i;
            return r;
        }
    }
    *ret_consumed = i;
    return HTTP_MORE;
}
