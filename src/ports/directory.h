/*
 * Port: directory. Accounts, devices, credentials, invites, settings, the audit record, the keys of
 * repeated requests and, as a projection, the conversations of each user. Asynchronous: a request
 * is submitted and its `done` is called exactly once, on any thread. What an answer says is written
 * is durable.
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
#define DIR_ABOUT_BYTES       1000U
#define DIR_EMAIL_BYTES       254U
#define DIR_HASH_BYTES        128U /* encoded password hash, zero terminated */
#define DIR_TOKEN_HASH        32U
#define DIR_SALT_BYTES        32U
#define DIR_DEVICE_NAME_BYTES 200U
#define DIR_ADDRESS_BYTES     63U
#define DIR_QUERY_BYTES       200U
#define DIR_WORD_BYTES        64U /* a word of the search, folded; longer ones are cut */
#define DIR_NOTE_BYTES        400U
#define DIR_ACTION_BYTES      63U
#define DIR_DETAIL_BYTES      1000U
#define DIR_SETTING_KEY_BYTES 63U
#define DIR_SETTING_BYTES     4096U
#define DIR_SETTINGS_MAX      256U
#define DIR_IDEM_KEY_BYTES    64U
#define DIR_IDEM_BODY_BYTES   16384U
#define DIR_NAMES_MAX         1000U

/*
 * "In" and "Out" name fields of the request; what is not named is not looked at. Ids are the
 * caller's choice, 1 to INT64_MAX. An operation that fails changes nothing. CONFAB_INVALID: a field
 * outside its bounds, text that is not zero terminated or not UTF-8 where it is searched.
 *
 * Whatever changes something takes `audit`: unless NULL, the record is written in the same
 * transaction, and only when there was a change.
 */
enum dir_op {
    /* ---- accounts ---- */

    /*
     * In: account.user_id, username, display_name, about, email, password_hash (may be empty: no
     * sign-in by password), role, created_ms; username_key (the canonical form, the unique one);
     * with use_invite also invite.code_hash and now_ms (not 0). Out: account, with status, role
     * and updated_ms as stored; invite, the one used.
     * With use_invite the invite's use is counted in the same transaction, and one of kind
     * DIR_INVITE_SETUP makes the account an administrator. CONFAB_INVITE_INVALID: there is no such
     * invite or it is expired, revoked or used up; judged before the name, so that without an
     * invite nobody learns which names are taken. CONFAB_EXISTS when username_key or user_id is
     * taken, also by a deleted account.
     */
    DIR_ACCOUNT_CREATE = 1,
    /* In: username_key. Out: account. CONFAB_NOT_FOUND. Deleted accounts are found too. */
    DIR_ACCOUNT_BY_NAME,
    DIR_ACCOUNT_BY_ID, /* In: user_id. Out: account, username_key. CONFAB_NOT_FOUND. As above. */
    /* In: ids, nids. Out: exists[i]; true for a deleted one, of which deleted[i] tells (unless
     * NULL).
     */
    DIR_ACCOUNTS_EXIST,

    /* ---- devices ---- */

    /*
     * In: device.device_id, user_id, name, token_hash, chain_hash (all zero: this device's token
     * is never rotated), created_ms, last_address; devices_max; account.password_hash, unless
     * empty the hash that was verified. Out: device, its last_used_ms being created_ms.
     * CONFAB_NOT_FOUND when the user is missing or deleted, CONFAB_FORBIDDEN when suspended,
     * CONFAB_UNAUTHENTICATED when the stored password hash is another one by now, CONFAB_EXISTS
     * when the id or a hash is taken, CONFAB_LIMIT above devices_max signed in.
     */
    DIR_DEVICE_CREATE,
    DIR_DEVICE_BY_TOKEN, /* In: token_hash. Out: device. CONFAB_NOT_FOUND, also when revoked. */
    /* In: user_id. Out: ret_devices, by id, without the revoked ones. */
    DIR_DEVICE_LIST,
    /* In: user_id, device_id, now_ms (not 0). CONFAB_NOT_FOUND, also when revoked already. */
    DIR_DEVICE_REVOKE,

    /* ---- conversations, a projection of the log ---- */

    /*
     * In: partition, lsn, conv_rows. In one transaction: rows whose lsn is above the stored one are
     * replaced, and the partition's projected position becomes lsn. May be repeated.
     */
    DIR_CONVERSATIONS_PROJECT,
    /* In: user_id, after (conversation, zero first), limit. Out: conv_rows. */
    DIR_CONVERSATIONS_LIST,
    DIR_PROJECTED_LSN, /* In: partition. Out: lsn (0 when none). */
    DIR_PING,          /* a round trip through the engine, for readiness */

    /* ---- accounts, continued ---- */

    /*
     * In: user_id, mask (enum dir_account_field, not 0), the fields of `account` that it names,
     * now_ms (not 0); with revoke_devices all of the user's devices but device_id (0: none is
     * spared) are revoked in the same transaction. A suspension revokes all of them in any case.
     * Out: account, username_key; ret_ids, the devices revoked, in any order.
     * CONFAB_NOT_FOUND when the user is missing or deleted. CONFAB_LAST_ADMIN when it is the last
     * active administrator and would no longer be one. CONFAB_UNAUTHENTICATED when verified_hash is
     * given and the stored password hash is another one by now.
     */
    DIR_ACCOUNT_UPDATE,
    /*
     * In: user_id, now_ms (not 0). The row stays, so the name stays taken and old messages have an
     * author; display name, about, email and password hash are emptied, the role becomes member,
     * the status deleted, and all devices are revoked. Out: account; ret_ids, the devices revoked.
     * CONFAB_NOT_FOUND (also when deleted already), CONFAB_LAST_ADMIN.
     */
    DIR_ACCOUNT_DELETE,
    /*
     * People by name. In: query, status (DIR_STATUS_ANY: all), after_key and after_id (empty and 0
     * first), limit. Out: ret_accounts, each with ndevices; ret_more; ret_after_key and
     * ret_after_id, for the next page when ret_more.
     * An empty query lists all by username_key. Otherwise each word of the query (letters and
     * digits, without regard to case and accents) must begin a word of the username or of the
     * display name. An account comes once, ordered by its first word that the query's longest one
     * begins, then by id. CONFAB_INVALID when the query has text but no word. Deleted accounts are
     * listed only without a query. A page may be short and still have ret_more, since what is
     * looked at in one call is bounded.
     */
    DIR_ACCOUNTS_LIST,
    DIR_ADMINS_COUNT, /* Out: ret_count, the active administrators. */

    /* ---- devices, continued ---- */

    /* In: user_id (0: whosever), device_id. Out: device. CONFAB_NOT_FOUND, also when revoked. */
    DIR_DEVICE_BY_ID,
    /* In: user_id, device_id, device.name. Out: device. CONFAB_NOT_FOUND, also when revoked. */
    DIR_DEVICE_RENAME,
    /*
     * Exchanges a refresh token. A token is a constant part that names its chain and a part that
     * changes with each rotation, so that any older token is known as such. In: chain_hash (of the
     * constant part), token_hash (of the whole token presented), next_hash and next_salt (of the
     * successor that the caller has made of the token presented and this salt), now_ms (not 0),
     * grace_ms, address. Out: device, account (its owner's), ret_rotated:
     *     DIR_ROTATED       the presented token was the present one, the successor is now;
     *                       device.generation counts up, last_used_ms and last_address are set
     *     DIR_ROTATE_AGAIN  it was the predecessor, at most grace_ms after the rotation: nothing
     *                       changed; the same successor is made with device.salt
     *     DIR_ROTATE_REUSED any other token of this chain: the device has been revoked
     * The audit record is written with DIR_ROTATE_REUSED only; an actor of 0 becomes the user, a
     * target of 0 the device. CONFAB_NOT_FOUND: no such chain, or its device is revoked.
     * CONFAB_EXISTS when next_hash is taken.
     */
    DIR_DEVICE_ROTATE,
    /*
     * In: user_id, device_id (spared; 0: none), now_ms (not 0). Out: ret_ids, those revoked, in any
     * order. Also CONFAB_OK when there is none.
     */
    DIR_DEVICES_REVOKE_ALL,
    /* In: since_ms, after_id, limit. Out: ret_ids, by id, revoked at since_ms or later; ret_more.
     */
    DIR_DEVICES_REVOKED,
    /*
     * In: idle_before_ms, revoked_before_ms, now_ms (not 0), limit. Removes the rows of devices
     * revoked before revoked_before_ms, then revokes those last used before idle_before_ms, no more
     * than limit of each. Out: ret_ids, those revoked now; ret_more: limit was met.
     */
    DIR_DEVICES_PURGE,

    /* ---- invites ---- */

    /*
     * In: invite.invite_id, code_hash, kind, uses_max (not 0), created_by (0: the operator),
     * created_ms (not 0), expires_ms (0: never), note; invites_max (of created_by, that can still
     * be used; 0: any number; not judged for a setup). Out: invite. One of kind DIR_INVITE_SETUP
     * revokes all of that kind that have uses left, in the same transaction. CONFAB_EXISTS when the
     * id or the code is taken, CONFAB_LIMIT.
     */
    DIR_INVITE_CREATE,
    /* In: invite.code_hash. Out: invite, whatever its state. CONFAB_NOT_FOUND. */
    DIR_INVITE_BY_CODE,
    /*
     * In: user_id (the creator's; 0: all), after_id (invites with smaller ids; 0: from the newest),
     * limit. Out: ret_invites, by falling id, whatever their state; ret_more.
     */
    DIR_INVITES_LIST,
    /*
     * In: invite.invite_id, user_id (the creator's; 0: whosever), now_ms (not 0). Out: invite.
     * CONFAB_NOT_FOUND, also when revoked already.
     */
    DIR_INVITE_REVOKE,
    /*
     * In: before_ms, limit. Removes invites whose ended_ms is set and before it. Out: ret_count,
     * ret_more.
     */
    DIR_INVITES_PURGE,

    /* ---- settings ---- */

    DIR_SETTING_GET, /* In: setting_key. Out: ret_text, zero terminated. CONFAB_NOT_FOUND. */
    /*
     * In: setting_key (not empty), text of text_len bytes (up to DIR_SETTING_BYTES, without zeros;
     * NULL removes the setting), now_ms. CONFAB_LIMIT above DIR_SETTINGS_MAX keys, CONFAB_NOT_FOUND
     * when there is nothing to remove.
     */
    DIR_SETTING_SET,

    /* ---- audit ---- */

    DIR_AUDIT_APPEND, /* In: audit. A record of something that changed nothing here. */
    /*
     * In: after_id (records with smaller ids; 0: from the newest), limit. Out: ret_audits, newest
     * first; ret_more.
     */
    DIR_AUDIT_LIST,
    /*
     * In: before_ms, limit. Removes those that were made before it, of the `limit` oldest. Out:
     * ret_count, ret_more (all of these were).
     */
    DIR_AUDIT_PURGE,

    /* ---- repeated requests ---- */

    /*
     * In: user_id, idem_key (not empty), request_hash, now_ms (not 0), pending_ms, keys_max. Out:
     * ret_claim:
     *     DIR_CLAIMED        the key is the caller's, who finishes or releases it
     *     DIR_CLAIM_PENDING  the same request is under way
     *     DIR_CLAIM_DONE     the same request is finished: idem_status; ret_text, the body
     *     DIR_CLAIM_OTHER    the key was used for another request
     * A claim that has been pending for longer than pending_ms (its owner has crashed) is given to
     * the caller if it is the same request. CONFAB_LIMIT above keys_max kept for this user.
     */
    DIR_IDEM_CLAIM,
    /*
     * In: user_id, idem_key, now_ms (that of the claim), idem_status (not 0), text of text_len
     * bytes (the body, up to DIR_IDEM_BODY_BYTES). CONFAB_NOT_FOUND when the claim is not pending
     * or is not the caller's any more.
     */
    DIR_IDEM_FINISH,
    /*
     * In: user_id, idem_key, now_ms (that of the claim). The request had no effect and may be tried
     * again with this key. CONFAB_NOT_FOUND as above.
     */
    DIR_IDEM_RELEASE,
    DIR_IDEM_PURGE, /* In: before_ms, limit. Removes older keys. Out: ret_count, ret_more. */

    /* ---- accounts, continued ---- */

    /*
     * Deleted accounts whose memberships have not been ended yet: from DIR_ACCOUNT_DELETE until
     * DIR_ACCOUNT_LEFT. In: after_id, limit. Out: ret_ids, by id; ret_more.
     */
    DIR_ACCOUNTS_LEAVING,
    DIR_ACCOUNT_LEFT, /* In: user_id. CONFAB_NOT_FOUND when it is none of those. */
    /*
     * In: ids, nids (up to DIR_NAMES_MAX). Out: ret_names, one for each id in their order; where
     * there is no such account, its user_id is 0.
     */
    DIR_NAMES,
    /* ---- presence and privacy ---- */

    /*
     * In: after_id (users with larger ids), limit. Out: ret_hidden, the users that hide something,
     * by id; ret_more.
     */
    DIR_HIDDEN_LIST,
    /*
     * In: run (not 0: names this run of the server, the same for all its shards), now_ms (not 0: it
     * was alive then), seen, nseen (may be 0). A row with last_seen_ms 0 says that the user is
     * online: what it stands for later, should the run end without another word, is the latest
     * now_ms of the run. May be repeated, and must be when it failed: part of it may be written.
     * Deleted accounts have no rows.
     */
    DIR_SEEN_WRITE,
    /* In: ids, nids. Out: seen_ms[i], when that user was last online; 0: never, or not known. */
    DIR_SEEN_READ,
};

enum dir_role { DIR_ROLE_MEMBER = 0, DIR_ROLE_ADMIN = 1 };
enum dir_status {
    DIR_STATUS_ACTIVE = 0,
    DIR_STATUS_SUSPENDED = 1,
    DIR_STATUS_DELETED = 2, /* by DIR_ACCOUNT_DELETE only */
    DIR_STATUS_ANY = 255,   /* of a list */
};
enum dir_account_field {
    DIR_FIELD_DISPLAY_NAME = 1 << 0,
    DIR_FIELD_ABOUT = 1 << 1,
    DIR_FIELD_EMAIL = 1 << 2,
    DIR_FIELD_ROLE = 1 << 3,
    DIR_FIELD_STATUS = 1 << 4, /* active or suspended */
    DIR_FIELD_PASSWORD_HASH = 1 << 5,
    DIR_FIELD_HIDES = 1 << 6, /* the bits of hides_mask */
};
/* What a user does not show to others, and so does not see of them. */
enum dir_hides {
    DIR_HIDES_ONLINE = 1,
    DIR_HIDES_LAST_SEEN = 2,
    DIR_HIDES_RECEIPTS = 4,
    DIR_HIDES_ALL = 7,
};
enum dir_rotated { DIR_ROTATED = 0, DIR_ROTATE_AGAIN, DIR_ROTATE_REUSED };
enum dir_invite_kind { DIR_INVITE_MEMBER = 0, DIR_INVITE_SETUP = 1 };
enum dir_claim { DIR_CLAIMED = 0, DIR_CLAIM_PENDING, DIR_CLAIM_DONE, DIR_CLAIM_OTHER };

struct dir_account {
    uint64_t user_id;
    uint64_t created_ms;
    uint64_t updated_ms; /* profile, role, status or password; first created_ms */
    enum dir_role role;
    enum dir_status status;
    uint32_t ndevices; /* signed in; DIR_ACCOUNTS_LIST only */
    uint32_t hides;    /* enum dir_hides; 0 at first */
    char username[DIR_USERNAME_BYTES + 1];
    char display_name[DIR_DISPLAY_BYTES + 1];
    char about[DIR_ABOUT_BYTES + 1];
    char email[DIR_EMAIL_BYTES + 1];
    char password_hash[DIR_HASH_BYTES];
};
struct dir_name {
    uint64_t user_id;
    enum dir_status status;
    char username[DIR_USERNAME_BYTES + 1];
    char display_name[DIR_DISPLAY_BYTES + 1];
};
struct dir_device {
    uint64_t device_id;
    uint64_t user_id;
    uint64_t created_ms;
    uint64_t rotated_ms; /* 0: not yet */
    uint64_t last_used_ms;
    uint64_t revoked_ms; /* 0: not revoked */
    uint64_t generation; /* rotations */
    char name[DIR_DEVICE_NAME_BYTES + 1];
    char last_address[DIR_ADDRESS_BYTES + 1];
    uint8_t token_hash[DIR_TOKEN_HASH];    /* of the present token */
    uint8_t previous_hash[DIR_TOKEN_HASH]; /* of its predecessor; zero before the first rotation */
    uint8_t chain_hash[DIR_TOKEN_HASH];
    uint8_t salt[DIR_SALT_BYTES]; /* that made the present token out of its predecessor */
};
struct dir_invite {
    uint64_t invite_id;
    uint64_t created_by;
    uint64_t created_ms;
    uint64_t expires_ms; /* first moment at which it is no longer valid; 0: never */
    uint64_t revoked_ms; /* 0: not revoked */
    uint64_t ended_ms;   /* when it ends or ended: expiry, last use or revocation; 0: open */
    uint32_t uses_max;
    uint32_t uses;
    enum dir_invite_kind kind;
    uint8_t code_hash[DIR_TOKEN_HASH];
    char note[DIR_NOTE_BYTES + 1];
};
/* Never holds message text, tokens or passwords. */
struct dir_audit {
    uint64_t audit_id; /* the directory's, ascending */
    uint64_t at_ms;
    uint64_t actor;                    /* user; 0: the operator or the server itself */
    uint64_t target;                   /* user, device or invite, as the action says; 0: none */
    char action[DIR_ACTION_BYTES + 1]; /* not empty */
    char detail[DIR_DETAIL_BYTES + 1];
    char address[DIR_ADDRESS_BYTES + 1];
};
struct dir_conv_row {
    uint64_t user_id;
    struct conv_id conv;
    uint64_t lsn;
    uint64_t since_ms;
    uint8_t conv_kind;
    bool joined;
};

struct dir_hidden {
    uint64_t user_id;
    uint32_t hides; /* enum dir_hides */
};
struct dir_seen {
    uint64_t user_id;
    uint64_t last_seen_ms; /* 0: online */
};

struct dir_request {
    struct job job; /* the adapter's */
    void *adapter;  /* the adapter's */
    enum dir_op op;
    void (*done)(struct dir_request *req);
    void *arg; /* the caller's */

    const struct dir_audit *audit; /* the caller's, until `done`; NULL: none */
    uint64_t now_ms;
    uint64_t user_id;
    uint64_t device_id;
    char username_key[DIR_USERNAME_BYTES + 1];
    uint8_t token_hash[DIR_TOKEN_HASH];
    struct dir_account account;
    struct dir_device device;
    struct dir_invite invite;
    uint32_t mask; /* enum dir_account_field */
    uint32_t hides_mask;
    bool use_invite;
    bool revoke_devices;
    const char *verified_hash; /* zero terminated, stays until done; NULL: any */
    const uint64_t *ids;       /* the caller's array */
    bool *exists;              /* the caller's array, filled */
    bool *deleted;             /* the same */
    uint32_t nids;
    uint16_t partition;
    uint64_t lsn;
    uint32_t limit;
    uint32_t devices_max;
    uint32_t invites_max;
    struct conv_id after;

    /* DIR_ACCOUNTS_LIST and the other lists' place */
    char query[DIR_QUERY_BYTES + 1];
    enum dir_status status;
    char after_key[DIR_USERNAME_BYTES + 1];
    uint64_t after_id;

    /* DIR_DEVICE_ROTATE and the purges */
    uint8_t chain_hash[DIR_TOKEN_HASH];
    uint8_t next_hash[DIR_TOKEN_HASH];
    uint8_t next_salt[DIR_SALT_BYTES];
    char address[DIR_ADDRESS_BYTES + 1];
    uint64_t grace_ms;
    uint64_t since_ms;
    uint64_t before_ms;
    uint64_t idle_before_ms;
    uint64_t revoked_before_ms;

    /* settings and repeated requests */
    char setting_key[DIR_SETTING_KEY_BYTES + 1];
    char idem_key[DIR_IDEM_KEY_BYTES + 1];
    uint8_t request_hash[DIR_TOKEN_HASH];
    uint64_t pending_ms;
    uint32_t keys_max;
    uint32_t idem_status;
    const char *text; /* the caller's, until `done` */
    uint32_t text_len;

    /* presence */
    uint64_t run;
    const struct dir_seen *seen; /* the caller's array */
    uint32_t nseen;
    uint64_t *seen_ms; /* the caller's array, filled */

    /* In for PROJECT (the caller's array), out for LIST (the request's, see deinit). */
    struct dir_conv_row *conv_rows;
    uint32_t nconv_rows;

    enum confab_err ret_err;
    enum dir_rotated ret_rotated;
    enum dir_claim ret_claim;
    bool ret_more;
    uint64_t ret_count;
    char ret_after_key[DIR_USERNAME_BYTES + 1];
    uint64_t ret_after_id;
    /* The request's, see deinit: */
    struct dir_device *ret_devices;
    struct dir_account *ret_accounts;
    struct dir_name *ret_names;
    struct dir_invite *ret_invites;
    struct dir_audit *ret_audits;
    struct dir_hidden *ret_hidden;
    uint64_t *ret_ids;
    char *ret_text; /* ret_text_len bytes and a terminating zero */
    uint32_t ret_ndevices;
    uint32_t ret_naccounts;
    uint32_t ret_nnames;
    uint32_t ret_ninvites;
    uint32_t ret_naudits;
    uint32_t ret_nhidden;
    uint32_t ret_nids;
    uint32_t ret_text_len;
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
