/*
 * The calls that wait for an answer. Every one is: build the body, call, read the few members that
 * are wanted. An answer that does not hold them is CONFAB_E_PROTOCOL.
 */
#include <confab/rest.h>

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/time_text.h"
#include "base/utf8.h"
#include "client/history.h"
#include "client/rest_internal.h"
#include "client/session_internal.h"

void confab_last_failure(const struct confab_client *c, struct confab_failure *ret)
{
    *ret = c->failure;
}

enum confab_error crest_fail(struct confab_client *c, enum confab_error error, const char *text)
{
    memset(&c->failure, 0, sizeof(c->failure));
    c->failure.error = error;
    snprintf(c->failure.message, sizeof(c->failure.message), "%s",
             text ? text : confab_error_text(error));
    return error;
}

/* Copies a text and terminates it, cut where a character ends. */
static void copy_text(char *out, size_t size, struct span text)
{
    size_t n = MIN(text.n, size - 1);
    while (n > 0 && n < text.n && (text.p[n] & 0xc0) == 0x80) {
        n--;
    }
    if (n > 0) {
        memcpy(out, text.p, n);
    }
    out[n] = '\0';
}

/* ---- Reading answers ---- */

enum confab_err crest_answer_begin(struct crest_answer *a, const struct buf *content)
{
    a->block = malloc(content->len + 1);
    if (!a->block) {
        return CONFAB_NOMEM;
    }
    scratch_init(&a->scratch, a->block, content->len);
    json_init(&a->j, span_of(content->data, content->len), &a->scratch);
    json_object_begin(&a->j);
    return CONFAB_OK;
}

bool crest_answer_free(struct crest_answer *a)
{
    bool ok = json_end(&a->j);
    free(a->block);
    a->block = NULL;
    return ok;
}

enum confab_error crest_answer_end(struct confab_client *c, struct crest_answer *a, bool complete)
{
    bool ok = crest_answer_free(a) && complete;
    chttp_reset(&c->call);
    return ok ? CONFAB_E_OK : crest_fail(c, CONFAB_E_PROTOCOL, NULL);
}

void crest_read_text(struct json *j, char *out, size_t size)
{
    struct span text;
    if (!json_try_null(j) && json_string(j, &text)) {
        copy_text(out, size, text);
    }
}

static enum confab_error of_status(int status)
{
    switch (status) {
    case 400:
        return CONFAB_E_INVALID;
    case 401:
        return CONFAB_E_UNAUTHENTICATED;
    case 403:
        return CONFAB_E_FORBIDDEN;
    case 404:
        return CONFAB_E_NOT_FOUND;
    case 409:
        return CONFAB_E_CONFLICT;
    case 413:
        return CONFAB_E_TOO_LARGE;
    case 429:
        return CONFAB_E_LIMIT;
    case 503:
        return CONFAB_E_BUSY;
    case 507:
        return CONFAB_E_STORAGE_FULL;
    default:
        return status >= 500 ? CONFAB_E_SERVER : CONFAB_E_PROTOCOL;
    }
}

/* {"error":{"code","message","field"}}; what cannot be read is told by the status alone. */
static enum confab_error refused(struct confab_client *c)
{
    struct crest_answer a;
    struct span key;
    struct span text;
    int status = c->call.status;
    uint64_t after = c->call.retry_after_ms;
    enum confab_error error = of_status(status);
    crest_fail(c, error, NULL);
    if (crest_answer_begin(&a, &c->call.content) == CONFAB_OK) {
        while (json_object_next(&a.j, &key)) {
            if (!span_is(key, "error")) {
                json_skip(&a.j);
                continue;
            }
            json_object_begin(&a.j);
            while (json_object_next(&a.j, &key)) {
                if (span_is(key, "code") && json_string(&a.j, &text)) {
                    enum confab_error named = cerror_of_wire(text);
                    error = named != CONFAB_E_SERVER && named != CONFAB_E_OK ? named : error;
                } else if (span_is(key, "message")) {
                    crest_read_text(&a.j, c->failure.message, sizeof(c->failure.message));
                } else if (span_is(key, "field")) {
                    crest_read_text(&a.j, c->failure.field, sizeof(c->failure.field));
                } else {
                    json_skip(&a.j);
                }
            }
        }
        free(a.block);
    }
    c->failure.error = error;
    c->failure.http_status = status;
    c->failure.retry_after_ms = after;
    chttp_reset(&c->call);
    return error;
}

/* ---- Calling ---- */

static void run_call(struct confab_client *c, const struct chttp_request *req)
{
    chttp_begin(&c->call, c->host, c->port, span_of(c->authority.data, c->authority.len), req,
                c->timeout_ms, cio_now_ms());
    for (;;) {
        uint64_t now = cio_now_ms();
        if (chttp_step(&c->call, now)) {
            break;
        }
        struct pollfd p = {.fd = c->call.conn.fd, .events = chttp_events(&c->call)};
        uint64_t left = c->call.deadline_ms > now ? c->call.deadline_ms - now : 0;
        (void)cconn_wait(&p, 1, (int)left);
    }
}

/* Waits until the token is renewed, or cannot be; false for the latter. */
static bool renew(struct confab_client *c)
{
    enum confab_error error;
    for (;;) {
        uint64_t now = cio_now_ms();
        uint64_t at = UINT64_MAX;
        struct pollfd p;
        if (ctoken_step(c, now, &error)) {
            break;
        }
        size_t n = ctoken_poll(&c->tokens, &p, &at);
        (void)cconn_wait(&p, n, at > now ? (int)MIN(at - now, (uint64_t)c->timeout_ms) : 0);
    }
    if (!error || error == CONFAB_E_UNAUTHENTICATED) {
        csession_token_done(c->session, error, span_of(c->token.data, c->token.len),
                            c->tokens.renew_ms, cio_now_ms());
    }
    return !error;
}

/* On success the answer is in c->call.content until chttp_reset. Consumes path and body. */
enum confab_error crest_call(struct confab_client *c, const char *method, struct buf *path,
                             struct buf *body, bool with_token)
{
    enum confab_error error = CONFAB_E_OK;
    if (!buf_ok(path) || (body && !buf_ok(body))) {
        error = crest_fail(c, CONFAB_E_NOMEM, NULL);
    } else if (with_token && c->token.len == 0) {
        error = crest_fail(c, CONFAB_E_STATE, "not signed in");
    }
    bool renewable = with_token && c->tokens.refresh.len > 1;
    if (!error && renewable && c->tokens.renew_ms <= cio_now_ms()) {
        renewable = !renew(c); /* one that fails is found out by the call */
    }
    if (!error) {
        struct chttp_request req = {
            .method = method,
            .path = span_of(path->data, path->len),
            .token = with_token ? span_of(c->token.data, c->token.len) : span_of(NULL, 0),
            .body = body ? span_of(body->data, body->len) : span_of(NULL, 0),
        };
        run_call(c, &req);
        /* Refused before it was looked at: to repeat it does nothing twice. */
        if (c->call.status == 401 && renewable && renew(c)) {
            req.token = span_of(c->token.data, c->token.len);
            run_call(c, &req);
        }
        if (c->call.err) {
            error = crest_fail(c, cerror_of(c->call.err), NULL);
            if (c->call.conn.why[0] != '\0' && error != CONFAB_E_TIMEOUT) {
                (void)snprintf(c->failure.message, sizeof(c->failure.message), "%s: %s",
                               confab_error_text(error), c->call.conn.why);
            }
            chttp_reset(&c->call);
        } else if (c->call.status < 200 || c->call.status > 299) {
            error = refused(c);
        }
    }
    buf_deinit(path);
    if (body) {
        buf_deinit(body);
    }
    return error;
}

/* For calls whose answer says nothing more. */
enum confab_error crest_call_only(struct confab_client *c, const char *method, struct buf *path,
                                  struct buf *body)
{
    enum confab_error error = crest_call(c, method, path, body, true);
    if (!error) {
        chttp_reset(&c->call);
    }
    return error;
}

struct buf crest_path(const char *text)
{
    struct buf b;
    buf_init(&b);
    buf_put_str(&b, "/api/v1/");
    buf_put_str(&b, text);
    return b;
}

void crest_path_text(struct buf *b, const char *text)
{
    http_put_encoded(b, span_str(text));
}

static struct buf path_conv(const char *conv, const char *rest)
{
    struct buf b = crest_path("conversations/");
    crest_path_text(&b, conv);
    buf_put_str(&b, rest);
    return b;
}

bool crest_is_conv(const char *conv)
{
    struct conv_id id;
    return conv && conv_id_parse(span_str(conv), &id);
}

enum confab_error crest_bad_argument(struct confab_client *c, const char *text)
{
    return crest_fail(c, CONFAB_E_ARGUMENT, text);
}

void crest_body_begin(struct json_writer *w, struct buf *b)
{
    buf_init(b);
    json_w_init(w, b);
    json_w_object(w);
}

/* ---- Accounts ---- */

static void read_secret(struct json *j, char out[CONFAB_TOKEN_SIZE])
{
    struct span text;
    if (!json_try_null(j) && json_string(j, &text) && text.n < CONFAB_TOKEN_SIZE &&
        !memchr(text.p, '\r', text.n) && !memchr(text.p, '\n', text.n)) {
        copy_text(out, CONFAB_TOKEN_SIZE, text);
    }
}

bool crest_read_token(struct json *j, struct span key, struct confab_tokens *io,
                      uint64_t *io_expires_in_s)
{
    if (span_is(key, "token")) {
        read_secret(j, io->token);
    } else if (span_is(key, "refresh_token")) {
        read_secret(j, io->refresh_token);
    } else if (span_is(key, "expires_in")) {
        json_u64(j, io_expires_in_s);
    } else {
        return false;
    }
    return true;
}

enum confab_error confab_login(struct confab_client *c, const char *username, const char *password,
                               const char *device_name, struct confab_device *ret)
{
    if (!utf8_valid(username, strlen(username)) || !utf8_valid(password, strlen(password)) ||
        (device_name && !utf8_valid(device_name, strlen(device_name)))) {
        return crest_bad_argument(c, "not UTF-8");
    }
    struct json_writer w;
    struct buf body;
    struct buf path = crest_path("tokens");
    crest_body_begin(&w, &body);
    json_w_kcstr(&w, "username", username);
    json_w_kcstr(&w, "password", password);
    if (device_name) {
        json_w_kcstr(&w, "device_name", device_name);
    }
    json_w_object_end(&w);
    enum confab_error error = crest_call(c, "POST", &path, &body, false);
    if (error) {
        return error;
    }
    struct confab_device d;
    struct crest_answer a;
    struct span key;
    uint64_t seconds = 0;
    memset(&d, 0, sizeof(d));
    if (crest_answer_begin(&a, &c->call.content) != CONFAB_OK) {
        chttp_reset(&c->call);
        return crest_fail(c, CONFAB_E_NOMEM, NULL);
    }
    while (json_object_next(&a.j, &key)) {
        if (crest_read_token(&a.j, key, &d.tokens, &seconds)) {
            continue;
        }
        if (span_is(key, "user_id")) {
            json_id(&a.j, &d.user_id);
        } else if (span_is(key, "device_id")) {
            json_id(&a.j, &d.device_id);
        } else {
            json_skip(&a.j);
        }
    }
    error = crest_answer_end(c, &a, d.tokens.token[0] != '\0' && d.user_id != 0);
    if (d.tokens.expires_at_ms == 0 && seconds > 0) {
        d.tokens.expires_at_ms = confab_now_ms() + seconds * 1000;
    }
    if (!error && (ctoken_set(c, &d.tokens, cio_now_ms()) != CONFAB_OK ||
                   csession_set_token(c->session, span_str(d.tokens.token), c->tokens.renew_ms) !=
                       CONFAB_OK)) {
        error = crest_fail(c, CONFAB_E_NOMEM, NULL);
    }
    if (!error) {
        c->user_id = d.user_id;
        *ret = d;
    }
    return error;
}

enum confab_error confab_direct_id(struct confab_client *c, const char *user,
                                   char ret_conv[CONFAB_CONV_SIZE])
{
    struct confab_user u;
    enum confab_error error = CONFAB_E_OK;
    if (c->user_id == 0) {
        error = confab_user_get(c, "me", &u);
        c->user_id = error ? 0 : u.user_id;
    }
    if (!error) {
        error = confab_user_get(c, user, &u);
    }
    if (!error) {
        cdeliver_conv(conv_id_direct(c->user_id, u.user_id), ret_conv);
    }
    return error;
}

/* ---- Messages ---- */

struct pages {
    uint64_t user_id;
    void (*on_message)(void *arg, const struct confab_message *m);
    void *arg;
};

static void hand_out(void *arg, const struct confab_message *m)
{
    struct pages *p = arg;
    struct confab_message copy = *m;
    copy.source = CONFAB_PAGE;
    copy.own = p->user_id != 0 && m->from == p->user_id;
    p->on_message(p->arg, &copy);
}

enum confab_error
confab_history(struct confab_client *c, const char *conv, const struct confab_history_query *query,
               void (*on_message)(void *arg, const struct confab_message *message), void *arg,
               struct confab_history_page *ret)
{
    int bounds =
        (query->before != 0) + (query->after != 0 || query->from_start) + (query->around != 0);
    if (!crest_is_conv(conv) || bounds > 1) {
        return crest_bad_argument(c, "not a conversation id, or two bounds at once");
    }
    struct buf path = path_conv(conv, "/messages");
    buf_printf(&path, "?limit=%u", query->limit ? query->limit : 50);
    if (query->before) {
        buf_printf(&path, "&before=%" PRIu64, query->before);
    } else if (query->after) {
        buf_printf(&path, "&after=%" PRIu64, query->after);
    } else if (query->from_start) {
        buf_put_str(&path, "&after=1970-01-01T00:00:00.000Z");
    } else if (query->around) {
        buf_printf(&path, "&around=%" PRIu64, query->around);
    }
    enum confab_error error = crest_call(c, "GET", &path, NULL, true);
    if (error) {
        return error;
    }
    struct chistory_page page;
    size_t n;
    uint8_t *content = buf_detach(&c->call.content, &n);
    chttp_reset(&c->call);
    enum confab_err err = chistory_parse(span_of(content, n), &page);
    if (err) {
        free(content);
        return crest_fail(c, cerror_of(err), NULL);
    }
    struct confab_status status;
    confab_client_status(c, &status);
    struct pages p = {status.user_id ? status.user_id : c->user_id, on_message, arg};
    if (on_message) {
        chistory_each(&page, hand_out, &p);
    }
    if (ret) {
        *ret = (struct confab_history_page){
            .messages = page.count,
            .has_more = page.has_more,
            .covered_from = page.covered_to >= page.covered_from ? page.covered_from : 0,
            .covered_to = page.covered_to >= page.covered_from ? page.covered_to : 0,
            .first_seq = page.first_seq,
            .last_seq = page.last_seq,
        };
    }
    chistory_deinit(&page);
    free(content);
    return CONFAB_E_OK;
}

static struct buf path_message(uint64_t message_id, const char *rest)
{
    struct buf b = crest_path("messages/");
    buf_printf(&b, "%" PRIu64 "%s", message_id, rest);
    return b;
}

enum confab_error confab_edit(struct confab_client *c, uint64_t message_id,
                              struct confab_text content)
{
    if (message_id == 0 || !content.p || !utf8_valid(content.p, content.n)) {
        return crest_bad_argument(c, "not a message id, or not UTF-8");
    }
    struct json_writer w;
    struct buf body;
    struct buf path = path_message(message_id, "");
    crest_body_begin(&w, &body);
    json_w_kstring(&w, "content", span_of(content.p, content.n));
    json_w_object_end(&w);
    return crest_call_only(c, "PATCH", &path, &body);
}

enum confab_error confab_delete(struct confab_client *c, uint64_t message_id, bool for_me)
{
    if (message_id == 0) {
        return crest_bad_argument(c, "not a message id");
    }
    struct buf path = path_message(message_id, for_me ? "?for=me" : "?for=everyone");
    return crest_call_only(c, "DELETE", &path, NULL);
}

enum confab_error confab_read(struct confab_client *c, const uint64_t *message_ids, size_t n)
{
    struct json_writer w;
    struct buf body;
    struct buf path = crest_path("messages/read");
    crest_body_begin(&w, &body);
    json_w_key(&w, "message_ids");
    json_w_array(&w);
    for (size_t i = 0; i < n; i++) {
        json_w_id(&w, message_ids[i]);
    }
    json_w_array_end(&w);
    json_w_object_end(&w);
    return crest_call_only(c, "POST", &path, &body);
}

/* ---- Settings of one's own ---- */

enum confab_error confab_mute(struct confab_client *c, const char *conv, uint64_t until_ms)
{
    if (!crest_is_conv(conv)) {
        return crest_bad_argument(c, "not a conversation id");
    }
    struct json_writer w;
    struct buf body;
    struct buf path = path_conv(conv, "/mute");
    crest_body_begin(&w, &body);
    json_w_key(&w, "until");
    if (until_ms) {
        json_w_time(&w, MIN(until_ms, TIME_TEXT_MS_MAX));
    } else {
        json_w_null(&w);
    }
    json_w_object_end(&w);
    return crest_call_only(c, "PUT", &path, &body);
}

enum confab_error confab_pin(struct confab_client *c, const char *conv, bool pinned)
{
    if (!crest_is_conv(conv)) {
        return crest_bad_argument(c, "not a conversation id");
    }
    struct json_writer w;
    struct buf body;
    struct buf path = path_conv(conv, "/pin");
    crest_body_begin(&w, &body);
    json_w_kbool(&w, "pinned", pinned);
    json_w_object_end(&w);
    return crest_call_only(c, "PUT", &path, &body);
}

enum confab_error confab_draft(struct confab_client *c, const char *conv, struct confab_text draft)
{
    if (!crest_is_conv(conv)) {
        return crest_bad_argument(c, "not a conversation id");
    }
    struct json_writer w;
    struct buf body;
    struct buf path = path_conv(conv, "");
    crest_body_begin(&w, &body);
    json_w_kstring(&w, "draft", span_of(draft.p, draft.n));
    json_w_object_end(&w);
    return crest_call_only(c, "PATCH", &path, &body);
}

enum confab_error confab_block(struct confab_client *c, const char *user, bool blocked)
{
    if (user[0] == '\0') {
        return crest_bad_argument(c, "no user");
    }
    struct buf path = crest_path("blocks/");
    crest_path_text(&path, user);
    return crest_call_only(c, blocked ? "PUT" : "DELETE", &path, NULL);
}
