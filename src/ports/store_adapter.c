#include "ports/store_adapter.h"

#include <stdlib.h>

#include "base/check.h"

enum { ROWS_MIN = 8 };

static const struct {
    uint8_t key_len; /* 0: 1 to STORE_KEY_MAX */
    bool sorted;
} TABLES[STORE_TABLES] = {
    [STORE_META] = {0, false},  [STORE_PARTITION] = {2, false}, [STORE_HEADER] = {16, false},
    [STORE_HEAD] = {16, false}, [STORE_MEMBER] = {16, true},    [STORE_CHUNK] = {16, true},
    [STORE_DEDUP] = {16, true}, [STORE_FEED] = {2, true},       [STORE_FOLLOWUP] = {2, true},
};

static bool table_ok(enum store_table table)
{
    return table >= STORE_META && table < STORE_TABLES;
}

bool store_table_sorted(enum store_table table)
{
    return table_ok(table) && TABLES[table].sorted;
}

static bool partition_key_ok(enum store_table table, struct span key)
{
    size_t want = TABLES[table].key_len;
    return want == 0 ? key.n >= 1 && key.n <= STORE_KEY_MAX : key.n == want;
}

bool store_key_ok(struct store_key key)
{
    return table_ok(key.table) && partition_key_ok(key.table, key.key) &&
           key.sort.n <= STORE_SORT_MAX && TABLES[key.table].sorted == (key.sort.n > 0);
}

static size_t append(uint8_t *out, size_t at, struct span s)
{
    if (s.n > 0) {
        memcpy(out + at, s.p, s.n);
    }
    return at + s.n;
}

size_t store_row_key(struct store_key key, uint8_t out[STORE_ROW_KEY_MAX])
{
    out[0] = (uint8_t)key.table;
    return append(out, append(out, 1, key.key), key.sort);
}

bool store_bounds_empty(const struct store_bounds *b)
{
    int c = memcmp(b->first, b->past, MIN(b->first_len, b->past_len));
    return c > 0 || (c == 0 && b->first_len >= b->past_len);
}

/* The smallest string above every string that starts with the n bytes; the first byte is a table.
 */
static size_t prefix_successor(uint8_t *p, size_t n)
{
    while (p[n - 1] == 0xff) {
        n--;
        DCHECK(n > 0);
    }
    p[n - 1]++;
    return n;
}

static enum confab_err bounds(enum store_table table, struct span key, struct span from,
                              struct span to, bool inclusive, struct store_bounds *ret)
{
    if (!table_ok(table) || from.n > STORE_SORT_MAX || to.n > STORE_SORT_MAX) {
        return CONFAB_INVALID;
    }
    /* A table without sort keys is ranged as a whole, its keys in the place of the sort keys. */
    if (TABLES[table].sorted ? !partition_key_ok(table, key) : key.n > 0) {
        return CONFAB_INVALID;
    }
    ret->prefix_len = store_row_key((struct store_key){table, key, {NULL, 0}}, ret->first);
    memcpy(ret->past, ret->first, ret->prefix_len);
    ret->first_len = append(ret->first, ret->prefix_len, from);
    if (to.n == 0) {
        ret->past_len = prefix_successor(ret->past, ret->prefix_len);
        return CONFAB_OK;
    }
    ret->past_len = append(ret->past, ret->prefix_len, to);
    if (inclusive) {
        ret->past[ret->past_len++] = 0; /* the direct successor of `to` */
    }
    return CONFAB_OK;
}

enum confab_err store_range_bounds(const struct store_request *req, struct store_bounds *ret)
{
    if (req->limit == 0 || req->bytes_max == 0) {
        return CONFAB_INVALID;
    }
    return bounds(req->table, req->key, req->from, req->to, true, ret);
}

enum confab_err store_del_range_bounds(const struct store_batch_item *item,
                                       struct store_bounds *ret)
{
    if (!store_table_sorted(item->key.table)) {
        return CONFAB_INVALID;
    }
    return bounds(item->key.table, item->key.key, item->key.sort, item->value, false, ret);
}

void store_answer_begin(struct store_answer *a)
{
    memset(a, 0, sizeof(*a));
}

/* While the buffer may move, a span's pointer holds an offset. */
static struct span stash(struct store_answer *a, struct span s)
{
    struct span at = {(const uint8_t *)(uintptr_t)a->bytes.len, s.n};
    buf_put(&a->bytes, s.p, s.n);
    return at;
}

static struct span settle(const struct buf *b, struct span s)
{
    return s.n == 0 ? (struct span){NULL, 0} : span_of(b->data + (uintptr_t)s.p, s.n);
}

enum confab_err store_answer_add(struct store_answer *a, bool found, struct span sort,
                                 struct span value)
{
    if (a->nrows == a->cap) {
        uint32_t cap = a->cap == 0 ? ROWS_MIN : a->cap * 2;
        struct store_row *rows = realloc(a->rows, (size_t)cap * sizeof(*rows));
        if (!rows) {
            return CONFAB_NOMEM;
        }
        a->rows = rows;
        a->cap = cap;
    }
    struct store_row *row = &a->rows[a->nrows++];
    row->found = found;
    row->sort = stash(a, sort);
    row->value = stash(a, value);
    return buf_ok(&a->bytes) ? CONFAB_OK : CONFAB_NOMEM;
}

void store_answer_finish(struct store_answer *a, struct store_request *req, enum confab_err err)
{
    free(req->ret_rows);
    buf_deinit(&req->ret_bytes);
    req->ret_rows = NULL;
    req->ret_nrows = 0;
    req->ret_err = err;
    if (err != CONFAB_OK) {
        free(a->rows);
        buf_deinit(&a->bytes);
        return;
    }
    for (uint32_t i = 0; i < a->nrows; i++) {
        a->rows[i].sort = settle(&a->bytes, a->rows[i].sort);
        a->rows[i].value = settle(&a->bytes, a->rows[i].value);
    }
    req->ret_rows = a->rows;
    req->ret_nrows = a->nrows;
    req->ret_bytes = a->bytes;
}
