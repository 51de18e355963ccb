/*
 * The framing of write batches and the freeing of requests. A batch is a row of items, each
 *
 *     u8 op, u8 table, blob key, blob sort (DEL_RANGE: from), blob value (DEL_RANGE: to)
 *
 * where a blob is a varint length and that many bytes. A batch lives in memory between the core and
 * an adapter of the same process and is never stored, so it has no version.
 */
#include "ports/message_store.h"

#include <stdlib.h>

void store_request_deinit(struct store_request *req)
{
    buf_deinit(&req->batch);
    free(req->ret_rows);
    req->ret_rows = NULL;
    req->ret_nrows = 0;
    buf_deinit(&req->ret_bytes);
}

static void put_item(struct buf *batch, uint8_t op, struct store_key key, struct span value)
{
    /* One reservation for the whole item: a batch that fails to grow ends at an item's edge. */
    if (!buf_reserve(batch, 2 + 3 * 10 + key.key.n + key.sort.n + value.n)) {
        return;
    }
    buf_put_u8(batch, op);
    buf_put_u8(batch, (uint8_t)key.table);
    buf_put_blob(batch, key.key.p, key.key.n);
    buf_put_blob(batch, key.sort.p, key.sort.n);
    buf_put_blob(batch, value.p, value.n);
}

void store_batch_put(struct buf *batch, struct store_key key, struct span value)
{
    put_item(batch, STORE_BATCH_PUT, key, value);
}

void store_batch_del(struct buf *batch, struct store_key key)
{
    put_item(batch, STORE_BATCH_DEL, key, (struct span){NULL, 0});
}

void store_batch_del_range(struct buf *batch, enum store_table table, struct span key,
                           struct span from, struct span to)
{
    put_item(batch, STORE_BATCH_DEL_RANGE, (struct store_key){table, key, from}, to);
}

enum confab_err store_batch_next(struct reader *r, struct store_batch_item *ret)
{
    if (!r->bad && reader_left(r) == 0) {
        return CONFAB_EOF;
    }
    uint8_t op = reader_u8(r);
    uint8_t table = reader_u8(r);
    struct span key = reader_blob(r);
    struct span sort = reader_blob(r);
    struct span value = reader_blob(r);
    if (r->bad || op < STORE_BATCH_PUT || op > STORE_BATCH_DEL_RANGE) {
        return CONFAB_INVALID;
    }
    if (table < STORE_META || table >= STORE_TABLES || key.n > STORE_KEY_MAX ||
        sort.n > STORE_SORT_MAX) {
        return CONFAB_INVALID;
    }
    if (value.n > (op == STORE_BATCH_PUT ? STORE_VALUE_MAX : STORE_SORT_MAX)) {
        return CONFAB_TOO_LARGE;
    }
    switch (op) {
    case STORE_BATCH_PUT:
        ret->op = STORE_BATCH_PUT;
        break;
    case STORE_BATCH_DEL:
        ret->op = STORE_BATCH_DEL;
        break;
    default:
        ret->op = STORE_BATCH_DEL_RANGE;
        break;
    }
    ret->key = (struct store_key){(enum store_table)table, key, sort};
    ret->value = value;
    return CONFAB_OK;
}
