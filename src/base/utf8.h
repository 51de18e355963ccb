/*
 * UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF. U+0000 is
 * valid here; who must refuse it looks for it.
 */
#ifndef CONFAB_BASE_UTF8_H
#define CONFAB_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* State between fragments: start with UTF8_ACCEPT; a text is whole when it ends there. */
#define UTF8_ACCEPT 0U
#define UTF8_REJECT UINT32_MAX /* stays, whatever follows */

/* Checks n further bytes. A result other than the two above means: inside a character. */
uint32_t utf8_step(uint32_t state, const void *text, size_t n);
static inline bool utf8_valid(const void *text, size_t n)
{
    return utf8_step(UTF8_ACCEPT, text, n) == UTF8_ACCEPT;
}
/* Characters (code points) in valid text. */
size_t utf8_count(const void *text, size_t n);
/* Bytes of the longest prefix of valid text with at most `chars` characters. */
size_t utf8_prefix(const void *text, size_t n, size_t chars);

#endif
