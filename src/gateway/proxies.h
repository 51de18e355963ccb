/*
 * Whom a request comes from when a proxy passes it on. A header that names the client can be
 * written by anybody, so it counts only when the peer of the connection is one of trusted-proxies,
 * and in it only what trusted ones wrote:
 *
 *     X-Forwarded-For: 198.51.100.9, 203.0.113.5, 10.0.0.2     peer: 10.0.0.1
 *                      └ anybody's   └ the client └ trusted ────────┘ trusted
 *
 * Each proxy adds the address that it was asked from on the right. Read from there, the first one
 * that is not trusted is the client; what stands left of it is what that client said. When all are
 * trusted it is the leftmost. Behind something that is no address the rest says nothing: the client
 * is then the last proxy that could be read.
 *
 * Only the one header of proxy-header is read. A proxy sets one of them and passes the other on as
 * the client sent it, so believing both would be believing the client.
 */
#ifndef CONFAB_GATEWAY_PROXIES_H
#define CONFAB_GATEWAY_PROXIES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "proto/http1.h"

#define PROXIES_MAX     32U
#define PROXY_FORWARDED "forwarded"
#define PROXY_XFF       "x-forwarded-for"

struct proxy_net {
    uint8_t address[16]; /* IPv4 as ::ffff:a.b.c.d; 0 behind the bits */
    uint8_t bits;
};

struct proxy_rules {
    struct proxy_net at[PROXIES_MAX];
    uint32_t n;
    bool forwarded; /* read Forwarded (RFC 7239), not X-Forwarded-For and -Proto */
};

enum proxy_scheme { PROXY_SCHEME_UNKNOWN = 0, PROXY_SCHEME_HTTP, PROXY_SCHEME_HTTPS };

/* What trusted proxies say of a request. */
struct proxy_said {
    char address[48]; /* of the client; empty: nothing that can be read */
    enum proxy_scheme scheme;
    bool odd; /* a hop could not be read */
};

/*
 * From the options: addresses and networks (10.0.0.0/8) separated by commas or blanks, and the name
 * of the header. On CONFAB_INVALID or CONFAB_LIMIT *ret_bad is the option's name.
 */
CONFAB_NODISCARD enum confab_err proxy_rules_parse(struct proxy_rules *ret, const char *list,
                                                   const char *header, const char **ret_bad);
/* Is it a trusted proxy? `address`: text without port; r may be NULL: none is. */
bool proxy_is_trusted(const struct proxy_rules *r, const char *address);
/* For requests of a trusted peer only. */
void proxy_read(const struct proxy_rules *r, const struct http_headers *h, struct proxy_said *ret);

struct shard;
struct conn;
/* For each request on a connection whose peer is trusted: what conn_io.http remembers of it. */
void proxies_note(struct shard *s, struct conn *c, const struct http_request *req);
/* The address of the client of a request, as text. */
void proxies_client(struct shard *s, struct conn *c, const struct http_request *req, char ret[48]);
/* Did the client come by TLS, as far as the server can know? */
bool proxies_https(struct shard *s, struct conn *c, const struct http_request *req);

#endif
