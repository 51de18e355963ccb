/* What people do by REST: groups, changes of messages, lists, and sends without a session. */
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "gate.h"

#define ULL(x) ((unsigned long long)(x))

static void text_of(struct conv_id id, char out[ID_CONV_TEXT + 1])
{
    conv_id_text(id, out);
    out[ID_CONV_TEXT] = '\0';
}

static void start(struct gate *g, struct rest *r, const char *method, const char *path,
                  struct buf *json)
{
    struct http_ask ask = {.method = method,
                           .path = path,
                           .token = g->people[r->person].token,
                           .json = span_of(json->data, json->len)};
    sim_trace(g->sim, "rest person %u %s %s", r->person, method, path);
    if (r->kind == REST_SEND || r->kind == REST_EDIT) {
        g->people[r->person].acted_ms = gate_now(g);
    }
    http_begin(g, &r->call, &ask);
    buf_deinit(json);
}

static void create(struct gate *g, struct rest *r)
{
    struct sim *s = g->sim;
    struct buf json = {0};
    r->kind = REST_CREATE;
    buf_printf(&json, "{\"name\":\"group %u\",\"member_ids\":[", ++g->groups);
    uint64_t share = sim_one_in(s, 2) ? 2 : 6;
    const char *comma = "";
    for (uint32_t i = 0; i < g->npeople; i++) {
        if (i != r->person && sim_one_in(s, share)) {
            buf_printf(&json, "%s\"%llu\"", comma, ULL(g->people[i].id));
            comma = ",";
        }
    }
    buf_put_str(&json, "]}");
    start(g, r, "POST", "/api/v1/groups", &json);
}

static void members(struct gate *g, struct rest *r, struct mconv *c)
{
    struct sim *s = g->sim;
    char path[160];
    char conv[ID_CONV_TEXT + 1];
    struct buf json = {0};
    uint32_t other = (uint32_t)sim_below(s, g->npeople);
    const struct mmember *mm = mconv_member(c, g->people[other].id);
    text_of(c->id, conv);
    r->kind = REST_CHANGE;
    if (sim_one_in(s, 2) && !(mm && mm->nintervals > MODEL_INTERVALS_MAX / 2)) {
        (void)snprintf(path, sizeof(path), "/api/v1/groups/%s/members", conv);
        buf_printf(&json, "{\"user_id\":\"%llu\"}", ULL(g->people[other].id));
        start(g, r, "POST", path, &json);
        return;
    }
    (void)snprintf(path, sizeof(path), "/api/v1/groups/%s/members/%llu", conv,
                   ULL(g->people[other].id));
    if (sim_one_in(s, 3)) {
        static const char *const roles[] = {"admin", "moderator", "member", "guest"};
        buf_printf(&json, "{\"role\":\"%s\"}", roles[sim_below(s, ARRAY_LEN(roles))]);
        start(g, r, "PATCH", path, &json);
    } else {
        start(g, r, "DELETE", path, &json);
    }
}

static void change_message(struct gate *g, struct rest *r, struct mconv *c)
{
    struct sim *s = g->sim;
    struct buf json = {0};
    char path[96];
    const struct mevent *e = NULL;
    for (int tries = 0; tries < 8 && !e; tries++) {
        const struct mevent *f = mconv_event(c, c->head - sim_low(s, c->head));
        e = f->ev.kind == EVENT_MESSAGE ? f : NULL;
    }
    if (!e) {
        return;
    }
    for (uint32_t i = 0; i < g->npeople && !sim_one_in(s, 8); i++) {
        if (g->people[i].id == e->ev.actor && !g->people[i].gone) {
            r->person = i;
        }
    }
    (void)snprintf(path, sizeof(path), "/api/v1/messages/%llu", ULL(e->ev.id));
    if (sim_one_in(s, 2)) {
        struct gsend *gs = gate_send_new(g, r->person, EVENT_EDIT, c->id);
        r->kind = REST_EDIT;
        r->number = g->nsends;
        gs->rest = true;
        gs->asked = true;
        buf_printf(&json, "{\"content\":\"%.*s\"}", (int)gs->text.len, (const char *)gs->text.data);
        start(g, r, "PATCH", path, &json);
    } else {
        r->kind = REST_CHANGE;
        (void)snprintf(path, sizeof(path), "/api/v1/messages/%llu?for=%s", ULL(e->ev.id),
                       sim_one_in(s, 2) ? "me" : "everyone");
        start(g, r, "DELETE", path, &json);
    }
}

static void send_message(struct gate *g, struct rest *r, struct mconv *c)
{
    char conv[ID_CONV_TEXT + 1];
    struct buf json = {0};
    struct gsend *gs = gate_send_new(g, r->person, EVENT_MESSAGE, c->id);
    r->kind = REST_SEND;
    r->number = g->nsends;
    gs->rest = true;
    gs->asked = true;
    text_of(c->id, conv);
    buf_printf(&json,
               "{\"conversation_id\":\"%s\",\"content\":\"%.*s\",\"client_msg_id\":\"k%llu\"}",
               conv, (int)gs->text.len, (const char *)gs->text.data, ULL(g->nsends));
    start(g, r, "POST", "/api/v1/messages", &json);
}

static void other_things(struct gate *g, struct rest *r, struct mconv *c)
{
    struct sim *s = g->sim;
    struct buf json = {0};
    char path[160];
    char conv[ID_CONV_TEXT + 1];
    uint64_t other = g->people[(r->person + 1) % g->npeople].id;
    text_of(c->id, conv);
    r->kind = REST_CHANGE;
    switch (sim_below(s, 10)) {
    case 5:
    case 6:
        (void)snprintf(path, sizeof(path), "/api/v1/conversations/%s", conv);
        buf_printf(&json, "{\"draft\":\"draft %llu\"}", ULL(sim_below(s, 50)));
        start(g, r, "PATCH", path, &json);
        break;
    case 7:
        (void)snprintf(path, sizeof(path), "/api/v1/conversations/%s/mute", conv);
        buf_printf(&json, "{\"until\":%s}", sim_one_in(s, 2) ? "null" : "\"2200-01-01T00:00:00Z\"");
        start(g, r, "PUT", path, &json);
        break;
    case 8:
        g->people[r->person].hiding = true;
        buf_printf(&json, "{\"privacy\":{\"online\":%s}}", sim_one_in(s, 3) ? "false" : "true");
        start(g, r, "PATCH", "/api/v1/users/me", &json);
        break;
    case 0:
        (void)snprintf(path, sizeof(path), "/api/v1/conversations/%s/pin", conv);
        buf_printf(&json, "{\"pinned\":%s}", sim_one_in(s, 2) ? "true" : "false");
        start(g, r, "PUT", path, &json);
        break;
    case 1:
        (void)snprintf(path, sizeof(path), "/api/v1/blocks/%llu", ULL(other));
        start(g, r, sim_one_in(s, 3) ? "PUT" : "DELETE", path, &json);
        break;
    case 2:
        if (c->kind != CONV_GROUP) {
            r->kind = REST_NONE;
            break;
        }
        (void)snprintf(path, sizeof(path), "/api/v1/groups/%s", conv);
        buf_printf(&json, "{\"name\":\"renamed %u\"}", ++g->groups);
        start(g, r, "PATCH", path, &json);
        break;
    default:
        r->kind = REST_READ;
        (void)snprintf(path, sizeof(path), "/api/v1/conversations/%s/messages?limit=%llu", conv,
                       ULL(1 + sim_below(s, 60)));
        start(g, r, "GET", path, &json);
        break;
    }
}

static void delete_account(struct gate *g, struct rest *r)
{
    struct buf json = {0};
    r->kind = REST_DELETE;
    buf_put_str(&json, "{\"password\":\"" GATE_PASSWORD "\"}");
    g->people[r->person].leaving = true;
    start(g, r, "DELETE", "/api/v1/users/me", &json);
}

void rest_act(struct gate *g)
{
    struct sim *s = g->sim;
    struct rest *r = &g->rests[sim_below(s, GATE_RESTS_MAX)];
    if (r->call.busy) {
        return;
    }
    memset(r, 0, sizeof(*r));
    r->person = (uint32_t)sim_below(s, g->npeople);
    uint32_t leaver = sim_one_in(s, 15) ? life_draw_leaver(g) : UINT32_MAX;
    if (leaver != UINT32_MAX) {
        r->person = leaver;
        delete_account(g, r);
        return;
    }
    if (g->people[r->person].gone) {
        return;
    }
    struct mconv *c = gate_any_conv(g, r->person);
    uint64_t what = sim_below(s, 10);
    if (g->groups < 2 || !c) {
        create(g, r);
    } else if (what < 1 && g->groups < 12) {
        create(g, r);
    } else if (what < 4 && c->kind == CONV_GROUP) {
        for (uint32_t i = 0; i < g->npeople && !sim_one_in(s, 6); i++) {
            const struct mmember *mm = mconv_active(c, g->people[i].id);
            r->person = mm && mm->role == ROLE_OWNER && !g->people[i].gone ? i : r->person;
        }
        members(g, r, c);
    } else if (what < 6) {
        change_message(g, r, c);
    } else if (what < 8) {
        send_message(g, r, c);
    } else {
        other_things(g, r, c);
    }
}

static void answered(struct gate *g, struct rest *r)
{
    struct sim *s = g->sim;
    int status = r->call.status;
    sim_trace(s, "rest person %u status %d", r->person, status);
    bool refused = status == 401 && !life_is_leaving(g, r->person);
    SIM_CHECK(s, status != 500 && status != 501 && status != 400 && !refused,
              "good requests are good", "person %u: %d %.*s", r->person, status,
              (int)r->call.content.len, (const char *)r->call.content.data);
    if (r->kind == REST_DELETE && status == 204) {
        life_learn(g, false);
        SIM_CHECK(s, g->people[r->person].gone, "what is acknowledged exists", "person %u is there",
                  r->person);
    }
    struct gsend *gs = gate_send_of(g, r->number);
    if (!gs || status == 0) {
        return;
    }
    if (status < 300) {
        SIM_CHECK(s, gs->seq > 0, "what is acknowledged exists", "rest: k%llu", ULL(r->number));
        gs->outcome = GSEND_STORED;
    } else if (status < 500) {
        SIM_CHECK(s, gs->seq == 0, "what was refused does not happen", "rest: k%llu, status %d",
                  ULL(r->number), status);
        gs->outcome = GSEND_FAILED;
        s->result.counts.refused++;
    }
}

bool rest_pump(struct gate *g)
{
    bool any = false;
    for (uint32_t i = 0; i < GATE_RESTS_MAX; i++) {
        struct rest *r = &g->rests[i];
        if (!r->call.busy) {
            continue;
        }
        any = true;
        if (http_pump(g, &r->call)) {
            answered(g, r);
            http_end(&r->call);
        }
    }
    return any;
}
