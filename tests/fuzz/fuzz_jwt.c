/*
 * Access tokens. Any bytes as a token: never accepted, since the key is not in them. And the same
 * bytes signed: the parsers behind the signature have to stand them too, and what they accept is
 * within its bounds. The corpus holds header and claims, a newline between. Build: see fuzz_ws.c.
 */
#include <sodium.h>
#include <stdint.h>
#include <string.h>

#include "base/check.h"
#include "proto/jwt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NOW 1800000000ULL

static const struct jwt_keys KEYS = {.n = 2, .key = {{1, 2, 3}, {4, 5, 6}}};

static void put(struct buf *b, const uint8_t *p, size_t n)
{
    char text[2048];
    sodium_bin2base64(text, sizeof(text), p, n, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    buf_put_str(b, text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct jwt_claims c = {0};
    struct buf b = {0};
    uint8_t mac[crypto_auth_hmacsha256_BYTES];
    CHECK(jwt_check(&KEYS, span_of(data, size), NOW, &c) != CONFAB_OK && c.user == 0);
    if (size == 0 || size > 1024) {
        return 0;
    }
    const uint8_t *line = memchr(data, '\n', size);
    size_t n = line ? (size_t)(line - data) : size;
    put(&b, data, n);
    buf_put_u8(&b, '.');
    put(&b, data + n + (line ? 1 : 0), size - n - (line ? 1 : 0));
    CHECK(buf_ok(&b));
    crypto_auth_hmacsha256(mac, b.data, b.len, KEYS.key[size % 2]);
    buf_put_u8(&b, '.');
    put(&b, mac, sizeof(mac));
    enum confab_err err = jwt_check(&KEYS, span_of(b.data, b.len), NOW, &c);
    if (!err || err == CONFAB_TIMEOUT) {
        CHECK(c.user > 0 && c.device > 0 && c.expires_s > c.issued_s);
        CHECK(c.expires_s - c.issued_s <= JWT_LIFE_MAX_S && (err || c.expires_s > NOW));
    } else {
        CHECK(err == CONFAB_INVALID && c.user == 0);
    }
    buf_deinit(&b);
    return 0;
}
