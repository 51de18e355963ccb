/* What all adapters of the directory port share. */
#include "ports/directory.h"

#include <stdlib.h>
#include <string.h>

#include "ports/dir_adapter.h"

enum { RESULTS_MIN = 8 };

void dir_request_deinit(struct dir_request *req)
{
    free(req->ret_devices);
    req->ret_devices = NULL;
    req->ret_ndevices = 0;
    if (req->rows_owned) {
        free(req->conv_rows);
        req->conv_rows = NULL;
        req->nconv_rows = 0;
        req->rows_owned = false;
    }
}

bool dir_op_writes(enum dir_op op)
{
    return op == DIR_ACCOUNT_CREATE || op == DIR_DEVICE_CREATE || op == DIR_DEVICE_REVOKE ||
           op == DIR_CONVERSATIONS_PROJECT;
}

static bool id_ok(uint64_t id)
{
    return id > 0 && id <= INT64_MAX;
}

static bool text_ok(const char *text, size_t size)
{
    return memchr(text, 0, size) != NULL;
}

static bool account_ok(const struct dir_request *req)
{
    const struct dir_account *a = &req->account;
    return id_ok(a->user_id) && a->created_ms <= INT64_MAX &&
           text_ok(a->username, sizeof(a->username)) && a->username[0] != 0 &&
           text_ok(req->username_key, sizeof(req->username_key)) && req->username_key[0] != 0 &&
           text_ok(a->display_name, sizeof(a->display_name)) &&
           text_ok(a->password_hash, sizeof(a->password_hash));
}

static bool device_ok(const struct dir_device *d)
{
    return id_ok(d->device_id) && id_ok(d->user_id) && d->created_ms <= INT64_MAX &&
           text_ok(d->name, sizeof(d->name));
}

static bool projection_ok(const struct dir_request *req)
{
    for (uint32_t i = 0; i < req->nconv_rows; i++) {
        const struct dir_conv_row *row = &req->conv_rows[i];
        if (!id_ok(row->user_id) || row->lsn > INT64_MAX || row->since_ms > INT64_MAX ||
            conv_id_is_zero(row->conv)) {
            return false;
        }
    }
    return req->partition < ID_PARTITIONS && req->lsn <= INT64_MAX;
}

static bool request_ok(const struct dir_request *req)
{
    switch (req->op) {
    case DIR_ACCOUNT_CREATE:
        return account_ok(req);
    case DIR_ACCOUNT_BY_NAME:
        return text_ok(req->username_key, sizeof(req->username_key));
    case DIR_DEVICE_CREATE:
        return device_ok(&req->device);
    case DIR_CONVERSATIONS_PROJECT:
        return projection_ok(req);
    case DIR_CONVERSATIONS_LIST:
        return req->limit > 0;
    case DIR_PROJECTED_LSN:
        return req->partition < ID_PARTITIONS;
    case DIR_ACCOUNT_BY_ID:
    case DIR_ACCOUNTS_EXIST:
    case DIR_DEVICE_BY_TOKEN:
    case DIR_DEVICE_LIST:
    case DIR_DEVICE_REVOKE:
    case DIR_PING:
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
        return true;
    }
    return false;
}

enum confab_err dir_request_check(const struct dir_request *req)
{
    if (req->audit || (req->op == DIR_ACCOUNT_CREATE && req->use_invite)) {
        return CONFAB_UNSUPPORTED;
    }
    return request_ok(req) ? CONFAB_OK : CONFAB_INVALID;
}

void dir_results_clear(struct dir_request *req)
{
    dir_request_deinit(req);
    if (req->op == DIR_CONVERSATIONS_LIST) {
        req->conv_rows = NULL;
        req->nconv_rows = 0;
    }
}

/* Room for one more when the array is full; its size is the next power of two. */
static void *grown(void *array, uint32_t n, size_t size)
{
    if (n >= RESULTS_MIN && (n & (n - 1)) != 0) {
        return array;
    }
    if (n > 0 && n < RESULTS_MIN) {
        return array;
    }
    return realloc(array, (n == 0 ? (size_t)RESULTS_MIN : (size_t)n * 2) * size);
}

enum confab_err dir_results_add_device(struct dir_request *req, const struct dir_device *device)
{
    struct dir_device *all = grown(req->ret_devices, req->ret_ndevices, sizeof(*all));
    if (!all) {
        return CONFAB_NOMEM;
    }
    all[req->ret_ndevices++] = *device;
    req->ret_devices = all;
    return CONFAB_OK;
}

enum confab_err dir_results_add_row(struct dir_request *req, const struct dir_conv_row *row)
{
    struct dir_conv_row *all = grown(req->conv_rows, req->nconv_rows, sizeof(*all));
    if (!all) {
        return CONFAB_NOMEM;
    }
    all[req->nconv_rows++] = *row;
    req->conv_rows = all;
    req->rows_owned = true;
    return CONFAB_OK;
}
