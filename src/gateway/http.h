/*
 * HTTP on a connection: puts requests together, one at a time, hands them to the calls of api.c,
 * and writes the answers. What follows a request stays unread until it is answered.
 */
#ifndef CONFAB_GATEWAY_HTTP_H
#define CONFAB_GATEWAY_HTTP_H

#include "gateway/conn.h"
#include "proto/http1.h"

/* Bytes from an HTTP peer; returns how many are done with. */
size_t http_input(struct shard *s, struct conn *c, uint8_t *p, size_t n);
void http_timer(struct shard *s, struct conn *c);

/* Answers the request at hand. `extra`: further header lines. Body is copied. */
void http_answer(struct shard *s, struct conn *c, int status, const char *type, struct span body,
                 struct span extra);
/* The same with a body that is taken over (and left empty). */
void http_answer_buf(struct shard *s, struct conn *c, int status, const char *type,
                     struct buf *body);
/* The same with a body that is there for ever and is not copied. */
void http_answer_static(struct shard *s, struct conn *c, int status, const char *type,
                        struct span body, const struct buf *extra);
/*
 * An answer without end: begin, any number of writes, end. Chunked, or, for HTTP/1.0, up to the end
 * of the connection. False: out of memory, the connection is dead.
 */
bool http_stream_begin(struct shard *s, struct conn *c, const char *type, struct span extra);
bool http_stream_write(struct shard *s, struct conn *c, struct span bytes);
void http_stream_end(struct shard *s, struct conn *c);

/* An error in its one shape. `field` may be NULL. */
void http_answer_error(struct shard *s, struct conn *c, enum confab_err code, const char *message,
                       const char *field);
/* 429 or 503 with the time to wait. */
void http_answer_wait(struct shard *s, struct conn *c, enum confab_err code, const char *message,
                      uint32_t wait_ms);
/* With another status or headers than the code has by itself. */
void http_answer_error_status(struct shard *s, struct conn *c, int status, enum confab_err code,
                              const char *message, const char *field, struct span extra);

#endif
