#include "confabd/domain.h"

#include <stdio.h>
#include <stdlib.h>

#include "adapters/acme/acme.h"
#include "adapters/tls/tls_server.h"
#include "base/diag.h"

#define PORT_HTTPS 443

_Static_assert(FRONT_DOMAINS_MAX <= ACME_NAMES_MAX, "all can be asked for");

struct domain {
    struct acme_config cfg;
    struct acme *acme;
};

static enum confab_err on_challenge(void *arg, const char *name, const uint8_t *digest)
{
    return tls_server_challenge(arg, name, digest);
}

enum confab_err domain_open(const struct config *cfg, const struct front *front,
                            struct domain **ret)
{
    if (front->domains.n == 0) {
        *ret = NULL;
        return CONFAB_OK;
    }
    struct domain *d = calloc(1, sizeof(*d));
    if (!d) {
        return CONFAB_NOMEM;
    }
    d->cfg = (struct acme_config){
        .directory = cfg->acme_directory,
        .ca_file = cfg->acme_ca[0] ? cfg->acme_ca : NULL,
        .contact = cfg->acme_contact[0] ? cfg->acme_contact : NULL,
        .folder = front->acme_folder,
        .names_n = front->domains.n,
        .retry_ms = cfg->acme_retry_ms,
        .challenge = on_challenge,
        .arg = front->tls,
    };
    for (size_t i = 0; i < front->domains.n; i++) {
        d->cfg.names[i] = front->domains.at[i];
    }
    if (cfg->port != PORT_HTTPS) {
        diag_info(DIAG_NET, "the authority connects to port 443, which must lead here | port=%u",
                  (unsigned)cfg->port);
    }
    enum confab_err err = acme_open(&d->cfg, &d->acme);
    if (err != CONFAB_OK) {
        free(d);
        return err;
    }
    *ret = d;
    return CONFAB_OK;
}

void domain_close(struct domain *d)
{
    if (d) {
        acme_close(d->acme);
        free(d);
    }
}

void domain_poke(struct domain *d)
{
    if (d) {
        acme_poke(d->acme);
    }
}

void domain_tell(struct domain *d, struct metrics *m, struct notices *notices)
{
    char text[NOTICE_TEXT_MAX] = "";
    if (!d) {
        return;
    }
    struct acme_stats s;
    acme_stats(d->acme, &s);
    metrics_gauge_set(m, METRIC_ACME_ISSUED, (int64_t)s.issued);
    metrics_gauge_set(m, METRIC_ACME_FAILED, (int64_t)s.failed);
    metrics_gauge_set(m, METRIC_ACME_NEXT, s.next_s);
    if (s.why[0] != '\0') {
        (void)snprintf(text, sizeof(text), "no certificate from the authority: %.150s", s.why);
    }
    notices_set(notices, NOTICE_ACME, text);
}
