/* Rows by key: settings, and the keys of repeated requests with the answers that they had. */
#include "adapters/mem/directory_mem_internal.h"
#include "ports/dir_adapter.h"

/* ---- settings ---- */

enum confab_err dir_mem_setting_get(struct directory_mem *d, struct dir_request *req)
{
    struct ordmap_node *node = ordmap_get(&d->settings, span_str(req->setting_key));
    if (!node) {
        return CONFAB_NOT_FOUND;
    }
    struct span value = ordmap_value(node);
    return dir_results_set_text(req, value.p, value.n);
}

enum confab_err dir_mem_setting_set(struct directory_mem *d, struct dir_request *req)
{
    struct span key = span_str(req->setting_key);
    bool there = ordmap_get(&d->settings, key) != NULL;
    if (!req->text) {
        ordmap_node_free(ordmap_unlink(&d->settings, key));
        return there ? CONFAB_OK : CONFAB_NOT_FOUND;
    }
    if (!there && d->settings.count >= DIR_SETTINGS_MAX) {
        return CONFAB_LIMIT;
    }
    struct ordmap_node *node =
        ordmap_node_new(&d->settings, key, span_of(req->text, req->text_len));
    if (!node) {
        return CONFAB_NOMEM;
    }
    ordmap_node_free(ordmap_link(&d->settings, node));
    return CONFAB_OK;
}

/* ---- repeated requests ---- */

/* The key of a row: the user, then the text. */
struct idem_key {
    uint8_t bytes[8 + DIR_IDEM_KEY_BYTES];
    size_t n;
};
/* The body has its own map, so that the size of this never changes. */
struct idem_row {
    uint8_t request_hash[DIR_TOKEN_HASH];
    uint64_t claimed_ms;
    uint32_t status; /* 0: pending */
};

static struct idem_key idem_key_of(const struct dir_request *req)
{
    struct idem_key k;
    struct key user = key_of(req->user_id);
    size_t n = strlen(req->idem_key);
    memcpy(k.bytes, user.bytes, user.n);
    memcpy(k.bytes + user.n, req->idem_key, n);
    k.n = user.n + n;
    return k;
}

static uint32_t count_kept(const struct directory_mem *d, uint64_t user)
{
    uint32_t n = 0;
    struct key k = key_of(user);
    for (struct ordmap_node *node = dir_mem_user_row(&d->idem, &k, user); node;
         node = dir_mem_user_row_next(node, user)) {
        n++;
    }
    return n;
}

static enum confab_err claim_known(struct directory_mem *d, struct dir_request *req,
                                   struct ordmap_node *node, struct span key)
{
    struct idem_row row;
    VALUE_COPY(node, &row);
    req->ret_claim = dir_idem_claim_of(req, row.request_hash, row.claimed_ms, row.status);
    if (req->ret_claim == DIR_CLAIMED) {
        row.claimed_ms = req->now_ms;
        VALUE_SET(node, &row);
    } else if (req->ret_claim == DIR_CLAIM_DONE) {
        struct span body = ordmap_value(ordmap_get(&d->idem_bodies, key));
        req->idem_status = row.status;
        return dir_results_set_text(req, body.p, body.n);
    }
    return CONFAB_OK;
}

enum confab_err dir_mem_idem_claim(struct directory_mem *d, struct dir_request *req)
{
    struct idem_key k = idem_key_of(req);
    struct span key = span_of(k.bytes, k.n);
    struct ordmap_node *node = ordmap_get(&d->idem, key);
    if (node) {
        return claim_known(d, req, node, key);
    }
    if (count_kept(d, req->user_id) >= req->keys_max) {
        return CONFAB_LIMIT;
    }
    struct idem_row row = {.claimed_ms = req->now_ms};
    memcpy(row.request_hash, req->request_hash, sizeof(row.request_hash));
    node = ordmap_node_new(&d->idem, key, span_of(&row, sizeof(row)));
    if (!node) {
        return CONFAB_NOMEM;
    }
    link_new(&d->idem, node);
    return CONFAB_OK;
}

/* The caller's pending claim; NULL when it has none. */
static struct ordmap_node *own_claim(const struct directory_mem *d, const struct dir_request *req,
                                     struct span key, struct idem_row *ret)
{
    struct ordmap_node *node = ordmap_get(&d->idem, key);
    if (!node) {
        return NULL;
    }
    VALUE_COPY(node, ret);
    return ret->status == 0 && ret->claimed_ms == req->now_ms ? node : NULL;
}

enum confab_err dir_mem_idem_finish(struct directory_mem *d, struct dir_request *req)
{
    struct idem_key k = idem_key_of(req);
    struct span key = span_of(k.bytes, k.n);
    struct idem_row row;
    struct ordmap_node *node = own_claim(d, req, key, &row);
    if (!node) {
        return CONFAB_NOT_FOUND;
    }
    struct ordmap_node *body =
        ordmap_node_new(&d->idem_bodies, key, span_of(req->text, req->text_len));
    if (!body) {
        return CONFAB_NOMEM;
    }
    link_new(&d->idem_bodies, body);
    row.status = req->idem_status;
    VALUE_SET(node, &row);
    return CONFAB_OK;
}

enum confab_err dir_mem_idem_release(struct directory_mem *d, struct dir_request *req)
{
    struct idem_key k = idem_key_of(req);
    struct span key = span_of(k.bytes, k.n);
    struct idem_row row;
    if (!own_claim(d, req, key, &row)) {
        return CONFAB_NOT_FOUND;
    }
    ordmap_node_free(ordmap_unlink(&d->idem, key));
    return CONFAB_OK;
}

enum confab_err dir_mem_idem_purge(struct directory_mem *d, struct dir_request *req)
{
    struct ordmap_node *node = d->idem.head[0];
    while (node && req->ret_count < req->limit) {
        struct idem_row row;
        struct ordmap_node *at = node;
        VALUE_COPY(at, &row);
        node = ordmap_next(at);
        if (row.claimed_ms < req->before_ms) {
            ordmap_node_free(ordmap_unlink(&d->idem_bodies, ordmap_key(at)));
            ordmap_node_free(ordmap_unlink(&d->idem, ordmap_key(at)));
            req->ret_count++;
        }
    }
    req->ret_more = req->ret_count == req->limit;
    return CONFAB_OK;
}
