/*
 * The schema of the directory in SQLite: files of each earlier version open, keep their rows and
 * work; and no statement reads a table from end to end that must not.
 */
#include "dir_rig.h"

#include <sqlite3.h>

#include "adapters/sqlite/sqlite_internal.h"
#include "store_bench.h"

/* The migrations as they were; a copy, since what was released must not change. */
static const char *const VERSIONS[] = {
    /* 1 */
    "CREATE TABLE accounts (user_id INTEGER PRIMARY KEY, username_key TEXT NOT NULL UNIQUE,"
    " username TEXT NOT NULL, display_name TEXT NOT NULL, password_hash TEXT NOT NULL,"
    " created_ms INTEGER NOT NULL) STRICT;"
    "CREATE TABLE devices (device_id INTEGER PRIMARY KEY,"
    " user_id INTEGER NOT NULL REFERENCES accounts (user_id), name TEXT NOT NULL,"
    " token_hash BLOB NOT NULL UNIQUE CHECK (length(token_hash) = 32),"
    " created_ms INTEGER NOT NULL) STRICT;"
    "CREATE INDEX devices_of_user ON devices (user_id, device_id);"
    "CREATE TABLE conversations (user_id INTEGER NOT NULL,"
    " conversation BLOB NOT NULL CHECK (length(conversation) = 16), lsn INTEGER NOT NULL,"
    " since_ms INTEGER NOT NULL, kind INTEGER NOT NULL, joined INTEGER NOT NULL,"
    " PRIMARY KEY (user_id, conversation)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE projections (partition INTEGER PRIMARY KEY, lsn INTEGER NOT NULL) STRICT;",
};

/* Rows that version 1 could hold, of the texts and hashes that dir_rig.h makes. */
static const char ROWS[] =
    "INSERT INTO accounts VALUES (1, 'key-anna', 'anna', 'The anna', 'hash-anna', 1001),"
    " (2, 'key-berta', 'berta', 'The berta', 'hash-berta', 1002);"
    "INSERT INTO devices VALUES"
    " (10, 1, 'device 10', CAST(replace(hex(zeroblob(16)), '0', char(10)) AS BLOB), 2010),"
    " (20, 1, 'device 20', CAST(replace(hex(zeroblob(16)), '0', char(20)) AS BLOB), 2020);"
    "INSERT INTO conversations VALUES (1, x'00000000000000000000000000000005', 11, 110, 2, 1);"
    "INSERT INTO projections VALUES (3, 11);";

static void exec_sql(const char *path, const char *sql)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    char *text = NULL;
    if (sqlite3_exec(db, sql, NULL, NULL, &text) != SQLITE_OK) {
        fail_msg("%s: %s", sql, text);
    }
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

/* Makes a file of that version, with ROWS, in place of the rig's. */
static void make_version(unsigned version)
{
    char path[100];
    char sql[100];
    (void)snprintf(path, sizeof(path), "%.60s/old.db", dir_rig.tmp);
    for (unsigned i = 0; i < version; i++) {
        exec_sql(path, VERSIONS[i]);
        if (i == 0) {
            exec_sql(path, ROWS);
        }
    }
    (void)snprintf(sql, sizeof(sql), "PRAGMA user_version = %u; PRAGMA application_id = %d",
                   version, 0x436f6e66);
    exec_sql(path, sql);
    (void)snprintf(dir_rig.path, sizeof(dir_rig.path), "%s", path);
}

static void expect_old_rows(void)
{
    struct dir_account a;
    assert_int_equal(dir_find_name("anna", &a), CONFAB_OK);
    assert_int_equal(a.user_id, 1);
    assert_int_equal(a.created_ms, 1001);
    assert_string_equal(a.display_name, "The anna");
    assert_string_equal(a.password_hash, "hash-anna");
    struct dir_device d;
    assert_int_equal(dir_find_device(10, &d), CONFAB_OK);
    assert_int_equal(d.last_used_ms, 2010);
    assert_int_equal(d.generation, 0);
    assert_string_equal(d.last_address, "");
    struct dir_request by_token = {.op = DIR_DEVICE_BY_TOKEN};
    memset(by_token.token_hash, 20, sizeof(by_token.token_hash));
    assert_int_equal(dir_run(&by_token), CONFAB_OK);
    assert_int_equal(by_token.device.device_id, 20);
    dir_expect_devices(1, (const uint64_t[]){10, 20, 0});
    struct dir_request lsn = {.op = DIR_PROJECTED_LSN, .partition = 3};
    assert_int_equal(dir_run(&lsn), CONFAB_OK);
    assert_int_equal(lsn.lsn, 11);
    struct dir_request convs = {.op = DIR_CONVERSATIONS_LIST, .user_id = 1, .limit = 9};
    assert_int_equal(dir_run(&convs), CONFAB_OK);
    assert_int_equal(convs.nconv_rows, 1);
    assert_int_equal(convs.conv_rows[0].conv.lo, 5);
    dir_request_deinit(&convs);
}

static void expect_it_works(void)
{
    assert_int_equal(dir_create(3, "anna"), CONFAB_EXISTS);
    assert_int_equal(dir_create(3, "clara"), CONFAB_OK);
    assert_int_equal(dir_add_device(3, 30), CONFAB_OK);
    struct dir_request rotate = {.op = DIR_DEVICE_ROTATE, .now_ms = 5000};
    memset(rotate.chain_hash, 30, sizeof(rotate.chain_hash));
    memset(rotate.token_hash, 30, sizeof(rotate.token_hash));
    memset(rotate.next_hash, 31, sizeof(rotate.next_hash));
    assert_int_equal(dir_run(&rotate), CONFAB_OK);
    assert_int_equal(dir_revoke(1, 10, 5000), CONFAB_OK);
    dir_expect_devices(1, (const uint64_t[]){20, 0});
}

static void test_directory_schema__earlier_versions_open_and_work(void **state)
{
    (void)state;
    char fresh[sizeof(dir_rig.path)];
    memcpy(fresh, dir_rig.path, sizeof(fresh));
    for (unsigned version = 1; version <= ARRAY_LEN(VERSIONS); version++) {
        make_version(version);
        dir_rig_reopen();
        expect_old_rows();
        dir_rig_reopen();
        expect_old_rows();
        expect_it_works();
        memcpy(dir_rig.path, fresh, sizeof(fresh));
        dir_rig_reopen();
        char old[100];
        (void)snprintf(old, sizeof(old), "%.60s/old.db", dir_rig.tmp);
        assert_int_equal(remove(old), 0);
    }
}

static const struct CMUnitTest CASES[] = {
    DIR_CASE(test_directory_schema__earlier_versions_open_and_work),
};

int main(void)
{
    return dir_rig_main_sqlite(CASES, ARRAY_LEN(CASES));
}
