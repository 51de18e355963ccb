/*
 * What the tests of proto share. Rows of a table become cmocka cases of their own, named
 * test_<module>__<row>; inputs are copied to blocks of their exact size, so that the address
 * sanitizer sees every read behind their end.
 */
#ifndef CONFAB_TESTS_PROTO_TEST_H
#define CONFAB_TESTS_PROTO_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/random.h"

/* A literal with its length: it may hold zeros. */
#define BYTES(s)                                                                                   \
    {                                                                                              \
        (const uint8_t *)(s), sizeof(s) - 1                                                        \
    }

#define PROTO_CASES_MAX 512

struct proto_cases {
    struct CMUnitTest at[PROTO_CASES_MAX];
    size_t n;
};

static inline void proto_case(struct proto_cases *c, const char *module, const char *name,
                              CMUnitTestFunction f, const void *row)
{
    size_t size = strlen(module) + strlen(name) + 8;
    char *full = malloc(size);
    assert_true(full && c->n < PROTO_CASES_MAX);
    snprintf(full, size, "test_%s__%s", module, name);
    c->at[c->n] = (struct CMUnitTest){full, f, NULL, NULL, NULL};
    memcpy(&c->at[c->n++].initial_state, &row, sizeof(row));
}

static inline int proto_run(const char *group, struct proto_cases *c)
{
    int failed = _cmocka_run_group_tests(group, c->at, c->n, NULL, NULL);
    for (size_t i = 0; i < c->n; i++) {
        free((void *)(uintptr_t)c->at[i].name);
    }
    return failed;
}

/* The bytes in a block of their own; free it. Never NULL. */
static inline uint8_t *proto_copy(const void *p, size_t n)
{
    uint8_t *out = malloc(n > 0 ? n : 1);
    assert_non_null(out);
    if (n > 0) {
        memcpy(out, p, n);
    }
    return out;
}

/* The text of a buf, zero terminated, for string comparisons. */
static inline const char *proto_text(struct buf *b)
{
    buf_put_u8(b, 0);
    assert_true(buf_ok(b));
    b->len--;
    return (const char *)b->data;
}

#define proto_assert_span(s, text)                                                                 \
    do {                                                                                           \
        struct span proto_span_ = (s);                                                             \
        assert_int_equal(proto_span_.n, strlen(text));                                             \
        assert_memory_equal(proto_span_.n ? proto_span_.p : (const uint8_t *)"", text,             \
                            proto_span_.n);                                                        \
    } while (0)

/* Seed of a test's random numbers; CONFAB_TEST_SEED replays another one. */
static inline uint64_t proto_seed(void)
{
    const char *s = getenv("CONFAB_TEST_SEED");
    return s ? strtoull(s, NULL, 0) : 20250131;
}

#endif
