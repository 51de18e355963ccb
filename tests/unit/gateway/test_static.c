/* Files handed out as they are: look-up, encodings, ETags, caching, and what guards a page. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "rig.h"

static struct rig *rig;
static struct client *client;

static int setup(void **state)
{
    (void)state;
    rig = rig_new(1, NULL);
    client = client_new(rig, 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    client_drop(client);
    rig_free(rig);
    return 0;
}

struct answer {
    int status;
    char *head;
    char *body;
};

/* `fields`: further lines, each with CRLF. */
static struct answer ask(const char *method, const char *path, const char *fields)
{
    char text[1024];
    struct answer a = {0};
    snprintf(text, sizeof(text), "%s %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n", method, path,
             fields);
    client_send_str(client, text);
    a.status = http_next(client, &a.head, &a.body);
    return a;
}

static void answer_free(struct answer *a)
{
    free(a->head);
    free(a->body);
}

static void expect(const char *fields, const char *encoding, const char *body)
{
    struct answer a = ask("GET", "/", fields);
    char want[64];
    assert_int_equal(a.status, 200);
    assert_string_equal(a.body, body);
    if (encoding) {
        snprintf(want, sizeof(want), "\r\nContent-Encoding: %s\r\n", encoding);
        assert_non_null(strstr(a.head, want));
    } else {
        assert_null(strstr(a.head, "Content-Encoding"));
    }
    answer_free(&a);
}

#define PAGE "<!doctype html><title>page</title>"

static void test_static__page_is_served_with_its_guards(void **state)
{
    (void)state;
    struct answer a = ask("GET", "/", "");
    assert_int_equal(a.status, 200);
    assert_string_equal(a.body, PAGE);
    static const char *const fields[] = {
        "Content-Type: text/html; charset=utf-8",
        "ETag: \"aaaa\"",
        "Cache-Control: no-cache",
        "Vary: Accept-Encoding",
        "Content-Security-Policy: default-src 'self'; connect-src 'self';",
        "frame-ancestors 'none'",
        "X-Content-Type-Options: nosniff",
        "Referrer-Policy: no-referrer",
        "Cross-Origin-Opener-Policy: same-origin",
        "Permissions-Policy: camera=()",
    };
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        assert_non_null(strstr(a.head, fields[i]));
    }
    assert_null(strstr(a.head, "unsafe"));
    answer_free(&a);
}

static void test_static__names_of_content_are_kept_for_ever(void **state)
{
    (void)state;
    struct answer a = ask("GET", "/assets/app-12345678.js", "");
    assert_int_equal(a.status, 200);
    assert_non_null(strstr(a.head, "Cache-Control: public, max-age=31536000, immutable\r\n"));
    assert_non_null(strstr(a.head, "Content-Type: text/javascript"));
    answer_free(&a);
}

static void test_static__only_what_is_there_is_served(void **state)
{
    (void)state;
    static const char *const paths[] = {
        "/index.htm", "/assets", "/assets/", "/assets/app-12345678.jsx", "/assets/app-12345678.j",
        "/favicon",   "//",      "/%2f",     "/../etc/passwd",           "/c/1",
    };
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        struct answer a = ask("GET", paths[i], "");
        assert_int_equal(a.status, 404);
        answer_free(&a);
    }
    struct answer a = ask("GET", "/favicon.svg?v=2", "");
    assert_int_equal(a.status, 200);
    answer_free(&a);
    a = ask("GET", "/api/v1/openapi.json", "");
    assert_int_equal(a.status, 200);
    assert_string_equal(a.body, "{}");
    answer_free(&a);
}

static void test_static__head_has_the_length_and_no_body(void **state)
{
    (void)state;
    client_send_str(client, "HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n"
                            "GET /favicon.svg HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client_recv(client);
    buf_put_u8(&client->in, 0);
    const char *text = (const char *)client->in.data;
    assert_non_null(strstr(text, "Content-Length: 34\r\n"));
    const char *end = strstr(text, "\r\n\r\n");
    assert_non_null(end);
    assert_memory_equal(end + 4, "HTTP/1.1 200 OK\r\nContent-Type: image/svg+xml", 44);
}

static void test_static__other_methods_are_refused(void **state)
{
    (void)state;
    static const char *const methods[] = {"POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"};
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        struct answer a = ask(methods[i], "/", "Content-Length: 0\r\n");
        assert_int_equal(a.status, 405);
        assert_non_null(strstr(a.head, "Allow: GET, HEAD\r\n"));
        answer_free(&a);
    }
}

static void test_static__encoding_is_the_best_that_is_taken(void **state)
{
    (void)state;
    expect("", NULL, PAGE);
    expect("Accept-Encoding: gzip, deflate, br, zstd\r\n", "br", "br");
    expect("Accept-Encoding: gzip\r\n", "gzip", "gz");
    expect("Accept-Encoding: GZip;q=0.5 , deflate\r\n", "gzip", "gz");
    expect("Accept-Encoding: br;q=0, gzip;q=1.0\r\n", "gzip", "gz");
    expect("Accept-Encoding: br; q=0.000, gzip;q=0\r\n", NULL, PAGE);
    expect("Accept-Encoding: *\r\n", "br", "br");
    expect("Accept-Encoding: *;q=0.1, br;q=0\r\n", "gzip", "gz");
    expect("Accept-Encoding: *;q=0, gzip\r\n", "gzip", "gz");
    expect("Accept-Encoding: identity\r\n", NULL, PAGE);
    expect("Accept-Encoding: ,;,brx,;q=1\r\n", NULL, PAGE);
    struct answer a = ask("GET", "/favicon.svg", "Accept-Encoding: br, gzip\r\n");
    assert_null(strstr(a.head, "Content-Encoding"));
    answer_free(&a);
}

static void test_static__what_the_client_has_is_not_sent_again(void **state)
{
    (void)state;
    static const char *const known[] = {
        "If-None-Match: \"aaaa\"\r\n",
        "If-None-Match: W/\"aaaa\"\r\n",
        "If-None-Match: \"zzzz\" , \"aaaa\"\r\n",
        "If-None-Match: *\r\n",
        "Accept-Encoding: br\r\nIf-None-Match: \"aaaa-br\"\r\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        struct answer a = ask("GET", "/", known[i]);
        assert_int_equal(a.status, 304);
        assert_string_equal(a.body, "");
        assert_non_null(strstr(a.head, "ETag: \"aaaa"));
        assert_null(strstr(a.head, "Content-Length"));
        assert_null(strstr(a.head, "Content-Type:"));
        answer_free(&a);
    }
    static const char *const other[] = {
        "If-None-Match: \"aaa\"\r\n",
        "If-None-Match: aaaa\r\n",
        "If-None-Match: \"aaaa-br\"\r\n", /* the other encoding's */
        "Accept-Encoding: br\r\nIf-None-Match: \"aaaa\"\r\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(other); i++) {
        struct answer a = ask("GET", "/", other[i]);
        assert_int_equal(a.status, 200);
        answer_free(&a);
    }
}

static void test_static__close_is_honoured(void **state)
{
    (void)state;
    struct answer a = ask("GET", "/", "Connection: close\r\n");
    assert_int_equal(a.status, 200);
    assert_string_equal(a.body, PAGE);
    assert_non_null(strstr(a.head, "Connection: close\r\n"));
    client_recv(client);
    assert_true(client->eof);
    answer_free(&a);
}

int main(void)
{
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_static__page_is_served_with_its_guards),
        CASE(test_static__names_of_content_are_kept_for_ever),
        CASE(test_static__only_what_is_there_is_served),
        CASE(test_static__head_has_the_length_and_no_body),
        CASE(test_static__other_methods_are_refused),
        CASE(test_static__encoding_is_the_best_that_is_taken),
        CASE(test_static__what_the_client_has_is_not_sent_again),
        CASE(test_static__close_is_honoured),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
