/*
 * The database file: application id 0x436f6e66, user_version = number of migrations applied. A
 * migration is never changed once released; a new one is added at the end.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "adapters/sqlite/sqlite_internal.h"
#include "base/check.h"
#include "base/diag.h"

enum { APPLICATION_ID = 0x436f6e66, BUSY_TIMEOUT_MS = 5000 };

static const char *const MIGRATIONS[] = {
    /* 1 */
    "CREATE TABLE accounts ("
    " user_id INTEGER PRIMARY KEY,"
    " username_key TEXT NOT NULL UNIQUE,"
    " username TEXT NOT NULL,"
    " display_name TEXT NOT NULL,"
    " password_hash TEXT NOT NULL,"
    " created_ms INTEGER NOT NULL) STRICT;"
    "CREATE TABLE devices ("
    " device_id INTEGER PRIMARY KEY,"
    " user_id INTEGER NOT NULL REFERENCES accounts (user_id),"
    " name TEXT NOT NULL,"
    " token_hash BLOB NOT NULL UNIQUE CHECK (length(token_hash) = 32),"
    " created_ms INTEGER NOT NULL) STRICT;"
    "CREATE INDEX devices_of_user ON devices (user_id, device_id);"
    /* A projection of the log: no reference to accounts, which must not be able to stop it. */
    "CREATE TABLE conversations ("
    " user_id INTEGER NOT NULL,"
    " conversation BLOB NOT NULL CHECK (length(conversation) = 16),"
    " lsn INTEGER NOT NULL,"
    " since_ms INTEGER NOT NULL,"
    " kind INTEGER NOT NULL,"
    " joined INTEGER NOT NULL,"
    " PRIMARY KEY (user_id, conversation)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE projections ("
    " partition INTEGER PRIMARY KEY,"
    " lsn INTEGER NOT NULL) STRICT;",
};

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
    int rc = sqlite3_step(db->statements[st]);
    (void)sqlite3_reset(db->statements[st]); /* repeats the code of the step */
    return sqlite_db_err(db, rc, STATEMENTS[st]);
}

static enum confab_err exec(struct sqlite_db *db, const char *sql)
{
    return sqlite_db_err(db, sqlite3_exec(db->handle, sql, NULL, NULL, NULL), "exec");
}

static enum confab_err get_int(struct sqlite_db *db, const char *sql, int64_t *ret)
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
    enum confab_err err = exec(db, sql);
    int64_t on = 0;
    if (err == CONFAB_OK) {
        err = get_int(db, "PRAGMA foreign_keys", &on);
    }
    if (err == CONFAB_OK && on != 1) {
        err = CONFAB_UNSUPPORTED; /* a library built without them */
    }
    return err;
}

static enum confab_err apply_migration(struct sqlite_db *db, int64_t number)
{
    char set[100];
    (void)snprintf(set, sizeof(set),
                   "PRAGMA user_version = %" PRId64 "; PRAGMA application_id = %d;", number,
                   APPLICATION_ID);
    enum confab_err err = exec(db, "BEGIN IMMEDIATE");
    if (err != CONFAB_OK) {
        return err;
    }
    err = exec(db, MIGRATIONS[number - 1]);
    if (err == CONFAB_OK) {
        err = exec(db, set); /* the database header is part of the transaction */
    }
    if (err == CONFAB_OK) {
        err = exec(db, "COMMIT");
    }
    if (err != CONFAB_OK && !sqlite3_get_autocommit(db->handle)) {
        (void)sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL);
    }
    return err;
}

static enum confab_err migrate(struct sqlite_db *db)
{
    int64_t id = 0;
    int64_t version = 0;
    int64_t tables = 0;
    enum confab_err err = get_int(db, "PRAGMA application_id", &id);
    if (err == CONFAB_OK) {
        err = get_int(db, "PRAGMA user_version", &version);
    }
    if (err == CONFAB_OK) {
        err = get_int(db, "SELECT count(*) FROM sqlite_schema", &tables);
    }
    if (err != CONFAB_OK) {
        return err;
    }
    bool fresh = id == 0 && version == 0 && tables == 0;
    if ((!fresh && id != APPLICATION_ID) || version < 0 ||
        version > (int64_t)ARRAY_LEN(MIGRATIONS)) {
        diag_error(DIAG_DIR,
                   "the database is newer or not ours | application=%" PRId64 " version=%" PRId64,
                   id, version);
        return CONFAB_VERSION;
    }
    while (err == CONFAB_OK && version < (int64_t)ARRAY_LEN(MIGRATIONS)) {
        err = apply_migration(db, ++version);
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
        err = migrate(db);
    }
    if (err == CONFAB_OK) {
        err = prepare(db);
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
