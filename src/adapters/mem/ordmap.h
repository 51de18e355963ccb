/*
 * Ordered map of byte strings for the memory adapters: a skip list whose nodes carry key and value
 * in one allocation. Linking and unlinking never allocate, so a caller can make its nodes first,
 * apply them, and take back what it applied without a way to fail. Not thread-safe.
 */
#ifndef CONFAB_ADAPTERS_MEM_ORDMAP_H
#define CONFAB_ADAPTERS_MEM_ORDMAP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

#define ORDMAP_HEIGHT_MAX 14

struct ordmap_node {
    uint32_t key_len;
    uint32_t value_len;
    uint32_t height;
    struct ordmap_node *next[]; /* `height` links, then the key, then the value */
};
struct ordmap {
    struct ordmap_node *head[ORDMAP_HEIGHT_MAX];
    uint64_t random; /* heights need no secrecy and must be the same in each run */
    size_t count;
    size_t bytes; /* of the nodes */
};

void ordmap_init(struct ordmap *m);
void ordmap_deinit(struct ordmap *m); /* frees the nodes; accepts a zeroed map */

/* Copies key and value; NULL without memory. The node is the caller's until it is linked. */
struct ordmap_node *ordmap_node_new(struct ordmap *m, struct span key, struct span value);
void ordmap_node_free(struct ordmap_node *node);

/* Adds copies of all nodes of `from`, none of whose keys is in `to`; false without memory. */
bool ordmap_copy(struct ordmap *to, const struct ordmap *from);

/* Gives the node to the map; returns the node of the same key that it replaced, or NULL. */
struct ordmap_node *ordmap_link(struct ordmap *m, struct ordmap_node *node);
/* Takes the key's node out and gives it to the caller; NULL when there is none. */
struct ordmap_node *ordmap_unlink(struct ordmap *m, struct span key);

/* The key's node; the first with a key >= key; the last with a key < key. NULL when there is none.
 */
struct ordmap_node *ordmap_get(const struct ordmap *m, struct span key);
struct ordmap_node *ordmap_from(const struct ordmap *m, struct span key);
struct ordmap_node *ordmap_below(const struct ordmap *m, struct span key);

static inline struct ordmap_node *ordmap_next(const struct ordmap_node *node)
{
    return node->next[0];
}
static inline struct span ordmap_key(const struct ordmap_node *node)
{
    return span_of(&node->next[node->height], node->key_len);
}
static inline struct span ordmap_value(const struct ordmap_node *node)
{
    return span_of((const uint8_t *)&node->next[node->height] + node->key_len, node->value_len);
}

int ordmap_compare(struct span a, struct span b);

#endif
