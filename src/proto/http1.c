/*
 * Heads of requests and responses.
 *
 * Two steps: `scan` looks for the end of the head, each byte once over all calls, and refuses on
 * the way every byte that no head may hold; only then the head is cut into its parts. What scan
 * refuses depends on positions alone, so that the result is the same for any chunking.
 */
#include "proto/http1.h"

#include "proto/http1_internal.h"

enum {
    LINE_MAX_BYTES = HTTP_TARGET_MAX + 64, /* method, target, version */
    METHOD_MAX = 32,
};

bool http_eq_nocase(struct span s, const char *lower)
{
    size_t i = 0;
    for (; i < s.n && lower[i]; i++) {
        uint8_t c = s.p[i];
        if (c >= 'A' && c <= 'Z') {
            c |= 0x20;
        }
        if (c != (uint8_t)lower[i]) {
            return false;
        }
    }
    return i == s.n && lower[i] == 0;
}

struct span http_header_get(const struct http_headers *h, const char *name)
{
    for (uint32_t i = 0; i < h->n; i++) {
        if (http_eq_nocase(h->at[i].name, name)) {
            return h->at[i].value;
        }
    }
    return (struct span){NULL, 0};
}

uint32_t http_header_count(const struct http_headers *h, const char *name)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < h->n; i++) {
        n += http_eq_nocase(h->at[i].name, name);
    }
    return n;
}

static struct span trim(struct span s)
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

static bool list_has_token(struct span list, const char *token)
{
    while (list.n > 0) {
        const uint8_t *comma = memchr(list.p, ',', list.n);
        size_t n = comma ? (size_t)(comma - list.p) : list.n;
        if (http_eq_nocase(trim(span_of(list.p, n)), token)) {
            return true;
        }
        size_t used = comma ? n + 1 : n;
        list.p += used;
        list.n -= used;
    }
    return false;
}

bool http_header_has_token(const struct http_headers *h, const char *name, const char *token)
{
    for (uint32_t i = 0; i < h->n; i++) {
        if (http_eq_nocase(h->at[i].name, name) && list_has_token(h->at[i].value, token)) {
            return true;
        }
    }
    return false;
}

/* HTTP_DONE: the head is in.p[0 .. *ret_len), with its empty line. */
static enum http_result scan_head(struct http_scan *scan, struct span in, size_t *ret_len,
                                  struct http_error *err)
{
    size_t i = scan->pos;
    if (i == 0 && in.n > 0 && !http_is_token(in.p[0])) {
        return http_bad(err, 400, "this is not HTTP");
    }
    while (i < in.n) {
        if (!scan->line && i >= LINE_MAX_BYTES) {
            return http_bad(err, 414, "the first line is too long");
        }
        if (i >= HTTP_HEAD_MAX - 1) {
            return http_bad(err, 431, "the head is too long");
        }
        uint8_t c = in.p[i];
        if (LIKELY(http_is_text(c))) {
            i++;
            continue;
        }
        if (c != '\r') {
            return http_bad(err, 400, c == '\n' ? "line feed alone" : "control character");
        }
        if (i + 1 == in.n) {
            break;
        }
        if (in.p[i + 1] != '\n') {
            return http_bad(err, 400, "carriage return alone");
        }
        bool empty = in.p[i - 1] == '\n'; /* i > 0: the first byte is a token's */
        i += 2;
        scan->line = true;
        if (empty) {
            *ret_len = i;
            return HTTP_DONE;
        }
    }
    scan->pos = (uint32_t)i;
    return HTTP_MORE;
}

/* Takes the next line, without its end. */
static struct span next_line(struct span *rest)
{
    const uint8_t *cr = memchr(rest->p, '\r', rest->n);
    size_t n = (size_t)(cr - rest->p); /* scan_head saw to it that there is one */
    struct span line = {rest->p, n};
    rest->p += n + 2;
    rest->n -= n + 2;
    return line;
}

static enum http_result parse_fields(struct span rest, struct http_headers *h,
                                     struct http_error *err)
{
    h->n = 0;
    for (;;) {
        struct span line = next_line(&rest);
        if (line.n == 0) {
            return HTTP_DONE;
        }
        if (line.p[0] == ' ' || line.p[0] == '\t') {
            return http_bad(err, 400, "folded field");
        }
        size_t n = 0;
        while (n < line.n && http_is_token(line.p[n])) {
            n++;
        }
        if (n == 0 || n == line.n || line.p[n] != ':') {
            return http_bad(err, 400, "field name is not a token followed by a colon");
        }
        if (h->n == HTTP_HEADERS_MAX) {
            return http_bad(err, 431, "too many fields");
        }
        h->at[h->n].name = span_of(line.p, n);
        h->at[h->n].value = trim(span_of(line.p + n + 1, line.n - n - 1));
        h->n++;
    }
}

static bool parse_length(struct span text, uint64_t *ret)
{
    if (text.n == 0 || text.n > 19) {
        return false;
    }
    uint64_t v = 0;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9') {
            return false;
        }
        v = v * 10 + (uint64_t)(text.p[i] - '0'); /* 19 digits fit in 64 bits */
    }
    *ret = v;
    return true;
}

struct framing {
    bool has_length;
    bool chunked;
    uint64_t length;
};

static enum http_result parse_framing(const struct http_headers *h, uint8_t minor,
                                      struct framing *ret, struct http_error *err)
{
    *ret = (struct framing){0};
    uint32_t nlengths = http_header_count(h, "content-length");
    uint32_t ncodings = http_header_count(h, "transfer-encoding");
    if (nlengths > 1) {
        return http_bad(err, 400, "Content-Length comes twice");
    }
    if (ncodings > 1) {
        return http_bad(err, 400, "Transfer-Encoding comes twice");
    }
    if (nlengths > 0 && ncodings > 0) {
        return http_bad(err, 400, "Content-Length together with Transfer-Encoding");
    }
    if (nlengths > 0) {
        ret->has_length = true;
        if (!parse_length(http_header_get(h, "content-length"), &ret->length)) {
            return http_bad(err, 400, "Content-Length is not a number");
        }
    }
    if (ncodings > 0) {
        if (minor == 0) {
            return http_bad(err, 400, "Transfer-Encoding in HTTP/1.0");
        }
        if (!http_eq_nocase(http_header_get(h, "transfer-encoding"), "chunked")) {
            return http_bad(err, 501, "Transfer-Encoding other than chunked");
        }
        ret->chunked = true;
    }
    return HTTP_DONE;
}

static bool parse_keep_alive(const struct http_headers *h, uint8_t minor)
{
    if (http_header_has_token(h, "connection", "close")) {
        return false;
    }
    return minor > 0 || http_header_has_token(h, "connection", "keep-alive");
}

/* "HTTP/1.0" or "HTTP/1.1". */
static enum http_result parse_version(struct span text, uint8_t *ret_minor, struct http_error *err)
{
    if (text.n != 8 || memcmp(text.p, "HTTP/", 5) != 0 || text.p[6] != '.' || text.p[5] < '0' ||
        text.p[5] > '9' || text.p[7] < '0' || text.p[7] > '9') {
        return http_bad(err, 400, "bad version");
    }
    if (text.p[5] != '1' || text.p[7] > '1') {
        return http_bad(err, 505, "HTTP version is not supported");
    }
    *ret_minor = (uint8_t)(text.p[7] - '0');
    return HTTP_DONE;
}

static enum http_method parse_method(struct span m)
{
    static const struct {
        const char *text;
        enum http_method method;
    } all[] = {
        {"GET", HTTP_GET},         {"POST", HTTP_POST},   {"HEAD", HTTP_HEAD},
        {"PUT", HTTP_PUT},         {"PATCH", HTTP_PATCH}, {"DELETE", HTTP_DELETE},
        {"OPTIONS", HTTP_OPTIONS},
    };
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        if (span_is(m, all[i].text)) {
            return all[i].method;
        }
    }
    return HTTP_OTHER;
}

/* uri-host with an optional port: no user, no path, nothing that ends an authority. */
static bool host_valid(struct span host)
{
    for (size_t i = 0; i < host.n; i++) {
        uint8_t c = host.p[i];
        if (!http_is_alnum(c) && (c == 0 || !memchr("-._~%!$&'()*+;=:[]", c, 18))) {
            return false;
        }
    }
    return host.n > 0;
}

/* Splits http://host/path; leaves `host` alone for the other forms. */
static enum http_result parse_target(struct http_request *req, struct http_error *err)
{
    struct span t = req->target;
    if (t.n == 0 || t.n > HTTP_TARGET_MAX) {
        return http_bad(err, t.n == 0 ? 400 : 414, "the target is empty or too long");
    }
    for (size_t i = 0; i < t.n; i++) {
        if (t.p[i] <= 0x20 || t.p[i] >= 0x7f || t.p[i] == '#') {
            return http_bad(err, 400, "character that a target may not hold");
        }
    }
    if (t.p[0] != '/') {
        if (span_is(t, "*") && req->method == HTTP_OPTIONS) {
            req->path = t;
            return HTTP_DONE;
        }
        size_t skip = t.n > 7 && http_eq_nocase(span_of(t.p, 7), "http://")    ? 7
                      : t.n > 8 && http_eq_nocase(span_of(t.p, 8), "https://") ? 8
                                                                               : 0;
        if (skip == 0) {
            return http_bad(err, 400, "the target is no path");
        }
        size_t n = skip;
        while (n < t.n && t.p[n] != '/' && t.p[n] != '?') {
            n++;
        }
        req->host = span_of(t.p + skip, n - skip);
        if (!host_valid(req->host)) {
            return http_bad(err, 400, "bad host in the target");
        }
        t = span_of(t.p + n, t.n - n);
    }
    const uint8_t *mark = t.n > 0 ? memchr(t.p, '?', t.n) : NULL;
    req->path = mark ? span_of(t.p, (size_t)(mark - t.p)) : t;
    if (mark) {
        req->query = span_of(mark + 1, t.n - req->path.n - 1);
    }
    if (req->path.n == 0) {
        req->path = span_str("/");
    }
    return HTTP_DONE;
}

static enum http_result parse_request_line(struct span line, struct http_request *req,
                                           struct http_error *err)
{
    size_t m = 0;
    while (m < line.n && http_is_token(line.p[m])) {
        m++;
    }
    if (m == 0 || m > METHOD_MAX || m == line.n || line.p[m] != ' ') {
        return http_bad(err, 400, "bad method");
    }
    req->method_text = span_of(line.p, m);
    req->method = parse_method(req->method_text);
    struct span rest = span_of(line.p + m + 1, line.n - m - 1);
    const uint8_t *sp = rest.n > 0 ? memchr(rest.p, ' ', rest.n) : NULL;
    if (!sp) {
        return http_bad(err, 400, "bad request line");
    }
    req->target = span_of(rest.p, (size_t)(sp - rest.p));
    struct span version = span_of(sp + 1, rest.n - req->target.n - 1);
    if (parse_version(version, &req->minor, err) != HTTP_DONE) {
        return HTTP_BAD;
    }
    return parse_target(req, err);
}

static bool eq_nocase(struct span a, struct span b)
{
    if (a.n != b.n) {
        return false;
    }
    for (size_t i = 0; i < a.n; i++) {
        uint8_t x = a.p[i];
        uint8_t y = b.p[i];
        x = x >= 'A' && x <= 'Z' ? x | 0x20 : x;
        y = y >= 'A' && y <= 'Z' ? y | 0x20 : y;
        if (x != y) {
            return false;
        }
    }
    return true;
}

static enum http_result parse_host(struct http_request *req, struct http_error *err)
{
    uint32_t n = http_header_count(&req->headers, "host");
    if (n > 1) {
        return http_bad(err, 400, "Host comes twice");
    }
    if (n == 0) {
        return req->minor == 0 ? HTTP_DONE : http_bad(err, 400, "Host is missing");
    }
    struct span host = http_header_get(&req->headers, "host");
    if (!host_valid(host)) {
        return http_bad(err, 400, "bad Host");
    }
    /* Who routes by one and who by the other must not differ. */
    if (req->host.n > 0 && !eq_nocase(req->host, host)) {
        return http_bad(err, 400, "Host differs from the target");
    }
    req->host = host;
    return HTTP_DONE;
}

enum http_result http_request_parse(struct http_scan *scan, struct span in,
                                    struct http_request *ret, struct http_error *err)
{
    size_t len;
    enum http_result r = scan_head(scan, in, &len, err);
    if (r != HTTP_DONE) {
        return r;
    }
    ret->head_len = len;
    ret->host = ret->query = (struct span){NULL, 0};
    struct span rest = span_of(in.p, len);
    struct framing f;
    if (parse_request_line(next_line(&rest), ret, err) == HTTP_BAD ||
        parse_fields(rest, &ret->headers, err) == HTTP_BAD || parse_host(ret, err) == HTTP_BAD ||
        parse_framing(&ret->headers, ret->minor, &f, err) == HTTP_BAD) {
        return HTTP_BAD;
    }
    ret->chunked = f.chunked;
    ret->content_length = f.length;
    ret->keep_alive = parse_keep_alive(&ret->headers, ret->minor);
    ret->upgrade = http_header_has_token(&ret->headers, "connection", "upgrade");
    ret->expect_continue = false;
    uint32_t expects = http_header_count(&ret->headers, "expect");
    if (expects > 0 && ret->minor > 0) {
        if (expects > 1 ||
            !http_eq_nocase(http_header_get(&ret->headers, "expect"), "100-continue")) {
            return http_bad(err, 417, "unknown expectation");
        }
        ret->expect_continue = f.chunked || f.length > 0;
    }
    return HTTP_DONE;
}

static enum http_result parse_status_line(struct span line, struct http_response *res,
                                          struct http_error *err)
{
    /* "HTTP/1.1 200 OK"; the space before the reason is there even when the reason is empty. */
    if (line.n < 13 || line.p[8] != ' ' || line.p[12] != ' ') {
        return http_bad(err, 400, "bad status line");
    }
    if (parse_version(span_of(line.p, 8), &res->minor, err) != HTTP_DONE) {
        return HTTP_BAD;
    }
    int status = 0;
    for (size_t i = 9; i < 12; i++) {
        if (line.p[i] < '0' || line.p[i] > '9') {
            return http_bad(err, 400, "bad status");
        }
        status = status * 10 + (line.p[i] - '0');
    }
    if (status < 100 || status > 599) {
        return http_bad(err, 400, "bad status");
    }
    res->status = status;
    res->reason = span_of(line.p + 13, line.n - 13);
    return HTTP_DONE;
}

enum http_result http_response_parse(struct http_scan *scan, struct span in, bool head,
                                     struct http_response *ret, struct http_error *err)
{
    size_t len;
    enum http_result r = scan_head(scan, in, &len, err);
    if (r != HTTP_DONE) {
        return r;
    }
    ret->head_len = len;
    struct span rest = span_of(in.p, len);
    struct framing f;
    if (parse_status_line(next_line(&rest), ret, err) == HTTP_BAD ||
        parse_fields(rest, &ret->headers, err) == HTTP_BAD ||
        parse_framing(&ret->headers, ret->minor, &f, err) == HTTP_BAD) {
        return HTTP_BAD;
    }
    bool bodiless = head || ret->status < 200 || ret->status == 204 || ret->status == 304;
    ret->chunked = f.chunked && !bodiless;
    ret->content_length = bodiless ? 0 : f.length;
    ret->until_close = !bodiless && !f.chunked && !f.has_length;
    ret->keep_alive = !ret->until_close && parse_keep_alive(&ret->headers, ret->minor);
    ret->upgrade = http_header_has_token(&ret->headers, "connection", "upgrade");
    return HTTP_DONE;
}
