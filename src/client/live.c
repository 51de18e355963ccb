/*
 * What is told and never stored: typing and presence. What a client looks at is kept, and said
 * again with each connect; what others do is handed on as it comes.
 */
#include <stdlib.h>
#include <string.h>

#include "client/session_internal.h"

static enum confab_presence_status status_of(struct span text)
{
    return span_is(text, "online") ? CONFAB_ONLINE
           : span_is(text, "away") ? CONFAB_AWAY
                                   : CONFAB_OFFLINE;
}

void clive_typing(struct csession *s, const struct wire_typist *w)
{
    struct confab_typing t = {
        .user_id = w->user_id, .active = w->active, .expires_in_ms = w->expires_in_ms};
    cdeliver_conv(w->conv, t.conv);
    if (s->on.on_typing) {
        s->on.on_typing(s->arg, &t);
    }
}

void clive_presence(struct csession *s, const struct wire_presence_update *w)
{
    struct confab_presence p = {
        .user_id = w->user_id, .status = status_of(w->status), .last_seen_ms = w->last_seen_ms};
    if (s->on.on_presence) {
        s->on.on_presence(s->arg, &p);
    }
}

static void put_view(struct csession *s, uint64_t now)
{
    size_t mark = clink_frame_begin(s);
    wire_put_view(&s->out, s->live.views, s->live.nviews);
    (void)clink_frame_end(s, mark, now);
}

static void put_people(struct csession *s, uint64_t now)
{
    for (uint32_t at = 0; at < s->live.npeople && csession_is_signed_in(s);) {
        struct wire_people m = {.n = MIN(s->live.npeople - at, WIRE_PEOPLE_MAX)};
        memcpy(m.users, s->live.people + at, m.n * sizeof(m.users[0]));
        size_t mark = clink_frame_begin(s);
        wire_put_subscribe_presence(&s->out, &m);
        if (!clink_frame_end(s, mark, now)) {
            return;
        }
        at += m.n;
    }
}

bool clive_looks(const struct csession *s, struct conv_id conv)
{
    for (uint32_t i = 0; i < s->live.nviews; i++) {
        if (conv_id_eq(s->live.views[i], conv)) {
            return true;
        }
    }
    return false;
}

void clive_caught_up(struct csession *s, uint64_t now)
{
    if (s->live.nviews > 0) {
        put_view(s, now);
    }
    put_people(s, now);
}

void clive_free(struct csession *s)
{
    free(s->live.people);
}

enum confab_error csession_view(struct csession *s, const struct conv_id *convs, uint32_t n,
                                uint64_t now)
{
    memcpy(s->live.views, convs, n * sizeof(convs[0]));
    s->live.nviews = n;
    if (s->phase == CPHASE_LIVE) {
        put_view(s, now);
    }
    return CONFAB_E_OK;
}

enum confab_error csession_follow(struct csession *s, const uint64_t *user_ids, size_t n,
                                  uint64_t now)
{
    uint64_t *people = n > 0 ? malloc(n * sizeof(*people)) : NULL;
    if (n > 0 && !people) {
        return CONFAB_E_NOMEM;
    }
    bool any = s->live.npeople > 0;
    if (n > 0) {
        memcpy(people, user_ids, n * sizeof(*people));
    }
    free(s->live.people);
    s->live.people = people;
    s->live.npeople = (uint32_t)n;
    if (s->phase != CPHASE_LIVE) {
        return CONFAB_E_OK;
    }
    if (any) {
        size_t mark = clink_frame_begin(s);
        wire_put_unsubscribe_presence(&s->out, &(struct wire_people){.all = true});
        (void)clink_frame_end(s, mark, now);
    }
    put_people(s, now);
    return CONFAB_E_OK;
}

enum confab_error csession_typing(struct csession *s, const struct wire_typing *m, uint64_t now)
{
    if (s->phase != CPHASE_LIVE) {
        return CONFAB_E_STATE;
    }
    size_t mark = clink_frame_begin(s);
    wire_put_client_typing(&s->out, m);
    return clink_frame_end(s, mark, now) ? CONFAB_E_OK : CONFAB_E_NOMEM;
}
