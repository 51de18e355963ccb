/* Binding parameters and reading columns; for the files of this folder only. */
#ifndef CONFAB_ADAPTERS_SQLITE_ROW_H
#define CONFAB_ADAPTERS_SQLITE_ROW_H

#include <sqlite3.h>
#include <string.h>

#include "base/check.h"
#include "ports/directory.h"

static inline void bind_id(sqlite3_stmt *st, int at, uint64_t v)
{
    /* Above 63 bits it becomes negative, which no row is. */
    CHECK(sqlite3_bind_int64(st, at, (sqlite3_int64)v) == SQLITE_OK);
}

/* The text or bytes must live until the statement is reset. */
static inline void bind_text(sqlite3_stmt *st, int at, const char *text)
{
    CHECK(sqlite3_bind_text(st, at, text, (int)strlen(text), SQLITE_STATIC) == SQLITE_OK);
}

static inline void bind_blob(sqlite3_stmt *st, int at, const void *p, size_t n)
{
    CHECK(sqlite3_bind_blob(st, at, p, (int)n, SQLITE_STATIC) == SQLITE_OK);
}

static inline bool hash_is_zero(const uint8_t hash[DIR_TOKEN_HASH])
{
    static const uint8_t zero[DIR_TOKEN_HASH];
    return memcmp(hash, zero, sizeof(zero)) == 0;
}

/* A hash of zeros stands for none, which is NULL. */
static inline void bind_hash(sqlite3_stmt *st, int at, const uint8_t hash[DIR_TOKEN_HASH])
{
    if (hash_is_zero(hash)) {
        CHECK(sqlite3_bind_null(st, at) == SQLITE_OK);
    } else {
        bind_blob(st, at, hash, DIR_TOKEN_HASH);
    }
}

static inline uint64_t column_id(sqlite3_stmt *st, int col)
{
    return (uint64_t)sqlite3_column_int64(st, col);
}

/* False when the column does not fit `size` with its terminating zero. */
static inline bool column_text(sqlite3_stmt *st, int col, char *out, size_t size)
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

static inline bool column_blob(sqlite3_stmt *st, int col, uint8_t *out, size_t size)
{
    const void *p = sqlite3_column_blob(st, col);
    if (!p || (size_t)sqlite3_column_bytes(st, col) != size) {
        return false;
    }
    memcpy(out, p, size);
    return true;
}

/* As column_blob, with zeros for NULL. */
static inline bool column_hash(sqlite3_stmt *st, int col, uint8_t out[DIR_TOKEN_HASH])
{
    if (sqlite3_column_type(st, col) == SQLITE_NULL) {
        memset(out, 0, DIR_TOKEN_HASH);
        return true;
    }
    return column_blob(st, col, out, DIR_TOKEN_HASH);
}

#endif
