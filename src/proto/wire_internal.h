/*
 * Collecting an object's known members, shared by the wire*.c files; nobody else includes this.
 *
 * A frame's meaning depends on its `event`, which may come at any place in it. So a frame is read
 * in one pass into a slot for each known key, and the slots that the event has are checked then.
 * Members of other events are not looked at, as unknown ones.
 */
#ifndef CONFAB_PROTO_WIRE_INTERNAL_H
#define CONFAB_PROTO_WIRE_INTERNAL_H

#include "proto/wire.h"

struct wire_key {
    const char *name;
    uint8_t len;
    uint8_t slot; /* the first key of a slot is its documented name */
};
#define WIRE_KEY(name, slot)                                                                       \
    {                                                                                              \
        name, sizeof(name) - 1, slot                                                               \
    }

struct wire_val {
    enum json_type type; /* JSON_NONE: absent or null */
    /* JSON_STRING: decoded. JSON_BOOL: n is 1 or 0. Others: the JSON text. */
    struct span s;
};

struct wire_fields {
    const struct wire_key *keys;
    size_t nkeys;
    struct wire_val *vals; /* by slot */
    struct wire_error *err;
};

void wire_error_init(struct wire_error *err);
/* Sets err; false. */
bool wire_refuse(struct wire_fields *f, uint8_t slot, enum confab_err code, const char *message);

/* Reads the whole frame into the slots; `vals` must be zeroed. False with err set. */
bool wire_collect(struct wire_fields *f, size_t nvals, struct span frame, struct scratch *scratch);

static inline bool wire_has(const struct wire_fields *f, uint8_t slot)
{
    return f->vals[slot].type != JSON_NONE;
}

/*
 * wire_get: absent leaves *ret as it is and is no error. wire_need: absent is one.
 * All are false with err set when the value is not of the wanted form.
 */
bool wire_need(struct wire_fields *f, uint8_t slot);
bool wire_get_string(struct wire_fields *f, uint8_t slot, struct span *ret);
bool wire_get_id(struct wire_fields *f, uint8_t slot, uint64_t *ret);
bool wire_get_conv(struct wire_fields *f, uint8_t slot, struct conv_id *ret);
bool wire_get_u64(struct wire_fields *f, uint8_t slot, uint64_t max, uint64_t *ret);
bool wire_get_u32(struct wire_fields *f, uint8_t slot, uint32_t *ret);
bool wire_get_bool(struct wire_fields *f, uint8_t slot, bool *ret);
bool wire_get_time(struct wire_fields *f, uint8_t slot, uint64_t *ret_ms);
/* JSON text of a list. */
bool wire_get_list(struct wire_fields *f, uint8_t slot, struct span *ret);
bool wire_need_string(struct wire_fields *f, uint8_t slot, struct span *ret);
bool wire_need_id(struct wire_fields *f, uint8_t slot, uint64_t *ret);
bool wire_need_conv(struct wire_fields *f, uint8_t slot, struct conv_id *ret);
bool wire_need_seq(struct wire_fields *f, uint8_t slot, uint64_t *ret); /* 1 to 2^63 - 1 */
bool wire_need_time(struct wire_fields *f, uint8_t slot, uint64_t *ret_ms);

#endif
