/*
 * Making calls and reading their answers. For rest.c and rest_groups.c.
 */
#ifndef CONFAB_CLIENT_REST_INTERNAL_H
#define CONFAB_CLIENT_REST_INTERNAL_H

#include "client/client_internal.h"
#include "proto/json.h"

/* Remembers a failure of this side, and returns it; `text` NULL: the error's own. */
enum confab_error crest_fail(struct confab_client *c, enum confab_error error, const char *text);
enum confab_error crest_bad_argument(struct confab_client *c, const char *text);
bool crest_is_conv(const char *conv);

/* "/api/v1/" and the text; then parts of it that are encoded. Check buf_ok, or let call do it. */
struct buf crest_path(const char *text);
void crest_path_text(struct buf *b, const char *text);
void crest_body_begin(struct json_writer *w, struct buf *b);

/*
 * Makes a call and waits for its answer; consumes path and body (may be NULL). On success the
 * answer is in c->call.content until chttp_reset.
 */
enum confab_error crest_call(struct confab_client *c, const char *method, struct buf *path,
                             struct buf *body, bool with_token);
/* The same with the token, for calls whose answer says nothing more. */
enum confab_error crest_call_only(struct confab_client *c, const char *method, struct buf *path,
                                  struct buf *body);

struct crest_answer {
    struct json j;
    struct scratch scratch;
    uint8_t *block;
};
/* CONFAB_NOMEM. The outermost object is begun. */
CONFAB_NODISCARD enum confab_err crest_answer_begin(struct crest_answer *a,
                                                    const struct buf *content);
/* Only the reading; false when it was not JSON. */
bool crest_answer_free(struct crest_answer *a);
/* A member of a token object; false when it is none of those kept. */
bool crest_read_token(struct json *j, struct span key, struct confab_tokens *io,
                      uint64_t *io_expires_in_s);
/* A string or null, cut where a character ends. */
void crest_read_text(struct json *j, char *out, size_t size);
/*
 * The elements of the array `name`, page by page, `max` at most: path_query is GET with `limit`,
 * and with the cursor of the page before. `read` takes one element, which is an object that is
 * begun; it may call.
 */
enum confab_error crest_each(struct confab_client *c, const char *path_query, const char *name,
                             uint64_t max, void (*read)(struct json *j, void *arg), void *arg);
/* A call with an answer that is one object: `read` takes one member, false when it is not known. */
enum confab_error crest_object(struct confab_client *c, const char *method, struct buf *path,
                               struct buf *body, bool with_token,
                               bool (*read)(struct json *j, struct span key, void *arg), void *arg);
/* json_w_kcstr, or nothing for NULL; false when it is not UTF-8. */
bool crest_put_text(struct json_writer *w, const char *key, const char *text);
/* A bad argument; frees both. */
enum confab_error crest_not_utf8(struct confab_client *c, struct buf *path, struct buf *body);
/* For crest_each over user objects; arg is a struct crest_people. */
struct crest_people {
    void (*on_user)(void *arg, const struct confab_user *user);
    void *arg;
};
void crest_read_person(struct json *j, void *arg);
/* One member of a user object. */
bool crest_read_user(struct json *j, struct span key, void *user);
/* Frees the call's answer, too. `complete`: all that is wanted was there. */
enum confab_error crest_answer_end(struct confab_client *c, struct crest_answer *a, bool complete);

#endif
