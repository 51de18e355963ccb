/*
 * Files that the server hands out as they are: the web client and the API documents. They are part
 * of the program, in a table that the build makes (tools/embed), and are never copied.
 *
 * GET and HEAD; others are 405. ETag with 304, one for each encoding; Content-Encoding by
 * Accept-Encoding, brotli before gzip. What is named by its content may be kept for a year,
 * everything else is asked for again each time. Nothing of another origin and no inline script or
 * style may run in a page that comes from here.
 */
#ifndef CONFAB_GATEWAY_STATIC_H
#define CONFAB_GATEWAY_STATIC_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

enum static_encoding { STATIC_PLAIN = 0, STATIC_GZIP, STATIC_BROTLI, STATIC_ENCODINGS };

struct static_file {
    const char *path;                     /* of the URL */
    const char *type;                     /* Content-Type */
    const char *tag;                      /* names the content; letters and digits */
    bool immutable;                       /* the path changes with the content */
    struct span bodies[STATIC_ENCODINGS]; /* p is NULL where plain is not larger */
};
struct static_set {
    const struct static_file *files; /* by path, as strcmp sorts them */
    size_t n;
};

struct shard;
struct conn;
struct http_request;
struct http_headers;
/* Does Accept-Encoding allow gzip, by name or by star? */
bool static_accepts_gzip(const struct http_headers *headers);
/* True: there is such a file, and the request is answered. */
bool static_serve(struct shard *s, struct conn *c, const struct http_request *req);

#endif
