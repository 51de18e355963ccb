#include "users.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/hash64.h"
#include "process.h"

enum { FLYING_MAX = 6, AGAIN_MAX = 4096, GROUPS_MAX = 14, DAY_MS = 86400000, PROBES_BYTES = 60000 };

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

struct users *users_new(struct sim *s, uint32_t n)
{
    struct users *u = calloc(1, sizeof(*u));
    CHECK(u);
    u->sim = s;
    u->n = n;
    list_init(&u->ops);
    for (uint32_t i = 0; i < n; i++) {
        u->ids[i] = (random_u64(&s->random.base) >> 1) | 1;
        u->devices[i].user = i;
        list_init(&u->devices[i].answers);
    }
    qsort(u->ids, n, sizeof(u->ids[0]), by_number);
    u->again = calloc(AGAIN_MAX, sizeof(*u->again));
    CHECK(u->again);
    return u;
}

void uop_free(struct users *u, struct uop *op)
{
    list_remove(&op->link);
    u->flying[op->user]--;
    free(op->items);
    free(op);
}

void users_free(struct users *u)
{
    if (!u) {
        return;
    }
    users_lost(u);
    for (uint32_t i = 0; i < u->n; i++) {
        device_deinit(&u->devices[i]);
    }
    for (uint64_t i = 0; i < u->nintents; i++) {
        buf_deinit(&u->intents[i]->text);
        buf_deinit(&u->intents[i]->mentions);
        free(u->intents[i]);
    }
    free(u->intents);
    free(u->again);
    free(u);
}

uint32_t users_index(const struct users *u, uint64_t id)
{
    for (uint32_t i = 0; i < u->n; i++) {
        if (u->ids[i] == id) {
            return i;
        }
    }
    return UINT32_MAX;
}

struct uop *uop_of(const struct command *cmd)
{
    return cmd->context;
}

uint32_t users_of_command(const struct command *cmd)
{
    return uop_of(cmd)->user;
}

struct command *users_command(struct sim *s, uint32_t user, enum command_type type)
{
    struct users *u = s->users;
    struct command *cmd = command_new(type);
    struct uop *op = calloc(1, sizeof(*op));
    CHECK(cmd && op);
    cmd->actor = u->ids[user];
    cmd->context = op;
    cmd->origin = user + 1U;
    op->user = user;
    list_init(&op->link);
    list_push_back(&u->ops, &op->link);
    u->flying[user]++;
    return cmd;
}

static void set_span(struct command *cmd, struct span *field, struct span bytes)
{
    CHECK(command_set_span(cmd, field, bytes) == CONFAB_OK);
}

bool users_transient(const struct sim *s, enum confab_err err)
{
    (void)s;
    return err == CONFAB_BUSY || err == CONFAB_IO || err == CONFAB_NO_SPACE;
}

/* ---- intents ----------------------------------------------------------------------------- */

static struct intent *intent_of(struct users *u, uint64_t number)
{
    return number >= 1 && number <= u->nintents ? u->intents[number - 1] : NULL;
}

static struct intent *intent_new(struct sim *s, uint32_t user, uint8_t kind, struct conv_id conv)
{
    struct users *u = s->users;
    if ((u->nintents & (u->nintents - 1)) == 0) {
        size_t cap = u->nintents == 0 ? 1 : (size_t)u->nintents * 2;
        u->intents = realloc(u->intents, cap * sizeof(struct intent *));
        CHECK(u->intents);
    }
    struct intent *in = calloc(1, sizeof(*in));
    CHECK(in);
    u->intents[u->nintents++] = in;
    in->user = u->ids[user];
    in->kind = kind;
    in->conv = conv;
    static const char *const words[] = {"tide", "høst", "雲", "lamp", "two words", "Ω", "river"};
    buf_printf(&in->text, "%llu:", (unsigned long long)u->nintents);
    bool name = kind == EVENT_CREATE || kind == EVENT_RENAME;
    uint64_t want = sim_below(s, name ? 60 : s->features.text_max);
    while (in->text.len < want) {
        buf_put_str(&in->text, words[sim_below(s, ARRAY_LEN(words))]);
    }
    return in;
}

/* The number at the head of a text; 0 when there is none. */
static uint64_t number_of(struct span text)
{
    uint64_t n = 0;
    size_t i = 0;
    while (i < text.n && text.p[i] >= '0' && text.p[i] <= '9') {
        n = n * 10 + (uint64_t)(text.p[i] - '0');
        i++;
    }
    return i < text.n && text.p[i] == ':' ? n : 0;
}

static uint64_t content_hash(const struct intent *in)
{
    return hash64(in->text.data, in->text.len, in->reply_to);
}

void users_saw_event(struct sim *s, const struct mconv *c, const struct event *ev)
{
    if (ev->kind != EVENT_MESSAGE && ev->kind != EVENT_EDIT) {
        return;
    }
    struct intent *in = intent_of(s->users, number_of(ev->text));
    unsigned long long seq = ev->seq;
    SIM_CHECK(s,
              in && in->kind == ev->kind && in->user == ev->actor &&
                  span_eq(span_of(in->text.data, in->text.len), ev->text),
              "events are what was sent", CONV_FMT " seq %llu", CONV_ARG(c->id), seq);
    SIM_CHECK(s, conv_id_is_zero(in->conv) || conv_id_eq(in->conv, c->id),
              "events are where they were sent to", CONV_FMT " seq %llu", CONV_ARG(c->id), seq);
    SIM_CHECK(s, in->seq == 0, "nothing happens twice", CONV_FMT " seq %llu and %llu",
              CONV_ARG(c->id), (unsigned long long)in->seq, seq);
    SIM_CHECK(s, in->open > 0, "what was refused does not happen", CONV_FMT " seq %llu",
              CONV_ARG(c->id), seq);
    in->seq = ev->seq;
    in->id = ev->id;
    in->conv = c->id;
}

/* ---- what people do ---------------------------------------------------------------------- */

uint64_t users_any_peer(struct sim *s, uint32_t not_user)
{
    struct users *u = s->users;
    uint32_t i = (uint32_t)sim_below(s, u->n - 1);
    return u->ids[i >= not_user ? i + 1 : i];
}

/* A conversation in which the user is, or, now and then, was; hot ones more often. NULL: none. */
static struct mconv *any_conv(struct sim *s, uint32_t user, bool former)
{
    struct model *m = s->model;
    uint64_t id = s->users->ids[user];
    for (int tries = 0; tries < 12 && m->nconvs > 0; tries++) {
        uint64_t i = sim_low(s, sim_one_in(s, 2) ? MIN(m->nconvs, 6U) : m->nconvs);
        struct mconv *c = m->convs[i];
        bool here = former ? mconv_member(c, id) != NULL : mconv_active(c, id) != NULL;
        if (here && c->kind != CONV_SELF) {
            return c;
        }
    }
    return NULL;
}

static struct mconv *any_group(struct sim *s, uint32_t user)
{
    for (int tries = 0; tries < 6; tries++) {
        struct mconv *c = any_conv(s, user, false);
        if (c && c->kind == CONV_GROUP) {
            return c;
        }
    }
    return NULL;
}

/* Any message of the conversation, the latest ones more often; 0 when there is none. */
static uint64_t any_message(struct sim *s, const struct mconv *c)
{
    for (int tries = 0; tries < 8 && c->head > 0; tries++) {
        uint64_t back = sim_low(s, c->head);
        const struct mevent *e = mconv_event(c, c->head - back);
        if (e->ev.kind == EVENT_MESSAGE) {
            return e->ev.id;
        }
    }
    return 0;
}

static void send_out(struct sim *s, struct command *cmd)
{
    struct uop *op = uop_of(cmd);
    sim_trace(s, "do user=%u type=%d kind=%u conv=" CONV_FMT " intent=%llu", op->user, cmd->type,
              cmd->in.kind, CONV_ARG(cmd->conv), (unsigned long long)op->intent);
    process_request(s->process, op->user, cmd);
}

static void again_later(struct users *u, uint64_t number)
{
    if (u->nagain < AGAIN_MAX) {
        u->again[u->nagain++] = number;
    }
}

/* First or repeated attempt of a message. */
static void attempt(struct sim *s, uint64_t number, bool first)
{
    struct users *u = s->users;
    struct intent *in = intent_of(u, number);
    struct command *cmd = users_command(s, users_index(u, in->user), COMMAND_EVENT);
    struct uop *op = uop_of(cmd);
    op->intent = number;
    op->retry = !first;
    op->was_done = in->seq > 0;
    in->open++;
    in->flying++;
    cmd->in.kind = EVENT_MESSAGE;
    cmd->peer = in->peer;
    cmd->conv = in->peer ? (struct conv_id){0, 0} : in->conv;
    cmd->fresh = first;
    cmd->in.content_hash = content_hash(in);
    cmd->in.target_id = in->reply_to;
    set_span(cmd, &cmd->in.text, span_of(in->text.data, in->text.len));
    if (in->mentions.len > 0) {
        set_span(cmd, &cmd->in.mentions, span_of(in->mentions.data, in->mentions.len));
    }
    if (in->keyed) {
        char key[32];
        int n = snprintf(key, sizeof(key), "k%llu", (unsigned long long)number);
        set_span(cmd, &cmd->in.cmid, span_of(key, (size_t)n));
    }
    s->result.counts.retries += !first;
    send_out(s, cmd);
}

static void do_message(struct sim *s, uint32_t user, struct conv_id conv, uint64_t peer)
{
    struct users *u = s->users;
    struct intent *in = intent_new(s, user, EVENT_MESSAGE, conv);
    uint64_t number = u->nintents;
    in->peer = peer;
    in->keyed = !sim_one_in(s, 8);
    struct mconv *c = model_conv(s->model, conv);
    if (c && sim_one_in(s, 5)) {
        in->reply_to = any_message(s, c);
    } else if (sim_one_in(s, 60)) {
        struct mconv *other = any_conv(s, user, true); /* a message that is elsewhere */
        in->reply_to = other ? any_message(s, other) : 0;
    }
    if (sim_one_in(s, 4)) {
        for (uint32_t i = 0; i < u->n; i++) {
            if (sim_one_in(s, 6)) {
                buf_put_varint(&in->mentions, u->ids[i]);
            }
        }
    }
    attempt(s, number, true);
}

static void do_send(struct sim *s, uint32_t user)
{
    struct mconv *c = any_conv(s, user, sim_one_in(s, 20));
    if (c && c->kind == CONV_GROUP && !sim_one_in(s, 5)) {
        uint64_t burst = sim_one_in(s, 8) ? 1 + sim_below(s, 16) : 1;
        while (burst-- > 0) {
            do_message(s, user, c->id, 0);
        }
        return;
    }
    if (sim_one_in(s, 25)) {
        do_message(s, user, conv_id_self(s->users->ids[user]), s->users->ids[user]);
        return;
    }
    /* Few pairs, so that direct conversations grow as well. */
    uint32_t i = (user + 1U + (uint32_t)sim_below(s, 3)) % s->users->n;
    uint64_t peer = s->users->ids[i == user ? (user + 1U) % s->users->n : i];
    do_message(s, user, conv_id_direct(s->users->ids[user], peer), peer);
}

static void put_members(struct sim *s, struct command *cmd, uint32_t one_in, const struct mconv *c)
{
    struct users *u = s->users;
    struct buf members = {0};
    for (uint32_t i = 0; i < u->n; i++) {
        const struct mmember *mm = c ? mconv_member(c, u->ids[i]) : NULL;
        if (sim_one_in(s, one_in) && !(mm && mm->nintervals > MODEL_INTERVALS_MAX / 2)) {
            event_members_add(&members, u->ids[i], ROLE_MEMBER);
        }
    }
    if (members.len == 0 && c) {
        event_members_add(&members, cmd->actor, ROLE_MEMBER);
    }
    set_span(cmd, &cmd->in.members, span_of(members.data, members.len));
    buf_deinit(&members);
}

static void do_create(struct sim *s, uint32_t user)
{
    struct users *u = s->users;
    struct conv_id id = {random_u64(&s->random.base), random_u64(&s->random.base)};
    struct intent *in = intent_new(s, user, EVENT_CREATE, id);
    struct command *cmd = users_command(s, user, COMMAND_EVENT);
    u->convs_made++;
    cmd->conv = id;
    cmd->in.kind = EVENT_CREATE;
    cmd->in.value = sim_one_in(s, 3) ? sim_below(s, SETTINGS_ALL + 1U) : 0;
    set_span(cmd, &cmd->in.text, span_of(in->text.data, in->text.len));
    put_members(s, cmd, sim_one_in(s, 2) ? 2 : 8, NULL);
    send_out(s, cmd);
}

static void do_change(struct sim *s, uint32_t user, uint8_t kind)
{
    struct mconv *c = any_conv(s, user, sim_one_in(s, 10));
    uint64_t target = c ? any_message(s, c) : 0;
    if (target == 0) {
        return;
    }
    struct mconv *where;
    const struct mevent *e = model_by_id(s->model, target, &where);
    /* Mostly by its author. */
    uint32_t author = users_index(s->users, e->ev.actor);
    user = sim_one_in(s, 8) || author == UINT32_MAX ? user : author;
    struct command *cmd = users_command(s, user, COMMAND_EVENT);
    cmd->in.kind = kind;
    cmd->in.target_id = target;
    if (!sim_one_in(s, 3)) {
        cmd->conv = c->id;
    }
    if (kind == EVENT_EDIT) {
        struct intent *in = intent_new(s, user, kind, (struct conv_id){0, 0});
        uop_of(cmd)->intent = s->users->nintents;
        in->open++;
        in->flying++;
        set_span(cmd, &cmd->in.text, span_of(in->text.data, in->text.len));
    }
    send_out(s, cmd);
}

static void do_membership(struct sim *s, uint32_t user)
{
    static const uint8_t kinds[] = {EVENT_ADD,  EVENT_ADD,    EVENT_REMOVE,  EVENT_LEAVE,
                                    EVENT_ROLE, EVENT_RENAME, EVENT_SETTINGS};
    struct mconv *c = any_group(s, user);
    if (!c) {
        return;
    }
    /* Mostly by somebody who may. */
    for (uint32_t i = 0; i < c->nmembers && !sim_one_in(s, 5); i++) {
        if (c->members[i].role == ROLE_OWNER) {
            user = users_index(s->users, c->members[i].user);
        }
    }
    struct command *cmd = users_command(s, user, COMMAND_EVENT);
    cmd->conv = c->id;
    cmd->in.kind = kinds[sim_below(s, ARRAY_LEN(kinds))];
    switch (cmd->in.kind) {
    case EVENT_ADD:
        put_members(s, cmd, 6, c);
        break;
    case EVENT_REMOVE:
        cmd->in.user = c->members[sim_below(s, c->nmembers)].user;
        break;
    case EVENT_ROLE:
        cmd->in.user = c->members[sim_below(s, c->nmembers)].user;
        cmd->in.value = sim_between(s, ROLE_MEMBER, ROLE_GUEST);
        break;
    case EVENT_RENAME: {
        struct intent *in = intent_new(s, user, EVENT_RENAME, c->id);
        set_span(cmd, &cmd->in.text, span_of(in->text.data, in->text.len));
        break;
    }
    case EVENT_SETTINGS:
        /* Not for long without senders. */
        cmd->in.value = sim_one_in(s, 3) ? sim_below(s, SETTINGS_ALL + 1U) : sim_below(s, 2);
        break;
    default:
        break;
    }
    send_out(s, cmd);
}

static void do_self(struct sim *s, uint32_t user)
{
    struct command *cmd = users_command(s, user, COMMAND_EVENT);
    struct mconv *c = any_conv(s, user, true);
    char text[24] = "";
    switch (sim_below(s, c ? 6 : 4)) {
    case 5:
    case 4:
        cmd->in.kind = EVENT_DRAFT;
        if (!sim_one_in(s, 4)) {
            (void)snprintf(text, sizeof(text), "draft %u", (unsigned)sim_below(s, 50));
        }
        set_span(cmd, &cmd->in.text, span_str(text));
        break;
    case 0:
        cmd->in.kind = EVENT_MUTE;
        cmd->in.value = sim_below(s, 1000);
        break;
    case 1:
        cmd->in.kind = EVENT_PIN;
        cmd->in.value = sim_below(s, 2);
        break;
    case 2:
        cmd->in.kind = EVENT_HIDE;
        cmd->in.range_from = c && c->head > 0 ? 1 + sim_below(s, c->head) : 1;
        cmd->in.range_to = cmd->in.range_from + (sim_one_in(s, 2) ? 0 : sim_below(s, 6));
        break;
    default:
        cmd->in.kind = EVENT_BLOCK;
        cmd->in.user = s->users->ids[(user + 1U) % s->users->n];
        cmd->in.value = sim_below(s, 3) == 0;
        break;
    }
    if (cmd->in.kind != EVENT_BLOCK) {
        cmd->in.conv = c ? c->id : conv_id_self(cmd->actor);
    }
    send_out(s, cmd);
}

static void do_ack(struct sim *s, uint32_t user)
{
    struct mconv *c = any_conv(s, user, sim_one_in(s, 20));
    if (!c || c->head == 0) {
        return;
    }
    struct command *cmd = users_command(s, user, COMMAND_ACK);
    cmd->conv = c->id;
    cmd->ack_read = sim_one_in(s, 2);
    cmd->durable = sim_one_in(s, 3);
    uint64_t back = sim_below(s, MIN(c->head, 20U));
    uint64_t seq = c->head - back;
    if (sim_one_in(s, 3)) {
        cmd->in.target_id = mconv_event(c, seq)->ev.id;
        if (sim_one_in(s, 2)) {
            cmd->conv = (struct conv_id){0, 0};
        }
    } else {
        cmd->to_seq = sim_one_in(s, 30) ? c->head + 5 : seq;
    }
    struct mmember *mm = mconv_member(c, cmd->actor);
    if (mm) {
        mm->cursor_hi = MAX(mm->cursor_hi, MAX(seq, cmd->to_seq));
    }
    send_out(s, cmd);
}

static void do_history(struct sim *s, uint32_t user)
{
    struct mconv *c = any_conv(s, user, sim_one_in(s, 4));
    if (!c || c->head == 0) {
        return;
    }
    struct command *cmd = users_command(s, user, COMMAND_HISTORY);
    cmd->conv = c->id;
    cmd->reverse = !sim_one_in(s, 3);
    cmd->messages_only = sim_one_in(s, 2);
    cmd->with_changes = cmd->messages_only && sim_one_in(s, 2);
    cmd->limit = (uint32_t)(sim_one_in(s, 3) ? 1 + sim_below(s, 220) : 1 + sim_below(s, 12));
    uint64_t seq = 1 + sim_below(s, c->head + 1);
    switch (sim_below(s, 7)) {
    case 0:
        cmd->from_seq = seq;
        break;
    case 1:
        cmd->to_seq = seq;
        break;
    case 2:
        cmd->from_seq = seq;
        cmd->to_seq = seq + sim_below(s, 30);
        break;
    case 3:
        cmd->at_id = mconv_event(c, MIN(seq, c->head))->ev.id;
        break;
    case 4:
        cmd->at_ms = event_time_ms(&mconv_event(c, MIN(seq, c->head))->ev) + sim_below(s, 3) - 1;
        break;
    case 5:
        cmd->offset = 1 + sim_below(s, 40);
        cmd->reverse = true;
        break;
    default:
        break;
    }
    send_out(s, cmd);
}

static void do_read(struct sim *s, uint32_t user)
{
    struct mconv *c = any_conv(s, user, sim_one_in(s, 3));
    struct command *cmd;
    if (sim_one_in(s, 3)) {
        cmd = users_command(s, user, COMMAND_LIST);
        cmd->conv = conv_id_self(cmd->actor);
        send_out(s, cmd);
    } else if (c && sim_one_in(s, 2)) {
        cmd = users_command(s, user, COMMAND_MEMBERS);
        cmd->conv = c->id;
        send_out(s, cmd);
    } else if (c && any_message(s, c) > 0) {
        cmd = users_command(s, user, COMMAND_LOOKUP);
        cmd->in.target_id = any_message(s, c);
        if (cmd->in.target_id == 0) {
            cmd->in.target_id = mconv_event(c, c->head)->ev.id;
        }
        send_out(s, cmd);
    }
}

/* A key that was answered, with other content. */
static void do_misuse(struct sim *s, uint64_t number)
{
    struct users *u = s->users;
    struct intent *in = intent_of(u, number);
    struct command *cmd = users_command(s, users_index(u, in->user), COMMAND_EVENT);
    struct uop *op = uop_of(cmd);
    op->misuse = true;
    op->was_done = true;
    char text[64];
    int n = snprintf(text, sizeof(text), "other than %llu", (unsigned long long)number);
    cmd->in.kind = EVENT_MESSAGE;
    cmd->peer = in->peer;
    cmd->conv = in->peer ? (struct conv_id){0, 0} : in->conv;
    cmd->in.content_hash = content_hash(in) + 1;
    set_span(cmd, &cmd->in.text, span_of(text, (size_t)n));
    n = snprintf(text, sizeof(text), "k%llu", (unsigned long long)number);
    set_span(cmd, &cmd->in.cmid, span_of(text, (size_t)n));
    send_out(s, cmd);
}

static void do_again(struct sim *s)
{
    struct users *u = s->users;
    if (u->nagain > 0 && !sim_one_in(s, 3)) {
        uint32_t i = (uint32_t)sim_below(s, u->nagain);
        uint64_t number = u->again[i];
        u->again[i] = u->again[--u->nagain];
        if (!intent_of(u, number)->answered) {
            attempt(s, number, false);
        }
        return;
    }
    for (int tries = 0; tries < 10 && u->nintents > 0; tries++) {
        uint64_t number = 1 + sim_below(s, u->nintents);
        struct intent *in = intent_of(u, number);
        if (in->kind != EVENT_MESSAGE || !in->keyed || in->seq == 0 || !in->answered) {
            continue;
        }
        if (sim_one_in(s, 4)) {
            do_misuse(s, number);
        } else {
            attempt(s, number, false);
        }
        return;
    }
}

void users_act(struct sim *s)
{
    struct users *u = s->users;
    uint32_t user = (uint32_t)sim_below(s, u->n);
    if (u->flying[user] >= FLYING_MAX) {
        return;
    }
    uint64_t what = sim_below(s, 100);
    if (u->convs_made < 3 || (what < 2 && u->convs_made < GROUPS_MAX)) {
        do_create(s, user);
    } else if (what < 44) {
        do_send(s, user);
    } else if (what < 51) {
        do_change(s, user, EVENT_EDIT);
    } else if (what < 55) {
        do_change(s, user, EVENT_DELETE);
    } else if (what < 61) {
        do_membership(s, user);
    } else if (what < 65) {
        do_self(s, user);
    } else if (what < 74) {
        do_ack(s, user);
    } else if (what < 84) {
        do_history(s, user);
    } else if (what < 88) {
        do_read(s, user);
    } else if (what < 93) {
        device_resume(s, user);
    } else {
        do_again(s);
    }
}

void users_retry_all(struct sim *s)
{
    struct users *u = s->users;
    uint32_t n = MIN(u->nagain, 50U);
    for (uint32_t i = 0; i < n; i++) {
        uint64_t number = u->again[--u->nagain];
        if (!intent_of(u, number)->answered) {
            attempt(s, number, false);
        }
    }
}

void users_probe(struct sim *s)
{
    struct users *u = s->users;
    for (uint32_t i = 0; i < u->n; i += 3) {
        struct mconv *c = any_group(s, i);
        const struct mmember *mm = c ? mconv_active(c, u->ids[i]) : NULL;
        if (!mm || ((c->settings & SETTING_SEND_ADMINS) &&
                    (mm->role != ROLE_ADMIN && mm->role != ROLE_OWNER))) {
            continue;
        }
        struct intent *in = intent_new(s, i, EVENT_MESSAGE, c->id);
        in->probe = true;
        in->keyed = true;
        attempt(s, u->nintents, true);
    }
}

/* ---- answers ----------------------------------------------------------------------------- */

void uop_see(struct sim *s, struct seen_conv *seen, struct conv_id conv, uint64_t user)
{
    struct mconv *c = model_conv(s->model, conv);
    const struct mmember *mm = c ? mconv_member(c, user) : NULL;
    *seen = (struct seen_conv){.conv = c};
    if (c) {
        seen->head = c->head;
        seen->version = c->version;
        seen->members_version = c->members_version;
        seen->read_lo = mm ? mm->read_lo : 0;
        seen->delivered_lo = mm ? mm->delivered_lo : 0;
    }
}

void users_check_submit(struct sim *s, struct command *cmd)
{
    struct uop *op = uop_of(cmd);
    struct conv_id conv = cmd->conv;
    struct mconv *where = NULL;
    if (conv_id_is_zero(conv) && cmd->in.target_id &&
        model_by_id(s->model, cmd->in.target_id, &where)) {
        conv = where->id;
    }
    op->arrived = true;
    uop_see(s, &op->seen, conv, cmd->actor);
    if (cmd->nitems > 0) {
        op->items = calloc(cmd->nitems, sizeof(*op->items));
        CHECK(op->items);
        for (uint32_t i = 0; i < cmd->nitems; i++) {
            uop_see(s, &op->items[i], cmd->items[i].conv, cmd->actor);
        }
    }
}

/* What was asked must come out as the model says, when nothing else has happened meanwhile. */
static void check_rule(struct sim *s, const struct uop *op, const struct command *cmd)
{
    const struct mconv none = {.id = cmd->conv};
    /* One that began meanwhile is another state than none. */
    const struct mconv *c = op->seen.conv ? op->seen.conv : model_conv(s->model, cmd->conv);
    c = c ? c : &none;
    if (cmd->err == CONFAB_OK || users_transient(s, cmd->err) || op->misuse || op->was_done ||
        c->version != op->seen.version) {
        return;
    }
    enum confab_err want = model_judge(s->model, c, cmd->actor, &cmd->in);
    bool opens = cmd->in.kind == EVENT_MESSAGE && c->kind == CONV_NONE && cmd->peer != 0;
    if (opens && want == CONFAB_NOT_FOUND) {
        return; /* judged after it is made: then by the events alone */
    }
    bool refused = want == CONFAB_BLOCKED && cmd->err == CONFAB_FORBIDDEN;
    SIM_CHECK(s, want == CONFAB_AGAIN || want == cmd->err || refused, "rules are kept",
              "kind %u in " CONV_FMT " by %llu: %s, should be %s", cmd->in.kind, CONV_ARG(c->id),
              (unsigned long long)cmd->actor, err_text(cmd->err), err_text(want));
}

static void check_event(struct sim *s, struct uop *op, const struct command *cmd)
{
    struct intent *in = intent_of(s->users, op->intent);
    bool definite = cmd->err != CONFAB_IO;
    if (in && definite) {
        in->open--;
    }
    check_rule(s, op, cmd);
    bool roomy = s->features.engine.waiting_max >= 64 && s->features.store_queue >= 1000;
    /* Probes come in one turn, each to a conversation of its own. What they bring into memory has
     * dirty_bytes_max of room over a full cache, which is emptied once a turn only. */
    roomy =
        roomy && (cmd->err != CONFAB_BUSY || s->features.engine.dirty_bytes_max >= PROBES_BYTES);
    SIM_CHECK(s, !in || !in->probe || !cmd->err || op->retry || !roomy,
              "sends are taken in good times", CONV_FMT ": %s", CONV_ARG(cmd->conv),
              err_text(cmd->err));
    if (cmd->err) {
        s->result.counts.refused++;
        bool may = users_transient(s, cmd->err) || (op->misuse && cmd->err == CONFAB_DUPLICATE_KEY);
        SIM_CHECK(s, !op->was_done || may, "a retry returns the first result",
                  "intent %llu, misuse %d: %s", (unsigned long long)op->intent, op->misuse,
                  err_text(cmd->err));
        return;
    }
    SIM_CHECK(s, !op->misuse, "a key stands for one content", "seq %llu",
              (unsigned long long)cmd->ret_seq);
    struct mconv *c = model_conv(s->model, cmd->ret_conv);
    const struct mevent *e = c ? mconv_event(c, cmd->ret_seq) : NULL;
    SIM_CHECK(
        s, e && e->ev.id == cmd->ret_id && e->ev.kind == cmd->in.kind && e->ev.actor == cmd->actor,
        "what is acknowledged exists", CONV_FMT " seq %llu", CONV_ARG(cmd->ret_conv),
        (unsigned long long)cmd->ret_seq);
    if (in) {
        SIM_CHECK(s,
                  in->seq == cmd->ret_seq && in->id == cmd->ret_id &&
                      conv_id_eq(in->conv, cmd->ret_conv),
                  "a retry returns the first result", "intent %llu: seq %llu, was %llu",
                  (unsigned long long)op->intent, (unsigned long long)cmd->ret_seq,
                  (unsigned long long)in->seq);
        SIM_CHECK(s, cmd->duplicate || !op->was_done, "a retry is known as one", "intent %llu",
                  (unsigned long long)op->intent);
        s->result.counts.duplicates += cmd->duplicate;
    }
}

static void check_ack(struct sim *s, const struct uop *op, const struct command *cmd)
{
    struct mconv *c = op->seen.conv;
    struct mmember *mm = c ? mconv_member(c, cmd->actor) : NULL;
    if (cmd->err) {
        bool bad = cmd->to_seq > op->seen.head;
        bool stable = c && c->members_version == op->seen.members_version;
        SIM_CHECK(s, users_transient(s, cmd->err) || bad || !stable || !mconv_active(c, cmd->actor),
                  "members may acknowledge", CONV_FMT ": %s", c ? CONV_ARG(c->id) : 0,
                  err_text(cmd->err));
        return;
    }
    if (cmd->durable && cmd->ret_seq > 0 && mm && mm->role != ROLE_NONE &&
        c->members_version == op->seen.members_version) {
        mm->delivered_lo = MAX(mm->delivered_lo, cmd->ret_seq);
        if (cmd->ack_read) {
            mm->read_lo = MAX(mm->read_lo, cmd->ret_seq);
        }
    }
}

void users_check_answer(struct sim *s, struct command *cmd)
{
    struct uop *op = uop_of(cmd);
    SIM_CHECK(s, op->arrived, "commands are answered after they arrive", " ");
    switch (cmd->type) {
    case COMMAND_EVENT:
        check_event(s, op, cmd);
        break;
    case COMMAND_ACK:
        check_ack(s, op, cmd);
        break;
    case COMMAND_HISTORY:
        verify_history(s, op, cmd);
        break;
    case COMMAND_LIST:
        verify_list(s, cmd);
        break;
    case COMMAND_MEMBERS:
        verify_members(s, op, cmd);
        break;
    case COMMAND_LOOKUP:
        verify_lookup(s, op, cmd);
        break;
    case COMMAND_RESUME:
        for (uint32_t i = 0; i < cmd->nsnaps && !cmd->err; i++) {
            uint32_t k = 0;
            while (k < cmd->nitems && !conv_id_eq(cmd->items[k].conv, cmd->snaps[i].conv)) {
                k++;
            }
            SIM_CHECK(s, k < cmd->nitems, "resume answers what was asked", CONV_FMT,
                      CONV_ARG(cmd->snaps[i].conv));
            verify_snapshot(s, cmd->actor, &op->items[k], &cmd->snaps[i]);
        }
        break;
    case COMMAND_RECEIPTS:
    case COMMAND_BLOCKS:
    case COMMAND_HEADS:
    case COMMAND_AUDIENCE:
    case COMMAND_CIRCLE:
    case COMMAND_FOLLOWUP:
    case COMMAND_HOST:
        break;
    }
}

void users_answer(struct sim *s, struct command *cmd)
{
    struct users *u = s->users;
    struct uop *op = uop_of(cmd);
    struct intent *in = intent_of(u, op->intent);
    if (in) {
        in->flying--;
        if (!cmd->err) {
            in->answered = true;
        } else if (in->keyed && users_transient(s, cmd->err) && !in->answered) {
            again_later(u, op->intent);
        } else if (in->flying == 0) {
            in->gone = true;
        }
    }
    if (op->device) {
        device_answer(s, cmd);
        return;
    }
    uop_free(u, op);
    command_free(cmd);
}

void users_lost(struct users *u)
{
    LIST_EACH(&u->ops, it)
    {
        struct uop *op = LIST_ENTRY(it, struct uop, link);
        struct intent *in = intent_of(u, op->intent);
        if (in) {
            in->flying--;
            if (in->keyed && !in->answered) {
                again_later(u, op->intent);
            }
        }
        uop_free(u, op);
    }
    for (uint32_t i = 0; i < u->n; i++) {
        device_lost(&u->devices[i]);
    }
}

void users_settled(struct users *u)
{
    for (uint64_t i = 0; i < u->nintents; i++) {
        u->intents[i]->open = 0;
    }
}
