/*
 * A phone: one session of libconfab, its connection, its fetches, and what it has handed out. It is
 * slow, unreachable, switched off or killed now and then, and comes back with what it had saved.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "gate.h"

#define ULL(x) ((unsigned long long)(x))

static struct view *view_of(struct views *v, struct conv_id conv)
{
    for (uint32_t i = 0; i < v->n; i++) {
        if (conv_id_eq(v->at[i].conv, conv)) {
            return &v->at[i];
        }
    }
    return NULL;
}

static struct view *view_make(struct views *v, struct conv_id conv)
{
    struct view *w = view_of(v, conv);
    if (!w) {
        v->at = realloc(v->at, (v->n + 1U) * sizeof(*v->at));
        CHECK(v->at);
        w = &v->at[v->n++];
        *w = (struct view){.conv = conv};
    }
    return w;
}

static void views_copy(struct views *to, const struct views *from)
{
    to->n = from->n;
    to->at = realloc(to->at, (from->n + 1U) * sizeof(*to->at));
    CHECK(to->at);
    memcpy(to->at, from->at ? from->at : to->at, from->n * sizeof(*to->at));
}

static struct conv_id conv_of(const char *text)
{
    struct conv_id id = {0, 0};
    CHECK(conv_id_parse(span_str(text), &id));
    return id;
}

/* Has the user come back after that, so that what lay between may be left out? */
static bool came_back(const struct mconv *c, uint64_t user, uint64_t after)
{
    for (uint64_t seq = after + 1; seq <= c->head; seq++) {
        const struct event *ev = &c->events[seq - 1].ev;
        struct reader r = reader_of(ev->members.p, ev->members.n);
        uint64_t who;
        uint8_t role;
        while (ev->kind == EVENT_ADD && event_members_next(&r, &who, &role)) {
            if (who == user) {
                return true;
            }
        }
    }
    return false;
}

/*
 * Has it shown what is gone, and not been told? A clock that was set back counts on from where the
 * log is, so that an event after a restore may come to have the id of one that is lost: then nobody
 * can tell.
 */
static bool is_wrong(const struct phone *p, const struct view *v)
{
    const struct mconv *c = v->wrong ? model_conv(p->g->sim->model, v->conv) : NULL;
    const struct mevent *e = c ? mconv_event(c, v->last) : NULL;
    return v->wrong && !(e && e->ev.id == v->last_id);
}

/* Something of a conversation is shown. */
static const struct mevent *shown(struct phone *p, const char *conv, uint64_t seq, uint64_t id,
                                  enum confab_source source)
{
    struct sim *s = p->g->sim;
    uint64_t user = p->g->people[p->person].id;
    struct mconv *c = model_conv(s->model, conv_of(conv));
    SIM_CHECK(s, c && seq >= 1 && seq <= c->head, "nothing is shown before it is durable",
              "phone %u: %.8s seq %llu of %llu", p->number, conv, ULL(seq), ULL(c ? c->head : 0));
    const struct mevent *e = mconv_event(c, seq);
    SIM_CHECK(s, e->ev.id == id, "events are shown as they are",
              "phone %u: %.8s seq %llu: another id", p->number, conv, ULL(seq));
    SIM_CHECK(s, model_sees(s->model, c, user, seq) != SIGHT_NO, "nobody sees what they may not",
              "phone %u: %.8s seq %llu source %d", p->number, conv, ULL(seq), (int)source);
    struct view *v = view_make(&p->views, c->id);
    SIM_CHECK(s, !is_wrong(p, v), "what was lost is told", "phone %u: %.8s seq %llu source %d",
              p->number, conv, ULL(seq), (int)source);
    v->wrong = false;
    SIM_CHECK(s, seq > v->last, "everything is shown once and in order",
              "phone %u: %.8s seq %llu after %llu, source %d", p->number, conv, ULL(seq),
              ULL(v->last), (int)source);
    for (uint64_t k = v->last + 1; v->last > 0 && k < seq; k++) {
        if (v->filled && mconv_event(c, k)->ev.kind != EVENT_MESSAGE) {
            continue;
        }
        SIM_CHECK(s, model_sees(s->model, c, user, k) != SIGHT_YES || came_back(c, user, v->last),
                  "what is shown is complete", "phone %u: %.8s seq %llu is missing before %llu",
                  p->number, conv, ULL(k), ULL(seq));
    }
    v->first = v->first ? v->first : seq;
    v->last = seq;
    v->last_id = id;
    v->filled = v->filled && source == CONFAB_FILLED;
    sim_trace(s, "phone %u shows %.8s seq %llu source %d", p->number, conv, ULL(seq), (int)source);
    s->result.counts.shown++;
    return e;
}

static void on_message(void *arg, const struct confab_message *m)
{
    struct phone *p = arg;
    struct sim *s = p->g->sim;
    const struct mevent *e = shown(p, m->conv, m->seq, m->message_id, m->source);
    struct mconv *c = model_conv(s->model, conv_of(m->conv));
    SIM_CHECK(s,
              e->ev.kind == EVENT_MESSAGE && e->ev.actor == m->from &&
                  m->own == (m->from == p->g->people[p->person].id),
              "events are shown as they are", "phone %u: %.8s seq %llu", p->number, m->conv,
              ULL(m->seq));
    bool known = false;
    for (uint32_t n = 0; n <= e->ncauses && !known; n++) {
        /* What had been replaced at the last quiet moment must not be seen again. */
        if (n < e->ncauses && e->causes[n] <= c->quiet_head) {
            continue;
        }
        struct event ev;
        mconv_message(c, e, n, &ev);
        known = span_eq(ev.text, span_of(m->content.p, m->content.n));
    }
    SIM_CHECK(s, known, "events are shown as they are", "phone %u: text of %.8s seq %llu",
              p->number, m->conv, ULL(m->seq));
}

/* An application that shows what its user did on other devices. */
static void show_own(struct phone *p, const struct confab_event *ev)
{
    if (ev->kind != CONFAB_EVENT_SELF || ev->target[0] == '\0') {
        return;
    }
    struct view *v = view_make(&p->views, conv_of(ev->target));
    switch (ev->self) {
    case CONFAB_SELF_MUTE:
        v->muted = ev->until_ms > 0;
        break;
    case CONFAB_SELF_PIN:
        v->pinned = ev->on;
        break;
    case CONFAB_SELF_DRAFT:
        v->draft = model_draft(span_of(ev->content.p, ev->content.n));
        break;
    case CONFAB_SELF_LEFT:
        v->draft = 0;
        break;
    default:
        break;
    }
}

static void on_event(void *arg, const struct confab_event *ev)
{
    struct phone *p = arg;
    (void)shown(p, ev->conv, ev->seq, ev->event_id, ev->source);
    show_own(p, ev);
    sim_trace(p->g->sim, "phone %u: kind %d self %d %.8s", p->number, (int)ev->kind, (int)ev->self,
              ev->target);
}

static void on_receipt(void *arg, const struct confab_receipt *r)
{
    struct phone *p = arg;
    struct sim *s = p->g->sim;
    struct mconv *c = model_conv(s->model, conv_of(r->conv));
    SIM_CHECK(s, c && mconv_member(c, p->g->people[p->person].id), "nobody sees what they may not",
              "phone %u: a receipt of %.8s", p->number, r->conv);
    SIM_CHECK(s, c && mconv_member(c, r->user_id) && r->seq <= c->head && r->from_seq <= r->seq,
              "receipts are of members", "phone %u: %.8s seq %llu", p->number, r->conv,
              ULL(r->seq));
}

static void on_conversation(void *arg, const struct confab_conversation *k)
{
    struct phone *p = arg;
    sim_trace(p->g->sim, "phone %u told of %.8s kind %d head %llu left %d known %d", p->number,
              k->conv, (int)k->kind, ULL(k->head), k->left, k->known);
    struct view *v = view_make(&p->views, conv_of(k->conv));
    v->left = k->left;
    if (!k->left) {
        v->muted = k->muted;
        v->pinned = k->pinned;
        v->draft = model_draft(span_of(k->draft.p, k->draft.n));
    }
    if (p->fresh) {
        p->told = realloc(p->told, (p->told_n + 1) * sizeof(*p->told));
        CHECK(p->told);
        p->told[p->told_n++] = *k;
    }
}

static void on_reset(void *arg, const char *conv)
{
    struct phone *p = arg;
    SIM_CHECK(p->g->sim, p->doubtful, "a device that is right is not reset", "phone %u: %s",
              p->number, conv);
    struct view *v = view_make(&p->views, conv_of(conv));
    v->first = v->last = 0;
    v->filled = v->wrong = false;
    if (v->left) { /* there is no such conversation: nor what this user had set of it */
        v->muted = v->pinned = false;
        v->draft = 0;
    }
    sim_trace(p->g->sim, "phone %u resets %.8s", p->number, conv);
}

static void on_gap(void *arg, const struct confab_gap *gap)
{
    struct phone *p = arg;
    sim_fail(p->g->sim, "what is shown is complete", "phone %u: gap %.8s %llu-%llu", p->number,
             gap->conv, ULL(gap->from_seq), ULL(gap->to_seq));
}

static void on_sent(void *arg, const struct confab_sent *sent)
{
    struct phone *p = arg;
    struct sim *s = p->g->sim;
    struct gsend *gs = gate_send_of(p->g, strtoull(sent->client_msg_id + 1, NULL, 10));
    SIM_CHECK(s, gs && gs->person == p->person, "what is told as sent was sent", "phone %u: %s",
              p->number, sent->client_msg_id);
    sim_trace(s, "phone %u sent %s error %d seq %llu", p->number, sent->client_msg_id,
              (int)sent->error, ULL(sent->seq));
    if (sent->error) {
        SIM_CHECK(s, (gs->outcome != GSEND_STORED || gs->lost) && gs->seq == 0,
                  "what was refused does not happen", "phone %u: %s, seq %llu", p->number,
                  sent->client_msg_id, ULL(gs->seq));
        gs->outcome = GSEND_FAILED;
        s->result.counts.refused++;
        return;
    }
    SIM_CHECK(s, gs->outcome != GSEND_FAILED && gs->seq == sent->seq && gs->id == sent->message_id,
              "what is acknowledged exists", "phone %u: %s seq %llu, should be %llu", p->number,
              sent->client_msg_id, ULL(sent->seq), ULL(gs->seq));
    gs->outcome = GSEND_STORED;
    s->result.counts.duplicates += sent->duplicate;
}

static void on_presence(void *arg, const struct confab_presence *t)
{
    presence_told(arg, t);
}

static void on_state(void *arg, const struct confab_status *st)
{
    const struct phone *p = arg;
    sim_trace(p->g->sim, "phone %u: state %d error %d", p->number, (int)st->state, (int)st->error);
}

static void on_error(void *arg, enum confab_error error, const char *text)
{
    const struct phone *p = arg;
    sim_trace(p->g->sim, "phone %u: error %d: %s", p->number, (int)error, text);
}

static void on_caught_up(void *arg)
{
    struct phone *p = arg;
    p->caught_up++;
    p->doubtful = false;
    sim_trace(p->g->sim, "phone %u has caught up", p->number);
    p->g->sim->result.counts.resumes++;
}

static enum confab_error save(void *arg, const void *data, size_t n)
{
    struct phone *p = arg;
    if (p->killed) {
        return CONFAB_E_SAVE;
    }
    if (p->g->sim->options.bug == BUG_LOST_SAVE && sim_one_in(p->g->sim, 10)) {
        return CONFAB_E_OK;
    }
    buf_clear(&p->state);
    buf_put(&p->state, data, n);
    views_copy(&p->saved, &p->views);
    p->saved_doubtful = p->doubtful;
    return CONFAB_E_OK;
}

/* ---- life -------------------------------------------------------------------------------- */

void phone_init(struct gate *g, struct phone *p, uint32_t person, uint32_t number)
{
    memset(p, 0, sizeof(*p));
    p->g = g;
    p->person = person;
    p->number = number;
    gate_device_new(g, person, p->token);
    random_seeded_init(&p->random, random_u64(&g->sim->random.base));
}

void phone_on(struct phone *p)
{
    struct confab_options o;
    confab_options_init(&o);
    o.handlers = (struct confab_handlers){.on_message = on_message,
                                          .on_event = on_event,
                                          .on_receipt = on_receipt,
                                          .on_conversation = on_conversation,
                                          .on_reset = on_reset,
                                          .on_gap = on_gap,
                                          .on_sent = on_sent,
                                          .on_presence = on_presence,
                                          .on_state = on_state,
                                          .on_error = on_error,
                                          .on_caught_up = on_caught_up};
    o.arg = p;
    o.save = save;
    o.state = p->state.data;
    o.state_len = p->state.len;
    o.send_attempts_max = UINT32_MAX;
    o.backoff_max_ms = 2000;
    /* Half of them find out by themselves. */
    o.transport = p->number % 4 == 1   ? CONFAB_TRANSPORT_POLL
                  : p->number % 4 == 3 ? CONFAB_TRANSPORT_SSE
                                       : CONFAB_TRANSPORT_AUTO;
    struct csession_config cfg = {.random = &p->random.base,
                                  .options = &o,
                                  .host = span_str("sim"),
                                  .target = span_str("/ws"),
                                  .token = span_str(p->token),
                                  /* Half of them; all where single frames are tampered with. */
                                  .no_batch = p->g->wire || p->number % 2 == 1};
    CHECK(!p->session && csession_new(&cfg, &p->session) == CONFAB_OK);
    presence_follow(p);
    csession_start(p->session, gate_now(p->g));
}

static void drop(struct phone *p)
{
    net_sim_drop(p->conn);
    p->conn = NULL;
    for (uint32_t i = 0; i < CSESSION_FETCHES; i++) {
        http_end(&p->calls[i]);
    }
    for (uint32_t i = 0; i < CSESSION_LANES; i++) {
        http_end(&p->carried[i]);
    }
}

void phone_kill(struct phone *p)
{
    p->killed = true;
    drop(p);
    csession_free(p->session);
    p->session = NULL;
    p->killed = false;
    views_copy(&p->views, &p->saved);
    p->doubtful = p->saved_doubtful;
}

bool phone_off(struct phone *p)
{
    if (csession_save(p->session, gate_now(p->g)) != CONFAB_E_OK) {
        return false;
    }
    drop(p);
    csession_free(p->session);
    p->session = NULL;
    return true;
}

void phone_deinit(struct phone *p)
{
    phone_kill(p);
    buf_deinit(&p->state);
    free(p->views.at);
    free(p->saved.at);
    free(p->told);
}

static void link_lost(struct phone *p)
{
    net_sim_drop(p->conn);
    p->conn = NULL;
    csession_link_down(p->session, gate_now(p->g));
}

void phone_cut(struct phone *p)
{
    uint64_t now = gate_now(p->g);
    struct span none = {NULL, 0};
    if (p->conn) {
        link_lost(p);
    }
    for (uint32_t i = 0; i < CSESSION_FETCHES; i++) {
        if (p->calls[i].busy) {
            csession_fetch_done(p->session, &p->fetches[i], 0, 0, none, now);
            http_end(&p->calls[i]);
        }
    }
    for (uint32_t i = 0; i < CSESSION_LANES; i++) {
        if (p->carried[i].busy) {
            csession_call_done(p->session, &p->carried_of[i], 0, 0, none, now);
            http_end(&p->carried[i]);
        }
    }
    /* It knows: one that did not would ask the restored server for history in the middle of what it
     * believes to have, and could not tell (docs/design/sync.md). */
    if (p->session) {
        csession_stop(p->session, now);
        csession_start(p->session, now);
    }
}

void phone_lose(struct phone *p)
{
    struct views *both[] = {&p->views, &p->saved};
    p->doubtful = p->saved_doubtful = true;
    for (size_t i = 0; i < ARRAY_LEN(both); i++) {
        for (uint32_t k = 0; k < both[i]->n; k++) {
            struct view *v = &both[i]->at[k];
            const struct mconv *c = model_conv(p->g->sim->model, v->conv);
            v->wrong |= v->last > (c ? c->head : 0);
        }
    }
}

static void write_out(struct phone *p)
{
    while (p->conn) {
        struct span out = csession_output(p->session);
        size_t n = 0;
        if (out.n == 0) {
            return;
        }
        enum confab_err err = net_sim_send(p->conn, out.p, out.n, &n);
        if (err == CONFAB_AGAIN || (!err && n == 0)) {
            return;
        }
        if (err) {
            link_lost(p);
            return;
        }
        csession_output_sent(p->session, n, gate_now(p->g));
    }
}

static void read_in(struct phone *p)
{
    uint32_t rounds = p->slow_until_ms > gate_now(p->g) ? (uint32_t)sim_below(p->g->sim, 2) : 1000;
    size_t piece = rounds < 1000 ? 64 : 4096;
    while (p->conn && rounds-- > 0) {
        uint8_t tmp[4096];
        size_t n = 0;
        enum confab_err err = net_sim_recv(p->conn, tmp, piece, &n);
        if (err == CONFAB_AGAIN) {
            return;
        }
        if (err) {
            link_lost(p);
            return;
        }
        csession_input(p->session, tmp, n, gate_now(p->g));
    }
}

static void fetch(struct phone *p)
{
    uint64_t now = gate_now(p->g);
    for (uint32_t i = 0; i < CSESSION_FETCHES; i++) {
        struct http_call *c = &p->calls[i];
        if (c->busy && http_pump(p->g, c)) {
            sim_trace(p->g->sim, "phone %u got %s: %d %.*s", p->number, p->fetches[i].path,
                      c->status, (int)MIN(c->content.len, 100U),
                      c->content.len ? (const char *)c->content.data : "");
            if (c->status == 200) {
                view_make(&p->views, p->fetches[i].conv)->filled = true;
            }
            csession_fetch_done(p->session, &p->fetches[i], c->status, c->retry_after_ms,
                                span_of(c->content.data, c->content.len), now);
            http_end(c);
        }
        if (!c->busy && csession_fetch_next(p->session, now, &p->fetches[i])) {
            struct http_ask ask = {.method = "GET", .path = p->fetches[i].path, .token = p->token};
            http_begin(p->g, c, &ask);
            p->g->sim->result.counts.reads++;
        }
    }
}

/* One of its requests in place of a link. False: nothing to do for it now. */
static bool carry_one(struct phone *p, uint32_t lane)
{
    uint64_t now = gate_now(p->g);
    struct http_call *c = &p->carried[lane];
    struct csession_call *of = &p->carried_of[lane];
    if (!c->busy) {
        if (!csession_call_next(p->session, (enum csession_lane)lane, now, of)) {
            return false;
        }
        struct http_ask ask = {.method = of->method,
                               .path = of->path,
                               .token = p->token,
                               .json = of->body,
                               .stream = of->stream};
        http_begin(p->g, c, &ask);
        c->deadline_ms = of->timeout_ms == UINT64_MAX ? UINT64_MAX : now + of->timeout_ms;
    }
    bool over = http_pump(p->g, c);
    if (of->stream && c->status == 200 && c->content.len > 0) {
        if (p->way != WAY_NO_STREAMS) {
            csession_call_input(p->session, of, c->content.data, c->content.len, now);
        }
        buf_clear(&c->content);
    }
    if (!csession_call_wanted(p->session, of)) {
        http_end(c);
        return true;
    }
    if (over) {
        sim_trace(p->g->sim, "phone %u got %s: %d %.*s", p->number, of->path, c->status,
                  (int)MIN(c->content.len, 100U), c->content.len ? (char *)c->content.data : "");
        csession_call_done(p->session, of, c->status, c->retry_after_ms,
                           span_of(c->content.data, c->content.len), now);
        http_end(c);
    }
    return over;
}

static void carry(struct phone *p)
{
    for (uint32_t lane = CSESSION_LANES; lane-- > 0;) {
        while (carry_one(p, lane)) {
        }
    }
}

/* Another network: all it had is cut, and the next way may let less through, or more. */
static void move(struct phone *p)
{
    struct sim *s = p->g->sim;
    bool forced = p->number % 4 == 3; /* to use a stream, which there has to be then */
    p->way = (enum way)sim_below(s, forced ? 2 : 3);
    sim_trace(s, "phone %u moves to way %d", p->number, (int)p->way);
    for (uint32_t lane = 0; lane < CSESSION_LANES; lane++) {
        if (p->carried[lane].conn) {
            net_sim_reset(p->carried[lane].conn);
        }
    }
    if (p->conn) {
        net_sim_reset(p->conn);
    }
}

/* A proxy answers in place of the server. */
static bool is_refused(struct phone *p)
{
    static const char answer[] = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
    char bytes[sizeof(answer)];
    if (p->way == WAY_OPEN) {
        return false;
    }
    memcpy(bytes, answer, sizeof(answer));
    csession_link_up(p->session, gate_now(p->g));
    csession_input(p->session, bytes, sizeof(answer) - 1, gate_now(p->g));
    csession_link_down(p->session, gate_now(p->g));
    return true;
}

void phone_pump(struct phone *p)
{
    uint64_t now = gate_now(p->g);
    if (!p->session) {
        return;
    }
    if (p->conn && !csession_wants_link(p->session)) {
        write_out(p);
        if (p->conn) {
            link_lost(p);
        }
    }
    if (!p->conn && csession_wants_link(p->session) && is_refused(p)) {
        ;
    } else if (!p->conn && csession_wants_link(p->session)) {
        if (net_sim_connect(p->g->net, NET_SIM_ANY, &p->conn)) {
            p->conn = NULL;
            csession_link_down(p->session, now);
        } else {
            csession_link_up(p->session, now);
        }
    } else if (!p->conn) {
        csession_link_down(p->session, now); /* a closing one without a connection */
    }
    read_in(p);
    write_out(p);
    if (csession_deadline(p->session) <= now) {
        csession_tick(p->session, now);
    }
    carry(p);
    fetch(p);
    write_out(p);
    struct confab_status st;
    csession_status(p->session, now, &st);
    SIM_CHECK(p->g->sim, st.state != CONFAB_STATE_REFUSED || life_is_leaving(p->g, p->person),
              "good tokens are good", "phone %u", p->number);
}

/* ---- what it does ------------------------------------------------------------------------ */

static void send_something(struct phone *p)
{
    struct gate *g = p->g;
    struct sim *s = g->sim;
    struct mconv *c = gate_any_conv(g, p->person);
    char to[24];
    char conv[CONFAB_CONV_SIZE];
    char cmid[32];
    struct confab_outgoing m = {.to = NULL};
    struct conv_id id;
    if (c && c->kind == CONV_GROUP && !sim_one_in(s, 4)) {
        id = c->id;
        conv_id_text(id, conv);
        conv[ID_CONV_TEXT] = '\0';
        m.conv = conv;
    } else {
        uint32_t other = (uint32_t)((p->person + 1 + sim_below(s, 3)) % g->npeople);
        other = other == p->person ? (p->person + 1) % g->npeople : other;
        id = conv_id_direct(g->people[p->person].id, g->people[other].id);
        (void)snprintf(to, sizeof(to), "%llu", ULL(g->people[other].id));
        m.to = to;
    }
    struct gsend *gs = gate_send_new(g, p->person, EVENT_MESSAGE, id);
    (void)snprintf(cmid, sizeof(cmid), "k%llu", ULL(g->nsends));
    m.client_msg_id = cmid;
    m.content = (struct confab_text){(const char *)gs->text.data, gs->text.len};
    enum confab_error err = csession_send(p->session, &m, gate_now(g), NULL);
    SIM_CHECK(s, !err || err == CONFAB_E_FULL, "sends are queued", "phone %u: %d", p->number,
              (int)err);
    gs->asked = !err;
    gs->outcome = err ? GSEND_FAILED : GSEND_OPEN;
    sim_trace(s, "phone %u sends %s to " CONV_FMT, p->number, cmid, CONV_ARG(id));
}

/* What is on its screen. */
static void look(struct phone *p)
{
    struct conv_id convs[3];
    uint32_t n = 0;
    while (n < 3 && !sim_one_in(p->g->sim, 3)) {
        const struct mconv *c = gate_any_conv(p->g, p->person);
        bool twice =
            !c || (n > 0 && conv_id_eq(convs[0], c->id)) || (n > 1 && conv_id_eq(convs[1], c->id));
        if (twice) {
            break;
        }
        convs[n++] = c->id;
    }
    (void)csession_view(p->session, convs, n, gate_now(p->g));
}

void phone_act(struct phone *p)
{
    struct sim *s = p->g->sim;
    uint64_t now = gate_now(p->g);
    uint64_t what = sim_below(s, 100);
    if (p->g->people[p->person].gone) {
        return;
    }
    if (!p->session) {
        if (what < 40) {
            phone_on(p);
        }
        return;
    }
    if (what < 62) {
        uint64_t burst = sim_one_in(s, 10) ? 1 + sim_below(s, 10) : 1;
        while (burst-- > 0) {
            send_something(p);
        }
    } else if (what < 66) {
        look(p);
    } else if (what < 79) {
        struct mconv *c = gate_any_conv(p->g, p->person);
        struct view *v = c ? view_of(&p->views, c->id) : NULL;
        struct mmember *mm = c ? mconv_member(c, p->g->people[p->person].id) : NULL;
        if (v && mm) {
            mm->cursor_hi = MAX(mm->cursor_hi, v->last);
            (void)csession_mark_read(p->session, c->id, v->last, now);
        }
    } else if (what < 82 && p->conn) {
        net_sim_reset(p->conn);
    } else if (what < 82 && p->carried[what % 2].conn) {
        net_sim_reset(p->carried[what % 2].conn);
    } else if (what < 84 && p->carried[what % 2].conn) {
        net_sim_vanish(p->carried[what % 2].conn);
        p->carried[what % 2].lost = true;
    } else if (what < 84 && p->conn) {
        net_sim_vanish(p->conn);
    } else if (what < 87 && p->conn) {
        net_sim_stall(p->conn, clock_mono_ns(&s->clock.base) + sim_below(s, 3000) * 1000000);
    } else if (what < 91) {
        p->slow_until_ms = now + sim_below(s, 4000);
    } else if (what < 94) {
        csession_stop(p->session, now);
        csession_start(p->session, now);
    } else if (what < 95) {
        move(p);
    } else if (what < 97) {
        sim_trace(s, "phone %u is killed", p->number);
        phone_kill(p);
    } else {
        (void)phone_off(p);
    }
}

/* ---- quiet ------------------------------------------------------------------------------- */

void phone_server_gone(struct phone *p)
{
    for (uint32_t i = 0; i < CSESSION_LANES; i++) {
        p->carried[i].lost = p->carried[i].conn != NULL;
    }
}

void phone_heal(struct phone *p)
{
    for (uint32_t i = 0; i < CSESSION_LANES; i++) {
        if (p->carried[i].lost) {
            net_sim_drop(p->carried[i].conn);
            p->carried[i].conn = NULL;
        }
    }
}

bool phone_is_settled(const struct phone *p)
{
    struct confab_status st;
    bool gone = p->g->people[p->person].gone;
    if (gone && !p->session) {
        return true;
    }
    csession_status(p->session, gate_now(p->g), &st);
    if (gone) {
        return st.state == CONFAB_STATE_REFUSED;
    }
    if (st.transport == CONFAB_TRANSPORT_SSE && p->way == WAY_NO_STREAMS) {
        return false; /* it hears nothing, and has not noticed yet */
    }
    if (st.transport != CONFAB_TRANSPORT_WS && !p->carried[CSESSION_FETCHING].busy) {
        return false; /* what its last request took along is asked for again */
    }
    return st.state == CONFAB_STATE_LIVE && csession_outbox_len(p->session) == 0 &&
           csession_fills(p->session) == 0;
}

/* A device that never was here is told what the model says, field by field. */
static void check_told(struct phone *p)
{
    struct sim *s = p->g->sim;
    uint64_t user = p->g->people[p->person].id;
    for (uint64_t i = 0; i < p->told_n; i++) {
        const struct confab_conversation *k = &p->told[i];
        struct mconv *c = model_conv(s->model, conv_of(k->conv));
        struct mmember *mm = c ? mconv_member(c, user) : NULL;
        SIM_CHECK(s, mm, "nobody sees what they may not", "phone %u is told of %s", p->number,
                  k->conv);
        SIM_CHECK(s, k->left == (mm->role == ROLE_NONE), "lists are what joined and left say",
                  "phone %u: %.8s left %d", p->number, k->conv, k->left);
        if (k->left || c->kind == CONV_SELF) {
            continue;
        }
        uint64_t ord = c->events[c->head - 1].ev.ord;
        uint64_t read = k->read ? c->events[k->read - 1].ev.ord : 0;
        SIM_CHECK(s,
                  k->head == c->head && k->unread == ord - read && k->members == mconv_nactive(c) &&
                      (unsigned)k->role == mm->role,
                  "a first look shows what is",
                  "phone %u: %.8s head %llu unread %llu read %llu members %llu", p->number, k->conv,
                  ULL(k->head), ULL(k->unread), ULL(k->read), ULL(k->members));
        SIM_CHECK(s, k->read >= mm->read_lo, "durable cursors stay",
                  "phone %u: %.8s read %llu, was %llu", p->number, k->conv, ULL(k->read),
                  ULL(mm->read_lo));
    }
}

/* Rows and what came after them make what is: on every device, however it was away. */
static void check_own(struct phone *p)
{
    struct sim *s = p->g->sim;
    uint64_t user = p->g->people[p->person].id;
    const struct mconv *own = model_conv(s->model, conv_id_self(user));
    for (uint32_t i = 0; own && i < own->nentries; i++) {
        const struct mentry *e = &own->entries[i];
        const struct view *v = view_of(&p->views, e->conv);
        if (!e->joined || !v) {
            continue;
        }
        SIM_CHECK(s, v->muted == (e->muted > 0) && v->pinned == e->pinned && v->draft == e->draft,
                  "devices of one person agree",
                  "phone %u: " CONV_FMT " muted %d pinned %d draft %d, is %d %d %d", p->number,
                  CONV_ARG(e->conv), v->muted, v->pinned, v->draft != 0, e->muted > 0, e->pinned,
                  v->draft == e->draft);
    }
}

void phone_check_quiet(struct phone *p)
{
    struct sim *s = p->g->sim;
    uint64_t user = p->g->people[p->person].id;
    if (p->g->people[p->person].gone) {
        return;
    }
    for (uint32_t i = 0; i < p->views.n; i++) {
        SIM_CHECK(s, !is_wrong(p, &p->views.at[i]), "what was lost is told", "phone %u: " CONV_FMT,
                  p->number, CONV_ARG(p->views.at[i].conv));
    }
    for (uint32_t i = 0; i < s->model->nconvs; i++) {
        struct mconv *c = s->model->convs[i];
        struct mmember *mm = mconv_active(c, user);
        if (!mm || c->head == 0) {
            continue;
        }
        uint64_t seq = 0;
        uint64_t id = 0;
        bool has = csession_position(p->session, c->id, &seq, &id);
        SIM_CHECK(s, has && seq == c->head, "what is shown is complete",
                  "phone %u: " CONV_FMT " at %llu of %llu", p->number, CONV_ARG(c->id), ULL(seq),
                  ULL(c->head));
        uint64_t want = c->head;
        struct view *v = view_of(&p->views, c->id);
        while (want > 0 && (model_sees(s->model, c, user, want) != SIGHT_YES ||
                            (v && v->filled && mconv_event(c, want)->ev.kind != EVENT_MESSAGE))) {
            want--;
        }
        SIM_CHECK(s, want == 0 || (v && v->last >= want), "what is shown is complete",
                  "phone %u: " CONV_FMT " shown to %llu of %llu", p->number, CONV_ARG(c->id),
                  ULL(v ? v->last : 0), ULL(want));
    }
    check_own(p);
    if (p->fresh) {
        check_told(p);
    }
}
