#include "gateway/origin.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* Empty when it is not of that form. */
struct span origin_host_name(struct span host)
{
    size_t n = host.n;
    if (n == 0) {
        return host;
    }
    if (host.p[0] == '[') {
        const uint8_t *end = memchr(host.p, ']', n);
        n = end ? (size_t)(end - host.p) + 1 : 0;
    } else {
        const uint8_t *colon = memchr(host.p, ':', n);
        n = colon ? (size_t)(colon - host.p) : n;
    }
    if (n > 0 && host.p[n - 1] == '.') {
        n--; /* the root's dot names the same host */
    }
    return span_of(host.p, n);
}

static bool is_address(struct span name)
{
    char text[64];
    uint8_t raw[16];
    bool v6 = name.n > 2 && name.p[0] == '[';
    if (v6) {
        name = span_of(name.p + 1, name.n - 2);
    }
    if (name.n == 0 || name.n >= sizeof(text)) {
        return false;
    }
    memcpy(text, name.p, name.n);
    text[name.n] = 0;
    return inet_pton(v6 ? AF_INET6 : AF_INET, text, raw) == 1;
}

/* Lower-cased copy of one entry of a list; false at the end. */
static bool list_next(const char **at, char *out, size_t cap, bool *ret_long)
{
    size_t skip = strspn(*at, ", \t");
    size_t n = strcspn(*at + skip, ", \t");
    const char *from = *at + skip;
    *at = from + n;
    *ret_long = n >= cap;
    if (n == 0 || *ret_long) {
        return n > 0;
    }
    for (size_t i = 0; i < n; i++) {
        out[i] = (char)tolower((unsigned char)from[i]);
    }
    out[n] = 0;
    return true;
}

static bool host_text_ok(const char *text)
{
    return text[0] != 0 && strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789.-_") == strlen(text);
}

/* scheme://host[:port], and a port that says nothing new left out, as browsers write it. */
static bool origin_clean(const char *url, bool path_ok, char *out, size_t cap)
{
    const char *plain = strncmp(url, "http://", 7) == 0 ? ":80" : NULL;
    const char *rest = plain ? url + 7 : url + 8;
    if (!plain && strncmp(url, "https://", 8) != 0) {
        return false;
    }
    size_t n = strcspn(rest, "/");
    if (n == 0 || (!path_ok && rest[n] != 0) ||
        strspn(rest, "abcdefghijklmnopqrstuvwxyz0123456789.-_:[]") < n) {
        return false;
    }
    const char *port = plain ? ":80" : ":443";
    size_t k = strlen(port);
    n -= n > k && memcmp(rest + n - k, port, k) == 0 ? k : 0;
    return (size_t)snprintf(out, cap, "%.*s%.*s", plain ? 7 : 8, url, (int)n, rest) < cap;
}

static enum confab_err parse_hosts(struct origin_rules *r, const char *list)
{
    char text[256];
    bool too_long;
    while (list_next(&list, text, sizeof(text), &too_long)) {
        if (too_long || !host_text_ok(text)) {
            return CONFAB_INVALID;
        }
        if (r->nhosts == HOSTS_MAX) {
            return CONFAB_LIMIT;
        }
        memcpy(r->hosts[r->nhosts++], text, sizeof(text));
    }
    return CONFAB_OK;
}

static enum confab_err parse_origins(struct origin_rules *r, const char *list)
{
    char text[ORIGIN_BYTES + 1];
    bool too_long;
    while (list_next(&list, text, sizeof(text), &too_long)) {
        if (r->norigins == ORIGINS_MAX) {
            return CONFAB_LIMIT;
        }
        if (too_long ||
            !origin_clean(text, false, r->origins[r->norigins], sizeof(r->origins[0]))) {
            return CONFAB_INVALID;
        }
        r->norigins++;
    }
    return CONFAB_OK;
}

enum confab_err origin_rules_parse(struct origin_rules *ret, const char *public_url,
                                   const char *hosts, const char *origins, const char **ret_bad)
{
    struct origin_rules r = {.tls = ret->tls};
    char url[ORIGIN_BYTES + 1];
    bool too_long = false;
    enum confab_err err = CONFAB_OK;
    *ret_bad = "public-url";
    char more[2];
    if (list_next(&public_url, url, sizeof(url), &too_long) &&
        (too_long || list_next(&public_url, more, sizeof(more), &too_long) ||
         !origin_clean(url, true, r.public_origin, sizeof(r.public_origin)))) {
        return CONFAB_INVALID;
    }
    if (r.public_origin[0]) {
        struct span name = span_str(strstr(r.public_origin, "://") + 3);
        name = origin_host_name(name);
        (void)snprintf(r.hosts[r.nhosts++], sizeof(r.hosts[0]), "%.*s", (int)name.n,
                       (const char *)name.p);
    }
    *ret_bad = "hosts";
    err = parse_hosts(&r, hosts);
    if (err) {
        return err;
    }
    *ret_bad = "cors-origins";
    err = parse_origins(&r, origins);
    if (err) {
        return err;
    }
    *ret = r;
    return CONFAB_OK;
}

bool origin_host_ok(const struct origin_rules *r, struct span host)
{
    struct span name = origin_host_name(host);
    if (host.n == 0) {
        return true; /* HTTP/1.0 without Host: no browser */
    }
    if (is_address(name) || http_eq_nocase(name, "localhost")) {
        return true;
    }
    for (uint32_t i = 0; i < r->nhosts; i++) {
        if (http_eq_nocase(name, r->hosts[i])) {
            return true;
        }
    }
    return false;
}

static bool same_as(struct span origin, const char *text)
{
    return text[0] != 0 && http_eq_nocase(origin, text);
}

uint32_t origin_cors(const struct origin_rules *r, const struct http_request *req)
{
    struct span origin = http_header_get(&req->headers, "origin");
    for (uint32_t i = 0; origin.p && i < r->norigins; i++) {
        if (same_as(origin, r->origins[i])) {
            return i + 1;
        }
    }
    return 0;
}

static bool is_own(const struct origin_rules *r, struct span origin, struct span host, bool https)
{
    const char *scheme = https ? "https://" : "http://";
    size_t n = strlen(scheme);
    if (same_as(origin, r->public_origin)) {
        return true;
    }
    if (origin.n != n + host.n || !http_eq_nocase(span_of(origin.p, n), scheme)) {
        return false;
    }
    for (size_t i = 0; i < host.n; i++) {
        if (tolower(origin.p[n + i]) != tolower(host.p[i])) {
            return false;
        }
    }
    return true;
}

bool origin_ok(const struct origin_rules *r, const struct http_request *req, bool https)
{
    struct span origin = http_header_get(&req->headers, "origin");
    if (!origin.p) {
        return true;
    }
    return http_header_count(&req->headers, "origin") == 1 &&
           (is_own(r, origin, req->host, https) || origin_cors(r, req) != 0);
}
