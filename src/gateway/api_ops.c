/* /healthz, /readyz, /metrics. */
#include "gateway/api.h"
#include "gateway/http.h"
#include "gateway/internal.h"
#include "gateway/notices.h"

static void healthz(struct api_request *r)
{
    http_answer(r->s, r->c, 200, "text/plain; charset=utf-8", span_str("ok\n"), span_of(NULL, 0));
}

struct ready_call {
    struct dir_call dir;
    struct api_call *call;
};

static void on_ping(struct shard *s, struct dir_call *dir)
{
    struct ready_call *a = CONTAINER_OF(dir, struct ready_call, dir);
    struct buf body = {0};
    if (dir->req.ret_err) {
        api_call_fail(s, a->call, CONFAB_BUSY, "the directory does not answer", NULL);
        return;
    }
    buf_put_str(&body, "{\"status\":\"ready\"");
    if (s->deps.notices) {
        buf_put_str(&body, ",\"notices\":");
        notices_put(s->deps.notices, &body);
    }
    buf_put_str(&body, "}");
    api_call_answer(s, a->call, 200, &body);
}

/* NULL when every engine is recovered and takes sends. */
static const char *not_ready(struct shard *s)
{
    if (s->draining) {
        return "the server is going away";
    }
    if (!auth_state_is_loaded(s->deps.auth)) {
        return "starting";
    }
    for (uint16_t i = 0; i < s->cfg.shards; i++) {
        const struct shard *p = s->out[i].peer;
        int health = atomic_load_explicit(&p->health, memory_order_relaxed);
        if (!atomic_load_explicit(&p->recovered, memory_order_relaxed)) {
            return "recovering";
        }
        if (health != CONFAB_OK) {
            return err_text((enum confab_err)health);
        }
    }
    return NULL;
}

static void readyz(struct api_request *r)
{
    const char *why = not_ready(r->s);
    if (why) {
        http_answer_error_status(r->s, r->c, 503, CONFAB_BUSY, why, NULL, span_of(NULL, 0));
        return;
    }
    struct api_call *call = api_call_new(r);
    if (!call) {
        return;
    }
    struct dir_call *dir = dir_call_new(sizeof(struct ready_call), DIR_PING);
    enum confab_err err = CONFAB_NOMEM;
    if (dir) {
        CONTAINER_OF(dir, struct ready_call, dir)->call = call;
        dir->on_done = on_ping;
        err = dir_call_submit(r->s, dir);
    }
    if (err) {
        api_call_fail(r->s, call, CONFAB_BUSY, "the directory does not answer", NULL);
    }
}

static void metrics_get(struct api_request *r)
{
    struct buf body = {0};
    if (!r->s->cfg.metrics_public && !api_is_local(r)) {
        api_fail(r, CONFAB_NOT_FOUND, NULL, NULL);
        return;
    }
    metrics_render(&body, r->s->metrics->owner);
    http_answer_buf(r->s, r->c, 200, "text/plain; version=0.0.4; charset=utf-8", &body);
}

const struct api_route api_ops[] = {
    {HTTP_GET, "/healthz", healthz, API_OPEN},
    {HTTP_GET, "/readyz", readyz, API_OPEN},
    {HTTP_GET, "/metrics", metrics_get, API_OPEN},
    {0},
};
