/* Devices and their chains of refresh tokens. */
#include "adapters/mem/directory_mem_internal.h"
#include "ports/dir_adapter.h"

static struct span hash_span(const uint8_t hash[DIR_TOKEN_HASH])
{
    return span_of(hash, DIR_TOKEN_HASH);
}

static bool has_chain(const struct dir_device *dev)
{
    static const uint8_t zero[DIR_TOKEN_HASH];
    return memcmp(dev->chain_hash, zero, sizeof(zero)) != 0;
}

/* The row of the device whose id is this node's value; *ret gets a copy. */
static struct ordmap_node *load_device(const struct directory_mem *d,
                                       const struct ordmap_node *id_node, struct dir_device *ret)
{
    uint64_t id;
    VALUE_COPY(id_node, &id);
    struct ordmap_node *node = find(&d->devices, key_of(id));
    CHECK(node);
    VALUE_COPY(node, ret);
    return node;
}

/* NULL when it is missing, revoked or, unless `user` is 0, not the user's. */
static struct ordmap_node *find_device(const struct directory_mem *d, uint64_t user, uint64_t id,
                                       struct dir_device *ret)
{
    struct ordmap_node *node = find(&d->devices, key_of(id));
    if (!node) {
        return NULL;
    }
    struct dir_device dev;
    VALUE_COPY(node, &dev);
    if (dev.revoked_ms != 0 || (user != 0 && user != dev.user_id)) {
        return NULL;
    }
    *ret = dev;
    return node;
}

uint32_t dir_mem_count_devices(const struct directory_mem *d, uint64_t user)
{
    uint32_t n = 0;
    struct key k = key_of(user);
    for (struct ordmap_node *node = dir_mem_user_row(&d->user_devices, &k, user); node;
         node = dir_mem_user_row_next(node, user)) {
        n++;
    }
    return n;
}

static enum confab_err may_create(const struct directory_mem *d, const struct dir_request *req)
{
    const struct dir_device *dev = &req->device;
    struct ordmap_node *owner = find(&d->accounts, key_of(dev->user_id));
    if (!owner) {
        return CONFAB_NOT_FOUND;
    }
    struct account_row row;
    VALUE_COPY(owner, &row);
    enum confab_err err = dir_account_signs_in(&row.account, req->account.password_hash);
    if (err != CONFAB_OK) {
        return err;
    }
    if (find(&d->devices, key_of(dev->device_id)) ||
        ordmap_get(&d->tokens, hash_span(dev->token_hash)) ||
        (has_chain(dev) && ordmap_get(&d->chains, hash_span(dev->chain_hash)))) {
        return CONFAB_EXISTS;
    }
    return dir_mem_count_devices(d, dev->user_id) >= req->devices_max ? CONFAB_LIMIT : CONFAB_OK;
}

enum confab_err dir_mem_device_create(struct directory_mem *d, struct dir_request *req)
{
    enum confab_err err = may_create(d, req);
    if (err != CONFAB_OK) {
        return err;
    }
    struct dir_device dev = req->device;
    dir_device_begin(&dev);
    struct span id = span_of(&dev.device_id, sizeof(dev.device_id));
    struct ordmap_node *row =
        new_node(&d->devices, key_of(dev.device_id), span_of(&dev, sizeof(dev)));
    struct ordmap_node *of_user =
        new_node(&d->user_devices, key_of_two(dev.user_id, dev.device_id), id);
    struct ordmap_node *of_token = ordmap_node_new(&d->tokens, hash_span(dev.token_hash), id);
    struct ordmap_node *of_chain = ordmap_node_new(&d->chains, hash_span(dev.chain_hash), id);
    if (!row || !of_user || !of_token || !of_chain) {
        ordmap_node_free(row);
        ordmap_node_free(of_user);
        ordmap_node_free(of_token);
        ordmap_node_free(of_chain);
        return CONFAB_NOMEM;
    }
    link_new(&d->devices, row);
    link_new(&d->user_devices, of_user);
    link_new(&d->tokens, of_token);
    if (has_chain(&dev)) {
        link_new(&d->chains, of_chain);
    } else {
        ordmap_node_free(of_chain);
    }
    req->device = dev;
    return CONFAB_OK;
}

enum confab_err dir_mem_device_by_token(struct directory_mem *d, struct dir_request *req)
{
    struct ordmap_node *node = ordmap_get(&d->tokens, hash_span(req->token_hash));
    struct dir_device dev;
    if (!node || (load_device(d, node, &dev), dev.revoked_ms != 0)) {
        return CONFAB_NOT_FOUND;
    }
    req->device = dev;
    return CONFAB_OK;
}

enum confab_err dir_mem_device_by_id(struct directory_mem *d, struct dir_request *req)
{
    return find_device(d, req->user_id, req->device_id, &req->device) ? CONFAB_OK
                                                                      : CONFAB_NOT_FOUND;
}

enum confab_err dir_mem_device_list(struct directory_mem *d, struct dir_request *req)
{
    struct key k = key_of(req->user_id);
    enum confab_err err = CONFAB_OK;
    for (struct ordmap_node *node = dir_mem_user_row(&d->user_devices, &k, req->user_id);
         node && err == CONFAB_OK; node = dir_mem_user_row_next(node, req->user_id)) {
        struct dir_device dev;
        load_device(d, node, &dev);
        err = dir_results_add_device(req, &dev);
    }
    return err;
}

enum confab_err dir_mem_device_rename(struct directory_mem *d, struct dir_request *req)
{
    struct dir_device dev;
    struct ordmap_node *node = find_device(d, req->user_id, req->device_id, &dev);
    if (!node) {
        return CONFAB_NOT_FOUND;
    }
    memcpy(dev.name, req->device.name, sizeof(dev.name));
    VALUE_SET(node, &dev);
    req->device = dev;
    return CONFAB_OK;
}

static void revoke(struct directory_mem *d, struct ordmap_node *node, struct dir_device *dev,
                   uint64_t now_ms)
{
    dev->revoked_ms = now_ms;
    VALUE_SET(node, dev);
    drop(&d->user_devices, key_of_two(dev->user_id, dev->device_id));
}

enum confab_err dir_mem_device_rotate(struct directory_mem *d, struct dir_request *req)
{
    struct dir_device dev;
    struct ordmap_node *chain = ordmap_get(&d->chains, hash_span(req->chain_hash));
    struct ordmap_node *row = chain ? load_device(d, chain, &dev) : NULL;
    if (!row || dev.revoked_ms != 0) {
        return CONFAB_NOT_FOUND;
    }
    enum dir_rotated rotated = dir_device_present(&dev, req);
    if (rotated == DIR_ROTATED) {
        if (ordmap_get(&d->tokens, hash_span(req->next_hash))) {
            return CONFAB_EXISTS;
        }
        struct ordmap_node *token = ordmap_node_new(&d->tokens, hash_span(req->next_hash),
                                                    span_of(&dev.device_id, sizeof(dev.device_id)));
        if (!token) {
            return CONFAB_NOMEM;
        }
        link_new(&d->tokens, token);
        ordmap_node_free(ordmap_unlink(&d->tokens, hash_span(dev.token_hash)));
        dir_device_rotate(&dev, req);
        VALUE_SET(row, &dev);
    } else if (rotated == DIR_ROTATE_REUSED) {
        revoke(d, row, &dev, req->now_ms);
    }
    struct ordmap_node *owner = find(&d->accounts, key_of(dev.user_id));
    CHECK(owner);
    struct account_row account;
    VALUE_COPY(owner, &account);
    req->account = account.account;
    req->device = dev;
    req->ret_rotated = rotated;
    return CONFAB_OK;
}

enum confab_err dir_mem_device_revoke(struct directory_mem *d, struct dir_request *req)
{
    struct dir_device dev;
    struct ordmap_node *node = find_device(d, req->user_id, req->device_id, &dev);
    if (!node) {
        return CONFAB_NOT_FOUND;
    }
    revoke(d, node, &dev, req->now_ms);
    return CONFAB_OK;
}

enum confab_err dir_mem_devices_end(struct directory_mem *d, struct dir_request *req,
                                    uint64_t spared)
{
    struct key k = key_of(req->user_id);
    enum confab_err err = CONFAB_OK;
    for (struct ordmap_node *node = dir_mem_user_row(&d->user_devices, &k, req->user_id);
         node && err == CONFAB_OK; node = dir_mem_user_row_next(node, req->user_id)) {
        uint64_t id;
        VALUE_COPY(node, &id);
        if (id != spared) {
            err = dir_results_add_id(req, id);
        }
    }
    for (uint32_t i = 0; err == CONFAB_OK && i < req->ret_nids; i++) {
        struct dir_device dev;
        struct ordmap_node *node = find_device(d, req->user_id, req->ret_ids[i], &dev);
        CHECK(node);
        revoke(d, node, &dev, req->now_ms);
    }
    return err;
}

enum confab_err dir_mem_devices_revoke_all(struct directory_mem *d, struct dir_request *req)
{
    return dir_mem_devices_end(d, req, req->device_id);
}

enum confab_err dir_mem_devices_revoked(struct directory_mem *d, struct dir_request *req)
{
    struct key k = key_of(req->after_id + 1);
    enum confab_err err = CONFAB_OK;
    for (struct ordmap_node *node = ordmap_from(&d->devices, key_span(&k));
         node && err == CONFAB_OK && !req->ret_more; node = ordmap_next(node)) {
        struct dir_device dev;
        VALUE_COPY(node, &dev);
        if (dev.revoked_ms == 0 || dev.revoked_ms < req->since_ms) {
            continue;
        }
        if (req->ret_nids == req->limit) {
            req->ret_more = true;
        } else {
            err = dir_results_add_id(req, dev.device_id);
        }
    }
    return err;
}

static void remove_device(struct directory_mem *d, const struct dir_device *dev)
{
    ordmap_node_free(ordmap_unlink(&d->tokens, hash_span(dev->token_hash)));
    if (has_chain(dev)) {
        ordmap_node_free(ordmap_unlink(&d->chains, hash_span(dev->chain_hash)));
    }
    drop(&d->devices, key_of(dev->device_id));
}

enum confab_err dir_mem_devices_purge(struct directory_mem *d, struct dir_request *req)
{
    uint32_t removed = 0;
    enum confab_err err = CONFAB_OK;
    for (struct ordmap_node *node = d->devices.head[0]; node && err == CONFAB_OK;
         node = ordmap_next(node)) {
        struct dir_device dev;
        VALUE_COPY(node, &dev);
        if (dev.revoked_ms == 0 && dev.last_used_ms < req->idle_before_ms &&
            req->ret_nids < req->limit) {
            err = dir_results_add_id(req, dev.device_id);
        }
    }
    if (err != CONFAB_OK) {
        return err;
    }
    struct ordmap_node *node = d->devices.head[0];
    while (node && removed < req->limit) {
        struct dir_device dev;
        VALUE_COPY(node, &dev);
        node = ordmap_next(node);
        if (dev.revoked_ms != 0 && dev.revoked_ms < req->revoked_before_ms) {
            remove_device(d, &dev);
            removed++;
        }
    }
    for (uint32_t i = 0; i < req->ret_nids; i++) {
        struct dir_device dev;
        node = find_device(d, 0, req->ret_ids[i], &dev);
        CHECK(node);
        revoke(d, node, &dev, req->now_ms);
    }
    req->ret_more = removed == req->limit || req->ret_nids == req->limit;
    return CONFAB_OK;
}
