/*
 * Ordered maps under one lock (see directory_mem_internal.h). A request that needs several rows
 * makes all their nodes, that of its audit record first, before it links or changes anything.
 */
#include "adapters/mem/directory_mem.h"

#include <stdlib.h>

#include "adapters/mem/directory_mem_internal.h"
#include "ports/dir_adapter.h"

static const struct directory_ops OPS;

static struct directory_mem *mem_of(struct directory *dir)
{
    CHECK(dir->ops == &OPS);
    return CONTAINER_OF(dir, struct directory_mem, base);
}

struct ordmap_node *dir_mem_user_row(const struct ordmap *m, const struct key *k, uint64_t user)
{
    struct ordmap_node *node = ordmap_from(m, key_span(k));
    struct key prefix = key_of(user);
    return node && memcmp(ordmap_key(node).p, prefix.bytes, prefix.n) == 0 ? node : NULL;
}

struct ordmap_node *dir_mem_user_row_next(const struct ordmap_node *node, uint64_t user)
{
    struct ordmap_node *next = ordmap_next(node);
    struct key prefix = key_of(user);
    return next && memcmp(ordmap_key(next).p, prefix.bytes, prefix.n) == 0 ? next : NULL;
}

/* Answers, and keeps what is recorded of it. */
static enum confab_err nothing(struct directory_mem *d, struct dir_request *req)
{
    (void)d;
    (void)req;
    return CONFAB_OK;
}

static enum confab_err (*const OPERATIONS[])(struct directory_mem *d, struct dir_request *req) = {
    [DIR_ACCOUNT_CREATE] = dir_mem_account_create,
    [DIR_ACCOUNT_BY_NAME] = dir_mem_account_by_name,
    [DIR_ACCOUNT_BY_ID] = dir_mem_account_by_id,
    [DIR_ACCOUNTS_EXIST] = dir_mem_accounts_exist,
    [DIR_DEVICE_CREATE] = dir_mem_device_create,
    [DIR_DEVICE_BY_TOKEN] = dir_mem_device_by_token,
    [DIR_DEVICE_LIST] = dir_mem_device_list,
    [DIR_DEVICE_REVOKE] = dir_mem_device_revoke,
    [DIR_CONVERSATIONS_PROJECT] = dir_mem_conversations_project,
    [DIR_CONVERSATIONS_LIST] = dir_mem_conversations_list,
    [DIR_PROJECTED_LSN] = dir_mem_projected_lsn,
    [DIR_PING] = nothing,
    [DIR_ACCOUNT_UPDATE] = dir_mem_account_change,
    [DIR_ACCOUNT_DELETE] = dir_mem_account_change,
    [DIR_ACCOUNTS_LIST] = dir_mem_accounts_list,
    [DIR_ADMINS_COUNT] = dir_mem_admins_count,
    [DIR_DEVICE_BY_ID] = dir_mem_device_by_id,
    [DIR_DEVICE_RENAME] = dir_mem_device_rename,
    [DIR_DEVICE_ROTATE] = dir_mem_device_rotate,
    [DIR_DEVICES_REVOKE_ALL] = dir_mem_devices_revoke_all,
    [DIR_DEVICES_REVOKED] = dir_mem_devices_revoked,
    [DIR_DEVICES_PURGE] = dir_mem_devices_purge,
    [DIR_INVITE_CREATE] = dir_mem_invite_create,
    [DIR_INVITE_BY_CODE] = dir_mem_invite_find,
    [DIR_INVITES_LIST] = dir_mem_invites_list,
    [DIR_INVITE_REVOKE] = dir_mem_invite_revoke,
    [DIR_INVITES_PURGE] = dir_mem_invites_purge,
    [DIR_SETTING_GET] = dir_mem_setting_get,
    [DIR_SETTING_SET] = dir_mem_setting_set,
    [DIR_IDEM_CLAIM] = dir_mem_idem_claim,
    [DIR_IDEM_FINISH] = dir_mem_idem_finish,
    [DIR_IDEM_RELEASE] = dir_mem_idem_release,
    [DIR_IDEM_PURGE] = dir_mem_idem_purge,
    [DIR_ACCOUNTS_LEAVING] = dir_mem_accounts_leaving,
    [DIR_ACCOUNT_LEFT] = dir_mem_account_left,
    [DIR_NAMES] = dir_mem_names,
    [DIR_HIDDEN_LIST] = dir_mem_hidden_list,
    [DIR_SEEN_WRITE] = dir_mem_seen_write,
    [DIR_SEEN_READ] = dir_mem_seen_read,
    [DIR_AUDIT_APPEND] = nothing,
    [DIR_AUDIT_LIST] = dir_mem_audit_list,
    [DIR_AUDIT_PURGE] = dir_mem_audit_purge,
};

static enum confab_err run(struct directory_mem *d, struct dir_request *req)
{
    if ((size_t)req->op >= ARRAY_LEN(OPERATIONS) || !OPERATIONS[req->op]) {
        return CONFAB_UNSUPPORTED;
    }
    struct ordmap_node *record = NULL;
    if (req->audit) {
        struct dir_audit blank = {.audit_id = 0};
        record = new_node(&d->audits, key_of(d->audit_id + 1), span_of(&blank, sizeof(blank)));
        if (!record) {
            return CONFAB_NOMEM;
        }
    }
    enum confab_err err = OPERATIONS[req->op](d, req);
    if (err == CONFAB_OK && dir_audit_due(req)) {
        struct dir_audit audit = dir_audit_of(req);
        audit.audit_id = ++d->audit_id;
        VALUE_SET(record, &audit);
        link_new(&d->audits, record);
        record = NULL;
    }
    ordmap_node_free(record);
    return err;
}

enum confab_err dir_mem_audit_purge(struct directory_mem *d, struct dir_request *req)
{
    struct ordmap_node *node = d->audits.head[0];
    for (uint32_t i = 0; node && i < req->limit; i++) {
        struct dir_audit audit;
        struct ordmap_node *at = node;
        VALUE_COPY(at, &audit);
        node = ordmap_next(at);
        if (audit.at_ms < req->before_ms) {
            ordmap_node_free(ordmap_unlink(&d->audits, ordmap_key(at)));
            req->ret_count++;
        }
    }
    req->ret_more = req->ret_count == req->limit;
    return CONFAB_OK;
}

enum confab_err dir_mem_audit_list(struct directory_mem *d, struct dir_request *req)
{
    struct key k = key_of(req->after_id == 0 ? UINT64_MAX : req->after_id);
    struct ordmap_node *node = ordmap_below(&d->audits, key_span(&k));
    enum confab_err err = CONFAB_OK;
    while (node && err == CONFAB_OK && req->ret_naudits < req->limit) {
        struct dir_audit audit;
        VALUE_COPY(node, &audit);
        err = dir_results_add_audit(req, &audit);
        node = ordmap_below(&d->audits, ordmap_key(node));
    }
    req->ret_more = node != NULL;
    return err;
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
    ordmap_deinit(&d->chains);
    ordmap_deinit(&d->conversations);
    ordmap_deinit(&d->audits);
    ordmap_deinit(&d->invites);
    ordmap_deinit(&d->codes);
    ordmap_deinit(&d->settings);
    ordmap_deinit(&d->idem);
    ordmap_deinit(&d->idem_bodies);
    ordmap_deinit(&d->seen);
    ordmap_deinit(&d->runs);
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

enum confab_err directory_mem_clone(struct directory *dir, struct executor *ex,
                                    struct directory **ret)
{
    struct directory_mem *d = mem_of(dir);
    struct directory *copy;
    enum confab_err err = directory_mem_open(ex, &copy);
    if (err) {
        return err;
    }
    struct directory_mem *to = mem_of(copy);
    pthread_mutex_lock(&d->lock);
    const struct {
        struct ordmap *to;
        const struct ordmap *from;
    } maps[] = {{&to->accounts, &d->accounts},
                {&to->names, &d->names},
                {&to->devices, &d->devices},
                {&to->user_devices, &d->user_devices},
                {&to->tokens, &d->tokens},
                {&to->chains, &d->chains},
                {&to->conversations, &d->conversations},
                {&to->audits, &d->audits},
                {&to->invites, &d->invites},
                {&to->codes, &d->codes},
                {&to->settings, &d->settings},
                {&to->idem, &d->idem},
                {&to->idem_bodies, &d->idem_bodies},
                {&to->seen, &d->seen},
                {&to->runs, &d->runs}};
    for (size_t i = 0; i < ARRAY_LEN(maps) && !err; i++) {
        err = ordmap_copy(maps[i].to, maps[i].from) ? CONFAB_OK : CONFAB_NOMEM;
    }
    to->audit_id = d->audit_id;
    memcpy(to->projected, d->projected, sizeof(to->projected));
    pthread_mutex_unlock(&d->lock);
    if (err) {
        directory_mem_close(copy);
        return err;
    }
    *ret = copy;
    return CONFAB_OK;
}

static const struct directory_ops OPS = {"mem", 1, mem_submit};
