/* Tokens of one kind: what is made is accepted, everything else is refused for its own reason. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "proto/jwt.h"

#define NOW 1800000000ULL

static const struct jwt_keys KEYS = {.n = 1, .key = {{1, 2, 3}}};
static const struct jwt_claims CLAIMS = {
    .user = 12, .device = 345, .issued_s = NOW, .expires_s = NOW + 900};

static enum confab_err check(const char *text, uint64_t now_s)
{
    struct jwt_claims got;
    return jwt_check(&KEYS, span_str(text), now_s, &got);
}

/* Signs any header and claims, as a holder of the key could. */
static const char *sign(const char *header, const char *claims)
{
    static char out[2 * JWT_TEXT_MAX];
    uint8_t mac[crypto_auth_hmacsha256_BYTES];
    const int variant = sodium_base64_VARIANT_URLSAFE_NO_PADDING;
    sodium_bin2base64(out, sizeof(out), (const uint8_t *)header, strlen(header), variant);
    strcat(out, ".");
    size_t n = strlen(out);
    sodium_bin2base64(out + n, sizeof(out) - n, (const uint8_t *)claims, strlen(claims), variant);
    n = strlen(out);
    crypto_auth_hmacsha256(mac, (const uint8_t *)out, n, KEYS.key[0]);
    out[n++] = '.';
    sodium_bin2base64(out + n, sizeof(out) - n, mac, sizeof(mac), variant);
    return out;
}

#define HS256 "{\"alg\":\"HS256\",\"typ\":\"JWT\"}"
#define GOOD                                                                                       \
    "{\"iss\":\"confab\",\"sub\":\"12\",\"did\":\"345\",\"iat\":1800000000,\"exp\":1800000900}"

static void test_jwt__round(void **state)
{
    (void)state;
    char text[JWT_TEXT_MAX + 1];
    struct jwt_claims got = {0};
    size_t n = jwt_make(&KEYS, &CLAIMS, text);
    assert_int_equal(n, strlen(text));
    assert_int_equal(jwt_check(&KEYS, span_of(text, n), NOW, &got), CONFAB_OK);
    assert_int_equal(got.user, 12);
    assert_int_equal(got.device, 345);
    assert_int_equal(got.issued_s, NOW);
    assert_int_equal(got.expires_s, NOW + 900);
    assert_string_equal(text, sign(HS256, GOOD));
    struct jwt_claims most = {INT64_MAX, INT64_MAX, NOW, NOW + JWT_LIFE_MAX_S};
    n = jwt_make(&KEYS, &most, text);
    assert_int_equal(jwt_check(&KEYS, span_of(text, n), NOW, &got), CONFAB_OK);
    assert_true(got.user == INT64_MAX && got.device == INT64_MAX);
}

/* Made by another implementation (Python's hmac): not only consistent with itself. */
static void test_jwt__known_signature(void **state)
{
    (void)state;
    struct jwt_keys keys = {.n = 1};
    memcpy(keys.key[0], "0123456789abcdef0123456789abcdef", JWT_KEY_BYTES);
    char text[JWT_TEXT_MAX + 1];
    jwt_make(&keys, &CLAIMS, text);
    assert_string_equal(strrchr(text, '.') + 1, "BhW-iS9BN4pwGoI0pM4GwMkzObB7rwuWt6ZL119mVPI");
}

static void test_jwt__times(void **state)
{
    (void)state;
    char text[JWT_TEXT_MAX + 1];
    jwt_make(&KEYS, &CLAIMS, text);
    assert_int_equal(check(text, NOW + 899), CONFAB_OK);
    assert_int_equal(check(text, NOW + 900), CONFAB_TIMEOUT);
    assert_int_equal(check(text, UINT64_MAX / 2), CONFAB_TIMEOUT);
    assert_int_equal(check(text, NOW - JWT_SKEW_S), CONFAB_OK);
    assert_int_equal(check(text, NOW - JWT_SKEW_S - 1), CONFAB_INVALID);
}

static void test_jwt__old_key(void **state)
{
    (void)state;
    char text[JWT_TEXT_MAX + 1];
    struct jwt_claims got;
    size_t n = jwt_make(&KEYS, &CLAIMS, text);
    struct jwt_keys both = {.n = 2, .key = {{9}, {1, 2, 3}}};
    assert_int_equal(jwt_check(&both, span_of(text, n), NOW, &got), CONFAB_OK);
    both.n = 1;
    assert_int_equal(jwt_check(&both, span_of(text, n), NOW, &got), CONFAB_UNAUTHENTICATED);
    both.n = 0;
    assert_int_equal(jwt_check(&both, span_of(text, n), NOW, &got), CONFAB_UNAUTHENTICATED);
}

static void test_jwt__every_byte_counts(void **state)
{
    (void)state;
    char text[JWT_TEXT_MAX + 1];
    size_t n = jwt_make(&KEYS, &CLAIMS, text);
    for (size_t i = 0; i < n; i++) {
        char was = text[i];
        text[i] = was == 'A' ? 'B' : 'A';
        assert_int_not_equal(check(text, NOW), CONFAB_OK);
        text[i] = '.';
        assert_true(was == '.' || check(text, NOW) != CONFAB_OK);
        text[i] = was;
        struct jwt_claims got;
        assert_int_not_equal(jwt_check(&KEYS, span_of(text, i), NOW, &got), CONFAB_OK);
    }
    assert_int_equal(check(text, NOW), CONFAB_OK);
}

/* The last character of a 32-byte MAC has two bits that say nothing: they have to be zero. */
static void test_jwt__one_spelling(void **state)
{
    (void)state;
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    char text[JWT_TEXT_MAX + 3];
    size_t n = jwt_make(&KEYS, &CLAIMS, text);
    size_t value = (size_t)(strchr(digits, text[n - 1]) - digits);
    assert_int_equal(value % 4, 0);
    for (size_t i = 1; i < 4; i++) {
        text[n - 1] = digits[value + i];
        assert_int_equal(check(text, NOW), CONFAB_UNAUTHENTICATED);
    }
    text[n - 1] = digits[value];
    strcpy(text + n, "=");
    assert_int_equal(check(text, NOW), CONFAB_UNAUTHENTICATED);
    strcpy(text + n, "\n");
    assert_int_equal(check(text, NOW), CONFAB_UNAUTHENTICATED);
}

static void test_jwt__other_kinds(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        const char *claims;
    } bad[] = {
        {"{\"alg\":\"none\",\"typ\":\"JWT\"}", GOOD},
        {"{\"alg\":\"hs256\",\"typ\":\"JWT\"}", GOOD},
        {"{\"alg\":\"HS512\",\"typ\":\"JWT\"}", GOOD},
        {"{\"alg\":\"RS256\",\"typ\":\"JWT\"}", GOOD},
        {"{\"alg\":\"HS256\",\"typ\":\"JWE\"}", GOOD},
        {"{\"alg\":\"HS256\",\"crit\":[\"b64\"]}", GOOD},
        {"{\"alg\":\"HS256\",\"alg\":\"HS256\"}", GOOD},
        {"{\"alg\":null}", GOOD},
        {"{\"typ\":\"JWT\"}", GOOD},
        {"[]", GOOD},
        {"", GOOD},
        {HS256, ""},
        {HS256, "{}"},
        {HS256, GOOD " x"},
        {HS256, "{\"iss\":\"other\",\"sub\":\"12\",\"did\":\"3\",\"iat\":1800000000,"
                "\"exp\":1800000900}"},
        {HS256, "{\"sub\":\"12\",\"did\":\"3\",\"iat\":1800000000,\"exp\":1800000900}"},
        {HS256, "{\"iss\":\"confab\",\"sub\":12,\"did\":\"3\",\"iat\":1800000000,"
                "\"exp\":1800000900}"},
        {HS256, "{\"iss\":\"confab\",\"did\":\"3\",\"iat\":1800000000,\"exp\":1800000900}"},
        {HS256, "{\"iss\":\"confab\",\"sub\":\"12\",\"iat\":1800000000,\"exp\":1800000900}"},
        {HS256, "{\"iss\":\"confab\",\"sub\":\"0\",\"did\":\"3\",\"iat\":1800000000,"
                "\"exp\":1800000900}"},
        {HS256, "{\"iss\":\"confab\",\"sub\":\"12\",\"sub\":\"13\",\"did\":\"3\","
                "\"iat\":1800000000,\"exp\":1800000900}"},
        {HS256, "{\"iss\":\"confab\",\"sub\":\"12\",\"did\":\"3\",\"exp\":1800000900}"},
        {HS256, "{\"iss\":\"confab\",\"sub\":\"12\",\"did\":\"3\",\"iat\":1800000000}"},
        {HS256, "{\"iss\":\"confab\",\"sub\":\"12\",\"did\":\"3\",\"iat\":1800000000,"
                "\"exp\":1800000000}"},
        {HS256, "{\"iss\":\"confab\",\"sub\":\"12\",\"did\":\"3\",\"iat\":1800000000,"
                "\"exp\":1802678401}"},
        {HS256, "{\"iss\":\"confab\",\"sub\":\"12\",\"did\":\"3\",\"iat\":1800000000,"
                "\"exp\":1.8e9}"},
        {HS256, "{\"iss\":\"confab\",\"sub\":\"12\",\"did\":\"3\",\"iat\":1800000000,"
                "\"exp\":99999999999999999999}"},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (check(sign(bad[i].header, bad[i].claims), NOW) != CONFAB_INVALID) {
            fail_msg("accepted: %s %s", bad[i].header, bad[i].claims);
        }
    }
    /* No typ, and claims of others beside ours, are fine. */
    assert_int_equal(check(sign("{\"alg\":\"HS256\"}", GOOD), NOW), CONFAB_OK);
    assert_int_equal(check(sign(HS256, "{\"iss\":\"confab\",\"sub\":\"12\",\"did\":\"3\",\"x\":[],"
                                       "\"iat\":1800000000,\"exp\":1800000900}"),
                           NOW),
                     CONFAB_OK);
}

static void test_jwt__no_token(void **state)
{
    (void)state;
    static const char *const bad[] = {"", ".", "..", "...", "a.b", "a.b.", ".b.c", "a..c", "cfr_x"};
    char longest[JWT_TEXT_MAX + 2];
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_not_equal(check(bad[i], NOW), CONFAB_OK);
    }
    memset(longest, 'a', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = 0;
    longest[5] = longest[9] = '.';
    assert_int_equal(check(longest, NOW), CONFAB_INVALID);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_jwt__round),
        cmocka_unit_test(test_jwt__known_signature),
        cmocka_unit_test(test_jwt__times),
        cmocka_unit_test(test_jwt__old_key),
        cmocka_unit_test(test_jwt__every_byte_counts),
        cmocka_unit_test(test_jwt__one_spelling),
        cmocka_unit_test(test_jwt__other_kinds),
        cmocka_unit_test(test_jwt__no_token),
    };
    return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
