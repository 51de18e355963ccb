/*
 * What the calls about people share: requests to the directory on behalf of an api_call, with their
 * audit record; reading and writing of users; pages.
 */
#ifndef CONFAB_GATEWAY_API_DIRECTORY_H
#define CONFAB_GATEWAY_API_DIRECTORY_H

#include "gateway/api.h"
#include "gateway/async.h"

struct api_dir;
typedef void (*api_on_dir)(struct shard *s, struct api_call *call, struct dir_request *req);
struct api_dir {
    struct dir_call dir;
    struct api_call *call;
    api_on_dir done;
    struct dir_audit audit;
};

/* NULL: the call is answered and freed. */
struct api_dir *api_dir_new(struct shard *s, struct api_call *call, enum dir_op op,
                            api_on_dir done);
/* The actor is the call's user, 0 for the operator. `detail` may be NULL. */
void api_dir_audit(struct shard *s, struct api_dir *a, const char *action, uint64_t target,
                   const char *detail);
/* `done` follows. On an error the call is answered and freed. */
void api_dir_submit(struct shard *s, struct api_dir *a);
/* True: it failed, the call is answered. */
bool api_dir_failed(struct shard *s, struct api_call *call, const struct dir_request *req);

/* Signs the devices out everywhere; then answers by `then`. */
void api_revoke(struct shard *s, struct api_call *call, uint64_t user, const uint64_t *devices,
                uint32_t n, void (*then)(struct shard *s, struct api_call *call));
/* For `then`: 204. */
void api_then_done(struct shard *s, struct api_call *call);

/* What follows a DIR_ACCOUNT_DELETE: signed out everywhere, out of all conversations; then 204. */
void api_account_deleted(struct shard *s, struct api_call *call, const struct dir_request *req);

uint64_t api_new_id(struct shard *s);

/* ---- Text from requests ---- */

#define DISPLAY_CHARS_MAX 100U
#define ABOUT_CHARS_MAX   250U
#define DEVICE_CHARS_MAX  50U
#define NOTE_CHARS_MAX    100U
#define NAME_CHARS_MAX    50U /* of the server */

/* Copies a value: a string, or null for none. False: `out` would be too long, or has controls. */
bool api_text(struct json *j, size_t chars_max, char *out, size_t cap);
bool api_email(struct json *j, char out[DIR_EMAIL_BYTES + 1]);
/* ?limit=, from 1; above `max` it is that. False: answered. */
bool api_limit(struct api_request *r, uint32_t normal, uint32_t max, uint32_t *ret);
/* An id in ?cursor= (0: none), or in the path. False: answered. */
bool api_cursor_id(struct api_request *r, uint64_t *ret);
bool api_id_arg(struct api_request *r, unsigned arg, uint64_t *ret);

/* ---- Users ---- */

/* `full`: for oneself and administrators. Adds to an open object, so that more may follow. */
void api_put_user(struct json_writer *w, const struct dir_account *a, bool full);
/* "privacy", of one's own. */
void api_put_privacy(struct json_writer *w, uint32_t hides);
/* "next_cursor" (or null), "has_more" and "hasMore". */
void api_put_more(struct json_writer *w, bool more, const char *cursor);

/* "username" and "display_name" of an open object; both null for NULL and for nobody. */
void api_put_names(struct json_writer *w, const struct dir_name *name);
/*
 * The names of several people by one request: `done` gets ret_names in the order of api_names_add.
 * NULL: the call is answered and freed.
 */
struct api_names;
struct api_names *api_names_new(struct shard *s, struct api_call *call, uint32_t max,
                                api_on_dir done);
void api_names_add(struct api_names *n, uint64_t user);
void api_names_submit(struct shard *s, struct api_names *n);

/* Query and cursor of a list of people. False: answered. */
bool api_people_query(struct api_request *r, struct dir_request *req);
void api_people_copy(struct dir_request *to, const struct dir_request *from);
/* `cap` at least 400. */
void api_people_cursor(const struct dir_request *req, char *out, size_t cap);

#endif
