#include "gateway/proxies.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "gateway/internal.h"

static const uint8_t MAPPED[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

/* ---- Addresses ---- */

static bool raw_of(const char *text, uint8_t ret[16], bool *ret_v4)
{
    uint8_t v4[4];
    *ret_v4 = inet_pton(AF_INET, text, v4) == 1;
    if (*ret_v4) {
        memcpy(ret, MAPPED, sizeof(MAPPED));
        memcpy(ret + sizeof(MAPPED), v4, sizeof(v4));
        return true;
    }
    return inet_pton(AF_INET6, text, ret) == 1;
}

static void text_of(const uint8_t raw[16], char ret[48])
{
    bool v4 = memcmp(raw, MAPPED, sizeof(MAPPED)) == 0;
    (void)inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? raw + sizeof(MAPPED) : raw, ret, 48);
}

static bool is_inside(const struct proxy_net *net, const uint8_t raw[16])
{
    size_t whole = net->bits / 8;
    unsigned rest = net->bits % 8;
    return memcmp(net->address, raw, whole) == 0 &&
           (rest == 0 || ((net->address[whole] ^ raw[whole]) >> (8 - rest)) == 0);
}

static bool raw_trusted(const struct proxy_rules *r, const uint8_t raw[16])
{
    for (uint32_t i = 0; i < r->n; i++) {
        if (is_inside(&r->at[i], raw)) {
            return true;
        }
    }
    return false;
}

bool proxy_is_trusted(const struct proxy_rules *r, const char *address)
{
    uint8_t raw[16];
    bool v4;
    return r && raw_of(address, raw, &v4) && raw_trusted(r, raw);
}

/* ---- The options ---- */

/* 0 to max, in digits. */
static bool bits_of(const char *text, unsigned max, unsigned *ret)
{
    unsigned n = 0;
    size_t len = strlen(text);
    if (len == 0 || len > 3 || strspn(text, "0123456789") != len) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        n = n * 10 + (unsigned)(text[i] - '0');
    }
    *ret = n;
    return n <= max;
}

static bool net_of(char *text, struct proxy_net *ret)
{
    bool v4;
    unsigned bits = 128;
    char *slash = strchr(text, '/');
    if (slash) {
        *slash = 0;
    }
    if (!raw_of(text, ret->address, &v4)) {
        return false;
    }
    if (slash) {
        if (!bits_of(slash + 1, v4 ? 32 : 128, &bits)) {
            return false;
        }
        bits += v4 ? 96 : 0;
    }
    /* 10.1.2.3/8 may be meant as the one or as the other. */
    for (unsigned i = bits; i < 128; i++) {
        if (ret->address[i / 8] & (0x80U >> (i % 8))) {
            return false;
        }
    }
    ret->bits = (uint8_t)bits;
    return true;
}

enum confab_err proxy_rules_parse(struct proxy_rules *ret, const char *list, const char *header,
                                  const char **ret_bad)
{
    struct proxy_rules r = {.forwarded = strcmp(header, PROXY_FORWARDED) == 0};
    *ret_bad = "proxy-header";
    if (!r.forwarded && strcmp(header, PROXY_XFF) != 0) {
        return CONFAB_INVALID;
    }
    *ret_bad = "trusted-proxies";
    for (;;) {
        char one[64];
        list += strspn(list, ", \t");
        size_t n = strcspn(list, ", \t");
        if (n == 0) {
            break;
        }
        if (r.n == PROXIES_MAX) {
            return CONFAB_LIMIT;
        }
        if (n >= sizeof(one)) {
            return CONFAB_INVALID;
        }
        memcpy(one, list, n);
        one[n] = 0;
        if (!net_of(one, &r.at[r.n])) {
            return CONFAB_INVALID;
        }
        r.n++;
        list += n;
    }
    *ret = r;
    return CONFAB_OK;
}

/* ---- The headers ---- */

static struct span trimmed(struct span s)
{
    while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t')) {
        s = span_of(s.p + 1, s.n - 1);
    }
    while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t')) {
        s.n--;
    }
    return s;
}

static struct span unquoted(struct span s)
{
    return s.n >= 2 && s.p[0] == '"' && s.p[s.n - 1] == '"' ? span_of(s.p + 1, s.n - 2) : s;
}

/*
 * What stands behind the last separator; *io ends before it. From the right, since what stands
 * there was written by the proxy: a quote that a client left open must not swallow it. (Escapes in
 * quotes are not looked at: no address has any.)
 */
static struct span last_piece(struct span *io, char separator, bool quotes)
{
    bool quoted = false;
    size_t n = io->n;
    for (; n > 0; n--) {
        char c = (char)io->p[n - 1];
        quoted = quoted != (quotes && c == '"');
        if (!quoted && c == separator) {
            break;
        }
    }
    struct span one = span_of(io->p + n, io->n - n);
    io->n = n > 0 ? n - 1 : 0;
    return trimmed(one);
}

struct hop {
    struct span address; /* as written, without quotes */
    struct span proto;   /* of Forwarded */
};

/* for=192.0.2.7;proto=https;by=_edge */
static struct hop element_of(struct span text)
{
    struct hop hop = {0};
    while (text.n > 0) {
        struct span pair = last_piece(&text, ';', true);
        const uint8_t *equals = pair.n > 0 ? memchr(pair.p, '=', pair.n) : NULL;
        if (!equals) {
            continue;
        }
        struct span name = span_of(pair.p, (size_t)(equals - pair.p));
        struct span value = unquoted(span_of(equals + 1, pair.n - name.n - 1));
        if (http_eq_nocase(name, "for")) {
            hop.address = value;
        } else if (http_eq_nocase(name, "proto")) {
            hop.proto = value;
        }
    }
    return hop;
}

/* An address, also with a port: 192.0.2.7:4711, [2001:db8::7]:4711. */
static bool hop_raw(struct span s, uint8_t ret[16])
{
    char text[48];
    bool v4;
    if (s.n > 0 && s.p[0] == '[') {
        const uint8_t *end = memchr(s.p, ']', s.n);
        size_t n = end ? (size_t)(end - s.p) : 0;
        if (n == 0 || (n + 1 < s.n && s.p[n + 1] != ':')) {
            return false;
        }
        s = span_of(s.p + 1, n - 1);
    } else if (s.n > 0) {
        const uint8_t *colon = memchr(s.p, ':', s.n);
        size_t n = colon ? (size_t)(colon - s.p) : s.n;
        bool port = colon && !memchr(colon + 1, ':', s.n - n - 1);
        s = port ? span_of(s.p, n) : s;
    }
    if (s.n == 0 || s.n >= sizeof(text)) {
        return false;
    }
    memcpy(text, s.p, s.n);
    text[s.n] = 0;
    return strlen(text) == s.n && raw_of(text, ret, &v4);
}

static enum proxy_scheme scheme_of(struct span s)
{
    return http_eq_nocase(s, "https")  ? PROXY_SCHEME_HTTPS
           : http_eq_nocase(s, "http") ? PROXY_SCHEME_HTTP
                                       : PROXY_SCHEME_UNKNOWN;
}

/* One hop further from us. False: it is the client, or what stands left of it says nothing. */
static bool hop_take(const struct proxy_rules *r, const struct hop *hop, struct proxy_said *io)
{
    uint8_t raw[16];
    if (!hop_raw(hop->address, raw)) {
        io->odd = true;
        return false;
    }
    text_of(raw, io->address);
    io->scheme = scheme_of(hop->proto);
    return raw_trusted(r, raw);
}

void proxy_read(const struct proxy_rules *r, const struct http_headers *h, struct proxy_said *ret)
{
    const char *name = r->forwarded ? PROXY_FORWARDED : PROXY_XFF;
    bool more = true;
    memset(ret, 0, sizeof(*ret));
    for (uint32_t i = h->n; more && i > 0; i--) {
        struct span rest = h->at[i - 1].value;
        if (!http_eq_nocase(h->at[i - 1].name, name)) {
            continue;
        }
        while (more && rest.n > 0) {
            struct span one = last_piece(&rest, ',', r->forwarded);
            struct hop hop = r->forwarded ? element_of(one) : (struct hop){.address = one};
            more = one.n == 0 || hop_take(r, &hop, ret);
        }
    }
    if (!r->forwarded && http_header_count(h, "x-forwarded-proto") == 1) {
        ret->scheme = scheme_of(http_header_get(h, "x-forwarded-proto"));
    }
}

/* ---- Requests ---- */

static void read_said(struct shard *s, const struct conn *c, const struct http_request *req,
                      struct proxy_said *ret)
{
    memset(ret, 0, sizeof(*ret));
    if (c->wire & WIRE_PROXY) {
        proxy_read(s->deps.proxies, &req->headers, ret);
    }
}

void proxies_note(struct shard *s, struct conn *c, const struct http_request *req)
{
    struct http_state *h = &c->io->http;
    struct proxy_said said;
    read_said(s, c, req, &said);
    h->passed_on = said.address[0] != 0;
    h->from = h->passed_on ? rates_from(s, said.address) : 0;
    if (said.odd) {
        metrics_inc(s->metrics, METRIC_PROXY_HEADERS_ODD);
    }
}

void proxies_client(struct shard *s, struct conn *c, const struct http_request *req, char ret[48])
{
    struct proxy_said said;
    read_said(s, c, req, &said);
    if (said.address[0] != 0) {
        memcpy(ret, said.address, sizeof(said.address));
    } else {
        struct net_peer peer = {0};
        s->deps.net->ops->peer(s->deps.net, c->handle, &peer);
        memcpy(ret, peer.address, sizeof(peer.address));
    }
}

bool proxies_https(struct shard *s, struct conn *c, const struct http_request *req)
{
    struct proxy_said said;
    read_said(s, c, req, &said);
    return said.scheme == PROXY_SCHEME_HTTPS ||
           (said.scheme == PROXY_SCHEME_UNKNOWN && s->deps.origins->tls);
}
