/*
 * Chunks: up to CHUNK_EVENTS_MAX consecutive events of a conversation as one compressed,
 * checksummed value. docs/formats/store.md has the bytes.
 */
#ifndef CONFAB_CORE_CHUNK_H
#define CONFAB_CORE_CHUNK_H

#include "base/buf.h"
#include "base/err.h"

#define CHUNK_EVENTS_MAX 128U
#define CHUNK_BYTES_MAX                                                                            \
    (1U << 20) /* of records; a chunk is closed earlier when it gets this large */

/* Compression state, used by one thread at a time. */
struct chunk_codec;
CONFAB_NODISCARD enum confab_err chunk_codec_new(struct chunk_codec **ret);
void chunk_codec_free(struct chunk_codec *codec);

/* Appends the chunk's value to `out`; `records` are `count` events, each a varint length and bytes;
 * in a hurry it gets half as large again, and takes a fifth of the time. */
CONFAB_NODISCARD enum confab_err chunk_encode(struct chunk_codec *codec, struct buf *out,
                                              struct span records, uint32_t count, bool hurry);
/* Appends the records to `out`. CONFAB_CORRUPT, CONFAB_VERSION. A codec may be NULL. */
CONFAB_NODISCARD enum confab_err chunk_decode(struct chunk_codec *codec, struct buf *out,
                                              struct span value, uint32_t *ret_count);

#endif
