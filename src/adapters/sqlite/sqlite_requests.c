/* One function for each operation of the port. */
#include <string.h>

#include "adapters/sqlite/sqlite_internal.h"
#include "base/check.h"
#include "ports/dir_adapter.h"

static void bind_id(sqlite3_stmt *st, int at, uint64_t v)
{
    /* Above 63 bits it becomes negative, which no row is. */
    CHECK(sqlite3_bind_int64(st, at, (sqlite3_int64)v) == SQLITE_OK);
}

/* The text or bytes must live until the statement is reset. */
static void bind_text(sqlite3_stmt *st, int at, const char *text)
{
    CHECK(sqlite3_bind_text(st, at, text, (int)strlen(text), SQLITE_STATIC) == SQLITE_OK);
}

static void bind_blob(sqlite3_stmt *st, int at, const uint8_t *p, int n)
{
    CHECK(sqlite3_bind_blob(st, at, p, n, SQLITE_STATIC) == SQLITE_OK);
}

static uint64_t column_id(sqlite3_stmt *st, int col)
{
    return (uint64_t)sqlite3_column_int64(st, col);
}

/* False when the column does not fit `size` with its terminating zero. */
static bool column_text(sqlite3_stmt *st, int col, char *out, size_t size)
{
    const unsigned char *text = sqlite3_column_text(st, col);
    size_t n = (size_t)sqlite3_column_bytes(st, col);
    if (!text || n >= size) {
        return false;
    }
    memcpy(out, text, n);
    out[n] = 0;
    return true;
}

static bool column_blob(sqlite3_stmt *st, int col, uint8_t *out, size_t size)
{
    const void *p = sqlite3_column_blob(st, col);
    if (!p || (size_t)sqlite3_column_bytes(st, col) != size) {
        return false;
    }
    memcpy(out, p, size);
    return true;
}

/* Steps once and resets; *ret_row tells whether there was a row. `call` is for the log. */
static enum confab_err step_once(struct sqlite_db *db, sqlite3_stmt *st, const char *call,
                                 bool *ret_row)
{
    int rc = sqlite3_step(st);
    (void)sqlite3_reset(st);
    *ret_row = rc == SQLITE_ROW;
    return sqlite_db_err(db, rc, call);
}

static enum confab_err account_create(struct sqlite_db *db, struct dir_request *req,
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

/* Steps a bound statement of the five account columns. */
static enum confab_err read_account(struct sqlite_db *db, sqlite3_stmt *st, struct dir_request *req,
                                    enum confab_err *ret_result)
{
    int rc = sqlite3_step(st);
    if (rc == SQLITE_ROW) {
        struct dir_account *a = &req->account;
        a->user_id = column_id(st, 0);
        bool ok = column_text(st, 1, a->username, sizeof(a->username)) &&
                  column_text(st, 2, a->display_name, sizeof(a->display_name)) &&
                  column_text(st, 3, a->password_hash, sizeof(a->password_hash));
        a->created_ms = column_id(st, 4);
        rc = ok ? rc : SQLITE_CORRUPT;
    } else if (rc == SQLITE_DONE) {
        *ret_result = CONFAB_NOT_FOUND;
    }
    (void)sqlite3_reset(st);
    return sqlite_db_err(db, rc, "read account");
}

static enum confab_err account_exists(struct sqlite_db *db, uint64_t id, bool *ret)
{
    sqlite3_stmt *st = db->statements[ST_ACCOUNT_EXISTS];
    bind_id(st, 1, id);
    return step_once(db, st, "find account", ret);
}

static enum confab_err accounts_exist(struct sqlite_db *db, struct dir_request *req)
{
    enum confab_err err = CONFAB_OK;
    for (uint32_t i = 0; err == CONFAB_OK && i < req->nids; i++) {
        err = account_exists(db, req->ids[i], &req->exists[i]);
    }
    return err;
}

static enum confab_err device_exists(struct sqlite_db *db, const struct dir_device *d, bool *ret)
{
    sqlite3_stmt *st = db->statements[ST_DEVICE_EXISTS];
    bind_id(st, 1, d->device_id);
    bind_blob(st, 2, d->token_hash, sizeof(d->token_hash));
    return step_once(db, st, "find device", ret);
}

static enum confab_err count_devices(struct sqlite_db *db, uint64_t user, uint64_t *ret)
{
    sqlite3_stmt *st = db->statements[ST_DEVICE_COUNT];
    bind_id(st, 1, user);
    int rc = sqlite3_step(st);
    if (rc == SQLITE_ROW) {
        *ret = column_id(st, 0);
    }
    (void)sqlite3_reset(st);
    return sqlite_db_err(db, rc, "count devices");
}

/* Nothing else writes between the checks and the insertion: this is inside a transaction. */
static enum confab_err device_create(struct sqlite_db *db, struct dir_request *req,
                                     enum confab_err *ret_result)
{
    const struct dir_device *d = &req->device;
    bool user = false;
    bool taken = false;
    uint64_t n = 0;
    enum confab_err err = account_exists(db, d->user_id, &user);
    if (err == CONFAB_OK) {
        err = device_exists(db, d, &taken);
    }
    if (err == CONFAB_OK) {
        err = count_devices(db, d->user_id, &n);
    }
    if (err != CONFAB_OK) {
        return err;
    }
    if (!user) {
        *ret_result = CONFAB_NOT_FOUND;
        return CONFAB_OK;
    }
    if (taken || n >= req->devices_max) {
        *ret_result = taken ? CONFAB_EXISTS : CONFAB_LIMIT;
        return CONFAB_OK;
    }
    sqlite3_stmt *st = db->statements[ST_DEVICE_INSERT];
    bind_id(st, 1, d->device_id);
    bind_id(st, 2, d->user_id);
    bind_text(st, 3, d->name);
    bind_blob(st, 4, d->token_hash, sizeof(d->token_hash));
    bind_id(st, 5, d->created_ms);
    bool row;
    return step_once(db, st, "insert device", &row);
}

static bool read_device(sqlite3_stmt *st, struct dir_device *d)
{
    d->device_id = column_id(st, 0);
    d->user_id = column_id(st, 1);
    d->created_ms = column_id(st, 4);
    return column_text(st, 2, d->name, sizeof(d->name)) &&
           column_blob(st, 3, d->token_hash, sizeof(d->token_hash));
}

static enum confab_err device_by_token(struct sqlite_db *db, struct dir_request *req,
                                       enum confab_err *ret_result)
{
    sqlite3_stmt *st = db->statements[ST_DEVICE_BY_TOKEN];
    bind_blob(st, 1, req->token_hash, sizeof(req->token_hash));
    int rc = sqlite3_step(st);
    if (rc == SQLITE_ROW) {
        rc = read_device(st, &req->device) ? rc : SQLITE_CORRUPT;
    } else if (rc == SQLITE_DONE) {
        *ret_result = CONFAB_NOT_FOUND;
    }
    (void)sqlite3_reset(st);
    return sqlite_db_err(db, rc, "read device");
}

static enum confab_err device_list(struct sqlite_db *db, struct dir_request *req)
{
    sqlite3_stmt *st = db->statements[ST_DEVICE_LIST];
    bind_id(st, 1, req->user_id);
    int rc = sqlite3_step(st);
    while (rc == SQLITE_ROW) {
        struct dir_device device = {.device_id = 0};
        if (!read_device(st, &device)) {
            rc = SQLITE_CORRUPT;
        } else if (dir_results_add_device(req, &device) != CONFAB_OK) {
            rc = SQLITE_NOMEM;
        } else {
            rc = sqlite3_step(st);
        }
    }
    (void)sqlite3_reset(st);
    return sqlite_db_err(db, rc, "list devices");
}

static enum confab_err device_revoke(struct sqlite_db *db, struct dir_request *req,
                                     enum confab_err *ret_result)
{
    sqlite3_stmt *st = db->statements[ST_DEVICE_DELETE];
    bind_id(st, 1, req->device_id);
    bind_id(st, 2, req->user_id);
    bool row;
    enum confab_err err = step_once(db, st, "delete device", &row);
    if (err == CONFAB_OK && sqlite3_changes(db->handle) == 0) {
        *ret_result = CONFAB_NOT_FOUND;
    }
    return err;
}

static enum confab_err project_row(struct sqlite_db *db, const struct dir_conv_row *row)
{
    uint8_t conv[16];
    conv_id_write(row->conv, conv);
    sqlite3_stmt *st = db->statements[ST_CONV_UPSERT];
    bind_id(st, 1, row->user_id);
    bind_blob(st, 2, conv, sizeof(conv));
    bind_id(st, 3, row->lsn);
    bind_id(st, 4, row->since_ms);
    bind_id(st, 5, row->conv_kind);
    bind_id(st, 6, row->joined);
    bool any;
    return step_once(db, st, "project conversation", &any);
}

static enum confab_err project(struct sqlite_db *db, struct dir_request *req)
{
    enum confab_err err = CONFAB_OK;
    for (uint32_t i = 0; err == CONFAB_OK && i < req->nconv_rows; i++) {
        err = project_row(db, &req->conv_rows[i]);
    }
    if (err != CONFAB_OK) {
        return err;
    }
    sqlite3_stmt *st = db->statements[ST_PROJECTED_SET];
    bind_id(st, 1, req->partition);
    bind_id(st, 2, req->lsn);
    bool any;
    return step_once(db, st, "project position", &any);
}

static bool read_conv_row(sqlite3_stmt *st, struct dir_conv_row *row)
{
    uint8_t conv[16];
    if (!column_blob(st, 0, conv, sizeof(conv))) {
        return false;
    }
    row->conv = conv_id_read(conv);
    row->lsn = column_id(st, 1);
    row->since_ms = column_id(st, 2);
    row->conv_kind = (uint8_t)sqlite3_column_int(st, 3);
    row->joined = sqlite3_column_int(st, 4) != 0;
    return true;
}

static enum confab_err conversations_list(struct sqlite_db *db, struct dir_request *req)
{
    uint8_t after[16];
    conv_id_write(req->after, after);
    sqlite3_stmt *st = db->statements[ST_CONV_LIST];
    bind_id(st, 1, req->user_id);
    bind_blob(st, 2, after, sizeof(after));
    bind_id(st, 3, req->limit);
    int rc = sqlite3_step(st);
    while (rc == SQLITE_ROW) {
        struct dir_conv_row row = {.user_id = req->user_id};
        if (!read_conv_row(st, &row)) {
            rc = SQLITE_CORRUPT;
        } else if (dir_results_add_row(req, &row) != CONFAB_OK) {
            rc = SQLITE_NOMEM;
        } else {
            rc = sqlite3_step(st);
        }
    }
    (void)sqlite3_reset(st);
    return sqlite_db_err(db, rc, "list conversations");
}

static enum confab_err projected_lsn(struct sqlite_db *db, struct dir_request *req)
{
    sqlite3_stmt *st = db->statements[ST_PROJECTED_GET];
    bind_id(st, 1, req->partition);
    int rc = sqlite3_step(st);
    req->lsn = rc == SQLITE_ROW ? column_id(st, 0) : 0;
    (void)sqlite3_reset(st);
    return sqlite_db_err(db, rc, "read position");
}

enum confab_err sqlite_run_request(struct sqlite_db *db, struct dir_request *req,
                                   enum confab_err *ret_result)
{
    *ret_result = CONFAB_OK;
    switch (req->op) {
    case DIR_ACCOUNT_CREATE:
        return account_create(db, req, ret_result);
    case DIR_ACCOUNT_BY_NAME:
        bind_text(db->statements[ST_ACCOUNT_BY_NAME], 1, req->username_key);
        return read_account(db, db->statements[ST_ACCOUNT_BY_NAME], req, ret_result);
    case DIR_ACCOUNT_BY_ID:
        bind_id(db->statements[ST_ACCOUNT_BY_ID], 1, req->user_id);
        return read_account(db, db->statements[ST_ACCOUNT_BY_ID], req, ret_result);
    case DIR_ACCOUNTS_EXIST:
        return accounts_exist(db, req);
    case DIR_DEVICE_CREATE:
        return device_create(db, req, ret_result);
    case DIR_DEVICE_BY_TOKEN:
        return device_by_token(db, req, ret_result);
    case DIR_DEVICE_LIST:
        return device_list(db, req);
    case DIR_DEVICE_REVOKE:
        return device_revoke(db, req, ret_result);
    case DIR_CONVERSATIONS_PROJECT:
        return project(db, req);
    case DIR_CONVERSATIONS_LIST:
        return conversations_list(db, req);
    case DIR_PROJECTED_LSN:
        return projected_lsn(db, req);
    case DIR_PING: {
        bool row;
        return step_once(db, db->statements[ST_PING], "ping", &row);
    }
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
        *ret_result = CONFAB_UNSUPPORTED;
        return CONFAB_OK;
    }
    *ret_result = CONFAB_INVALID;
    return CONFAB_OK;
}
