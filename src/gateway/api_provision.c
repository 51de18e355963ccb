/*
 * POST /admin/users: up to 1,000 accounts in one request, each with a password or an encoded hash
 * of one. Some are under way at a time: enough for the directory to put them into common
 * transactions, few enough for the shard's bounds and for people who sign in meanwhile. Each has a
 * result of its own, in the order of the request; what failed may be sent again.
 */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "gateway/api_admin_users.h"
#include "gateway/credentials.h"
#include "gateway/internal.h"

#define USERS_MAX    1000U
#define CREATING_MAX 64U
#define HASHING_MAX  8U
#define HASH_PREFIX  "$argon2id$"
/* What a sign-in may cost with a hash that was made elsewhere: one that takes 64 GiB ends us. */
#define HASH_MEMORY_MAX (256ULL << 20)
#define HASH_WORK_MAX   (1ULL << 30) /* memory times passes */

struct person {
    struct credentials cr;
    char hash[DIR_HASH_BYTES]; /* given, or made */
    enum dir_role role;
    const char *bad; /* the field */
    uint64_t user;
    enum confab_err err;
};

struct provision {
    struct api_call *call;
    uint32_t n;
    uint32_t next;
    uint32_t creating;
    uint32_t hashing;
    uint32_t done;
    struct person people[USERS_MAX]; /* in the call's one allocation, freed with it */
};

/* What is under way for one of them. */
struct person_call {
    struct dir_call dir;
    struct provision *all;
    struct person *person;
    struct dir_audit audit;
};
struct person_job {
    struct provision *all;
    struct person *person;
};

static void go_on(struct shard *s, struct provision *all);

/* ---- Answer ---- */

static void answer(struct shard *s, struct provision *all)
{
    struct buf body = {0};
    struct json_writer w;
    struct api_call *call = all->call;
    json_w_init(&w, &body);
    json_w_object(&w);
    json_w_key(&w, "results");
    json_w_array(&w);
    for (uint32_t i = 0; i < all->n; i++) {
        const struct person *p = &all->people[i];
        json_w_object(&w);
        json_w_kcstr(&w, "username", p->cr.username);
        if (p->err) {
            json_w_key(&w, "error");
            json_w_object(&w);
            json_w_kcstr(&w, "code", err_wire(p->err));
            json_w_kcstr(&w, "message", err_text(p->err));
            if (p->bad) {
                json_w_kcstr(&w, "field", p->bad);
            }
            json_w_object_end(&w);
        } else {
            json_w_kid(&w, "user_id", p->user);
        }
        json_w_object_end(&w);
    }
    json_w_array_end(&w);
    json_w_object_end(&w);
    api_call_answer(s, call, 200, &body);
}

static void finished(struct provision *all, struct person *p, enum confab_err err)
{
    sodium_memzero(&p->cr, CREDENTIALS_SECRET);
    p->err = err;
    all->done++;
}

/* ---- One of them ---- */

static void on_created(struct shard *s, struct dir_call *dir)
{
    struct person_call *pc = CONTAINER_OF(dir, struct person_call, dir);
    struct provision *all = pc->all;
    enum confab_err err = dir->req.ret_err;
    all->creating--;
    if (!err) {
        metrics_inc(s->metrics, METRIC_ACCOUNTS_CREATED);
        pc->person->user = dir->req.account.user_id;
    } else if (err == CONFAB_EXISTS) {
        pc->person->bad = "username";
    }
    finished(all, pc->person, err);
    go_on(s, all);
}

static void create(struct shard *s, struct provision *all, struct person *p)
{
    struct dir_call *dir = dir_call_new(sizeof(struct person_call), DIR_ACCOUNT_CREATE);
    if (!dir) {
        finished(all, p, CONFAB_NOMEM);
        return;
    }
    struct person_call *pc = CONTAINER_OF(dir, struct person_call, dir);
    struct dir_account *acc = &dir->req.account;
    pc->all = all;
    pc->person = p;
    dir->on_done = on_created;
    acc->user_id = api_new_id(s);
    acc->created_ms = s->wall_ms;
    acc->role = p->role;
    (void)snprintf(acc->username, sizeof(acc->username), "%s", p->cr.username);
    (void)snprintf(acc->display_name, sizeof(acc->display_name), "%s",
                   p->cr.display_name[0] ? p->cr.display_name : p->cr.username);
    memcpy(acc->email, p->cr.email, sizeof(acc->email));
    memcpy(acc->password_hash, p->hash, sizeof(acc->password_hash));
    memcpy(dir->req.username_key, p->cr.key, sizeof(p->cr.key));
    pc->audit = (struct dir_audit){
        .at_ms = s->wall_ms,
        .actor = all->call->user,
        .target = acc->user_id,
        .action = "account.create",
    };
    (void)snprintf(pc->audit.detail, sizeof(pc->audit.detail), "%s",
                   p->role == DIR_ROLE_ADMIN ? "role=admin" : "role=member");
    (void)snprintf(pc->audit.address, sizeof(pc->audit.address), "%s", all->call->address);
    dir->req.audit = &pc->audit;
    all->creating++;
    enum confab_err err = dir_call_submit(s, dir);
    if (err) {
        all->creating--;
        finished(all, p, err);
    }
}

static void on_hashed(struct shard *s, void *arg, const struct password_result *result)
{
    struct person_job *job = arg;
    struct provision *all = job->all;
    struct person *p = job->person;
    free(job);
    all->hashing--;
    if (result->err) {
        p->bad = result->err == CONFAB_WEAK_PASSWORD ? "password" : NULL;
        finished(all, p, result->err);
    } else {
        memcpy(p->hash, result->hash, sizeof(p->hash));
        create(s, all, p);
    }
    go_on(s, all);
}

static void on_hash_dropped(struct shard *s, void *arg)
{
    (void)s;
    free(arg);
}

static void hash(struct shard *s, struct provision *all, struct person *p)
{
    struct person_job *job = malloc(sizeof(*job));
    if (!job) {
        finished(all, p, CONFAB_NOMEM);
        return;
    }
    *job = (struct person_job){all, p};
    const struct password_request req = {
        .password = span_of(p->cr.password, p->cr.password_len),
        .names = {span_str(p->cr.username), span_str(p->cr.display_name), span_str(p->cr.email)},
        .arg = job,
        .done = on_hashed,
        .drop = on_hash_dropped,
    };
    all->hashing++;
    enum confab_err err = password_submit(s, &req);
    if (err) {
        all->hashing--;
        free(job);
        finished(all, p, err);
    }
}

static void go_on(struct shard *s, struct provision *all)
{
    while (all->next < all->n && all->creating + all->hashing < CREATING_MAX) {
        struct person *p = &all->people[all->next];
        if (!p->err && !p->hash[0] && all->hashing >= HASHING_MAX) {
            break;
        }
        all->next++;
        if (p->err) {
            finished(all, p, p->err);
        } else if (p->hash[0]) {
            create(s, all, p);
        } else {
            hash(s, all, p);
        }
    }
    if (all->done == all->n) {
        answer(s, all);
    }
}

/* ---- Reading ---- */

/* Of a hash that is well formed: "$argon2id$v=19$m=KIB,t=PASSES,p=LANES$…". */
static bool hash_affordable(const char *hash)
{
    const char *at = strstr(hash, "$m=");
    char *end = NULL;
    uint64_t memory = at ? strtoull(at + 3, &end, 10) * 1024 : 0;
    if (!end || strncmp(end, ",t=", 3) != 0) {
        return false;
    }
    uint64_t passes = strtoull(end + 3, NULL, 10);
    return memory > 0 && memory <= HASH_MEMORY_MAX && passes <= HASH_WORK_MAX / memory;
}

static bool hash_value(struct json *j, char out[DIR_HASH_BYTES])
{
    struct span v = {0};
    if (!json_string(j, &v)) {
        return true; /* the reader has the error */
    }
    if (v.n >= DIR_HASH_BYTES || memchr(v.p, 0, v.n)) {
        return false;
    }
    memcpy(out, v.p, v.n);
    out[v.n] = 0;
    return strncmp(out, HASH_PREFIX, sizeof(HASH_PREFIX) - 1) == 0 &&
           crypto_pwhash_str_needs_rehash(out, crypto_pwhash_OPSLIMIT_INTERACTIVE,
                                          crypto_pwhash_MEMLIMIT_INTERACTIVE) >= 0 &&
           hash_affordable(out);
}

static void person_read(struct json *j, struct person *p)
{
    struct span key;
    struct span v;
    json_object_begin(j);
    while (json_object_next(j, &key)) {
        const char *bad = NULL;
        if (span_is(key, "password_hash")) {
            bad = hash_value(j, p->hash) ? NULL : "password_hash";
        } else if (!span_is(key, "role")) {
            bad = credentials_member(j, key, &p->cr);
        } else if (json_string(j, &v)) {
            bad = span_is(v, "admin") || span_is(v, "member") ? NULL : "role";
            p->role = span_is(v, "admin") ? DIR_ROLE_ADMIN : DIR_ROLE_MEMBER;
        }
        p->bad = p->bad ? p->bad : bad;
    }
    if (!p->bad && (p->cr.key[0] == 0 || !username_is_free_to_take(p->cr.key))) {
        p->bad = "username";
    } else if (!p->bad && (p->cr.password_len == 0) == (p->hash[0] == 0)) {
        p->bad = "password"; /* one of the two */
    }
    p->err = p->bad ? CONFAB_INVALID : CONFAB_OK;
}

/* False: answered. */
static bool people_read(struct api_request *r, struct provision *all)
{
    struct json j;
    struct span key;
    bool given = false;
    bool many = false;
    if (!api_body_begin(r, &j)) {
        return false;
    }
    while (json_object_next(&j, &key)) {
        if (!span_is(key, "users")) {
            json_skip(&j);
            continue;
        }
        given = json_array_begin(&j);
        while (given && json_array_next(&j)) {
            many = many || all->n == USERS_MAX;
            if (many) {
                json_skip(&j);
            } else {
                person_read(&j, &all->people[all->n++]);
            }
        }
    }
    if (!api_body_end(r, &j)) {
        return false;
    }
    if (!given || many || all->n == 0) {
        api_fail(r, CONFAB_INVALID, "1 to 1000 users are expected", "users");
        return false;
    }
    return true;
}

void api_provision(struct api_request *r)
{
    struct provision *all = calloc(1, sizeof(*all));
    if (!all) {
        api_fail(r, CONFAB_NOMEM, NULL, NULL);
        return;
    }
    struct api_call *call = people_read(r, all) ? api_call_new(r) : NULL;
    if (!call) {
        sodium_memzero(all, sizeof(*all));
        free(all);
        return;
    }
    all->call = call;
    call->data = all;
    call->wipe = sizeof(*all);
    api_call_address(r, call);
    go_on(r->s, all);
}
