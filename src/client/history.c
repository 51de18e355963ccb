/* Reads message objects (docs/api/rest.md) and the pages around them. */
#include "client/history.h"

#include <stdlib.h>

#include "base/id.h"
#include "client/session_internal.h"
#include "proto/json.h"
#include "proto/wire.h"

struct parsed {
    struct confab_message m;
    uint64_t mentions[WIRE_MENTIONS_MAX];
};

static void opt_id(struct json *j, uint64_t *ret)
{
    if (!json_try_null(j)) {
        json_id(j, ret);
    }
}

static void opt_text(struct json *j, struct confab_text *ret)
{
    struct span text;
    if (!json_try_null(j) && json_string(j, &text)) {
        *ret = ctext(text);
    }
}

static void opt_time(struct json *j, uint64_t *ret)
{
    if (!json_try_null(j)) {
        json_time(j, ret);
    }
}

static void read_mentions(struct json *j, struct parsed *p)
{
    if (json_try_null(j)) {
        return;
    }
    json_array_begin(j);
    while (json_array_next(j)) {
        uint64_t id = 0;
        if (json_id(j, &id) && p->m.nmentions < WIRE_MENTIONS_MAX) {
            p->mentions[p->m.nmentions++] = id;
        }
    }
    p->m.mentions = p->mentions;
}

static bool read_message(struct json *j, struct parsed *p)
{
    struct span key;
    struct conv_id conv = {0, 0};
    memset(&p->m, 0, sizeof(p->m));
    json_object_begin(j);
    while (json_object_next(j, &key)) {
        if (span_is(key, "message_id")) {
            json_id(j, &p->m.message_id);
        } else if (span_is(key, "conversation_id")) {
            json_conv_id(j, &conv);
        } else if (span_is(key, "seq")) {
            json_u64(j, &p->m.seq);
        } else if (span_is(key, "sender_id")) {
            json_id(j, &p->m.from);
        } else if (span_is(key, "content")) {
            opt_text(j, &p->m.content);
        } else if (span_is(key, "type")) {
            opt_text(j, &p->m.type);
        } else if (span_is(key, "client_msg_id")) {
            opt_text(j, &p->m.client_msg_id);
        } else if (span_is(key, "sent_at")) {
            json_time(j, &p->m.sent_at_ms);
        } else if (span_is(key, "edited_at")) {
            opt_time(j, &p->m.edited_at_ms);
        } else if (span_is(key, "reply_to")) {
            opt_id(j, &p->m.reply_to);
        } else if (span_is(key, "mentions")) {
            read_mentions(j, p);
        } else if (span_is(key, "deleted") && json_peek(j) == JSON_BOOL) {
            json_bool(j, &p->m.deleted);
        } else {
            json_skip(j);
        }
    }
    if (json_ok(j) && (p->m.message_id == 0 || p->m.seq == 0)) {
        json_fail(j, "a message without its ids");
    }
    cdeliver_conv(conv, p->m.conv);
    return json_ok(j);
}

enum confab_err chistory_parse(struct span body, struct chistory_page *ret)
{
    struct chistory_page page = {.covered_from = 1};
    bool covered = false;
    if (body.n > 0 && memchr(body.p, '\\', body.n)) {
        uint8_t *block = malloc(body.n);
        if (!block) {
            return CONFAB_NOMEM;
        }
        scratch_init(&page.scratch, block, body.n);
    }
    struct json j;
    struct span key;
    json_init(&j, body, &page.scratch);
    json_object_begin(&j);
    while (json_object_next(&j, &key)) {
        if (span_is(key, "messages")) {
            json_raw(&j, &page.messages);
        } else if (span_is(key, "has_more")) {
            json_bool(&j, &page.has_more);
        } else if (span_is(key, "covered") && json_peek(&j) == JSON_ARRAY) {
            json_array_begin(&j);
            covered = json_array_next(&j) && json_u64(&j, &page.covered_from) &&
                      json_array_next(&j) && json_u64(&j, &page.covered_to) && !json_array_next(&j);
        } else {
            json_skip(&j);
        }
    }
    bool ok = json_end(&j) && page.messages.p;
    if (ok) {
        struct parsed p;
        scratch_reset(&page.scratch);
        wire_list_begin(&j, page.messages, &page.scratch);
        while (json_array_next(&j) && read_message(&j, &p)) {
            page.count++;
            page.first_seq = page.count == 1 ? p.m.seq : page.first_seq;
            ok = ok && p.m.seq > page.last_seq;
            page.last_seq = p.m.seq;
        }
        ok = ok && json_ok(&j);
    }
    if (!ok) {
        enum confab_err err = j.err == CONFAB_NOMEM ? CONFAB_NOMEM : CONFAB_INVALID;
        free(page.scratch.p);
        return err;
    }
    if (!covered) {
        page.covered_from = page.count > 0 ? page.first_seq : 1;
        page.covered_to = page.last_seq;
    }
    *ret = page;
    return CONFAB_OK;
}

void chistory_each(struct chistory_page *page,
                   void (*on_message)(void *arg, const struct confab_message *m), void *arg)
{
    struct json j;
    struct parsed p;
    wire_list_begin(&j, page->messages, &page->scratch);
    while (json_array_next(&j)) {
        scratch_reset(&page->scratch);
        if (!read_message(&j, &p)) {
            return;
        }
        on_message(arg, &p.m);
    }
}

void chistory_deinit(struct chistory_page *page)
{
    free(page->scratch.p);
    page->scratch.p = NULL;
}
