/*
 * Stored bytes that are not what was written: rows, chunks, states, the checkpoint's file, records
 * of the log. Each is told, with what it is, and never read as something else; what does not depend
 * on it goes on.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "adapters/mem/disk_sim.h"
#include "base/crc32c.h"
#include "base/random.h"
#include "core/checkpoint.h"
#include "core/chunk.h"
#include "core/conv.h"
#include "core/rows.h"
#include "world.h"

/* ---- rows -------------------------------------------------------------------------------- */

enum row { ROW_PARTITION, ROW_HEAD, ROW_DEDUP, ROW_FEED, ROW_HEADER, ROWS };

static void row_sample(enum row row, struct buf *out)
{
    static const struct feed_entry feed[2] = {{1000, {1, 1}, 500}, {99999, {2, 2}, 7}};
    switch (row) {
    case ROW_PARTITION:
        row_partition_encode(out, &(struct row_partition){1000, 500, 99999});
        break;
    case ROW_HEAD:
        row_head_encode(out, &(struct row_head){1000, 500, 99999});
        break;
    case ROW_DEDUP:
        row_dedup_add(out, 3, 77);
        row_dedup_add(out, 4, 88);
        break;
    case ROW_FEED:
        row_feed_encode(out, feed, 2);
        break;
    default:
        row_header_encode(out, &(struct row_header){700, 2, {{1, 64}, {65, 128}}});
        break;
    }
}

static enum confab_err row_read(enum row row, struct span bytes)
{
    struct row_partition partition;
    struct row_head head;
    struct feed_entry entry;
    struct row_header header;
    struct span rest;
    uint64_t offset;
    switch (row) {
    case ROW_PARTITION:
        return row_partition_decode(bytes, &partition);
    case ROW_HEAD:
        return row_head_decode(bytes, &head);
    case ROW_DEDUP:
        return row_dedup_find(bytes, 88, &offset);
    case ROW_FEED:
        return row_feed_find(bytes, 99999, &entry);
    default:
        return row_header_decode(bytes, &header, &rest);
    }
}

static void test_damage__rows(void **state)
{
    (void)state;
    for (enum row row = 0; row < ROWS; row++) {
        struct buf b = {0};
        row_sample(row, &b);
        assert_int_equal(row_read(row, span_of(b.data, b.len)), CONFAB_OK);
        for (size_t n = 0; n < b.len; n++) {
            enum confab_err err = row_read(row, span_of(b.data, n));
            /* A list that ends between two entries is a shorter list; a head of before had no
             * last message. */
            bool shorter = (row == ROW_DEDUP || row == ROW_FEED) && err == CONFAB_NOT_FOUND;
            bool older = row == ROW_HEAD && err == CONFAB_OK;
            assert_true(err == CONFAB_CORRUPT || (n > 0 && (shorter || older)));
        }
        b.data[0] = 0;
        assert_int_equal(row_read(row, span_of(b.data, b.len)), CONFAB_CORRUPT);
        b.data[0] = 2;
        assert_int_equal(row_read(row, span_of(b.data, b.len)), CONFAB_VERSION);
        buf_deinit(&b);
    }
    struct buf b = {0};
    row_sample(ROW_HEADER, &b);
    b.data[3] = HEADER_CHUNKS_MAX + 1;
    assert_int_equal(row_read(ROW_HEADER, span_of(b.data, b.len)), CONFAB_CORRUPT);
    buf_deinit(&b);
}

/* ---- chunks ------------------------------------------------------------------------------ */

enum { CHUNK_COUNT_AT = 4, CHUNK_RAW_AT = 6, CHUNK_CRC_AT = 10, CHUNK_HEADER = 14 };

/* With a checksum that is right, as from a program that has written it so. */
static enum confab_err chunk_read(struct buf *value)
{
    struct buf out = {0};
    struct buf crc = {0};
    uint32_t count = 0;
    buf_put_u32(&crc, crc32c(crc32c(0, value->data, CHUNK_CRC_AT), value->data + CHUNK_HEADER,
                             value->len - CHUNK_HEADER));
    memcpy(value->data + CHUNK_CRC_AT, crc.data, 4);
    enum confab_err err = chunk_decode(NULL, &out, span_of(value->data, value->len), &count);
    buf_deinit(&crc);
    buf_deinit(&out);
    return err;
}

static void test_damage__chunks(void **state)
{
    (void)state;
    struct chunk_codec *codec = NULL;
    struct random_seeded r;
    random_seeded_init(&r, 1);
    assert_int_equal(chunk_codec_new(&codec), CONFAB_OK);
    for (int what = 0; what < 4; what++) {
        /* Short, compressed, such as cannot be compressed, and compressed in a hurry. */
        uint8_t bytes[3000];
        size_t n = what == 0 ? 20 : sizeof(bytes);
        memset(bytes, 'x', sizeof(bytes));
        if (what == 2) {
            random_fill(&r.base, bytes, sizeof(bytes));
        }
        struct buf value = {0};
        assert_int_equal(chunk_encode(codec, &value, span_of(bytes, n), 5, what == 3), CONFAB_OK);
        assert_int_equal(value.len < n, what == 1 || what == 3);
        assert_int_equal(chunk_read(&value), CONFAB_OK);
        const struct {
            size_t at;
            uint8_t value;
            enum confab_err err;
        } changes[] = {{0, 2, CONFAB_VERSION},
                       {1, 3, CONFAB_VERSION},
                       {2, 1, CONFAB_VERSION},
                       {CHUNK_COUNT_AT, CHUNK_EVENTS_MAX + 1, CONFAB_CORRUPT},
                       {CHUNK_RAW_AT, (uint8_t)(n + 1), CONFAB_CORRUPT},
                       {CHUNK_RAW_AT, (uint8_t)(n - 1), CONFAB_CORRUPT},
                       {CHUNK_RAW_AT + 3, 0x40, CONFAB_CORRUPT}};
        for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
            uint8_t before = value.data[changes[i].at];
            value.data[changes[i].at] = changes[i].value;
            assert_int_equal(chunk_read(&value), changes[i].err);
            value.data[changes[i].at] = before;
        }
        buf_deinit(&value);
    }
    chunk_codec_free(codec);
    chunk_codec_free(NULL);
}

/* ---- states of conversations ------------------------------------------------------------- */

/* With some of all that one may have. */
static void full_conv(struct conv *c)
{
    conv_init(c, (struct conv_id){7, 7});
    c->kind = CONV_SELF;
    c->head_seq = 900;
    buf_put_str(&c->name, "tea");
    buf_put_str(&c->preview, "a preview");
    for (uint64_t i = 0; i < 3; i++) {
        struct member *m = conv_member_make(c, 10 + i);
        assert_non_null(m);
        m->role = ROLE_MEMBER;
        c->nactive++;
        m->draft = i * 11;
        assert_int_equal(member_show_from(m, 5), CONFAB_OK);
        m->visible_to = 9;
        assert_int_equal(member_show_from(m, 300), CONFAB_OK);
        assert_int_equal(member_hide(m, (struct range){301, 302}), CONFAB_OK);
        assert_int_equal(member_mention(m, 4), CONFAB_OK);
        assert_int_equal(member_mention(m, 4), CONFAB_OK);
        assert_int_equal(member_mention(m, 200), CONFAB_OK);
        assert_int_equal(member_mentions(m), 2);
        struct conv_id other = {8, i};
        struct self_entry *e = conv_entry_make(c, other);
        assert_non_null(e);
        e->joined = true;
        e->muted_until_ms = 1000 * i;
        assert_int_equal(conv_set_blocked(c, 50 + i, true), CONFAB_OK);
        assert_int_equal(conv_set_draft(c, other, i + 1, span_str("begun")), CONFAB_OK);
        struct followup f = {.seq = i + 1, .user = 10, .target = other, .type = FOLLOWUP_HIDE};
        assert_int_equal(conv_followup_add(c, &f), CONFAB_OK);
    }
}

static enum confab_err conv_read(struct span bytes, struct buf *again)
{
    struct conv c;
    bool external = true;
    conv_init(&c, (struct conv_id){7, 7});
    enum confab_err err = conv_decode(&c, bytes, &external);
    if (!err && again && !external) {
        conv_encode(again, &c, true);
    }
    conv_deinit(&c);
    return err;
}

static void test_damage__states(void **state)
{
    (void)state;
    struct conv c;
    struct buf b = {0};
    struct buf again = {0};
    full_conv(&c);
    conv_encode(&b, &c, true);
    assert_int_equal(conv_read(span_of(b.data, b.len), &again), CONFAB_OK);
    assert_int_equal(again.len, b.len);
    assert_memory_equal(again.data, b.data, b.len);
    for (size_t n = 0; n < b.len; n++) {
        assert_int_equal(conv_read(span_of(b.data, n), NULL), CONFAB_CORRUPT);
    }
    buf_put_u8(&b, 0); /* something behind it */
    assert_int_equal(conv_read(span_of(b.data, b.len), NULL), CONFAB_CORRUPT);
    b.len--;
    uint8_t kind = b.data[1];
    b.data[1] = CONV_SELF + 1;
    assert_int_equal(conv_read(span_of(b.data, b.len), NULL), CONFAB_CORRUPT);
    b.data[1] = kind;
    uint8_t format = b.data[0];
    b.data[0] = 99;
    assert_int_equal(conv_read(span_of(b.data, b.len), NULL), CONFAB_VERSION);
    b.data[0] = format;
    /* Whatever changes in it: read or refused, and nothing worse. */
    struct random_seeded r;
    random_seeded_init(&r, 5);
    uint32_t refused = 0;
    for (int i = 0; i < 30000; i++) {
        uint8_t copy[1024];
        assert_true(b.len <= sizeof(copy));
        memcpy(copy, b.data, b.len);
        for (uint64_t k = random_below(&r.base, 3); k < 3; k++) {
            copy[random_below(&r.base, b.len)] = (uint8_t)random_u64(&r.base);
        }
        enum confab_err err = conv_read(span_of(copy, b.len), NULL);
        assert_true(!err || err == CONFAB_CORRUPT || err == CONFAB_VERSION);
        refused += err != CONFAB_OK;
    }
    assert_in_range(refused, 1000, 29999);
    conv_deinit(&c);
    buf_deinit(&b);
    buf_deinit(&again);
}

/* A member's row: cut, continued, of a member that is there already, of a role nobody has. */
static void test_damage__members(void **state)
{
    (void)state;
    struct conv c;
    struct conv to;
    struct buf b = {0};
    full_conv(&c);
    conv_init(&to, c.id);
    conv_encode_member(&b, conv_member(&c, 11));
    for (size_t n = 0; n < b.len; n++) {
        assert_int_equal(conv_decode_member(&to, span_of(b.data, n)), CONFAB_CORRUPT);
    }
    buf_put_u8(&b, 0);
    assert_int_equal(conv_decode_member(&to, span_of(b.data, b.len)), CONFAB_CORRUPT);
    b.len--;
    conv_deinit(&to);
    conv_init(&to, c.id);
    b.data[9] = ROLE_LAST + 1;
    assert_int_equal(conv_decode_member(&to, span_of(b.data, b.len)), CONFAB_CORRUPT);
    b.data[9] = ROLE_MEMBER;
    uint8_t format = b.data[0];
    b.data[0] = 99;
    assert_int_equal(conv_decode_member(&to, span_of(b.data, b.len)), CONFAB_VERSION);
    b.data[0] = format;
    assert_int_equal(to.nmembers, 0);
    assert_int_equal(conv_decode_member(&to, span_of(b.data, b.len)), CONFAB_OK);
    assert_int_equal(conv_decode_member(&to, span_of(b.data, b.len)), CONFAB_CORRUPT);
    assert_int_equal(to.nmembers, 1);
    conv_deinit(&to);
    conv_deinit(&c);
    buf_deinit(&b);
}

/* ---- the checkpoint ---------------------------------------------------------------------- */

static enum confab_err checkpoint_read(const struct buf *file, size_t n, uint64_t *ret_lsn)
{
    struct disk_sim *sim = NULL;
    assert_int_equal(disk_sim_new(&(struct disk_sim_config){0}, &sim), CONFAB_OK);
    struct disk *disk = disk_sim_disk(sim);
    assert_int_equal(disk_replace(disk, "CHECKPOINT.new", "CHECKPOINT", file->data, n), CONFAB_OK);
    enum confab_err err = checkpoint_load(disk, ret_lsn);
    disk_sim_free(sim);
    return err;
}

static void checkpoint_file(struct buf *out, uint32_t magic, uint32_t version, uint64_t lsn)
{
    buf_clear(out);
    buf_put_u32(out, magic);
    buf_put_u32(out, version);
    buf_put_u64(out, lsn);
    buf_put_u32(out, crc32c(0, out->data, out->len));
}

static void test_damage__checkpoint(void **state)
{
    (void)state;
    enum { MAGIC = 0x50434e43 };
    struct buf file = {0};
    uint64_t lsn = 0;
    checkpoint_file(&file, MAGIC, 1, 12345);
    assert_int_equal(checkpoint_read(&file, file.len, &lsn), CONFAB_OK);
    assert_int_equal(lsn, 12345);
    lsn = 1;
    for (size_t n = 0; n < file.len; n++) {
        assert_int_equal(checkpoint_read(&file, n, &lsn), CONFAB_CORRUPT);
    }
    for (size_t at = 0; at < file.len; at++) {
        file.data[at] ^= 0x20;
        assert_int_equal(checkpoint_read(&file, file.len, &lsn), CONFAB_CORRUPT);
        file.data[at] ^= 0x20;
    }
    checkpoint_file(&file, MAGIC + 1, 1, 12345);
    assert_int_equal(checkpoint_read(&file, file.len, &lsn), CONFAB_CORRUPT);
    checkpoint_file(&file, MAGIC, 2, 12345);
    assert_int_equal(checkpoint_read(&file, file.len, &lsn), CONFAB_VERSION);
    assert_int_equal(lsn, 1);
    buf_deinit(&file);
    /* A disk that does not answer is neither damage nor the beginning. */
    struct disk_sim *sim = NULL;
    assert_int_equal(disk_sim_new(&(struct disk_sim_config){0}, &sim), CONFAB_OK);
    disk_sim_fail(sim, DISK_OP_OPEN, 1, 1, CONFAB_IO);
    assert_int_equal(checkpoint_load(disk_sim_disk(sim), &lsn), CONFAB_IO);
    assert_int_equal(checkpoint_load(disk_sim_disk(sim), &lsn), CONFAB_OK);
    assert_int_equal(lsn, 0);
    disk_sim_free(sim);
}

/* ---- a store with damaged rows, under an engine ------------------------------------------- */

static void store_done(struct store_request *req)
{
    *(bool *)req->arg = true;
}

static void store_do(struct world *w, struct store_request *req)
{
    bool done = false;
    req->done = store_done;
    req->arg = &done;
    assert_int_equal(message_store_submit(w->store, req), CONFAB_OK);
    assert_true(done);
    assert_int_equal(req->ret_err, CONFAB_OK);
}

/* The last row of a table and key, or the only one. */
struct found {
    struct buf sort;
    struct buf value;
};

static struct found find_row(struct world *w, enum store_table table, struct span key)
{
    struct found f = {{0}, {0}};
    struct store_key one = {table, key, span_of(NULL, 0)};
    bool sorted = table != STORE_HEADER && table != STORE_HEAD && table != STORE_PARTITION;
    struct store_request req = {.op = sorted ? STORE_RANGE : STORE_GET,
                                .keys = &one,
                                .nkeys = 1,
                                .table = table,
                                .key = key,
                                .limit = 1,
                                .bytes_max = 1,
                                .reverse = true};
    store_do(w, &req);
    assert_int_equal(req.ret_nrows, 1);
    assert_true(req.ret_rows[0].found);
    buf_put(&f.sort, req.ret_rows[0].sort.p, req.ret_rows[0].sort.n);
    buf_put(&f.value, req.ret_rows[0].value.p, req.ret_rows[0].value.n);
    store_request_deinit(&req);
    return f;
}

static void write_row(struct world *w, struct store_key key, const struct span *value)
{
    struct store_request req = {.op = STORE_WRITE};
    if (value) {
        store_batch_put(&req.batch, key, *value);
    } else {
        store_batch_del(&req.batch, key);
    }
    store_do(w, &req);
    store_request_deinit(&req);
}

enum harm { HARM_CUT, HARM_VERSION, HARM_LOST };

/* Spoils the last row of that table and key; undone with harm_undo. */
static struct found harm_do(struct world *w, enum store_table table, struct span key,
                            enum harm harm)
{
    struct found f = find_row(w, table, key);
    struct store_key k = {table, key, span_of(f.sort.data, f.sort.len)};
    struct buf copy = {0};
    buf_put(&copy, f.value.data, f.value.len);
    struct span bad = span_of(copy.data, harm == HARM_CUT ? copy.len - 1 : copy.len);
    if (harm == HARM_VERSION) {
        copy.data[0] = 99;
    }
    write_row(w, k, harm == HARM_LOST ? NULL : &bad);
    buf_deinit(&copy);
    return f;
}

static void harm_undo(struct world *w, enum store_table table, struct span key, struct found *f)
{
    struct span value = span_of(f->value.data, f->value.len);
    write_row(w, (struct store_key){table, key, span_of(f->sort.data, f->sort.len)}, &value);
    buf_deinit(&f->sort);
    buf_deinit(&f->value);
}

struct scene {
    struct conv_id small;
    struct conv_id large; /* whose members have rows of their own */
    uint64_t id;          /* of the first message of `small` */
};

static void set_scene(struct world *w, struct scene *s)
{
    s->small = world_group(w, 1, "tea", 2, 3);
    s->large = world_group(w, 1, "cake", 2, 100);
    assert_int_not_equal(conv_id_partition(s->small), conv_id_partition(s->large));
    world_say(w, 1, s->small, "kept", &s->id);
    assert_int_equal(world_err(w, world_message(1, s->small, 0, "again", "hi")), CONFAB_OK);
    world_say(w, 1, s->large, "kept", NULL);
    world_flush(w);
    w->cfg.recent_max = 0; /* reads go to the store */
    world_kill(w, false, 0);
}

static enum confab_err history_err(struct world *w, struct conv_id conv)
{
    struct command *c = world_history(w, 1, conv, 10);
    enum confab_err err = c->err;
    assert_true(err || world_records(c) > 0);
    command_free(c);
    return err;
}

/* The header, or one of its members' rows: nobody gets in, until it is there again. */
static void test_damage__a_conversation_that_cannot_be_loaded(void **state)
{
    struct world *w = *state;
    struct scene s;
    set_scene(w, &s);
    uint8_t raw[16];
    for (int what = 0; what < 4; what++) {
        struct conv_id conv = what < 2 ? s.small : s.large;
        struct conv_id other = what < 2 ? s.large : s.small;
        enum store_table table = what < 2 ? STORE_HEADER : STORE_MEMBER;
        enum harm harm = what % 2 ? HARM_VERSION : HARM_CUT;
        enum confab_err want = what % 2 ? CONFAB_VERSION : CONFAB_CORRUPT;
        conv_id_write(conv, raw);
        struct found f = harm_do(w, table, span_of(raw, 16), harm);
        char key[16];
        snprintf(key, sizeof(key), "key %d", what);
        assert_int_equal(history_err(w, conv), want);
        assert_int_equal(world_err(w, world_message(1, conv, 0, key, "hi")), want);
        assert_int_equal(history_err(w, other), CONFAB_OK);
        assert_int_equal(world_health(w), CONFAB_OK);
        harm_undo(w, table, span_of(raw, 16), &f);
        assert_int_equal(history_err(w, conv), CONFAB_OK);
        assert_int_equal(world_err(w, world_message(1, conv, 0, key, "hi")), CONFAB_OK);
        world_flush(w);
        world_kill(w, false, 0);
    }
}

/* History that cannot be read is told as that; the conversation goes on above it. */
static void test_damage__a_chunk(void **state)
{
    struct world *w = *state;
    struct scene s;
    set_scene(w, &s);
    uint8_t raw[16];
    conv_id_write(s.small, raw);
    struct found f = harm_do(w, STORE_CHUNK, span_of(raw, 16), HARM_CUT);
    assert_int_equal(history_err(w, s.small), CONFAB_CORRUPT);
    assert_int_equal(world_change(w, 1, EVENT_EDIT, s.id, "edited"), CONFAB_CORRUPT);
    /* What was said under that key cannot be compared, so it is not said again. */
    assert_int_equal(world_err(w, world_message(1, s.small, 0, "again", "hi")), CONFAB_CORRUPT);
    assert_int_equal(history_err(w, s.large), CONFAB_OK);
    harm_undo(w, STORE_CHUNK, span_of(raw, 16), &f);
    assert_int_equal(history_err(w, s.small), CONFAB_OK);
    assert_int_equal(world_change(w, 1, EVENT_EDIT, s.id, "edited"), CONFAB_OK);
    /* A chunk that is gone: a hole where a change has to be written. That partition stops, with
     * its log kept; the others go on. */
    f = harm_do(w, STORE_CHUNK, span_of(raw, 16), HARM_LOST);
    engine_flush_all(w->e);
    for (int i = 0; i < 30; i++) {
        world_run(w, 200);
    }
    assert_int_equal(world_health(w), CONFAB_CORRUPT);
    assert_int_equal(world_err(w, world_message(1, s.small, 0, "more", "hi")), CONFAB_CORRUPT);
    assert_int_equal(world_err(w, world_message(1, s.large, 0, "more", "hi")), CONFAB_OK);
    /* It is put back: the change was in the log. */
    harm_undo(w, STORE_CHUNK, span_of(raw, 16), &f);
    world_kill(w, false, 0);
    world_flush(w);
    struct command *c = world_history(w, 1, s.small, 10);
    assert_int_equal(c->err, CONFAB_OK);
    assert_true(span_is(world_record(c, 0).text, "edited"));
    command_free(c);
}

/* Where an id is, and whether a key was used: damage is not "there is none". */
static void test_damage__looking_up(void **state)
{
    struct world *w = *state;
    struct scene s;
    set_scene(w, &s);
    uint8_t raw[16];
    uint8_t number[2] = {(uint8_t)(conv_id_partition(s.small) >> 8),
                         (uint8_t)conv_id_partition(s.small)};
    struct found f = harm_do(w, STORE_FEED, span_of(number, 2), HARM_VERSION);
    /* By the id alone, and in a conversation that is named. */
    assert_int_equal(world_change(w, 1, EVENT_EDIT, s.id, "edited"), CONFAB_VERSION);
    struct command *c = world_message(1, s.small, 0, "reply", "hi");
    c->in.target_id = s.id;
    assert_int_equal(world_err(w, c), CONFAB_VERSION);
    harm_undo(w, STORE_FEED, span_of(number, 2), &f);
    c = world_message(1, s.small, 0, "reply", "hi");
    c->in.target_id = s.id;
    assert_int_equal(world_err(w, c), CONFAB_OK);
    world_flush(w);
    world_kill(w, false, 0);

    conv_id_write(s.small, raw);
    for (enum harm harm = HARM_CUT; harm <= HARM_VERSION; harm++) {
        f = harm_do(w, STORE_DEDUP, span_of(raw, 16), harm);
        assert_int_equal(world_err(w, world_message(1, s.small, 0, "new", "hi")),
                         harm == HARM_CUT ? CONFAB_CORRUPT : CONFAB_VERSION);
        harm_undo(w, STORE_DEDUP, span_of(raw, 16), &f);
    }
    c = world_do(w, world_message(1, s.small, 0, "again", "hi"));
    assert_int_equal(c->err, CONFAB_OK);
    assert_true(c->duplicate);
    command_free(c);
    /* A row of keys whose chunk is not there. */
    f = harm_do(w, STORE_CHUNK, span_of(raw, 16), HARM_LOST);
    world_kill(w, false, 0);
    assert_int_equal(world_err(w, world_message(1, s.small, 0, "reply", "hi")), CONFAB_CORRUPT);
    harm_undo(w, STORE_CHUNK, span_of(raw, 16), &f);
}

/* What a start needs: it does not begin with what it cannot read. */
static void test_damage__a_start(void **state)
{
    struct world *w = *state;
    struct scene s;
    set_scene(w, &s);
    uint8_t number[2] = {(uint8_t)(conv_id_partition(s.small) >> 8),
                         (uint8_t)conv_id_partition(s.small)};
    for (enum harm harm = HARM_CUT; harm <= HARM_VERSION; harm++) {
        struct found f = find_row(w, STORE_PARTITION, span_of(number, 2));
        buf_clear(&f.sort);
        struct span bad = span_of(f.value.data, harm == HARM_CUT ? 2 : f.value.len);
        uint8_t version = f.value.data[0];
        f.value.data[0] = harm == HARM_VERSION ? 99 : version;
        write_row(w, (struct store_key){STORE_PARTITION, span_of(number, 2), span_of(NULL, 0)},
                  &bad);
        f.value.data[0] = version;
        world_drop(w, false, 0);
        assert_int_equal(world_try_start(w), harm == HARM_CUT ? CONFAB_CORRUPT : CONFAB_VERSION);
        harm_undo(w, STORE_PARTITION, span_of(number, 2), &f);
        world_kill(w, false, 0);
        assert_int_equal(history_err(w, s.small), CONFAB_OK);
    }
    /* A follow-up's row that names no conversation. */
    struct span nothing = span_str("x");
    struct store_key row = {STORE_FOLLOWUP, span_of(number, 2), span_str("short")};
    write_row(w, row, &nothing);
    world_drop(w, false, 0);
    assert_int_equal(world_try_start(w), CONFAB_CORRUPT);
    write_row(w, row, NULL);
    world_kill(w, false, 0);
    assert_int_equal(history_err(w, s.large), CONFAB_OK);
}

/* ---- records of the log ------------------------------------------------------------------ */

static void log_raw(struct world *w, uint16_t partition, uint8_t kind, struct span payload)
{
    struct log_submission sub = {0};
    uint32_t offset;
    assert_int_equal(log_submission_add(&sub, partition, kind, 1, payload, &offset), CONFAB_OK);
    assert_int_equal(log_store_submit(log_mem_store(w->log), &sub), CONFAB_OK);
    log_mem_step(w->log, 1);
    assert_ptr_equal(log_store_poll(log_mem_store(w->log), 0), &sub);
    buf_deinit(&sub.bytes);
}

/* docs/formats/event.md has the numbers. */
enum { RECORD_EVENT = 1, RECORD_CURSORS, RECORD_CONFIRM, RECORD_MEMBER };

static void record_sample(struct buf *out, struct conv_id conv, int kind)
{
    uint8_t raw[16];
    conv_id_write(conv, raw);
    if (kind == RECORD_CURSORS) {
        buf_put_u64(out, WORLD_START_MS);
    }
    buf_put(out, raw, sizeof(raw));
    if (kind == RECORD_EVENT) {
        struct event ev = {.kind = EVENT_MESSAGE,
                           .seq = 3,
                           .ord = 2,
                           .id =
                               message_id_make(WORLD_START_MS + 90000, conv_id_partition(conv), 1),
                           .actor = 1,
                           .text = span_str("whole")};
        event_encode(out, &ev);
    } else if (kind == RECORD_CURSORS) {
        buf_put_u64(out, 2);
        buf_put_varint(out, 2);
        buf_put_varint(out, 2);
        buf_put_varint(out, 1);
    } else if (kind == RECORD_CONFIRM) {
        buf_put_varint(out, 1);
        buf_put_u64(out, 2);
    } else {
        buf_put_u8(out, FOLLOWUP_HIDE);
        buf_put_u64(out, 2);
        buf_put_varint(out, 1);
        buf_put_u8(out, 1);
        buf_put_varint(out, 1);
        buf_put_varint(out, 1);
    }
}

/*
 * A record that ends early, though its batch's checksum says that it is whole: its partition stops,
 * the others go on. (Of the bytes at its end an event or a list of cursors may do without some.)
 */
static void test_damage__records_that_are_cut(void **state)
{
    (void)state;
    for (int kind = RECORD_EVENT; kind <= RECORD_MEMBER; kind++) {
        struct buf payload = {0};
        record_sample(&payload, (struct conv_id){0x77, 1}, kind);
        uint32_t stopped = 0;
        for (size_t cut = 0; cut <= payload.len; cut += cut < 4 || cut + 6 > payload.len ? 1 : 4) {
            struct world w;
            world_init(&w);
            struct conv_id g = world_group(&w, 1, "tea", 2, 3);
            struct conv_id h = world_group(&w, 1, "cake", 2, 3);
            assert_true(conv_id_eq(g, (struct conv_id){0x77, 1}));
            assert_int_not_equal(conv_id_partition(g), conv_id_partition(h));
            world_say(&w, 1, g, "x", NULL);
            world_run(&w, 2000);
            world_drop(&w, false, 0);
            log_raw(&w, conv_id_partition(g), (uint8_t)kind, span_of(payload.data, cut));
            assert_int_equal(world_try_start(&w), CONFAB_OK);
            for (int i = 0; i < 10; i++) {
                world_run(&w, 100);
            }
            assert_true(world_is_recovered(&w));
            enum confab_err err = world_health(&w);
            stopped += err == CONFAB_CORRUPT;
            assert_true(!err || err == CONFAB_CORRUPT);
            if (cut == payload.len) {
                assert_int_equal(err, CONFAB_OK);
            }
            struct command *c = world_message(1, g, 0, "more", "hi");
            assert_int_equal(world_err(&w, c), err);
            world_say(&w, 1, h, "goes on", NULL);
            world_deinit(&w);
        }
        assert_in_range(stopped, 3, payload.len);
        buf_deinit(&payload);
    }
}

/* What an account's log says of a conversation, of a kind that a newer program has. */
static void test_damage__a_member_record_of_another_kind(void **state)
{
    struct world *w = *state;
    struct conv_id g = world_group(w, 1, "tea", 2, 3);
    struct buf payload = {0};
    record_sample(&payload, g, RECORD_MEMBER);
    payload.data[16] = 60;
    world_drop(w, false, 0);
    log_raw(w, conv_id_partition(g), RECORD_MEMBER, span_of(payload.data, payload.len));
    buf_deinit(&payload);
    assert_int_equal(world_try_start(w), CONFAB_OK);
    for (int i = 0; i < 10; i++) {
        world_run(w, 100);
    }
    assert_int_equal(world_health(w), CONFAB_VERSION);
}

/* A record belongs to the shard of its partition; another one does not take it. */
static void test_damage__a_record_of_another_shard(void **state)
{
    struct world *w = *state;
    struct conv_id g = world_group(w, 1, "tea", 2, 3);
    uint16_t number = conv_id_partition(g);
    struct engine *other = w->shards[1 - engine_shard_of(number, 2)].e;
    struct log_record rec = {
        .lsn = 1000, .partition = number, .kind = RECORD_CONFIRM, .version = 1};
    assert_int_equal(engine_recover_record(other, &rec), CONFAB_INVALID);
    assert_int_equal(world_health(w), CONFAB_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)
        cmocka_unit_test(test_damage__rows),
        cmocka_unit_test(test_damage__chunks),
        cmocka_unit_test(test_damage__states),
        cmocka_unit_test(test_damage__members),
        cmocka_unit_test(test_damage__checkpoint),
        T(test_damage__a_conversation_that_cannot_be_loaded),
        T(test_damage__a_chunk),
        T(test_damage__looking_up),
        T(test_damage__a_start),
        cmocka_unit_test(test_damage__records_that_are_cut),
        T(test_damage__a_member_record_of_another_kind),
        cmocka_unit_test_setup_teardown(test_damage__a_record_of_another_shard, world_setup_two,
                                        world_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
