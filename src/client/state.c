/*
 * The saved state. Version 1, numbers are varints unless said otherwise (LEB128):
 *
 *     "CFBS"                          4 bytes
 *     version                         1 byte
 *     user id                         0: never signed in
 *     since                           length, bytes
 *     server's time of `since`        milliseconds since 1970
 *     number of positions, each:
 *         conversation id             16 bytes
 *         seq, event id, target seq, target id, read seq, seek time
 *         flags                       1 byte: 1 moved since the last caught_up, 2 the user has
 * left, seq is what was handed out before number of messages, each:       in the order of their
 * lanes flags                       1 byte: 1 was sent at least once, 2 target is a conversation
 *         target                      16 bytes, or length and text
 *         client_msg_id               length, text
 *         content                     length, text
 *         reply_to
 *         number of mentions, each    user id
 *     XXH3-64 of all before           8 bytes, little endian
 *
 * A state that does not decode to the last byte is refused as a whole; nothing of it is used.
 */
#include "base/hash64.h"
#include "base/utf8.h"
#include "client/session_internal.h"

#define VERSION    1U
#define HASH_SEED  0x43464253U
#define FLAG_AHEAD 1U
#define FLAG_LEFT  2U
#define FLAG_TRIED 1U
#define FLAG_CONV  2U
#define COUNT_MAX  (1U << 24)

static const uint8_t magic[4] = {'C', 'F', 'B', 'S'};

static void put_conv(struct buf *out, struct conv_id conv)
{
    uint8_t raw[16];
    conv_id_write(conv, raw);
    buf_put(out, raw, sizeof(raw));
}

static void put_tracks(const struct csession *s, struct buf *out)
{
    size_t n = 0;
    struct idmap_iter it = {0};
    while (idmap_next(&s->tracks, &it)) {
        const struct ctrack *t = it.value;
        n += t->known || t->left_seq ? 1 : 0;
    }
    buf_put_varint(out, n);
    it = (struct idmap_iter){0};
    while (idmap_next(&s->tracks, &it)) {
        const struct ctrack *t = it.value;
        if (!t->known && t->left_seq == 0) {
            continue;
        }
        put_conv(out, t->conv);
        buf_put_varint(out, t->known ? t->seq : t->left_seq);
        buf_put_varint(out, t->id);
        buf_put_varint(out, t->target_seq);
        buf_put_varint(out, t->target_id);
        buf_put_varint(out, t->read_seq);
        buf_put_varint(out, t->seek_ms);
        buf_put_u8(out, (uint8_t)((t->ahead ? FLAG_AHEAD : 0) | (t->known ? 0 : FLAG_LEFT)));
    }
}

static void put_outbox(const struct csession *s, struct buf *out)
{
    buf_put_varint(out, s->outbox_len);
    LIST_EACH(&s->lanes, ln)
    {
        const struct clane *l = LIST_ENTRY(ln, struct clane, node);
        LIST_EACH(&l->entries, en)
        {
            const struct centry *e = LIST_ENTRY(en, struct centry, node);
            buf_put_u8(out, (uint8_t)((e->tried ? FLAG_TRIED : 0) | (l->to ? 0 : FLAG_CONV)));
            if (l->to) {
                buf_put_blob(out, l->to, strlen(l->to));
            } else {
                put_conv(out, l->conv);
            }
            buf_put_blob(out, e->cmid, strlen(e->cmid));
            buf_put_blob(out, e->content, e->content_n);
            buf_put_varint(out, e->reply_to);
            buf_put_varint(out, e->nmentions);
            for (uint32_t i = 0; i < e->nmentions; i++) {
                buf_put_varint(out, e->mentions[i]);
            }
        }
    }
}

enum confab_err cstate_put(struct csession *s, struct buf *out)
{
    buf_put(out, magic, sizeof(magic));
    buf_put_u8(out, VERSION);
    buf_put_varint(out, s->state_user_id);
    buf_put_blob(out, s->since.data, s->since.len);
    buf_put_varint(out, s->caught_up_ms);
    put_tracks(s, out);
    put_outbox(s, out);
    if (buf_ok(out)) {
        buf_put_u64(out, hash64(out->data, out->len, HASH_SEED));
    }
    return buf_ok(out) ? CONFAB_OK : CONFAB_NOMEM;
}

static enum confab_err read_track(struct csession *s, struct reader *r)
{
    struct span raw = reader_bytes(r, 16);
    struct conv_id conv = r->bad ? (struct conv_id){0, 0} : conv_id_read(raw.p);
    uint64_t seq = reader_varint(r);
    uint64_t id = reader_varint(r);
    uint64_t target_seq = reader_varint(r);
    uint64_t target_id = reader_varint(r);
    uint64_t read_seq = reader_varint(r);
    uint64_t seek_ms = reader_varint(r);
    uint8_t flags = reader_u8(r);
    if (r->bad || conv_id_is_zero(conv) || ctrack_find(s, conv)) {
        return CONFAB_CORRUPT;
    }
    struct ctrack *t;
    enum confab_err err = ctrack_add(s, conv, &t);
    if (err) {
        /* A lower bound than the one it was written with. */
        return err == CONFAB_LIMIT ? CONFAB_OK : err;
    }
    if ((flags & FLAG_LEFT) != 0) {
        t->left_seq = seq;
        return CONFAB_OK;
    }
    t->known = true;
    t->seq = seq;
    t->seek_ms = seek_ms;
    t->id = id;
    t->target_seq = target_seq;
    t->target_id = target_id;
    t->read_seq = read_seq;
    t->ahead = (flags & FLAG_AHEAD) != 0;
    return CONFAB_OK;
}

/* A zero terminated copy; false when it is empty, too long or holds a zero. */
static bool copy_text(struct span text, char *out, size_t size)
{
    if (text.n == 0 || text.n >= size || memchr(text.p, 0, text.n)) {
        return false;
    }
    memcpy(out, text.p, text.n);
    out[text.n] = '\0';
    return true;
}

static enum confab_err read_entry(struct csession *s, struct reader *r)
{
    char to[WIRE_TO_MAX + 1];
    char cmid[CONFAB_CMID_SIZE];
    uint64_t mentions[WIRE_MENTIONS_MAX];
    struct conv_id conv = {0, 0};
    struct confab_outgoing m = {.mentions = mentions};
    uint8_t flags = reader_u8(r);
    if ((flags & FLAG_CONV) != 0) {
        struct span raw = reader_bytes(r, 16);
        conv = r->bad ? conv : conv_id_read(raw.p);
        if (conv_id_is_zero(conv)) {
            return CONFAB_CORRUPT;
        }
    } else {
        struct span text = reader_blob(r);
        if (r->bad || !copy_text(text, to, sizeof(to))) {
            return CONFAB_CORRUPT;
        }
        m.to = to;
    }
    struct span key = reader_blob(r);
    struct span content = reader_blob(r);
    m.reply_to = reader_varint(r);
    m.nmentions = (size_t)reader_varint_max(r, WIRE_MENTIONS_MAX);
    for (size_t i = 0; i < m.nmentions; i++) {
        mentions[i] = reader_varint(r);
    }
    if (r->bad || !copy_text(key, cmid, sizeof(cmid)) || content.n == 0 ||
        content.n > WIRE_TEXT_MAX || !utf8_valid(content.p, content.n)) {
        return CONFAB_CORRUPT;
    }
    m.content = ctext(content);
    /* Whatever the flag says: the state is older than what its process did in the end, and a
     * message called fresh by mistake may be stored twice. */
    return coutbox_add(s, &m, conv, true, cmid);
}

enum confab_err cstate_load(struct csession *s, struct span data)
{
    if (data.n < sizeof(magic) + 1 + 8 || memcmp(data.p, magic, sizeof(magic)) != 0 ||
        data.p[sizeof(magic)] != VERSION) {
        return CONFAB_CORRUPT;
    }
    struct reader tail = reader_of(data.p + data.n - 8, 8);
    if (reader_u64(&tail) != hash64(data.p, data.n - 8, HASH_SEED)) {
        return CONFAB_CORRUPT;
    }
    struct reader r = reader_of(data.p + sizeof(magic) + 1, data.n - sizeof(magic) - 1 - 8);
    s->state_user_id = reader_varint(&r);
    struct span since = reader_blob(&r);
    s->caught_up_ms = reader_varint(&r);
    if (r.bad || since.n > WIRE_SINCE_MAX) {
        return CONFAB_CORRUPT;
    }
    buf_put(&s->since, since.p, since.n);
    if (!buf_ok(&s->since)) {
        return CONFAB_NOMEM;
    }
    uint64_t n = reader_varint_max(&r, COUNT_MAX);
    enum confab_err err = CONFAB_OK;
    for (uint64_t i = 0; i < n && !err; i++) {
        err = read_track(s, &r);
    }
    n = err ? 0 : reader_varint_max(&r, COUNT_MAX);
    for (uint64_t i = 0; i < n && !err; i++) {
        err = read_entry(s, &r);
    }
    if (!err && (r.bad || reader_left(&r) > 0)) {
        err = CONFAB_CORRUPT;
    }
    return err;
}
