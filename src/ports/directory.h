/*
 * Port: directory. Accounts, devices, credentials and, as a projection, the conversations of each
 * user. Asynchronous: a request is submitted and its `done` is called exactly once, on any thread.
 * What an answer says is written is durable.
 */
#ifndef CONFAB_PORTS_DIRECTORY_H
#define CONFAB_PORTS_DIRECTORY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/id.h"
#include "ports/executor.h"

#define DIR_USERNAME_MAX      50U /* characters; each may be up to 4 bytes of UTF-8 */
#define DIR_USERNAME_BYTES    200U
#define DIR_DISPLAY_BYTES     400U
#define DIR_HASH_BYTES        128U /* encoded password hash, zero terminated */
#define DIR_TOKEN_HASH        32U
#define DIR_DEVICE_NAME_BYTES 200U

enum dir_op {
    /*
     * In: account.user_id (chosen by the caller), username, username_key (its canonical form, the
     * unique one), display_name, password_hash, created_ms. CONFAB_EXISTS when username_key or
     * user_id is taken.
     */
    DIR_ACCOUNT_CREATE = 1,
    DIR_ACCOUNT_BY_NAME, /* In: username_key. Out: account. CONFAB_NOT_FOUND. */
    DIR_ACCOUNT_BY_ID,   /* In: user_id. Out: account. CONFAB_NOT_FOUND. */
    DIR_ACCOUNTS_EXIST,  /* In: ids, nids. Out: exists[i]. */
    /*
     * In: device.device_id, user_id, name, token_hash, created_ms. CONFAB_NOT_FOUND when the user
     * is missing, CONFAB_EXISTS when the device id is taken, CONFAB_LIMIT above devices_max.
     */
    DIR_DEVICE_CREATE,
    DIR_DEVICE_BY_TOKEN, /* In: token_hash. Out: device. CONFAB_NOT_FOUND. */
    DIR_DEVICE_LIST,     /* In: user_id. Out: devices, ndevices. */
    DIR_DEVICE_REVOKE,   /* In: user_id, device_id. CONFAB_NOT_FOUND. */
    /*
     * In: partition, lsn, conv_rows. In one transaction: rows whose lsn is above the stored one are
     * replaced, and the partition's projected position becomes lsn. May be repeated.
     */
    DIR_CONVERSATIONS_PROJECT,
    /* In: user_id, after (conversation, zero first), limit. Out: conv_rows. */
    DIR_CONVERSATIONS_LIST,
    DIR_PROJECTED_LSN, /* In: partition. Out: lsn (0 when none). */
    DIR_PING,          /* a round trip through the engine, for readiness */
};

struct dir_account {
    uint64_t user_id;
    uint64_t created_ms;
    char username[DIR_USERNAME_BYTES + 1];
    char display_name[DIR_DISPLAY_BYTES + 1];
    char password_hash[DIR_HASH_BYTES];
};
struct dir_device {
    uint64_t device_id;
    uint64_t user_id;
    uint64_t created_ms;
    char name[DIR_DEVICE_NAME_BYTES + 1];
    uint8_t token_hash[DIR_TOKEN_HASH];
};
struct dir_conv_row {
    uint64_t user_id;
    struct conv_id conv;
    uint64_t lsn;
    uint64_t since_ms;
    uint8_t conv_kind;
    bool joined;
};

struct dir_request {
    struct job job; /* the adapter's */
    void *adapter;  /* the adapter's */
    enum dir_op op;
    void (*done)(struct dir_request *req);
    void *arg; /* the caller's */

    uint64_t user_id;
    uint64_t device_id;
    char username_key[DIR_USERNAME_BYTES + 1];
    uint8_t token_hash[DIR_TOKEN_HASH];
    struct dir_account account;
    struct dir_device device;
    const uint64_t *ids; /* the caller's array */
    bool *exists;        /* the caller's array, filled */
    uint32_t nids;
    uint16_t partition;
    uint64_t lsn;
    uint32_t limit;
    uint32_t devices_max;
    struct conv_id after;

    /* In for PROJECT (the caller's array), out for LIST (the request's, see deinit). */
    struct dir_conv_row *conv_rows;
    uint32_t nconv_rows;

    enum confab_err ret_err;
    struct dir_device *ret_devices; /* the request's */
    uint32_t ret_ndevices;
    bool rows_owned; /* conv_rows was allocated by the adapter */
};

/* Frees what the adapter allocated; not the request. Accepts a zeroed one. */
void dir_request_deinit(struct dir_request *req);

struct directory;
struct directory_ops {
    const char *name;
    int version;
    /* Any thread, never blocks. CONFAB_BUSY (bounded queue full) or CONFAB_CLOSED: no `done`. */
    enum confab_err (*submit)(struct directory *dir, struct dir_request *req);
};
struct directory {
    const struct directory_ops *ops;
};

CONFAB_NODISCARD static inline enum confab_err directory_submit(struct directory *dir,
                                                                struct dir_request *req)
{
    return dir->ops->submit(dir, req);
}

#endif
