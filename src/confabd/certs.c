#include "confabd/certs.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "adapters/tls/tls_server.h"
#include "base/diag.h"

#define DAY_S         86400
#define WARN_S        (14 * DAY_S) /* before the end, but never more than this part of a life: */
#define WARN_PART     6
#define WARN_EVERY_MS (24ULL * 60 * 60 * 1000)

void certs_init(struct certs *c, struct front *front)
{
    memset(c, 0, sizeof(*c));
    c->front = front;
    if (front->tls) {
        tls_watch_init(&c->watch, front->cert_path, front->key_path);
    }
}

static bool reload(struct certs *c)
{
    char detail[TLS_DETAIL_MAX] = "";
    struct front *f = c->front;
    const struct tls_server_config cfg = {f->cert_path, f->key_path};
    enum confab_err err = tls_server_reload(f->tls, &cfg, detail);
    c->bad = err != CONFAB_OK;
    if (err != CONFAB_OK) {
        c->refused++;
        diag_error(DIAG_NET, "the new certificate is refused, the old one stays | why=\"%s\"",
                   detail[0] ? detail : err_text(err));
        return false;
    }
    c->reloaded++;
    c->warned_ms = 0;
    f->waiting = false;
    /* Taken away again in this moment: its numbers follow with the next change. */
    if (tls_cert_look(f->cert_path, &f->cert) == CONFAB_OK) {
        diag_info(DIAG_NET, "certificate read | fingerprint=%s days_left=%" PRId64,
                  f->cert.fingerprint, f->cert.seconds_left / DAY_S);
    }
    return true;
}

static int64_t seconds_left(const struct certs *c, uint64_t wall_ms)
{
    return c->front->cert.ends_s - (int64_t)(wall_ms / 1000);
}

static bool ends_soon(const struct certs *c, uint64_t wall_ms)
{
    const struct tls_cert *cert = &c->front->cert;
    return seconds_left(c, wall_ms) < MIN(WARN_S, (cert->ends_s - cert->begins_s) / WARN_PART);
}

static void announce_end(struct certs *c, uint64_t mono_ms, uint64_t wall_ms)
{
    if (!ends_soon(c, wall_ms) || (c->warned_ms != 0 && mono_ms < c->warned_ms + WARN_EVERY_MS)) {
        return;
    }
    c->warned_ms = MAX(mono_ms, 1U);
    int64_t left = seconds_left(c, wall_ms);
    if (left <= 0) {
        diag_error(DIAG_NET, "the certificate has expired | file=\"%s\"", c->front->cert_path);
    } else {
        diag_warn(DIAG_NET, "the certificate expires soon | hours_left=%" PRId64 " file=\"%s\"",
                  left / 3600, c->front->cert_path);
    }
}

bool certs_tick(struct certs *c, bool asked, uint64_t mono_ms, uint64_t wall_ms)
{
    if (!c->front->tls) {
        return false;
    }
    tls_server_tick(c->front->tls, mono_ms);
    bool changed = tls_watch_look(&c->watch);
    changed = (changed || (asked && !c->front->waiting)) && reload(c);
    announce_end(c, mono_ms, wall_ms);
    return changed;
}

void certs_tell(const struct certs *c, uint64_t wall_ms, struct metrics *m, struct notices *notices)
{
    char text[NOTICE_TEXT_MAX] = "";
    if (!c->front->tls) {
        return;
    }
    struct tls_server_stats tls;
    tls_server_stats(c->front->tls, &tls);
    metrics_gauge_set(m, METRIC_TLS_OK, (int64_t)tls.handshakes_ok);
    metrics_gauge_set(m, METRIC_TLS_RESUMED, (int64_t)tls.resumed);
    metrics_gauge_set(m, METRIC_TLS_FAILED, (int64_t)tls.handshakes_failed);
    metrics_gauge_set(m, METRIC_TLS_PLAIN_HTTP, (int64_t)tls.plain_http);
    metrics_gauge_set(m, METRIC_TLS_TRUNCATED, (int64_t)tls.truncated);
    metrics_gauge_set(m, METRIC_TLS_RELOADED, (int64_t)c->reloaded);
    metrics_gauge_set(m, METRIC_TLS_RELOAD_REFUSED, (int64_t)c->refused);
    metrics_gauge_set(m, METRIC_TLS_CERT_ENDS, c->front->cert.ends_s);
    int64_t left = seconds_left(c, wall_ms);
    if (c->front->waiting) {
        (void)snprintf(text, sizeof(text), "there is no certificate from the authority yet");
    } else if (left <= 0) {
        (void)snprintf(text, sizeof(text), "the certificate has expired");
    } else if (ends_soon(c, wall_ms)) {
        (void)snprintf(text, sizeof(text), "the certificate expires in %" PRId64 " hours",
                       left / 3600);
    } else if (c->bad) {
        (void)snprintf(text, sizeof(text),
                       "a changed certificate or key was refused; the earlier pair is in use");
    }
    notices_set(notices, NOTICE_CERTIFICATE, text);
}
