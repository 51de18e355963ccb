/* The audit record: rows are added, never changed, and their ids never used again.
 * The oldest may go. */
#include "adapters/sqlite/sqlite_internal.h"
#include "adapters/sqlite/sqlite_row.h"
#include "ports/dir_adapter.h"

enum confab_err sqlite_audit_append(struct sqlite_db *db, struct dir_request *req,
                                    enum confab_err *ret_result)
{
    *ret_result = CONFAB_OK;
    struct dir_audit a = dir_audit_of(req);
    sqlite3_stmt *st = db->statements[ST_AUDIT_INSERT];
    bind_id(st, 1, a.at_ms);
    bind_id(st, 2, a.actor);
    bind_id(st, 3, a.target);
    bind_text(st, 4, a.action);
    bind_text(st, 5, a.detail);
    bind_text(st, 6, a.address);
    return sqlite_db_run(db, ST_AUDIT_INSERT);
}

static enum confab_err on_audit(sqlite3_stmt *st, struct dir_request *req)
{
    struct dir_audit a = {
        .audit_id = column_id(st, 0),
        .at_ms = column_id(st, 1),
        .actor = column_id(st, 2),
        .target = column_id(st, 3),
    };
    bool ok = column_text(st, 4, a.action, sizeof(a.action)) &&
              column_text(st, 5, a.detail, sizeof(a.detail)) &&
              column_text(st, 6, a.address, sizeof(a.address));
    return ok ? dir_results_add_audit(req, &a) : CONFAB_CORRUPT;
}

enum confab_err sqlite_audit_list(struct sqlite_db *db, struct dir_request *req,
                                  enum confab_err *ret_result)
{
    *ret_result = CONFAB_OK;
    uint32_t n;
    sqlite3_stmt *st = db->statements[ST_AUDIT_LIST];
    bind_id(st, 1, req->after_id == 0 ? INT64_MAX : req->after_id);
    bind_id(st, 2, (uint64_t)req->limit + 1); /* the one more tells whether there is more */
    enum confab_err err = sqlite_db_rows(db, ST_AUDIT_LIST, req, on_audit, &n);
    if (err == CONFAB_OK && n > req->limit) {
        req->ret_more = true;
        req->ret_naudits--;
    }
    return err;
}

enum confab_err sqlite_audit_purge(struct sqlite_db *db, struct dir_request *req,
                                   enum confab_err *ret_result)
{
    *ret_result = CONFAB_OK;
    return sqlite_db_purge(db, ST_AUDIT_PURGE, req);
}
