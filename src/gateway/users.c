/*
 * Names and ids of accounts. The map by name holds a hash of the canonical name; the name itself is
 * compared, so a collision only costs a look-up.
 */
#include "gateway/users.h"

#include <stdlib.h>

#include "base/hash64.h"
#include "gateway/internal.h"

struct user_entry {
    struct list lru;
    uint64_t user;
    char key[];
};

static bool username_char(uint8_t ch)
{
    return (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9') ||
           (ch != 0 && strchr("_-.[]\\^{|}`", ch) != NULL);
}

bool username_canonical(struct span name, char ret_key[USERNAME_MAX + 1])
{
    char key[USERNAME_MAX + 1];
    bool digits = true;
    if (name.n == 0 || name.n > USERNAME_MAX) {
        return false;
    }
    for (size_t i = 0; i < name.n; i++) {
        uint8_t ch = name.p[i];
        if (!username_char(ch)) {
            return false;
        }
        digits = digits && ch >= '0' && ch <= '9';
        key[i] = (char)(ch >= 'A' && ch <= 'Z' ? ch - 'A' + 'a' : ch);
    }
    if (digits) {
        return false; /* it would be read as an id */
    }
    key[name.n] = 0;
    memcpy(ret_key, key, name.n + 1);
    return true;
}

bool username_is_free_to_take(const char *key)
{
    return strlen(key) != ID_CONV_TEXT || strspn(key, "0123456789abcdef") != ID_CONV_TEXT;
}

void users_init(struct shard *s)
{
    struct users *u = &s->users;
    u64map_init(&u->by_id, random_u64(s->deps.random));
    u64map_init(&u->by_name, random_u64(s->deps.random));
    u->name_seed = random_u64(s->deps.random);
    list_init(&u->lru);
}

void users_deinit(struct shard *s)
{
    struct users *u = &s->users;
    struct list *n;
    while ((n = list_pop_front(&u->lru)) != NULL) {
        free(LIST_ENTRY(n, struct user_entry, lru));
    }
    u64map_deinit(&u->by_id);
    u64map_deinit(&u->by_name);
}

static uint64_t name_hash(const struct users *u, const char *key)
{
    return hash64(key, strlen(key), u->name_seed);
}

static struct user_entry *entry_of(uint64_t value)
{
    return (struct user_entry *)(uintptr_t)value;
}

static void users_forget(struct users *u, struct user_entry *e)
{
    uint64_t h = name_hash(u, e->key);
    uint64_t v;
    if (u64map_get(&u->by_name, h, &v) && entry_of(v) == e) {
        u64map_del(&u->by_name, h, NULL);
    }
    u64map_del(&u->by_id, e->user, NULL);
    list_remove(&e->lru);
    free(e);
}

void users_remember(struct shard *s, uint64_t user, const char *key)
{
    struct users *u = &s->users;
    uint64_t v;
    if (u64map_get(&u->by_id, user, &v)) {
        struct user_entry *e = entry_of(v);
        if (e->key[0] != 0 || key[0] == 0) {
            list_remove(&e->lru);
            list_push_back(&u->lru, &e->lru);
            return;
        }
        users_forget(u, e); /* known by id only until now */
    }
    while (u64map_len(&u->by_id) >= MAX(s->cfg.users_cache, 1U)) {
        users_forget(u, LIST_ENTRY(u->lru.next, struct user_entry, lru));
    }
    size_t n = strlen(key);
    struct user_entry *e = malloc(sizeof(*e) + n + 1);
    if (!e) {
        return;
    }
    e->user = user;
    memcpy(e->key, key, n + 1);
    list_init(&e->lru);
    if (u64map_put(&u->by_id, user, (uint64_t)(uintptr_t)e)) {
        free(e);
        return;
    }
    list_push_back(&u->lru, &e->lru);
    if (n > 0 && u64map_put(&u->by_name, name_hash(u, key), (uint64_t)(uintptr_t)e)) {
        users_forget(u, e);
    }
}

static bool users_has(struct shard *s, uint64_t user)
{
    uint64_t v;
    if (!u64map_get(&s->users.by_id, user, &v)) {
        return false;
    }
    list_remove(&entry_of(v)->lru);
    list_push_back(&s->users.lru, &entry_of(v)->lru);
    return true;
}

static uint64_t users_by_key(struct shard *s, const char *key)
{
    uint64_t v;
    if (!u64map_get(&s->users.by_name, name_hash(&s->users, key), &v) ||
        strcmp(entry_of(v)->key, key) != 0) {
        return 0;
    }
    users_has(s, entry_of(v)->user);
    return entry_of(v)->user;
}

enum user_found users_find(struct shard *s, struct span text, uint64_t *ret_user)
{
    uint64_t user;
    char key[USERNAME_MAX + 1];
    if (id_parse(text, &user)) {
        if (users_has(s, user)) {
            *ret_user = user;
            return USER_HERE;
        }
        return USER_ASK;
    }
    if (!username_canonical(text, key)) {
        return USER_ABSENT;
    }
    user = users_by_key(s, key);
    if (user == 0) {
        return USER_ASK;
    }
    *ret_user = user;
    return USER_HERE;
}

/* ---- Several at once ---- */

struct lookup_call {
    struct dir_call dir;
    struct user_lookup *lookup;
};

struct user_lookup *user_lookup_new(uint32_t max)
{
    struct user_lookup *l = calloc(1, sizeof(*l));
    if (!l) {
        return NULL;
    }
    l->ids = calloc(MAX(max, 1U), sizeof(*l->ids));
    l->exists = calloc(MAX(max, 1U), sizeof(*l->exists));
    l->deleted = calloc(MAX(max, 1U), sizeof(*l->deleted));
    if (!l->ids || !l->exists || !l->deleted) {
        user_lookup_free(l);
        return NULL;
    }
    return l;
}

void user_lookup_free(struct user_lookup *l)
{
    if (l) {
        buf_deinit(&l->names);
        free(l->ids);
        free(l->exists);
        free(l->deleted);
        free(l);
    }
}

enum confab_err user_lookup_add(struct user_lookup *l, struct span text)
{
    uint64_t user;
    char key[USERNAME_MAX + 1];
    if (id_parse(text, &user)) {
        l->ids[l->n++] = user;
        return CONFAB_OK;
    }
    if (!username_canonical(text, key)) {
        return CONFAB_NOT_FOUND;
    }
    buf_put_blob(&l->names, key, strlen(key));
    if (!buf_ok(&l->names)) {
        return CONFAB_NOMEM;
    }
    l->ids[l->n++] = 0;
    return CONFAB_OK;
}

static void lookup_finish(struct shard *s, struct user_lookup *l, enum confab_err err)
{
    l->err = err;
    l->done(s, l);
    user_lookup_free(l);
}

static void lookup_dropped(struct shard *s, struct dir_call *dir)
{
    struct user_lookup *l = CONTAINER_OF(dir, struct lookup_call, dir)->lookup;
    if (l->drop) {
        l->drop(s, l);
    }
    user_lookup_free(l);
}

static void lookup_step(struct shard *s, struct user_lookup *l);

static void lookup_on_name(struct shard *s, struct dir_call *dir)
{
    struct user_lookup *l = CONTAINER_OF(dir, struct lookup_call, dir)->lookup;
    if (dir->req.ret_err) {
        lookup_finish(s, l, dir->req.ret_err);
        return;
    }
    /* A deleted one is asked for each time: what is remembered can be reached. */
    l->deleted[l->next] = dir->req.account.status == DIR_STATUS_DELETED;
    if (!l->deleted[l->next]) {
        users_remember(s, dir->req.account.user_id, dir->req.username_key);
    }
    l->ids[l->next++] = dir->req.account.user_id;
    lookup_step(s, l);
}

static void lookup_on_ids(struct shard *s, struct dir_call *dir)
{
    struct user_lookup *l = CONTAINER_OF(dir, struct lookup_call, dir)->lookup;
    enum confab_err err = dir->req.ret_err;
    for (uint32_t i = 0; i < l->n && !err; i++) {
        if (!l->exists[i]) {
            err = CONFAB_NOT_FOUND;
        } else if (!l->deleted[i]) {
            users_remember(s, l->ids[i], "");
        }
    }
    lookup_finish(s, l, err);
}

static struct dir_call *lookup_call_new(struct user_lookup *l, enum dir_op op)
{
    struct dir_call *dir = dir_call_new(sizeof(struct lookup_call), op);
    if (dir) {
        CONTAINER_OF(dir, struct lookup_call, dir)->lookup = l;
        dir->on_drop = lookup_dropped;
    }
    return dir;
}

static void lookup_submit(struct shard *s, struct user_lookup *l, struct dir_call *dir)
{
    enum confab_err err = dir ? dir_call_submit(s, dir) : CONFAB_NOMEM;
    if (err) {
        lookup_finish(s, l, err);
    }
}

/* All names are known: do the ids exist? */
static void lookup_check_ids(struct shard *s, struct user_lookup *l)
{
    bool known = true;
    for (uint32_t i = 0; i < l->n && known; i++) {
        known = users_has(s, l->ids[i]);
    }
    if (known) {
        lookup_finish(s, l, CONFAB_OK);
        return;
    }
    struct dir_call *dir = lookup_call_new(l, DIR_ACCOUNTS_EXIST);
    if (dir) {
        dir->on_done = lookup_on_ids;
        dir->req.ids = l->ids;
        dir->req.exists = l->exists;
        dir->req.deleted = l->deleted;
        dir->req.nids = l->n;
    }
    lookup_submit(s, l, dir);
}

/* Names one after the other, those in the cache at once; then the ids together. */
static void lookup_step(struct shard *s, struct user_lookup *l)
{
    for (; l->next < l->n; l->next++) {
        if (l->ids[l->next] != 0) {
            continue;
        }
        struct reader r = reader_of(l->names.data + l->names_at, l->names.len - l->names_at);
        struct span name = reader_blob(&r);
        char key[USERNAME_MAX + 1];
        CHECK(!r.bad && name.n <= USERNAME_MAX);
        memcpy(key, name.p, name.n);
        key[name.n] = 0;
        l->names_at = (size_t)(r.p - l->names.data);
        l->ids[l->next] = users_by_key(s, key);
        if (l->ids[l->next] != 0) {
            continue;
        }
        struct dir_call *dir = lookup_call_new(l, DIR_ACCOUNT_BY_NAME);
        if (dir) {
            dir->on_done = lookup_on_name;
            memcpy(dir->req.username_key, key, name.n + 1);
        }
        lookup_submit(s, l, dir);
        return;
    }
    lookup_check_ids(s, l);
}

void user_lookup_run(struct shard *s, struct user_lookup *l)
{
    l->next = 0;
    l->names_at = 0;
    lookup_step(s, l);
}

void users_drop(struct shard *s, uint64_t user)
{
    uint64_t v;
    if (u64map_get(&s->users.by_id, user, &v)) {
        users_forget(&s->users, entry_of(v));
    }
}
