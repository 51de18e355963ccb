/* The connection: opened, its statements prepared and run, its errors told. */
#include <stdio.h>
#include <string.h>

#include "adapters/sqlite/sqlite_internal.h"
#include "base/check.h"
#include "base/diag.h"

enum { BUSY_TIMEOUT_MS = 5000 };

static const char *const STATEMENTS[ST_COUNT] = {
#define X(symbol, sql) [symbol] = sql,
    SQLITE_STATEMENTS(X)
#undef X
};

enum confab_err sqlite_err(int rc)
{
    switch (rc & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return CONFAB_OK;
    case SQLITE_NOMEM:
        return CONFAB_NOMEM;
    case SQLITE_FULL:
        return CONFAB_NO_SPACE;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return CONFAB_CORRUPT;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return CONFAB_LOCKED;
    default:
        return CONFAB_IO;
    }
}

enum confab_err sqlite_db_err(struct sqlite_db *db, int rc, const char *call)
{
    enum confab_err err = sqlite_err(rc);
    if (err == CONFAB_OK) {
        return err;
    }
    if (rc == SQLITE_IOERR_FSYNC || rc == SQLITE_IOERR_DIR_FSYNC) {
        db->sync_failed = true;
    }
    int os_errno = db->handle ? sqlite3_system_errno(db->handle) : 0;
    diag_error(DIAG_DIR, "sqlite failed | call=\"%s\" code=%d errno=%d text=\"%s\"", call, rc,
               os_errno, sqlite3_errstr(rc));
    return err;
}

enum confab_err sqlite_db_run(struct sqlite_db *db, enum sqlite_statement st)
{
    bool row;
    return sqlite_db_any(db, st, &row);
}

enum confab_err sqlite_db_any(struct sqlite_db *db, enum sqlite_statement st, bool *ret)
{
    int rc = sqlite3_step(db->statements[st]);
    (void)sqlite3_reset(db->statements[st]); /* repeats the code of the step */
    enum confab_err err = sqlite_db_err(db, rc, STATEMENTS[st]);
    if (err == CONFAB_OK) {
        *ret = rc == SQLITE_ROW;
    }
    return err;
}

enum confab_err sqlite_db_number(struct sqlite_db *db, enum sqlite_statement st, uint64_t *ret)
{
    int rc = sqlite3_step(db->statements[st]);
    uint64_t v = rc == SQLITE_ROW ? (uint64_t)sqlite3_column_int64(db->statements[st], 0) : 0;
    (void)sqlite3_reset(db->statements[st]);
    enum confab_err err = sqlite_db_err(db, rc, STATEMENTS[st]);
    if (err == CONFAB_OK) {
        *ret = v;
    }
    return err;
}

enum confab_err sqlite_db_rows(struct sqlite_db *db, enum sqlite_statement st,
                               struct dir_request *req, sqlite_on_row on_row, uint32_t *ret_n)
{
    uint32_t n = 0;
    int rc = sqlite3_step(db->statements[st]);
    while (rc == SQLITE_ROW) {
        enum confab_err err = on_row ? on_row(db->statements[st], req) : CONFAB_OK;
        if (err != CONFAB_OK) {
            rc = err == CONFAB_NOMEM ? SQLITE_NOMEM : SQLITE_CORRUPT;
        } else {
            n++;
            rc = sqlite3_step(db->statements[st]);
        }
    }
    (void)sqlite3_reset(db->statements[st]);
    enum confab_err err = sqlite_db_err(db, rc, STATEMENTS[st]);
    if (err == CONFAB_OK) {
        *ret_n = n;
    }
    return err;
}

enum confab_err sqlite_db_purge(struct sqlite_db *db, enum sqlite_statement st,
                                struct dir_request *req)
{
    CHECK(sqlite3_bind_int64(db->statements[st], 1, (sqlite3_int64)req->before_ms) == SQLITE_OK);
    CHECK(sqlite3_bind_int64(db->statements[st], 2, req->limit) == SQLITE_OK);
    enum confab_err err = sqlite_db_run(db, st);
    if (err == CONFAB_OK) {
        req->ret_count = (uint64_t)sqlite3_changes(db->handle);
        req->ret_more = req->ret_count == req->limit;
    }
    return err;
}

enum confab_err sqlite_db_row(struct sqlite_db *db, enum sqlite_statement st,
                              struct dir_request *req, sqlite_on_row on_row,
                              enum confab_err *ret_result)
{
    uint32_t n = 0;
    enum confab_err err = sqlite_db_rows(db, st, req, on_row, &n);
    if (err == CONFAB_OK && n == 0) {
        *ret_result = CONFAB_NOT_FOUND;
    }
    return err;
}

enum confab_err sqlite_db_exec(struct sqlite_db *db, const char *sql)
{
    return sqlite_db_err(db, sqlite3_exec(db->handle, sql, NULL, NULL, NULL), "exec");
}

enum confab_err sqlite_db_get_int(struct sqlite_db *db, const char *sql, int64_t *ret)
{
    sqlite3_stmt *st = NULL;
    int rc = sqlite3_prepare_v2(db->handle, sql, -1, &st, NULL);
    if (rc == SQLITE_OK) {
        rc = sqlite3_step(st);
    }
    if (rc == SQLITE_ROW) {
        *ret = sqlite3_column_int64(st, 0);
    } else if (rc == SQLITE_DONE) {
        rc = SQLITE_CORRUPT;
    }
    (void)sqlite3_finalize(st);
    return sqlite_db_err(db, rc, sql);
}

static enum confab_err configure(struct sqlite_db *db, size_t cache_bytes)
{
    char sql[400];
    int n = snprintf(sql, sizeof(sql),
                     "PRAGMA journal_mode = WAL;"
                     "PRAGMA synchronous = FULL;"
                     "PRAGMA foreign_keys = ON;"
                     "PRAGMA trusted_schema = OFF;"
                     "PRAGMA temp_store = MEMORY;"
                     "PRAGMA journal_size_limit = 16777216;"
                     "PRAGMA cache_size = -%zu;",
                     MAX(cache_bytes / 1024, (size_t)64));
    CHECK(n > 0 && (size_t)n < sizeof(sql));
    enum confab_err err = sqlite_db_exec(db, sql);
    int64_t on = 0;
    if (err == CONFAB_OK) {
        err = sqlite_db_get_int(db, "PRAGMA foreign_keys", &on);
    }
    if (err == CONFAB_OK && on != 1) {
        err = CONFAB_UNSUPPORTED; /* a library built without them */
    }
    return err;
}

static enum confab_err prepare(struct sqlite_db *db)
{
    for (unsigned i = 0; i < ST_COUNT; i++) {
        int rc = sqlite3_prepare_v3(db->handle, STATEMENTS[i], -1, SQLITE_PREPARE_PERSISTENT,
                                    &db->statements[i], NULL);
        if (rc != SQLITE_OK) {
            enum confab_err err = sqlite_db_err(db, rc, STATEMENTS[i]);
            return rc == SQLITE_ERROR ? CONFAB_CORRUPT : err; /* a table is not as it must be */
        }
    }
    return CONFAB_OK;
}

enum confab_err sqlite_db_open(struct sqlite_db *db, const char *path, size_t cache_bytes)
{
    memset(db, 0, sizeof(*db));
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    int rc = sqlite3_open_v2(path, &db->handle, flags, NULL);
    if (rc == SQLITE_OK) {
        (void)sqlite3_extended_result_codes(db->handle, 1);
        rc = sqlite3_busy_timeout(db->handle, BUSY_TIMEOUT_MS);
    }
    enum confab_err err = sqlite_db_err(db, rc, "open");
    if (err == CONFAB_OK) {
        err = configure(db, cache_bytes);
    }
    if (err == CONFAB_OK) {
        err = sqlite_schema_migrate(db);
    }
    if (err == CONFAB_OK) {
        err = prepare(db);
    }
    if (err == CONFAB_OK) {
        err = sqlite_words_refresh(db);
    }
    if (err != CONFAB_OK) {
        sqlite_db_close(db);
    }
    return err;
}

void sqlite_db_close(struct sqlite_db *db)
{
    for (unsigned i = 0; i < ST_COUNT; i++) {
        (void)sqlite3_finalize(db->statements[i]);
    }
    int rc = sqlite3_close(db->handle); /* moves the WAL into the database */
    (void)sqlite_db_err(db, rc, "close");
    memset(db, 0, sizeof(*db));
}
