/*
 * One connection of a session: the upgrade, signing in, frames in both directions, and which part
 * of the heart each of the server's events goes to.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/utf8.h"
#include "client/session_internal.h"

#define HEARTBEAT_MIN_MS 1000U
#define HEARTBEAT_MAX_MS 300000U
#define DEFLATE_FROM     512U   /* bytes of a message worth compressing */
#define RETRY_AFTER_MAX  86400U /* seconds; more is not believed */

static void protocol_error(struct csession *s, uint16_t code, const char *text, uint64_t now)
{
    s->stats.protocol_errors++;
    csession_close_link(s, code, CPHASE_WAIT, CONFAB_E_PROTOCOL, now);
    csession_error(s, CONFAB_E_PROTOCOL, text);
}

static void no_memory(struct csession *s, uint64_t now)
{
    csession_close_link(s, WS_CLOSE_GOING_AWAY, CPHASE_WAIT, CONFAB_E_NOMEM, now);
    csession_error(s, CONFAB_E_NOMEM, confab_error_text(CONFAB_E_NOMEM));
}

/* An internal error that arose from a frame. */
static void fail(struct csession *s, enum confab_err err, const char *text, uint64_t now)
{
    if (err == CONFAB_NOMEM) {
        no_memory(s, now);
    } else {
        protocol_error(s, WS_CLOSE_PROTOCOL, text, now);
    }
}

/* ---- Writing ---- */

size_t clink_frame_begin(struct csession *s)
{
    if (!ccarry_is_link(s)) {
        return s->out.len;
    }
    return ws_frame_begin(&s->out, true);
}

/* Replaces the frame begun at `mark` by a compressed one, if that is smaller. */
static bool put_packed(struct csession *s, size_t mark, const uint8_t key[4])
{
    uint8_t head[WS_HEADER_MAX];
    size_t text = mark + ws_frame_room(true);
    if (!s->deflate || s->out.len - text < DEFLATE_FROM) {
        return false;
    }
    buf_clear(&s->packed);
    if (deflate_message(s->deflater, span_of(s->out.data + text, s->out.len - text), &s->packed)) {
        return false;
    }
    size_t n = ws_header(head, WS_TEXT, true, s->packed.len, key);
    ws_header_deflated(head);
    ws_mask(s->packed.data, s->packed.len, key, 0);
    /* It fits where the text is: it is smaller, and its header no larger than what was left. */
    s->out.len = mark;
    buf_put(&s->out, head, n);
    buf_put(&s->out, s->packed.data, s->packed.len);
    s->stats.deflated++;
    return true;
}

bool clink_frame_end(struct csession *s, size_t mark, uint64_t now)
{
    uint8_t key[4];
    random_fill(s->random, key, sizeof(key));
    if (!ccarry_is_link(s)) {
        buf_put_u8(&s->out, '\n'); /* between events: there is none in JSON of ours */
    } else if (buf_ok(&s->out) && !put_packed(s, mark, key)) {
        ws_frame_end(&s->out, mark, WS_TEXT, key);
    }
    if (!buf_ok(&s->out)) {
        /* What was written before is whole; nothing may follow a part of a frame. */
        s->out.len = MIN(s->out.len, mark);
        s->out.failed = false;
        no_memory(s, now);
        return false;
    }
    if (s->out.len - s->out_sent > CSESSION_OUTPUT_MAX) {
        csession_close_link(s, WS_CLOSE_NONE, CPHASE_WAIT, CONFAB_E_TIMEOUT, now);
        return false;
    }
    return true;
}

void clink_begin(struct csession *s, uint64_t now)
{
    uint8_t nonce[16];
    random_fill(s->random, nonce, sizeof(nonce));
    memset(&s->scan, 0, sizeof(s->scan));
    ws_put_upgrade_request(&s->out, span_of(s->host.data, s->host.len),
                           span_of(s->target.data, s->target.len), span_of(NULL, 0),
                           s->deflater != NULL, nonce, s->accept);
    if (!buf_ok(&s->out)) {
        buf_clear(&s->out);
        no_memory(s, now);
    }
}

static uint32_t put_have(struct csession *s, struct wire_have *have)
{
    uint32_t n = 0;
    struct idmap_iter it = {0};
    while (n < CSESSION_HAVE_MAX && idmap_next(&s->tracks, &it)) {
        const struct ctrack *t = it.value;
        bool far = t->target_seq > t->seq;
        uint64_t id = far ? t->target_id : t->id;
        if (t->known && t->ahead && id != 0) {
            have[n++] = (struct wire_have){
                .conv = t->conv, .seq = far ? t->target_seq : t->seq, .event_id = id};
        }
    }
    return n;
}

void clink_resume(struct csession *s, uint64_t now)
{
    struct wire_have *have = malloc(CSESSION_HAVE_MAX * sizeof(*have));
    if (!have) {
        no_memory(s, now);
        return;
    }
    uint32_t n = put_have(s, have);
    size_t mark = clink_frame_begin(s);
    wire_put_resume(&s->out,
                    s->since.len > 0 ? span_of(s->since.data, s->since.len) : span_of(NULL, 0),
                    have, n, s->batch);
    free(have);
    s->resumes++;
    s->answer = s->answers;
    s->asked++;
    if (clink_frame_end(s, mark, now)) {
        csession_set_phase(s, CPHASE_SYNC, now);
    }
}

void clink_resume_again(struct csession *s, uint64_t now)
{
    if (s->phase == CPHASE_LIVE) {
        clink_resume(s, now);
    } else if (s->phase == CPHASE_SYNC) {
        s->again = true;
    }
}

/*
 * The server sends nothing live before the first. Each is answered at most once, so that as many
 * answers as questions say that all were read. One that ends because this client is slow has no
 * answer: then it stays unsure up to the end of the connection, which costs some resumes more.
 */
bool clink_is_heard(const struct csession *s)
{
    return s->asked == 1 || s->answered == s->asked;
}

static void answered(struct csession *s)
{
    s->answered = MIN(s->answered + 1, s->asked);
}

/* ---- Events ---- */

static void on_hello(struct csession *s, const struct wire_hello *hello, uint64_t now)
{
    if (s->phase != CPHASE_HELLO) {
        protocol_error(s, WS_CLOSE_PROTOCOL, "a second hello", now);
        return;
    }
    if (hello->protocol != 1 || hello->user_id == 0) {
        protocol_error(s, WS_CLOSE_PROTOCOL, "the server speaks another version", now);
        return;
    }
    if (s->state_user_id != 0 && s->state_user_id != hello->user_id) {
        csession_close_link(s, WS_CLOSE_NORMAL, CPHASE_REFUSED, CONFAB_E_DAMAGED, now);
        csession_error(s, CONFAB_E_DAMAGED, "the saved state is that of another user");
        return;
    }
    ccarry_hello(s, hello->session_id, now);
    s->user_id = s->state_user_id = hello->user_id;
    s->heartbeat_ms = MIN(MAX(hello->heartbeat_ms, HEARTBEAT_MIN_MS), HEARTBEAT_MAX_MS);
    s->inflight_max = MAX(hello->inflight, 1U);
    s->last_beat_ms = now;
    s->renewed = 0;
    if ((s->opt.flags & CONFAB_NO_FOLLOW) != 0) {
        s->attempt = 0;
        csession_set_phase(s, CPHASE_LIVE, now);
    } else {
        clink_resume(s, now);
    }
}

static void on_caught_up(struct csession *s, struct span since, uint64_t server_time_ms, bool reset,
                         uint64_t now)
{
    /* Also when nothing seems to be asked: after a resync that crossed a resume there are two
     * answers, and the first of them, which may lack what the second was asked for, ended SYNC. */
    if (!csession_is_signed_in(s)) {
        return;
    }
    answered(s);
    /* An unsaved token costs a repetition at the next resume, nothing else. */
    if (since.n <= WIRE_SINCE_MAX && buf_reserve(&s->since, since.n)) {
        buf_clear(&s->since);
        buf_put(&s->since, since.p, since.n);
        s->caught_up_ms = server_time_ms;
    }
    s->since.failed = false;
    bool late = s->phase == CPHASE_LIVE;
    ctrack_caught_up(s, reset, now);
    if (!csession_is_signed_in(s)) {
        return;
    }
    if (ctrack_lacks_joined(s) || s->again) {
        s->again = false;
        clink_resume(s, now);
        return;
    }
    if (late) {
        csession_touch(s, now);
        return;
    }
    s->attempt = 0;
    s->stats.caught_up++;
    csession_touch(s, now);
    csession_set_phase(s, CPHASE_LIVE, now);
    clive_caught_up(s, now);
    if (s->on.on_caught_up) {
        s->on.on_caught_up(s->arg);
    }
}

static void on_failure(struct csession *s, const struct wire_failure *f, uint64_t now)
{
    if (f->client_msg_id.n > 0 && coutbox_refused(s, f, now)) {
        return;
    }
    if (f->retry_after_ms > 0 && span_is(f->ref, "ack") && ctrack_ack_refused(s, f, now)) {
        return;
    }
    enum confab_error error = cerror_of_wire(f->code);
    if (csession_is_signed_in(s) && span_is(f->ref, "resume") && error == CONFAB_E_CONFLICT &&
        s->asked - s->answered > 1) {
        /* A resync crossed a resume. The one under way may be older than the reason for this one,
         * and an answer does not say which it belongs to: after the next one it is asked again. */
        answered(s);
        s->again = true;
        return;
    }
    if (s->phase == CPHASE_SYNC && span_is(f->ref, "resume")) {
        s->wait_ms = f->retry_after_ms > 0 ? csession_wait_after(s, f->retry_after_ms) : UINT64_MAX;
        csession_close_link(s, WS_CLOSE_NORMAL, CPHASE_WAIT, error, now);
    }
    char text[256];
    size_t n = MIN(f->message.n, sizeof(text) - 1);
    if (n > 0) {
        memcpy(text, f->message.p, n);
    }
    text[n] = '\0';
    csession_error(s, error, text);
}

static void on_event(struct csession *s, const struct wire_server_msg *m, struct span frame,
                     struct scratch *scratch, uint64_t now)
{
    enum confab_err err = CONFAB_OK;
    switch (m->event) {
    case WIRE_S_ACK:
        err = coutbox_acked(s, &m->u.ack, now);
        break;
    case WIRE_S_ERROR:
        on_failure(s, &m->u.error, now);
        break;
    case WIRE_S_NEW_MESSAGE:
    case WIRE_S_MESSAGE_EDITED:
    case WIRE_S_MESSAGE_DELETED:
    case WIRE_S_MEMBERSHIP:
    case WIRE_S_CONVERSATION:
    case WIRE_S_SELF:
        err = ctrack_live(s, m, frame, now);
        break;
    case WIRE_S_DELIVERY_RECEIPT:
        cdeliver(s, m, CONFAB_LIVE);
        break;
    case WIRE_S_CONVERSATIONS:
        err = ctrack_page(s, m->u.page, scratch, now);
        break;
    case WIRE_S_CAUGHT_UP:
        on_caught_up(s, m->u.caught_up.since, m->u.caught_up.server_time_ms, m->u.caught_up.reset,
                     now);
        break;
    case WIRE_S_TYPING:
        clive_typing(s, &m->u.typing);
        break;
    case WIRE_S_COUNTER:
        ctrack_counter(s, &m->u.counter, now);
        break;
    case WIRE_S_PRESENCE_UPDATE:
        clive_presence(s, &m->u.presence);
        break;
    case WIRE_S_RESYNC:
        s->stats.resyncs++;
        if ((s->opt.flags & CONFAB_NO_FOLLOW) == 0) {
            clink_resume(s, now);
        }
        break;
    case WIRE_S_RECONNECT:
        s->wait_ms = m->u.delay_ms;
        csession_close_link(s, WS_CLOSE_NORMAL, CPHASE_WAIT, CONFAB_E_OK, now);
        break;
    case WIRE_S_CLOSED:
        clink_closed(s, (uint16_t)m->u.close_code, now);
        break;
    default:
        break; /* hello is dealt with; heartbeat and unknown ones say nothing */
    }
    if (err) {
        fail(s, err, "a frame does not fit the protocol", now);
    }
}

static void on_object(struct csession *s, struct span frame, uint64_t now)
{
    /* Only strings with escapes need memory of their own. */
    struct scratch scratch = {0};
    void *block = NULL;
    if (frame.n > 0 && memchr(frame.p, '\\', frame.n)) {
        block = malloc(frame.n);
        if (!block) {
            no_memory(s, now);
            return;
        }
        scratch_init(&scratch, block, frame.n);
    }
    struct wire_server_msg m;
    struct wire_error why;
    enum confab_err err = wire_parse_server(frame, &scratch, &m, &why);
    if (err) {
        fail(s, err, why.message ? why.message : "a frame could not be read", now);
    } else if (m.event == WIRE_S_HELLO) {
        on_hello(s, &m.u.hello, now);
    } else if (csession_is_signed_in(s) || m.event == WIRE_S_ERROR) {
        on_event(s, &m, frame, &scratch, now);
    }
    free(block);
}

/* Also a frame of several events: in their order, up to one that ends the link. */
void clink_text(struct csession *s, struct span frame, uint64_t now)
{
    if (frame.n == 0 || frame.p[0] != '[') {
        on_object(s, frame, now);
        return;
    }
    struct json *it = malloc(sizeof(*it)); /* handlers may want much of the stack */
    struct span one;
    bool any = false;
    if (!it) {
        no_memory(s, now);
        return;
    }
    json_init(it, frame, NULL);
    json_array_begin(it);
    while (json_array_next(it) && json_raw(it, &one)) {
        any = true;
        on_object(s, one, now);
        if (s->phase < CPHASE_HELLO || s->phase > CPHASE_LIVE) {
            free(it);
            return;
        }
    }
    if (!json_end(it) || !any) {
        protocol_error(s, WS_CLOSE_PROTOCOL, "a frame is no list of events", now);
    }
    free(it);
}

/* ---- Frames ---- */

void clink_closed(struct csession *s, uint16_t code, uint64_t now)
{
    enum cphase then = CPHASE_WAIT;
    enum confab_error reason = CONFAB_E_NETWORK;
    switch (code) {
    case WS_CLOSE_TOKEN:
        then = csession_token_refused(s);
        reason = CONFAB_E_UNAUTHENTICATED;
        break;
    case WS_CLOSE_TOO_MANY:
        reason = CONFAB_E_LIMIT;
        break;
    case WS_CLOSE_TRY_LATER:
        reason = CONFAB_E_BUSY;
        break;
    case WS_CLOSE_PROTOCOL:
    case WS_CLOSE_UNSUPPORTED:
    case WS_CLOSE_NOT_UTF8:
    case WS_CLOSE_TOO_BIG:
    case WS_CLOSE_BAD_JSON:
        s->stats.protocol_errors++;
        reason = CONFAB_E_PROTOCOL;
        break;
    default:
        break;
    }
    csession_close_link(s, code, then, reason, now);
}

/* A whole message, compressed or not. */
static void on_message_text(struct csession *s, struct span text, bool deflated, uint64_t now)
{
    if (deflated) {
        enum confab_err err =
            inflate_message(s->inflater, text, s->opt.frame_bytes_max, &s->unpacked);
        if (err == CONFAB_NOMEM) {
            no_memory(s, now);
            return;
        }
        if (err || !utf8_valid(s->unpacked.data, s->unpacked.len)) {
            protocol_error(s, err == CONFAB_TOO_LARGE ? WS_CLOSE_TOO_BIG : WS_CLOSE_NOT_UTF8,
                           "a compressed message is damaged, or too large", now);
            return;
        }
        s->stats.inflated++;
        text = span_of(s->unpacked.data, s->unpacked.len);
    }
    clink_text(s, text, now);
    buf_deinit(&s->unpacked);
}

static void on_frame(struct csession *s, const struct ws_frame *f, uint64_t now)
{
    struct span payload = span_of(f->payload, f->len);
    switch (f->opcode) {
    case WS_PING: {
        uint8_t key[4];
        random_fill(s->random, key, sizeof(key));
        size_t before = s->out.len;
        ws_put_frame(&s->out, WS_PONG, payload, key);
        if (!buf_ok(&s->out) || s->out.len - s->out_sent > CSESSION_OUTPUT_MAX) {
            s->out.len = before;
            s->out.failed = false;
            csession_close_link(s, WS_CLOSE_NONE, CPHASE_WAIT, CONFAB_E_NOMEM, now);
        }
        break;
    }
    case WS_CLOSE:
        clink_closed(s, f->close_code, now);
        break;
    case WS_TEXT:
        if (f->first && f->fin) {
            on_message_text(s, payload, f->deflated, now);
            break;
        }
        buf_put(&s->message, payload.p, payload.n);
        if (!buf_ok(&s->message)) {
            no_memory(s, now);
        } else if (f->fin) {
            on_message_text(s, span_of(s->message.data, s->message.len), f->deflated, now);
            buf_deinit(&s->message);
        }
        break;
    case WS_BINARY:
        protocol_error(s, WS_CLOSE_UNSUPPORTED, "the server sent a binary frame", now);
        break;
    default:
        break;
    }
}

/* Returns the bytes used up. */
static size_t read_frames(struct csession *s, uint8_t *p, size_t n, uint64_t now)
{
    size_t used = 0;
    while (used < n && s->phase >= CPHASE_HELLO && s->phase <= CPHASE_LIVE) {
        struct ws_frame f;
        enum ws_result r = ws_decode(&s->ws, p + used, n - used, &f);
        if (r == WS_MORE) {
            return used;
        }
        if (r == WS_FRAME) {
            used += f.consumed;
            on_frame(s, &f, now);
        } else {
            protocol_error(s, r == WS_ERROR ? f.close_code : WS_CLOSE_NONE,
                           "the server broke the rules of WebSocket", now);
        }
    }
    return n;
}

/* ---- The upgrade ---- */

static void refused_upgrade(struct csession *s, const struct http_response *res, uint64_t now)
{
    uint64_t after = 0;
    if (id_parse(http_header_get(&res->headers, "retry-after"), &after) &&
        after <= RETRY_AFTER_MAX) {
        s->wait_ms = csession_wait_after(s, after * 1000);
    }
    enum confab_error reason = CONFAB_E_PROTOCOL;
    enum cphase then = CPHASE_WAIT;
    switch (res->status) {
    case 401:
        reason = CONFAB_E_UNAUTHENTICATED;
        then = csession_token_refused(s);
        break;
    case 429:
        reason = CONFAB_E_LIMIT;
        break;
    case 502:
    case 503:
    case 504:
        reason = CONFAB_E_BUSY;
        break;
    default:
        s->stats.protocol_errors++;
        break;
    }
    csession_close_link(s, WS_CLOSE_NONE, then, reason, now);
    char text[64];
    snprintf(text, sizeof(text), "the server answered with status %d", res->status);
    csession_error(s, reason, text);
}

/* Reads the answer to the upgrade from s->in, and signs in. */
static void read_upgrade(struct csession *s, uint64_t now)
{
    struct http_response *res = malloc(sizeof(*res));
    if (!res) {
        no_memory(s, now);
        return;
    }
    struct http_error bad;
    struct span protocol;
    bool deflate = s->deflater != NULL;
    const char *why = NULL;
    enum http_result r =
        http_response_parse(&s->scan, span_of(s->in.data, s->in.len), false, res, &bad);
    if (r == HTTP_BAD) {
        protocol_error(s, WS_CLOSE_NONE, bad.why, now);
    } else if (r == HTTP_DONE && res->status != 101) {
        refused_upgrade(s, res, now);
    } else if (r == HTTP_DONE && ws_upgrade_verify(res, s->accept, span_of(NULL, 0), &protocol,
                                                   &deflate, &why) != CONFAB_OK) {
        protocol_error(s, WS_CLOSE_NONE, why, now);
    } else if (r == HTTP_DONE) {
        buf_consume(&s->in, res->head_len);
        ws_decoder_init(&s->ws, WS_CLIENT, s->opt.frame_bytes_max);
        s->deflate = deflate;
        if (deflate) {
            ws_decoder_deflate(&s->ws);
        }
        csession_set_phase(s, CPHASE_HELLO, now);
        size_t mark = clink_frame_begin(s);
        wire_put_auth(&s->out, span_of(s->token.data, s->token.len));
        (void)clink_frame_end(s, mark, now);
    }
    free(res);
}

void clink_input(struct csession *s, uint8_t *p, size_t n, uint64_t now)
{
    /* Between frames there is no buffer: whole frames are read where they are. */
    if (s->phase != CPHASE_UPGRADE && s->in.len == 0) {
        size_t used = read_frames(s, p, n, now);
        p += used;
        n -= used;
        if (n == 0) {
            return;
        }
    }
    buf_put(&s->in, p, n);
    if (!buf_ok(&s->in)) {
        no_memory(s, now);
        return;
    }
    if (s->phase == CPHASE_UPGRADE) {
        read_upgrade(s, now);
    }
    if (s->phase >= CPHASE_HELLO && s->phase <= CPHASE_LIVE) {
        size_t used = read_frames(s, s->in.data, s->in.len, now);
        buf_consume(&s->in, used);
        if (s->in.len == 0) {
            buf_deinit(&s->in);
        }
    }
}
