/*
 * Under which names this server answers, and which pages of other places may talk to it. What a
 * browser can be made to send is judged here, before anything else of a request:
 *
 *   Host     an address, localhost, the host of public-url, or one of `hosts`: a foreign name that
 *            points here (DNS rebinding) makes a page of that name "same origin" to a browser
 *   Origin   of a WebSocket handshake, or of a request that uses the cookie: our own, or one of
 *            cors-origins. No Origin: not a browser
 *   CORS     answers for cors-origins only, never with credentials
 */
#ifndef CONFAB_GATEWAY_ORIGIN_H
#define CONFAB_GATEWAY_ORIGIN_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "proto/http1.h"

#define ORIGIN_BYTES 261U /* "https://", a host of up to 253 characters, a port */
#define ORIGINS_MAX  16U
#define HOSTS_MAX    16U

struct origin_rules {
    char public_origin[ORIGIN_BYTES + 8]; /* scheme and host of public-url; may be empty */
    char hosts[HOSTS_MAX][256];           /* lower case, without port */
    char origins[ORIGINS_MAX][ORIGIN_BYTES + 8];
    uint32_t nhosts;
    uint32_t norigins;
    bool tls; /* the server itself speaks TLS */
};

/*
 * From the options: a URL, and lists separated by commas or blanks; any may be empty. On
 * CONFAB_INVALID or CONFAB_LIMIT *ret_bad is the option's name.
 */
CONFAB_NODISCARD enum confab_err origin_rules_parse(struct origin_rules *ret,
                                                    const char *public_url, const char *hosts,
                                                    const char *origins, const char **ret_bad);

/* The Host without its port and a dot at its end; brackets of an address stay. */
struct span origin_host_name(struct span host);
bool origin_host_ok(const struct origin_rules *r, struct span host);
/* The request's Origin, if it has one: is it ours, or allowed? https: the client came by that. */
bool origin_ok(const struct origin_rules *r, const struct http_request *req, bool https);
/* The entry of cors-origins that is the request's Origin, from 1; 0: none. */
uint32_t origin_cors(const struct origin_rules *r, const struct http_request *req);

#endif
