#include "core/conv.h"

#include <stdlib.h>
#include <string.h>

/* The second has drafts behind the rest; what has none is written as the first. */
enum { CONV_FORMAT = 1, CONV_FORMAT_DRAFTS = 2 };

void conv_init(struct conv *c, struct conv_id id)
{
    memset(c, 0, sizeof(*c));
    c->id = id;
}

static void member_deinit(struct member *m)
{
    if (m->extra) {
        free(m->extra->past);
        free(m->extra->hidden);
        free(m->extra->mentions);
        free(m->extra);
    }
}

void conv_deinit(struct conv *c)
{
    for (uint32_t i = 0; i < c->nmembers; i++) {
        member_deinit(&c->members[i]);
    }
    free(c->members);
    free(c->followups);
    free(c->entries);
    free(c->blocked);
    for (uint32_t i = 0; i < c->ndrafts; i++) {
        free(c->drafts[i].text);
    }
    free(c->drafts);
    buf_deinit(&c->name);
    buf_deinit(&c->preview);
    conv_init(c, c->id);
}

/* Of one allocation; what the allocator adds is 8 bytes and on average half of 16. */
static size_t heap_bytes(size_t n, size_t size)
{
    return n > 0 ? n * size + 16 : 0;
}

size_t conv_bytes(const struct conv *c)
{
    return heap_bytes(c->name.cap, 1) + heap_bytes(c->preview.cap, 1) +
           heap_bytes(c->cap_members, sizeof(*c->members)) +
           heap_bytes(c->cap_followups, sizeof(*c->followups)) +
           heap_bytes(c->cap_entries, sizeof(*c->entries)) +
           heap_bytes(c->cap_blocked, sizeof(*c->blocked)) +
           heap_bytes(c->cap_drafts, sizeof(*c->drafts)) + c->draft_bytes + c->ndrafts * 16U;
}

size_t conv_extra_bytes(const struct conv *c)
{
    size_t n = 0;
    for (uint32_t i = 0; i < c->nmembers; i++) {
        const struct member_extra *x = c->members[i].extra;
        if (x) {
            n += heap_bytes(1, sizeof(*x)) + heap_bytes(x->npast, sizeof(*x->past)) +
                 heap_bytes(x->nhidden, sizeof(*x->hidden)) +
                 heap_bytes(x->nmentions, sizeof(*x->mentions));
        }
    }
    return n;
}

/* Makes room for one more element of an array that grows by half, from 2. */
static bool array_room(void **items, uint32_t n, uint32_t *cap, size_t size)
{
    if (n < *cap) {
        return true;
    }
    uint32_t want = *cap < 2 ? 2 : *cap + *cap / 2;
    void *p = realloc(*items, (size_t)want * size);
    if (!p) {
        return false;
    }
    *items = p;
    *cap = want;
    return true;
}

/* First index whose user is not below the given one. */
static uint32_t member_place(const struct conv *c, uint64_t user)
{
    uint32_t lo = 0;
    uint32_t hi = c->nmembers;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (c->members[mid].user < user) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

struct member *conv_member(const struct conv *c, uint64_t user)
{
    uint32_t i = member_place(c, user);
    return i < c->nmembers && c->members[i].user == user ? &c->members[i] : NULL;
}

struct member *conv_active(const struct conv *c, uint64_t user)
{
    struct member *m = conv_member(c, user);
    return m && m->role != ROLE_NONE ? m : NULL;
}

struct member *conv_member_make(struct conv *c, uint64_t user)
{
    uint32_t i = member_place(c, user);
    if (i < c->nmembers && c->members[i].user == user) {
        return &c->members[i];
    }
    void *items = c->members;
    if (!array_room(&items, c->nmembers, &c->cap_members, sizeof(*c->members))) {
        return NULL;
    }
    c->members = items;
    memmove(&c->members[i + 1], &c->members[i], (c->nmembers - i) * sizeof(*c->members));
    c->nmembers++;
    c->members[i] = (struct member){.user = user};
    return &c->members[i];
}

static uint32_t entry_place(const struct conv *c, struct conv_id id)
{
    uint32_t lo = 0;
    uint32_t hi = c->nentries;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (conv_id_cmp(c->entries[mid].conv, id) < 0) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

struct self_entry *conv_entry(const struct conv *c, struct conv_id id)
{
    uint32_t i = entry_place(c, id);
    return i < c->nentries && conv_id_eq(c->entries[i].conv, id) ? &c->entries[i] : NULL;
}

struct self_entry *conv_entry_make(struct conv *c, struct conv_id id)
{
    uint32_t i = entry_place(c, id);
    if (i < c->nentries && conv_id_eq(c->entries[i].conv, id)) {
        return &c->entries[i];
    }
    void *items = c->entries;
    if (!array_room(&items, c->nentries, &c->cap_entries, sizeof(*c->entries))) {
        return NULL;
    }
    c->entries = items;
    memmove(&c->entries[i + 1], &c->entries[i], (c->nentries - i) * sizeof(*c->entries));
    c->nentries++;
    c->entries[i] = (struct self_entry){.conv = id};
    return &c->entries[i];
}

static uint32_t blocked_place(const struct conv *c, uint64_t user)
{
    uint32_t lo = 0;
    uint32_t hi = c->nblocked;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (c->blocked[mid] < user) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

bool conv_blocks_user(const struct conv *c, uint64_t user)
{
    uint32_t i = blocked_place(c, user);
    return i < c->nblocked && c->blocked[i] == user;
}

enum confab_err conv_set_blocked(struct conv *c, uint64_t user, bool on)
{
    uint32_t i = blocked_place(c, user);
    bool there = i < c->nblocked && c->blocked[i] == user;
    if (there == on) {
        return CONFAB_OK;
    }
    if (!on) {
        c->nblocked--;
        memmove(&c->blocked[i], &c->blocked[i + 1], (c->nblocked - i) * sizeof(*c->blocked));
        return CONFAB_OK;
    }
    void *items = c->blocked;
    if (!array_room(&items, c->nblocked, &c->cap_blocked, sizeof(*c->blocked))) {
        return CONFAB_NOMEM;
    }
    c->blocked = items;
    memmove(&c->blocked[i + 1], &c->blocked[i], (c->nblocked - i) * sizeof(*c->blocked));
    c->nblocked++;
    c->blocked[i] = user;
    return CONFAB_OK;
}

static bool range_has(const struct range *r, uint32_t n, uint64_t seq)
{
    for (uint32_t i = 0; i < n; i++) {
        if (seq >= r[i].from && seq <= r[i].to) {
            return true;
        }
    }
    return false;
}

bool member_sees(const struct member *m, uint64_t seq)
{
    const struct member_extra *x = m->extra;
    bool in = m->visible_from > 0 && seq >= m->visible_from && seq <= m->visible_to;
    if (!in && x) {
        in = range_has(x->past, x->npast, seq);
    }
    return in && !(x && range_has(x->hidden, x->nhidden, seq));
}

/* The nearest seq from `seq` on, up or down, that is in an interval; false: none. */
static bool nearest_shown(const struct member *m, uint64_t seq, bool down, uint64_t *ret)
{
    bool found = false;
    uint32_t npast = m->extra ? m->extra->npast : 0;
    for (uint32_t i = 0; i <= npast; i++) {
        struct range r =
            i < npast ? m->extra->past[i] : (struct range){m->visible_from, m->visible_to};
        uint64_t at = down ? MIN(seq, r.to) : MAX(seq, r.from);
        bool fits = r.from > 0 && r.from <= r.to && (down ? at >= r.from : at <= r.to);
        if (fits && (!found || (down ? at > *ret : at < *ret))) {
            *ret = at;
            found = true;
        }
    }
    return found;
}

bool member_next_visible(const struct member *m, uint64_t seq, bool down, uint64_t *ret)
{
    uint32_t nhidden = m->extra ? m->extra->nhidden : 0;
    while (nearest_shown(m, seq, down, &seq)) {
        const struct range *in = NULL;
        for (uint32_t i = 0; i < nhidden && !in; i++) {
            const struct range *h = &m->extra->hidden[i];
            in = seq >= h->from && seq <= h->to ? h : NULL;
        }
        if (!in) {
            *ret = seq;
            return true;
        }
        if (down ? in->from <= 1 : in->to == UINT64_MAX) {
            return false;
        }
        seq = down ? in->from - 1 : in->to + 1;
    }
    return false;
}

uint64_t member_first_visible(const struct member *m)
{
    uint64_t first = m->visible_from;
    if (m->extra && m->extra->npast > 0 && m->extra->past[0].from < first) {
        first = m->extra->past[0].from;
    }
    return first;
}

uint64_t member_last_visible(const struct member *m, uint64_t head_seq)
{
    return MIN(m->visible_to, head_seq);
}

static struct member_extra *member_extra_make(struct member *m)
{
    if (!m->extra) {
        m->extra = calloc(1, sizeof(*m->extra));
    }
    return m->extra;
}

/*
 * Adds a range to a rising, disjoint list, joining what touches. At the bound the two oldest become
 * one by hiding what lies between: never shows what was hidden.
 */
static enum confab_err ranges_add(struct range **list, uint32_t *n, uint32_t max, struct range r)
{
    struct range *p = realloc(*list, (*n + 1U) * sizeof(*p));
    if (!p) {
        return CONFAB_NOMEM;
    }
    *list = p;
    uint32_t i = 0;
    while (i < *n && p[i].to != UINT64_MAX && p[i].to + 1 < r.from) {
        i++;
    }
    uint32_t j = i;
    while (j < *n && (r.to == UINT64_MAX || p[j].from <= r.to + 1)) {
        r.from = MIN(r.from, p[j].from);
        r.to = MAX(r.to, p[j].to);
        j++;
    }
    memmove(&p[i + 1], &p[j], (*n - j) * sizeof(*p));
    p[i] = r;
    *n = *n - (j - i) + 1;
    if (*n > max) {
        p[1].from = p[0].from;
        memmove(&p[0], &p[1], (*n - 1) * sizeof(*p));
        (*n)--;
    }
    return CONFAB_OK;
}

enum confab_err member_show_from(struct member *m, uint64_t seq)
{
    if (m->visible_from > 0 && seq > m->visible_from) {
        struct member_extra *x = member_extra_make(m);
        if (!x) {
            return CONFAB_NOMEM;
        }
        if (x->npast == CONV_INTERVALS_MAX) {
            /* Joining two would show what lies between: the oldest is given up instead. */
            x->npast--;
            memmove(&x->past[0], &x->past[1], x->npast * sizeof(*x->past));
        }
        struct range past = {m->visible_from, MIN(m->visible_to, seq - 1)};
        enum confab_err err = ranges_add(&x->past, &x->npast, CONV_INTERVALS_MAX, past);
        if (err) {
            return err;
        }
    } else if (m->extra) {
        m->extra->npast = 0;
    }
    m->visible_from = seq;
    m->visible_to = UINT64_MAX;
    return CONFAB_OK;
}

enum confab_err member_hide(struct member *m, struct range r)
{
    struct member_extra *x = member_extra_make(m);
    return x ? ranges_add(&x->hidden, &x->nhidden, CONV_HIDDEN_MAX, r) : CONFAB_NOMEM;
}

enum confab_err member_mention(struct member *m, uint64_t ord)
{
    struct member_extra *x = member_extra_make(m);
    if (!x) {
        return CONFAB_NOMEM;
    }
    if (x->nmentions > 0 && x->mentions[x->nmentions - 1] == ord) {
        return CONFAB_OK;
    }
    if (x->nmentions >= CONV_MENTIONS_MAX) {
        /* Above the bound the count stays at it; the oldest is the first to be read anyway. */
        memmove(&x->mentions[0], &x->mentions[1], (x->nmentions - 1) * sizeof(*x->mentions));
        x->mentions[x->nmentions - 1] = ord;
        return CONFAB_OK;
    }
    uint64_t *p = realloc(x->mentions, (x->nmentions + 1U) * sizeof(*p));
    if (!p) {
        return CONFAB_NOMEM;
    }
    x->mentions = p;
    p[x->nmentions++] = ord;
    return CONFAB_OK;
}

int member_move_cursors(struct member *m, uint64_t delivered, uint64_t delivered_ms, uint64_t read,
                        uint64_t read_ms, uint64_t read_ord)
{
    int moved = 0;
    if (read > m->read_seq) {
        m->read_seq = read;
        m->read_ms = read_ms;
        m->read_ord = MAX(m->read_ord, read_ord);
        moved |= CURSOR_READ;
        struct member_extra *x = m->extra;
        uint32_t gone = 0;
        while (x && gone < x->nmentions && x->mentions[gone] <= m->read_ord) {
            gone++;
        }
        if (gone > 0) {
            x->nmentions -= gone;
            memmove(x->mentions, x->mentions + gone, x->nmentions * sizeof(*x->mentions));
        }
    }
    /* What is read was delivered. */
    if (read > delivered) {
        delivered = read;
        delivered_ms = read_ms;
    }
    if (delivered > m->delivered_seq) {
        m->delivered_seq = delivered;
        m->delivered_ms = delivered_ms;
        moved |= CURSOR_DELIVERED;
    }
    return moved;
}

uint64_t conv_unread(const struct conv *c, const struct member *m)
{
    if (m->role == ROLE_NONE || c->ord < m->read_ord) {
        return 0;
    }
    return c->ord - m->read_ord;
}

uint32_t member_mentions(const struct member *m)
{
    return m->extra ? m->extra->nmentions : 0;
}

static void low_add(struct cursor_low *low, uint64_t seq, uint64_t ms, uint64_t user)
{
    low->seq = MIN(low->seq, seq);
    if (ms > low->latest_ms) {
        low->other_ms = low->latest_ms;
        low->latest_ms = ms;
        low->latest_user = user;
    } else {
        low->other_ms = MAX(low->other_ms, ms);
    }
}

void conv_lowest_cursors(const struct conv *c, struct cursor_low *ret_delivered,
                         struct cursor_low *ret_read)
{
    struct cursor_low delivered = {.seq = UINT64_MAX};
    struct cursor_low read = delivered;
    bool known = c->nactive > 1 && c->nactive <= CONV_STATUS_MEMBERS_MAX;
    for (uint32_t i = 0; i < c->nmembers && known; i++) {
        const struct member *m = &c->members[i];
        if (m->role != ROLE_NONE) {
            low_add(&delivered, m->delivered_seq, m->delivered_ms, m->user);
            low_add(&read, MIN(m->read_seq, m->delivered_seq), m->read_ms, m->user);
        }
    }
    static const struct cursor_low unknown;
    *ret_delivered = known ? delivered : unknown;
    *ret_read = known ? read : unknown;
}

enum confab_err conv_followup_add(struct conv *c, const struct followup *f)
{
    void *items = c->followups;
    if (!array_room(&items, c->nfollowups, &c->cap_followups, sizeof(*c->followups))) {
        return CONFAB_NOMEM;
    }
    c->followups = items;
    c->followups[c->nfollowups] = *f;
    c->followups[c->nfollowups].sent = false;
    c->nfollowups++;
    return CONFAB_OK;
}

bool conv_followup_remove(struct conv *c, uint64_t seq, uint64_t user)
{
    for (uint32_t i = 0; i < c->nfollowups; i++) {
        if (c->followups[i].seq == seq && c->followups[i].user == user) {
            c->nfollowups--;
            memmove(&c->followups[i], &c->followups[i + 1],
                    (c->nfollowups - i) * sizeof(*c->followups));
            return true;
        }
    }
    return false;
}

static void put_conv_id(struct buf *out, struct conv_id id)
{
    uint8_t raw[16];
    conv_id_write(id, raw);
    buf_put(out, raw, sizeof(raw));
}

static struct conv_id get_conv_id(struct reader *r)
{
    struct span s = reader_bytes(r, 16);
    return s.n == 16 ? conv_id_read(s.p) : (struct conv_id){0, 0};
}

/* visible_to is stored plus one, so that the usual UINT64_MAX takes one byte. */
static void put_range(struct buf *out, struct range r)
{
    buf_put_varint(out, r.from);
    buf_put_varint(out, r.to + 1);
}

static struct range get_range(struct reader *r)
{
    struct range g;
    g.from = reader_varint(r);
    g.to = reader_varint(r) - 1;
    return g;
}

void conv_encode_member(struct buf *out, const struct member *m)
{
    static const struct member_extra none;
    const struct member_extra *x = m->extra ? m->extra : &none;
    buf_put_u8(out, m->draft ? CONV_FORMAT_DRAFTS : CONV_FORMAT);
    buf_put_u64(out, m->user);
    buf_put_u8(out, m->role);
    buf_put_u8(out, m->blocks);
    put_range(out, (struct range){m->visible_from, m->visible_to});
    buf_put_varint(out, m->joined_ms);
    buf_put_varint(out, m->delivered_seq);
    buf_put_varint(out, m->delivered_ms);
    buf_put_varint(out, m->read_seq);
    buf_put_varint(out, m->read_ms);
    buf_put_varint(out, m->read_ord);
    buf_put_varint(out, m->self_seq);
    buf_put_varint(out, x->npast);
    for (uint32_t i = 0; i < x->npast; i++) {
        put_range(out, x->past[i]);
    }
    buf_put_varint(out, x->nhidden);
    for (uint32_t i = 0; i < x->nhidden; i++) {
        put_range(out, x->hidden[i]);
    }
    buf_put_varint(out, x->nmentions);
    for (uint32_t i = 0; i < x->nmentions; i++) {
        buf_put_varint(out, x->mentions[i]);
    }
    if (m->draft) {
        buf_put_varint(out, m->draft);
    }
}

static enum confab_err get_ranges(struct reader *r, uint32_t max, struct range **ret, uint32_t *n)
{
    uint32_t count = (uint32_t)reader_varint_max(r, max);
    if (r->bad || count == 0) {
        return r->bad ? CONFAB_CORRUPT : CONFAB_OK;
    }
    struct range *list = calloc(count, sizeof(*list));
    if (!list) {
        return CONFAB_NOMEM;
    }
    for (uint32_t i = 0; i < count; i++) {
        list[i] = get_range(r);
    }
    *ret = list;
    *n = count;
    return r->bad ? CONFAB_CORRUPT : CONFAB_OK;
}

static enum confab_err decode_extra(struct reader *r, struct member *m)
{
    struct member_extra x = {0};
    enum confab_err err = get_ranges(r, CONV_INTERVALS_MAX, &x.past, &x.npast);
    if (!err) {
        err = get_ranges(r, CONV_HIDDEN_MAX, &x.hidden, &x.nhidden);
    }
    uint32_t n = err ? 0 : (uint32_t)reader_varint_max(r, CONV_MENTIONS_MAX);
    if (n > 0) {
        x.mentions = calloc(n, sizeof(*x.mentions));
        err = x.mentions ? CONFAB_OK : CONFAB_NOMEM;
        for (uint32_t i = 0; !err && i < n; i++) {
            x.mentions[x.nmentions++] = reader_varint(r);
        }
    }
    if (!err && r->bad) {
        err = CONFAB_CORRUPT;
    }
    if (!err && (x.past || x.hidden || x.mentions)) {
        m->extra = malloc(sizeof(x));
        err = m->extra ? CONFAB_OK : CONFAB_NOMEM;
    }
    if (err) {
        free(x.past);
        free(x.hidden);
        free(x.mentions);
        return err;
    }
    if (m->extra) {
        *m->extra = x;
    }
    return CONFAB_OK;
}

static enum confab_err decode_member(struct conv *c, struct reader *r)
{
    uint8_t format = reader_u8(r);
    if (format != CONV_FORMAT && format != CONV_FORMAT_DRAFTS) {
        return r->bad ? CONFAB_CORRUPT : CONFAB_VERSION;
    }
    struct member t = {.user = reader_u64(r)};
    t.role = reader_u8(r);
    t.blocks = reader_u8(r) != 0;
    struct range visible = get_range(r);
    t.visible_from = visible.from;
    t.visible_to = visible.to;
    t.joined_ms = reader_varint(r);
    t.delivered_seq = reader_varint(r);
    t.delivered_ms = reader_varint(r);
    t.read_seq = reader_varint(r);
    t.read_ms = reader_varint(r);
    t.read_ord = reader_varint(r);
    t.self_seq = reader_varint(r);
    if (r->bad || t.role > ROLE_LAST || conv_member(c, t.user)) {
        return CONFAB_CORRUPT;
    }
    enum confab_err err = decode_extra(r, &t);
    if (err) {
        return err;
    }
    t.draft = format == CONV_FORMAT_DRAFTS ? reader_varint(r) : 0;
    if (r->bad) {
        member_deinit(&t);
        return CONFAB_CORRUPT;
    }
    struct member *m = conv_member_make(c, t.user);
    if (!m) {
        member_deinit(&t);
        return CONFAB_NOMEM;
    }
    *m = t;
    c->nactive += t.role != ROLE_NONE;
    return CONFAB_OK;
}

enum confab_err conv_decode_member(struct conv *c, struct span bytes)
{
    struct reader r = reader_of(bytes.p, bytes.n);
    enum confab_err err = decode_member(c, &r);
    return !err && reader_left(&r) > 0 ? CONFAB_CORRUPT : err;
}

static void encode_self(struct buf *out, const struct conv *c)
{
    buf_put_varint(out, c->nentries);
    for (uint32_t i = 0; i < c->nentries; i++) {
        const struct self_entry *e = &c->entries[i];
        put_conv_id(out, e->conv);
        buf_put_u8(out, e->conv_kind);
        buf_put_u8(out, (uint8_t)((e->joined ? 1 : 0) | (e->pinned ? 2 : 0)));
        buf_put_varint(out, e->src_seq);
        buf_put_varint(out, e->since_ms);
        buf_put_varint(out, e->muted_until_ms);
    }
    buf_put_varint(out, c->nblocked);
    for (uint32_t i = 0; i < c->nblocked; i++) {
        buf_put_u64(out, c->blocked[i]);
    }
}

static enum confab_err decode_self(struct conv *c, struct reader *r)
{
    uint64_t n = reader_varint_max(r, CONV_ENTRIES_MAX);
    for (uint64_t i = 0; i < n && !r->bad; i++) {
        struct self_entry *e = conv_entry_make(c, get_conv_id(r));
        if (!e) {
            return CONFAB_NOMEM;
        }
        e->conv_kind = reader_u8(r);
        uint8_t bits = reader_u8(r);
        e->joined = bits & 1;
        e->pinned = bits & 2;
        e->src_seq = reader_varint(r);
        e->since_ms = reader_varint(r);
        e->muted_until_ms = reader_varint(r);
    }
    n = reader_varint_max(r, CONV_ENTRIES_MAX);
    for (uint64_t i = 0; i < n && !r->bad; i++) {
        enum confab_err err = conv_set_blocked(c, reader_u64(r), true);
        if (err) {
            return err;
        }
    }
    return r->bad ? CONFAB_CORRUPT : CONFAB_OK;
}

static void encode_followups(struct buf *out, const struct conv *c)
{
    buf_put_varint(out, c->nfollowups);
    for (uint32_t i = 0; i < c->nfollowups; i++) {
        const struct followup *f = &c->followups[i];
        buf_put_u8(out, f->type);
        buf_put_u8(out, f->on);
        buf_put_varint(out, f->seq);
        buf_put_u64(out, f->user);
        put_conv_id(out, f->target);
        buf_put_varint(out, f->from);
        buf_put_varint(out, f->to);
    }
}

static enum confab_err decode_followups(struct conv *c, struct reader *r)
{
    uint64_t n = reader_varint_max(r, (uint64_t)CONV_FOLLOWUPS_MAX * 2);
    for (uint64_t i = 0; i < n && !r->bad; i++) {
        struct followup f = {.type = reader_u8(r)};
        f.on = reader_u8(r) != 0;
        f.seq = reader_varint(r);
        f.user = reader_u64(r);
        f.target = get_conv_id(r);
        f.from = reader_varint(r);
        f.to = reader_varint(r);
        enum confab_err err = r->bad ? CONFAB_CORRUPT : conv_followup_add(c, &f);
        if (err) {
            return err;
        }
    }
    return r->bad ? CONFAB_CORRUPT : CONFAB_OK;
}

void conv_encode(struct buf *out, const struct conv *c, bool all)
{
    bool external = !all && c->nmembers > CONV_INLINE_MEMBERS;
    buf_put_u8(out, c->ndrafts ? CONV_FORMAT_DRAFTS : CONV_FORMAT);
    buf_put_u8(out, c->kind);
    buf_put_u8(out, external);
    buf_put_varint(out, c->settings);
    buf_put_varint(out, c->head_seq);
    buf_put_u64(out, c->head_id);
    buf_put_varint(out, c->ord);
    buf_put_varint(out, c->moved_ms);
    buf_put_varint(out, c->created_ms);
    buf_put_blob(out, c->name.data, c->name.len);
    buf_put_varint(out, c->name_seq);
    buf_put_varint(out, c->last_seq);
    buf_put_u64(out, c->last_id);
    buf_put_u64(out, c->last_from);
    buf_put_varint(out, c->last_type);
    buf_put_varint(out, c->last_flags);
    buf_put_blob(out, c->preview.data, c->preview.len);
    encode_followups(out, c);
    encode_self(out, c);
    if (!external) {
        buf_put_varint(out, c->nmembers);
        for (uint32_t i = 0; i < c->nmembers; i++) {
            conv_encode_member(out, &c->members[i]);
        }
    }
    if (c->ndrafts) {
        buf_put_varint(out, c->ndrafts);
        conv_encode_drafts(out, c);
    }
}

enum confab_err conv_decode(struct conv *c, struct span bytes, bool *ret_external)
{
    struct reader r = reader_of(bytes.p, bytes.n);
    uint8_t format = reader_u8(&r);
    if (format != CONV_FORMAT && format != CONV_FORMAT_DRAFTS) {
        return r.bad ? CONFAB_CORRUPT : CONFAB_VERSION;
    }
    c->kind = reader_u8(&r);
    bool external = reader_u8(&r) != 0;
    c->settings = reader_varint(&r);
    c->head_seq = reader_varint(&r);
    c->head_id = reader_u64(&r);
    c->ord = reader_varint(&r);
    c->moved_ms = reader_varint(&r);
    c->created_ms = reader_varint(&r);
    struct span name = reader_blob(&r);
    c->name_seq = reader_varint(&r);
    c->last_seq = reader_varint(&r);
    c->last_id = reader_u64(&r);
    c->last_from = reader_u64(&r);
    c->last_type = reader_varint(&r);
    c->last_flags = reader_varint(&r);
    struct span preview = reader_blob(&r);
    if (r.bad || c->kind > CONV_SELF) {
        return CONFAB_CORRUPT;
    }
    buf_put(&c->name, name.p, name.n);
    buf_put(&c->preview, preview.p, preview.n);
    if (!buf_ok(&c->name) || !buf_ok(&c->preview)) {
        return CONFAB_NOMEM;
    }
    enum confab_err err = decode_followups(c, &r);
    if (!err) {
        err = decode_self(c, &r);
    }
    if (!err && !external) {
        uint64_t n = reader_varint_max(&r, CONV_MEMBERS_MAX);
        for (uint64_t i = 0; !err && !r.bad && i < n; i++) {
            err = decode_member(c, &r);
        }
    }
    if (!err && format == CONV_FORMAT_DRAFTS) {
        err = conv_decode_drafts(c, &r);
    }
    if (!err && (r.bad || reader_left(&r) > 0)) {
        err = CONFAB_CORRUPT;
    }
    if (!err) {
        *ret_external = external;
    }
    return err;
}
