/* Inside of directory_mem; for its files only. */
#ifndef CONFAB_ADAPTERS_MEM_DIRECTORY_MEM_INTERNAL_H
#define CONFAB_ADAPTERS_MEM_DIRECTORY_MEM_INTERNAL_H

#include <pthread.h>
#include <string.h>

#include "adapters/mem/directory_mem.h"
#include "adapters/mem/ordmap.h"
#include "base/check.h"

/*
 * Keys are big endian:
 *
 *     accounts       user                     struct account_row
 *     names          username key             user
 *     devices        device                   struct dir_device, revoked ones too
 *     user_devices   user, device             device, without the revoked ones
 *     tokens         token hash               device
 *     chains         chain hash               device
 *     conversations  user, conversation       struct dir_conv_row
 *     audits         audit id                 struct dir_audit
 *     invites        invite                   struct dir_invite
 *     codes          code hash                invite
 *     settings       key                      text
 *     idem           user, key                struct idem_row (directory_mem_keys.c)
 *     idem_bodies    user, key                body, of the finished ones
 *     seen           user                     struct seen_row (directory_mem_seen.c)
 *     runs           run                      when it was last alive
 */
struct directory_mem {
    struct directory base;
    struct executor *ex;
    pthread_mutex_t lock;
    struct ordmap accounts;
    struct ordmap names;
    struct ordmap devices;
    struct ordmap user_devices;
    struct ordmap tokens;
    struct ordmap chains;
    struct ordmap conversations;
    struct ordmap audits;
    struct ordmap invites;
    struct ordmap codes;
    struct ordmap settings;
    struct ordmap idem;
    struct ordmap idem_bodies;
    struct ordmap seen;
    struct ordmap runs;
    uint64_t audit_id; /* of the last record */
    uint64_t projected[ID_PARTITIONS];
};

struct account_row {
    struct dir_account account;
    char key[DIR_USERNAME_BYTES + 1];
    bool leaving;
};

struct key {
    uint8_t bytes[24];
    size_t n;
};

static inline void key_put_u64(struct key *k, uint64_t v)
{
    for (int i = 7; i >= 0; i--) {
        k->bytes[k->n++] = (uint8_t)(v >> (8 * i));
    }
}

static inline struct key key_of(uint64_t v)
{
    struct key k = {.n = 0};
    key_put_u64(&k, v);
    return k;
}

static inline struct key key_of_two(uint64_t a, uint64_t b)
{
    struct key k = key_of(a);
    key_put_u64(&k, b);
    return k;
}

static inline struct span key_span(const struct key *k)
{
    return span_of(k->bytes, k->n);
}

static inline struct ordmap_node *find(const struct ordmap *m, struct key k)
{
    return ordmap_get(m, key_span(&k));
}

static inline struct ordmap_node *new_node(struct ordmap *m, struct key k, struct span value)
{
    return ordmap_node_new(m, key_span(&k), value);
}

static inline void drop(struct ordmap *m, struct key k)
{
    ordmap_node_free(ordmap_unlink(m, key_span(&k)));
}

static inline void link_new(struct ordmap *m, struct ordmap_node *node)
{
    struct ordmap_node *old = ordmap_link(m, node);
    CHECK(!old);
}

/* The value was stored as the bytes of this type; the copy aligns it. */
#define VALUE_COPY(node, out)                                                                      \
    do {                                                                                           \
        struct span v_ = ordmap_value(node);                                                       \
        CHECK(v_.n == sizeof(*(out)));                                                             \
        memcpy(out, v_.p, sizeof(*(out)));                                                         \
    } while (0)

/* Writes another value of the same type over it, which cannot fail. */
#define VALUE_SET(node, in)                                                                        \
    do {                                                                                           \
        struct ordmap_node *n_ = (node);                                                           \
        CHECK(n_->value_len == sizeof(*(in)));                                                     \
        memcpy((uint8_t *)&n_->next[n_->height] + n_->key_len, in, sizeof(*(in)));                 \
    } while (0)

/* The first row of the user in a map whose keys begin with users, after `k`; NULL at the end. */
struct ordmap_node *dir_mem_user_row(const struct ordmap *m, const struct key *k, uint64_t user);
struct ordmap_node *dir_mem_user_row_next(const struct ordmap_node *node, uint64_t user);

/* Its row and a copy; NULL when there is none with this code_hash. */
struct ordmap_node *dir_mem_invite_by_code(const struct directory_mem *d,
                                           const struct dir_invite *wanted, struct dir_invite *ret);
uint32_t dir_mem_count_devices(const struct directory_mem *d, uint64_t user);
/* Revokes the devices of req->user_id but `spared`, at now_ms, into ret_ids. CONFAB_NOMEM: none. */
CONFAB_NODISCARD enum confab_err dir_mem_devices_end(struct directory_mem *d,
                                                     struct dir_request *req, uint64_t spared);

#define MEM_AREA(f)                                                                                \
    CONFAB_NODISCARD enum confab_err f(struct directory_mem *d, struct dir_request *req)
MEM_AREA(dir_mem_account_create);
MEM_AREA(dir_mem_account_by_name);
MEM_AREA(dir_mem_account_by_id); /* by req->user_id */
MEM_AREA(dir_mem_accounts_exist);
MEM_AREA(dir_mem_account_change); /* update and delete */
MEM_AREA(dir_mem_accounts_list);
MEM_AREA(dir_mem_admins_count);
MEM_AREA(dir_mem_accounts_leaving);
MEM_AREA(dir_mem_account_left);
MEM_AREA(dir_mem_names);
MEM_AREA(dir_mem_device_create);
MEM_AREA(dir_mem_device_by_token);
MEM_AREA(dir_mem_device_by_id);
MEM_AREA(dir_mem_device_list);
MEM_AREA(dir_mem_device_rename);
MEM_AREA(dir_mem_device_rotate);
MEM_AREA(dir_mem_device_revoke);
MEM_AREA(dir_mem_devices_revoke_all);
MEM_AREA(dir_mem_devices_revoked);
MEM_AREA(dir_mem_devices_purge);
MEM_AREA(dir_mem_conversations_project);
MEM_AREA(dir_mem_conversations_list);
MEM_AREA(dir_mem_projected_lsn);
MEM_AREA(dir_mem_audit_list);
MEM_AREA(dir_mem_audit_purge);
MEM_AREA(dir_mem_invite_create);
MEM_AREA(dir_mem_invite_find); /* by code */
MEM_AREA(dir_mem_invites_list);
MEM_AREA(dir_mem_invite_revoke);
MEM_AREA(dir_mem_invites_purge);
MEM_AREA(dir_mem_setting_get);
MEM_AREA(dir_mem_setting_set);
MEM_AREA(dir_mem_idem_claim);
MEM_AREA(dir_mem_idem_finish);
MEM_AREA(dir_mem_idem_release);
MEM_AREA(dir_mem_idem_purge);
MEM_AREA(dir_mem_hidden_list);
MEM_AREA(dir_mem_seen_write);
MEM_AREA(dir_mem_seen_read);
#undef MEM_AREA

#endif
