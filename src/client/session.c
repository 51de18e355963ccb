/*
 * Life of a session: phases, waits between attempts, timers. Frames are in link.c, positions in
 * track.c and fill.c, messages to send in outbox.c.
 */
#include "client/session.h"

#include <stdlib.h>

#include "client/session_internal.h"

#define CARRIED_BEAT_MS 45000U
#define RENEWALS_MAX    3U /* of the token, without a hello in between */

static enum confab_state public_state(enum cphase phase, enum cphase then)
{
    switch (phase) {
    case CPHASE_OFF:
        return CONFAB_STATE_STOPPED;
    case CPHASE_WAIT:
        return CONFAB_STATE_WAITING;
    case CPHASE_TOKEN:
    case CPHASE_LINK:
    case CPHASE_UPGRADE:
    case CPHASE_HELLO:
        return CONFAB_STATE_CONNECTING;
    case CPHASE_SYNC:
        return CONFAB_STATE_SYNCING;
    case CPHASE_LIVE:
        return CONFAB_STATE_LIVE;
    case CPHASE_CLOSING:
        return public_state(then == CPHASE_CLOSING ? CPHASE_OFF : then, CPHASE_OFF);
    case CPHASE_REFUSED:
        return CONFAB_STATE_REFUSED;
    }
    return CONFAB_STATE_STOPPED;
}

void csession_status(const struct csession *s, uint64_t now, struct confab_status *ret)
{
    memset(ret, 0, sizeof(*ret));
    ret->state = public_state(s->phase, s->after_closing);
    ret->error = s->reason;
    ret->user_id = s->user_id;
    ret->transport = s->carry.on;
    if (s->phase == CPHASE_WAIT && s->phase_deadline_ms > now) {
        ret->retry_in_ms = s->phase_deadline_ms - now;
    }
}

void csession_set_phase(struct csession *s, enum cphase phase, uint64_t now)
{
    s->phase = phase;
    struct confab_status status;
    csession_status(s, now, &status);
    /* CLOSING is told when it is over: only then the time of the next attempt is known. */
    if (phase == CPHASE_CLOSING || (s->told && s->told_state == status.state)) {
        return;
    }
    s->told = true;
    s->told_state = status.state;
    if (s->on.on_state) {
        s->on.on_state(s->arg, &status);
    }
}

bool csession_is_signed_in(const struct csession *s)
{
    return s->phase == CPHASE_SYNC || s->phase == CPHASE_LIVE;
}

bool csession_is_stopped(const struct csession *s)
{
    return s->phase == CPHASE_OFF || s->phase == CPHASE_REFUSED ||
           (s->phase == CPHASE_CLOSING && s->after_closing != CPHASE_WAIT);
}

void csession_error(struct csession *s, enum confab_error error, const char *text)
{
    if (s->on.on_error) {
        s->on.on_error(s->arg, error, text);
    }
}

void csession_touch(struct csession *s, uint64_t now)
{
    if (!s->save_due) {
        s->save_due = true;
        s->save_at_ms = now + CSESSION_SAVE_MS;
    }
}

static enum confab_err copy_span(struct buf *b, struct span text)
{
    struct buf copy;
    buf_init(&copy);
    buf_put(&copy, text.p, text.n);
    if (!buf_ok(&copy)) {
        buf_deinit(&copy);
        return CONFAB_NOMEM;
    }
    buf_deinit(b);
    *b = copy;
    return CONFAB_OK;
}

enum confab_err csession_set_token(struct csession *s, struct span token, uint64_t renew_ms)
{
    enum confab_err err = copy_span(&s->token, token);
    if (!err) {
        s->renew_ms = renew_ms;
    }
    return err;
}

enum confab_err csession_new(const struct csession_config *cfg, struct csession **ret)
{
    struct csession *s = calloc(1, sizeof(*s));
    if (!s) {
        return CONFAB_NOMEM;
    }
    s->random = cfg->random;
    s->opt = *cfg->options;
    s->on = cfg->options->handlers;
    s->arg = cfg->options->arg;
    s->save = cfg->options->save;
    s->wait_ms = UINT64_MAX;
    s->outbox_next_ms = UINT64_MAX;
    s->after_closing = CPHASE_OFF;
    s->carry.on =
        s->opt.transport != CONFAB_TRANSPORT_AUTO ? s->opt.transport : CONFAB_TRANSPORT_WS;
    s->carry.ws_again_ms = s->carry.heard_by_ms = UINT64_MAX;
    list_init(&s->acks);
    list_init(&s->fills);
    list_init(&s->lanes);
    s->answers = 1;
    idmap_init(&s->tracks, random_u64(cfg->random));

    enum confab_err err = CONFAB_OK;
    if (s->opt.flags & CONFAB_COMPRESS) {
        err = deflater_new(DEFLATE_MIDDLE, &s->deflater);
        if (!err) {
            err = inflater_new(&s->inflater);
        }
    }
    if (!err) {
        err = copy_span(&s->host, cfg->host);
    }
    if (!err) {
        err = copy_span(&s->target, cfg->target);
    }
    if (!err) {
        err = csession_set_token(s, cfg->token, cfg->renew_ms);
    }
    if (!err && cfg->options->state) {
        err = cstate_load(s, span_of(cfg->options->state, cfg->options->state_len));
    }
    if (err) {
        s->save = NULL;
        csession_free(s);
        return err;
    }
    s->renewable = cfg->renewable;
    s->batch = !cfg->no_batch;
    s->opt.server = NULL;
    s->opt.token = NULL;
    s->opt.refresh_token = NULL;
    s->opt.state = NULL;
    *ret = s;
    return CONFAB_OK;
}

void csession_free(struct csession *s)
{
    if (!s) {
        return;
    }
    if (s->save_due) {
        (void)csession_save(s, s->save_at_ms);
    }
    coutbox_free_all(s);
    ctrack_free_all(s);
    clive_free(s);
    deflater_free(s->deflater);
    inflater_free(s->inflater);
    buf_deinit(&s->packed);
    buf_deinit(&s->unpacked);
    buf_deinit(&s->in);
    buf_deinit(&s->message);
    buf_deinit(&s->out);
    buf_deinit(&s->since);
    buf_deinit(&s->token);
    buf_deinit(&s->host);
    buf_deinit(&s->target);
    ccarry_free(s);
    free(s);
}

enum confab_error csession_save(struct csession *s, uint64_t now)
{
    if (!s->save || !s->save_due) {
        s->save_due = false;
        return CONFAB_E_OK;
    }
    struct buf b;
    buf_init(&b);
    enum confab_error error = CONFAB_E_NOMEM;
    if (cstate_put(s, &b) == CONFAB_OK) {
        error = s->save(s->arg, b.data, b.len) == CONFAB_E_OK ? CONFAB_E_OK : CONFAB_E_SAVE;
    }
    buf_deinit(&b);
    s->save_due = error != CONFAB_E_OK;
    s->save_at_ms = now + CSESSION_SAVE_MS;
    return error;
}

static bool token_is_stale(const struct csession *s, uint64_t now)
{
    return s->renewable && s->renew_ms <= now;
}

static void open_link(struct csession *s, uint64_t now)
{
    s->stats.connects++;
    ccarry_choose(s, now);
    csession_set_phase(s, CPHASE_LINK, now);
}

static void begin_link(struct csession *s, uint64_t now)
{
    s->phase_deadline_ms = now + s->opt.timeout_ms;
    if (token_is_stale(s, now)) {
        csession_set_phase(s, CPHASE_TOKEN, now);
        return;
    }
    open_link(s, now);
}

void csession_start(struct csession *s, uint64_t now)
{
    switch (s->phase) {
    case CPHASE_OFF:
    case CPHASE_REFUSED:
        s->attempt = 0;
        s->renewed = 0;
        s->reason = CONFAB_E_OK;
        begin_link(s, now);
        break;
    case CPHASE_CLOSING:
        if (s->after_closing != CPHASE_WAIT) {
            s->after_closing = CPHASE_WAIT;
            s->wait_ms = 0;
        }
        break;
    default:
        break;
    }
}

void csession_stop(struct csession *s, uint64_t now)
{
    switch (s->phase) {
    case CPHASE_OFF:
    case CPHASE_REFUSED:
        break;
    case CPHASE_WAIT:
    case CPHASE_TOKEN:
        s->reason = CONFAB_E_OK;
        csession_set_phase(s, CPHASE_OFF, now);
        break;
    case CPHASE_CLOSING:
        s->after_closing = CPHASE_OFF;
        break;
    default:
        csession_close_link(s, WS_CLOSE_NORMAL, CPHASE_OFF, CONFAB_E_OK, now);
        break;
    }
}

void csession_close_link(struct csession *s, uint16_t code, enum cphase then,
                         enum confab_error reason, uint64_t now)
{
    if (s->phase < CPHASE_LINK || s->phase >= CPHASE_CLOSING) {
        return;
    }
    if (s->phase >= CPHASE_HELLO && ccarry_is_link(s) && ws_close_code_valid(code)) {
        uint8_t key[4];
        random_fill(s->random, key, sizeof(key));
        size_t before = s->out.len;
        ws_put_close(&s->out, code, span_of(NULL, 0), key);
        if (!buf_ok(&s->out)) {
            s->out.len = before;
            s->out.failed = false;
        }
    }
    s->after_closing = then;
    s->reason = reason;
    csession_set_phase(s, CPHASE_CLOSING, now);
    /* Bytes of the peer count no longer. They are dropped in link_down: this may be called while
     * frames in `in` are being looked at. */
}

bool csession_wants_link(const struct csession *s)
{
    return s->phase >= CPHASE_LINK && s->phase <= CPHASE_LIVE && ccarry_is_link(s);
}

void csession_link_up(struct csession *s, uint64_t now)
{
    if (s->phase != CPHASE_LINK || !ccarry_is_link(s)) {
        return;
    }
    s->link = true;
    s->carry.handshaking = true;
    s->last_rx_ms = now;
    s->last_beat_ms = now;
    csession_set_phase(s, CPHASE_UPGRADE, now);
    clink_begin(s, now);
}

static uint64_t backoff_cap(const struct csession *s)
{
    uint64_t cap = s->opt.backoff_min_ms;
    for (uint32_t i = 0; i < s->attempt && cap < s->opt.backoff_max_ms; i++) {
        cap *= 2;
    }
    return MIN(cap, s->opt.backoff_max_ms);
}

uint64_t csession_wait_after(struct csession *s, uint64_t retry_after_ms)
{
    return retry_after_ms + random_below(s->random, backoff_cap(s) + 1);
}

/* Full jitter: the mean of the waits doubles, their spread is all of it, so that clients which
 * lost the same server do not come back together. */
static uint64_t next_wait(struct csession *s)
{
    uint64_t given = s->wait_ms;
    s->wait_ms = UINT64_MAX;
    uint64_t cap = backoff_cap(s);
    if (s->attempt < 63) {
        s->attempt++;
    }
    return given != UINT64_MAX ? given : random_below(s->random, cap + 1);
}

/* ---- Tokens ---- */

void csession_set_renewable(struct csession *s, bool renewable)
{
    s->renewable = renewable;
}

enum cphase csession_token_refused(struct csession *s)
{
    if (!s->renewable || s->renewed >= RENEWALS_MAX) {
        return CPHASE_REFUSED;
    }
    s->renew_ms = 0;
    /* A new one may have run out on its way: the next try is like after any failure. */
    s->wait_ms = s->renewed == 0 ? 0 : UINT64_MAX;
    return CPHASE_WAIT;
}

uint64_t csession_renew_at(const struct csession *s)
{
    if (s->phase == CPHASE_TOKEN) {
        return 0;
    }
    return csession_is_signed_in(s) && s->renewable ? s->renew_ms : UINT64_MAX;
}

bool csession_wants_token(const struct csession *s, uint64_t now)
{
    uint64_t at = csession_renew_at(s);
    return at != UINT64_MAX && at <= now;
}

static void tell_token(struct csession *s, uint64_t now)
{
    size_t mark = clink_frame_begin(s);
    wire_put_auth(&s->out, span_of(s->token.data, s->token.len));
    (void)clink_frame_end(s, mark, now);
}

void csession_token_done(struct csession *s, enum confab_error error, struct span token,
                         uint64_t renew_ms, uint64_t now)
{
    if (!error && csession_set_token(s, token, renew_ms) != CONFAB_OK) {
        error = CONFAB_E_NOMEM;
    }
    if (error) {
        s->stats.renewals_failed++;
        s->renew_ms = s->phase == CPHASE_TOKEN ? s->renew_ms : now + CSESSION_RENEW_MS;
    } else {
        s->stats.renewals++;
    }
    if (s->phase == CPHASE_TOKEN) {
        s->reason = error;
        if (!error) {
            s->renewed++;
            s->phase_deadline_ms = now + s->opt.timeout_ms;
            open_link(s, now);
        } else if (error == CONFAB_E_UNAUTHENTICATED) {
            csession_error(s, error, confab_error_text(error));
            csession_set_phase(s, CPHASE_REFUSED, now);
        } else {
            s->phase_deadline_ms = now + next_wait(s);
            csession_set_phase(s, CPHASE_WAIT, now);
        }
    } else if (csession_is_signed_in(s) && !error) {
        tell_token(s, now);
    } else if (csession_is_signed_in(s) && error == CONFAB_E_UNAUTHENTICATED) {
        csession_close_link(s, WS_CLOSE_NORMAL, CPHASE_REFUSED, error, now);
        csession_error(s, error, confab_error_text(error));
    }
}

/* ---- The end of a link ---- */

void csession_link_down(struct csession *s, uint64_t now)
{
    enum cphase then = CPHASE_WAIT;
    if (s->phase == CPHASE_CLOSING) {
        then = s->after_closing;
    } else if (csession_wants_link(s)) {
        s->reason = CONFAB_E_NETWORK;
    } else {
        return;
    }
    ccarry_down(s, now);
    s->link = false;
    s->again = false;
    s->asked = s->answered = 0;
    s->njoined = 0;
    buf_deinit(&s->in);
    buf_deinit(&s->message);
    buf_deinit(&s->out);
    s->out_sent = 0;
    coutbox_link_down(s);
    ctrack_link_down(s);
    if (then == CPHASE_WAIT) {
        s->phase_deadline_ms = now + next_wait(s);
    }
    csession_set_phase(s, then, now);
}

void csession_input(struct csession *s, void *p, size_t n, uint64_t now)
{
    if (s->phase < CPHASE_UPGRADE || s->phase > CPHASE_LIVE || n == 0 || !ccarry_is_link(s)) {
        return;
    }
    s->last_rx_ms = now;
    clink_input(s, p, n, now);
    if (csession_is_signed_in(s)) {
        ctrack_send_acks(s, now);
        coutbox_pump(s, now);
    }
}

struct span csession_output(const struct csession *s)
{
    if (s->out.len == s->out_sent || !ccarry_is_link(s)) {
        return span_of(NULL, 0);
    }
    return span_of(s->out.data + s->out_sent, s->out.len - s->out_sent);
}

void csession_output_sent(struct csession *s, size_t n, uint64_t now)
{
    if (!ccarry_is_link(s)) {
        return;
    }
    s->out_sent += MIN(n, s->out.len - s->out_sent);
    if (s->out_sent < s->out.len) {
        return;
    }
    s->out_sent = 0;
    buf_deinit(&s->out);
    if (csession_is_signed_in(s)) {
        coutbox_pump(s, now);
    }
}

/* Without a link the server says something of its own every half a minute: it is only asked when it
 * does not. */
static uint64_t beat_ms(const struct csession *s)
{
    return ccarry_is_link(s) ? s->heartbeat_ms : MAX(s->heartbeat_ms, CARRIED_BEAT_MS);
}

static uint64_t beat_at(const struct csession *s)
{
    uint64_t from = ccarry_is_link(s) ? s->last_beat_ms : MAX(s->last_beat_ms, s->last_rx_ms);
    return from + beat_ms(s);
}

static void beat(struct csession *s, uint64_t now)
{
    if (now - s->last_rx_ms >= 2 * beat_ms(s)) {
        csession_close_link(s, WS_CLOSE_GOING_AWAY, CPHASE_WAIT, CONFAB_E_TIMEOUT, now);
        return;
    }
    if (now >= beat_at(s)) {
        s->last_beat_ms = now;
        size_t mark = clink_frame_begin(s);
        wire_put_heartbeat(&s->out);
        (void)clink_frame_end(s, mark, now);
    }
}

void csession_tick(struct csession *s, uint64_t now)
{
    switch (s->phase) {
    case CPHASE_WAIT:
        if (now >= s->phase_deadline_ms) {
            begin_link(s, now);
        }
        break;
    case CPHASE_LINK:
    case CPHASE_UPGRADE:
    case CPHASE_HELLO:
        if (now >= s->phase_deadline_ms) {
            csession_close_link(s, WS_CLOSE_GOING_AWAY, CPHASE_WAIT, CONFAB_E_TIMEOUT, now);
        }
        break;
    case CPHASE_SYNC:
    case CPHASE_LIVE:
        beat(s, now);
        ccarry_tick(s, now);
        break;
    default:
        break;
    }
    if (csession_is_signed_in(s)) {
        ctrack_send_acks(s, now);
        if (now >= s->outbox_next_ms) {
            coutbox_pump(s, now);
        }
    }
    if (s->save_due && now >= s->save_at_ms) {
        enum confab_error error = csession_save(s, now);
        if (error) {
            csession_error(s, error, confab_error_text(error));
        }
    }
}

uint64_t csession_deadline(const struct csession *s)
{
    uint64_t at = UINT64_MAX;
    if (s->phase >= CPHASE_WAIT && s->phase <= CPHASE_HELLO && s->phase != CPHASE_TOKEN) {
        at = s->phase_deadline_ms;
    }
    if (s->phase == CPHASE_CLOSING && !s->link) {
        return 0; /* nothing more happens before link_down */
    }
    if (csession_is_signed_in(s)) {
        at = MIN(beat_at(s), s->last_rx_ms + 2 * beat_ms(s));
        at = MIN(at, s->outbox_next_ms);
        at = MIN(at, ccarry_deadline(s));
        if (!list_is_empty(&s->acks)) {
            at = MIN(at, LIST_ENTRY(s->acks.next, struct ctrack, acks)->next_ack_ms);
        }
        if (s->fetches < CSESSION_FETCHES) {
            LIST_EACH(&s->fills, node)
            {
                at = MIN(at, LIST_ENTRY(node, struct ctrack, fills)->fill_at_ms);
            }
        }
    }
    if (s->save && s->save_due) {
        at = MIN(at, s->save_at_ms);
    }
    return at;
}

void csession_stats(const struct csession *s, struct confab_stats *ret)
{
    *ret = s->stats;
}
