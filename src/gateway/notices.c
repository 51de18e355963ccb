#include "gateway/notices.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "proto/json.h"

void notices_init(struct notices *n)
{
    memset(n, 0, sizeof(*n));
    CHECK(pthread_mutex_init(&n->lock, NULL) == 0);
}

void notices_deinit(struct notices *n)
{
    CHECK(pthread_mutex_destroy(&n->lock) == 0);
}

void notices_set(struct notices *n, enum notice which, const char *text)
{
    CHECK(which < NOTICE_COUNT);
    CHECK(pthread_mutex_lock(&n->lock) == 0);
    (void)snprintf(n->texts[which], NOTICE_TEXT_MAX, "%s", text ? text : "");
    CHECK(pthread_mutex_unlock(&n->lock) == 0);
}

void notices_put(struct notices *n, struct buf *out)
{
    struct json_writer w;
    json_w_init(&w, out);
    json_w_array(&w);
    CHECK(pthread_mutex_lock(&n->lock) == 0);
    for (size_t i = 0; i < NOTICE_COUNT; i++) {
        if (n->texts[i][0] != '\0') {
            json_w_cstr(&w, n->texts[i]);
        }
    }
    CHECK(pthread_mutex_unlock(&n->lock) == 0);
    json_w_array_end(&w);
}
