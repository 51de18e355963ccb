/*
 * What is played: lines of `unix time <tab> nick <tab> text`, with `\n` in a text for a line break.
 */
#ifndef REPLAY_INPUT_H
#define REPLAY_INPUT_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define INPUT_NONE UINT32_MAX

struct input_person {
    char nick[256];
    char username[128]; /* unique without regard to case, of the characters that usernames have */
};
struct input_message {
    uint64_t time;
    uint32_t person;
    struct span text; /* in input.texts */
};
struct input {
    struct input_person *people;
    uint32_t npeople;
    struct input_message *messages;
    uint32_t nmessages;
    struct buf texts;
    uint32_t cut; /* texts that were longer than the server takes */
};

/*
 * Reads the file (`-`: standard input). At most `limit` messages (0: all). Nicks that differ only
 * in case, or only in characters that usernames do not have, get a suffix. Prints what is wrong.
 */
CONFAB_NODISCARD enum confab_err input_read(const char *path, uint32_t limit, struct input *ret);
/* People who send nothing but listen: raises npeople to n when it is lower. */
CONFAB_NODISCARD enum confab_err input_add_listeners(struct input *in, uint32_t n);
void input_deinit(struct input *in);

#endif
