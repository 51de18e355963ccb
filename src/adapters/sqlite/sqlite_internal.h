/* The database connection behind directory_sqlite; for the files of this folder and their tests. */
#ifndef CONFAB_ADAPTERS_SQLITE_INTERNAL_H
#define CONFAB_ADAPTERS_SQLITE_INTERNAL_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>

#include "ports/directory.h"

/* Every statement, prepared once: X(symbol, SQL). Parameters are bound by position. */
#define SQLITE_STATEMENTS(X)                                                                       \
    X(ST_BEGIN, "BEGIN IMMEDIATE")                                                                 \
    X(ST_COMMIT, "COMMIT")                                                                         \
    X(ST_ACCOUNT_INSERT,                                                                           \
      "INSERT INTO accounts (user_id, username_key, username, display_name, password_hash,"        \
      " created_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6)")                                              \
    X(ST_ACCOUNT_BY_NAME, "SELECT user_id, username, display_name, password_hash, created_ms"      \
                          " FROM accounts WHERE username_key = ?1")                                \
    X(ST_ACCOUNT_BY_ID, "SELECT user_id, username, display_name, password_hash, created_ms"        \
                        " FROM accounts WHERE user_id = ?1")                                       \
    X(ST_ACCOUNT_EXISTS, "SELECT 1 FROM accounts WHERE user_id = ?1")                              \
    X(ST_DEVICE_COUNT, "SELECT count(*) FROM devices WHERE user_id = ?1")                          \
    X(ST_DEVICE_EXISTS, "SELECT 1 FROM devices WHERE device_id = ?1 OR token_hash = ?2")           \
    X(ST_DEVICE_INSERT, "INSERT INTO devices (device_id, user_id, name, token_hash, created_ms)"   \
                        " VALUES (?1, ?2, ?3, ?4, ?5)")                                            \
    X(ST_DEVICE_BY_TOKEN, "SELECT device_id, user_id, name, token_hash, created_ms FROM devices"   \
                          " WHERE token_hash = ?1")                                                \
    X(ST_DEVICE_LIST, "SELECT device_id, user_id, name, token_hash, created_ms FROM devices"       \
                      " WHERE user_id = ?1 ORDER BY device_id")                                    \
    X(ST_DEVICE_DELETE, "DELETE FROM devices WHERE device_id = ?1 AND user_id = ?2")               \
    X(ST_CONV_UPSERT,                                                                              \
      "INSERT INTO conversations (user_id, conversation, lsn, since_ms, kind, joined)"             \
      " VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (user_id, conversation) DO UPDATE SET"         \
      " lsn = excluded.lsn, since_ms = excluded.since_ms, kind = excluded.kind,"                   \
      " joined = excluded.joined WHERE excluded.lsn > conversations.lsn")                          \
    X(ST_CONV_LIST, "SELECT conversation, lsn, since_ms, kind, joined FROM conversations"          \
                    " WHERE user_id = ?1 AND conversation > ?2 ORDER BY conversation LIMIT ?3")    \
    X(ST_PROJECTED_SET,                                                                            \
      "INSERT INTO projections (partition, lsn) VALUES (?1, ?2) ON CONFLICT (partition)"           \
      " DO UPDATE SET lsn = max(lsn, excluded.lsn)")                                               \
    X(ST_PROJECTED_GET, "SELECT lsn FROM projections WHERE partition = ?1")                        \
    X(ST_PING, "SELECT count(*) FROM (SELECT 1 FROM accounts LIMIT 1)")

enum sqlite_statement {
#define X(symbol, sql) symbol,
    SQLITE_STATEMENTS(X)
#undef X
        ST_COUNT
};

/* One connection; one thread at a time. */
struct sqlite_db {
    sqlite3 *handle;
    sqlite3_stmt *statements[ST_COUNT];
    bool sync_failed; /* sticky: what the disk holds is unknown, no further write is confirmed */
};

/* CONFAB_VERSION and so on as directory_sqlite_open. On an error nothing stays open. */
CONFAB_NODISCARD enum confab_err sqlite_db_open(struct sqlite_db *db, const char *path,
                                                size_t cache_bytes);
void sqlite_db_close(struct sqlite_db *db); /* accepts a zeroed one */

/* Translates a result code; SQLITE_OK, ROW and DONE are CONFAB_OK. */
enum confab_err sqlite_err(int rc);
/* The same; also logs an error of the engine, and notes a failed sync. `call` is a literal. */
enum confab_err sqlite_db_err(struct sqlite_db *db, int rc, const char *call);
/* Runs a statement without parameters and results. */
CONFAB_NODISCARD enum confab_err sqlite_db_run(struct sqlite_db *db, enum sqlite_statement st);

/*
 * Runs one request, in whatever transaction is open. What the request itself may meet (see
 * ports/directory.h) comes by ret_result, with nothing changed; the return value is the engine's.
 */
CONFAB_NODISCARD enum confab_err sqlite_run_request(struct sqlite_db *db, struct dir_request *req,
                                                    enum confab_err *ret_result);

#endif
