/* MQTT 3.1.1, QoS 1: a pair has a topic, of which its receiver hears; each end is told PUBACK. */
#include <stdio.h>
#include <string.h>

#include "peer.h"

enum {
    CONNECT = 0x10,
    CONNACK = 0x20,
    PUBLISH_QOS1 = 0x32,
    PUBACK = 0x40,
    SUBSCRIBE = 0x82,
    SUBACK = 0x90,
};

static void put8(struct load *l, uint32_t v)
{
    peer_put(l, &(uint8_t){(uint8_t)v}, 1);
}

static void put16(struct load *l, uint32_t v)
{
    put8(l, v >> 8);
    put8(l, v & 0xff);
}

static void put_text(struct load *l, const char *text)
{
    size_t n = strlen(text);
    put16(l, (uint32_t)n);
    peer_put(l, text, n);
}

/* The type, and how many bytes follow. */
static void put_head(struct load *l, uint32_t type, uint32_t n)
{
    put8(l, type);
    do {
        put8(l, (n & 0x7f) | (n > 0x7f ? 0x80 : 0));
        n >>= 7;
    } while (n > 0);
}

static void open_session(struct load *l, struct client *c)
{
    char name[32];
    (void)snprintf(name, sizeof(name), "%c%u", c->sends ? 's' : 'r', c->pair);
    put_head(l, CONNECT, (uint32_t)(12 + strlen(name)));
    put_text(l, "MQTT");
    put8(l, 4); /* 3.1.1 */
    put8(l, 2); /* clean session */
    put16(l, 0);
    put_text(l, name);
}

static void topic_of(uint32_t pair, char out[16])
{
    (void)snprintf(out, 16, "t/%u", pair);
}

static void put_subscribe(struct load *l, const struct client *c)
{
    char topic[16];
    topic_of(c->pair, topic);
    put_head(l, SUBSCRIBE, (uint32_t)(5 + strlen(topic)));
    put16(l, 1);
    put_text(l, topic);
    put8(l, 1);
}

static uint32_t packet_id(uint32_t number)
{
    return number % 0xffff + 1;
}

static void put_message(struct load *l, const struct client *c, uint32_t number, const char *text,
                        size_t n)
{
    char topic[16];
    topic_of(c->pair, topic);
    put_head(l, PUBLISH_QOS1, (uint32_t)(4 + strlen(topic) + n));
    put_text(l, topic);
    put16(l, packet_id(number));
    peer_put(l, text, n);
}

/* Acknowledges as well. */
static void take_publish(struct load *l, const struct client *c, const uint8_t *p, size_t n)
{
    size_t topic = n >= 2 ? (size_t)p[0] << 8 | p[1] : n;
    if (n < topic + 4) {
        peer_error(l);
        return;
    }
    peer_delivered(l, c, (const char *)p + topic + 4, n - topic - 4);
    put_head(l, PUBACK, 2);
    peer_put(l, p + topic + 2, 2);
}

static void take_frame(struct load *l, struct client *c, uint8_t type, const uint8_t *p, size_t n)
{
    switch (type & 0xf0) {
    case CONNACK:
        if (n != 2 || p[1] != 0) {
            peer_die("the broker refuses clients");
        }
        if (c->sends) {
            peer_ready(l);
        } else {
            put_subscribe(l, c);
        }
        break;
    case SUBACK:
        peer_ready(l);
        break;
    case PUBACK:
        if (n == 2 && ((uint32_t)p[0] << 8 | p[1]) == packet_id(c->step)) {
            c->step++;
            peer_acked(l, c);
        } else {
            peer_error(l);
        }
        break;
    case PUBLISH_QOS1 & 0xf0:
        take_publish(l, c, p, n);
        break;
    default:
        peer_error(l);
    }
}

static size_t take(struct load *l, struct client *c, const uint8_t *p, size_t n)
{
    size_t size = 0;
    for (size_t i = 1; i < n && i < 5; i++) {
        size |= (size_t)(p[i] & 0x7f) << (7 * (i - 1));
        if (!(p[i] & 0x80)) {
            if (n < i + 1 + size) {
                return 0;
            }
            take_frame(l, c, p[0], p + i + 1, size);
            return i + 1 + size;
        }
    }
    return 0;
}

const struct protocol mqtt_protocol = {
    .name = "mqtt",
    .open = open_session,
    .message = put_message,
    .take = take,
};
