#include "rest.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "proto/http1.h"
#include "proto/json.h"

#define TIMEOUT_S 120

void rest_init(struct rest *r, uint16_t port)
{
    memset(r, 0, sizeof(*r));
    r->port = port;
    r->fd = -1;
}

static void rest_close(struct rest *r)
{
    if (r->fd >= 0) {
        (void)close(r->fd);
        r->fd = -1;
    }
}

void rest_deinit(struct rest *r)
{
    rest_close(r);
    buf_deinit(&r->out);
    buf_deinit(&r->in);
    buf_deinit(&r->body);
}

static enum confab_err rest_open(struct rest *r)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(r->port)};
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const struct timeval timeout = {.tv_sec = TIMEOUT_S};
    int one = 1;
    r->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (r->fd < 0) {
        return CONFAB_NET;
    }
    (void)setsockopt(r->fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
    (void)setsockopt(r->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (connect(r->fd, (struct sockaddr *)&in, sizeof(in)) != 0) {
        rest_close(r);
        return CONFAB_NET;
    }
    return CONFAB_OK;
}

static bool send_all(int fd, const uint8_t *p, size_t n)
{
    while (n > 0) {
        ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) {
            continue;
        }
        if (sent <= 0) {
            return false;
        }
        p += sent;
        n -= (size_t)sent;
    }
    return true;
}

static bool recv_more(struct rest *r)
{
    if (!buf_reserve(&r->in, 65536)) {
        return false;
    }
    ssize_t n;
    do {
        n = recv(r->fd, r->in.data + r->in.len, r->in.cap - r->in.len, 0);
    } while (n < 0 && errno == EINTR);
    if (n <= 0) {
        return false;
    }
    r->in.len += (size_t)n;
    return true;
}

static enum confab_err read_body(struct rest *r, const struct http_response *res)
{
    struct http_body body;
    http_body_init_response(&body, res, 256U << 20);
    size_t at = res->head_len;
    for (;;) {
        size_t consumed = 0;
        struct span piece = {0};
        struct http_error why;
        enum http_result result = http_body_next(&body, span_of(r->in.data + at, r->in.len - at),
                                                 &consumed, &piece, &why);
        buf_put(&r->body, piece.p, piece.n);
        at += consumed;
        if (result == HTTP_BAD || !buf_ok(&r->body)) {
            return CONFAB_NET;
        }
        if (result == HTTP_DONE) {
            return CONFAB_OK;
        }
        if (consumed == 0 && at == r->in.len && !recv_more(r)) {
            return CONFAB_NET;
        }
    }
}

static enum confab_err read_answer(struct rest *r)
{
    struct http_scan scan = {0};
    static _Thread_local struct http_response res;
    struct http_error why;
    buf_clear(&r->in);
    buf_clear(&r->body);
    enum http_result result = HTTP_MORE;
    while (result == HTTP_MORE) {
        if (!recv_more(r)) {
            return CONFAB_NET;
        }
        result = http_response_parse(&scan, span_of(r->in.data, r->in.len), false, &res, &why);
    }
    if (result != HTTP_DONE) {
        return CONFAB_NET;
    }
    r->status = res.status;
    bool keep = res.keep_alive;
    enum confab_err err = read_body(r, &res);
    if (!keep) {
        rest_close(r);
    }
    return err;
}

static enum confab_err put_request(struct rest *r, const char *method, const char *path,
                                   const char *token, const struct buf *json)
{
    char host[32];
    (void)snprintf(host, sizeof(host), "127.0.0.1:%u", r->port);
    buf_clear(&r->out);
    http_put_request(&r->out, method, span_str(path), span_str(host));
    if (token) {
        buf_printf(&r->out, "Authorization: Bearer %s\r\n", token);
    }
    if (json) {
        http_put_header_str(&r->out, "Content-Type", "application/json");
        http_put_header_u64(&r->out, "Content-Length", json->len);
    }
    http_put_end(&r->out);
    if (json) {
        buf_put(&r->out, json->data, json->len);
    }
    return buf_ok(&r->out) ? CONFAB_OK : CONFAB_NOMEM;
}

enum confab_err rest_call(struct rest *r, const char *method, const char *path, const char *token,
                          const struct buf *json)
{
    enum confab_err err = put_request(r, method, path, token, json);
    for (int attempt = 0; attempt < 2 && !err; attempt++) {
        bool fresh = r->fd < 0;
        if (fresh && rest_open(r) != CONFAB_OK) {
            return CONFAB_NET;
        }
        if (send_all(r->fd, r->out.data, r->out.len) && read_answer(r) == CONFAB_OK) {
            return CONFAB_OK;
        }
        rest_close(r);
        if (fresh) {
            break;
        }
    }
    return err ? err : CONFAB_NET;
}

enum confab_err rest_ask(struct rest *r, const char *method, const char *path, const char *token)
{
    enum confab_err err = put_request(r, method, path, token, NULL);
    if (!err && r->fd < 0) {
        err = rest_open(r);
    }
    return err ? err : send_all(r->fd, r->out.data, r->out.len) ? CONFAB_OK : CONFAB_NET;
}

enum confab_err rest_answer(struct rest *r)
{
    enum confab_err err = read_answer(r);
    if (err) {
        rest_close(r);
    }
    return err;
}

bool rest_member(const struct rest *r, const char *name, char *out, size_t size)
{
    struct json j;
    struct span key;
    struct span value = {0};
    json_init(&j, span_of(r->body.data, r->body.len), NULL);
    json_object_begin(&j);
    while (json_object_next(&j, &key)) {
        if (span_is(key, name) && json_peek(&j) == JSON_STRING) {
            json_string(&j, &value);
        } else {
            json_skip(&j);
        }
    }
    if (!json_end(&j) || !value.p || value.n >= size) {
        return false;
    }
    memcpy(out, value.p, value.n);
    out[value.n] = '\0';
    return true;
}
