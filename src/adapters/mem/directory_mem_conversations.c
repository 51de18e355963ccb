/* The conversations of each user, as a projection of the log. */
#include <stdlib.h>

#include "adapters/mem/directory_mem_internal.h"
#include "ports/dir_adapter.h"

static struct key key_of_conv(uint64_t user, struct conv_id conv)
{
    struct key k = key_of_two(user, conv.hi);
    key_put_u64(&k, conv.lo);
    return k;
}

enum confab_err dir_mem_conversations_project(struct directory_mem *d, struct dir_request *req)
{
    struct ordmap_node **nodes = calloc(req->nconv_rows + 1U, sizeof(struct ordmap_node *));
    enum confab_err err = nodes ? CONFAB_OK : CONFAB_NOMEM;
    for (uint32_t i = 0; err == CONFAB_OK && i < req->nconv_rows; i++) {
        const struct dir_conv_row *row = &req->conv_rows[i];
        nodes[i] = new_node(&d->conversations, key_of_conv(row->user_id, row->conv),
                            span_of(row, sizeof(*row)));
        err = nodes[i] ? CONFAB_OK : CONFAB_NOMEM;
    }
    for (uint32_t i = 0; nodes && i < req->nconv_rows; i++) {
        struct dir_conv_row stored = {.lsn = 0};
        struct ordmap_node *old =
            nodes[i] ? ordmap_get(&d->conversations, ordmap_key(nodes[i])) : NULL;
        if (old) {
            VALUE_COPY(old, &stored);
        }
        if (err != CONFAB_OK || (old && stored.lsn >= req->conv_rows[i].lsn)) {
            ordmap_node_free(nodes[i]);
        } else {
            ordmap_node_free(ordmap_link(&d->conversations, nodes[i]));
        }
    }
    free(nodes);
    if (err == CONFAB_OK) {
        d->projected[req->partition] = MAX(d->projected[req->partition], req->lsn);
    }
    return err;
}

enum confab_err dir_mem_conversations_list(struct directory_mem *d, struct dir_request *req)
{
    struct key k = key_of_conv(req->user_id, req->after);
    struct ordmap_node *node = dir_mem_user_row(&d->conversations, &k, req->user_id);
    if (node && span_eq(ordmap_key(node), key_span(&k))) {
        node = dir_mem_user_row_next(node, req->user_id);
    }
    enum confab_err err = CONFAB_OK;
    while (node && err == CONFAB_OK && req->nconv_rows < req->limit) {
        struct dir_conv_row row;
        VALUE_COPY(node, &row);
        err = dir_results_add_row(req, &row);
        node = dir_mem_user_row_next(node, req->user_id);
    }
    return err;
}

enum confab_err dir_mem_projected_lsn(struct directory_mem *d, struct dir_request *req)
{
    req->lsn = d->projected[req->partition];
    return CONFAB_OK;
}
