/* The conversations of each user, as a projection of the log. */
#include "adapters/sqlite/sqlite_internal.h"
#include "adapters/sqlite/sqlite_row.h"
#include "ports/dir_adapter.h"

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
    return sqlite_db_run(db, ST_CONV_UPSERT);
}

enum confab_err sqlite_conversations_project(struct sqlite_db *db, struct dir_request *req,
                                             enum confab_err *ret_result)
{
    *ret_result = CONFAB_OK;
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
    return sqlite_db_run(db, ST_PROJECTED_SET);
}

static enum confab_err on_conv_row(sqlite3_stmt *st, struct dir_request *req)
{
    uint8_t conv[16];
    if (!column_blob(st, 0, conv, sizeof(conv))) {
        return CONFAB_CORRUPT;
    }
    struct dir_conv_row row = {
        .user_id = req->user_id,
        .conv = conv_id_read(conv),
        .lsn = column_id(st, 1),
        .since_ms = column_id(st, 2),
        .conv_kind = (uint8_t)sqlite3_column_int(st, 3),
        .joined = sqlite3_column_int(st, 4) != 0,
    };
    return dir_results_add_row(req, &row);
}

enum confab_err sqlite_conversations_list(struct sqlite_db *db, struct dir_request *req,
                                          enum confab_err *ret_result)
{
    *ret_result = CONFAB_OK;
    uint8_t after[16];
    uint32_t n;
    conv_id_write(req->after, after);
    sqlite3_stmt *st = db->statements[ST_CONV_LIST];
    bind_id(st, 1, req->user_id);
    bind_blob(st, 2, after, sizeof(after));
    bind_id(st, 3, req->limit);
    return sqlite_db_rows(db, ST_CONV_LIST, req, on_conv_row, &n);
}

enum confab_err sqlite_projected_lsn(struct sqlite_db *db, struct dir_request *req,
                                     enum confab_err *ret_result)
{
    *ret_result = CONFAB_OK;
    bind_id(db->statements[ST_PROJECTED_GET], 1, req->partition);
    return sqlite_db_number(db, ST_PROJECTED_GET, &req->lsn);
}
