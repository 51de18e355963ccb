/*
 * The socket's frames. First byte: 'c' a client's frame, else a server's. What is accepted keeps
 * what the structs promise; an accepted message that was written anew reads the same. Build: see
 * fuzz_ws.c.
 */
#include <stdint.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/utf8.h"
#include "proto/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_send(const struct wire_client_msg *m)
{
    const struct wire_send *s = &m->u.send;
    CHECK((s->to.n > 0) != !conv_id_is_zero(s->conv));
    CHECK(s->content.n > 0 && s->content.n <= WIRE_TEXT_MAX);
    CHECK(utf8_valid(s->content.p, s->content.n) && !memchr(s->content.p, 0, s->content.n));
    CHECK(s->type.n > 0 && s->type.n <= WIRE_TYPE_MAX && s->client_msg_id.n <= WIRE_CMID_MAX);
    CHECK(m->short_form || s->client_msg_id.n > 0);
    CHECK(s->nmentions <= WIRE_MENTIONS_MAX);
    if (m->short_form && s->client_msg_id.n == 0) {
        return;
    }
    struct buf b = {0};
    struct wire_client_msg again;
    struct wire_error err;
    struct scratch scratch;
    wire_put_send(&b, s);
    uint8_t *block = malloc(b.len);
    CHECK(block);
    scratch_init(&scratch, block, b.len);
    /* Written, controls take six bytes: the text may no longer fit a frame. */
    if (b.len <= WIRE_FRAME_MAX && !(s->group && s->to.n > 0)) {
        CHECK(wire_parse_client(span_of(b.data, b.len), &scratch, &again, &err) == CONFAB_OK);
        const struct wire_send *t = &again.u.send;
        CHECK(span_eq(s->to, t->to) && conv_id_eq(s->conv, t->conv) && s->group == t->group);
        CHECK(span_eq(s->content, t->content) && span_eq(s->type, t->type));
        CHECK(span_eq(s->client_msg_id, t->client_msg_id) && s->fresh == t->fresh);
        CHECK(s->reply_to == t->reply_to && s->nmentions == t->nmentions);
        CHECK(s->nmentions == 0 ||
              memcmp(s->mentions, t->mentions, s->nmentions * sizeof(s->mentions[0])) == 0);
    }
    free(block);
    buf_deinit(&b);
}

static void client(struct span frame, struct scratch *scratch)
{
    struct wire_client_msg m;
    struct wire_error err;
    enum confab_err e = wire_parse_client(frame, scratch, &m, &err);
    CHECK(e == err.code);
    if (e) {
        struct buf b = {0};
        struct json j;
        uint8_t *block = malloc(frame.n * 6 + 1024);
        CHECK(block && err.message);
        wire_put_parse_error(&b, &err);
        struct scratch s;
        scratch_init(&s, block, frame.n * 6 + 1024);
        json_init(&j, span_of(b.data, b.len), &s);
        CHECK(json_skip(&j) && json_end(&j));
        free(block);
        buf_deinit(&b);
        return;
    }
    if (m.event == WIRE_C_SEND) {
        check_send(&m);
    } else if (m.event == WIRE_C_ACK) {
        CHECK((m.u.ack.message_id != 0) != (m.u.ack.seq != 0) && m.u.ack.status);
    } else if (m.event == WIRE_C_RESUME) {
        struct json it;
        struct wire_have h;
        uint32_t n = 0;
        wire_list_begin(&it, m.u.resume.have, NULL);
        while (wire_have_next(&it, &h)) {
            n++;
        }
        CHECK(json_ok(&it) && n == m.u.resume.nhave);
    }
}

static void check_lists(const struct wire_server_msg *m)
{
    struct json it;
    uint32_t n = 0;
    if (m->event == WIRE_S_NEW_MESSAGE) {
        uint64_t id;
        wire_list_begin(&it, m->u.message.mentions_json, NULL);
        while (wire_id_next(&it, &id)) {
            n++;
        }
        CHECK(json_ok(&it) && n == m->u.message.nmentions);
    } else if (m->event == WIRE_S_MEMBERSHIP) {
        struct wire_member member;
        wire_list_begin(&it, m->u.membership.members_json, NULL);
        while (wire_member_next(&it, &member)) {
            n++;
        }
        CHECK(json_ok(&it) && n == m->u.membership.nmembers);
    }
}

static void server(struct span frame, struct scratch *scratch, int depth)
{
    struct wire_server_msg m;
    struct wire_error err;
    if (wire_parse_server(frame, scratch, &m, &err)) {
        CHECK(err.message);
        return;
    }
    CHECK(!wire_in_sequence(m.event) || (m.u.at.seq > 0 && !conv_id_is_zero(m.u.at.conv)));
    check_lists(&m);
    if (m.event != WIRE_S_CONVERSATIONS || depth > 0) {
        return;
    }
    struct json it;
    struct wire_conv c;
    wire_list_begin(&it, m.u.page, scratch);
    while (wire_conv_next(&it, &c)) {
        struct json events;
        struct span event;
        CHECK(!conv_id_is_zero(c.conv));
        wire_list_begin(&events, c.events, NULL);
        while (wire_event_next(&events, &event)) {
            server(event, scratch, depth + 1);
        }
        CHECK(json_ok(&events));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    /* A page's entries and their events are decoded again behind what the page took. */
    uint8_t *block = malloc(3 * size);
    CHECK(block);
    struct scratch scratch;
    scratch_init(&scratch, block, data[0] == 'c' ? size - 1 : 3 * size);
    if (data[0] == 'c') {
        client(span_of(data + 1, size - 1), &scratch);
    } else {
        server(span_of(data + 1, size - 1), &scratch, 0);
    }
    free(block);
    return 0;
}
