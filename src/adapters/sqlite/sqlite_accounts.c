/* Accounts. */
#include "adapters/sqlite/sqlite_internal.h"
#include "adapters/sqlite/sqlite_row.h"

enum confab_err sqlite_account_create(struct sqlite_db *db, struct dir_request *req,
                                      enum confab_err *ret_result)
{
    const struct dir_account *a = &req->account;
    sqlite3_stmt *st = db->statements[ST_ACCOUNT_INSERT];
    bind_id(st, 1, a->user_id);
    bind_text(st, 2, req->username_key);
    bind_text(st, 3, a->username);
    bind_text(st, 4, a->display_name);
    bind_text(st, 5, a->password_hash);
    bind_id(st, 6, a->created_ms);
    int rc = sqlite3_step(st);
    (void)sqlite3_reset(st);
    if (rc == SQLITE_CONSTRAINT_UNIQUE || rc == SQLITE_CONSTRAINT_PRIMARYKEY ||
        rc == SQLITE_CONSTRAINT_ROWID) {
        *ret_result = CONFAB_EXISTS;
        return CONFAB_OK;
    }
    return sqlite_db_err(db, rc, "insert account");
}

static enum confab_err read_account(sqlite3_stmt *st, struct dir_request *req)
{
    struct dir_account *a = &req->account;
    a->user_id = column_id(st, 0);
    a->created_ms = column_id(st, 4);
    bool ok = column_text(st, 1, a->username, sizeof(a->username)) &&
              column_text(st, 2, a->display_name, sizeof(a->display_name)) &&
              column_text(st, 3, a->password_hash, sizeof(a->password_hash));
    return ok ? CONFAB_OK : CONFAB_CORRUPT;
}

enum confab_err sqlite_account_by_name(struct sqlite_db *db, struct dir_request *req,
                                       enum confab_err *ret_result)
{
    bind_text(db->statements[ST_ACCOUNT_BY_NAME], 1, req->username_key);
    return sqlite_db_row(db, ST_ACCOUNT_BY_NAME, req, read_account, ret_result);
}

enum confab_err sqlite_account_by_id(struct sqlite_db *db, struct dir_request *req,
                                     enum confab_err *ret_result)
{
    bind_id(db->statements[ST_ACCOUNT_BY_ID], 1, req->user_id);
    return sqlite_db_row(db, ST_ACCOUNT_BY_ID, req, read_account, ret_result);
}

enum confab_err sqlite_accounts_exist(struct sqlite_db *db, struct dir_request *req,
                                      enum confab_err *ret_result)
{
    (void)ret_result;
    enum confab_err err = CONFAB_OK;
    for (uint32_t i = 0; err == CONFAB_OK && i < req->nids; i++) {
        bind_id(db->statements[ST_ACCOUNT_EXISTS], 1, req->ids[i]);
        err = sqlite_db_any(db, ST_ACCOUNT_EXISTS, &req->exists[i]);
    }
    return err;
}
