/* Commands of REST calls, and reading what many of them have in common. */
#include "gateway/api_util.h"

#include <sodium.h>

#include "base/hash64.h"
#include "gateway/http.h"
#include "gateway/internal.h"

struct command *api_command(struct api_request *r, enum command_type type, struct conv_id conv)
{
    struct command *cmd = command_new(type);
    if (!cmd) {
        api_fail(r, CONFAB_NOMEM, NULL, NULL);
        return NULL;
    }
    cmd->actor = r->user;
    cmd->conv = conv;
    cmd->begun_ns = r->s->now_ns;
    return cmd;
}

struct command *api_event_command(struct api_request *r, uint8_t kind)
{
    struct command *cmd = api_command(r, COMMAND_EVENT, (struct conv_id){0});
    if (cmd) {
        cmd->in.kind = kind;
    }
    return cmd;
}

static struct api_call *call_with(struct api_request *r, struct command *cmd,
                                  api_on_command on_command)
{
    struct api_call *call = cmd ? api_call_new(r) : NULL;
    if (!call) {
        command_free(cmd);
        return NULL;
    }
    call->cmd = cmd;
    call->on_command = on_command;
    return call;
}

void api_run(struct api_request *r, struct command *cmd, api_on_command on_command)
{
    struct api_call *call = call_with(r, cmd, on_command);
    if (call) {
        api_call_send(r->s, call);
    }
}

void api_run_with_user(struct api_request *r, struct command *cmd, struct span user,
                       api_on_found on_found, api_on_command on_command)
{
    struct user_lookup *l = user_lookup_new(1);
    char me[ID_NUM_TEXT];
    enum confab_err err = CONFAB_NOMEM;
    if (l && span_is(user, "me")) {
        user = span_of(me, id_text(r->user, me));
    }
    if (l) {
        err = user_lookup_add(l, user);
    }
    if (err) {
        user_lookup_free(l);
        command_free(cmd);
        api_fail(r, err, NULL, NULL);
        return;
    }
    struct api_call *call = call_with(r, cmd, on_command);
    if (!call) {
        user_lookup_free(l);
        return;
    }
    call->on_lookup = on_found;
    api_call_lookup(r->s, call, l);
}

bool api_command_failed(struct shard *s, struct api_call *call, struct command *cmd)
{
    enum confab_err err = cmd->err;
    const char *field = cmd->err_field;
    if (!err) {
        return false;
    }
    if (err == CONFAB_DUPLICATE_KEY && cmd->in.kind != EVENT_MESSAGE) {
        field = "Idempotency-Key";
    }
    command_free(cmd);
    api_call_fail(s, call, err, NULL, field);
    return true;
}

void api_on_event(struct shard *s, struct api_call *call, struct command *cmd)
{
    struct buf body = {0};
    struct json_writer w;
    if (api_command_failed(s, call, cmd)) {
        return;
    }
    json_w_init(&w, &body);
    json_w_object(&w);
    json_w_kconv_id(&w, "conversation_id", cmd->ret_conv);
    json_w_ku64(&w, "seq", cmd->ret_seq);
    json_w_object_end(&w);
    command_free(cmd);
    api_call_answer(s, call, 200, &body);
}

/* ---- Pages ---- */

bool api_number_arg(struct api_request *r, const char *name, uint64_t *io, bool *io_bad)
{
    struct span text;
    enum confab_err err = http_query_get(r->http->query, name, &r->s->scratch, &text);
    if (err == CONFAB_NOT_FOUND) {
        return false;
    }
    if (!err && span_is(text, "0")) {
        *io = 0;
    } else if (err || !id_parse(text, io)) {
        *io_bad = true;
    }
    return true;
}

bool api_page_read(struct api_request *r, uint32_t def, uint32_t max, uint32_t *ret_limit,
                   struct span *ret_cursor)
{
    uint64_t limit = def;
    bool bad = false;
    struct span cursor = {0};
    api_number_arg(r, "limit", &limit, &bad);
    if (bad || limit == 0) {
        api_fail(r, CONFAB_INVALID, "a number from 1 is expected", "limit");
        return false;
    }
    enum confab_err err = http_query_get(r->http->query, "cursor", &r->s->scratch, &cursor);
    if (err && err != CONFAB_NOT_FOUND) {
        api_fail(r, CONFAB_INVALID, "one next_cursor is expected", "cursor");
        return false;
    }
    *ret_limit = (uint32_t)MIN(limit, max);
    *ret_cursor = cursor;
    return true;
}

bool api_page_by_id(struct api_request *r, uint32_t def, uint32_t max, struct command *cmd)
{
    struct span cursor;
    uint64_t after = 0;
    uint32_t limit;
    if (!api_page_read(r, def, max, &limit, &cursor)) {
        return false;
    }
    if (cursor.n > 0 && !id_parse(cursor, &after)) {
        api_fail(r, CONFAB_INVALID, "a next_cursor is expected", "cursor");
        return false;
    }
    cmd->limit = limit;
    cmd->at_id = after;
    return true;
}

void api_put_page(struct json_writer *w, struct span next)
{
    json_w_key(w, "next_cursor");
    if (next.n > 0) {
        json_w_string(w, next);
    } else {
        json_w_null(w);
    }
    json_w_kbool(w, "has_more", next.n > 0);
    json_w_kbool(w, "hasMore", next.n > 0);
}

void api_put_page_id(struct json_writer *w, uint64_t next)
{
    char text[ID_NUM_TEXT];
    api_put_page(w, next != 0 ? span_of(text, id_text(next, text)) : span_of(NULL, 0));
}

/* ---- Others ---- */

bool api_text_check(struct api_request *r, struct span text)
{
    enum confab_err err = CONFAB_INVALID;
    const char *why = NULL;
    if (text.n == 0) {
        why = "a text is expected";
    } else if (text.n > r->s->cfg.text_bytes_max) {
        err = CONFAB_TOO_LARGE;
        why = "the text is longer than this server takes";
    } else if (memchr(text.p, 0, text.n)) {
        why = "a text has no zero character";
    }
    if (why) {
        api_fail(r, err, why, "content");
    }
    return why == NULL;
}

struct conv_id api_chat_of(uint64_t user, uint64_t other)
{
    return user == other ? conv_id_self(user) : conv_id_direct(user, other);
}

bool api_key_read(struct api_request *r, struct span *ret)
{
    static const char name[] = "idempotency-key";
    struct span key = http_header_get(&r->http->headers, name);
    uint32_t count = http_header_count(&r->http->headers, name);
    bool good = count == 1 && key.n > 0 && key.n <= EVENT_CMID_MAX;
    if (count == 0) {
        return true;
    }
    for (size_t i = 0; i < key.n; i++) {
        good = good && key.p[i] >= 0x20 && key.p[i] <= 0x7e;
    }
    if (!good) {
        api_fail(r, CONFAB_INVALID, "1 to 64 printable ASCII characters", "Idempotency-Key");
        return false;
    }
    *ret = key;
    return true;
}

/*
 * The conversation id must not be one that somebody can aim at (that of two people who have not
 * talked yet, for example), so it takes a hash that cannot be steered.
 */
bool api_use_key(struct api_request *r, struct command *cmd, struct conv_id *ret_conv)
{
    struct span key = {0};
    uint8_t hash[32];
    char text[2 + 2 * 16 + 1] = "k-";
    if (!api_key_read(r, &key)) {
        return false;
    }
    if (key.n == 0) {
        return true;
    }
    crypto_generichash_state st;
    crypto_generichash_init(&st, NULL, 0, sizeof(hash));
    crypto_generichash_update(&st, (const uint8_t *)&r->user, sizeof(r->user));
    crypto_generichash_update(&st, key.p, key.n);
    crypto_generichash_final(&st, hash, sizeof(hash));
    if (ret_conv) {
        *ret_conv = conv_id_read(hash);
    }
    sodium_bin2hex(text + 2, sizeof(text) - 2, hash + 16, 16);
    cmd->in.content_hash = hash64(r->body.p, r->body.n, cmd->in.kind);
    if (command_set_span(cmd, &cmd->in.cmid, span_str(text))) {
        api_fail(r, CONFAB_NOMEM, NULL, NULL);
        return false;
    }
    return true;
}
