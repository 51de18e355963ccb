/*
 * The inbox: a user's conversations by last activity, and one of them. The user's own log has the
 * list, the owners say when each had its last message (small rows, nothing is loaded for it), and
 * only what is on the page is looked at in full.
 *
 *     list ─→ heads, from every shard ─→ the page's order ─→ snapshots, from every shard ─→ answer
 *
 * Activity is the last message, or the joining when that is later. A cursor is the place of the
 * last conversation on the page: conversations that move while one pages come again on top.
 */
#include <stdlib.h>

#include "gateway/api.h"
#include "gateway/api_directory.h"
#include "gateway/api_util.h"
#include "gateway/internal.h"

#define PAGE_DEFAULT 50U
#define PAGE_MAX     200U
#define CURSOR_TEXT  (ID_NUM_TEXT + 1 + ID_CONV_TEXT)

/* Where a conversation stands in the list, newest first. */
struct place {
    uint64_t activity; /* as a message id */
    struct list_entry entry;
};

struct inbox {
    struct place after; /* the cursor's; activity 0: none */
    uint32_t limit;
    uint32_t nplaces;
    uint32_t ncap;
    struct place places[];
};

static int place_cmp(const void *a, const void *b)
{
    const struct place *x = a;
    const struct place *y = b;
    if (x->activity != y->activity) {
        return x->activity > y->activity ? -1 : 1;
    }
    return conv_id_cmp(x->entry.conv, y->entry.conv);
}

static uint16_t shard_of(const struct shard *s, struct conv_id conv)
{
    return engine_shard_of(conv_id_partition(conv), s->cfg.shards);
}

/* ---- Cursor ---- */

static bool cursor_parse(struct span text, struct place *ret)
{
    size_t at = 0;
    while (at < text.n && text.p[at] != '.') {
        at++;
    }
    return at < text.n && id_parse(span_of(text.p, at), &ret->activity) &&
           conv_id_parse(span_of(text.p + at + 1, text.n - at - 1), &ret->entry.conv);
}

static struct span cursor_text(const struct place *p, char out[CURSOR_TEXT])
{
    size_t n = id_text(p->activity, out);
    out[n++] = '.';
    conv_id_text(p->entry.conv, out + n);
    return span_of(out, n + ID_CONV_TEXT);
}

/* ---- The page ---- */

static const struct snapshot *find_snapshot(const struct api_call *call, struct conv_id conv)
{
    LIST_EACH(&call->answers, n)
    {
        const struct command *cmd = LIST_ENTRY(n, struct command, link);
        for (uint32_t i = 0; i < cmd->nsnaps; i++) {
            if (conv_id_eq(cmd->snaps[i].conv, conv)) {
                return &cmd->snaps[i];
            }
        }
    }
    return NULL;
}

/* Names come in the order in which inbox_answer has asked for them. */
static const struct dir_name *next_name(const struct snapshot *snap, const struct dir_request *req,
                                        uint32_t *io_at)
{
    if (snap->peer == 0 || *io_at >= req->ret_nnames) {
        return NULL;
    }
    return &req->ret_names[(*io_at)++];
}

static void on_names(struct shard *s, struct api_call *call, struct dir_request *req)
{
    const struct inbox *in = call->data;
    uint32_t n = MIN(in->nplaces, in->limit);
    uint32_t at = 0;
    const struct render_own own = {
        .reader = call->user, .now_ms = s->wall_ms, .drafts = &call->kept->ret};
    char cursor[CURSOR_TEXT];
    struct buf body = {0};
    struct json_writer w;
    if (api_dir_failed(s, call, req)) {
        return;
    }
    json_w_init(&w, &body);
    json_w_object(&w);
    json_w_key(&w, "conversations");
    json_w_array(&w);
    for (uint32_t i = 0; i < n; i++) {
        const struct snapshot *snap = find_snapshot(call, in->places[i].entry.conv);
        if (snap) {
            render_conversation(&w, snap, next_name(snap, req, &at), &own);
        }
    }
    json_w_array_end(&w);
    api_put_page(&w, in->nplaces > in->limit ? cursor_text(&in->places[n - 1], cursor)
                                             : span_of(NULL, 0));
    json_w_object_end(&w);
    api_call_answer(s, call, 200, &body);
}

static void inbox_answer(struct shard *s, struct api_call *call)
{
    const struct inbox *in = call->data;
    uint32_t n = MIN(in->nplaces, in->limit);
    struct api_names *names = api_names_new(s, call, PAGE_MAX, on_names);
    for (uint32_t i = 0; i < n && names; i++) {
        const struct snapshot *snap = find_snapshot(call, in->places[i].entry.conv);
        if (snap && snap->peer != 0) {
            api_names_add(names, snap->peer);
        }
    }
    if (names) {
        api_names_submit(s, names);
    }
}

static void on_snapshots(struct shard *s, struct api_call *call, struct command *cmd)
{
    if (cmd->err && !call->err) {
        call->err = cmd->err;
    }
    list_push_back(&call->answers, &cmd->link);
    if (call->pending > 0) {
        return;
    }
    if (call->err) {
        api_call_fail(s, call, call->err, NULL, NULL);
    } else {
        inbox_answer(s, call);
    }
}

/* A command for what lies on one shard: `of` places, n of them. */
static struct command *command_for(const struct shard *s, enum command_type type,
                                   const struct place *of, uint32_t n, uint16_t shard)
{
    struct command *cmd = command_new(type);
    struct resume_item *items = cmd ? calloc(MAX(n, 1U), sizeof(*items)) : NULL;
    if (!items) {
        command_free(cmd);
        return NULL;
    }
    cmd->items = items;
    for (uint32_t i = 0; i < n; i++) {
        if (shard_of(s, of[i].entry.conv) == shard) {
            items[cmd->nitems++] =
                (struct resume_item){.conv = of[i].entry.conv, .entry = of[i].entry};
        }
    }
    return cmd;
}

/* To every shard that has some of them. */
static void ask_shards(struct shard *s, struct api_call *call, enum command_type type, uint32_t n)
{
    const struct inbox *in = call->data;
    for (uint16_t i = 0; i < s->cfg.shards && !call->err; i++) {
        bool any = false;
        for (uint32_t k = 0; k < n && !any; k++) {
            any = shard_of(s, in->places[k].entry.conv) == i;
        }
        if (any) {
            api_call_send_to(s, call, i, command_for(s, type, in->places, n, i));
        }
    }
}

/* ---- Order ---- */

/* Sorts the places by what the heads say, leaves out what the cursor is past, and cuts the page. */
static void inbox_order(struct api_call *call)
{
    struct inbox *in = call->data;
    uint32_t n = 0;
    LIST_EACH(&call->answers, it)
    {
        const struct command *cmd = LIST_ENTRY(it, struct command, link);
        for (uint32_t i = 0; i < cmd->nitems; i++) {
            const struct resume_item *item = &cmd->items[i];
            uint64_t since = MAX(item->entry.since_ms, ID_EPOCH_MS);
            struct place p = {.activity = item->last_id, .entry = item->entry};
            if (item->entry.since_ms != 0) {
                p.activity = MAX(p.activity, message_id_make(since, 0, 0));
            }
            bool past = in->after.activity != 0 && place_cmp(&p, &in->after) <= 0;
            if (p.activity != 0 && !past && n < in->ncap) {
                in->places[n++] = p;
            }
        }
    }
    qsort(in->places, n, sizeof(in->places[0]), place_cmp);
    in->nplaces = n;
}

static void on_heads(struct shard *s, struct api_call *call, struct command *cmd)
{
    const struct inbox *in = call->data;
    if (cmd->err && !call->err) {
        call->err = cmd->err;
    }
    list_push_back(&call->answers, &cmd->link);
    if (call->pending > 0) {
        return;
    }
    if (!call->err) {
        inbox_order(call);
        struct list *n;
        while ((n = list_pop_front(&call->answers)) != NULL) {
            command_free(LIST_ENTRY(n, struct command, link));
        }
        call->on_command = on_snapshots;
        ask_shards(s, call, COMMAND_RESUME, MIN(in->nplaces, in->limit));
    }
    if (call->pending > 0) {
        return;
    }
    if (call->err) {
        api_call_fail(s, call, call->err, NULL, NULL);
    } else {
        inbox_answer(s, call);
    }
}

static void on_list(struct shard *s, struct api_call *call, struct command *cmd)
{
    struct inbox *in = call->data;
    if (api_command_failed(s, call, cmd)) {
        return;
    }
    struct inbox *grown = realloc(in, sizeof(*in) + (cmd->nentries + 1U) * sizeof(struct place));
    if (!grown) {
        command_free(cmd);
        api_call_fail(s, call, CONFAB_NOMEM, NULL, NULL);
        return;
    }
    call->data = in = grown;
    in->ncap = cmd->nentries + 1U;
    in->places[0] = (struct place){
        .entry = {.conv = conv_id_self(call->user), .conv_kind = CONV_SELF, .joined = true}};
    in->nplaces = 1;
    for (uint32_t i = 0; i < cmd->nentries; i++) {
        if (cmd->entries[i].joined) {
            in->places[in->nplaces++] = (struct place){.entry = cmd->entries[i]};
        }
    }
    call->kept = cmd; /* for its drafts */
    call->on_command = on_heads;
    ask_shards(s, call, COMMAND_HEADS, in->nplaces);
    if (call->pending == 0) {
        api_call_fail(s, call, call->err, NULL, NULL);
    }
}

static void inbox_get(struct api_request *r)
{
    struct inbox *in = calloc(1, sizeof(*in));
    struct span cursor;
    if (!in) {
        api_fail(r, CONFAB_NOMEM, NULL, NULL);
        return;
    }
    if (!api_page_read(r, PAGE_DEFAULT, PAGE_MAX, &in->limit, &cursor)) {
        free(in);
        return;
    }
    if (cursor.n > 0 && !cursor_parse(cursor, &in->after)) {
        api_fail(r, CONFAB_INVALID, "a next_cursor is expected", "cursor");
        free(in);
        return;
    }
    struct command *cmd = api_command(r, COMMAND_LIST, conv_id_self(r->user));
    struct api_call *call = cmd ? api_call_new(r) : NULL;
    if (!call) {
        command_free(cmd);
        free(in);
        return;
    }
    call->data = in;
    call->cmd = cmd;
    call->on_command = on_list;
    api_call_send(r->s, call);
}

/* ---- One conversation ---- */

static void on_name(struct shard *s, struct api_call *call, struct dir_request *req)
{
    struct buf body = {0};
    struct json_writer w;
    uint32_t at = 0;
    if (api_dir_failed(s, call, req)) {
        return;
    }
    const struct snapshot *snap = &call->kept->snaps[0];
    const struct render_own own = {
        .reader = call->user, .now_ms = s->wall_ms, .drafts = &call->kept->ret};
    json_w_init(&w, &body);
    render_conversation(&w, snap, next_name(snap, req, &at), &own);
    api_call_answer(s, call, 200, &body);
}

static void on_snapshot(struct shard *s, struct api_call *call, struct command *cmd)
{
    if (api_command_failed(s, call, cmd)) {
        return;
    }
    if (cmd->nsnaps == 0) {
        command_free(cmd);
        api_call_fail(s, call, CONFAB_NOT_FOUND, NULL, NULL);
        return;
    }
    call->kept = cmd;
    struct api_names *names = api_names_new(s, call, 1, on_name);
    if (names && cmd->snaps[0].peer != 0) {
        api_names_add(names, cmd->snaps[0].peer);
    }
    if (names) {
        api_names_submit(s, names);
    }
}

/* The user's own log does not have it when they just joined; the conversation itself decides. */
static void on_entry(struct shard *s, struct api_call *call, struct command *cmd)
{
    struct place p = {.entry = {.conv = cmd->in.conv, .joined = true}};
    if (cmd->err != CONFAB_NOT_FOUND && api_command_failed(s, call, cmd)) {
        return;
    }
    if (cmd->nentries > 0) {
        p.entry = cmd->entries[0];
    }
    uint16_t shard = shard_of(s, p.entry.conv);
    struct command *next = command_for(s, COMMAND_RESUME, &p, 1, shard);
    if (next) {
        next->ret = cmd->ret; /* the draft comes along */
        buf_init(&cmd->ret);
    }
    command_free(cmd);
    call->on_command = on_snapshot;
    api_call_send_to(s, call, shard, next);
    if (call->err) {
        api_call_fail(s, call, call->err, NULL, NULL);
    }
}

static void on_chat_found(struct shard *s, struct api_call *call, const struct user_lookup *l)
{
    if (l->err) {
        api_call_fail(s, call, l->err, NULL, NULL);
        return;
    }
    call->cmd->in.conv = api_chat_of(call->user, l->ids[0]);
    api_call_send(s, call);
}

static void conversation_get(struct api_request *r)
{
    struct conv_id conv;
    struct command *cmd = api_command(r, COMMAND_LIST, conv_id_self(r->user));
    if (!cmd) {
        return;
    }
    if (conv_id_parse(r->args[0], &conv)) {
        cmd->in.conv = conv;
        api_run(r, cmd, on_entry);
    } else {
        api_run_with_user(r, cmd, r->args[0], on_chat_found, on_entry);
    }
}

const struct api_route api_inbox[] = {
    {HTTP_GET, "/api/v1/conversations", inbox_get, 0},
    {HTTP_GET, "/api/v1/conversations/{}", conversation_get, 0},
    {HTTP_GET, "/api/v1/groups/{}", conversation_get, 0},
    {0},
};
