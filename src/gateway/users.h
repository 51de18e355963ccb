/*
 * Accounts as a shard knows them: which user a name means, and that an id exists. A bounded cache
 * (least recently used goes first) in front of the directory. Accounts do not change their name and
 * do not vanish, so an entry never goes stale; what is absent is not remembered.
 */
#ifndef CONFAB_GATEWAY_USERS_H
#define CONFAB_GATEWAY_USERS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/hash.h"
#include "base/list.h"

struct shard;
struct dir_account;

#define USERNAME_MAX 50U

struct users {
    struct u64map by_id;   /* struct user_entry * */
    struct u64map by_name; /* hash of the key → struct user_entry * */
    struct list lru;       /* least recent first */
    uint64_t name_seed;
};

/* Is it a username? ret_key gets its canonical form, zero terminated. */
bool username_canonical(struct span name, char ret_key[USERNAME_MAX + 1]);
/*
 * May a new account have it? Not what looks like the id of a conversation: where either may stand
 * (GET /messages/{…}) the name could not be used. Canonical form.
 */
bool username_is_free_to_take(const char *key);

void users_init(struct shard *s);
void users_deinit(struct shard *s);
void users_remember(struct shard *s, uint64_t user, const char *key);
/* The account was perhaps deleted: it is looked up again. */
void users_drop(struct shard *s, uint64_t user);

enum user_found { USER_HERE = 0, USER_ABSENT, USER_ASK };
/*
 * Resolves an id in decimal, or a name. USER_HERE: *ret_user. USER_ABSENT: it cannot exist.
 * USER_ASK: the directory has to be asked, see user_lookup.
 */
enum user_found users_find(struct shard *s, struct span text, uint64_t *ret_user);

/* Several at once, through the directory where needed. */
struct user_lookup;
typedef void (*user_lookup_done)(struct shard *s, struct user_lookup *l);
struct user_lookup {
    struct buf names; /* of those not known yet: blobs, in the order of `ids` */
    uint64_t *ids;    /* 0: not known yet */
    bool *exists;     /* for the directory's answer */
    bool *deleted;    /* the account is */
    uint32_t n;
    uint32_t next; /* where it is: in ids, in names */
    size_t names_at;
    enum confab_err err; /* CONFAB_OK, CONFAB_NOT_FOUND, or why the directory did not answer */
    user_lookup_done done;
    uint64_t conn;                                        /* the caller's */
    void *arg;                                            /* the caller's */
    void (*drop)(struct shard *s, struct user_lookup *l); /* in place of done; may be NULL */
};
/* NULL when out of memory. */
struct user_lookup *user_lookup_new(uint32_t max);
void user_lookup_free(struct user_lookup *l);
/* One more (id in decimal, or name). CONFAB_NOT_FOUND: cannot exist. CONFAB_NOMEM. */
CONFAB_NODISCARD enum confab_err user_lookup_add(struct user_lookup *l, struct span text);
/* Starts; `done` follows, perhaps before this returns; the lookup is freed after it. */
void user_lookup_run(struct shard *s, struct user_lookup *l);

#endif
