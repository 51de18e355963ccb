/* Names and pages: what is ours, what is allowed, and options that cannot be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "gateway/origin.h"

static struct origin_rules rules(const char *url, const char *hosts, const char *origins)
{
    struct origin_rules r = {0};
    const char *bad = NULL;
    assert_int_equal(origin_rules_parse(&r, url, hosts, origins, &bad), CONFAB_OK);
    return r;
}

static bool ok(const struct origin_rules *r, const char *host, const char *origin)
{
    struct http_request req = {.host = span_str(host)};
    if (origin) {
        req.headers.at[req.headers.n++] =
            (struct http_header){span_str("Origin"), span_str(origin)};
    }
    return origin_ok(r, &req, r->tls);
}

static void test_origin__hosts(void **state)
{
    (void)state;
    struct origin_rules r = rules("https://Chat.Example.org:8443/x", "one.example, TWO", "");
    static const char *const good[] = {
        "",           "127.0.0.1",        "127.0.0.1:8008",     "192.0.2.1:80",
        "[::1]",      "[2001:db8::1]:80", "localhost",          "LocalHost:8008",
        "localhost.", "chat.example.org", "chat.example.org:1", "ONE.example",
        "two:8008",
    };
    static const char *const bad[] = {
        "example.org",
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "[::1",
        "chat.example.org.evil",
        "1.2.3",
        "[localhost]",
        ":8008",
        "two.example",
    };
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        if (!origin_host_ok(&r, span_str(good[i]))) {
            fail_msg("refused: %s", good[i]);
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (origin_host_ok(&r, span_str(bad[i]))) {
            fail_msg("taken: %s", bad[i]);
        }
    }
}

static void test_origin__own_pages(void **state)
{
    (void)state;
    struct origin_rules r = rules("https://chat.example.org:443", "", "https://app.example.org");
    assert_true(ok(&r, "localhost:8008", NULL));
    assert_true(ok(&r, "localhost:8008", "http://localhost:8008"));
    assert_true(ok(&r, "LOCALHOST:8008", "http://localhost:8008"));
    assert_true(ok(&r, "localhost:8008", "https://chat.example.org"));
    assert_true(ok(&r, "localhost:8008", "https://app.example.org"));
    assert_false(ok(&r, "localhost:8008", "https://localhost:8008"));
    assert_false(ok(&r, "localhost:8008", "http://localhost:8009"));
    assert_false(ok(&r, "localhost:8008", "http://localhost"));
    assert_false(ok(&r, "localhost:8008", "http://evil.example"));
    assert_false(ok(&r, "localhost:8008", "http://localhost:8008.evil.example"));
    assert_false(ok(&r, "localhost:8008", "http://app.example.org"));
    assert_false(ok(&r, "localhost:8008", "null"));
    assert_false(ok(&r, "localhost:8008", ""));
    r.tls = true;
    assert_true(ok(&r, "localhost:8008", "https://localhost:8008"));
    assert_false(ok(&r, "localhost:8008", "http://localhost:8008"));
}

static void test_origin__two_headers(void **state)
{
    (void)state;
    struct origin_rules r = rules("", "", "");
    struct http_request req = {.host = span_str("localhost")};
    for (int i = 0; i < 2; i++) {
        req.headers.at[req.headers.n++] =
            (struct http_header){span_str("Origin"), span_str("http://localhost")};
    }
    assert_false(origin_ok(&r, &req, false));
}

static void test_origin__bad_options(void **state)
{
    (void)state;
    static const struct {
        const char *url;
        const char *hosts;
        const char *origins;
        const char *bad;
    } list[] = {
        {"chat.example.org", "", "", "public-url"},
        {"ftp://chat.example.org", "", "", "public-url"},
        {"https://", "", "", "public-url"},
        {"https://a b", "", "", "public-url"},
        {"", "https://a", "", "hosts"},
        {"", "a:80", "", "hosts"},
        {"", "a/b", "", "hosts"},
        {"", "", "*", "cors-origins"},
        {"", "", "https://a/", "cors-origins"},
        {"", "", "a", "cors-origins"},
        {"", "", "https://a?b", "cors-origins"},
    };
    for (size_t i = 0; i < ARRAY_LEN(list); i++) {
        struct origin_rules r = {0};
        const char *bad = NULL;
        enum confab_err err =
            origin_rules_parse(&r, list[i].url, list[i].hosts, list[i].origins, &bad);
        assert_int_equal(err, CONFAB_INVALID);
        assert_string_equal(bad, list[i].bad);
        assert_int_equal(r.nhosts + r.norigins, 0);
    }
    struct origin_rules r = {0};
    const char *bad = NULL;
    assert_int_equal(origin_rules_parse(&r, "", "a a a a a a a a a a a a a a a a a", "", &bad),
                     CONFAB_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_origin__hosts),
        cmocka_unit_test(test_origin__own_pages),
        cmocka_unit_test(test_origin__two_headers),
        cmocka_unit_test(test_origin__bad_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
