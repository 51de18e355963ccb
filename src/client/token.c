/*
 *     begin ──► another process has newer ones ──► use them
 *       │
 *       └─────► POST /tokens/refresh ──► store by tokens_end ──► use them
 *
 * An answer that is lost costs nothing: for a minute the server gives the same successor to whoever
 * repeats the predecessor, and until tokens_end the predecessor is what is stored.
 */
#include "client/token.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "client/client_internal.h"
#include "client/rest_internal.h"
#include "client/session_internal.h"

#define BUSY_MS      50U    /* while another process renews */
#define AHEAD_MS_MAX 60000U /* a token is renewed this long before its end, at most */
#define BODY_MAX     65536U

/* A quarter of what is left is kept in reserve, so that also short-lived ones are renewed in time.
 */
static uint64_t renew_of(uint64_t left_ms, uint64_t now)
{
    return now + left_ms - MIN(left_ms / 4, (uint64_t)AHEAD_MS_MAX);
}

static uint64_t renew_at(uint64_t expires_at_ms, uint64_t now)
{
    uint64_t wall = confab_now_ms();
    if (expires_at_ms == 0) {
        return UINT64_MAX;
    }
    return renew_of(expires_at_ms > wall ? expires_at_ms - wall : 0, now);
}

static bool take_text(struct buf *b, const char *text)
{
    buf_clear(b);
    buf_put(b, text, strlen(text) + 1);
    return buf_ok(b);
}

enum confab_err ctoken_init(struct ctoken *t, const struct confab_options *options, uint64_t now)
{
    memset(t, 0, sizeof(*t));
    chttp_init(&t->http, BODY_MAX);
    t->begin = options->tokens_begin;
    t->end = options->tokens_end;
    t->arg = options->tokens_arg;
    t->renew_ms = renew_at(options->token_expires_at_ms, now);
    if (options->refresh_token && options->refresh_token[0] != '\0' &&
        !take_text(&t->refresh, options->refresh_token)) {
        return CONFAB_NOMEM;
    }
    return CONFAB_OK;
}

void ctoken_deinit(struct ctoken *t)
{
    if (t->begun && t->end) {
        (void)t->end(t->arg, NULL);
    }
    chttp_deinit(&t->http);
    buf_deinit(&t->refresh);
}

enum confab_err ctoken_set(struct confab_client *c, const struct confab_tokens *tokens,
                           uint64_t now)
{
    struct ctoken *t = &c->tokens;
    t->renew_ms = renew_at(tokens->expires_at_ms, now);
    buf_clear(&c->token);
    buf_put_str(&c->token, tokens->token);
    bool ok = buf_ok(&c->token) && take_text(&t->refresh, tokens->refresh_token);
    csession_set_renewable(c->session, tokens->refresh_token[0] != '\0');
    return ok ? CONFAB_OK : CONFAB_NOMEM;
}

static void start(struct confab_client *c, uint64_t now)
{
    struct ctoken *t = &c->tokens;
    struct json_writer w;
    struct buf body;
    crest_body_begin(&w, &body);
    json_w_kcstr(&w, "refresh_token", (const char *)t->refresh.data);
    json_w_object_end(&w);
    struct chttp_request req = {
        .method = "POST",
        .path = span_str("/api/v1/tokens/refresh"),
        .body = span_of(body.data, body.len),
    };
    uint64_t left = t->deadline_ms > now ? t->deadline_ms - now : 0;
    chttp_begin(&t->http, c->host, c->port, span_of(c->authority.data, c->authority.len), &req,
                left, now);
    if (!buf_ok(&body)) {
        chttp_fail(&t->http, CONFAB_NOMEM);
    }
    buf_deinit(&body);
}

/* False: not yet. Else *ret is set, and with CONFAB_E_OK either `newer` tokens or a call under way.
 */
static bool begin(struct confab_client *c, uint64_t now, struct confab_tokens *newer,
                  enum confab_error *ret)
{
    struct ctoken *t = &c->tokens;
    if (now < t->retry_at_ms) {
        return false;
    }
    memset(newer, 0, sizeof(*newer));
    snprintf(newer->token, sizeof(newer->token), "%.*s", (int)c->token.len,
             c->token.len > 0 ? (const char *)c->token.data : "");
    snprintf(newer->refresh_token, sizeof(newer->refresh_token), "%s",
             t->refresh.len > 0 ? (const char *)t->refresh.data : "");
    enum confab_error error = t->begin ? t->begin(t->arg, newer) : CONFAB_E_OK;
    if (error == CONFAB_E_BUSY && now < t->deadline_ms) {
        t->retry_at_ms = now + BUSY_MS;
        return false;
    }
    t->begun = error == CONFAB_E_OK;
    *ret = error;
    return true;
}

static bool same_token(const struct confab_client *c, const struct confab_tokens *other)
{
    return c->token.len == strlen(other->token) &&
           memcmp(c->token.data, other->token, c->token.len) == 0;
}

static enum confab_error read_answer(struct ctoken *t, struct confab_tokens *ret,
                                     uint64_t *ret_left_ms)
{
    struct crest_answer a;
    struct span key;
    uint64_t seconds = 0;
    memset(ret, 0, sizeof(*ret));
    if (crest_answer_begin(&a, &t->http.content) != CONFAB_OK) {
        return CONFAB_E_NOMEM;
    }
    while (json_object_next(&a.j, &key)) {
        if (!crest_read_token(&a.j, key, ret, &seconds)) {
            json_skip(&a.j);
        }
    }
    bool ok = crest_answer_free(&a);
    *ret_left_ms = seconds * 1000;
    return ok && ret->token[0] && ret->refresh_token[0] ? CONFAB_E_OK : CONFAB_E_PROTOCOL;
}

/* Everything but a plain no is passing: the next attempt may succeed. */
static enum confab_error failure_of(const struct chttp *x)
{
    if (x->err) {
        return cerror_of(x->err);
    }
    switch (x->status) {
    case 400:
    case 401:
    case 403:
        return CONFAB_E_UNAUTHENTICATED;
    case 429:
        return CONFAB_E_LIMIT;
    case 404:
        return CONFAB_E_PROTOCOL;
    default:
        return x->status >= 500 ? CONFAB_E_BUSY : CONFAB_E_PROTOCOL;
    }
}

static enum confab_error finish(struct confab_client *c, const struct confab_tokens *fresh,
                                uint64_t renew_ms, enum confab_error error)
{
    struct ctoken *t = &c->tokens;
    if (!error && ctoken_set(c, fresh, cio_now_ms()) != CONFAB_OK) {
        error = CONFAB_E_NOMEM;
    }
    if (!error) {
        t->renew_ms = renew_ms;
    }
    t->running = false;
    t->retry_at_ms = 0;
    chttp_reset(&t->http);
    return error;
}

static enum confab_error on_answer(struct confab_client *c, uint64_t now)
{
    struct ctoken *t = &c->tokens;
    struct confab_tokens fresh;
    uint64_t left_ms = 0;
    enum confab_error error = CONFAB_E_OK;
    if (t->http.err || t->http.status != 200) {
        error = failure_of(&t->http);
    } else {
        error = read_answer(t, &fresh, &left_ms);
    }
    if (!error && fresh.expires_at_ms == 0 && left_ms > 0) {
        fresh.expires_at_ms = confab_now_ms() + left_ms;
    }
    t->begun = false;
    if (t->end) {
        enum confab_error kept = t->end(t->arg, error ? NULL : &fresh);
        error = error ? error : kept;
    }
    error = finish(c, &fresh, left_ms > 0 ? renew_of(left_ms, now) : UINT64_MAX, error);
    explicit_bzero(&fresh, sizeof(fresh));
    return error;
}

bool ctoken_step(struct confab_client *c, uint64_t now, enum confab_error *ret)
{
    struct ctoken *t = &c->tokens;
    if (!t->running) {
        t->running = true;
        t->deadline_ms = now + c->timeout_ms;
        t->retry_at_ms = 0;
    }
    if (t->http.phase == CHTTP_IDLE) {
        struct confab_tokens newer;
        enum confab_error error;
        if (!begin(c, now, &newer, &error)) {
            return false;
        }
        bool other = !error && newer.token[0] && !same_token(c, &newer);
        if (!error && !other && newer.refresh_token[0] == '\0') {
            error = CONFAB_E_UNAUTHENTICATED;
        }
        if (error || other) {
            if (t->begun && t->end) {
                (void)t->end(t->arg, NULL);
            }
            t->begun = false;
            *ret = finish(c, &newer, renew_at(newer.expires_at_ms, now), error);
            explicit_bzero(&newer, sizeof(newer));
            return true;
        }
        bool ok = take_text(&t->refresh, newer.refresh_token);
        explicit_bzero(&newer, sizeof(newer));
        if (ok) {
            start(c, now);
        } else {
            chttp_fail(&t->http, CONFAB_NOMEM);
        }
    }
    if (!chttp_step(&t->http, now)) {
        return false;
    }
    *ret = on_answer(c, now);
    return true;
}

size_t ctoken_poll(const struct ctoken *t, struct pollfd *fd, uint64_t *io_at_ms)
{
    if (!t->running) {
        return 0;
    }
    if (t->http.phase == CHTTP_IDLE) {
        *io_at_ms = MIN(*io_at_ms, t->retry_at_ms);
        return 0;
    }
    *io_at_ms = MIN(*io_at_ms, t->http.deadline_ms);
    if (!cconn_is_open(&t->http.conn)) {
        return 0;
    }
    *fd = (struct pollfd){.fd = t->http.conn.fd, .events = chttp_events(&t->http)};
    return 1;
}
