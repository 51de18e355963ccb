/* See script.h. */
#include "script.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/http1.h"

void (*script_under_test)(bool on);

static void under_test(bool on)
{
    if (script_under_test) {
        script_under_test(on);
    }
}

static const char *source_name(enum confab_source source)
{
    static const char *const names[] = {"live", "missed", "filled", "first", "page"};
    return names[source];
}

static void on_message(void *arg, const struct confab_message *m)
{
    under_test(false);
    struct script *h = arg;
    buf_printf(&h->log, "m %c%" PRIu64 " %.*s %s%s%s\n", m->conv[0], m->seq, (int)m->content.n,
               m->content.p ? m->content.p : "", source_name(m->source), m->own ? " own" : "",
               m->deleted ? " deleted" : "");
    if (h->stop_after > 0 && --h->stop_after == 0) {
        csession_stop(h->session, h->now);
    }
    if (h->mark_read) {
        struct conv_id conv;
        assert_true(conv_id_parse(span_str(m->conv), &conv));
        under_test(true);
        (void)csession_mark_read(h->session, conv, m->seq, h->now);
        under_test(false);
    }
    under_test(true);
}

static void on_event(void *arg, const struct confab_event *e)
{
    under_test(false);
    struct script *h = arg;
    buf_printf(&h->log, "e %c%" PRIu64 " %d %s\n", e->conv[0], e->seq, (int)e->kind,
               source_name(e->source));
    under_test(true);
}

static void on_conversation(void *arg, const struct confab_conversation *c)
{
    under_test(false);
    struct script *h = arg;
    buf_printf(&h->log, "c %c head=%" PRIu64 "%s%s\n", c->conv[0], c->head,
               c->known ? "" : " first", c->left ? " left" : "");
    under_test(true);
}

static void on_receipt(void *arg, const struct confab_receipt *r)
{
    under_test(false);
    struct script *h = arg;
    buf_printf(&h->log, "r %c%" PRIu64 " user %" PRIu64 " %s\n", r->conv[0], r->seq, r->user_id,
               r->read ? "read" : "delivered");
    under_test(true);
}

static void on_sent(void *arg, const struct confab_sent *s)
{
    under_test(false);
    struct script *h = arg;
    if (s->error) {
        buf_printf(&h->log, "s %s %s\n", s->client_msg_id, confab_error_name(s->error));
    } else {
        buf_printf(&h->log, "s %s %c%" PRIu64 "%s\n", s->client_msg_id, s->conv[0], s->seq,
                   s->duplicate ? " duplicate" : "");
    }
    under_test(true);
}

static void on_state(void *arg, const struct confab_status *status)
{
    under_test(false);
    static const char *const names[] = {"stopped", "waiting", "connecting",
                                        "syncing", "live",    "refused"};
    struct script *h = arg;
    if (!h->quiet) {
        buf_printf(&h->log, "state %s%s%s\n", names[status->state], status->error ? " " : "",
                   status->error ? confab_error_name(status->error) : "");
    }
    under_test(true);
}

static void on_reset(void *arg, const char *conv)
{
    under_test(false);
    struct script *h = arg;
    buf_printf(&h->log, "reset %c\n", conv[0]);
    under_test(true);
}

static void on_gap(void *arg, const struct confab_gap *gap)
{
    under_test(false);
    struct script *h = arg;
    buf_printf(&h->log, "gap %c %" PRIu64 "-%" PRIu64 "\n", gap->conv[0], gap->from_seq,
               gap->to_seq);
    under_test(true);
}

static void on_caught_up(void *arg)
{
    under_test(false);
    struct script *h = arg;
    buf_put_str(&h->log, "caught up\n");
    under_test(true);
}

static void on_error(void *arg, enum confab_error error, const char *text)
{
    under_test(false);
    struct script *h = arg;
    assert_non_null(text);
    buf_printf(&h->log, "error %s\n", confab_error_name(error));
    under_test(true);
}

static enum confab_error on_save(void *arg, const void *data, size_t n)
{
    struct script *h = arg;
    if (h->save_fails > 0) {
        h->save_fails--;
        return CONFAB_E_SERVER;
    }
    h->saves++;
    under_test(false);
    buf_clear(&h->state);
    buf_put(&h->state, data, n);
    under_test(true);
    return buf_ok(&h->state) ? CONFAB_E_OK : CONFAB_E_NOMEM;
}

void script_init(struct script *h)
{
    memset(h, 0, sizeof(*h));
    random_seeded_init(&h->random, 7);
    confab_options_init(&h->options);
    h->options.arg = h;
    h->options.handlers = (struct confab_handlers){
        .on_message = on_message,
        .on_event = on_event,
        .on_receipt = on_receipt,
        .on_conversation = on_conversation,
        .on_reset = on_reset,
        .on_gap = on_gap,
        .on_sent = on_sent,
        .on_state = on_state,
        .on_caught_up = on_caught_up,
        .on_error = on_error,
    };
    h->options.save = on_save;
    h->now = 1000;
    h->user_id = 1;
    h->quiet = true;
}

enum confab_err script_open(struct script *h)
{
    h->options.state = h->state.len > 0 ? h->state.data : NULL;
    h->options.state_len = h->state.len;
    struct csession_config cfg = {
        .random = &h->random.base,
        .options = &h->options,
        .host = span_str("localhost:8008"),
        .target = span_str("/ws"),
        .token = span_str("secret-token"),
        .renewable = h->renewable,
        .renew_ms = h->renew_ms ? h->renew_ms : UINT64_MAX,
    };
    under_test(true);
    enum confab_err err = csession_new(&cfg, &h->session);
    under_test(false);
    return err;
}

void script_close(struct script *h)
{
    csession_free(h->session);
    buf_deinit(&h->log);
    buf_deinit(&h->state);
    buf_deinit(&h->from_it);
    buf_deinit(&h->frame);
}

void script_restart(struct script *h)
{
    csession_free(h->session);
    h->session = NULL;
    buf_clear(&h->from_it);
    assert_int_equal(script_open(h), CONFAB_OK);
}

void script_collect(struct script *h)
{
    struct span out = csession_output(h->session);
    buf_put(&h->from_it, out.p, out.n);
    under_test(true);
    csession_output_sent(h->session, out.n, h->now);
    under_test(false);
}

void script_bytes(struct script *h, const void *p, size_t n)
{
    const uint8_t *at = p;
    while (n > 0) {
        size_t piece = h->split == 0 ? n : MIN(n, h->split);
        /* A block of its own, so that a sanitizer sees reading beyond it. */
        uint8_t *copy = malloc(piece);
        assert_non_null(copy);
        memcpy(copy, at, piece);
        under_test(true);
        csession_input(h->session, copy, piece, h->now);
        under_test(false);
        free(copy);
        at += piece;
        n -= piece;
    }
}

void script_upgrade(struct script *h, char ret_accept[WS_ACCEPT_TEXT])
{
    csession_start(h->session, h->now);
    while (!csession_wants_link(h->session)) {
        assert_true(csession_deadline(h->session) < UINT64_MAX);
        h->now = MAX(h->now, csession_deadline(h->session));
        csession_tick(h->session, h->now);
    }
    assert_true(csession_wants_link(h->session));
    buf_clear(&h->from_it);
    ws_decoder_init(&h->ws, WS_SERVER, 65536);
    under_test(true);
    csession_link_up(h->session, h->now);
    under_test(false);
    script_collect(h);
    struct http_scan scan = {0};
    struct http_request req;
    struct http_error bad;
    assert_int_equal(
        http_request_parse(&scan, span_of(h->from_it.data, h->from_it.len), &req, &bad), HTTP_DONE);
    struct ws_upgrade up;
    const char *why;
    assert_int_equal(ws_upgrade_check(&req, &up, &why), CONFAB_OK);
    ws_accept_key(up.key, ret_accept);
    buf_consume(&h->from_it, req.head_len);
}

void script_reply_upgrade(struct script *h, const char accept[WS_ACCEPT_TEXT])
{
    struct buf b;
    buf_init(&b);
    buf_printf(&b,
               "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: "
               "Upgrade\r\nSec-WebSocket-Accept: %.*s\r\n\r\n",
               (int)WS_ACCEPT_TEXT, accept);
    script_bytes(h, b.data, b.len);
    buf_deinit(&b);
}

void script_connect(struct script *h)
{
    char accept[WS_ACCEPT_TEXT];
    script_upgrade(h, accept);
    script_reply_upgrade(h, accept);
    script_expect(h, "\"event\":\"auth\"");
    script_send(h,
                "{\"event\":\"hello\",\"protocol\":1,\"server_time\":\"2025-01-31T08:15:30.123Z\","
                "\"session_id\":\"1\",\"user_id\":\"%" PRIu64
                "\",\"device_id\":\"3\",\"limits\":{\"text_bytes\":16384,\"frame_bytes\":65536,"
                "\"inflight\":2},\"heartbeat_ms\":30000}",
                h->user_id);
}

void script_caught_up(struct script *h, const char *since)
{
    script_send(h,
                "{\"event\":\"caught_up\",\"since\":\"%s\",\"server_time\":"
                "\"2025-01-31T08:15:30.123Z\"}",
                since);
}

void script_live(struct script *h)
{
    script_connect(h);
    script_expect(h, "\"event\":\"resume\"");
    script_caught_up(h, "t1");
    script_log_clear(h);
}

void script_live_at(struct script *h, char conv, unsigned head)
{
    script_connect(h);
    script_expect(h, "\"event\":\"resume\"");
    script_page(h, conv, head, 0, 0, "", "");
    script_caught_up(h, "t1");
    script_log_clear(h);
}

void script_drop(struct script *h)
{
    under_test(true);
    csession_link_down(h->session, h->now);
    under_test(false);
    buf_clear(&h->from_it);
}

static void send_frame(struct script *h, const char *text)
{
    struct buf b;
    buf_init(&b);
    ws_put_frame(&b, WS_TEXT, span_str(text), NULL);
    script_bytes(h, b.data, b.len);
    buf_deinit(&b);
}

void script_send(struct script *h, const char *fmt, ...)
{
    char text[16384];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    assert_in_range(n, 1, sizeof(text) - 1);
    send_frame(h, text);
}

static const char *conv_text(char conv)
{
    return conv == 'a' ? CONV_A : conv == 'b' ? CONV_B : CONV_S;
}

const char *script_message_text(char conv, unsigned seq, unsigned from, const char *content)
{
    static char text[16][512];
    static unsigned turn;
    char *out = text[turn++ % 16];
    snprintf(out, sizeof(text[0]),
             "{\"event\":\"new_message\",\"conversation_id\":\"%s\",\"seq\":%u,\"event_id\":\"%u\","
             "\"message_id\":\"%u\",\"sent_at\":\"2025-01-31T08:15:30.123Z\",\"from\":\"%u\","
             "\"content\":\"%s\",\"type\":\"text\"}",
             conv_text(conv), seq, 1000 + seq, 1000 + seq, from, content);
    return out;
}

void script_message(struct script *h, char conv, unsigned seq, unsigned from, const char *content)
{
    send_frame(h, script_message_text(conv, seq, from, content));
}

void script_page(struct script *h, char conv, unsigned head, unsigned from, unsigned to,
                 const char *more, const char *events)
{
    script_send(h,
                "{\"event\":\"conversations\",\"conversations\":[{\"conversation_id\":\"%s\","
                "\"type\":\"%s\",\"role\":\"member\",\"members\":3,\"head\":%u,\"head_id\":\"%u\","
                "\"unread\":0,\"mentions\":0,\"muted\":false,\"pinned\":false,"
                "\"cursors\":{\"delivered\":%u,\"read\":0},\"covered\":[%u,%u],\"limited\":%s,"
                "\"reset\":%s%s,\"events\":[%s]}]}",
                conv_text(conv), conv == 's' ? "self" : "group", head, 1000 + head, head, from, to,
                strstr(more, "limited") ? "true" : "false",
                strstr(more, "reset") ? "true" : "false",
                strstr(more, "left") ? ",\"left\":true" : "", events);
}

const char *script_take(struct script *h)
{
    script_collect(h);
    for (;;) {
        struct ws_frame f;
        enum ws_result r = ws_decode(&h->ws, h->from_it.data, h->from_it.len, &f);
        if (r == WS_MORE || r == WS_ENDED) {
            return NULL;
        }
        assert_int_equal(r, WS_FRAME);
        buf_clear(&h->frame);
        buf_put(&h->frame, f.payload, f.len);
        buf_put_u8(&h->frame, 0);
        enum ws_opcode opcode = f.opcode;
        buf_consume(&h->from_it, f.consumed);
        if (opcode == WS_TEXT) {
            return (const char *)h->frame.data;
        }
    }
}

void script_expect(struct script *h, const char *text)
{
    const char *got = script_take(h);
    if (!got || !strstr(got, text)) {
        fail_msg("expected %s, got %s", text, got ? got : "nothing");
    }
}

void script_expect_none(struct script *h)
{
    const char *got = script_take(h);
    if (got) {
        fail_msg("expected nothing, got %s", got);
    }
}

const char *script_field(struct script *h, const char *name)
{
    static char value[256];
    char key[64];
    snprintf(key, sizeof(key), "\"%s\":\"", name);
    const char *at = strstr((const char *)h->frame.data, key);
    assert_non_null(at);
    at += strlen(key);
    snprintf(value, sizeof(value), "%.*s", (int)strcspn(at, "\""), at);
    return value;
}

void script_log_clear(struct script *h)
{
    buf_clear(&h->log);
}

void script_log_is(struct script *h, const char *text)
{
    buf_put_u8(&h->log, 0);
    assert_true(buf_ok(&h->log));
    assert_string_equal((const char *)h->log.data, text);
    buf_clear(&h->log);
}
