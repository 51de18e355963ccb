/* Invites. */
#include "adapters/sqlite/sqlite_internal.h"
#include "adapters/sqlite/sqlite_row.h"
#include "ports/dir_adapter.h"

static enum confab_err may_create(struct sqlite_db *db, const struct dir_request *req,
                                  enum confab_err *ret_result)
{
    const struct dir_invite *i = &req->invite;
    bool taken = false;
    uint64_t open = 0;
    bind_id(db->statements[ST_INVITE_TAKEN], 1, i->invite_id);
    bind_blob(db->statements[ST_INVITE_TAKEN], 2, i->code_hash, sizeof(i->code_hash));
    enum confab_err err = sqlite_db_any(db, ST_INVITE_TAKEN, &taken);
    if (err == CONFAB_OK && !taken && i->kind == DIR_INVITE_MEMBER && req->invites_max > 0) {
        bind_id(db->statements[ST_INVITES_OPEN], 1, i->created_by);
        bind_id(db->statements[ST_INVITES_OPEN], 2, i->created_ms);
        err = sqlite_db_number(db, ST_INVITES_OPEN, &open);
    }
    if (err == CONFAB_OK && taken) {
        *ret_result = CONFAB_EXISTS;
    } else if (err == CONFAB_OK && req->invites_max > 0 && open >= req->invites_max) {
        *ret_result = CONFAB_LIMIT;
    }
    return err;
}

/* The columns in their order (INVITE_COLUMNS). */
static enum confab_err insert_invite(struct sqlite_db *db, const struct dir_invite *i)
{
    sqlite3_stmt *st = db->statements[ST_INVITE_INSERT];
    bind_id(st, 1, i->invite_id);
    bind_blob(st, 2, i->code_hash, sizeof(i->code_hash));
    bind_id(st, 3, i->kind);
    bind_id(st, 4, i->uses_max);
    bind_id(st, 5, i->uses);
    bind_id(st, 6, i->created_by);
    bind_id(st, 7, i->created_ms);
    bind_id(st, 8, i->expires_ms);
    bind_id(st, 9, i->revoked_ms);
    bind_id(st, 10, i->ended_ms);
    bind_text(st, 11, i->note);
    return sqlite_db_run(db, ST_INVITE_INSERT);
}

enum confab_err sqlite_invite_create(struct sqlite_db *db, struct dir_request *req,
                                     enum confab_err *ret_result)
{
    enum confab_err err = may_create(db, req, ret_result);
    if (err != CONFAB_OK || *ret_result != CONFAB_OK) {
        return err;
    }
    dir_invite_begin(&req->invite);
    if (req->invite.kind == DIR_INVITE_SETUP) {
        bind_id(db->statements[ST_INVITES_REPLACE], 1, req->invite.created_ms);
        err = sqlite_db_run(db, ST_INVITES_REPLACE);
    }
    return err == CONFAB_OK ? insert_invite(db, &req->invite) : err;
}

static enum confab_err read_invite(sqlite3_stmt *st, struct dir_invite *i)
{
    i->invite_id = column_id(st, 0);
    i->kind = (enum dir_invite_kind)sqlite3_column_int(st, 2);
    i->uses_max = (uint32_t)sqlite3_column_int64(st, 3);
    i->uses = (uint32_t)sqlite3_column_int64(st, 4);
    i->created_by = column_id(st, 5);
    i->created_ms = column_id(st, 6);
    i->expires_ms = column_id(st, 7);
    i->revoked_ms = column_id(st, 8);
    i->ended_ms = column_id(st, 9);
    bool ok = column_blob(st, 1, i->code_hash, sizeof(i->code_hash)) &&
              column_text(st, 10, i->note, sizeof(i->note));
    return ok ? CONFAB_OK : CONFAB_CORRUPT;
}

static enum confab_err on_invite(sqlite3_stmt *st, struct dir_request *req)
{
    return read_invite(st, &req->invite);
}

static enum confab_err on_listed_invite(sqlite3_stmt *st, struct dir_request *req)
{
    struct dir_invite invite = {.invite_id = 0};
    enum confab_err err = read_invite(st, &invite);
    return err == CONFAB_OK ? dir_results_add_invite(req, &invite) : err;
}

enum confab_err sqlite_invite_by_code(struct sqlite_db *db, struct dir_request *req,
                                      enum confab_err *ret_result)
{
    uint8_t code[DIR_TOKEN_HASH]; /* the request's is written by the row */
    memcpy(code, req->invite.code_hash, sizeof(code));
    bind_blob(db->statements[ST_INVITE_BY_CODE], 1, code, sizeof(code));
    return sqlite_db_row(db, ST_INVITE_BY_CODE, req, on_invite, ret_result);
}

enum confab_err sqlite_invites_list(struct sqlite_db *db, struct dir_request *req,
                                    enum confab_err *ret_result)
{
    *ret_result = CONFAB_OK;
    uint32_t n;
    enum sqlite_statement statement = req->user_id == 0 ? ST_INVITES_ALL : ST_INVITES_OF;
    sqlite3_stmt *st = db->statements[statement];
    bind_id(st, 1, req->after_id == 0 ? INT64_MAX : req->after_id);
    bind_id(st, 2, (uint64_t)req->limit + 1); /* the one more tells whether there is more */
    if (statement == ST_INVITES_OF) {
        bind_id(st, 3, req->user_id);
    }
    enum confab_err err = sqlite_db_rows(db, statement, req, on_listed_invite, &n);
    if (err == CONFAB_OK && n > req->limit) {
        req->ret_more = true;
        req->ret_ninvites--;
    }
    return err;
}

enum confab_err sqlite_invite_store(struct sqlite_db *db, const struct dir_invite *i)
{
    sqlite3_stmt *st = db->statements[ST_INVITE_STATE];
    bind_id(st, 1, i->invite_id);
    bind_id(st, 2, i->uses);
    bind_id(st, 3, i->revoked_ms);
    bind_id(st, 4, i->ended_ms);
    return sqlite_db_run(db, ST_INVITE_STATE);
}

enum confab_err sqlite_invite_revoke(struct sqlite_db *db, struct dir_request *req,
                                     enum confab_err *ret_result)
{
    struct dir_request found = {.op = DIR_INVITE_REVOKE};
    bind_id(db->statements[ST_INVITE_BY_ID], 1, req->invite.invite_id);
    enum confab_err err = sqlite_db_row(db, ST_INVITE_BY_ID, &found, on_invite, ret_result);
    if (err != CONFAB_OK || *ret_result != CONFAB_OK) {
        return err;
    }
    if (found.invite.revoked_ms != 0 ||
        (req->user_id != 0 && req->user_id != found.invite.created_by)) {
        *ret_result = CONFAB_NOT_FOUND;
        return CONFAB_OK;
    }
    req->invite = found.invite;
    dir_invite_revoke(&req->invite, req->now_ms);
    return sqlite_invite_store(db, &req->invite);
}

enum confab_err sqlite_invites_purge(struct sqlite_db *db, struct dir_request *req,
                                     enum confab_err *ret_result)
{
    *ret_result = CONFAB_OK;
    return sqlite_db_purge(db, ST_INVITES_PURGE, req);
}
