/*
 * One HTTPS request after the other, by libcurl, on the thread of the caller: which is none that
 * serves. Private to this folder.
 */
#ifndef CONFAB_ADAPTERS_ACME_ACME_HTTP_H
#define CONFAB_ADAPTERS_ACME_ACME_HTTP_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define ACME_URL_MAX   512U
#define ACME_NONCE_MAX 200U
#define ACME_WHY_MAX   200U

struct acme_http {
    void *curl;
    void *headers;           /* of a request with a body */
    const atomic_bool *stop; /* set: requests under way end with CONFAB_CLOSED */
    long status;
    uint32_t retry_after_s;     /* of the last answer; 0: it said nothing */
    char nonce[ACME_NONCE_MAX]; /* the newest; empty: none */
    char location[ACME_URL_MAX];
    struct buf body;
    char why[ACME_WHY_MAX]; /* with an error: one line */
};

/* ca_file NULL: what the system trusts. CONFAB_NOMEM. */
CONFAB_NODISCARD enum confab_err acme_http_open(struct acme_http *h, const char *ca_file,
                                                const atomic_bool *stop);
void acme_http_close(struct acme_http *h);
/*
 * A GET, or with a body a POST of application/jose+json. CONFAB_OK with any status. CONFAB_NET: no
 * answer; CONFAB_TOO_LARGE; CONFAB_CLOSED: stopping.
 */
CONFAB_NODISCARD enum confab_err acme_http_request(struct acme_http *h, const char *url,
                                                   const struct buf *body);

#endif
