/*
 * Calls for administrators, and for whoever has the operator's key of a server (the file
 * operator.key in its data directory; as the token, from the same machine). All need one of the
 * two: CONFAB_E_FORBIDDEN otherwise. Every change leaves an audit record.
 */
#ifndef CONFAB_ADMIN_H
#define CONFAB_ADMIN_H

#include <confab/rest.h>

#ifdef __cplusplus
extern "C" {
#endif

/* status NULL: all; else "active", "suspended" or "deleted". */
enum confab_error confab_admin_people(struct confab_client *c, const char *query,
                                      const char *status, uint64_t max,
                                      void (*on_user)(void *arg, const struct confab_user *user),
                                      void *arg);
/* NULL leaves as it is. status: "active", "suspended"; role: "admin", "member". CONFAB_E_CONFLICT:
 * it is the last administrator. */
enum confab_error confab_admin_user_set(struct confab_client *c, uint64_t user_id,
                                        const char *status, const char *role);
/* password NULL: one is made. Signs the person out everywhere. */
enum confab_error confab_admin_password(struct confab_client *c, uint64_t user_id,
                                        const char *password, char ret[CONFAB_NAME_SIZE]);
enum confab_error confab_admin_user_delete(struct confab_client *c, uint64_t user_id);

/* An account to be made. Either password or an argon2id hash in its usual text form. */
struct confab_new_user {
    const char *username;
    const char *password;
    const char *password_hash;
    const char *display_name; /* may be NULL */
    const char *role;         /* may be NULL */
};
/*
 * Up to 1,000 at once; on_result for each, in order: user_id, or 0 and the server's code and words.
 */
enum confab_error
confab_admin_provision(struct confab_client *c, const struct confab_new_user *users, size_t n,
                       void (*on_result)(void *arg, size_t i, uint64_t user_id, const char *error),
                       void *arg);

struct confab_server_settings {
    char registration[16]; /* "open", "invite", "closed" */
    char server_name[CONFAB_NAME_SIZE];
};
enum confab_error confab_admin_settings(struct confab_client *c,
                                        struct confab_server_settings *ret);
/* NULL leaves as it is. */
enum confab_error confab_admin_settings_set(struct confab_client *c, const char *registration,
                                            const char *server_name);
/* The one-time link that makes its account administrator; the earlier one ends. */
enum confab_error confab_admin_link(struct confab_client *c, char ret[CONFAB_TOKEN_SIZE],
                                    uint64_t *ret_expires_at_ms);

struct confab_audit {
    uint64_t audit_id;
    uint64_t at_ms;
    char actor[64]; /* user id, or "operator" */
    char action[64];
    char target[CONFAB_NAME_SIZE];
    char detail[CONFAB_NAME_SIZE];
    char address[64];
};
/* Newest first. */
enum confab_error
confab_admin_audit(struct confab_client *c, uint64_t max,
                   void (*on_record)(void *arg, const struct confab_audit *record), void *arg);

#ifdef __cplusplus
}
#endif

#endif
