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
/* Frees the call's answer, too. `complete`: all that is wanted was there. */
enum confab_error crest_answer_end(struct confab_client *c, struct crest_answer *a, bool complete);

#endif
