/* When people were last online, by runs of the server, and who hides what. */
#include "adapters/mem/directory_mem_internal.h"
#include "ports/dir_adapter.h"

struct seen_row {
    uint64_t last_seen_ms; /* 0: online, in that run */
    uint64_t run;
};

enum confab_err dir_mem_hidden_list(struct directory_mem *d, struct dir_request *req)
{
    struct key k = key_of(req->after_id + 1);
    enum confab_err err = CONFAB_OK;
    for (struct ordmap_node *node = ordmap_from(&d->accounts, key_span(&k));
         node && !err && !req->ret_more; node = ordmap_next(node)) {
        struct account_row row;
        VALUE_COPY(node, &row);
        struct dir_hidden h = {row.account.user_id, row.account.hides};
        if (h.hides != 0 && req->ret_nhidden == req->limit) {
            req->ret_more = true;
        } else if (h.hides != 0) {
            err = dir_results_add_hidden(req, &h);
        }
    }
    return err;
}

/* Sets or adds a row of one size. */
static enum confab_err put(struct ordmap *m, uint64_t key, struct span value)
{
    struct ordmap_node *node = new_node(m, key_of(key), value);
    if (!node) {
        return CONFAB_NOMEM;
    }
    drop(m, key_of(key));
    link_new(m, node);
    return CONFAB_OK;
}

static bool is_deleted(const struct directory_mem *d, uint64_t user)
{
    struct ordmap_node *node = find(&d->accounts, key_of(user));
    struct account_row row = {.account = {.status = DIR_STATUS_DELETED}};
    if (node) {
        VALUE_COPY(node, &row);
    }
    return row.account.status == DIR_STATUS_DELETED;
}

enum confab_err dir_mem_seen_write(struct directory_mem *d, struct dir_request *req)
{
    struct ordmap_node *node = find(&d->runs, key_of(req->run));
    uint64_t alive_ms = 0;
    if (node) {
        VALUE_COPY(node, &alive_ms);
    }
    alive_ms = MAX(alive_ms, req->now_ms);
    enum confab_err err = put(&d->runs, req->run, span_of(&alive_ms, sizeof(alive_ms)));
    for (uint32_t i = 0; i < req->nseen && !err; i++) {
        struct seen_row row = {req->seen[i].last_seen_ms, req->run};
        if (!is_deleted(d, req->seen[i].user_id)) {
            err = put(&d->seen, req->seen[i].user_id, span_of(&row, sizeof(row)));
        }
    }
    return err;
}

enum confab_err dir_mem_seen_read(struct directory_mem *d, struct dir_request *req)
{
    for (uint32_t i = 0; i < req->nids; i++) {
        struct ordmap_node *node = find(&d->seen, key_of(req->ids[i]));
        struct seen_row row = {0};
        if (node) {
            VALUE_COPY(node, &row);
        }
        struct ordmap_node *run = row.last_seen_ms == 0 ? find(&d->runs, key_of(row.run)) : NULL;
        req->seen_ms[i] = row.last_seen_ms;
        if (node && run) {
            VALUE_COPY(run, &req->seen_ms[i]);
        }
    }
    return CONFAB_OK;
}
