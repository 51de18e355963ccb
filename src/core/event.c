/*
 * Encoding: u8 version, u8 kind, varint seq, varint ord, u64 id, u64 actor, then fields in rising
 * tag order, each a varint of (tag * 2 + is_blob) followed by a varint or by a length and bytes.
 * The field table below is the single description of it.
 */
#include "core/event.h"

#include <stddef.h>

enum field_tag {
    TAG_FLAGS = 1,
    TAG_TYPE = 2,
    TAG_VALUE = 3,
    TAG_USER = 4,
    TAG_TARGET_SEQ = 5,
    TAG_TARGET_ID = 6,
    TAG_PREV_EDIT_SEQ = 7,
    TAG_EDIT_SEQ = 8,
    TAG_EDITED_MS = 9,
    TAG_RANGE_FROM = 10,
    TAG_RANGE_TO = 11,
    TAG_SRC_SEQ = 12,
    TAG_CONTENT_HASH = 13,
    TAG_CMID = 14,
    TAG_TEXT = 15,
    TAG_MEMBERS = 16,
    TAG_MENTIONS = 17,
    TAG_CONV = 18,
    TAG_END
};

struct field {
    uint16_t offset;
    bool blob;
};

#define INT_FIELD(tag, member)  [tag] = {offsetof(struct event, member), false}
#define BLOB_FIELD(tag, member) [tag] = {offsetof(struct event, member), true}

static const struct field fields[TAG_END] = {
    INT_FIELD(TAG_FLAGS, flags),
    INT_FIELD(TAG_TYPE, type),
    INT_FIELD(TAG_VALUE, value),
    INT_FIELD(TAG_USER, user),
    INT_FIELD(TAG_TARGET_SEQ, target_seq),
    INT_FIELD(TAG_TARGET_ID, target_id),
    INT_FIELD(TAG_PREV_EDIT_SEQ, prev_edit_seq),
    INT_FIELD(TAG_EDIT_SEQ, edit_seq),
    INT_FIELD(TAG_EDITED_MS, edited_ms),
    INT_FIELD(TAG_RANGE_FROM, range_from),
    INT_FIELD(TAG_RANGE_TO, range_to),
    INT_FIELD(TAG_SRC_SEQ, src_seq),
    INT_FIELD(TAG_CONTENT_HASH, content_hash),
    BLOB_FIELD(TAG_CMID, cmid),
    BLOB_FIELD(TAG_TEXT, text),
    BLOB_FIELD(TAG_MEMBERS, members),
    BLOB_FIELD(TAG_MENTIONS, mentions),
    BLOB_FIELD(TAG_CONV, conv),
};

/* The most that its fields take. */
static size_t encoded_bound(const struct event *ev)
{
    size_t n = 2 + 2 * VARINT_MAX + 2 * sizeof(uint64_t) + TAG_END * (size_t)(2 * VARINT_MAX) + 16;
    return n + ev->cmid.n + ev->text.n + ev->members.n + ev->mentions.n;
}

static uint8_t *put_le64(uint8_t *p, uint64_t v)
{
    v = htole64(v);
    memcpy(p, &v, sizeof(v));
    return p + sizeof(v);
}

static uint8_t *put_blob(uint8_t *p, unsigned tag, const void *bytes, size_t n)
{
    p = varint_write(p, tag * 2 + 1);
    p = varint_write(p, n);
    memcpy(p, bytes, n);
    return p + n;
}

void event_encode(struct buf *out, const struct event *ev)
{
    if (!buf_reserve(out, encoded_bound(ev))) {
        return;
    }
    uint8_t *p = out->data + out->len;
    *p++ = EVENT_VERSION;
    *p++ = ev->kind;
    p = varint_write(p, ev->seq);
    p = varint_write(p, ev->ord);
    p = put_le64(p, ev->id);
    p = put_le64(p, ev->actor);
    for (unsigned tag = 1; tag < TAG_CONV; tag++) {
        const void *at = (const char *)ev + fields[tag].offset;
        if (fields[tag].blob) {
            const struct span *s = at;
            if (s->n > 0) {
                p = put_blob(p, tag, s->p, s->n);
            }
        } else {
            uint64_t v = *(const uint64_t *)at;
            if (v != 0) {
                p = varint_write(p, tag * 2);
                p = varint_write(p, v);
            }
        }
    }
    if (!conv_id_is_zero(ev->conv)) {
        uint8_t raw[16];
        conv_id_write(ev->conv, raw);
        p = put_blob(p, TAG_CONV, raw, sizeof(raw));
    }
    out->len = (size_t)(p - out->data);
}

static inline enum confab_err read_head(struct reader *r, struct event_head *h)
{
    uint8_t version = reader_u8(r);
    if (!r->bad && version > EVENT_VERSION) {
        return CONFAB_VERSION;
    }
    h->kind = reader_u8(r);
    h->seq = reader_varint(r);
    h->ord = reader_varint(r);
    h->id = reader_u64(r);
    h->actor = reader_u64(r);
    if (r->bad || version == 0 || h->kind == 0 || h->kind >= EVENT_KINDS) {
        return CONFAB_CORRUPT;
    }
    return CONFAB_OK;
}

static enum confab_err decode_head(struct reader *r, struct event *ev)
{
    struct event_head h;
    enum confab_err err = read_head(r, &h);
    if (!err) {
        ev->kind = h.kind;
        ev->seq = h.seq;
        ev->ord = h.ord;
        ev->id = h.id;
        ev->actor = h.actor;
    }
    return err;
}

enum confab_err event_head_decode(struct span bytes, struct event_head *ret)
{
    struct reader r = reader_of(bytes.p, bytes.n);
    struct event_head h;
    enum confab_err err = read_head(&r, &h);
    if (!err) {
        *ret = h;
    }
    return err;
}

enum confab_err event_peek(struct span bytes, struct event *ret)
{
    struct reader r = reader_of(bytes.p, bytes.n);
    struct event ev = {0};
    enum confab_err err = decode_head(&r, &ev);
    if (!err) {
        *ret = ev;
    }
    return err;
}

enum confab_err event_decode(struct span bytes, struct event *ret)
{
    struct reader r = reader_of(bytes.p, bytes.n);
    *ret = (struct event){0}; /* in place: copied, its members would be waited for */
    enum confab_err err = decode_head(&r, ret);
    if (err) {
        return err;
    }
    uint64_t last = 0;
    while (reader_left(&r) > 0) {
        uint64_t key = reader_varint(&r);
        uint64_t tag = key / 2;
        if (r.bad || tag <= last || tag >= TAG_END || fields[tag].blob != (key % 2 == 1)) {
            return CONFAB_CORRUPT;
        }
        last = tag;
        void *at = (char *)ret + fields[tag].offset;
        if (tag == TAG_CONV) {
            struct span s = reader_blob(&r);
            if (s.n != 16) {
                return CONFAB_CORRUPT;
            }
            ret->conv = conv_id_read(s.p);
        } else if (fields[tag].blob) {
            *(struct span *)at = reader_blob(&r);
        } else {
            *(uint64_t *)at = reader_varint(&r);
        }
        if (r.bad) {
            return CONFAB_CORRUPT;
        }
    }
    return CONFAB_OK;
}

void event_members_add(struct buf *list, uint64_t user, uint8_t role)
{
    buf_put_varint(list, user);
    buf_put_u8(list, role);
}

bool event_members_next(struct reader *r, uint64_t *ret_user, uint8_t *ret_role)
{
    if (r->bad || reader_left(r) == 0) {
        return false;
    }
    *ret_user = reader_varint(r);
    *ret_role = reader_u8(r);
    return !r->bad;
}

bool event_mentions_next(struct reader *r, uint64_t *ret_user)
{
    if (r->bad || reader_left(r) == 0) {
        return false;
    }
    *ret_user = reader_varint(r);
    return !r->bad;
}
