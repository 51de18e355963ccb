/*
 * Value: u8 version, u8 codec (0 none, 1 zstd), u8 key id (0: not encrypted), u8 zero, u16 count,
 * u32 raw size, u32 CRC32C over the 10 bytes before and the payload, payload.
 */
#include "core/chunk.h"

#include <stdlib.h>
#include <zstd.h>

#include "base/crc32c.h"

enum {
    CHUNK_VERSION = 1,
    CHUNK_HEADER = 14,
    CHUNK_CRC_AT = 10,
    CODEC_NONE = 0,
    CODEC_ZSTD = 1,
    LEVEL_FULL = 1,
    LEVEL_OPEN = -1,  /* half the time for 7 % more bytes: it will soon be written again */
    LEVEL_HURRY = -3, /* half the time for 30 % more bytes: others wait for the processor */
    COMPRESS_MIN = 256,
    RAW_MAX = 8 << 20, /* a full chunk of the largest events, as edits may make it */
};

struct chunk_codec {
    ZSTD_CCtx *compress;
    ZSTD_DCtx *expand;
};

enum confab_err chunk_codec_new(struct chunk_codec **ret)
{
    struct chunk_codec *c = calloc(1, sizeof(*c));
    if (!c) {
        return CONFAB_NOMEM;
    }
    c->compress = ZSTD_createCCtx();
    c->expand = ZSTD_createDCtx();
    if (!c->compress || !c->expand) {
        chunk_codec_free(c);
        return CONFAB_NOMEM;
    }
    *ret = c;
    return CONFAB_OK;
}

void chunk_codec_free(struct chunk_codec *codec)
{
    if (codec) {
        ZSTD_freeCCtx(codec->compress);
        ZSTD_freeDCtx(codec->expand);
        free(codec);
    }
}

enum confab_err chunk_encode(struct chunk_codec *codec, struct buf *out, struct span records,
                             uint32_t count, bool hurry)
{
    size_t start = out->len;
    size_t bound = ZSTD_compressBound(records.n);
    if (!buf_reserve(out, CHUNK_HEADER + bound)) {
        return CONFAB_NOMEM;
    }
    uint8_t kind = CODEC_NONE;
    int level = hurry ? LEVEL_HURRY : count < CHUNK_EVENTS_MAX ? LEVEL_OPEN : LEVEL_FULL;
    size_t n = records.n;
    uint8_t *payload = out->data + start + CHUNK_HEADER;
    if (records.n >= COMPRESS_MIN) {
        size_t got =
            ZSTD_compressCCtx(codec->compress, payload, bound, records.p, records.n, level);
        if (!ZSTD_isError(got) && got < records.n) {
            kind = CODEC_ZSTD;
            n = got;
        }
    }
    if (kind == CODEC_NONE) {
        memcpy(payload, records.p, records.n);
    }
    buf_put_u8(out, CHUNK_VERSION);
    buf_put_u8(out, kind);
    buf_put_u8(out, 0);
    buf_put_u8(out, 0);
    buf_put_u16(out, (uint16_t)count);
    buf_put_u32(out, (uint32_t)records.n);
    uint32_t crc = crc32c(0, out->data + start, CHUNK_CRC_AT);
    buf_put_u32(out, crc32c(crc, payload, n));
    out->len += n;
    return CONFAB_OK;
}

enum confab_err chunk_decode(struct chunk_codec *codec, struct buf *out, struct span value,
                             uint32_t *ret_count)
{
    struct reader r = reader_of(value.p, value.n);
    uint8_t version = reader_u8(&r);
    uint8_t kind = reader_u8(&r);
    uint8_t key = reader_u8(&r);
    (void)reader_u8(&r);
    uint32_t count = reader_u16(&r);
    uint32_t raw = reader_u32(&r);
    uint32_t want = reader_u32(&r);
    if (r.bad) {
        return CONFAB_CORRUPT;
    }
    uint32_t crc = crc32c(0, value.p, CHUNK_CRC_AT);
    if (crc32c(crc, r.p, reader_left(&r)) != want) {
        return CONFAB_CORRUPT;
    }
    if (version != CHUNK_VERSION || key != 0 || kind > CODEC_ZSTD) {
        return CONFAB_VERSION;
    }
    if (raw > RAW_MAX || count > CHUNK_EVENTS_MAX) {
        return CONFAB_CORRUPT;
    }
    if (!buf_reserve(out, raw)) {
        return CONFAB_NOMEM;
    }
    size_t got = reader_left(&r);
    uint8_t *to = out->data + out->len;
    if (kind == CODEC_NONE) {
        if (got == raw) {
            memcpy(to, r.p, raw);
        }
    } else if (codec) {
        got = ZSTD_decompressDCtx(codec->expand, to, raw, r.p, got);
    } else {
        got = ZSTD_decompress(to, raw, r.p, got);
    }
    if (got != raw) {
        return CONFAB_CORRUPT;
    }
    out->len += raw;
    *ret_count = count;
    return CONFAB_OK;
}
