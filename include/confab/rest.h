/*
 * Calls that wait for the server's answer, each up to options.timeout_ms. They use a connection of
 * their own and need no confab_client_start; they may be called from handlers. After an error
 * confab_last_failure tells more.
 *
 * `user` is a user id or a username, `conv` a conversation id; a group's id is that of its
 * conversation.
 */
#ifndef CONFAB_REST_H
#define CONFAB_REST_H

#include <confab/client.h>

#ifdef __cplusplus
extern "C" {
#endif

struct confab_failure {
    enum confab_error error;
    int http_status; /* 0: no answer */
    uint64_t retry_after_ms;
    char message[256]; /* of the server, UTF-8, or of this library; may be empty */
    char field[64];
};
/* About the last call of this header that failed. */
void confab_last_failure(const struct confab_client *c, struct confab_failure *ret);

struct confab_user {
    uint64_t user_id;
    uint64_t created_at_ms;
    char username[CONFAB_NAME_SIZE];
    char display_name[CONFAB_NAME_SIZE];
};
struct confab_device {
    uint64_t user_id;
    uint64_t device_id;
    struct confab_tokens tokens;
};

/* display_name may be NULL. CONFAB_E_EXISTS. */
enum confab_error confab_register(struct confab_client *c, const char *username,
                                  const char *password, const char *display_name,
                                  struct confab_user *ret);
/* Uses the token from now on (a running connection keeps the old one). device_name may be NULL. */
enum confab_error confab_login(struct confab_client *c, const char *username, const char *password,
                               const char *device_name, struct confab_device *ret);
/* "me" is oneself. */
enum confab_error confab_user_get(struct confab_client *c, const char *user,
                                  struct confab_user *ret);

/* `members`: n users besides oneself. */
enum confab_error confab_group_create(struct confab_client *c, const char *name,
                                      const char *const *members, size_t n,
                                      char ret_conv[CONFAB_CONV_SIZE]);
/* Up to 1,000 at once. */
enum confab_error confab_group_add(struct confab_client *c, const char *conv,
                                   const uint64_t *user_ids, size_t n);
/* Leaving is removing oneself. */
enum confab_error confab_group_remove(struct confab_client *c, const char *conv, const char *user);
enum confab_error confab_group_role(struct confab_client *c, const char *conv, const char *user,
                                    enum confab_role role);
enum confab_error confab_group_rename(struct confab_client *c, const char *conv, const char *name);
/* enum confab_settings, replaces all of them. */
enum confab_error confab_group_settings(struct confab_client *c, const char *conv,
                                        unsigned settings);
enum confab_error
confab_group_members(struct confab_client *c, const char *conv,
                     void (*on_member)(void *arg, const struct confab_member *member), void *arg);

struct confab_history_query {
    uint64_t before; /* seq; 0: not used. Only one of the three */
    uint64_t after;
    uint64_t around;
    bool from_start; /* the earliest messages */
    unsigned limit;  /* 0: the server's default of 50 */
};
struct confab_history_page {
    size_t messages;
    bool has_more;         /* in the direction asked for */
    uint64_t covered_from; /* nothing in this range is missing; 0: none */
    uint64_t covered_to;
    uint64_t first_seq; /* of the messages handed out, 0 without any */
    uint64_t last_seq;
};
/* Hands out messages oldest first, with source CONFAB_PAGE. ret may be NULL. */
enum confab_error
confab_history(struct confab_client *c, const char *conv, const struct confab_history_query *query,
               void (*on_message)(void *arg, const struct confab_message *message), void *arg,
               struct confab_history_page *ret);
/* The id of the direct conversation with a user, whether or not there is one yet. */
enum confab_error confab_direct_id(struct confab_client *c, const char *user,
                                   char ret_conv[CONFAB_CONV_SIZE]);

enum confab_error confab_edit(struct confab_client *c, uint64_t message_id,
                              struct confab_text content);
/* for_me: hides it from oneself only. */
enum confab_error confab_delete(struct confab_client *c, uint64_t message_id, bool for_me);
/* Moves the read cursors of their conversations to the highest of them. */
enum confab_error confab_read(struct confab_client *c, const uint64_t *message_ids, size_t n);
/* until_ms: 0 ends it, UINT64_MAX is for ever. */
enum confab_error confab_mute(struct confab_client *c, const char *conv, uint64_t until_ms);
enum confab_error confab_pin(struct confab_client *c, const char *conv, bool pinned);
enum confab_error confab_block(struct confab_client *c, const char *user, bool blocked);

/* ---- Small helpers ---- */

/*
 * Copies text so that it is safe to print on a terminal: control characters (C0, C1, DEL),
 * characters that change the direction of text or are invisible, and bytes that are not UTF-8
 * become \n, \t, \xNN or \u{NNNN}; everything else stays. Returns the length of the whole result,
 * as snprintf does; always terminates when size > 0, never inside a character.
 */
size_t confab_escape(char *out, size_t size, struct confab_text text);
#define CONFAB_TIME_SIZE 32
/* "2025-01-31T08:15:30.123Z" */
void confab_time_utc(uint64_t ms, char out[CONFAB_TIME_SIZE]);
/* "2025-01-31 08:15:30" in the zone of the process. */
void confab_time_local(uint64_t ms, char out[CONFAB_TIME_SIZE]);
/* The present, from the system's clock. */
uint64_t confab_now_ms(void);

#ifdef __cplusplus
}
#endif

#endif
