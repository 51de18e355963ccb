/*
 * What the adapters of the message_store port share: the checks of keys and ranges, the bytewise
 * form of a row's key, and the building of an answer. For adapters of message_store only.
 *
 * A row's key in an ordered map is one byte of table, the partition key, the sort key. The
 * partition keys of a table that has sort keys all have one length, so that the concatenation sorts
 * by (table, key, sort) and no key is a prefix of another's rows.
 */
#ifndef CONFAB_PORTS_STORE_ADAPTER_H
#define CONFAB_PORTS_STORE_ADAPTER_H

#include "ports/message_store.h"

#define STORE_ROW_KEY_MAX (1U + STORE_KEY_MAX + STORE_SORT_MAX)

/* True when the table exists and has sort keys. */
bool store_table_sorted(enum store_table table);
/* Known table, the table's key length, a sort key exactly when the table has them. */
bool store_key_ok(struct store_key key);
/* Writes the row key of a valid key, returns its length. */
size_t store_row_key(struct store_key key, uint8_t out[STORE_ROW_KEY_MAX]);

/* A half-open range of row keys: first <= row key < past. Empty when first >= past. */
struct store_bounds {
    uint8_t first[STORE_ROW_KEY_MAX];
    uint8_t past[STORE_ROW_KEY_MAX + 1];
    size_t first_len;
    size_t past_len;
    size_t prefix_len; /* bytes of a row key before the sort key of an answer */
};
bool store_bounds_empty(const struct store_bounds *b);
/* Of a STORE_RANGE request. CONFAB_INVALID: a bad table, key, bound, or a limit of zero. */
CONFAB_NODISCARD enum confab_err store_range_bounds(const struct store_request *req,
                                                    struct store_bounds *ret);
/* Of a STORE_BATCH_DEL_RANGE item. CONFAB_INVALID as above. */
CONFAB_NODISCARD enum confab_err store_del_range_bounds(const struct store_batch_item *item,
                                                        struct store_bounds *ret);

/*
 * Builds the rows of an answer; the caller's memory. After `begin` always `finish`, which moves the
 * rows into the request, or drops them when `err` is not CONFAB_OK, and sets ret_err.
 */
struct store_answer {
    struct store_row *rows; /* spans hold offsets into `bytes` until `finish` */
    uint32_t nrows;
    uint32_t cap;
    struct buf bytes;
};
void store_answer_begin(struct store_answer *a);
CONFAB_NODISCARD enum confab_err store_answer_add(struct store_answer *a, bool found,
                                                  struct span sort, struct span value);
void store_answer_finish(struct store_answer *a, struct store_request *req, enum confab_err err);

#endif
