#include "core/rows.h"

#include <string.h>

enum { ROW_VERSION = 1 };

static void be64(uint8_t *p, uint64_t v)
{
    for (int i = 7; i >= 0; i--) {
        p[i] = (uint8_t)v;
        v >>= 8;
    }
}

static void be16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static void set_key(struct row_key *rk, enum store_table table, size_t key, size_t sort)
{
    rk->k = (struct store_key){table, span_of(rk->key, key), span_of(rk->sort, sort)};
}

void row_key_conv(struct row_key *rk, enum store_table table, struct conv_id id)
{
    conv_id_write(id, rk->key);
    set_key(rk, table, 16, 0);
}

void row_key_conv_seq(struct row_key *rk, enum store_table table, struct conv_id id, uint64_t n)
{
    conv_id_write(id, rk->key);
    be64(rk->sort, n);
    set_key(rk, table, 16, 8);
}

void row_key_partition(struct row_key *rk, enum store_table table, uint16_t partition)
{
    be16(rk->key, partition);
    set_key(rk, table, 2, 0);
}

void row_key_feed(struct row_key *rk, uint16_t partition, uint64_t first_id)
{
    be16(rk->key, partition);
    be64(rk->sort, first_id);
    set_key(rk, STORE_FEED, 2, 8);
}

void row_key_followup(struct row_key *rk, uint16_t partition, struct conv_id id)
{
    be16(rk->key, partition);
    conv_id_write(id, rk->sort);
    set_key(rk, STORE_FOLLOWUP, 2, 16);
}

void row_key_dedup(struct row_key *rk, struct conv_id id, uint16_t day, uint64_t first_seq)
{
    conv_id_write(id, rk->key);
    be16(rk->sort, day);
    be64(rk->sort + 2, first_seq);
    set_key(rk, STORE_DEDUP, 16, 10);
}

uint64_t row_sort_u64(struct span sort)
{
    uint64_t v = 0;
    for (size_t i = 0; i < sort.n && i < 8; i++) {
        v = (v << 8) | sort.p[i];
    }
    return v;
}

/* Reads the version byte that every small row begins with. */
static enum confab_err row_open(struct reader *r, struct span bytes)
{
    *r = reader_of(bytes.p, bytes.n);
    uint8_t version = reader_u8(r);
    if (r->bad || version == 0) {
        return CONFAB_CORRUPT;
    }
    return version > ROW_VERSION ? CONFAB_VERSION : CONFAB_OK;
}

void row_partition_encode(struct buf *out, const struct row_partition *p)
{
    buf_put_u8(out, ROW_VERSION);
    buf_put_varint(out, p->last_ms);
    buf_put_varint(out, p->counter);
    buf_put_varint(out, p->flushed_lsn);
}

enum confab_err row_partition_decode(struct span bytes, struct row_partition *ret)
{
    struct reader r;
    enum confab_err err = row_open(&r, bytes);
    if (err) {
        return err;
    }
    struct row_partition p;
    p.last_ms = reader_varint(&r);
    p.counter = (uint32_t)reader_varint_max(&r, UINT32_MAX);
    p.flushed_lsn = reader_varint(&r);
    if (r.bad) {
        return CONFAB_CORRUPT;
    }
    *ret = p;
    return CONFAB_OK;
}

void row_head_encode(struct buf *out, const struct row_head *h)
{
    buf_put_u8(out, ROW_VERSION);
    buf_put_varint(out, h->head_seq);
    buf_put_varint(out, h->moved_ms);
    buf_put_varint(out, h->last_id);
}

enum confab_err row_head_decode(struct span bytes, struct row_head *ret)
{
    struct reader r;
    enum confab_err err = row_open(&r, bytes);
    if (err) {
        return err;
    }
    struct row_head h;
    h.head_seq = reader_varint(&r);
    h.moved_ms = reader_varint(&r);
    h.last_id = reader_left(&r) > 0 ? reader_varint(&r) : 0;
    if (r.bad) {
        return CONFAB_CORRUPT;
    }
    *ret = h;
    return CONFAB_OK;
}

void row_dedup_add(struct buf *row, uint32_t offset, uint64_t hash)
{
    if (row->len == 0) {
        buf_put_u8(row, ROW_VERSION);
    }
    buf_put_varint(row, offset);
    buf_put_u64(row, hash);
}

enum confab_err row_dedup_open(struct row_dedup_iter *it, struct span row)
{
    *it = (struct row_dedup_iter){.bad = false};
    return row_open(&it->r, row);
}

bool row_dedup_next(struct row_dedup_iter *it)
{
    if (reader_left(&it->r) == 0) {
        return false;
    }
    it->offset = reader_varint(&it->r);
    it->hash = reader_u64(&it->r);
    it->bad = it->r.bad;
    return !it->bad;
}

uint32_t row_dedup_count_max(size_t bytes)
{
    return (uint32_t)(bytes / 9);
}

uint16_t row_dedup_day(struct span sort)
{
    return (uint16_t)(sort.p[0] << 8 | sort.p[1]);
}

uint64_t row_dedup_first_seq(struct span sort)
{
    return row_sort_u64(span_of(sort.p + 2, 8));
}

enum confab_err row_dedup_find(struct span row, uint64_t hash, uint64_t *ret_offset)
{
    struct row_dedup_iter it;
    enum confab_err err = row_dedup_open(&it, row);
    while (!err && row_dedup_next(&it)) {
        if (it.hash == hash) {
            *ret_offset = it.offset;
            return CONFAB_OK;
        }
    }
    if (!err && it.bad) {
        return CONFAB_CORRUPT;
    }
    return err ? err : CONFAB_NOT_FOUND;
}

void row_feed_encode(struct buf *out, const struct feed_entry *entries, uint32_t n)
{
    buf_put_u8(out, ROW_VERSION);
    uint64_t last = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint8_t raw[16];
        conv_id_write(entries[i].conv, raw);
        buf_put_varint(out, entries[i].id - last);
        buf_put(out, raw, sizeof(raw));
        buf_put_varint(out, entries[i].seq);
        last = entries[i].id;
    }
}

enum confab_err row_feed_find(struct span block, uint64_t id, struct feed_entry *ret)
{
    struct reader r;
    enum confab_err err = row_open(&r, block);
    if (err) {
        return err;
    }
    uint64_t last = 0;
    while (reader_left(&r) > 0) {
        last += reader_varint(&r);
        struct span raw = reader_bytes(&r, 16);
        uint64_t seq = reader_varint(&r);
        if (r.bad) {
            return CONFAB_CORRUPT;
        }
        if (last == id) {
            *ret = (struct feed_entry){id, conv_id_read(raw.p), seq};
            return CONFAB_OK;
        }
        if (last > id) {
            break;
        }
    }
    return CONFAB_NOT_FOUND;
}

void row_header_encode(struct buf *out, const struct row_header *h)
{
    buf_put_u8(out, ROW_VERSION);
    buf_put_u16(out, h->dedup_day);
    buf_put_u8(out, h->nchunks);
    for (uint8_t i = 0; i < h->nchunks; i++) {
        buf_put_varint(out, h->chunks[i].first_seq);
        buf_put_varint(out, h->chunks[i].count);
    }
}

enum confab_err row_header_decode(struct span bytes, struct row_header *ret, struct span *ret_rest)
{
    struct reader r;
    enum confab_err err = row_open(&r, bytes);
    if (err) {
        return err;
    }
    struct row_header h = {0};
    h.dedup_day = reader_u16(&r);
    h.nchunks = reader_u8(&r);
    if (r.bad || h.nchunks > HEADER_CHUNKS_MAX) {
        return CONFAB_CORRUPT;
    }
    for (uint8_t i = 0; i < h.nchunks; i++) {
        h.chunks[i].first_seq = reader_varint(&r);
        h.chunks[i].count = (uint32_t)reader_varint_max(&r, 128);
    }
    if (r.bad) {
        return CONFAB_CORRUPT;
    }
    *ret = h;
    *ret_rest = span_of(r.p, reader_left(&r));
    return CONFAB_OK;
}
