/* Rows by key: settings, and the keys of repeated requests with the answers that they had. */
#include "adapters/sqlite/sqlite_internal.h"
#include "adapters/sqlite/sqlite_row.h"
#include "ports/dir_adapter.h"

/* ---- settings ---- */

static enum confab_err on_setting(sqlite3_stmt *st, struct dir_request *req)
{
    const unsigned char *text = sqlite3_column_text(st, 0);
    return text ? dir_results_set_text(req, text, (size_t)sqlite3_column_bytes(st, 0))
                : CONFAB_NOMEM;
}

enum confab_err sqlite_setting_get(struct sqlite_db *db, struct dir_request *req,
                                   enum confab_err *ret_result)
{
    bind_text(db->statements[ST_SETTING_GET], 1, req->setting_key);
    return sqlite_db_row(db, ST_SETTING_GET, req, on_setting, ret_result);
}

static enum confab_err remove_setting(struct sqlite_db *db, const struct dir_request *req,
                                      enum confab_err *ret_result)
{
    bind_text(db->statements[ST_SETTING_DELETE], 1, req->setting_key);
    enum confab_err err = sqlite_db_run(db, ST_SETTING_DELETE);
    if (err == CONFAB_OK && sqlite3_changes(db->handle) == 0) {
        *ret_result = CONFAB_NOT_FOUND;
    }
    return err;
}

enum confab_err sqlite_setting_set(struct sqlite_db *db, struct dir_request *req,
                                   enum confab_err *ret_result)
{
    if (!req->text) {
        return remove_setting(db, req, ret_result);
    }
    uint64_t others = 0;
    bind_text(db->statements[ST_SETTINGS_COUNT], 1, req->setting_key);
    enum confab_err err = sqlite_db_number(db, ST_SETTINGS_COUNT, &others);
    if (err != CONFAB_OK || others >= DIR_SETTINGS_MAX) {
        *ret_result = CONFAB_LIMIT;
        return err;
    }
    sqlite3_stmt *st = db->statements[ST_SETTING_SET];
    bind_text(st, 1, req->setting_key);
    CHECK(sqlite3_bind_text(st, 2, req->text, (int)req->text_len, SQLITE_STATIC) == SQLITE_OK);
    bind_id(st, 3, req->now_ms);
    return sqlite_db_run(db, ST_SETTING_SET);
}

/* ---- repeated requests ---- */

static sqlite3_stmt *bind_key(struct sqlite_db *db, enum sqlite_statement statement,
                              const struct dir_request *req)
{
    sqlite3_stmt *st = db->statements[statement];
    bind_id(st, 1, req->user_id);
    bind_text(st, 2, req->idem_key);
    return st;
}

static enum confab_err on_claim(sqlite3_stmt *st, struct dir_request *req)
{
    uint8_t hash[DIR_TOKEN_HASH];
    if (!column_blob(st, 0, hash, sizeof(hash))) {
        return CONFAB_CORRUPT;
    }
    uint32_t status = (uint32_t)sqlite3_column_int64(st, 2);
    req->ret_claim = dir_idem_claim_of(req, hash, column_id(st, 1), status);
    if (req->ret_claim != DIR_CLAIM_DONE) {
        return CONFAB_OK;
    }
    req->idem_status = status;
    const void *body = sqlite3_column_blob(st, 3);
    return dir_results_set_text(req, body, (size_t)sqlite3_column_bytes(st, 3));
}

static enum confab_err claim_new(struct sqlite_db *db, struct dir_request *req,
                                 enum confab_err *ret_result)
{
    uint64_t kept = 0;
    bind_id(db->statements[ST_IDEM_COUNT], 1, req->user_id);
    enum confab_err err = sqlite_db_number(db, ST_IDEM_COUNT, &kept);
    if (err != CONFAB_OK || kept >= req->keys_max) {
        *ret_result = CONFAB_LIMIT;
        return err;
    }
    sqlite3_stmt *st = bind_key(db, ST_IDEM_INSERT, req);
    bind_blob(st, 3, req->request_hash, sizeof(req->request_hash));
    bind_id(st, 4, req->now_ms);
    return sqlite_db_run(db, ST_IDEM_INSERT);
}

enum confab_err sqlite_idem_claim(struct sqlite_db *db, struct dir_request *req,
                                  enum confab_err *ret_result)
{
    uint32_t n = 0;
    (void)bind_key(db, ST_IDEM_GET, req);
    enum confab_err err = sqlite_db_rows(db, ST_IDEM_GET, req, on_claim, &n);
    if (err != CONFAB_OK || (n > 0 && req->ret_claim != DIR_CLAIMED)) {
        return err;
    }
    if (n == 0) {
        return claim_new(db, req, ret_result);
    }
    bind_id(bind_key(db, ST_IDEM_TAKE, req), 3, req->now_ms);
    return sqlite_db_run(db, ST_IDEM_TAKE);
}

/* Runs a statement that changes the row if the claim is still the caller's. */
static enum confab_err end_claim(struct sqlite_db *db, enum sqlite_statement statement,
                                 enum confab_err *ret_result)
{
    enum confab_err err = sqlite_db_run(db, statement);
    if (err == CONFAB_OK && sqlite3_changes(db->handle) == 0) {
        *ret_result = CONFAB_NOT_FOUND;
    }
    return err;
}

enum confab_err sqlite_idem_finish(struct sqlite_db *db, struct dir_request *req,
                                   enum confab_err *ret_result)
{
    sqlite3_stmt *st = bind_key(db, ST_IDEM_FINISH, req);
    bind_id(st, 3, req->now_ms);
    bind_id(st, 4, req->idem_status);
    bind_blob(st, 5, req->text_len > 0 ? req->text : "", req->text_len);
    return end_claim(db, ST_IDEM_FINISH, ret_result);
}

enum confab_err sqlite_idem_release(struct sqlite_db *db, struct dir_request *req,
                                    enum confab_err *ret_result)
{
    bind_id(bind_key(db, ST_IDEM_RELEASE, req), 3, req->now_ms);
    return end_claim(db, ST_IDEM_RELEASE, ret_result);
}

enum confab_err sqlite_idem_purge(struct sqlite_db *db, struct dir_request *req,
                                  enum confab_err *ret_result)
{
    *ret_result = CONFAB_OK;
    return sqlite_db_purge(db, ST_IDEM_PURGE, req);
}
