/*
 * The words of names, as the search of accounts knows them: runs of letters and digits, without
 * regard to case, accents and other marks, and to how a character is composed. For adapters of
 * directory only.
 */
#ifndef CONFAB_PORTS_DIR_WORDS_H
#define CONFAB_PORTS_DIR_WORDS_H

#include <stdbool.h>
#include <stdint.h>

#include "ports/directory.h"

#define DIR_WORDS_MAX 32U /* of one account or query; further ones are not looked at */

struct dir_words {
    uint32_t n;
    char word[DIR_WORDS_MAX][DIR_WORD_BYTES + 1]; /* ascending, each once */
};

/*
 * Writes what decides which words a text has, the rules here and the version of Unicode: when it is
 * another one, stored words are made anew.
 */
#define DIR_WORDS_VERSION_BYTES 64U
void dir_words_version(char out[DIR_WORDS_VERSION_BYTES]);

/* The words of a username and a display name. */
void dir_words_of_account(const char *username_key, const char *display_name,
                          struct dir_words *ret);

struct dir_query {
    struct dir_words words;
    uint32_t lead; /* the longest, by which is looked up */
};
/* False when the text has no word. */
bool dir_query_of(const char *text, struct dir_query *ret);
static inline const char *dir_query_lead(const struct dir_query *q)
{
    return q->words.word[q->lead];
}
/*
 * The account's first word that begins with the lead, under which the account is listed; NULL when
 * there is none or another word of the query begins none of the account's.
 */
const char *dir_query_match(const struct dir_query *q, const struct dir_words *account);

#endif
