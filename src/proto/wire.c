/* What both directions of the wire codec share: names, settings, collecting members. */
#include "proto/wire.h"

#include "base/time_text.h"
#include "proto/wire_internal.h"

static const char *const roles[] = {"", "member", "admin", "owner", "moderator", "guest"};
static const char *const kinds[] = {"", "direct", "group", "self"};
static const char *const statuses[] = {"", "delivered", "read"};

static const char *name_of(const char *const *names, size_t n, unsigned i)
{
    return i < n ? names[i] : "";
}

static unsigned index_of(const char *const *names, size_t n, struct span text)
{
    for (unsigned i = 1; i < n; i++) {
        if (span_is(text, names[i])) {
            return i;
        }
    }
    return 0;
}

const char *wire_role_text(enum wire_role role)
{
    return name_of(roles, ARRAY_LEN(roles), (unsigned)role);
}

enum wire_role wire_role_parse(struct span text)
{
    return (enum wire_role)index_of(roles, ARRAY_LEN(roles), text);
}

const char *wire_kind_text(enum wire_kind kind)
{
    return name_of(kinds, ARRAY_LEN(kinds), (unsigned)kind);
}

enum wire_kind wire_kind_parse(struct span text)
{
    return (enum wire_kind)index_of(kinds, ARRAY_LEN(kinds), text);
}

const char *wire_status_text(enum wire_status status)
{
    return name_of(statuses, ARRAY_LEN(statuses), (unsigned)status);
}

enum wire_status wire_status_parse(struct span text)
{
    return (enum wire_status)index_of(statuses, ARRAY_LEN(statuses), text);
}

/* ---- Settings ---- */

static const struct {
    const char *key;
    const char *off;
    const char *on;
    uint32_t bit;
} settings_rows[] = {
    {"history", "all", "joined", WIRE_HISTORY_JOINED},
    {"send", "members", "admins", WIRE_SEND_ADMINS},
    {"invite", "members", "admins", WIRE_INVITE_ADMINS},
};

void wire_put_settings(struct json_writer *w, uint32_t settings)
{
    json_w_object(w);
    for (size_t i = 0; i < ARRAY_LEN(settings_rows); i++) {
        bool on = (settings & settings_rows[i].bit) != 0;
        json_w_kcstr(w, settings_rows[i].key, on ? settings_rows[i].on : settings_rows[i].off);
    }
    json_w_object_end(w);
}

static bool read_setting(struct json *j, size_t row, uint32_t *io)
{
    struct span value;
    if (!json_string(j, &value)) {
        return false;
    }
    bool on = span_is(value, settings_rows[row].on);
    if (!on && !span_is(value, settings_rows[row].off)) {
        json_fail(j, "unknown value of a setting");
        return false;
    }
    *io = on ? *io | settings_rows[row].bit : *io & ~settings_rows[row].bit;
    return true;
}

bool wire_read_settings(struct json *j, uint32_t *io_settings)
{
    struct span key;
    uint32_t settings = *io_settings;
    json_object_begin(j);
    while (json_object_next(j, &key)) {
        size_t i = 0;
        while (i < ARRAY_LEN(settings_rows) && !span_is(key, settings_rows[i].key)) {
            i++;
        }
        if (i == ARRAY_LEN(settings_rows)) {
            json_skip(j);
        } else {
            read_setting(j, i, &settings);
        }
    }
    if (!json_ok(j)) {
        return false;
    }
    *io_settings = settings;
    return true;
}

/* ---- Members of a frame ---- */

void wire_error_init(struct wire_error *err)
{
    *err = (struct wire_error){.code = CONFAB_OK};
}

bool wire_refuse(struct wire_fields *f, uint8_t slot, enum confab_err code, const char *message)
{
    if (f->err->code == CONFAB_OK) {
        f->err->code = code;
        f->err->message = message;
        for (size_t i = 0; i < f->nkeys && !f->err->field; i++) {
            if (f->keys[i].slot == slot) {
                f->err->field = f->keys[i].name;
            }
        }
    }
    return false;
}

static const struct wire_key *find_key(const struct wire_fields *f, struct span key)
{
    for (size_t i = 0; i < f->nkeys; i++) {
        const struct wire_key *k = &f->keys[i];
        if (k->len == key.n && (uint8_t)k->name[0] == key.p[0] &&
            memcmp(k->name, key.p, key.n) == 0) {
            return k;
        }
    }
    return NULL;
}

static bool take_value(struct json *j, struct wire_val *v)
{
    bool on = false;
    v->type = json_peek(j);
    switch (v->type) {
    case JSON_STRING:
        return json_string(j, &v->s);
    case JSON_BOOL:
        if (!json_bool(j, &on)) {
            return false;
        }
        v->s.n = on;
        return true;
    case JSON_NULL:
        v->type = JSON_NONE;
        return json_null(j);
    default:
        return json_raw(j, &v->s);
    }
}

static bool same(const struct wire_val *a, const struct wire_val *b)
{
    if (a->type != b->type) {
        return false;
    }
    return a->type == JSON_BOOL ? a->s.n == b->s.n : span_eq(a->s, b->s);
}

bool wire_collect(struct wire_fields *f, size_t nvals, struct span frame, struct scratch *scratch)
{
    memset(f->vals, 0, nvals * sizeof(*f->vals));
    struct json j;
    struct span key;
    int twice = -1;
    json_init(&j, frame, scratch);
    json_object_begin(&j);
    while (json_object_next(&j, &key)) {
        const struct wire_key *k = find_key(f, key);
        if (!k) {
            json_skip(&j);
            continue;
        }
        struct wire_val *slot = &f->vals[k->slot];
        struct wire_val again;
        if (slot->type == JSON_NONE) {
            (void)take_value(&j, slot);
        } else if (take_value(&j, &again) && again.type != JSON_NONE) {
            if (!same(slot, &again)) {
                twice = k->slot;
            }
            *slot = again;
        }
    }
    if (!json_end(&j)) {
        f->err->code = j.err;
        f->err->malformed = true;
        f->err->message = j.why;
        return false;
    }
    if (twice >= 0) {
        return wire_refuse(f, (uint8_t)twice, CONFAB_INVALID, "given twice with different values");
    }
    return true;
}

bool wire_need(struct wire_fields *f, uint8_t slot)
{
    return wire_has(f, slot) || wire_refuse(f, slot, CONFAB_INVALID, "is missing");
}

/* 1: there and of that type; 0: absent; -1: refused. */
static int take(struct wire_fields *f, uint8_t slot, enum json_type type, const char *message)
{
    if (!wire_has(f, slot)) {
        return 0;
    }
    if (f->vals[slot].type != type) {
        wire_refuse(f, slot, CONFAB_INVALID, message);
        return -1;
    }
    return 1;
}

bool wire_get_string(struct wire_fields *f, uint8_t slot, struct span *ret)
{
    int there = take(f, slot, JSON_STRING, "has to be a string");
    if (there > 0) {
        *ret = f->vals[slot].s;
    }
    return there >= 0;
}

bool wire_get_id(struct wire_fields *f, uint8_t slot, uint64_t *ret)
{
    static const char why[] = "has to be an id: decimal digits in a string";
    int there = take(f, slot, JSON_STRING, why);
    if (there > 0 && !id_parse(f->vals[slot].s, ret)) {
        return wire_refuse(f, slot, CONFAB_INVALID, why);
    }
    return there >= 0;
}

bool wire_get_conv(struct wire_fields *f, uint8_t slot, struct conv_id *ret)
{
    static const char why[] = "has to be a conversation id: 32 hex digits in a string";
    int there = take(f, slot, JSON_STRING, why);
    if (there > 0 && !conv_id_parse(f->vals[slot].s, ret)) {
        return wire_refuse(f, slot, CONFAB_INVALID, why);
    }
    return there >= 0;
}

bool wire_get_u64(struct wire_fields *f, uint8_t slot, uint64_t max, uint64_t *ret)
{
    static const char why[] = "has to be a whole number in range";
    int there = take(f, slot, JSON_NUMBER, why);
    if (there <= 0) {
        return there == 0;
    }
    struct json j;
    uint64_t v;
    json_init(&j, f->vals[slot].s, NULL);
    if (!json_u64(&j, &v) || v > max) {
        return wire_refuse(f, slot, CONFAB_INVALID, why);
    }
    *ret = v;
    return true;
}

bool wire_get_u32(struct wire_fields *f, uint8_t slot, uint32_t *ret)
{
    uint64_t v = *ret;
    if (!wire_get_u64(f, slot, UINT32_MAX, &v)) {
        return false;
    }
    *ret = (uint32_t)v;
    return true;
}

bool wire_get_bool(struct wire_fields *f, uint8_t slot, bool *ret)
{
    int there = take(f, slot, JSON_BOOL, "has to be true or false");
    if (there > 0) {
        *ret = f->vals[slot].s.n != 0;
    }
    return there >= 0;
}

bool wire_get_time(struct wire_fields *f, uint8_t slot, uint64_t *ret_ms)
{
    static const char why[] = "has to be an RFC 3339 time";
    int there = take(f, slot, JSON_STRING, why);
    if (there > 0 && !time_text_parse(f->vals[slot].s, ret_ms)) {
        return wire_refuse(f, slot, CONFAB_INVALID, why);
    }
    return there >= 0;
}

bool wire_get_list(struct wire_fields *f, uint8_t slot, struct span *ret)
{
    int there = take(f, slot, JSON_ARRAY, "has to be a list");
    if (there > 0) {
        *ret = f->vals[slot].s;
    }
    return there >= 0;
}

bool wire_need_string(struct wire_fields *f, uint8_t slot, struct span *ret)
{
    return wire_need(f, slot) && wire_get_string(f, slot, ret);
}

bool wire_need_id(struct wire_fields *f, uint8_t slot, uint64_t *ret)
{
    return wire_need(f, slot) && wire_get_id(f, slot, ret);
}

bool wire_need_conv(struct wire_fields *f, uint8_t slot, struct conv_id *ret)
{
    return wire_need(f, slot) && wire_get_conv(f, slot, ret);
}

bool wire_need_seq(struct wire_fields *f, uint8_t slot, uint64_t *ret)
{
    uint64_t v = 0;
    if (!wire_need(f, slot) || !wire_get_u64(f, slot, INT64_MAX, &v)) {
        return false;
    }
    if (v == 0) {
        return wire_refuse(f, slot, CONFAB_INVALID, "counts from 1");
    }
    *ret = v;
    return true;
}

bool wire_need_time(struct wire_fields *f, uint8_t slot, uint64_t *ret_ms)
{
    return wire_need(f, slot) && wire_get_time(f, slot, ret_ms);
}

void wire_list_begin(struct json *it, struct span list, struct scratch *scratch)
{
    json_init(it, list.n > 0 ? list : span_str("[]"), scratch);
    json_array_begin(it);
}
