#include "log_format.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/crc32c.h"

static const uint8_t SEGMENT_MAGIC[8] = {'C', 'O', 'N', 'F', 'L', 'O', 'G', '\n'};
#define BATCH_MAGIC 0x31424c43U /* "CLB1" */

static const struct {
    enum log_name kind;
    const char *prefix;
} NAMES[] = {
    {LOG_NAME_SEGMENT, "seg-"},
    {LOG_NAME_SPARE, "spare-"},
    {LOG_NAME_DAMAGED, "damaged-"},
};

static void put_u16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

static void put_u32(uint8_t *p, uint32_t v)
{
    put_u16(p, (uint16_t)v);
    put_u16(p + 2, (uint16_t)(v >> 16));
}

static void put_u64(uint8_t *p, uint64_t v)
{
    put_u32(p, (uint32_t)v);
    put_u32(p + 4, (uint32_t)(v >> 32));
}

static uint16_t get_u16(const uint8_t *p)
{
    return (uint16_t)(p[0] | (p[1] << 8));
}

static uint32_t get_u32(const uint8_t *p)
{
    return (uint32_t)get_u16(p) | ((uint32_t)get_u16(p + 2) << 16);
}

static uint64_t get_u64(const uint8_t *p)
{
    return (uint64_t)get_u32(p) | ((uint64_t)get_u32(p + 4) << 32);
}

uint32_t log_segment_seed(uint64_t segment_id)
{
    uint8_t bytes[8];
    put_u64(bytes, segment_id);
    return crc32c(0, bytes, sizeof(bytes));
}

void segment_header_encode(const struct segment_header *h, uint8_t out[LOG_SEGMENT_HEADER])
{
    memset(out, 0, LOG_SEGMENT_HEADER);
    memcpy(out, SEGMENT_MAGIC, sizeof(SEGMENT_MAGIC));
    put_u16(out + 8, LOG_FORMAT_VERSION);
    put_u16(out + 10, LOG_SEGMENT_HEADER);
    put_u32(out + 12, LOG_BLOCK);
    put_u64(out + 16, h->number);
    put_u64(out + 24, h->id);
    put_u64(out + 32, h->base_lsn);
    put_u64(out + 40, h->size);
    put_u64(out + 48, h->created_ms);
    put_u32(out + 60, crc32c(0, out, 60));
}

enum confab_err segment_header_decode(const uint8_t in[LOG_SEGMENT_HEADER],
                                      struct segment_header *ret)
{
    if (memcmp(in, SEGMENT_MAGIC, sizeof(SEGMENT_MAGIC)) != 0 ||
        get_u32(in + 60) != crc32c(0, in, 60)) {
        return CONFAB_CORRUPT;
    }
    if (get_u16(in + 8) != LOG_FORMAT_VERSION) {
        return CONFAB_VERSION;
    }
    if (get_u16(in + 10) != LOG_SEGMENT_HEADER || get_u32(in + 12) != LOG_BLOCK) {
        return CONFAB_CORRUPT;
    }
    *ret = (struct segment_header){
        .number = get_u64(in + 16),
        .id = get_u64(in + 24),
        .base_lsn = get_u64(in + 32),
        .size = get_u64(in + 40),
        .created_ms = get_u64(in + 48),
    };
    return CONFAB_OK;
}

void batch_header_encode(const struct batch_header *h, uint8_t out[LOG_BATCH_HEADER])
{
    memset(out, 0, LOG_BATCH_HEADER);
    put_u32(out, BATCH_MAGIC);
    out[4] = LOG_FORMAT_VERSION;
    out[5] = h->flags;
    out[6] = h->codec;
    out[7] = h->cipher;
    put_u64(out + 8, h->segment_id);
    put_u64(out + 16, h->base_lsn);
    put_u64(out + 24, h->durable_lsn);
    put_u64(out + 32, h->lsn_bytes);
    put_u32(out + 40, h->payload_bytes);
    put_u32(out + 44, h->records);
    put_u32(out + 48, h->key_id);
    put_u32(out + 52, h->payload_crc);
    put_u32(out + 60, crc32c(log_segment_seed(h->segment_id), out, 60));
}

enum confab_err batch_header_decode(const uint8_t in[LOG_BATCH_HEADER], uint64_t segment_id,
                                    struct batch_header *ret)
{
    if (get_u32(in) != BATCH_MAGIC || get_u64(in + 8) != segment_id ||
        get_u32(in + 60) != crc32c(log_segment_seed(segment_id), in, 60)) {
        return CONFAB_CORRUPT;
    }
    struct batch_header h = {
        .flags = in[5],
        .codec = in[6],
        .cipher = in[7],
        .segment_id = segment_id,
        .base_lsn = get_u64(in + 16),
        .durable_lsn = get_u64(in + 24),
        .lsn_bytes = get_u64(in + 32),
        .payload_bytes = get_u32(in + 40),
        .records = get_u32(in + 44),
        .key_id = get_u32(in + 48),
        .payload_crc = get_u32(in + 52),
    };
    if (in[4] != LOG_FORMAT_VERSION || h.codec != 0 || h.cipher != 0 ||
        (h.flags & ~(BATCH_MARK | BATCH_GAP)) != 0) {
        return CONFAB_VERSION;
    }
    /* An intact checksum over nonsense: written by nobody, but a reader must not trust it. */
    bool plain = h.flags == 0;
    if (h.payload_bytes > LOG_BATCH_PAYLOAD_MAX || h.base_lsn > UINT64_MAX / 2 ||
        h.lsn_bytes > UINT64_MAX / 2 || plain != (h.payload_bytes > 0) ||
        (plain && (h.lsn_bytes != h.payload_bytes || h.records == 0)) ||
        (h.flags == BATCH_MARK && h.lsn_bytes != 0)) {
        return CONFAB_CORRUPT;
    }
    *ret = h;
    return CONFAB_OK;
}

void log_name_format(enum log_name kind, uint64_t number, char out[LOG_NAME_MAX])
{
    for (size_t i = 0; i < ARRAY_LEN(NAMES); i++) {
        if (NAMES[i].kind == kind) {
            snprintf(out, LOG_NAME_MAX, "%s%016" PRIx64 ".log", NAMES[i].prefix, number);
        }
    }
}

enum log_name log_name_parse(const char *name, uint64_t *ret_number)
{
    for (size_t i = 0; i < ARRAY_LEN(NAMES); i++) {
        size_t n = strlen(NAMES[i].prefix);
        if (strncmp(name, NAMES[i].prefix, n) != 0 || strlen(name) != n + 20 ||
            strcmp(name + n + 16, ".log") != 0 || strspn(name + n, "0123456789abcdef") != 16) {
            continue;
        }
        uint64_t v = 0;
        for (size_t k = 0; k < 16; k++) {
            char c = name[n + k];
            v = v * 16 + (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
        }
        *ret_number = v;
        return NAMES[i].kind;
    }
    return LOG_NAME_OTHER;
}
