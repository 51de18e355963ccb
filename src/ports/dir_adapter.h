/* What the adapters of the directory port share. For adapters of directory only. */
#ifndef CONFAB_PORTS_DIR_ADAPTER_H
#define CONFAB_PORTS_DIR_ADAPTER_H

#include "ports/directory.h"

/* True for the operations that change something. */
bool dir_op_writes(enum dir_op op);
/*
 * CONFAB_INVALID: an unknown operation, an id or number outside 63 bits, text that is empty where
 * it must not be or not zero terminated in its array, a limit of zero, no such partition, an audit
 * record with an operation that changes nothing.
 */
CONFAB_NODISCARD enum confab_err dir_request_check(const struct dir_request *req);

/* Of a request that went well: is its audit record to be written? And the record. */
bool dir_audit_due(const struct dir_request *req);
struct dir_audit dir_audit_of(const struct dir_request *req);

/* Sets what an account begins with. */
void dir_account_begin(struct dir_account *a);
/* DIR_ACCOUNT_UPDATE and DIR_ACCOUNT_DELETE, whichever the request is, on what is stored. */
void dir_account_change(struct dir_account *a, const struct dir_request *req);
/* Is the password still the one that the request was allowed by? */
bool dir_account_is_as_verified(const struct dir_account *before, const struct dir_request *req);
/* CONFAB_NOT_FOUND when it was deleted, CONFAB_LAST_ADMIN; `admins` counts the active ones. */
enum confab_err dir_account_may_become(const struct dir_account *before,
                                       const struct dir_account *after, uint64_t admins);
/* Are its devices to be revoked, and but for which one (0: none)? */
bool dir_account_ends_devices(const struct dir_request *req, const struct dir_account *after,
                              uint64_t *ret_spared);
static inline bool dir_account_is_admin(const struct dir_account *a)
{
    return a->role == DIR_ROLE_ADMIN && a->status == DIR_STATUS_ACTIVE;
}

/* DIR_DEVICE_CREATE: may the account sign in, with this verified hash unless it is empty? */
enum confab_err dir_account_signs_in(const struct dir_account *a, const char *verified_hash);
/* Sets what a device begins with. */
void dir_device_begin(struct dir_device *d);
/* DIR_DEVICE_ROTATE: what the presented token is to this device; and the rotation itself. */
enum dir_rotated dir_device_present(const struct dir_device *d, const struct dir_request *req);
void dir_device_rotate(struct dir_device *d, const struct dir_request *req);

/* Sets what an invite begins with; may it be used? and what its use and its end leave. */
void dir_invite_begin(struct dir_invite *i);
bool dir_invite_is_open(const struct dir_invite *i, uint64_t now_ms);
void dir_invite_use(struct dir_invite *i, uint64_t now_ms);
void dir_invite_revoke(struct dir_invite *i, uint64_t now_ms);

/* Of a stored claim of the request's key; `status` is 0 while it is pending. */
enum dir_claim dir_idem_claim_of(const struct dir_request *req, const uint8_t *stored_hash,
                                 uint64_t claimed_ms, uint32_t status);

/* Drops earlier results, so that a request can be run again. */
void dir_results_clear(struct dir_request *req);
/* Append to the results, growing them. CONFAB_NOMEM. */
CONFAB_NODISCARD enum confab_err dir_results_add_device(struct dir_request *req,
                                                        const struct dir_device *device);
CONFAB_NODISCARD enum confab_err dir_results_add_account(struct dir_request *req,
                                                         const struct dir_account *account);
/* Its names; a zeroed account where there is none. */
CONFAB_NODISCARD enum confab_err dir_results_add_name(struct dir_request *req,
                                                      const struct dir_account *account);
CONFAB_NODISCARD enum confab_err dir_results_add_invite(struct dir_request *req,
                                                        const struct dir_invite *invite);
CONFAB_NODISCARD enum confab_err dir_results_set_text(struct dir_request *req, const void *text,
                                                      size_t n);
CONFAB_NODISCARD enum confab_err dir_results_add_audit(struct dir_request *req,
                                                       const struct dir_audit *audit);
CONFAB_NODISCARD enum confab_err dir_results_add_hidden(struct dir_request *req,
                                                        const struct dir_hidden *hidden);
CONFAB_NODISCARD enum confab_err dir_results_add_id(struct dir_request *req, uint64_t id);
CONFAB_NODISCARD enum confab_err dir_results_add_row(struct dir_request *req,
                                                     const struct dir_conv_row *row);

#endif
