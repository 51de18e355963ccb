#include "ports/dir_words.h"

#include <stdio.h>
#include <string.h>
#include <utf8proc.h>

enum { RULES = 1 }; /* counts up with a change of what is done here */

void dir_words_version(char out[DIR_WORDS_VERSION_BYTES])
{
    (void)snprintf(out, DIR_WORDS_VERSION_BYTES, "rules %d, unicode %.40s", RULES,
                   utf8proc_unicode_version());
}

struct splitter {
    struct dir_words *words;
    char word[DIR_WORD_BYTES + 1];
    size_t len;
    bool cut; /* no more fits this word */
};

static void add_word(struct dir_words *w, const char *word, size_t len)
{
    uint32_t at = 0;
    while (at < w->n && strcmp(w->word[at], word) < 0) {
        at++;
    }
    if (w->n == DIR_WORDS_MAX || (at < w->n && strcmp(w->word[at], word) == 0)) {
        return;
    }
    memmove(w->word[at + 1], w->word[at], (w->n - at) * sizeof(w->word[0]));
    memcpy(w->word[at], word, len + 1);
    w->n++;
}

static void end_word(struct splitter *s)
{
    if (s->len > 0) {
        s->word[s->len] = 0;
        add_word(s->words, s->word, s->len);
    }
    s->len = 0;
    s->cut = false;
}

static bool in_word(utf8proc_int32_t ch)
{
    switch (utf8proc_category(ch)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
        return true;
    default:
        return false;
    }
}

static void add_char(struct splitter *s, utf8proc_int32_t ch)
{
    if (!in_word(ch)) {
        end_word(s);
        return;
    }
    utf8proc_uint8_t bytes[4];
    size_t n = (size_t)utf8proc_encode_char(ch, bytes);
    if (s->cut || s->len + n > DIR_WORD_BYTES) {
        s->cut = true; /* nor a shorter character after it: the word would not be a prefix */
        return;
    }
    memcpy(s->word + s->len, bytes, n);
    s->len += n;
}

/* Each character by itself: what composes is a mark, and those are left out. */
static void split(const char *text, struct dir_words *words)
{
    const utf8proc_option_t options = UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT | UTF8PROC_CASEFOLD |
                                      UTF8PROC_STRIPMARK | UTF8PROC_IGNORE;
    struct splitter s = {.words = words};
    const utf8proc_uint8_t *p = (const utf8proc_uint8_t *)text;
    utf8proc_ssize_t left = (utf8proc_ssize_t)strlen(text);
    while (left > 0) {
        utf8proc_int32_t ch;
        utf8proc_ssize_t n = utf8proc_iterate(p, left, &ch);
        if (n <= 0) {
            break; /* not UTF-8: only the words before it */
        }
        utf8proc_int32_t parts[32]; /* the longest decomposition there is has 18 */
        int boundary = 0;
        utf8proc_ssize_t nparts = utf8proc_decompose_char(ch, parts, 32, options, &boundary);
        for (utf8proc_ssize_t i = 0; i < nparts && i < 32; i++) {
            add_char(&s, parts[i]);
        }
        p += n;
        left -= n;
    }
    end_word(&s);
}

void dir_words_of_account(const char *username_key, const char *display_name, struct dir_words *ret)
{
    ret->n = 0;
    split(username_key, ret);
    split(display_name, ret);
}

bool dir_query_of(const char *text, struct dir_query *ret)
{
    ret->words.n = 0;
    ret->lead = 0;
    split(text, &ret->words);
    for (uint32_t i = 1; i < ret->words.n; i++) {
        if (strlen(ret->words.word[i]) > strlen(ret->words.word[ret->lead])) {
            ret->lead = i;
        }
    }
    return ret->words.n > 0;
}

/* The account's first word that begins with `prefix`. */
static const char *first_with(const struct dir_words *account, const char *prefix)
{
    size_t n = strlen(prefix);
    for (uint32_t i = 0; i < account->n; i++) {
        if (strncmp(account->word[i], prefix, n) == 0) {
            return account->word[i];
        }
    }
    return NULL;
}

const char *dir_query_match(const struct dir_query *q, const struct dir_words *account)
{
    for (uint32_t i = 0; i < q->words.n; i++) {
        if (!first_with(account, q->words.word[i])) {
            return NULL;
        }
    }
    return first_with(account, dir_query_lead(q));
}
