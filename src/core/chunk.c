/*
 * Value: u8 version, u8 codec (0 none, 1 zstd, 2 LZ4), u8 key id (0: not encrypted), u8 zero, u16
 * count, u32 raw size, u32 CRC32C over the 10 bytes before and the payload, payload.
 */
#include "core/chunk.h"

#include <lz4.h>
#include <stdlib.h>
#include <zstd.h>

#include "base/crc32c.h"

enum {
    CHUNK_VERSION = 1,
    CHUNK_HEADER = 14,
    CHUNK_CRC_AT = 10,
    CODEC_NONE = 0,
    CODEC_ZSTD = 1,
    CODEC_LZ4 =
        2, /* a fifth of the time for half as many bytes again: others wait for the processor */
    LZ4_ACCELERATION = 4,
    LEVEL_FULL = 1,
    LEVEL_OPEN = -1, /* half the time for 7 % more bytes: it will soon be written again */
    COMPRESS_MIN = 256,
    RAW_MAX = 8 << 20, /* a full chunk of the largest events, as edits may make it */
};

/* What is not used is not made: zstd's states take 300 KiB. */
struct chunk_codec {
    ZSTD_CCtx *compress;
    ZSTD_DCtx *expand;
    void *lz4;
};

enum confab_err chunk_codec_new(struct chunk_codec **ret)
{
    struct chunk_codec *c = calloc(1, sizeof(*c));
    if (!c) {
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
        free(codec->lz4);
        free(codec);
    }
}

/* Bytes written to `to`; 0: there is nothing to gain, or no memory, and they stay as they are. */
static size_t pack_zstd(struct chunk_codec *codec, uint8_t *to, size_t room, struct span records,
                        int level)
{
    if (!codec->compress) {
        codec->compress = ZSTD_createCCtx();
    }
    size_t n = codec->compress
                   ? ZSTD_compressCCtx(codec->compress, to, room, records.p, records.n, level)
                   : 0;
    return ZSTD_isError(n) ? 0 : n;
}

static size_t pack_lz4(struct chunk_codec *codec, uint8_t *to, size_t room, struct span records)
{
    if (!codec->lz4) {
        codec->lz4 = malloc((size_t)LZ4_sizeofState());
    }
    if (!codec->lz4 || records.n > LZ4_MAX_INPUT_SIZE) {
        return 0;
    }
    int n = LZ4_compress_fast_extState(codec->lz4, (const char *)records.p, (char *)to,
                                       (int)records.n, (int)MIN(room, INT32_MAX), LZ4_ACCELERATION);
    return n > 0 ? (size_t)n : 0;
}

enum confab_err chunk_encode(struct chunk_codec *codec, struct buf *out, struct span records,
                             uint32_t count, bool hurry)
{
    size_t start = out->len;
    size_t bound = MAX(ZSTD_compressBound(records.n), records.n);
    if (!buf_reserve(out, CHUNK_HEADER + bound)) {
        return CONFAB_NOMEM;
    }
    uint8_t kind = CODEC_NONE;
    size_t n = records.n;
    uint8_t *payload = out->data + start + CHUNK_HEADER;
    if (records.n >= COMPRESS_MIN) {
        int level = count < CHUNK_EVENTS_MAX ? LEVEL_OPEN : LEVEL_FULL;
        size_t got = hurry ? pack_lz4(codec, payload, bound, records)
                           : pack_zstd(codec, payload, bound, records, level);
        if (got > 0 && got < records.n) {
            kind = hurry ? CODEC_LZ4 : CODEC_ZSTD;
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

/* How many bytes it became; anything but `raw`: it is damaged. */
static size_t expand(struct chunk_codec *codec, uint8_t kind, struct span packed, uint8_t *to,
                     uint32_t raw)
{
    if (kind == CODEC_LZ4) {
        if (packed.n > INT32_MAX) {
            return SIZE_MAX;
        }
        int n = LZ4_decompress_safe((const char *)packed.p, (char *)to, (int)packed.n, (int)raw);
        return n < 0 ? SIZE_MAX : (size_t)n;
    }
    if (kind == CODEC_NONE) {
        if (packed.n == raw) {
            memcpy(to, packed.p, raw);
        }
        return packed.n;
    }
    if (codec && !codec->expand) {
        codec->expand = ZSTD_createDCtx();
    }
    return codec && codec->expand ? ZSTD_decompressDCtx(codec->expand, to, raw, packed.p, packed.n)
                                  : ZSTD_decompress(to, raw, packed.p, packed.n);
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
    if (version != CHUNK_VERSION || key != 0 || kind > CODEC_LZ4) {
        return CONFAB_VERSION;
    }
    if (raw > RAW_MAX || count > CHUNK_EVENTS_MAX) {
        return CONFAB_CORRUPT;
    }
    if (!buf_reserve(out, raw)) {
        return CONFAB_NOMEM;
    }
    size_t got = expand(codec, kind, span_of(r.p, reader_left(&r)), out->data + out->len, raw);
    if (got != raw) {
        return CONFAB_CORRUPT;
    }
    out->len += raw;
    *ret_count = count;
    return CONFAB_OK;
}
