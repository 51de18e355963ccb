/* Accounts. */
#include "adapters/mem/directory_mem_internal.h"

enum confab_err dir_mem_account_create(struct directory_mem *d, struct dir_request *req)
{
    const struct dir_account *a = &req->account;
    if (find(&d->accounts, key_of(a->user_id)) ||
        ordmap_get(&d->names, span_str(req->username_key))) {
        return CONFAB_EXISTS;
    }
    struct ordmap_node *account =
        new_node(&d->accounts, key_of(a->user_id), span_of(a, sizeof(*a)));
    struct ordmap_node *name = ordmap_node_new(&d->names, span_str(req->username_key),
                                               span_of(&a->user_id, sizeof(a->user_id)));
    if (!account || !name) {
        ordmap_node_free(account);
        ordmap_node_free(name);
        return CONFAB_NOMEM;
    }
    link_new(&d->accounts, account);
    link_new(&d->names, name);
    return CONFAB_OK;
}

enum confab_err dir_mem_account_by_id(struct directory_mem *d, struct dir_request *req)
{
    struct ordmap_node *node = find(&d->accounts, key_of(req->user_id));
    if (!node) {
        return CONFAB_NOT_FOUND;
    }
    VALUE_COPY(node, &req->account);
    return CONFAB_OK;
}

enum confab_err dir_mem_account_by_name(struct directory_mem *d, struct dir_request *req)
{
    struct ordmap_node *node = ordmap_get(&d->names, span_str(req->username_key));
    if (!node) {
        return CONFAB_NOT_FOUND;
    }
    uint64_t id;
    VALUE_COPY(node, &id);
    node = find(&d->accounts, key_of(id));
    CHECK(node);
    VALUE_COPY(node, &req->account);
    return CONFAB_OK;
}

enum confab_err dir_mem_accounts_exist(struct directory_mem *d, struct dir_request *req)
{
    for (uint32_t i = 0; i < req->nids; i++) {
        req->exists[i] = find(&d->accounts, key_of(req->ids[i])) != NULL;
    }
    return CONFAB_OK;
}
