/* When people were last online, by runs of the server, and who hides what. */
#include "adapters/sqlite/sqlite_internal.h"
#include "adapters/sqlite/sqlite_row.h"
#include "ports/dir_adapter.h"

static enum confab_err on_hidden(sqlite3_stmt *st, struct dir_request *req)
{
    if (req->ret_nhidden == req->limit) {
        req->ret_more = true;
        return CONFAB_OK;
    }
    struct dir_hidden h = {column_id(st, 0), (uint32_t)sqlite3_column_int(st, 1)};
    return dir_results_add_hidden(req, &h);
}

enum confab_err sqlite_hidden_list(struct sqlite_db *db, struct dir_request *req,
                                   enum confab_err *ret_result)
{
    uint32_t n = 0;
    *ret_result = CONFAB_OK;
    bind_id(db->statements[ST_HIDDEN_LIST], 1, req->after_id);
    bind_id(db->statements[ST_HIDDEN_LIST], 2, (uint64_t)req->limit + 1);
    return sqlite_db_rows(db, ST_HIDDEN_LIST, req, on_hidden, &n);
}

enum confab_err sqlite_seen_write(struct sqlite_db *db, struct dir_request *req,
                                  enum confab_err *ret_result)
{
    *ret_result = CONFAB_OK;
    bind_id(db->statements[ST_RUN_ALIVE], 1, req->run);
    bind_id(db->statements[ST_RUN_ALIVE], 2, req->now_ms);
    enum confab_err err = sqlite_db_run(db, ST_RUN_ALIVE);
    for (uint32_t i = 0; err == CONFAB_OK && i < req->nseen; i++) {
        bind_id(db->statements[ST_SEEN_SET], 1, req->seen[i].user_id);
        bind_id(db->statements[ST_SEEN_SET], 2, req->seen[i].last_seen_ms);
        bind_id(db->statements[ST_SEEN_SET], 3, req->run);
        err = sqlite_db_run(db, ST_SEEN_SET);
    }
    if (err == CONFAB_OK) {
        bind_id(db->statements[ST_RUNS_PURGE], 1, req->run);
        err = sqlite_db_run(db, ST_RUNS_PURGE);
    }
    return err;
}

enum confab_err sqlite_seen_read(struct sqlite_db *db, struct dir_request *req,
                                 enum confab_err *ret_result)
{
    enum confab_err err = CONFAB_OK;
    *ret_result = CONFAB_OK;
    for (uint32_t i = 0; err == CONFAB_OK && i < req->nids; i++) {
        bind_id(db->statements[ST_SEEN_GET], 1, req->ids[i]);
        err = sqlite_db_number(db, ST_SEEN_GET, &req->seen_ms[i]);
    }
    return err;
}
