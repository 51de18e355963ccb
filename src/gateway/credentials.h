/* What a registration or a sign-in carries, and reading it from a request. */
#ifndef CONFAB_GATEWAY_CREDENTIALS_H
#define CONFAB_GATEWAY_CREDENTIALS_H

#include "gateway/api_directory.h"
#include "gateway/password.h"

struct credentials {
    /* Secrets first: see api_call.wipe. */
    size_t password_len;
    uint8_t password[PASSWORD_MAX];
    char invite[INVITE_CODE_LEN + 1];
    char username[USERNAME_MAX + 1];
    char key[USERNAME_MAX + 1];
    char display_name[DIR_DISPLAY_BYTES + 1];
    char email[DIR_EMAIL_BYTES + 1];
    char device_name[DIR_DEVICE_NAME_BYTES + 1];
    bool has_invite;
    bool cookie; /* the refresh token goes into one */
    /* A sign-in's */
    bool https;                /* asked for by a page that has come by it */
    bool known;                /* the account exists */
    char counted[48];          /* the address as it is throttled */
    char hash[DIR_HASH_BYTES]; /* the one that was verified */
    uint64_t user;
};
#define CREDENTIALS_SECRET offsetof(struct credentials, username)

/* One member; its name when the value is not valid, else NULL. Unknown ones are skipped. */
const char *credentials_member(struct json *j, struct span key, struct credentials *cr);
/* What is expected of a field. */
const char *credentials_expected(const char *field);
/* The body. NULL: answered. */
struct credentials *credentials_read(struct api_request *r);
/* A call that owns them; NULL: answered, and they are freed. */
struct api_call *credentials_call(struct api_request *r, struct credentials *cr);
void credentials_free(struct credentials *cr);

#define WEAK_PASSWORD                                                                              \
    "easily guessed: use a longer one, such as four words that do not belong together"

#endif
