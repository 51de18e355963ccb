/*
 * XMPP over a bare connection: registers (XEP-0077; who exists stays), signs in with PLAIN, binds a
 * resource and is present. A sender asks for an acknowledgement of each message (XEP-0198); a
 * receiver is only sent to, without acknowledging.
 *
 *     features ─► register ─► auth ─► features ─► bind ─► presence ─► [sender: enable] ─► ready
 */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "peer.h"

enum { REGISTERS, SIGNS_IN, BINDS, BOUND, READY };

static const char DOMAIN[] = "localhost";
static const char PASSWORD[] = "of-a-measurement";

static void put_header(struct load *l)
{
    peer_putf(l,
              "<?xml version='1.0'?><stream:stream to='%s' version='1.0' xmlns='jabber:client' "
              "xmlns:stream='http://etherx.jabber.org/streams'>",
              DOMAIN);
}

static void name_of(uint32_t pair, bool sends, char out[16])
{
    (void)snprintf(out, 16, "%c%u", sends ? 's' : 'r', pair);
}

static void open_stream(struct load *l, struct client *c)
{
    c->step = REGISTERS;
    put_header(l);
}

static void put_message(struct load *l, const struct client *c, uint32_t number, const char *text,
                        size_t n)
{
    char to[16];
    name_of(c->pair, false, to);
    peer_putf(l, "<message to='%s@%s' type='chat' id='%u'><body>", to, DOMAIN, number);
    peer_put(l, text, n);
    peer_putf(l, "</body></message><r xmlns='urn:xmpp:sm:3'/>");
}

static void put_auth(struct load *l, const struct client *c)
{
    char name[16];
    char plain[64];
    char code[128];
    name_of(c->pair, c->sends, name);
    int n = snprintf(plain, sizeof(plain), "%c%s%c%s", '\0', name, '\0', PASSWORD);
    (void)sodium_bin2base64(code, sizeof(code), (const unsigned char *)plain, (size_t)n,
                            sodium_base64_VARIANT_ORIGINAL);
    peer_putf(l, "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>%s</auth>",
              code);
}

/* ---- What comes ---- */

static bool begins(const char *p, size_t n, const char *with)
{
    return n >= strlen(with) && memcmp(p, with, strlen(with)) == 0;
}

/*
 * Bytes of the first element at p that is whole; a stream's beginning, a declaration and blanks are
 * frames of their own. There are no comments or CDATA in what servers send.
 */
static size_t element_size(const char *p, size_t n)
{
    size_t depth = 0;
    char quote = 0;
    bool in_tag = false;
    bool closes = false;
    for (size_t i = 0; i < n; i++) {
        if (!in_tag) {
            if (depth == 0 && p[i] != '<') {
                return i + 1;
            }
            in_tag = p[i] == '<';
            closes = in_tag && i + 1 < n && p[i + 1] == '/';
            depth += in_tag && !closes;
        } else if (quote) {
            quote = p[i] == quote ? 0 : quote;
        } else if (p[i] == '"' || p[i] == '\'') {
            quote = p[i];
        } else if (p[i] == '>') {
            in_tag = false;
            depth -= closes || p[i - 1] == '/' || p[i - 1] == '?';
            if (depth == 0 || (depth == 1 && begins(p, n, "<stream:stream"))) {
                return i + 1;
            }
        }
    }
    return 0;
}

static void take_features(struct load *l, struct client *c)
{
    char name[16];
    name_of(c->pair, c->sends, name);
    if (c->step == REGISTERS) {
        peer_putf(l,
                  "<iq type='set' id='reg'><query xmlns='jabber:iq:register'><username>%s"
                  "</username><password>%s</password></query></iq>",
                  name, PASSWORD);
    } else {
        c->step = BINDS;
        peer_putf(l, "<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>"
                     "<resource>m</resource></bind></iq>");
    }
}

static void take_iq(struct load *l, struct client *c)
{
    if (c->step == REGISTERS) {
        c->step = SIGNS_IN;
        put_auth(l, c);
    } else if (c->step == BINDS) {
        c->step = BOUND;
        peer_putf(l, "<presence/>");
    }
}

/* Its own is the first that comes; of the others there is none. */
static void take_presence(struct load *l, struct client *c)
{
    if (c->step != BOUND) {
        return;
    }
    c->step = READY;
    if (c->sends) {
        peer_putf(l, "<enable xmlns='urn:xmpp:sm:3'/>");
    } else {
        peer_ready(l);
    }
}

static void take_answer(struct load *l, struct client *c, const char *p, size_t n)
{
    const char *h = memmem(p, n, "h='", 3);
    h = h ? h : memmem(p, n, "h=\"", 3);
    if (!h) {
        peer_error(l);
        return;
    }
    /* Each is asked for by itself, and tells of all before it. */
    for (uint32_t handled = (uint32_t)strtoul(h + 3, NULL, 10); c->step - READY < handled;) {
        c->step++;
        peer_acked(l, c);
    }
}

static void take_message(struct load *l, const struct client *c, const char *p, size_t n)
{
    const char *body = memmem(p, n, "<body>", 6);
    const char *end = body ? memmem(body, n - (size_t)(body - p), "</body>", 7) : NULL;
    if (end && !c->sends) {
        peer_delivered(l, c, body + 6, (size_t)(end - body) - 6);
    } else {
        peer_error(l);
    }
}

static size_t take(struct load *l, struct client *c, const uint8_t *bytes, size_t max)
{
    const char *p = (const char *)bytes;
    size_t n = element_size(p, max);
    if (begins(p, n, "<message")) {
        take_message(l, c, p, n);
    } else if (begins(p, n, "<a ")) {
        take_answer(l, c, p, n);
    } else if (begins(p, n, "<stream:features")) {
        take_features(l, c);
    } else if (begins(p, n, "<iq")) {
        take_iq(l, c);
    } else if (begins(p, n, "<success")) {
        put_header(l);
    } else if (begins(p, n, "<presence")) {
        take_presence(l, c);
    } else if (begins(p, n, "<enabled")) {
        peer_ready(l);
    } else if (begins(p, n, "<failure") || begins(p, n, "<stream:error") ||
               begins(p, n, "<failed")) {
        peer_die("the server refuses: %.*s", (int)MIN(n, 300), p);
    }
    return n;
}

const struct protocol xmpp_protocol = {
    .name = "xmpp",
    .open = open_stream,
    .message = put_message,
    .take = take,
};
