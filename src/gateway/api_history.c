/* History of a conversation, and single messages: the message itself, and who has got it. */
#include <stdlib.h>

#include "base/time_text.h"
#include "gateway/api.h"
#include "gateway/api_util.h"
#include "gateway/internal.h"

#define LIMIT_DEFAULT 50U
#define LIMIT_MAX     1000U
#define RECEIPTS_MAX  1000U /* on one page */
/* Numbers below are seqs, those above message ids: the first id of 2025 is far above. */
#define SEQ_MAX (1ULL << 40)
/* A message's bytes come up to three times in its object, besides the fields; a member's ten bytes
 * as fifty. */
#define BYTES_FACTOR 5U
/* What a message has beside its text and the like: with all names, and with one for each. */
#define ALIASES_BYTES 640U
#define NAMES_BYTES   320U

/* ---- History ---- */

enum history_way { HISTORY_NEWEST = 0, HISTORY_BEFORE, HISTORY_AFTER, HISTORY_AROUND };

/* A position: one of the three is set. */
struct place {
    uint64_t seq;
    uint64_t id;
    uint64_t ms;
};
struct history {
    enum history_way way;
    struct place at;
    uint32_t limit;
    uint64_t offset;
    bool changes;
    bool aliases; /* members of messages under all their names */
};

static bool place_parse(struct span text, struct place *ret)
{
    uint64_t n;
    *ret = (struct place){0};
    if (time_text_parse(text, &ret->ms)) {
        ret->ms = MAX(ret->ms, 1U); /* 0 would be no place at all */
        return true;
    }
    if (!id_parse(text, &n)) {
        return false;
    }
    *(n < SEQ_MAX ? &ret->seq : &ret->id) = n;
    return true;
}

/* False: answered. What is not there leaves *io as it is. */
static bool flag_arg(struct api_request *r, const char *name, bool *io)
{
    struct span text;
    enum confab_err err = http_query_get(r->http->query, name, &r->s->scratch, &text);
    if (err == CONFAB_NOT_FOUND) {
        return true;
    }
    if (err || (!span_is(text, "true") && !span_is(text, "false"))) {
        api_fail(r, CONFAB_INVALID, "true or false", name);
        return false;
    }
    *io = span_is(text, "true");
    return true;
}

/* False: answered. */
static bool history_read(struct api_request *r, struct history *h)
{
    static const char *const names[] = {NULL, "before", "after", "around"};
    struct span text;
    uint64_t limit = LIMIT_DEFAULT;
    bool bad = false;
    for (int way = HISTORY_BEFORE; way <= HISTORY_AROUND; way++) {
        enum confab_err err = http_query_get(r->http->query, names[way], &r->s->scratch, &text);
        if (err == CONFAB_NOT_FOUND) {
            continue;
        }
        /* after=0 is the beginning: whoever misses seq 1 asks so. */
        bool beginning = way == HISTORY_AFTER && !err && span_is(text, "0");
        if (err || h->way != HISTORY_NEWEST || (!beginning && !place_parse(text, &h->at))) {
            api_fail(r, CONFAB_INVALID, "one seq, message id or time is expected", names[way]);
            return false;
        }
        h->way = (enum history_way)way;
    }
    api_number_arg(r, "limit", &limit, &bad);
    if (bad || limit == 0) {
        api_fail(r, CONFAB_INVALID, "a number from 1 is expected", "limit");
        return false;
    }
    h->limit = (uint32_t)MIN(limit, LIMIT_MAX);
    if (api_number_arg(r, "offset", &h->offset, &bad) && (bad || h->way != HISTORY_NEWEST)) {
        api_fail(r, CONFAB_INVALID, "a number, without before, after or around", "offset");
        return false;
    }
    h->aliases = true;
    return flag_arg(r, "changes", &h->changes) && flag_arg(r, "aliases", &h->aliases);
}

static void history_bounds(struct command *cmd, const struct history *h)
{
    cmd->messages_only = true;
    cmd->with_changes = h->changes;
    cmd->limit = h->limit;
    cmd->offset = h->offset;
    cmd->reverse = h->way != HISTORY_AFTER;
    cmd->at_id = h->at.id;
    cmd->at_ms = h->at.ms;
    if (h->way == HISTORY_AROUND) {
        /* The place itself belongs to the older half. */
        cmd->limit = h->limit / 2 + 1;
        cmd->at_id += h->at.id != 0;
        cmd->at_ms += h->at.ms != 0;
        cmd->to_seq = h->at.seq;
    } else if (h->way == HISTORY_BEFORE && h->at.seq == 1) {
        cmd->at_id = 1; /* a to_seq of 0 would be no bound: nothing is before the first id either */
    } else if (h->way == HISTORY_BEFORE && h->at.seq != 0) {
        cmd->to_seq = h->at.seq - 1;
    } else if (h->way == HISTORY_AFTER) {
        cmd->from_seq = h->at.seq != 0 ? h->at.seq + 1 : 0;
    }
}

/* Drops what does not fit in an answer, from the far end. */
static void history_trim(struct shard *s, struct command *cmd)
{
    size_t max = s->cfg.response_bytes_max / BYTES_FACTOR;
    struct reader rd = reader_of(cmd->ret.data, cmd->ret.len);
    struct event ev;
    size_t at = 0;
    if (cmd->ret.len <= max) {
        return;
    }
    cmd->more = true;
    if (cmd->reverse) {
        while (cmd->ret.len - at > max && command_record_next(&rd, &ev)) {
            at = (size_t)(rd.p - cmd->ret.data);
            cmd->covered_from = ev.seq + 1;
        }
        buf_consume(&cmd->ret, at);
        return;
    }
    while (command_record_next(&rd, &ev) && (size_t)(rd.p - cmd->ret.data) <= max) {
        at = (size_t)(rd.p - cmd->ret.data);
        cmd->covered_to = ev.seq;
    }
    cmd->ret.len = at;
}

/* What is put into an answer from one or two commands, the older one first. */
struct page {
    const struct history *h;
    const struct command *halves[2];
    uint64_t first; /* seqs of all that is in it; both 0: it is empty */
    uint64_t last;
};

/* The messages of an answer, or what else it has. */
static void put_records(struct shard *s, struct json_writer *w, struct page *page, bool changes,
                        const struct command *cmd)
{
    struct render_about about = {.conv = cmd->conv,
                                 .reader = cmd->actor,
                                 .conv_kind = cmd->ret_conv_kind,
                                 .short_names = !page->h->aliases};
    struct reader rd = reader_of(cmd->ret.data, cmd->ret.len);
    struct event ev;
    while (command_record_next(&rd, &ev)) {
        page->first = page->first == 0 ? ev.seq : page->first;
        page->last = ev.seq;
        if (changes == (ev.kind == EVENT_MESSAGE)) {
            continue;
        }
        if (changes) {
            wire_page_event(w);
            render_event(&s->render, w->b, &about, &ev);
        } else {
            render_message(&s->render, w, &about, &ev, cmd);
        }
    }
}

static void put_list(struct shard *s, struct json_writer *w, const char *key, bool changes,
                     struct page *page)
{
    page->first = 0;
    json_w_key(w, key);
    json_w_array(w);
    for (size_t i = 0; i < ARRAY_LEN(page->halves); i++) {
        if (page->halves[i]) {
            put_records(s, w, page, changes, page->halves[i]);
        }
    }
    json_w_array_end(w);
}

/* About as much as the answer will be: what grows is copied again and again. */
static size_t answer_bytes(const struct page *page)
{
    size_t n = 256;
    for (size_t i = 0; i < ARRAY_LEN(page->halves); i++) {
        const struct command *cmd = page->halves[i];
        if (cmd) {
            size_t count = MIN(cmd->covered_to + 1 - cmd->covered_from, (uint64_t)cmd->limit);
            n += page->h->aliases ? 3 * cmd->ret.len + count * ALIASES_BYTES
                                  : cmd->ret.len + count * NAMES_BYTES;
        }
    }
    return n;
}

static void history_answer(struct shard *s, struct api_call *call, const struct command *older,
                           const struct command *newer)
{
    const struct history *h = call->data;
    struct page page = {.h = h, .halves = {older, newer}};
    struct buf body = {0};
    struct json_writer w;
    const struct command *low = older ? older : newer;
    const struct command *high = newer ? newer : older;
    (void)buf_reserve(&body, answer_bytes(&page));
    json_w_init(&w, &body);
    json_w_object(&w);
    put_list(s, &w, "messages", false, &page);
    if (h->changes) {
        put_list(s, &w, "changes", true, &page);
    }
    /* Pages go on in the direction asked for: `before` the first, or `after` the last. */
    bool more = h->way == HISTORY_AFTER ? high->more : low->more;
    uint64_t cursor = h->way == HISTORY_AFTER ? page.last : page.first;
    api_put_page_id(&w, more ? cursor : 0);
    json_w_key(&w, "covered");
    json_w_array(&w);
    json_w_u64(&w, low->covered_from);
    json_w_u64(&w, high->covered_to);
    json_w_array_end(&w);
    json_w_object_end(&w);
    api_call_answer(s, call, 200, &body);
}

static void on_newer_half(struct shard *s, struct api_call *call, struct command *cmd)
{
    if (!api_command_failed(s, call, cmd)) {
        history_trim(s, cmd);
        history_answer(s, call, call->kept, cmd);
        command_free(cmd);
    }
}

static void on_history(struct shard *s, struct api_call *call, struct command *cmd)
{
    struct history *h = call->data;
    if (api_command_failed(s, call, cmd)) {
        return;
    }
    history_trim(s, cmd);
    if (h->way != HISTORY_AROUND) {
        history_answer(s, call, cmd->reverse ? cmd : NULL, cmd->reverse ? NULL : cmd);
        command_free(cmd);
        return;
    }
    struct command *next = command_new(COMMAND_HISTORY);
    if (!next) {
        command_free(cmd);
        api_call_fail(s, call, CONFAB_NOMEM, NULL, NULL);
        return;
    }
    next->actor = cmd->actor;
    next->conv = cmd->conv;
    next->messages_only = true;
    next->with_changes = h->changes;
    next->limit = MAX(h->limit / 2, 1U);
    if (cmd->covered_to >= cmd->covered_from && cmd->covered_to > 0) {
        next->from_seq = cmd->covered_to + 1;
    } else {
        next->at_id = h->at.id;
        next->at_ms = h->at.ms;
        next->from_seq = h->at.seq;
    }
    call->kept = cmd; /* the older half */
    call->cmd = next;
    call->on_command = on_newer_half;
    api_call_send(s, call);
}

/* A name stands for the direct conversation with its bearer. */
static void on_chat_found(struct shard *s, struct api_call *call, const struct user_lookup *l)
{
    if (l->err) {
        api_call_fail(s, call, l->err, NULL, NULL);
        return;
    }
    call->cmd->conv = api_chat_of(call->user, l->ids[0]);
    api_call_send(s, call);
}

/* The id is none of a conversation: it may be a person's, or a name. */
static void history_with(struct shard *s, struct api_call *call, struct span who)
{
    struct user_lookup *l = user_lookup_new(1);
    enum confab_err err = l ? user_lookup_add(l, who) : CONFAB_NOMEM;
    if (err) {
        user_lookup_free(l);
        api_call_fail(s, call, err, NULL, NULL);
        return;
    }
    call->on_lookup = on_chat_found;
    api_call_lookup(s, call, l);
}

/* A call that holds the history asked for; NULL: answered. */
static struct api_call *history_call(struct api_request *r)
{
    struct history *h = calloc(1, sizeof(*h));
    if (!h) {
        api_fail(r, CONFAB_NOMEM, NULL, NULL);
        return NULL;
    }
    struct api_call *call = history_read(r, h) ? api_call_new(r) : NULL;
    if (!call) {
        free(h);
        return NULL;
    }
    call->data = h;
    call->on_command = on_history;
    call->cmd = command_new(COMMAND_HISTORY);
    if (!call->cmd) {
        api_call_fail(r->s, call, CONFAB_NOMEM, NULL, NULL);
        return NULL;
    }
    call->cmd->actor = r->user;
    history_bounds(call->cmd, h);
    return call;
}

static void history_get(struct api_request *r)
{
    struct conv_id conv;
    struct api_call *call = history_call(r);
    if (call && conv_id_parse(r->args[0], &conv)) {
        call->cmd->conv = conv;
        api_call_send(r->s, call);
    } else if (call) {
        history_with(r->s, call, r->args[0]);
    }
}

/* ---- One message ---- */

static void message_answer(struct shard *s, struct api_call *call, struct command *cmd)
{
    struct render_about about = {.conv = cmd->ret_conv, .reader = call->user};
    struct reader rd = reader_of(cmd->ret.data, cmd->ret.len);
    struct buf body = {0};
    struct json_writer w;
    struct event ev;
    if (!command_record_next(&rd, &ev) || ev.kind != EVENT_MESSAGE) {
        command_free(cmd);
        api_call_fail(s, call, CONFAB_NOT_FOUND, NULL, "message_id");
        return;
    }
    json_w_init(&w, &body);
    render_message(&s->render, &w, &about, &ev, cmd);
    command_free(cmd);
    api_call_answer(s, call, 200, &body);
}

static void on_message(struct shard *s, struct api_call *call, struct command *cmd)
{
    if (!api_command_failed(s, call, cmd)) {
        message_answer(s, call, cmd);
    }
}

/* What looked like a message's id may be a user's. */
static void on_message_or_user(struct shard *s, struct api_call *call, struct command *cmd)
{
    char text[ID_NUM_TEXT];
    if (cmd->err != CONFAB_NOT_FOUND) {
        on_message(s, call, cmd);
        return;
    }
    size_t n = id_text(cmd->in.target_id, text);
    command_free(cmd);
    call->cmd = call->kept;
    call->kept = NULL;
    call->on_command = on_history;
    history_with(s, call, span_of(text, n));
}

/* GET /messages/{}: of a conversation's id or a person the history, of a message's id the message.
 */
static void messages_get(struct api_request *r)
{
    uint64_t id;
    if (!id_parse(r->args[0], &id)) {
        history_get(r);
        return;
    }
    struct api_call *call = history_call(r);
    if (!call) {
        return;
    }
    call->kept = call->cmd;
    call->on_command = on_message_or_user;
    call->cmd = command_new(COMMAND_LOOKUP);
    if (!call->cmd) {
        api_call_fail(r->s, call, CONFAB_NOMEM, NULL, NULL);
        return;
    }
    call->cmd->actor = r->user;
    call->cmd->in.target_id = id;
    api_call_send(r->s, call);
}

/* A command about the message that the path names; NULL: answered. */
static struct command *message_command(struct api_request *r, enum command_type type, bool in_conv)
{
    struct conv_id conv = {0};
    uint64_t id;
    if (in_conv && !api_conv_arg(r, 0, &conv)) {
        return NULL;
    }
    if (!id_parse(r->args[in_conv ? 1 : 0], &id)) {
        api_fail(r, CONFAB_NOT_FOUND, NULL, NULL);
        return NULL;
    }
    struct command *cmd = api_command(r, type, conv);
    if (cmd) {
        cmd->in.target_id = id;
    }
    return cmd;
}

static void conversation_message_get(struct api_request *r)
{
    struct command *cmd = message_command(r, COMMAND_LOOKUP, true);
    if (cmd) {
        api_run(r, cmd, on_message);
    }
}

/* ---- Receipts ---- */

static void put_view(struct json_writer *w, const struct member_view *v)
{
    static const char *const names[] = {"delivered_at", "read_at"};
    const uint64_t times[] = {v->delivered_ms, v->read_ms};
    json_w_object(w);
    json_w_kid(w, "user_id", v->user);
    json_w_kcstr(w, "status", v->read_ms ? "read" : v->delivered_ms ? "delivered" : "sent");
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        json_w_key(w, names[i]);
        if (times[i]) {
            json_w_time(w, times[i]);
        } else {
            json_w_null(w);
        }
    }
    json_w_object_end(w);
}

static void on_receipts(struct shard *s, struct api_call *call, struct command *cmd)
{
    struct buf body = {0};
    struct json_writer w;
    struct member_view v = {0};
    if (api_command_failed(s, call, cmd)) {
        return;
    }
    struct reader rd = reader_of(cmd->ret.data, cmd->ret.len);
    json_w_init(&w, &body);
    json_w_object(&w);
    json_w_kid(&w, "message_id", cmd->ret_id);
    json_w_kconv_id(&w, "conversation_id", cmd->ret_conv);
    json_w_ku64(&w, "seq", cmd->ret_seq);
    json_w_ku64(&w, "recipients", cmd->ret_count);
    json_w_ku64(&w, "delivered", cmd->ret_ndelivered);
    json_w_ku64(&w, "read", cmd->ret_nread);
    json_w_key(&w, "receipts");
    json_w_array(&w);
    while (command_view_next(&rd, &v)) {
        put_view(&w, &v);
    }
    json_w_array_end(&w);
    api_put_page_id(&w, cmd->more ? v.user : 0);
    json_w_object_end(&w);
    command_free(cmd);
    api_call_answer(s, call, 200, &body);
}

static void receipts(struct api_request *r, bool in_conv)
{
    struct command *cmd = message_command(r, COMMAND_RECEIPTS, in_conv);
    if (cmd && !api_page_by_id(r, RECEIPTS_MAX, RECEIPTS_MAX, cmd)) {
        command_free(cmd);
        return;
    }
    if (cmd) {
        api_run(r, cmd, on_receipts);
    }
}

static void receipts_get(struct api_request *r)
{
    receipts(r, false);
}

static void conversation_receipts_get(struct api_request *r)
{
    receipts(r, true);
}

const struct api_route api_history[] = {
    {HTTP_GET, "/api/v1/conversations/{}/messages", history_get, 0},
    {HTTP_GET, "/api/v1/conversations/{}/messages/{}", conversation_message_get, 0},
    {HTTP_GET, "/api/v1/conversations/{}/messages/{}/receipts", conversation_receipts_get, 0},
    {HTTP_GET, "/api/v1/messages/{}", messages_get, 0},
    {HTTP_GET, "/api/v1/messages/{}/receipts", receipts_get, 0},
    {0},
};
