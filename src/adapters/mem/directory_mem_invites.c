/* Invites. */
#include "adapters/mem/directory_mem_internal.h"
#include "ports/dir_adapter.h"

static struct span code_span(const struct dir_invite *i)
{
    return span_of(i->code_hash, sizeof(i->code_hash));
}

struct ordmap_node *dir_mem_invite_by_code(const struct directory_mem *d,
                                           const struct dir_invite *wanted, struct dir_invite *ret)
{
    struct ordmap_node *node = ordmap_get(&d->codes, code_span(wanted));
    if (!node) {
        return NULL;
    }
    uint64_t id;
    VALUE_COPY(node, &id);
    node = find(&d->invites, key_of(id));
    CHECK(node);
    VALUE_COPY(node, ret);
    return node;
}

static uint32_t count_open(const struct directory_mem *d, uint64_t creator, uint64_t now_ms)
{
    uint32_t n = 0;
    for (struct ordmap_node *node = d->invites.head[0]; node; node = ordmap_next(node)) {
        struct dir_invite i;
        VALUE_COPY(node, &i);
        n += i.created_by == creator && dir_invite_is_open(&i, now_ms);
    }
    return n;
}

static void replace_setups(struct directory_mem *d, uint64_t now_ms)
{
    for (struct ordmap_node *node = d->invites.head[0]; node; node = ordmap_next(node)) {
        struct dir_invite i;
        VALUE_COPY(node, &i);
        if (i.kind == DIR_INVITE_SETUP && i.revoked_ms == 0 && i.uses < i.uses_max) {
            dir_invite_revoke(&i, now_ms);
            VALUE_SET(node, &i);
        }
    }
}

enum confab_err dir_mem_invite_create(struct directory_mem *d, struct dir_request *req)
{
    struct dir_invite i = req->invite;
    dir_invite_begin(&i);
    if (find(&d->invites, key_of(i.invite_id)) || ordmap_get(&d->codes, code_span(&i))) {
        return CONFAB_EXISTS;
    }
    if (i.kind == DIR_INVITE_MEMBER && req->invites_max > 0 &&
        count_open(d, i.created_by, i.created_ms) >= req->invites_max) {
        return CONFAB_LIMIT;
    }
    struct ordmap_node *row = new_node(&d->invites, key_of(i.invite_id), span_of(&i, sizeof(i)));
    struct ordmap_node *code =
        ordmap_node_new(&d->codes, code_span(&i), span_of(&i.invite_id, sizeof(i.invite_id)));
    if (!row || !code) {
        ordmap_node_free(row);
        ordmap_node_free(code);
        return CONFAB_NOMEM;
    }
    if (i.kind == DIR_INVITE_SETUP) {
        replace_setups(d, i.created_ms);
    }
    link_new(&d->invites, row);
    link_new(&d->codes, code);
    req->invite = i;
    return CONFAB_OK;
}

enum confab_err dir_mem_invite_find(struct directory_mem *d, struct dir_request *req)
{
    struct dir_invite found;
    if (!dir_mem_invite_by_code(d, &req->invite, &found)) {
        return CONFAB_NOT_FOUND;
    }
    req->invite = found;
    return CONFAB_OK;
}

enum confab_err dir_mem_invites_list(struct directory_mem *d, struct dir_request *req)
{
    struct key k = key_of(req->after_id == 0 ? UINT64_MAX : req->after_id);
    enum confab_err err = CONFAB_OK;
    for (struct ordmap_node *node = ordmap_below(&d->invites, key_span(&k));
         node && err == CONFAB_OK && !req->ret_more;
         node = ordmap_below(&d->invites, ordmap_key(node))) {
        struct dir_invite i;
        VALUE_COPY(node, &i);
        if (req->user_id != 0 && i.created_by != req->user_id) {
            continue;
        }
        if (req->ret_ninvites == req->limit) {
            req->ret_more = true;
        } else {
            err = dir_results_add_invite(req, &i);
        }
    }
    return err;
}

enum confab_err dir_mem_invite_revoke(struct directory_mem *d, struct dir_request *req)
{
    struct dir_invite i;
    struct ordmap_node *node = find(&d->invites, key_of(req->invite.invite_id));
    if (!node) {
        return CONFAB_NOT_FOUND;
    }
    VALUE_COPY(node, &i);
    if (i.revoked_ms != 0 || (req->user_id != 0 && req->user_id != i.created_by)) {
        return CONFAB_NOT_FOUND;
    }
    dir_invite_revoke(&i, req->now_ms);
    VALUE_SET(node, &i);
    req->invite = i;
    return CONFAB_OK;
}

enum confab_err dir_mem_invites_purge(struct directory_mem *d, struct dir_request *req)
{
    struct ordmap_node *node = d->invites.head[0];
    while (node && req->ret_count < req->limit) {
        struct dir_invite i;
        VALUE_COPY(node, &i);
        node = ordmap_next(node);
        if (i.ended_ms != 0 && i.ended_ms < req->before_ms) {
            ordmap_node_free(ordmap_unlink(&d->codes, code_span(&i)));
            drop(&d->invites, key_of(i.invite_id));
            req->ret_count++;
        }
    }
    req->ret_more = req->ret_count == req->limit;
    return CONFAB_OK;
}
