/* Answers that are one object, or lists that come page by page. */
#include <confab/rest.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "client/rest_internal.h"
#include "client/session_internal.h"

#define CURSOR_SIZE 257U

bool crest_put_text(struct json_writer *w, const char *key, const char *text)
{
    bool ok = !text || utf8_valid(text, strlen(text));
    if (text && ok) {
        json_w_kcstr(w, key, text);
    }
    return ok;
}

enum confab_error crest_object(struct confab_client *c, const char *method, struct buf *path,
                               struct buf *body, bool with_token,
                               bool (*read)(struct json *j, struct span key, void *arg), void *arg)
{
    struct crest_answer a;
    struct span key;
    enum confab_error error = crest_call(c, method, path, body, with_token);
    if (error) {
        return error;
    }
    if (crest_answer_begin(&a, &c->call.content) != CONFAB_OK) {
        chttp_reset(&c->call);
        return crest_fail(c, CONFAB_E_NOMEM, NULL);
    }
    while (json_object_next(&a.j, &key)) {
        if (!read(&a.j, key, arg)) {
            json_skip(&a.j);
        }
    }
    return crest_answer_end(c, &a, true);
}

struct page {
    char cursor[CURSOR_SIZE]; /* of the next one */
    bool more;
    uint64_t left; /* elements still wanted */
    bool found;
};

static void read_page(struct json *j, const char *name, struct page *page,
                      void (*read)(struct json *j, void *arg), void *arg)
{
    struct span key;
    while (json_object_next(j, &key)) {
        if (span_is(key, name)) {
            page->found = json_array_begin(j);
            while (json_array_next(j)) {
                if (page->left == 0) {
                    json_skip(j);
                    continue;
                }
                page->left--;
                json_object_begin(j);
                read(j, arg);
            }
        } else if (span_is(key, "next_cursor")) {
            crest_read_text(j, page->cursor, sizeof(page->cursor));
        } else if (span_is(key, "has_more")) {
            json_bool(j, &page->more);
        } else {
            json_skip(j);
        }
    }
}

/* The answer is taken out of the client first: `read` may call. */
static enum confab_error take_page(struct confab_client *c, const char *name, struct page *page,
                                   void (*read)(struct json *j, void *arg), void *arg)
{
    struct crest_answer a;
    struct buf content;
    size_t n;
    buf_init(&content);
    content.data = buf_detach(&c->call.content, &n);
    content.len = content.cap = n;
    chttp_reset(&c->call);
    if (crest_answer_begin(&a, &content) != CONFAB_OK) {
        buf_deinit(&content);
        return crest_fail(c, CONFAB_E_NOMEM, NULL);
    }
    page->found = false;
    page->more = false;
    page->cursor[0] = '\0';
    read_page(&a.j, name, page, read, arg);
    bool ok = crest_answer_free(&a) && page->found;
    buf_deinit(&content);
    return ok ? CONFAB_E_OK : crest_fail(c, CONFAB_E_PROTOCOL, NULL);
}

enum confab_error crest_each(struct confab_client *c, const char *path_query, const char *name,
                             uint64_t max, void (*read)(struct json *j, void *arg), void *arg)
{
    struct page page = {.left = max};
    enum confab_error error;
    do {
        struct buf path = crest_path(path_query);
        if (page.cursor[0] != '\0') {
            buf_put_str(&path, strchr(path_query, '?') ? "&cursor=" : "?cursor=");
            crest_path_text(&path, page.cursor);
        }
        error = crest_call(c, "GET", &path, NULL, true);
        if (!error) {
            error = take_page(c, name, &page, read, arg);
        }
    } while (!error && page.more && page.cursor[0] != '\0' && page.left > 0);
    return error;
}
