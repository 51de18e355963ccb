/* Routing of the REST calls, signing in, and what all of them share. */
#include "gateway/api.h"

#include <sodium.h>
#include <stdlib.h>

#include "gateway/http.h"
#include "gateway/internal.h"
#include "gateway/overload.h"

#define SEGMENTS_MAX 8U
#define BUSY_WAIT_MS 1000U /* and up to as much again, so that not all come back together */

static const struct api_route *const tables[] = {
    api_accounts,    api_tokens, api_devices,       api_invites, api_admin,
    api_admin_users, api_users,  api_presence,      api_groups,  api_messages,
    api_history,     api_inbox,  api_conversations, api_events,  api_ops,
};

bool api_route_at(size_t i, struct api_route *ret)
{
    for (size_t t = 0; t < ARRAY_LEN(tables); t++) {
        for (const struct api_route *r = tables[t]; r->path; r++) {
            if (i-- == 0) {
                *ret = *r;
                return true;
            }
        }
    }
    return false;
}

struct path {
    struct span segments[SEGMENTS_MAX];
    uint32_t n;
};

static enum confab_err path_split(struct shard *s, struct span raw, struct path *ret)
{
    struct span seg;
    ret->n = 0;
    while (http_segment_next(&raw, &seg)) {
        if (ret->n == SEGMENTS_MAX) {
            return CONFAB_NOT_FOUND;
        }
        enum confab_err err = http_decode(seg, 0, &s->scratch, &ret->segments[ret->n]);
        if (err) {
            return err;
        }
        ret->n++;
    }
    return CONFAB_OK;
}

static bool route_match(const struct api_route *route, const struct path *path,
                        struct span args[API_ARGS_MAX])
{
    struct span pattern = span_str(route->path);
    struct span seg;
    uint32_t i = 0;
    uint32_t nargs = 0;
    while (http_segment_next(&pattern, &seg)) {
        if (i == path->n) {
            return false;
        }
        if (span_is(seg, "{}")) {
            if (path->segments[i].n == 0) {
                return false;
            }
            args[nargs++] = path->segments[i];
        } else if (!span_eq(seg, path->segments[i])) {
            return false;
        }
        i++;
    }
    return i == path->n;
}

static const char *method_text(enum http_method m)
{
    switch (m) {
    case HTTP_GET:
        return "GET";
    case HTTP_POST:
        return "POST";
    case HTTP_PUT:
        return "PUT";
    case HTTP_PATCH:
        return "PATCH";
    case HTTP_DELETE:
        return "DELETE";
    default:
        return "";
    }
}

/* NULL: none of this path and method; `allow` then lists the methods of the path, if it exists. */
static const struct api_route *route_find(enum http_method method, const struct path *path,
                                          struct span args[API_ARGS_MAX], struct buf *allow)
{
    enum http_method want = method == HTTP_HEAD ? HTTP_GET : method;
    unsigned seen = 0;
    for (size_t t = 0; t < ARRAY_LEN(tables); t++) {
        for (const struct api_route *r = tables[t]; r->path; r++) {
            if (!route_match(r, path, args)) {
                continue;
            }
            if (r->method == want) {
                return r;
            }
            if (!(seen & (1U << r->method))) {
                buf_put_str(allow, allow->len > 0 ? ", " : "");
                buf_put_str(allow, method_text(r->method));
                buf_put_str(allow, r->method == HTTP_GET ? ", HEAD" : "");
                seen |= 1U << r->method;
            }
        }
    }
    return NULL;
}

/* ---- Signing in ---- */

/* The directory knows whether it is an administrator: the request at the front goes on. */
static void on_admin(struct shard *s, uint64_t id, enum confab_err err)
{
    struct conn *c = conn_of_id(s, id);
    if (!c || c->state != CONN_HTTP || !c->io) {
        return;
    }
    c->io->http.auth_done = true;
    c->io->http.auth_err = err;
    conn_release(s, c, HOLD_AUTH);
}

static bool bearer_token(const struct http_request *req, struct span *ret)
{
    struct span v = http_header_get(&req->headers, "authorization");
    if (http_header_count(&req->headers, "authorization") != 1 || v.n < 8 ||
        !http_eq_nocase(span_of(v.p, 7), "bearer ")) {
        return false;
    }
    *ret = span_of(v.p + 7, v.n - 7);
    while (ret->n > 0 && ret->p[0] == ' ') {
        ret->p++;
        ret->n--;
    }
    return ret->n > 0;
}

bool api_is_local(const struct api_request *r)
{
    static const char *const marks[] = {PROXY_FORWARDED, PROXY_XFF, "x-forwarded-proto",
                                        "x-real-ip", "via"};
    for (size_t i = 0; i < ARRAY_LEN(marks); i++) {
        if (http_header_count(&r->http->headers, marks[i]) > 0) {
            return false;
        }
    }
    return (r->c->flags & CONN_LOOPBACK) != 0;
}

static bool is_operator(const struct api_request *r, struct span token)
{
    return api_is_local(r) && auth_state_is_operator(r->s->deps.auth, token);
}

/* True: signed in. False: answered, or held until it is known whether it may. */
static bool api_sign_in(struct api_request *r, unsigned flags)
{
    struct shard *s = r->s;
    const struct http_state *h = &r->c->io->http;
    const char *why = NULL;
    struct span token;
    enum confab_err err = CONFAB_UNAUTHENTICATED;
    if (!bearer_token(r->http, &token)) {
        api_fail(r, err, NULL, NULL);
        return false;
    }
    if ((flags & API_ADMIN) && is_operator(r, token)) {
        r->operator_key = true;
        return true;
    }
    err = auth_token(s, token, &r->claims, &why);
    r->user = r->claims.user;
    r->device = r->claims.device;
    if (!err && (flags & API_ADMIN)) {
        err = h->auth_done ? h->auth_err : auth_admin(s, r->user, conn_id(s, r->c), on_admin);
        if (!err && !h->auth_done) {
            conn_hold(s, r->c, HOLD_AUTH);
            return false;
        }
    }
    if (err) {
        api_fail(r, err, why, NULL);
    }
    return !err;
}

/*
 * Answers to reading are large; what is read now finds no room while others do not take theirs. But
 * who takes events makes room: without them it would stay full.
 */
static bool is_too_much(const struct api_request *r, const struct api_route *route)
{
    return route->method == HTTP_GET && !(route->flags & (API_OPEN | API_TAKES)) &&
           overload_is_full(r->s);
}

void api_dispatch(struct shard *s, struct conn *c, const struct http_request *req, struct span body)
{
    struct api_request r = {.s = s, .c = c, .http = req, .body = body};
    struct path path;
    struct buf allow = {0};
    enum confab_err err = path_split(s, req->path, &path);
    if (err) {
        api_fail(&r, err, NULL, NULL);
        return;
    }
    const struct api_route *route = route_find(req->method, &path, r.args, &allow);
    if (!route) {
        struct buf extra = {0};
        if (allow.len > 0) {
            http_put_header(&extra, "Allow", span_of(allow.data, allow.len));
            http_answer_error_status(s, c, 405, CONFAB_METHOD, NULL, NULL,
                                     span_of(extra.data, extra.len));
        } else {
            api_fail(&r, CONFAB_NOT_FOUND, NULL, NULL);
        }
        buf_deinit(&extra);
    } else if (is_too_much(&r, route)) {
        http_answer_wait(s, c, CONFAB_BUSY, NULL,
                         BUSY_WAIT_MS + (uint32_t)random_below(s->deps.random, BUSY_WAIT_MS));
    } else if (((route->flags & API_OPEN) || api_sign_in(&r, route->flags)) &&
               api_repeat_begin(&r, route)) {
        route->handler(&r);
        api_repeat_end(&r);
    }
    buf_deinit(&allow);
}

/* ---- Calls that answer later ---- */

static void api_call_free(struct api_call *call)
{
    if (call->wait.then) {
        list_remove(&call->wait.node);
    }
    if (call->wipe > 0) {
        sodium_memzero(call->data, call->wipe);
    }
    list_remove(&call->node);
    command_free(call->cmd);
    command_free(call->kept);
    api_claim_free(call->claim);
    struct list *n;
    while ((n = list_pop_front(&call->answers)) != NULL) {
        command_free(LIST_ENTRY(n, struct command, link));
    }
    free(call->data);
    free(call);
}

static void call_on_command(struct shard *s, struct command_sink *sink, struct command *cmd)
{
    struct api_call *call = CONTAINER_OF(sink, struct api_call, sink);
    call->pending--;
    call->on_command(s, call, cmd);
}

struct api_call *api_call_new(struct api_request *r)
{
    struct api_call *call = calloc(1, sizeof(*call));
    if (!call) {
        api_fail(r, CONFAB_NOMEM, NULL, NULL);
        return NULL;
    }
    call->sink.on_done = call_on_command;
    call->claim = r->claim;
    r->claim = NULL;
    call->conn = conn_id(r->s, r->c);
    call->user = r->user;
    call->device = r->device;
    list_init(&call->node);
    list_init(&call->answers);
    list_push_back(&r->s->calls, &call->node);
    conn_hold(r->s, r->c, HOLD_CALL);
    return call;
}

void api_call_address(struct api_request *r, struct api_call *call)
{
    proxies_client(r->s, r->c, r->http, call->address);
}

void api_call_send(struct shard *s, struct api_call *call)
{
    struct command *cmd = call->cmd;
    call->cmd = NULL;
    cmd->context = &call->sink;
    call->pending++;
    enum confab_err err = link_request(s, cmd);
    if (err) {
        call->pending--;
        command_free(cmd);
        api_call_fail(s, call, err, NULL, NULL);
    }
}

void api_call_send_to(struct shard *s, struct api_call *call, uint16_t to, struct command *cmd)
{
    enum confab_err err = cmd ? CONFAB_OK : CONFAB_NOMEM;
    if (!err) {
        cmd->actor = call->user;
        cmd->context = &call->sink;
        err = link_request_to(s, to, cmd);
    }
    if (err) {
        command_free(cmd);
        call->err = call->err ? call->err : err;
        return;
    }
    call->pending++;
}

static void api_on_lookup(struct shard *s, struct user_lookup *l)
{
    struct api_call *call = l->arg;
    call->on_lookup(s, call, l);
}

void api_call_lookup(struct shard *s, struct api_call *call, struct user_lookup *l)
{
    l->arg = call;
    l->done = api_on_lookup;
    user_lookup_run(s, l);
}

void api_call_answer(struct shard *s, struct api_call *call, int status, struct buf *body)
{
    if (call->claim && api_repeat_store(s, call, status, body)) {
        return;
    }
    struct conn *c = conn_of_id(s, call->conn);
    if (c && (c->holds & HOLD_CALL)) {
        http_answer_buf(s, c, status, "application/json", body);
    }
    buf_deinit(body);
    api_call_free(call);
}

/* What is not stored: a token, an error. The key may be used again. */
static void give_key_back(struct shard *s, struct api_call *call)
{
    if (call->claim) {
        api_claim_release(s, call->claim);
        call->claim = NULL;
    }
}

void api_call_answer_with(struct shard *s, struct api_call *call, int status, struct buf *body,
                          struct span extra)
{
    give_key_back(s, call);
    struct conn *c = conn_of_id(s, call->conn);
    if (c && (c->holds & HOLD_CALL)) {
        if (buf_ok(body)) {
            http_answer(s, c, status, body->len > 0 ? "application/json" : NULL,
                        span_of(body->data, body->len), extra);
        } else {
            http_answer_error(s, c, CONFAB_NOMEM, NULL, NULL);
        }
    }
    buf_deinit(body);
    api_call_free(call);
}

void api_call_done(struct shard *s, struct api_call *call, struct span extra)
{
    struct buf none = {0};
    api_call_answer_with(s, call, 204, &none, extra);
}

void api_call_fail_wait(struct shard *s, struct api_call *call, enum confab_err err,
                        const char *message, uint32_t wait_ms)
{
    give_key_back(s, call);
    struct conn *c = conn_of_id(s, call->conn);
    if (c && (c->holds & HOLD_CALL)) {
        http_answer_wait(s, c, err, message, wait_ms);
    }
    api_call_free(call);
}

void api_call_fail(struct shard *s, struct api_call *call, enum confab_err err, const char *message,
                   const char *field)
{
    give_key_back(s, call);
    struct conn *c = conn_of_id(s, call->conn);
    if (c && (c->holds & HOLD_CALL)) {
        http_answer_error(s, c, err, message, field);
    }
    api_call_free(call);
}

void api_call_drop(struct shard *s, struct api_call *call)
{
    give_key_back(s, call);
    api_call_free(call);
}

void api_calls_drop(struct shard *s)
{
    struct list *n;
    while ((n = list_pop_front(&s->calls)) != NULL) {
        api_call_free(LIST_ENTRY(n, struct api_call, node));
    }
}

bool api_may(struct api_request *r, enum rate_what what)
{
    uint32_t wait_ms = rates_take(r->s, what, r->user, r->device, r->c);
    if (wait_ms > 0) {
        http_answer_wait(r->s, r->c, CONFAB_LIMIT, rates_text(what), wait_ms);
    }
    return wait_ms == 0;
}

/* ---- Shorthands ---- */

void api_fail(struct api_request *r, enum confab_err err, const char *message, const char *field)
{
    http_answer_error(r->s, r->c, err, message, field);
}

void api_answer_json(struct api_request *r, int status, struct buf *body)
{
    http_answer_buf(r->s, r->c, status, "application/json", body);
}

bool api_body_begin(struct api_request *r, struct json *j)
{
    json_init(j, r->body, &r->s->scratch);
    if (r->body.n == 0) {
        api_fail(r, CONFAB_INVALID, "a JSON object is expected", NULL);
        return false;
    }
    if (!json_object_begin(j)) {
        api_fail(r, CONFAB_INVALID, j->why ? j->why : "a JSON object is expected", NULL);
        return false;
    }
    return true;
}

bool api_body_end(struct api_request *r, struct json *j)
{
    if (json_end(j)) {
        return true;
    }
    api_fail(r, j->err, j->why, NULL);
    return false;
}

bool api_conv_arg(struct api_request *r, unsigned arg, struct conv_id *ret)
{
    if (conv_id_parse(r->args[arg], ret)) {
        return true;
    }
    api_fail(r, CONFAB_NOT_FOUND, NULL, NULL);
    return false;
}
