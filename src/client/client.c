/*
 * The thin layer of I/O around a session: one connection for the socket, one for fetching history,
 * both without blocking, and poll.
 */
#include <confab/client.h>

#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "client/client_internal.h"
#include "client/session_internal.h"

#define READ_BYTES     65536U
#define READS_PER_TURN 16

struct scheme {
    const char *prefix;
    const char *port;
    bool tls;
};
static const struct scheme SCHEMES[] = {
    {"http://", "80", false},
    {"https://", "443", true},
    {"ws://", "80", false},
    {"wss://", "443", true},
};

static const struct scheme *scheme_of(const char *url)
{
    for (size_t i = 0; i < ARRAY_LEN(SCHEMES); i++) {
        if (strncmp(url, SCHEMES[i].prefix, strlen(SCHEMES[i].prefix)) == 0) {
            return &SCHEMES[i];
        }
    }
    return NULL;
}

/* scheme://host[:port][/path][/], [v6] in brackets. */
static enum confab_error parse_server(struct confab_client *c, const char *url,
                                      const struct scheme *scheme)
{
    const char *at = url + strlen(scheme->prefix);
    size_t all = strcspn(at, "/");
    size_t path_n = strlen(at + all);
    while (path_n > 0 && at[all + path_n - 1] == '/') {
        path_n--;
    }
    for (size_t i = all; i < all + path_n; i++) {
        if (at[i] <= ' ' || at[i] >= 0x7f || at[i] == '?' || at[i] == '#') {
            return CONFAB_E_ARGUMENT;
        }
    }
    buf_put(&c->base, at + all, path_n);
    bool v6 = at[0] == '[';
    const char *host = v6 ? at + 1 : at;
    size_t host_n = strcspn(host, v6 ? "]/" : ":/");
    const char *rest = host + host_n + (v6 ? 1 : 0);
    if (host_n == 0 || (v6 && host[host_n] != ']') || rest > at + all) {
        return CONFAB_E_ARGUMENT;
    }
    size_t port_n = (size_t)(at + all - rest);
    if (port_n > 0) {
        if (rest[0] != ':' || port_n < 2 || port_n > 6 ||
            strspn(rest + 1, "0123456789") < port_n - 1) {
            return CONFAB_E_ARGUMENT;
        }
    }
    for (size_t i = 0; i < all; i++) {
        if (at[i] <= ' ' || at[i] >= 0x7f || at[i] == '@') {
            return CONFAB_E_ARGUMENT;
        }
    }
    c->host = strndup(host, host_n);
    c->port = port_n > 0 ? strndup(rest + 1, port_n - 1) : strdup(scheme->port);
    buf_put(&c->authority, at, all);
    return c->host && c->port && buf_ok(&c->authority) && buf_ok(&c->base) ? CONFAB_E_OK
                                                                           : CONFAB_E_NOMEM;
}

/* All requests go below the server's path. */
static void set_base(struct confab_client *c)
{
    struct span base = span_of(c->base.data, c->base.len);
    c->fetch.base = c->call.base = c->tokens.http.base = base;
    for (int i = 0; i < CSESSION_LANES; i++) {
        c->carried[i].base = base;
    }
}

enum confab_error confab_client_new(const struct confab_options *options,
                                    struct confab_client **ret)
{
    if (options->size != sizeof(*options) || !options->server || options->backoff_min_ms == 0 ||
        options->backoff_max_ms < options->backoff_min_ms || options->timeout_ms == 0 ||
        options->send_attempts_max == 0 || options->transport > CONFAB_TRANSPORT_POLL) {
        return CONFAB_E_ARGUMENT;
    }
    const char *token = options->token ? options->token : "";
    const char *refresh = options->refresh_token ? options->refresh_token : "";
    if (strlen(token) >= CONFAB_TOKEN_SIZE || strpbrk(token, "\r\n") ||
        strlen(refresh) >= CONFAB_TOKEN_SIZE) {
        return CONFAB_E_ARGUMENT;
    }
    struct confab_client *c = calloc(1, sizeof(*c));
    if (!c) {
        return CONFAB_E_NOMEM;
    }
    cconn_init(&c->link);
    chttp_init(&c->fetch, options->frame_bytes_max);
    chttp_init(&c->call, options->frame_bytes_max);
    for (int i = 0; i < CSESSION_LANES; i++) {
        chttp_init(&c->carried[i], options->frame_bytes_max);
    }
    chttp_init(&c->tokens.http, 0);
    c->timeout_ms = options->timeout_ms;
    const struct scheme *scheme = scheme_of(options->server);
    enum confab_error error = scheme ? parse_server(c, options->server, scheme) : CONFAB_E_ARGUMENT;
    if (!error && scheme->tls) {
        error = cerror_of(ctls_new(c->host, options->ca_file, options->fingerprint, &c->tls));
        error = error == CONFAB_E_PROTOCOL ? CONFAB_E_ARGUMENT : error;
    }
    if (!error) {
        struct buf target = {0};
        buf_put(&target, c->base.data, c->base.len);
        buf_put_str(&target, "/ws");
        c->read_block = malloc(READ_BYTES);
        buf_put_str(&c->token, token);
        struct csession_config cfg = {
            .random = random_system(),
            .options = options,
            .host = span_of(c->authority.data, c->authority.len),
            .target = span_of(target.data, target.len),
            .token = span_str(token),
        };
        enum confab_err err = c->read_block && buf_ok(&c->token) && buf_ok(&target)
                                  ? ctoken_init(&c->tokens, options, cio_now_ms())
                                  : CONFAB_NOMEM;
        cfg.renewable = c->tokens.refresh.len > 0;
        cfg.renew_ms = c->tokens.renew_ms;
        if (!err) {
            err = csession_new(&cfg, &c->session);
        }
        buf_deinit(&target);
        set_base(c);
        cconn_set_tls(&c->link, c->tls);
        cconn_set_tls(&c->fetch.conn, c->tls);
        cconn_set_tls(&c->call.conn, c->tls);
        for (int i = 0; i < CSESSION_LANES; i++) {
            cconn_set_tls(&c->carried[i].conn, c->tls);
        }
        cconn_set_tls(&c->tokens.http.conn, c->tls);
        error = cerror_of(err);
    }
    if (error) {
        confab_client_free(c);
        return error;
    }
    *ret = c;
    return CONFAB_E_OK;
}

void confab_client_free(struct confab_client *c)
{
    if (!c) {
        return;
    }
    csession_free(c->session);
    cconn_close(&c->link);
    chttp_deinit(&c->fetch);
    chttp_deinit(&c->call);
    for (int i = 0; i < CSESSION_LANES; i++) {
        chttp_deinit(&c->carried[i]);
    }
    ctoken_deinit(&c->tokens);
    ctls_free(c->tls);
    free(c->host);
    free(c->port);
    free(c->read_block);
    buf_deinit(&c->authority);
    buf_deinit(&c->base);
    buf_deinit(&c->token);
    free(c);
}

enum confab_error confab_client_start(struct confab_client *c)
{
    if (c->token.len == 0) {
        return CONFAB_E_STATE;
    }
    csession_start(c->session, cio_now_ms());
    return CONFAB_E_OK;
}

void confab_client_stop(struct confab_client *c)
{
    csession_stop(c->session, cio_now_ms());
}

/* ---- The link ---- */

static void link_ended(struct confab_client *c, uint64_t now)
{
    cconn_close(&c->link);
    c->link_told = false;
    csession_link_down(c->session, now);
}

/* False: the link has ended. */
static bool link_write(struct confab_client *c, uint64_t now)
{
    for (;;) {
        struct span out = csession_output(c->session);
        size_t n = 0;
        if (out.n == 0) {
            return true;
        }
        enum confab_err err = cconn_write(&c->link, out.p, out.n, &n);
        if (err == CONFAB_AGAIN) {
            return true;
        }
        if (err) {
            return false;
        }
        csession_output_sent(c->session, n, now);
    }
}

static bool link_read(struct confab_client *c, uint64_t now)
{
    for (int i = 0; i < READS_PER_TURN && csession_wants_link(c->session); i++) {
        size_t n = 0;
        enum confab_err err = cconn_read(&c->link, c->read_block, READ_BYTES, &n);
        if (err == CONFAB_AGAIN) {
            return true;
        }
        if (err) {
            return false;
        }
        csession_input(c->session, c->read_block, n, now);
        if (n < READ_BYTES) {
            return true;
        }
    }
    return true;
}

static void link_turn(struct confab_client *c, uint64_t now)
{
    bool wanted = csession_wants_link(c->session);
    if (!cconn_is_open(&c->link) &&
        (!wanted || cconn_open(&c->link, c->host, c->port) != CONFAB_OK)) {
        link_ended(c, now);
        return;
    }
    bool ok = true;
    if (!c->link_told && wanted) {
        enum confab_err err = cconn_progress(&c->link);
        if (err == CONFAB_AGAIN) {
            return;
        }
        ok = err == CONFAB_OK;
        if (err == CONFAB_FORBIDDEN) {
            /* Nobody gets the token; another attempt may meet the right server. */
            csession_error(c->session, CONFAB_E_CERTIFICATE, c->link.why);
        }
        if (ok) {
            c->link_told = true;
            csession_link_up(c->session, now);
        }
    }
    if (ok && c->link_told) {
        ok = link_read(c, now) && link_write(c, now);
    }
    if (!ok || !csession_wants_link(c->session)) {
        link_ended(c, now);
    }
}

/* ---- Requests in place of the link ---- */

static void carried_end(struct confab_client *c, int lane)
{
    /* What it was about is over: nobody may take its connection for the next one. */
    cconn_close(&c->carried[lane].conn);
    chttp_reset(&c->carried[lane]);
    c->carrying[lane] = false;
}

/* True when its lane is free again. */
static bool carried_step(struct confab_client *c, int lane, uint64_t now)
{
    struct chttp *x = &c->carried[lane];
    struct csession_call *call = &c->carried_of[lane];
    bool done = chttp_step(x, now);
    if (call->stream && x->phase >= CHTTP_BODY && x->status == 200 && x->content.len > 0) {
        csession_call_input(c->session, call, x->content.data, x->content.len, now);
        buf_clear(&x->content);
    }
    if (!csession_call_wanted(c->session, call)) {
        carried_end(c, lane);
        return true;
    }
    if (!done) {
        return false;
    }
    if (x->err == CONFAB_FORBIDDEN) {
        csession_error(c->session, CONFAB_E_CERTIFICATE, x->conn.why);
    }
    c->carrying[lane] = false;
    csession_call_done(c->session, call, x->err ? 0 : x->status, x->retry_after_ms,
                       span_of(x->content.data, x->content.len), now);
    chttp_reset(x);
    return true;
}

static void carried_turn(struct confab_client *c, uint64_t now)
{
    /* Posts first: what opens a session leads to its first fetch. */
    for (int lane = CSESSION_LANES - 1; lane >= 0; lane--) {
        struct csession_call *call = &c->carried_of[lane];
        for (;;) {
            if (c->carrying[lane] && !carried_step(c, lane, now)) {
                break;
            }
            if (!csession_call_next(c->session, (enum csession_lane)lane, now, call)) {
                break;
            }
            struct chttp_request req = {
                .method = call->method,
                .path = span_str(call->path),
                .token = span_of(c->token.data, c->token.len),
                .body = call->body,
                .repeatable = true,
                .stream = call->stream,
            };
            c->carrying[lane] = true;
            chttp_begin(&c->carried[lane], c->host, c->port,
                        span_of(c->authority.data, c->authority.len), &req, call->timeout_ms, now);
        }
    }
}

/* ---- Fetches ---- */

static void fetch_turn(struct confab_client *c, uint64_t now)
{
    for (;;) {
        if (!c->fetching) {
            if (!csession_fetch_next(c->session, now, &c->fetch_of)) {
                return;
            }
            struct chttp_request req = {
                .method = "GET",
                .path = span_str(c->fetch_of.path),
                .token = span_of(c->token.data, c->token.len),
            };
            c->fetching = true;
            chttp_begin(&c->fetch, c->host, c->port, span_of(c->authority.data, c->authority.len),
                        &req, c->timeout_ms, now);
        }
        if (!chttp_step(&c->fetch, now)) {
            return;
        }
        c->fetching = false;
        csession_fetch_done(c->session, &c->fetch_of, c->fetch.err ? 0 : c->fetch.status,
                            c->fetch.retry_after_ms,
                            span_of(c->fetch.content.data, c->fetch.content.len), now);
        chttp_reset(&c->fetch);
    }
}

/* ---- The token ---- */

static void token_turn(struct confab_client *c, uint64_t now)
{
    enum confab_error error;
    if ((c->tokens.running || csession_wants_token(c->session, now)) &&
        ctoken_step(c, now, &error)) {
        csession_token_done(c->session, error, span_of(c->token.data, c->token.len),
                            c->tokens.renew_ms, now);
    }
}

/* ---- Turns ---- */

size_t confab_client_pollfds(struct confab_client *c, struct pollfd *fds, size_t max,
                             int *ret_timeout_ms)
{
    size_t n = 0;
    uint64_t now = cio_now_ms();
    uint64_t at = csession_deadline(c->session);
    if (csession_wants_link(c->session) != cconn_is_open(&c->link)) {
        at = now;
    }
    if (cconn_is_open(&c->link) && n < max) {
        bool out = csession_output(c->session).n > 0;
        fds[n++] = (struct pollfd){
            .fd = c->link.fd,
            .events = c->link_told ? (short)(POLLIN | (out ? POLLOUT : 0)) : cconn_events(&c->link),
        };
        at = cconn_has_pending(&c->link) ? now : at;
    }
    if (c->fetching) {
        at = MIN(at, c->fetch.deadline_ms);
        if (cconn_is_open(&c->fetch.conn) && n < max) {
            fds[n++] = (struct pollfd){.fd = c->fetch.conn.fd, .events = chttp_events(&c->fetch)};
        }
    }
    for (int i = 0; i < CSESSION_LANES; i++) {
        if (c->carrying[i]) {
            at = MIN(at, c->carried[i].deadline_ms);
            at = csession_call_wanted(c->session, &c->carried_of[i]) ? at : now;
            at = cconn_has_pending(&c->carried[i].conn) ? now : at;
            if (cconn_is_open(&c->carried[i].conn) && n < max) {
                fds[n++] = (struct pollfd){.fd = c->carried[i].conn.fd,
                                           .events = chttp_events(&c->carried[i])};
            }
        } else if (csession_call_ready(c->session, (enum csession_lane)i, now)) {
            at = now;
        }
    }
    if (c->tokens.running) {
        n += n < max ? ctoken_poll(&c->tokens, &fds[n], &at) : 0;
    } else {
        at = MIN(at, csession_renew_at(c->session));
    }
    *ret_timeout_ms = at == UINT64_MAX ? -1 : at <= now ? 0 : (int)MIN(at - now, (uint64_t)INT_MAX);
    return n;
}

enum confab_error confab_client_process(struct confab_client *c)
{
    uint64_t now = cio_now_ms();
    csession_tick(c->session, now);
    token_turn(c, now);
    link_turn(c, now);
    carried_turn(c, now);
    fetch_turn(c, now);
    if (c->link_told && !link_write(c, now)) {
        link_ended(c, now);
    }
    struct confab_status status;
    csession_status(c->session, now, &status);
    return status.state == CONFAB_STATE_REFUSED ? status.error : CONFAB_E_OK;
}

enum confab_error confab_client_run(struct confab_client *c, int timeout_ms)
{
    struct pollfd fds[3 + CSESSION_LANES];
    int wait_ms;
    size_t n = confab_client_pollfds(c, fds, ARRAY_LEN(fds), &wait_ms);
    if (timeout_ms >= 0 && (wait_ms < 0 || wait_ms > timeout_ms)) {
        wait_ms = timeout_ms;
    }
    (void)cconn_wait(fds, n, wait_ms);
    return confab_client_process(c);
}

enum confab_error confab_client_wait_sent(struct confab_client *c, int timeout_ms)
{
    uint64_t end = timeout_ms < 0 ? UINT64_MAX : cio_now_ms() + (uint64_t)timeout_ms;
    enum confab_error error = CONFAB_E_OK;
    while (!error && csession_outbox_len(c->session) > 0) {
        uint64_t now = cio_now_ms();
        if (now >= end) {
            return CONFAB_E_TIMEOUT;
        }
        error = confab_client_run(c, end == UINT64_MAX ? -1 : (int)(end - now));
    }
    return error;
}

/* ---- Calls of the session ---- */

void confab_client_status(const struct confab_client *c, struct confab_status *ret)
{
    csession_status(c->session, cio_now_ms(), ret);
}

enum confab_error confab_send(struct confab_client *c, const struct confab_outgoing *message,
                              char ret_cmid[CONFAB_CMID_SIZE])
{
    return csession_send(c->session, message, cio_now_ms(), ret_cmid);
}

size_t confab_outbox_len(const struct confab_client *c)
{
    return csession_outbox_len(c->session);
}

enum confab_error confab_unsend(struct confab_client *c, const char *client_msg_id)
{
    return csession_unsend(c->session, client_msg_id);
}

enum confab_error confab_mark_read(struct confab_client *c, const char *conv, uint64_t seq)
{
    struct conv_id id;
    if (!conv_id_parse(span_str(conv), &id)) {
        return CONFAB_E_ARGUMENT;
    }
    return csession_mark_read(c->session, id, seq, cio_now_ms());
}

enum confab_error confab_view(struct confab_client *c, const char *const *convs, size_t n)
{
    struct conv_id ids[CONFAB_VIEW_MAX];
    if (n > CONFAB_VIEW_MAX) {
        return CONFAB_E_ARGUMENT;
    }
    for (size_t i = 0; i < n; i++) {
        if (!conv_id_parse(span_str(convs[i]), &ids[i])) {
            return CONFAB_E_ARGUMENT;
        }
    }
    return csession_view(c->session, ids, (uint32_t)n, cio_now_ms());
}

enum confab_error confab_presence_follow(struct confab_client *c, const uint64_t *user_ids,
                                         size_t n)
{
    return n > CONFAB_FOLLOW_MAX ? CONFAB_E_ARGUMENT
                                 : csession_follow(c->session, user_ids, n, cio_now_ms());
}

enum confab_error confab_typing_set(struct confab_client *c, const char *to, const char *conv,
                                    bool active)
{
    struct wire_typing m = {.active = active};
    bool named = to && to[0] != '\0' && strlen(to) <= WIRE_TO_MAX;
    if (named == (conv != NULL) || (conv && !conv_id_parse(span_str(conv), &m.conv))) {
        return CONFAB_E_ARGUMENT;
    }
    m.to = span_str(named ? to : "");
    return csession_typing(c->session, &m, cio_now_ms());
}

enum confab_error confab_position(const struct confab_client *c, const char *conv,
                                  uint64_t *ret_seq)
{
    struct conv_id id;
    uint64_t event;
    if (!conv_id_parse(span_str(conv), &id)) {
        return CONFAB_E_ARGUMENT;
    }
    return csession_position(c->session, id, ret_seq, &event) ? CONFAB_E_OK : CONFAB_E_NOT_FOUND;
}

enum confab_error confab_client_save(struct confab_client *c)
{
    return csession_save(c->session, cio_now_ms());
}

void confab_client_stats(const struct confab_client *c, struct confab_stats *ret)
{
    csession_stats(c->session, ret);
}
