/* The client's HTTP exchange and REST answers, against a listener in the same thread. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/io_http.h"

struct fixture {
    int listener;
    int peer; /* -1: nobody */
    char port[8];
    struct chttp x;
    uint64_t now;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(a);
    f->peer = -1;
    f->now = 1000;
    f->listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_return_code(bind(f->listener, (struct sockaddr *)&a, n), 0);
    assert_return_code(listen(f->listener, 8), 0);
    assert_return_code(getsockname(f->listener, (struct sockaddr *)&a, &n), 0);
    snprintf(f->port, sizeof(f->port), "%u", (unsigned)ntohs(a.sin_port));
    chttp_init(&f->x, 1000);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    chttp_deinit(&f->x);
    close(f->peer);
    close(f->listener);
    free(f);
    return 0;
}

static void begin(struct fixture *f, const char *method, const char *body)
{
    struct chttp_request req = {
        .method = method,
        .path = span_str("/api/v1/x"),
        .token = span_str("secret"),
        .body = span_str(body),
    };
    chttp_begin(&f->x, "127.0.0.1", f->port, span_str("localhost"), &req, 5000, f->now);
}

/* Lets the exchange go on until it waits for us. Waits for its socket, never for a time. */
static void step(struct fixture *f)
{
    while (!chttp_step(&f->x, f->now) && f->x.phase < CHTTP_HEAD) {
        struct pollfd p = {.fd = f->x.conn.fd, .events = chttp_events(&f->x)};
        assert_return_code(poll(&p, 1, 10000), 0);
    }
}

/* The request as our end sees it, up to `end`. */
static const char *receive(struct fixture *f, const char *end)
{
    static char text[4096];
    size_t n = 0;
    text[0] = '\0';
    step(f);
    if (f->peer < 0) {
        f->peer = accept(f->listener, NULL, NULL);
        assert_true(f->peer >= 0);
    }
    while (!strstr(text, end)) {
        ssize_t r = recv(f->peer, text + n, sizeof(text) - 1 - n, 0);
        assert_true(r > 0);
        n += (size_t)r;
        text[n] = '\0';
    }
    return text;
}

/* Sends and waits until it has been taken. */
static bool answer(struct fixture *f, const char *text)
{
    size_t n = strlen(text);
    assert_int_equal(send(f->peer, text, n, MSG_NOSIGNAL), n);
    struct pollfd p = {.fd = f->x.conn.fd, .events = POLLIN};
    assert_int_equal(poll(&p, 1, 10000), 1);
    return chttp_step(&f->x, f->now);
}

static void hang_up(struct fixture *f)
{
    close(f->peer);
    f->peer = -1;
}

static void content_is(struct fixture *f, int status, const char *text)
{
    assert_int_equal(f->x.phase, CHTTP_DONE);
    assert_int_equal(f->x.err, CONFAB_OK);
    assert_int_equal(f->x.status, status);
    assert_int_equal(f->x.content.len, strlen(text));
    if (text[0]) {
        assert_memory_equal(f->x.content.data, text, strlen(text));
    }
}

static void test_http__writes_the_request(void **state)
{
    struct fixture *f = *state;
    begin(f, "POST", "{\"a\":1}");
    const char *text = receive(f, "{\"a\":1}");
    assert_ptr_equal(strstr(text, "POST /api/v1/x HTTP/1.1\r\n"), text);
    assert_non_null(strstr(text, "Host: localhost\r\n"));
    assert_non_null(strstr(text, "Authorization: Bearer secret\r\n"));
    assert_non_null(strstr(text, "Content-Length: 7\r\n"));
}

static void test_http__reads_answers_in_pieces(void **state)
{
    static const char *const answers[] = {
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        begin(f, "GET", "");
        receive(f, "\r\n\r\n");
        for (const char *at = answers[i]; *at; at++) {
            char one[2] = {*at, '\0'};
            assert_int_equal(answer(f, one), at[1] == '\0');
        }
        content_is(f, 200, "hello");
        chttp_reset(&f->x);
    }
}

static void test_http__body_that_ends_with_the_connection(void **state)
{
    struct fixture *f = *state;
    begin(f, "GET", "");
    receive(f, "\r\n\r\n");
    assert_false(answer(f, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall of it"));
    hang_up(f);
    struct pollfd p = {.fd = f->x.conn.fd, .events = POLLIN};
    assert_int_equal(poll(&p, 1, 10000), 1);
    assert_true(chttp_step(&f->x, f->now));
    content_is(f, 200, "all of it");
    assert_false(cconn_is_open(&f->x.conn));
}

static void test_http__keeps_the_connection_for_what_may_be_repeated(void **state)
{
    struct fixture *f = *state;
    begin(f, "GET", "");
    receive(f, "\r\n\r\n");
    assert_true(answer(f, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1"));
    chttp_reset(&f->x);
    begin(f, "GET", "");
    receive(f, "\r\n\r\n"); /* on the same one */
    hang_up(f);             /* as servers do with idle ones */
    struct pollfd p = {.fd = f->x.conn.fd, .events = POLLIN};
    assert_int_equal(poll(&p, 1, 10000), 1);
    assert_false(chttp_step(&f->x, f->now));
    receive(f, "\r\n\r\n"); /* again, on a new one */
    assert_true(answer(f, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2"));
    content_is(f, 200, "2");
    chttp_reset(&f->x);
    begin(f, "POST", "{}");
    int before = f->peer;
    f->peer = -1;
    receive(f, "{}"); /* never on a kept one */
    close(before);
}

static void test_http__broken_post_is_not_repeated(void **state)
{
    struct fixture *f = *state;
    begin(f, "POST", "{}");
    receive(f, "{}");
    hang_up(f);
    struct pollfd p = {.fd = f->x.conn.fd, .events = POLLIN};
    assert_int_equal(poll(&p, 1, 10000), 1);
    assert_true(chttp_step(&f->x, f->now));
    assert_int_equal(f->x.err, CONFAB_NET);
}

static void test_http__bad_answers(void **state)
{
    static const struct {
        const char *text;
        enum confab_err err;
    } cases[] = {
        {"SSH-2.0-OpenSSH_9.2\r\n\r\n", CONFAB_INVALID},
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", CONFAB_INVALID},
        {"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n", CONFAB_TOO_LARGE},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", CONFAB_INVALID},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        begin(f, "GET", "");
        receive(f, "\r\n\r\n");
        assert_true(answer(f, cases[i].text));
        assert_int_equal(f->x.err, cases[i].err);
        assert_int_equal(f->x.status, 0);
        assert_false(cconn_is_open(&f->x.conn));
        chttp_reset(&f->x);
        hang_up(f);
    }
}

static void test_http__retry_after(void **state)
{
    struct fixture *f = *state;
    begin(f, "GET", "");
    receive(f, "\r\n\r\n");
    assert_true(answer(f, "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\n"
                          "Content-Length: 0\r\n\r\n"));
    content_is(f, 429, "");
    assert_int_equal(f->x.retry_after_ms, 7000);
}

static void test_http__gives_up_at_the_deadline(void **state)
{
    struct fixture *f = *state;
    begin(f, "GET", "");
    receive(f, "\r\n\r\n");
    f->now += 4999;
    assert_false(chttp_step(&f->x, f->now));
    f->now += 1;
    assert_true(chttp_step(&f->x, f->now));
    assert_int_equal(f->x.err, CONFAB_TIMEOUT);
}

static void test_http__nobody_listens(void **state)
{
    struct fixture *f = *state;
    close(f->listener);
    f->listener = -1;
    begin(f, "GET", "");
    step(f);
    assert_int_equal(f->x.phase, CHTTP_DONE);
    assert_int_equal(f->x.err, CONFAB_NET);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_http__writes_the_request),
        T(test_http__reads_answers_in_pieces),
        T(test_http__body_that_ends_with_the_connection),
        T(test_http__keeps_the_connection_for_what_may_be_repeated),
        T(test_http__broken_post_is_not_repeated),
        T(test_http__bad_answers),
        T(test_http__retry_after),
        T(test_http__gives_up_at_the_deadline),
        T(test_http__nobody_listens),
    };
    return cmocka_run_group_tests_name("client http", tests, NULL, NULL);
}
