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
    char about[CONFAB_NAME_SIZE];
    /* Oneself, and for administrators: */
    char email[CONFAB_NAME_SIZE];
    bool administrator;
    char status[16]; /* "active", "suspended", "deleted"; empty: not told */
};
struct confab_device {
    uint64_t user_id;
    uint64_t device_id;
    struct confab_tokens tokens;
};

struct confab_registration {
    const char *username;
    const char *password;
    const char *display_name; /* the following may be NULL */
    const char *email;
    const char *invite; /* the code of an invite, where the server asks for one */
};
/* CONFAB_E_EXISTS; CONFAB_E_FORBIDDEN: no, or no such, invite. */
enum confab_error confab_register(struct confab_client *c,
                                  const struct confab_registration *registration,
                                  struct confab_user *ret);
/* Uses the tokens from now on (a running connection keeps the old one). device_name may be NULL. */
enum confab_error confab_login(struct confab_client *c, const char *username, const char *password,
                               const char *device_name, struct confab_device *ret);
/* Signs this device out; its tokens are of no use from then on. */
enum confab_error confab_logout(struct confab_client *c);
/* "me" is oneself. */
enum confab_error confab_user_get(struct confab_client *c, const char *user,
                                  struct confab_user *ret);
/* People whose names begin with `query`, up to `max`. */
enum confab_error confab_people(struct confab_client *c, const char *query, unsigned max,
                                void (*on_user)(void *arg, const struct confab_user *user),
                                void *arg);
/* Of oneself; NULL leaves as it is, "" empties. */
enum confab_error confab_profile_set(struct confab_client *c, const char *display_name,
                                     const char *about, const char *email);
/* Signs out all other devices. CONFAB_E_UNAUTHENTICATED: `old` is wrong. */
enum confab_error confab_password_set(struct confab_client *c, const char *old, const char *fresh);
/*
 * Deletes one's own account, for good: all devices are signed out, one is out of all conversations,
 * and the name stays taken. CONFAB_E_FORBIDDEN: not the password. What else may be in the way, such
 * as being the last administrator, confab_last_failure says.
 */
enum confab_error confab_account_delete(struct confab_client *c, const char *password);

/* How somebody is, by id or name, "me" is oneself. CONFAB_E_NOT_FOUND: no such name. */
enum confab_error confab_presence_get(struct confab_client *c, const char *user,
                                      struct confab_presence *ret);
/* How oneself is, for programs that are not connected: it counts for a minute. */
enum confab_error confab_presence_set(struct confab_client *c, enum confab_presence_status status);

/* What others see of oneself. Who hides something does not see it of others. */
struct confab_privacy {
    bool online;
    bool last_seen;
    bool read_receipts;
};
enum confab_error confab_privacy_get(struct confab_client *c, struct confab_privacy *ret);
/* Sets all three. CONFAB_E_CONFLICT: another device changes it at this moment. */
enum confab_error confab_privacy_set(struct confab_client *c, const struct confab_privacy *privacy);

/* A device on which the user is signed in. */
struct confab_signed_in {
    uint64_t device_id;
    bool current;
    uint64_t created_at_ms;
    uint64_t last_used_at_ms;
    char name[CONFAB_NAME_SIZE];
    char last_address[64];
};
enum confab_error
confab_devices(struct confab_client *c,
               void (*on_device)(void *arg, const struct confab_signed_in *device), void *arg);
enum confab_error confab_device_rename(struct confab_client *c, uint64_t device_id,
                                       const char *name);
enum confab_error confab_device_remove(struct confab_client *c, uint64_t device_id);

/* ---- Invites ---- */

struct confab_invite {
    uint64_t invite_id;
    char code[65]; /* only of one just made */
    char link[1025];
    char note[CONFAB_NAME_SIZE];
    uint64_t uses;
    uint64_t uses_max;      /* 0: any number */
    uint64_t expires_at_ms; /* 0: never */
};
/* 0: the server's defaults; note may be NULL. */
enum confab_error confab_invite_create(struct confab_client *c, uint64_t uses_max,
                                       uint64_t expires_in_s, const char *note,
                                       struct confab_invite *ret);
enum confab_error confab_invites(struct confab_client *c,
                                 void (*on_invite)(void *arg, const struct confab_invite *invite),
                                 void *arg);
enum confab_error confab_invite_remove(struct confab_client *c, uint64_t invite_id);

/* ---- Groups ---- */

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

/* How far a message came with one member. */
struct confab_reader {
    uint64_t user_id;
    uint64_t delivered_at_ms; /* 0: not yet */
    uint64_t read_at_ms;
};
/* Who has a message; for its author and other members. CONFAB_E_NOT_FOUND. */
enum confab_error confab_receipts(struct confab_client *c, uint64_t message_id,
                                  void (*on_reader)(void *arg, const struct confab_reader *reader),
                                  void *arg);

enum confab_error confab_edit(struct confab_client *c, uint64_t message_id,
                              struct confab_text content);
/* for_me: hides it from oneself only. */
enum confab_error confab_delete(struct confab_client *c, uint64_t message_id, bool for_me);
/* Moves the read cursors of their conversations to the highest of them. */
enum confab_error confab_read(struct confab_client *c, const uint64_t *message_ids, size_t n);
/* until_ms: 0 ends it, UINT64_MAX is for ever. */
enum confab_error confab_mute(struct confab_client *c, const char *conv, uint64_t until_ms);
enum confab_error confab_pin(struct confab_client *c, const char *conv, bool pinned);
/* For all devices of the user, until one of them sends there; empty: none. */
enum confab_error confab_draft(struct confab_client *c, const char *conv, struct confab_text draft);
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
