/* Which function does which operation of the port, and the audit record that goes with it. */
#include "adapters/sqlite/sqlite_internal.h"
#include "base/check.h"
#include "ports/dir_adapter.h"

static enum confab_err ping(struct sqlite_db *db, struct dir_request *req,
                            enum confab_err *ret_result)
{
    (void)req;
    *ret_result = CONFAB_OK;
    return sqlite_db_run(db, ST_PING);
}

/* The record is all there is to it: see sqlite_run_request. */
static enum confab_err nothing(struct sqlite_db *db, struct dir_request *req,
                               enum confab_err *ret_result)
{
    (void)db;
    (void)req;
    *ret_result = CONFAB_OK;
    return CONFAB_OK;
}

static enum confab_err (*const OPERATIONS[])(struct sqlite_db *db, struct dir_request *req,
                                             enum confab_err *ret_result) = {
    [DIR_ACCOUNT_CREATE] = sqlite_account_create,
    [DIR_ACCOUNT_BY_NAME] = sqlite_account_by_name,
    [DIR_ACCOUNT_BY_ID] = sqlite_account_by_id,
    [DIR_ACCOUNTS_EXIST] = sqlite_accounts_exist,
    [DIR_DEVICE_CREATE] = sqlite_device_create,
    [DIR_DEVICE_BY_TOKEN] = sqlite_device_by_token,
    [DIR_DEVICE_LIST] = sqlite_device_list,
    [DIR_DEVICE_REVOKE] = sqlite_device_revoke,
    [DIR_CONVERSATIONS_PROJECT] = sqlite_conversations_project,
    [DIR_CONVERSATIONS_LIST] = sqlite_conversations_list,
    [DIR_PROJECTED_LSN] = sqlite_projected_lsn,
    [DIR_PING] = ping,
    [DIR_ACCOUNT_UPDATE] = sqlite_account_change,
    [DIR_ACCOUNT_DELETE] = sqlite_account_change,
    [DIR_ACCOUNTS_LIST] = sqlite_accounts_list,
    [DIR_ADMINS_COUNT] = sqlite_admins_count,
    [DIR_DEVICE_BY_ID] = sqlite_device_by_id,
    [DIR_DEVICE_RENAME] = sqlite_device_rename,
    [DIR_DEVICE_ROTATE] = sqlite_device_rotate,
    [DIR_DEVICES_REVOKE_ALL] = sqlite_devices_revoke_all,
    [DIR_DEVICES_REVOKED] = sqlite_devices_revoked,
    [DIR_DEVICES_PURGE] = sqlite_devices_purge,
    [DIR_INVITE_CREATE] = sqlite_invite_create,
    [DIR_INVITE_BY_CODE] = sqlite_invite_by_code,
    [DIR_INVITES_LIST] = sqlite_invites_list,
    [DIR_INVITE_REVOKE] = sqlite_invite_revoke,
    [DIR_INVITES_PURGE] = sqlite_invites_purge,
    [DIR_SETTING_GET] = sqlite_setting_get,
    [DIR_SETTING_SET] = sqlite_setting_set,
    [DIR_IDEM_CLAIM] = sqlite_idem_claim,
    [DIR_IDEM_FINISH] = sqlite_idem_finish,
    [DIR_IDEM_RELEASE] = sqlite_idem_release,
    [DIR_IDEM_PURGE] = sqlite_idem_purge,
    [DIR_ACCOUNTS_LEAVING] = sqlite_accounts_leaving,
    [DIR_ACCOUNT_LEFT] = sqlite_account_left,
    [DIR_NAMES] = sqlite_names,
    [DIR_HIDDEN_LIST] = sqlite_hidden_list,
    [DIR_SEEN_WRITE] = sqlite_seen_write,
    [DIR_SEEN_READ] = sqlite_seen_read,
    [DIR_AUDIT_APPEND] = nothing,
    [DIR_AUDIT_LIST] = sqlite_audit_list,
    [DIR_AUDIT_PURGE] = sqlite_audit_purge,
};

enum confab_err sqlite_run_request(struct sqlite_db *db, struct dir_request *req,
                                   enum confab_err *ret_result)
{
    *ret_result = CONFAB_OK;
    if ((size_t)req->op >= ARRAY_LEN(OPERATIONS) || !OPERATIONS[req->op]) {
        *ret_result = CONFAB_UNSUPPORTED;
        return CONFAB_OK;
    }
    enum confab_err err = OPERATIONS[req->op](db, req, ret_result);
    if (err == CONFAB_OK && *ret_result == CONFAB_OK && dir_audit_due(req)) {
        err = sqlite_audit_append(db, req, ret_result);
    }
    return err;
}
