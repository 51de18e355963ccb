/*
 * Accounts. A list looks at all of them, sorts and takes a page: this adapter is what others are
 * held against, so it does it in the plainest way.
 */
#include <stdlib.h>

#include "adapters/mem/directory_mem_internal.h"
#include "ports/dir_adapter.h"
#include "ports/dir_words.h"

/* The invite that is to be used, and its row; NULL when it may not be. */
static struct ordmap_node *find_invite(const struct directory_mem *d, const struct dir_request *req,
                                       struct dir_invite *ret)
{
    struct ordmap_node *node = dir_mem_invite_by_code(d, &req->invite, ret);
    return node && dir_invite_is_open(ret, req->now_ms) ? node : NULL;
}

static enum confab_err insert_account(struct directory_mem *d, const struct account_row *row)
{
    uint64_t id = row->account.user_id;
    if (find(&d->accounts, key_of(id)) || ordmap_get(&d->names, span_str(row->key))) {
        return CONFAB_EXISTS;
    }
    struct ordmap_node *account = new_node(&d->accounts, key_of(id), span_of(row, sizeof(*row)));
    struct ordmap_node *name =
        ordmap_node_new(&d->names, span_str(row->key), span_of(&id, sizeof(id)));
    if (!account || !name) {
        ordmap_node_free(account);
        ordmap_node_free(name);
        return CONFAB_NOMEM;
    }
    link_new(&d->accounts, account);
    link_new(&d->names, name);
    return CONFAB_OK;
}

enum confab_err dir_mem_account_create(struct directory_mem *d, struct dir_request *req)
{
    struct account_row row = {.account = req->account};
    struct dir_invite invite = req->invite;
    struct ordmap_node *used = req->use_invite ? find_invite(d, req, &invite) : NULL;
    if (req->use_invite && !used) {
        return CONFAB_INVITE_INVALID;
    }
    dir_account_begin(&row.account);
    if (used && invite.kind == DIR_INVITE_SETUP) {
        row.account.role = DIR_ROLE_ADMIN;
    }
    memcpy(row.key, req->username_key, sizeof(row.key));
    enum confab_err err = insert_account(d, &row);
    if (err != CONFAB_OK) {
        return err;
    }
    if (used) {
        dir_invite_use(&invite, req->now_ms);
        VALUE_SET(used, &invite);
    }
    req->account = row.account;
    req->invite = invite;
    return CONFAB_OK;
}

static enum confab_err load_account(struct directory_mem *d, uint64_t id, struct dir_request *req)
{
    struct ordmap_node *node = find(&d->accounts, key_of(id));
    if (!node) {
        return CONFAB_NOT_FOUND;
    }
    struct account_row row;
    VALUE_COPY(node, &row);
    req->account = row.account;
    memcpy(req->username_key, row.key, sizeof(row.key));
    return CONFAB_OK;
}

enum confab_err dir_mem_account_by_id(struct directory_mem *d, struct dir_request *req)
{
    return load_account(d, req->user_id, req);
}

enum confab_err dir_mem_account_by_name(struct directory_mem *d, struct dir_request *req)
{
    struct ordmap_node *node = ordmap_get(&d->names, span_str(req->username_key));
    if (!node) {
        return CONFAB_NOT_FOUND;
    }
    uint64_t id;
    VALUE_COPY(node, &id);
    return load_account(d, id, req);
}

enum confab_err dir_mem_accounts_exist(struct directory_mem *d, struct dir_request *req)
{
    for (uint32_t i = 0; i < req->nids; i++) {
        struct ordmap_node *node = find(&d->accounts, key_of(req->ids[i]));
        struct account_row row;
        req->exists[i] = node != NULL;
        if (req->deleted) {
            row.account.status = DIR_STATUS_ACTIVE;
            if (node) {
                VALUE_COPY(node, &row);
            }
            req->deleted[i] = row.account.status == DIR_STATUS_DELETED;
        }
    }
    return CONFAB_OK;
}

enum confab_err dir_mem_admins_count(struct directory_mem *d, struct dir_request *req)
{
    req->ret_count = 0;
    for (struct ordmap_node *node = d->accounts.head[0]; node; node = ordmap_next(node)) {
        struct account_row row;
        VALUE_COPY(node, &row);
        req->ret_count += dir_account_is_admin(&row.account);
    }
    return CONFAB_OK;
}

enum confab_err dir_mem_account_change(struct directory_mem *d, struct dir_request *req)
{
    struct ordmap_node *node = find(&d->accounts, key_of(req->user_id));
    if (!node) {
        return CONFAB_NOT_FOUND;
    }
    struct account_row row;
    VALUE_COPY(node, &row);
    struct dir_account before = row.account;
    struct dir_request admins = {.op = DIR_ADMINS_COUNT};
    enum confab_err err = dir_mem_admins_count(d, &admins);
    dir_account_change(&row.account, req);
    if (err == CONFAB_OK) {
        err = dir_account_may_become(&before, &row.account, admins.ret_count);
    }
    if (err == CONFAB_OK && !dir_account_is_as_verified(&before, req)) {
        err = CONFAB_UNAUTHENTICATED;
    }
    uint64_t spared;
    if (err == CONFAB_OK && dir_account_ends_devices(req, &row.account, &spared)) {
        err = dir_mem_devices_end(d, req, spared);
    }
    if (err != CONFAB_OK) {
        return err;
    }
    row.leaving = row.account.status == DIR_STATUS_DELETED;
    VALUE_SET(node, &row);
    if (row.account.status == DIR_STATUS_DELETED) {
        drop(&d->seen, key_of(req->user_id));
    }
    req->account = row.account;
    memcpy(req->username_key, row.key, sizeof(row.key));
    return CONFAB_OK;
}

enum confab_err dir_mem_accounts_leaving(struct directory_mem *d, struct dir_request *req)
{
    struct key k = key_of(req->after_id + 1);
    enum confab_err err = CONFAB_OK;
    for (struct ordmap_node *node = ordmap_from(&d->accounts, key_span(&k));
         node && err == CONFAB_OK && !req->ret_more; node = ordmap_next(node)) {
        struct account_row row;
        VALUE_COPY(node, &row);
        if (row.leaving && req->ret_nids == req->limit) {
            req->ret_more = true;
        } else if (row.leaving) {
            err = dir_results_add_id(req, row.account.user_id);
        }
    }
    return err;
}

enum confab_err dir_mem_account_left(struct directory_mem *d, struct dir_request *req)
{
    struct ordmap_node *node = find(&d->accounts, key_of(req->user_id));
    struct account_row row = {.leaving = false};
    if (node) {
        VALUE_COPY(node, &row);
    }
    if (!row.leaving) {
        return CONFAB_NOT_FOUND;
    }
    row.leaving = false;
    VALUE_SET(node, &row);
    return CONFAB_OK;
}

enum confab_err dir_mem_names(struct directory_mem *d, struct dir_request *req)
{
    enum confab_err err = CONFAB_OK;
    for (uint32_t i = 0; i < req->nids && err == CONFAB_OK; i++) {
        struct dir_request one = {.op = DIR_ACCOUNT_BY_ID};
        (void)load_account(d, req->ids[i], &one);
        err = dir_results_add_name(req, &one.account);
    }
    return err;
}

/* ---- lists ---- */

struct candidate {
    char key[DIR_USERNAME_BYTES + 1]; /* what the list is ordered by */
    uint64_t id;
};

static int compare(const void *a, const void *b)
{
    const struct candidate *x = a;
    const struct candidate *y = b;
    int c = strcmp(x->key, y->key);
    return c != 0 ? c : (x->id > y->id) - (x->id < y->id);
}

/* False when the account is not in this list. */
static bool candidate_of(const struct account_row *row, const struct dir_request *req,
                         const struct dir_query *query, struct candidate *ret)
{
    enum dir_status status = row->account.status;
    const char *key = row->key;
    struct dir_words words;
    if (req->status != DIR_STATUS_ANY && req->status != status) {
        return false;
    }
    if (query) {
        dir_words_of_account(row->key, row->account.display_name, &words);
        key = status == DIR_STATUS_DELETED ? NULL : dir_query_match(query, &words);
    }
    if (!key) {
        return false;
    }
    *ret = (struct candidate){.id = row->account.user_id};
    memcpy(ret->key, key, strlen(key) + 1);
    struct candidate after = {.id = req->after_id};
    memcpy(after.key, req->after_key, sizeof(after.key));
    return query || req->after_key[0] == 0 ? compare(ret, &after) > 0
                                           : strcmp(ret->key, after.key) > 0;
}

static enum confab_err take_page(struct directory_mem *d, struct dir_request *req,
                                 const struct candidate *all, size_t n)
{
    enum confab_err err = CONFAB_OK;
    for (size_t i = 0; i < n && i < req->limit && err == CONFAB_OK; i++) {
        struct dir_request found = {.op = DIR_ACCOUNT_BY_ID};
        err = load_account(d, all[i].id, &found);
        if (err == CONFAB_OK) {
            found.account.ndevices = dir_mem_count_devices(d, all[i].id);
            err = dir_results_add_account(req, &found.account);
        }
        memcpy(req->ret_after_key, all[i].key, sizeof(all[i].key));
        req->ret_after_id = all[i].id;
    }
    req->ret_more = n > req->limit;
    return err;
}

enum confab_err dir_mem_accounts_list(struct directory_mem *d, struct dir_request *req)
{
    struct dir_query query;
    const struct dir_query *q =
        req->query[0] != 0 && dir_query_of(req->query, &query) ? &query : NULL;
    struct candidate *all = calloc(d->accounts.count + 1, sizeof(*all));
    if (!all) {
        return CONFAB_NOMEM;
    }
    size_t n = 0;
    for (struct ordmap_node *node = d->accounts.head[0]; node; node = ordmap_next(node)) {
        struct account_row row;
        VALUE_COPY(node, &row);
        n += candidate_of(&row, req, q, &all[n]);
    }
    qsort(all, n, sizeof(*all), compare);
    enum confab_err err = take_page(d, req, all, n);
    free(all);
    return err;
}
