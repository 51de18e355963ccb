/* Text for terminals, and times. */
#include <confab/rest.h>

#include <stdio.h>
#include <string.h>

#include "base/time_text.h"
#include "base/utf8.h"

struct out {
    char *p;
    size_t size;
    size_t len;  /* of all */
    size_t kept; /* of what fitted, whole pieces only */
    bool full;
};

static void put(struct out *o, const char *p, size_t n)
{
    if (!o->full && o->len + n < o->size) {
        memcpy(o->p + o->len, p, n);
        o->kept = o->len + n;
    } else {
        o->full = true;
    }
    o->len += n;
}

/* Length of the character at p, 0 when it is not UTF-8. */
static size_t char_len(const char *p, size_t n, uint32_t *ret_code)
{
    unsigned char c = (unsigned char)*p;
    size_t len = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
    if (len > n || !utf8_valid(p, len)) {
        return 0;
    }
    uint32_t code = len == 1 ? c : c & (0x7fU >> len);
    for (size_t i = 1; i < len; i++) {
        code = code << 6 | ((unsigned char)p[i] & 0x3fU);
    }
    *ret_code = code;
    return len;
}

/* Changes the terminal's state, the order of what is shown, or shows nothing at all. */
static bool is_unsafe(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0xad || c == 0x61c || c == 0x180e ||
           (c >= 0x200b && c <= 0x200f && c != 0x200d) || (c >= 0x2028 && c <= 0x202e) ||
           (c >= 0x2060 && c <= 0x206f) || c == 0xfeff || (c >= 0xfff9 && c <= 0xfffb) ||
           (c >= 0xe0000 && c <= 0xe007f) || (c & 0xfffe) == 0xfffe;
}

size_t confab_escape(char *out, size_t size, struct confab_text text)
{
    struct out o = {.p = out, .size = size};
    char piece[16];
    size_t i = 0;
    while (i < text.n) {
        uint32_t c = 0;
        size_t len = char_len(text.p + i, text.n - i, &c);
        int n = 0;
        if (len == 0) {
            n = snprintf(piece, sizeof(piece), "\\x%02x", (unsigned)(unsigned char)text.p[i]);
            len = 1;
        } else if (c == '\n' || c == '\t') {
            n = snprintf(piece, sizeof(piece), "\\%c", c == '\n' ? 'n' : 't');
        } else if (c < 0x80 && is_unsafe(c)) {
            n = snprintf(piece, sizeof(piece), "\\x%02x", (unsigned)c);
        } else if (is_unsafe(c)) {
            n = snprintf(piece, sizeof(piece), "\\u{%x}", (unsigned)c);
        }
        put(&o, n > 0 ? piece : text.p + i, n > 0 ? (size_t)n : len);
        i += len;
    }
    if (size > 0) {
        out[o.kept] = '\0';
    }
    return o.len;
}

void confab_time_utc(uint64_t ms, char out[CONFAB_TIME_SIZE])
{
    time_text_format(ms, out);
    out[TIME_TEXT_LEN] = '\0';
}
