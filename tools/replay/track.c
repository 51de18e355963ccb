/* Conversations as the server tells them, and where each session is in them. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash64.h"
#include "proto/json.h"
#include "replay.h"

#define PAGE 100

static uint64_t mix(uint64_t h, uint64_t v)
{
    h = (h ^ v) * 0x9E3779B97F4A7C15U;
    return h ^ (h >> 29);
}

static uint64_t event_hash(uint64_t seq, uint64_t id, uint64_t from, struct span content)
{
    return hash64(content.p, content.n, mix(mix(seq, id), from));
}

struct conv *conv_find(struct replay *r, struct conv_id id)
{
    return idmap_get(&r->by_id, id);
}

struct conv *conv_add(struct replay *r, struct conv_id id)
{
    struct conv *c = calloc(1, sizeof(*c));
    if (!c || idmap_put(&r->by_id, id, c) != CONFAB_OK) {
        replay_die("out of memory");
    }
    c->id = id;
    if (r->nconvs == r->cap_convs) {
        r->cap_convs = MAX(64U, r->cap_convs * 2);
        r->convs = replay_realloc(r->convs, r->cap_convs * sizeof(*r->convs));
    }
    r->convs[r->nconvs++] = c;
    return c;
}

static struct entry *entry_at(struct conv *c, uint64_t seq)
{
    if (seq > c->cap) {
        uint32_t cap = MAX(8U, c->cap);
        while (cap < seq) {
            cap *= 2;
        }
        c->entries = replay_realloc(c->entries, cap * sizeof(*c->entries));
        memset(c->entries + c->cap, 0, (cap - c->cap) * sizeof(*c->entries));
        c->cap = cap;
    }
    c->head = MAX(c->head, (uint32_t)seq);
    return &c->entries[seq - 1];
}

/*
 * Which of the messages under way is it? Each device's are stored in the order sent, so it is the
 * device's first that is not placed yet; only a refusal for want of room lets a later one pass.
 */
static uint32_t match_message(struct replay *r, struct conv *c, uint64_t from, struct span content)
{
    uint64_t person;
    if (!u64map_get(&r->by_user, from, &person)) {
        return NONE;
    }
    const struct person *p = &r->people[person];
    for (uint32_t i = 0; i < p->nsessions; i++) {
        const struct session *s = &r->sessions[p->first_session + i];
        for (uint32_t k = 0; k < s->ninflight; k++) {
            const struct message *m = &r->messages[s->inflight[k]];
            if (m->seq == 0 && m->conv == c && span_eq(m->text, content)) {
                return s->inflight[k];
            }
        }
    }
    return NONE;
}

static void entry_set_frame(struct entry *e, struct span frame)
{
    if (!e->frame && frame.n > 0) {
        e->frame = replay_realloc(NULL, frame.n);
        memcpy(e->frame, frame.p, frame.n);
        e->frame_len = (uint32_t)frame.n;
    }
}

struct entry *track_event(struct replay *r, struct conv *c, uint64_t seq, uint64_t id,
                          uint64_t from, bool is_message, struct span content, struct span frame)
{
    if (seq == 0 || seq > UINT32_MAX / 2 || id == 0) {
        replay_error(r, "an event has seq %" PRIu64 " and id %" PRIu64, seq, id);
        return NULL;
    }
    uint64_t hash = event_hash(seq, id, from, is_message ? content : span_of(NULL, 0));
    struct entry *e = entry_at(c, seq);
    if (e->id != 0) {
        if (e->id != id || e->hash != hash) {
            replay_error(
                r, "seq %" PRIu64 " was told as id %" PRIu64 " before and as %" PRIu64 " now%s",
                seq, e->id, id, e->id == id ? ", with other content" : "");
            return NULL;
        }
        entry_set_frame(e, frame);
        return e;
    }
    e->id = id;
    e->hash = hash;
    e->message = NONE;
    entry_set_frame(e, frame);
    if (is_message) {
        e->message = match_message(r, c, from, content);
        if (e->message == NONE) {
            replay_error(r,
                         "the message at seq %" PRIu64 " (id %" PRIu64 ") was never sent, or is "
                         "there twice, or has other content",
                         seq, id);
            return NULL;
        }
        r->messages[e->message].seq = (uint32_t)seq;
        r->messages[e->message].id = id;
    }
    return e;
}

void track_ack(struct replay *r, uint32_t message, const struct wire_sent *ack)
{
    struct message *m = &r->messages[message];
    if (!conv_id_eq(ack->conv, m->conv->id)) {
        replay_error(r, "message %u was acknowledged for another conversation", message);
        return;
    }
    if (m->seq != 0 && (m->seq != ack->seq || m->id != ack->message_id)) {
        replay_error(r, "message %u was told at seq %u and acknowledged at %" PRIu64, message,
                     m->seq, ack->seq);
        return;
    }
    if (m->seq != 0) {
        return;
    }
    if (ack->seq == 0 || ack->seq > UINT32_MAX / 2 || ack->message_id == 0) {
        replay_error(r, "message %u was acknowledged without seq or id", message);
        return;
    }
    struct entry *e = entry_at(m->conv, ack->seq);
    if (e->id != 0) {
        replay_error(r, "message %u was acknowledged at seq %" PRIu64 ", which is another event's",
                     message, ack->seq);
        return;
    }
    e->id = ack->message_id;
    e->hash = event_hash(ack->seq, e->id, r->people[m->person].user_id, m->text);
    e->message = message;
    m->seq = (uint32_t)ack->seq;
    m->id = e->id;
}

/* ---- Cursors ---- */

struct cursor *cursor_find(struct session *s, const struct conv *c)
{
    if (s->last < s->ncursors && s->cursors[s->last].conv == c) {
        return &s->cursors[s->last];
    }
    for (uint32_t i = 0; i < s->ncursors; i++) {
        if (s->cursors[i].conv == c) {
            s->last = i;
            return &s->cursors[i];
        }
    }
    return NULL;
}

struct cursor *cursor_add(struct session *s, struct conv *c, uint32_t next)
{
    if (s->ncursors == s->cap_cursors) {
        s->cap_cursors = MAX(4U, s->cap_cursors * 2);
        s->cursors = replay_realloc(s->cursors, s->cap_cursors * sizeof(*s->cursors));
    }
    s->last = s->ncursors++;
    s->cursors[s->last] =
        (struct cursor){.conv = c, .next = next, .start = next, .acked = next - 1};
    return &s->cursors[s->last];
}

void cursor_take(struct replay *r, struct cursor *c, const struct entry *e)
{
    c->next++;
    if (e->message != NONE) {
        c->messages++;
        c->hash = mix(c->hash, e->hash);
        r->n.deliveries++;
    }
}

/* ---- History ---- */

struct history_row {
    uint64_t seq;
    uint64_t id;
    uint64_t from;
    struct span content;
};

static bool row_read(struct json *j, struct history_row *ret)
{
    struct span key;
    memset(ret, 0, sizeof(*ret));
    json_object_begin(j);
    while (json_object_next(j, &key)) {
        if (span_is(key, "seq")) {
            json_u64(j, &ret->seq);
        } else if (span_is(key, "message_id")) {
            json_id(j, &ret->id);
        } else if (span_is(key, "sender_id")) {
            json_id(j, &ret->from);
        } else if (span_is(key, "content")) {
            json_string(j, &ret->content);
        } else {
            json_skip(j);
        }
    }
    return json_ok(j);
}

struct history_page {
    uint64_t covered[2];
    uint32_t rows;
    bool more;
};

/* Reads the last answer as a page; each row is tracked. False when it is not what rest.md says. */
static bool page_read(struct session *s, struct conv *c, struct history_page *ret,
                      bool (*on_row)(void *arg, uint64_t seq, const struct entry *e), void *arg)
{
    struct replay *r = s->r;
    struct scratch scratch;
    struct buf strings = {0};
    if (!buf_reserve(&strings, r->rest.body.len + 1)) {
        replay_die("out of memory");
    }
    scratch_init(&scratch, strings.data, strings.cap);
    struct json j;
    struct span key;
    bool ok = true;
    memset(ret, 0, sizeof(*ret));
    json_init(&j, span_of(r->rest.body.data, r->rest.body.len), &scratch);
    json_object_begin(&j);
    while (json_object_next(&j, &key)) {
        if (span_is(key, "messages")) {
            json_array_begin(&j);
            while (json_array_next(&j)) {
                struct history_row row;
                if (!row_read(&j, &row)) {
                    break;
                }
                const struct entry *e = track_event(r, c, row.seq, row.id, row.from, true,
                                                    row.content, span_of(NULL, 0));
                ok = ok && e && on_row(arg, row.seq, e);
                ret->rows++;
            }
        } else if (span_is(key, "covered")) {
            json_array_begin(&j);
            for (int i = 0; json_array_next(&j); i++) {
                json_u64(&j, &ret->covered[i & 1]);
            }
        } else if (span_is(key, "has_more")) {
            json_bool(&j, &ret->more);
        } else {
            json_skip(&j);
        }
    }
    ok = json_end(&j) && ok;
    if (!json_ok(&j)) {
        replay_error(r, "a page of history is not as documented: %s", j.why ? j.why : "");
    }
    buf_deinit(&strings);
    return ok;
}

struct taking {
    struct replay *r;
    struct cursor *cursor;
    uint32_t to;
};

/* Rows come in rising seq; those between are no messages and are covered by the page. */
static bool take_row(void *arg, uint64_t seq, const struct entry *e)
{
    struct taking *t = arg;
    if (seq > t->to) {
        return true;
    }
    if (seq < t->cursor->next) {
        replay_error(t->r, "history gave seq %" PRIu64 " out of order", seq);
        return false;
    }
    t->cursor->next = (uint32_t)seq;
    cursor_take(t->r, t->cursor, e);
    t->r->n.fetched++;
    return true;
}

enum confab_err cursor_fetch(struct session *s, struct cursor *c, uint32_t to)
{
    struct replay *r = s->r;
    char id[ID_CONV_TEXT + 1] = "";
    conv_id_text(c->conv->id, id);
    while (c->next <= to) {
        char path[256];
        (void)snprintf(path, sizeof(path), "/api/v1/conversations/%s/messages?after=%u&limit=%d",
                       id, c->next - 1, PAGE);
        if (rest_call(&r->rest, "GET", path, s->token, NULL) != CONFAB_OK ||
            r->rest.status == 503) {
            return CONFAB_NET;
        }
        struct history_page page;
        struct taking t = {r, c, to};
        uint32_t before = c->next;
        if (r->rest.status != 200 || !page_read(s, c->conv, &page, take_row, &t)) {
            replay_error(r, "history after %u answered %d", before - 1, r->rest.status);
            return CONFAB_INVALID;
        }
        if (page.covered[0] <= before && page.covered[1] >= c->next) {
            c->next = MIN((uint32_t)page.covered[1], to) + 1;
        }
        if (c->next == before) {
            replay_error(
                r, "history after %u does not get further (covered %" PRIu64 " to %" PRIu64 ")",
                before - 1, page.covered[0], page.covered[1]);
            return CONFAB_INVALID;
        }
    }
    return CONFAB_OK;
}

struct comparing {
    struct replay *r;
    struct conv *conv;
    uint64_t below; /* seq of the row read before, of the page that is newer */
    uint64_t lowest;
    uint64_t last;
    uint64_t rows;
};

static bool compare_row(void *arg, uint64_t seq, const struct entry *e)
{
    struct comparing *c = arg;
    (void)e;
    if (seq <= c->last || seq >= c->below) {
        replay_error(c->r, "history has seq %" PRIu64 " out of order or twice", seq);
        return false;
    }
    if (c->last == 0) {
        c->lowest = seq;
    }
    c->last = seq;
    c->rows++;
    return true;
}

void history_check(struct session *s, struct conv *c)
{
    struct replay *r = s->r;
    char id[ID_CONV_TEXT + 1] = "";
    conv_id_text(c->id, id);
    struct comparing cmp = {.r = r, .conv = c, .below = UINT64_MAX};
    struct history_page page = {.more = true};
    while (page.more) {
        char path[256];
        int n =
            snprintf(path, sizeof(path), "/api/v1/conversations/%s/messages?limit=%d", id, PAGE);
        if (cmp.below != UINT64_MAX) {
            (void)snprintf(path + n, sizeof(path) - (size_t)n, "&before=%" PRIu64, cmp.below);
        }
        if (rest_call(&r->rest, "GET", path, s->token, NULL) != CONFAB_OK ||
            r->rest.status != 200) {
            replay_error(r, "history before %" PRIu64 " answered %d", cmp.below, r->rest.status);
            return;
        }
        cmp.last = 0;
        if (!page_read(s, c, &page, compare_row, &cmp)) {
            return;
        }
        if (page.rows == 0 && page.more) {
            replay_error(r, "history gives an empty page and says there is more");
            return;
        }
        if (page.rows > 0) {
            cmp.below = cmp.lowest;
        }
    }
    uint64_t expected = 0;
    for (uint32_t i = 0; i < c->head; i++) {
        expected += c->entries[i].id != 0 && c->entries[i].message != NONE;
    }
    if (cmp.rows != expected) {
        replay_error(r, "history holds %" PRIu64 " messages, not %" PRIu64, cmp.rows, expected);
    }
}

/* ---- At the end ---- */

static void cursor_check(struct replay *r, const struct session *s, const struct cursor *c)
{
    const struct conv *v = c->conv;
    uint64_t hash = 0;
    uint32_t messages = 0;
    for (uint32_t seq = c->start; seq <= v->head; seq++) {
        const struct entry *e = &v->entries[seq - 1];
        if (e->id != 0 && e->message != NONE) {
            hash = mix(hash, e->hash);
            messages++;
        }
    }
    if (c->next != v->head + 1 || c->messages != messages || c->hash != hash) {
        replay_error(r, "session %u (%s) is at seq %u of %u with %u of %u messages%s", s->index,
                     r->input.people[s->person].username, c->next - 1, v->head, c->messages,
                     messages, c->hash != hash ? ", which are not the same" : "");
    }
}

/* In a conversation each device's messages stand in the order sent; with one in flight, all do. */
static void order_check(struct replay *r, const struct conv *c)
{
    uint32_t *last = calloc(r->nsessions + 1, sizeof(*last)); /* message + 1 */
    if (!last) {
        replay_die("out of memory");
    }
    bool all = r->opt.window == 1;
    for (uint32_t i = 0; i < c->head; i++) {
        const struct entry *e = &c->entries[i];
        if (e->id == 0 || e->message == NONE) {
            continue;
        }
        uint32_t *before = &last[all ? r->nsessions : r->messages[e->message].session];
        /* A message that was refused for now is repeated behind those sent after it. */
        if (e->message + 1 <= *before && r->n.busy == 0) {
            replay_error(r, "message %u stands behind message %u", e->message, *before - 1);
        }
        *before = e->message + 1;
    }
    free(last);
}

void final_check(struct replay *r)
{
    uint64_t stored = 0;
    for (uint32_t i = 0; i < r->nconvs; i++) {
        struct conv *c = r->convs[i];
        if (c->own) {
            continue;
        }
        for (uint32_t k = 0; k < c->head; k++) {
            stored += c->entries[k].id != 0 && c->entries[k].message != NONE;
        }
        order_check(r, c);
    }
    if (stored != r->next) {
        replay_error(r, "%u messages were sent and %" PRIu64 " are there", r->next, stored);
    }
    for (uint32_t i = 0; i < r->nsessions; i++) {
        const struct session *s = &r->sessions[i];
        for (uint32_t k = 0; k < s->ncursors; k++) {
            cursor_check(r, s, &s->cursors[k]);
        }
    }
}
