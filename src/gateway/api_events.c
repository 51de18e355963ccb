/*
 * The events of the socket for those who have none (carrier.h): a session is opened, its events are
 * fetched by a stream or by polls, and those of the client are posted.
 */
#include "gateway/api.h"
#include "gateway/carrier.h"
#include "gateway/http.h"
#include "gateway/internal.h"
#include "gateway/pipe.h"

#define POST_EVENTS_MAX  256U
#define WAIT_DEFAULT_S   25U
#define WAIT_MAX_S       60U
#define SESSION_ID_CHARS 16U

/* ---- POST /events ---- */

static void events_open(struct api_request *r)
{
    struct json j;
    struct span key;
    struct span mode = {0};
    struct buf hello = {0};
    if (!api_body_begin(r, &j)) {
        return;
    }
    while (json_object_next(&j, &key)) {
        if (span_is(key, "mode")) {
            json_string(&j, &mode);
        } else {
            json_skip(&j);
        }
    }
    if (!api_body_end(r, &j)) {
        return;
    }
    bool sse = span_is(mode, "sse");
    if (!sse && !span_is(mode, "poll")) {
        api_fail(r, CONFAB_INVALID, "sse or poll", "mode");
        return;
    }
    if (r->s->draining) {
        api_fail(r, CONFAB_CLOSED, "the server is going away", NULL);
        return;
    }
    if (!api_may(r, RATE_CONNECT)) {
        return;
    }
    struct conn *session = carrier_open(r->s, &r->claims, sse ? CARRIER_SSE : CARRIER_POLL, &hello);
    if (session) {
        rates_remember(r->s, session, r->c);
        api_answer_json(r, 201, &hello);
    } else {
        buf_deinit(&hello);
        api_fail(r, CONFAB_BUSY, "there is no room for another session", NULL);
    }
}

/* ---- /events/{session_id} ---- */

static bool session_arg(struct api_request *r, uint64_t *ret)
{
    struct span text = r->args[0];
    uint64_t id = 0;
    bool ok = text.n == SESSION_ID_CHARS;
    for (size_t i = 0; ok && i < text.n; i++) {
        uint8_t ch = text.p[i];
        bool digit = ch >= '0' && ch <= '9';
        ok = digit || (ch >= 'a' && ch <= 'f');
        id = id << 4 | (uint64_t)(digit ? ch - '0' : ch - 'a' + 10);
    }
    if (!ok) {
        api_fail(r, CONFAB_NOT_FOUND, NULL, NULL);
        return false;
    }
    *ret = id;
    return true;
}

static bool number(struct span text, uint64_t *ret)
{
    uint64_t n = 0;
    bool ok = text.n > 0 && text.n <= 15;
    for (size_t i = 0; ok && i < text.n; i++) {
        ok = text.p[i] >= '0' && text.p[i] <= '9';
        n = n * 10 + (uint64_t)(text.p[i] - '0');
    }
    if (ok) {
        *ret = n;
    }
    return ok;
}

/* A number of the query; stays as it is when it is not there. False: answered. */
static bool number_arg(struct api_request *r, const char *name, uint64_t *io)
{
    struct span text;
    enum confab_err err = http_query_get(r->http->query, name, &r->s->scratch, &text);
    if (err == CONFAB_NOT_FOUND || (!err && number(text, io))) {
        return true;
    }
    api_fail(r, CONFAB_INVALID, "a number is expected", name);
    return false;
}

/* What was confirmed: the query's `after` or the stream's Last-Event-ID, whichever is later. */
static bool after_arg(struct api_request *r, uint64_t *ret)
{
    uint64_t after = 0;
    uint64_t header = 0;
    struct span text = http_header_get(&r->http->headers, "last-event-id");
    if (!number_arg(r, "after", &after)) {
        return false;
    }
    if (text.n > 0 && !number(text, &header)) {
        api_fail(r, CONFAB_INVALID, "a number is expected", "Last-Event-ID");
        return false;
    }
    *ret = MAX(after, header);
    return true;
}

static bool wants_stream(const struct http_request *req)
{
    struct span accept = http_header_get(&req->headers, "accept");
    struct span type = span_str("text/event-stream");
    for (size_t i = 0; i + type.n <= accept.n; i++) {
        if (http_eq_nocase(span_of(accept.p + i, type.n), "text/event-stream")) {
            return true;
        }
    }
    return false;
}

static void events_fetch(struct api_request *r)
{
    uint64_t session = 0;
    uint64_t after = 0;
    uint64_t wait_s = WAIT_DEFAULT_S;
    if (!session_arg(r, &session) || !after_arg(r, &after) || !number_arg(r, "wait", &wait_s)) {
        return;
    }
    if (r->http->method == HTTP_HEAD) {
        http_answer_error_status(r->s, r->c, 405, CONFAB_METHOD, NULL, NULL,
                                 span_str("Allow: GET, POST, DELETE\r\n"));
        return;
    }
    pipe_open(r, session, wants_stream(r->http) ? CARRIER_SSE : CARRIER_POLL, after,
              (uint32_t)MIN(wait_s, WAIT_MAX_S) * 1000);
}

struct post {
    uint32_t n;
    bool large;
};

/* One event: an object. What is in it is answered as on a socket. */
static bool post_one(struct api_request *r, struct json *j, struct post *p)
{
    struct json k;
    struct span one;
    struct span key;
    if (!json_raw(j, &one)) {
        return false;
    }
    p->n++;
    p->large = p->large || one.n > r->s->cfg.frame_bytes_max;
    json_init(&k, one, &r->s->scratch);
    json_object_begin(&k);
    while (json_object_next(&k, &key)) {
        json_skip(&k);
    }
    if (!json_end(&k)) {
        json_fail(j, k.why);
    }
    return json_ok(j);
}

/* False: answered. */
static bool post_check(struct api_request *r)
{
    struct json j;
    struct post p = {0};
    json_init(&j, r->body, NULL);
    if (json_peek(&j) == JSON_OBJECT) {
        (void)post_one(r, &j, &p);
    } else if (json_array_begin(&j)) {
        while (json_array_next(&j) && post_one(r, &j, &p)) {
        }
    }
    if (!json_end(&j) || p.n == 0) {
        api_fail(r, CONFAB_INVALID, j.why ? j.why : "an event or an array of events is expected",
                 NULL);
    } else if (p.large) {
        api_fail(r, CONFAB_TOO_LARGE, "an event is too large", NULL);
    } else if (p.n > POST_EVENTS_MAX) {
        api_fail(r, CONFAB_TOO_LARGE, "too many events", NULL);
    } else {
        return true;
    }
    return false;
}

static void on_posted(struct shard *s, struct api_call *call, struct command *cmd)
{
    enum confab_err err = cmd->err;
    command_free(cmd);
    if (err) {
        api_call_fail(s, call, err, NULL, NULL);
        return;
    }
    struct buf none = {0};
    buf_put_str(&none, "{}");
    api_call_answer_with(s, call, 202, &none, span_of(NULL, 0));
}

static void on_ended(struct shard *s, struct api_call *call, struct command *cmd)
{
    enum confab_err err = cmd->err;
    command_free(cmd);
    if (err) {
        api_call_fail(s, call, err, NULL, NULL);
    } else {
        api_call_done(s, call, span_of(NULL, 0));
    }
}

static void ask_session(struct api_request *r, enum carrier_what what,
                        void (*on_command)(struct shard *, struct api_call *, struct command *))
{
    uint64_t session = 0;
    uint16_t to = 0;
    if (!session_arg(r, &session)) {
        return;
    }
    if (!carrier_shard(r->s, session, &to)) {
        api_fail(r, CONFAB_NOT_FOUND, NULL, NULL);
        return;
    }
    struct api_call *call = api_call_new(r);
    if (!call) {
        return;
    }
    struct carrier_msg *m = carrier_msg_new(what, session);
    if (m) {
        m->who = r->claims;
        buf_put(&m->cmd.body, r->body.p, what == CARRIER_POST ? r->body.n : 0);
    }
    if (m && !buf_ok(&m->cmd.body)) {
        command_free(&m->cmd);
        m = NULL;
    }
    call->on_command = on_command;
    api_call_send_to(r->s, call, to, m ? &m->cmd : NULL);
    if (call->err) {
        api_call_fail(r->s, call, call->err, NULL, NULL);
    }
}

static void events_post(struct api_request *r)
{
    if (post_check(r)) {
        ask_session(r, CARRIER_POST, on_posted);
    }
}

static void events_end(struct api_request *r)
{
    ask_session(r, CARRIER_END, on_ended);
}

const struct api_route api_events[] = {
    {HTTP_POST, "/api/v1/events", events_open, 0},
    {HTTP_GET, "/api/v1/events/{}", events_fetch, API_TAKES},
    {HTTP_POST, "/api/v1/events/{}", events_post, 0},
    {HTTP_DELETE, "/api/v1/events/{}", events_end, 0},
    {0},
};
