/* The opening handshake of RFC 6455, section 4, for both ends. */
#include <openssl/evp.h>
#include <openssl/sha.h>

#include "proto/http1.h"
#include "proto/ws.h"
#include "proto/ws_internal.h"

static const char GUID[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

void ws_accept_key(struct span key, char out[WS_ACCEPT_TEXT])
{
    uint8_t text[WS_KEY_TEXT + sizeof(GUID) - 1];
    size_t n = MIN(key.n, (size_t)WS_KEY_TEXT);
    if (n > 0) {
        memcpy(text, key.p, n);
    }
    memcpy(text + n, GUID, sizeof(GUID) - 1);
    uint8_t sum[SHA_DIGEST_LENGTH];
    SHA1(text, n + sizeof(GUID) - 1, sum);
    uint8_t base64[WS_ACCEPT_TEXT + 1];
    EVP_EncodeBlock(base64, sum, sizeof(sum));
    memcpy(out, base64, WS_ACCEPT_TEXT);
}

static bool is_base64(uint8_t c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' ||
           c == '/';
}

/* 16 bytes in base64: 22 digits and two signs of padding. */
static bool key_valid(struct span key)
{
    if (key.n != WS_KEY_TEXT || key.p[22] != '=' || key.p[23] != '=') {
        return false;
    }
    for (size_t i = 0; i < 22; i++) {
        if (!is_base64(key.p[i])) {
            return false;
        }
    }
    return true;
}

bool ws_protocol_next(struct span *list, struct span *ret_token)
{
    while (list->n > 0) {
        const uint8_t *comma = memchr(list->p, ',', list->n);
        size_t n = comma ? (size_t)(comma - list->p) : list->n;
        struct span t = {list->p, n};
        size_t used = comma ? n + 1 : n;
        list->p += used;
        list->n -= used;
        while (t.n > 0 && (t.p[0] == ' ' || t.p[0] == '\t')) {
            t.p++;
            t.n--;
        }
        while (t.n > 0 && (t.p[t.n - 1] == ' ' || t.p[t.n - 1] == '\t')) {
            t.n--;
        }
        if (t.n > 0) {
            *ret_token = t;
            return true;
        }
    }
    return false;
}

static bool list_has(struct span list, struct span wanted)
{
    struct span t;
    while (ws_protocol_next(&list, &t)) {
        if (span_eq(t, wanted)) {
            return true;
        }
    }
    return false;
}

enum confab_err ws_upgrade_check(const struct http_request *req, struct ws_upgrade *ret,
                                 const char **ret_why)
{
    const struct http_headers *h = &req->headers;
    enum confab_err err = CONFAB_INVALID;
    const char *why = NULL;
    struct span version = http_header_get(h, "sec-websocket-version");
    struct span key = http_header_get(h, "sec-websocket-key");

    if (!http_header_has_token(h, "upgrade", "websocket")) {
        err = CONFAB_NOT_FOUND;
        why = "no upgrade to websocket is asked for";
    } else if (req->method != HTTP_GET) {
        err = CONFAB_METHOD;
        why = "the method has to be GET";
    } else if (req->minor < 1) {
        why = "the handshake needs HTTP/1.1";
    } else if (!req->upgrade) {
        why = "Connection does not name Upgrade";
    } else if (req->chunked || req->content_length > 0) {
        why = "the handshake has a body";
    } else if (http_header_count(h, "sec-websocket-version") != 1 || !span_is(version, "13")) {
        err = CONFAB_VERSION;
        why = "Sec-WebSocket-Version has to be 13";
    } else if (http_header_count(h, "sec-websocket-key") != 1 || !key_valid(key)) {
        why = "Sec-WebSocket-Key has to be 16 bytes in base64";
    } else if (http_header_count(h, "sec-websocket-protocol") > 1) {
        why = "Sec-WebSocket-Protocol comes twice";
    }
    if (why) {
        *ret_why = why;
        return err;
    }
    if (!ws_deflate_choose(h, &ret->deflate)) {
        *ret_why = "Sec-WebSocket-Extensions cannot be read";
        return CONFAB_INVALID;
    }
    ret->key = key;
    ret->protocols = http_header_get(h, "sec-websocket-protocol");
    return CONFAB_OK;
}

void ws_put_upgrade_reply(struct buf *b, struct span key, struct span protocol,
                          const struct ws_deflate *deflate)
{
    char accept[WS_ACCEPT_TEXT];
    ws_accept_key(key, accept);
    http_put_status(b, 101);
    http_put_header_str(b, "Upgrade", "websocket");
    http_put_header_str(b, "Connection", "Upgrade");
    http_put_header(b, "Sec-WebSocket-Accept", span_of(accept, sizeof(accept)));
    if (protocol.n > 0) {
        http_put_header(b, "Sec-WebSocket-Protocol", protocol);
    }
    if (deflate && deflate->on) {
        ws_deflate_put_answer(b, deflate);
    }
    http_put_end(b);
}

void ws_put_version_refused(struct buf *b)
{
    http_put_head(b, 426, NULL, 0, false, 1,
                  span_str("Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"));
}

void ws_put_upgrade_request(struct buf *b, struct span host, struct span target,
                            struct span protocols, bool deflate, const uint8_t nonce[16],
                            char ret_accept[WS_ACCEPT_TEXT])
{
    uint8_t key[WS_KEY_TEXT + 1];
    EVP_EncodeBlock(key, nonce, 16);
    ws_accept_key(span_of(key, WS_KEY_TEXT), ret_accept);
    http_put_request(b, "GET", target, host);
    http_put_header_str(b, "Upgrade", "websocket");
    http_put_header_str(b, "Connection", "Upgrade");
    http_put_header(b, "Sec-WebSocket-Key", span_of(key, WS_KEY_TEXT));
    http_put_header_str(b, "Sec-WebSocket-Version", "13");
    if (protocols.n > 0) {
        http_put_header(b, "Sec-WebSocket-Protocol", protocols);
    }
    if (deflate) {
        ws_deflate_put_offer(b);
    }
    http_put_end(b);
}

enum confab_err ws_upgrade_verify(const struct http_response *res,
                                  const char accept[WS_ACCEPT_TEXT], struct span offered,
                                  struct span *ret_protocol, bool *io_deflate, const char **ret_why)
{
    const struct http_headers *h = &res->headers;
    const char *why = NULL;
    struct span chosen = http_header_get(h, "sec-websocket-protocol");
    bool deflate = *io_deflate;

    if (res->status != 101) {
        why = "the server did not switch protocols";
    } else if (!http_header_has_token(h, "upgrade", "websocket") || !res->upgrade) {
        why = "the server switched to another protocol";
    } else if (http_header_count(h, "sec-websocket-accept") != 1 ||
               !span_eq(http_header_get(h, "sec-websocket-accept"),
                        span_of(accept, WS_ACCEPT_TEXT))) {
        why = "Sec-WebSocket-Accept does not match";
    } else if (!ws_deflate_verify(h, &deflate)) {
        why = "the server selected an extension that was not offered";
    } else if (http_header_count(h, "sec-websocket-protocol") > 1 ||
               (chosen.p && !list_has(offered, chosen))) {
        why = "the server selected a protocol that was not offered";
    }
    if (why) {
        *ret_why = why;
        return CONFAB_INVALID;
    }
    *ret_protocol = chosen;
    *io_deflate = deflate;
    return CONFAB_OK;
}
