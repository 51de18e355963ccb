/* Accounts: made, found, changed, deleted. */
#include "adapters/sqlite/sqlite_internal.h"
#include "adapters/sqlite/sqlite_row.h"
#include "ports/dir_adapter.h"

/* The columns in their order (ACCOUNT_COLUMNS); an update leaves out those that never change. */
static void bind_account(sqlite3_stmt *st, const char *key, const struct dir_account *a)
{
    bind_id(st, 1, a->user_id);
    if (key) {
        bind_text(st, 2, key);
        bind_text(st, 3, a->username);
        bind_id(st, 10, a->created_ms);
    }
    bind_text(st, 4, a->display_name);
    bind_text(st, 5, a->about);
    bind_text(st, 6, a->email);
    bind_text(st, 7, a->password_hash);
    bind_id(st, 8, a->role);
    bind_id(st, 9, a->status);
    bind_id(st, 11, a->updated_ms);
    bind_id(st, 12, a->hides);
}

/* The invite that is to be used, into *ret; CONFAB_INVITE_INVALID. */
static enum confab_err find_invite(struct sqlite_db *db, const struct dir_request *req,
                                   struct dir_invite *ret, enum confab_err *ret_result)
{
    struct dir_request found = {.op = DIR_INVITE_BY_CODE};
    memcpy(found.invite.code_hash, req->invite.code_hash, sizeof(found.invite.code_hash));
    enum confab_err err = sqlite_invite_by_code(db, &found, ret_result);
    if (err == CONFAB_OK &&
        (*ret_result != CONFAB_OK || !dir_invite_is_open(&found.invite, req->now_ms))) {
        *ret_result = CONFAB_INVITE_INVALID;
    }
    *ret = found.invite;
    return err;
}

static enum confab_err insert_account(struct sqlite_db *db, const char *key,
                                      const struct dir_account *a, enum confab_err *ret_result)
{
    sqlite3_stmt *st = db->statements[ST_ACCOUNT_INSERT];
    bind_account(st, key, a);
    int rc = sqlite3_step(st);
    (void)sqlite3_reset(st);
    if (rc == SQLITE_CONSTRAINT_UNIQUE || rc == SQLITE_CONSTRAINT_PRIMARYKEY ||
        rc == SQLITE_CONSTRAINT_ROWID) {
        *ret_result = CONFAB_EXISTS;
        return CONFAB_OK;
    }
    return sqlite_db_err(db, rc, "insert account");
}

enum confab_err sqlite_account_create(struct sqlite_db *db, struct dir_request *req,
                                      enum confab_err *ret_result)
{
    struct dir_account a = req->account;
    struct dir_invite invite = req->invite;
    enum confab_err err = CONFAB_OK;
    dir_account_begin(&a);
    if (req->use_invite) {
        err = find_invite(db, req, &invite, ret_result);
        a.role = invite.kind == DIR_INVITE_SETUP ? DIR_ROLE_ADMIN : a.role;
    }
    if (err == CONFAB_OK && *ret_result == CONFAB_OK) {
        err = insert_account(db, req->username_key, &a, ret_result);
    }
    if (err != CONFAB_OK || *ret_result != CONFAB_OK) {
        return err;
    }
    err = sqlite_words_add(db, req->username_key, &a);
    if (err == CONFAB_OK && req->use_invite) {
        dir_invite_use(&invite, req->now_ms);
        err = sqlite_invite_store(db, &invite);
    }
    req->account = a;
    req->invite = invite;
    return err;
}

enum confab_err sqlite_read_account(sqlite3_stmt *st, struct dir_request *req)
{
    struct dir_account *a = &req->account;
    bool ok = column_text(st, 1, req->username_key, sizeof(req->username_key)) &&
              column_text(st, 2, a->username, sizeof(a->username)) &&
              column_text(st, 3, a->display_name, sizeof(a->display_name)) &&
              column_text(st, 4, a->about, sizeof(a->about)) &&
              column_text(st, 5, a->email, sizeof(a->email)) &&
              column_text(st, 6, a->password_hash, sizeof(a->password_hash));
    a->user_id = column_id(st, 0);
    a->role = (enum dir_role)sqlite3_column_int(st, 7);
    a->status = (enum dir_status)sqlite3_column_int(st, 8);
    a->created_ms = column_id(st, 9);
    a->updated_ms = column_id(st, 10);
    a->hides = (uint32_t)sqlite3_column_int(st, 11);
    a->ndevices = 0;
    return ok ? CONFAB_OK : CONFAB_CORRUPT;
}

enum confab_err sqlite_account_by_name(struct sqlite_db *db, struct dir_request *req,
                                       enum confab_err *ret_result)
{
    char key[sizeof(req->username_key)]; /* the request's is written by the row */
    memcpy(key, req->username_key, sizeof(key));
    bind_text(db->statements[ST_ACCOUNT_BY_NAME], 1, key);
    return sqlite_db_row(db, ST_ACCOUNT_BY_NAME, req, sqlite_read_account, ret_result);
}

enum confab_err sqlite_account_by_id(struct sqlite_db *db, struct dir_request *req,
                                     enum confab_err *ret_result)
{
    bind_id(db->statements[ST_ACCOUNT_BY_ID], 1, req->user_id);
    return sqlite_db_row(db, ST_ACCOUNT_BY_ID, req, sqlite_read_account, ret_result);
}

enum confab_err sqlite_accounts_exist(struct sqlite_db *db, struct dir_request *req,
                                      enum confab_err *ret_result)
{
    *ret_result = CONFAB_OK;
    enum confab_err err = CONFAB_OK;
    for (uint32_t i = 0; err == CONFAB_OK && i < req->nids; i++) {
        bind_id(db->statements[ST_ACCOUNT_EXISTS], 1, req->ids[i]);
        err = sqlite_db_any(db, ST_ACCOUNT_EXISTS, &req->exists[i]);
        if (err == CONFAB_OK && req->deleted) {
            bind_id(db->statements[ST_ACCOUNT_DELETED], 1, req->ids[i]);
            err = sqlite_db_any(db, ST_ACCOUNT_DELETED, &req->deleted[i]);
        }
    }
    return err;
}

enum confab_err sqlite_admins_count(struct sqlite_db *db, struct dir_request *req,
                                    enum confab_err *ret_result)
{
    *ret_result = CONFAB_OK;
    return sqlite_db_number(db, ST_ADMINS_COUNT, &req->ret_count);
}

static enum confab_err store_change(struct sqlite_db *db, const char *key,
                                    const struct dir_account *before,
                                    const struct dir_account *after)
{
    enum confab_err err = CONFAB_OK;
    bool words =
        before->status != after->status || strcmp(before->display_name, after->display_name) != 0;
    if (words) {
        err = sqlite_words_remove(db, key, before);
    }
    if (words && err == CONFAB_OK) {
        err = sqlite_words_add(db, key, after);
    }
    if (err == CONFAB_OK) {
        bind_account(db->statements[ST_ACCOUNT_UPDATE], NULL, after);
        err = sqlite_db_run(db, ST_ACCOUNT_UPDATE);
    }
    return err;
}

enum confab_err sqlite_account_change(struct sqlite_db *db, struct dir_request *req,
                                      enum confab_err *ret_result)
{
    struct dir_request stored = {.op = DIR_ACCOUNT_BY_ID, .user_id = req->user_id};
    enum confab_err err = sqlite_account_by_id(db, &stored, ret_result);
    uint64_t admins = 0;
    if (err == CONFAB_OK) {
        err = sqlite_db_number(db, ST_ADMINS_COUNT, &admins);
    }
    if (err != CONFAB_OK || *ret_result != CONFAB_OK) {
        return err;
    }
    struct dir_account after = stored.account;
    dir_account_change(&after, req);
    *ret_result = dir_account_may_become(&stored.account, &after, admins);
    if (*ret_result == CONFAB_OK && !dir_account_is_as_verified(&stored.account, req)) {
        *ret_result = CONFAB_UNAUTHENTICATED;
    }
    if (*ret_result != CONFAB_OK) {
        return CONFAB_OK;
    }
    err = store_change(db, stored.username_key, &stored.account, &after);
    if (err == CONFAB_OK && after.status == DIR_STATUS_DELETED) {
        bind_id(db->statements[ST_ACCOUNT_LEAVING], 1, req->user_id);
        err = sqlite_db_run(db, ST_ACCOUNT_LEAVING);
    }
    if (err == CONFAB_OK && after.status == DIR_STATUS_DELETED) {
        bind_id(db->statements[ST_SEEN_DELETE], 1, req->user_id);
        err = sqlite_db_run(db, ST_SEEN_DELETE);
    }
    uint64_t spared;
    if (err == CONFAB_OK && dir_account_ends_devices(req, &after, &spared)) {
        err = sqlite_devices_end(db, req, spared);
    }
    if (err == CONFAB_OK) {
        req->account = after;
        memcpy(req->username_key, stored.username_key, sizeof(req->username_key));
    }
    return err;
}

static enum confab_err on_id(sqlite3_stmt *st, struct dir_request *req)
{
    return dir_results_add_id(req, column_id(st, 0));
}

enum confab_err sqlite_accounts_leaving(struct sqlite_db *db, struct dir_request *req,
                                        enum confab_err *ret_result)
{
    *ret_result = CONFAB_OK;
    uint32_t n;
    sqlite3_stmt *st = db->statements[ST_ACCOUNTS_LEAVING];
    bind_id(st, 1, req->after_id);
    bind_id(st, 2, (uint64_t)req->limit + 1); /* the one more tells whether there is more */
    enum confab_err err = sqlite_db_rows(db, ST_ACCOUNTS_LEAVING, req, on_id, &n);
    if (err == CONFAB_OK && n > req->limit) {
        req->ret_more = true;
        req->ret_nids--;
    }
    return err;
}

enum confab_err sqlite_account_left(struct sqlite_db *db, struct dir_request *req,
                                    enum confab_err *ret_result)
{
    bind_id(db->statements[ST_ACCOUNT_LEFT], 1, req->user_id);
    enum confab_err err = sqlite_db_run(db, ST_ACCOUNT_LEFT);
    bool any = err == CONFAB_OK && sqlite3_changes(db->handle) > 0;
    *ret_result = any ? CONFAB_OK : CONFAB_NOT_FOUND;
    return err;
}

enum confab_err sqlite_names(struct sqlite_db *db, struct dir_request *req,
                             enum confab_err *ret_result)
{
    enum confab_err err = CONFAB_OK;
    *ret_result = CONFAB_OK;
    for (uint32_t i = 0; err == CONFAB_OK && i < req->nids; i++) {
        struct dir_request one = {.op = DIR_ACCOUNT_BY_ID, .user_id = req->ids[i]};
        enum confab_err result = CONFAB_OK;
        err = sqlite_account_by_id(db, &one, &result);
        if (err == CONFAB_OK) {
            one.account.user_id = result == CONFAB_OK ? one.account.user_id : 0;
            err = dir_results_add_name(req, &one.account);
        }
    }
    return err;
}
