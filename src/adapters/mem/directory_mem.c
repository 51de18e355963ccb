/*
 * Ordered maps under one lock, their keys big endian:
 *
 *     accounts       user                     struct dir_account
 *     names          username key             user
 *     devices        device                   struct dir_device
 *     user_devices   user, device             nothing
 *     tokens         token hash               device
 *     conversations  user, conversation       struct dir_conv_row
 *
 * A request that needs several rows makes all their nodes before it links the first.
 */
#include "adapters/mem/directory_mem.h"

#include <pthread.h>
#include <stdlib.h>

#include "adapters/mem/ordmap.h"
#include "base/check.h"
#include "ports/dir_adapter.h"

struct directory_mem {
    struct directory base;
    struct executor *ex;
    pthread_mutex_t lock;
    struct ordmap accounts;
    struct ordmap names;
    struct ordmap devices;
    struct ordmap user_devices;
    struct ordmap tokens;
    struct ordmap conversations;
    uint64_t projected[ID_PARTITIONS];
};

static const struct directory_ops OPS;

static struct directory_mem *mem_of(struct directory *dir)
{
    CHECK(dir->ops == &OPS);
    return CONTAINER_OF(dir, struct directory_mem, base);
}

struct key {
    uint8_t bytes[24];
    size_t n;
};

static void key_put_u64(struct key *k, uint64_t v)
{
    for (int i = 7; i >= 0; i--) {
        k->bytes[k->n++] = (uint8_t)(v >> (8 * i));
    }
}

static struct key key_of(uint64_t v)
{
    struct key k = {.n = 0};
    key_put_u64(&k, v);
    return k;
}

static struct key key_of_two(uint64_t a, uint64_t b)
{
    struct key k = key_of(a);
    key_put_u64(&k, b);
    return k;
}

static struct key key_of_conv(uint64_t user, struct conv_id conv)
{
    struct key k = key_of_two(user, conv.hi);
    key_put_u64(&k, conv.lo);
    return k;
}

static struct span key_span(const struct key *k)
{
    return span_of(k->bytes, k->n);
}

static struct ordmap_node *find(const struct ordmap *m, struct key k)
{
    return ordmap_get(m, key_span(&k));
}

static struct ordmap_node *new_node(struct ordmap *m, struct key k, struct span value)
{
    return ordmap_node_new(m, key_span(&k), value);
}

/* The value was stored as the bytes of this type; the copy aligns it. */
#define VALUE_COPY(node, out)                                                                      \
    do {                                                                                           \
        struct span v_ = ordmap_value(node);                                                       \
        CHECK(v_.n == sizeof(*(out)));                                                             \
        memcpy(out, v_.p, sizeof(*(out)));                                                         \
    } while (0)

static void link_new(struct ordmap *m, struct ordmap_node *node)
{
    struct ordmap_node *old = ordmap_link(m, node);
    CHECK(!old);
}

static enum confab_err account_create(struct directory_mem *d, struct dir_request *req)
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

static enum confab_err account_by_id(struct directory_mem *d, struct dir_request *req, uint64_t id)
{
    struct ordmap_node *node = find(&d->accounts, key_of(id));
    if (!node) {
        return CONFAB_NOT_FOUND;
    }
    VALUE_COPY(node, &req->account);
    return CONFAB_OK;
}

static enum confab_err account_by_name(struct directory_mem *d, struct dir_request *req)
{
    struct ordmap_node *node = ordmap_get(&d->names, span_str(req->username_key));
    if (!node) {
        return CONFAB_NOT_FOUND;
    }
    uint64_t id;
    VALUE_COPY(node, &id);
    return account_by_id(d, req, id);
}

/* The first row of the user in a map whose keys begin with users, after `k`; NULL at the end. */
static struct ordmap_node *user_row(const struct ordmap *m, const struct key *k, uint64_t user)
{
    struct ordmap_node *node = ordmap_from(m, key_span(k));
    struct key prefix = key_of(user);
    return node && memcmp(ordmap_key(node).p, prefix.bytes, prefix.n) == 0 ? node : NULL;
}

static struct ordmap_node *user_row_next(const struct ordmap_node *node, uint64_t user)
{
    struct ordmap_node *next = ordmap_next(node);
    struct key prefix = key_of(user);
    return next && memcmp(ordmap_key(next).p, prefix.bytes, prefix.n) == 0 ? next : NULL;
}

static uint32_t count_devices(const struct directory_mem *d, uint64_t user)
{
    uint32_t n = 0;
    struct key k = key_of(user);
    for (struct ordmap_node *node = user_row(&d->user_devices, &k, user); node;
         node = user_row_next(node, user)) {
        n++;
    }
    return n;
}

static enum confab_err device_create(struct directory_mem *d, struct dir_request *req)
{
    const struct dir_device *dev = &req->device;
    struct span token = span_of(dev->token_hash, sizeof(dev->token_hash));
    if (!find(&d->accounts, key_of(dev->user_id))) {
        return CONFAB_NOT_FOUND;
    }
    if (find(&d->devices, key_of(dev->device_id)) || ordmap_get(&d->tokens, token)) {
        return CONFAB_EXISTS;
    }
    if (count_devices(d, dev->user_id) >= req->devices_max) {
        return CONFAB_LIMIT;
    }
    struct span id = span_of(&dev->device_id, sizeof(dev->device_id));
    struct ordmap_node *row =
        new_node(&d->devices, key_of(dev->device_id), span_of(dev, sizeof(*dev)));
    struct ordmap_node *of_user =
        new_node(&d->user_devices, key_of_two(dev->user_id, dev->device_id), id);
    struct ordmap_node *of_token = ordmap_node_new(&d->tokens, token, id);
    if (!row || !of_user || !of_token) {
        ordmap_node_free(row);
        ordmap_node_free(of_user);
        ordmap_node_free(of_token);
        return CONFAB_NOMEM;
    }
    link_new(&d->devices, row);
    link_new(&d->user_devices, of_user);
    link_new(&d->tokens, of_token);
    return CONFAB_OK;
}

static void load_device(const struct directory_mem *d, const struct ordmap_node *id_node,
                        struct dir_device *ret)
{
    uint64_t id;
    VALUE_COPY(id_node, &id);
    struct ordmap_node *node = find(&d->devices, key_of(id));
    CHECK(node);
    VALUE_COPY(node, ret);
}

static enum confab_err device_by_token(struct directory_mem *d, struct dir_request *req)
{
    struct ordmap_node *node =
        ordmap_get(&d->tokens, span_of(req->token_hash, sizeof(req->token_hash)));
    if (!node) {
        return CONFAB_NOT_FOUND;
    }
    load_device(d, node, &req->device);
    return CONFAB_OK;
}

static enum confab_err device_list(struct directory_mem *d, struct dir_request *req)
{
    struct key k = key_of(req->user_id);
    enum confab_err err = CONFAB_OK;
    for (struct ordmap_node *node = user_row(&d->user_devices, &k, req->user_id);
         node && err == CONFAB_OK; node = user_row_next(node, req->user_id)) {
        struct dir_device device;
        load_device(d, node, &device);
        err = dir_results_add_device(req, &device);
    }
    return err;
}

static enum confab_err device_revoke(struct directory_mem *d, struct dir_request *req)
{
    struct key pair = key_of_two(req->user_id, req->device_id);
    struct ordmap_node *of_user = find(&d->user_devices, pair);
    if (!of_user) {
        return CONFAB_NOT_FOUND;
    }
    struct dir_device device;
    load_device(d, of_user, &device);
    struct key id = key_of(device.device_id);
    ordmap_node_free(ordmap_unlink(&d->user_devices, key_span(&pair)));
    ordmap_node_free(ordmap_unlink(&d->devices, key_span(&id)));
    ordmap_node_free(
        ordmap_unlink(&d->tokens, span_of(device.token_hash, sizeof(device.token_hash))));
    return CONFAB_OK;
}

static enum confab_err project(struct directory_mem *d, const struct dir_request *req)
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

static enum confab_err conversations_list(struct directory_mem *d, struct dir_request *req)
{
    struct key k = key_of_conv(req->user_id, req->after);
    struct ordmap_node *node = user_row(&d->conversations, &k, req->user_id);
    if (node && span_eq(ordmap_key(node), key_span(&k))) {
        node = user_row_next(node, req->user_id);
    }
    enum confab_err err = CONFAB_OK;
    while (node && err == CONFAB_OK && req->nconv_rows < req->limit) {
        struct dir_conv_row row;
        VALUE_COPY(node, &row);
        err = dir_results_add_row(req, &row);
        node = user_row_next(node, req->user_id);
    }
    return err;
}

static enum confab_err run(struct directory_mem *d, struct dir_request *req)
{
    switch (req->op) {
    case DIR_ACCOUNT_CREATE:
        return account_create(d, req);
    case DIR_ACCOUNT_BY_NAME:
        return account_by_name(d, req);
    case DIR_ACCOUNT_BY_ID:
        return account_by_id(d, req, req->user_id);
    case DIR_ACCOUNTS_EXIST:
        for (uint32_t i = 0; i < req->nids; i++) {
            req->exists[i] = find(&d->accounts, key_of(req->ids[i])) != NULL;
        }
        return CONFAB_OK;
    case DIR_DEVICE_CREATE:
        return device_create(d, req);
    case DIR_DEVICE_BY_TOKEN:
        return device_by_token(d, req);
    case DIR_DEVICE_LIST:
        return device_list(d, req);
    case DIR_DEVICE_REVOKE:
        return device_revoke(d, req);
    case DIR_CONVERSATIONS_PROJECT:
        return project(d, req);
    case DIR_CONVERSATIONS_LIST:
        return conversations_list(d, req);
    case DIR_PROJECTED_LSN:
        req->lsn = d->projected[req->partition];
        return CONFAB_OK;
    case DIR_PING:
        return CONFAB_OK;
    case DIR_ACCOUNT_UPDATE:
    case DIR_ACCOUNT_DELETE:
    case DIR_ACCOUNTS_LIST:
    case DIR_ADMINS_COUNT:
    case DIR_DEVICE_BY_ID:
    case DIR_DEVICE_RENAME:
    case DIR_DEVICE_ROTATE:
    case DIR_DEVICES_REVOKE_ALL:
    case DIR_DEVICES_REVOKED:
    case DIR_DEVICES_PURGE:
    case DIR_INVITE_CREATE:
    case DIR_INVITE_BY_CODE:
    case DIR_INVITES_LIST:
    case DIR_INVITE_REVOKE:
    case DIR_INVITES_PURGE:
    case DIR_SETTING_GET:
    case DIR_SETTING_SET:
    case DIR_AUDIT_APPEND:
    case DIR_AUDIT_LIST:
    case DIR_IDEM_CLAIM:
    case DIR_IDEM_FINISH:
    case DIR_IDEM_RELEASE:
    case DIR_IDEM_PURGE:
        return CONFAB_UNSUPPORTED;
    }
    return CONFAB_INVALID;
}

static void run_request(struct job *job)
{
    struct dir_request *req = CONTAINER_OF(job, struct dir_request, job);
    struct directory_mem *d = req->adapter;
    dir_results_clear(req);
    enum confab_err err = dir_request_check(req);
    if (err == CONFAB_OK) {
        pthread_mutex_lock(&d->lock);
        err = run(d, req);
        pthread_mutex_unlock(&d->lock);
    }
    if (err != CONFAB_OK) {
        dir_results_clear(req);
    }
    req->ret_err = err;
    req->done(req); /* may free the request */
}

static enum confab_err mem_submit(struct directory *dir, struct dir_request *req)
{
    struct directory_mem *d = mem_of(dir);
    req->adapter = d;
    req->job.run = run_request;
    return executor_submit(d->ex, &req->job);
}

enum confab_err directory_mem_open(struct executor *ex, struct directory **ret)
{
    struct directory_mem *d = calloc(1, sizeof(*d));
    if (!d) {
        return CONFAB_NOMEM;
    }
    d->base.ops = &OPS;
    d->ex = ex;
    CHECK(pthread_mutex_init(&d->lock, NULL) == 0);
    *ret = &d->base;
    return CONFAB_OK;
}

void directory_mem_close(struct directory *dir)
{
    if (!dir) {
        return;
    }
    struct directory_mem *d = mem_of(dir);
    ordmap_deinit(&d->accounts);
    ordmap_deinit(&d->names);
    ordmap_deinit(&d->devices);
    ordmap_deinit(&d->user_devices);
    ordmap_deinit(&d->tokens);
    ordmap_deinit(&d->conversations);
    pthread_mutex_destroy(&d->lock);
    free(d);
}

void directory_mem_attach(struct directory *dir, struct executor *ex)
{
    struct directory_mem *d = mem_of(dir);
    pthread_mutex_lock(&d->lock);
    d->ex = ex;
    pthread_mutex_unlock(&d->lock);
}

static const struct directory_ops OPS = {"mem", 1, mem_submit};
