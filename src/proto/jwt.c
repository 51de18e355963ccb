/* The signature comes first: parsers see only what a key of ours has made. */
#include "proto/jwt.h"

#include <openssl/evp.h>
#include <openssl/sha.h>
#include <sodium.h>
#include <stdio.h>

#include "proto/json.h"

#define JWT_ISSUER "confab"

_Static_assert(crypto_auth_hmacsha256_KEYBYTES == JWT_KEY_BYTES, "the keys are those of HMAC");

/* {"alg":"HS256","typ":"JWT"} in base64url. What we make has it, so another is rarely parsed. */
static const char HEADER_TEXT[] = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9";

enum { MAC_TEXT = 43 }; /* 32 bytes in base64url */
enum { HMAC_BLOCK = 64 };

/*
 * HMAC-SHA-256, as for jwt_make. libcrypto's digest uses what the processor has for it: a third of
 * the instructions of libsodium's, each time that somebody connects; its own HMAC is looked up for
 * longer than it then takes. n is JWT_TEXT_MAX at most.
 */
static void mac_of(const uint8_t key[JWT_KEY_BYTES], const void *p, size_t n,
                   uint8_t ret[crypto_auth_hmacsha256_BYTES])
{
    uint8_t inner[HMAC_BLOCK + JWT_TEXT_MAX];
    uint8_t outer[HMAC_BLOCK + SHA256_DIGEST_LENGTH];
    memset(inner, 0x36, HMAC_BLOCK);
    memset(outer, 0x5c, HMAC_BLOCK);
    for (size_t i = 0; i < JWT_KEY_BYTES; i++) {
        inner[i] ^= key[i];
        outer[i] ^= key[i];
    }
    memcpy(inner + HMAC_BLOCK, p, n);
    if (!SHA256(inner, HMAC_BLOCK + n, outer + HMAC_BLOCK) || !SHA256(outer, sizeof(outer), ret)) {
        (void)crypto_auth_hmacsha256(ret, p, n, key); /* it wants no memory */
    }
    sodium_memzero(inner, HMAC_BLOCK);
    sodium_memzero(outer, HMAC_BLOCK);
}

static size_t put_base64(char *out, size_t cap, const void *p, size_t n)
{
    (void)sodium_bin2base64(out, cap, p, n, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    return strlen(out);
}

size_t jwt_make(const struct jwt_keys *keys, const struct jwt_claims *claims,
                char ret[JWT_TEXT_MAX + 1])
{
    char text[256];
    uint8_t mac[crypto_auth_hmacsha256_BYTES];
    const size_t cap = JWT_TEXT_MAX + 1;
    int n = snprintf(text, sizeof(text),
                     "{\"iss\":\"" JWT_ISSUER "\",\"sub\":\"%llu\",\"did\":\"%llu\","
                     "\"iat\":%llu,\"exp\":%llu}",
                     (unsigned long long)claims->user, (unsigned long long)claims->device,
                     (unsigned long long)claims->issued_s, (unsigned long long)claims->expires_s);
    size_t len = sizeof(HEADER_TEXT) - 1;
    memcpy(ret, HEADER_TEXT, len);
    ret[len++] = '.';
    len += put_base64(ret + len, cap - len, text, (size_t)n);
    (void)crypto_auth_hmacsha256(mac, (const uint8_t *)ret, len, keys->key[0]);
    ret[len++] = '.';
    return len + put_base64(ret + len, cap - len, mac, sizeof(mac));
}

/* ---- Checking ---- */

/*
 * Of base64url without padding; other characters and bits that the last character has too many are
 * refused. Completed with zero bits, so that a bit too many shows in a byte too many.
 */
static bool base64_decode(struct span text, uint8_t *out, size_t cap, size_t *ret_n)
{
    uint8_t plain[JWT_TEXT_MAX + 3];
    uint8_t raw[JWT_TEXT_MAX + 3];
    size_t n = text.n * 3 / 4;
    size_t len = (text.n + 3) / 4 * 4;
    if (text.n == 0 || text.n > JWT_TEXT_MAX || text.n % 4 == 1 || n > cap) {
        return false;
    }
    for (size_t i = 0; i < text.n; i++) {
        uint8_t c = text.p[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!letter && c != '-' && c != '_') {
            return false;
        }
        plain[i] = letter ? c : c == '-' ? '+' : '/';
    }
    memset(plain + text.n, 'A', len - text.n);
    if (EVP_DecodeBlock(raw, plain, (int)len) != (int)(len / 4 * 3)) {
        return false;
    }
    for (size_t i = n; i < len / 4 * 3; i++) {
        if (raw[i] != 0) {
            return false;
        }
    }
    memcpy(out, raw, n);
    *ret_n = n;
    return true;
}

static bool part_next(struct span *rest, struct span *ret)
{
    const uint8_t *dot = rest->n > 0 ? memchr(rest->p, '.', rest->n) : NULL;
    if (!dot) {
        return false;
    }
    *ret = span_of(rest->p, (size_t)(dot - rest->p));
    *rest = span_of(dot + 1, rest->n - ret->n - 1);
    return true;
}

static bool header_ok(struct span text)
{
    uint8_t raw[JWT_TEXT_MAX];
    uint8_t block[JWT_TEXT_MAX];
    struct scratch scratch;
    struct json j;
    struct span key;
    struct span alg = {0};
    struct span typ = span_str("JWT");
    bool critical = false;
    size_t n;
    if (span_is(text, HEADER_TEXT)) {
        return true;
    }
    if (!base64_decode(text, raw, sizeof(raw), &n)) {
        return false;
    }
    scratch_init(&scratch, block, sizeof(block));
    json_init(&j, span_of(raw, n), &scratch);
    json_object_begin(&j);
    while (json_object_next(&j, &key)) {
        if (span_is(key, "alg")) {
            json_string(&j, &alg);
        } else if (span_is(key, "typ")) {
            json_string(&j, &typ);
        } else {
            critical = critical || span_is(key, "crit");
            json_skip(&j);
        }
    }
    return json_end(&j) && !critical && span_is(alg, "HS256") && span_is(typ, "JWT");
}

static bool claims_read(struct span text, struct jwt_claims *ret)
{
    uint8_t raw[JWT_TEXT_MAX];
    uint8_t block[JWT_TEXT_MAX];
    struct scratch scratch;
    struct json j;
    struct span key;
    struct span issuer = {0};
    size_t n;
    *ret = (struct jwt_claims){0};
    if (!base64_decode(text, raw, sizeof(raw), &n)) {
        return false;
    }
    scratch_init(&scratch, block, sizeof(block));
    json_init(&j, span_of(raw, n), &scratch);
    json_object_begin(&j);
    while (json_object_next(&j, &key)) {
        if (span_is(key, "iss")) {
            json_string(&j, &issuer);
        } else if (span_is(key, "sub")) {
            json_id(&j, &ret->user);
        } else if (span_is(key, "did")) {
            json_id(&j, &ret->device);
        } else if (span_is(key, "iat")) {
            json_u64(&j, &ret->issued_s);
        } else if (span_is(key, "exp")) {
            json_u64(&j, &ret->expires_s);
        } else {
            json_skip(&j);
        }
    }
    return json_end(&j) && span_is(issuer, JWT_ISSUER) && ret->user != 0 && ret->device != 0 &&
           ret->issued_s != 0 && ret->expires_s > ret->issued_s &&
           ret->expires_s - ret->issued_s <= JWT_LIFE_MAX_S;
}

static bool signature_ok(const struct jwt_keys *keys, struct span made, struct span signature)
{
    uint8_t want[crypto_auth_hmacsha256_BYTES];
    uint8_t got[crypto_auth_hmacsha256_BYTES];
    size_t n;
    bool ok = false;
    if (signature.n != MAC_TEXT || !base64_decode(signature, got, sizeof(got), &n) ||
        n != sizeof(got)) {
        return false;
    }
    for (uint32_t i = 0; i < keys->n; i++) {
        mac_of(keys->key[i], made.p, made.n, want);
        ok = ok || sodium_memcmp(want, got, sizeof(want)) == 0;
    }
    return ok;
}

enum confab_err jwt_check(const struct jwt_keys *keys, struct span text, uint64_t now_s,
                          struct jwt_claims *ret)
{
    struct span rest = text;
    struct span header;
    struct span payload;
    struct jwt_claims claims;
    if (text.n > JWT_TEXT_MAX || !part_next(&rest, &header) || !part_next(&rest, &payload)) {
        return CONFAB_INVALID;
    }
    if (!signature_ok(keys, span_of(text.p, header.n + 1 + payload.n), rest)) {
        return CONFAB_UNAUTHENTICATED;
    }
    if (!header_ok(header) || !claims_read(payload, &claims) ||
        claims.issued_s > now_s + JWT_SKEW_S) {
        return CONFAB_INVALID;
    }
    *ret = claims;
    return now_s < claims.expires_s ? CONFAB_OK : CONFAB_TIMEOUT;
}
