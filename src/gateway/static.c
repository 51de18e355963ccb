#include "gateway/static.h"

#include "gateway/http.h"
#include "gateway/internal.h"

/* Refused by q=0 is another thing than not mentioned. */
enum wish { WISH_UNSAID = 0, WISH_NO, WISH_YES };

struct encoding {
    const char *name;   /* as a coding */
    const char *suffix; /* of the ETag */
};
static const struct encoding ENCODINGS[STATIC_ENCODINGS] = {
    [STATIC_PLAIN] = {NULL, ""},
    [STATIC_GZIP] = {"gzip", "-gz"},
    [STATIC_BROTLI] = {"br", "-br"},
};

/*
 * img and media also from blob: and data:, which is how a page shows a picture before it is
 * uploaded. form-action: a form that script does not take over must not carry a password elsewhere.
 */
static const char GUARDS[] =
    "Content-Security-Policy: default-src 'self'; connect-src 'self'; img-src 'self' data: blob:; "
    "media-src 'self' blob:; worker-src 'self'; manifest-src 'self'; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'\r\n"
    "X-Content-Type-Options: nosniff\r\n"
    "Referrer-Policy: no-referrer\r\n"
    "Cross-Origin-Opener-Policy: same-origin\r\n"
    "Cross-Origin-Resource-Policy: same-origin\r\n"
    "Permissions-Policy: camera=(), microphone=(), geolocation=(), payment=(), usb=()\r\n";

static int path_compare(struct span path, const char *name)
{
    size_t n = strlen(name);
    int d = memcmp(path.p, name, MIN(path.n, n));
    return d != 0 ? d : (path.n > n) - (path.n < n);
}

static const struct static_file *find(const struct static_set *set, struct span path)
{
    size_t from = 0;
    size_t to = set ? set->n : 0;
    while (from < to) {
        size_t mid = from + (to - from) / 2;
        int d = path_compare(path, set->files[mid].path);
        if (d == 0) {
            return &set->files[mid];
        }
        if (d < 0) {
            to = mid;
        } else {
            from = mid + 1;
        }
    }
    return NULL;
}

/* ---- Lists in fields ---- */

static struct span trimmed(struct span s)
{
    while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t')) {
        s.p++;
        s.n--;
    }
    while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t')) {
        s.n--;
    }
    return s;
}

/* Takes what comes before the next `mark`; false at the end. */
static bool part_next(struct span *rest, char mark, struct span *ret)
{
    if (rest->n == 0) {
        return false;
    }
    const uint8_t *at = memchr(rest->p, mark, rest->n);
    size_t n = at ? (size_t)(at - rest->p) : rest->n;
    size_t skip = at ? n + 1 : n;
    *ret = trimmed(span_of(rest->p, n));
    *rest = span_of(rest->p + skip, rest->n - skip);
    return true;
}

/* ";q=0", "; q=0.000": not wanted at any price. */
static enum wish wish_of(struct span params)
{
    struct span param;
    while (part_next(&params, ';', &param)) {
        if (param.n >= 3 && (param.p[0] | 0x20) == 'q' && param.p[1] == '=') {
            for (size_t i = 2; i < param.n; i++) {
                if (param.p[i] != '0' && param.p[i] != '.') {
                    return WISH_YES;
                }
            }
            return WISH_NO;
        }
    }
    return WISH_YES;
}

/* What is not said otherwise goes by the star. */
static void wishes_read(const struct http_headers *headers, enum wish wishes[STATIC_ENCODINGS])
{
    enum wish others = WISH_UNSAID;
    struct span list = http_header_get(headers, "accept-encoding");
    struct span item;
    while (part_next(&list, ',', &item)) {
        struct span name;
        if (!part_next(&item, ';', &name)) {
            continue;
        }
        enum wish wish = wish_of(item);
        if (span_is(name, "*")) {
            others = wish;
        }
        for (int e = STATIC_GZIP; e < STATIC_ENCODINGS; e++) {
            if (http_eq_nocase(name, ENCODINGS[e].name)) {
                wishes[e] = wish;
            }
        }
    }
    for (int e = STATIC_GZIP; e < STATIC_ENCODINGS; e++) {
        wishes[e] = wishes[e] == WISH_UNSAID ? others : wishes[e];
    }
}

static enum static_encoding encoding_choose(const struct static_file *f,
                                            const struct http_headers *headers)
{
    enum wish wishes[STATIC_ENCODINGS] = {WISH_YES};
    wishes_read(headers, wishes);
    for (int e = STATIC_ENCODINGS - 1; e > STATIC_PLAIN; e--) {
        if (wishes[e] == WISH_YES && f->bodies[e].p) {
            return (enum static_encoding)e;
        }
    }
    return STATIC_PLAIN;
}

bool static_accepts_gzip(const struct http_headers *headers)
{
    enum wish wishes[STATIC_ENCODINGS] = {WISH_YES};
    wishes_read(headers, wishes);
    return wishes[STATIC_GZIP] == WISH_YES;
}

/* Does If-None-Match name what would be sent? `tag` is with its quotes. */
static bool is_known(const struct http_headers *headers, struct span tag)
{
    struct span list = http_header_get(headers, "if-none-match");
    struct span item;
    while (part_next(&list, ',', &item)) {
        if (item.n > 2 && item.p[0] == 'W' && item.p[1] == '/') {
            item = span_of(item.p + 2, item.n - 2);
        }
        if (span_is(item, "*") || span_eq(item, tag)) {
            return true;
        }
    }
    return false;
}

/* ---- Answering ---- */

bool static_serve(struct shard *s, struct conn *c, const struct http_request *req)
{
    const struct static_file *f = find(s->deps.files, req->path);
    if (!f) {
        return false;
    }
    if (req->method != HTTP_GET && req->method != HTTP_HEAD) {
        http_answer_error_status(s, c, 405, CONFAB_METHOD, NULL, NULL,
                                 span_str("Allow: GET, HEAD\r\n"));
        return true;
    }
    enum static_encoding e = encoding_choose(f, &req->headers);
    struct buf extra = {0};
    buf_printf(&extra, "ETag: \"%s%s\"\r\n", f->tag, ENCODINGS[e].suffix);
    if (!buf_ok(&extra)) {
        http_answer_error(s, c, CONFAB_NOMEM, NULL, NULL);
        return true;
    }
    static const size_t BEFORE = sizeof("ETag: ") - 1;
    bool known =
        is_known(&req->headers, span_of(extra.data + BEFORE, extra.len - BEFORE - 2 /* CRLF */));
    http_put_header_str(&extra, "Cache-Control",
                        f->immutable ? "public, max-age=31536000, immutable" : "no-cache");
    http_put_header_str(&extra, "Vary", "Accept-Encoding");
    buf_put_str(&extra, GUARDS);
    if (!known && e != STATIC_PLAIN) {
        http_put_header_str(&extra, "Content-Encoding", ENCODINGS[e].name);
    }
    http_answer_static(s, c, known ? 304 : 200, known ? NULL : f->type,
                       known ? span_of(NULL, 0) : f->bodies[e], &extra);
    buf_deinit(&extra);
    return true;
}
