#include "adapters/mem/ordmap.h"

#include <stdlib.h>

#include "base/check.h"

void ordmap_init(struct ordmap *m)
{
    memset(m, 0, sizeof(*m));
}

void ordmap_deinit(struct ordmap *m)
{
    struct ordmap_node *node = m->head[0];
    while (node) {
        struct ordmap_node *next = node->next[0];
        free(node);
        node = next;
    }
    ordmap_init(m);
}

/* splitmix64 */
static uint64_t next_random(struct ordmap *m)
{
    uint64_t z = m->random += 0x9e3779b97f4a7c15ULL;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

static size_t node_bytes(uint32_t height, size_t key_len, size_t value_len)
{
    return sizeof(struct ordmap_node) + height * sizeof(struct ordmap_node *) + key_len + value_len;
}

struct ordmap_node *ordmap_node_new(struct ordmap *m, struct span key, struct span value)
{
    CHECK(key.n <= UINT32_MAX && value.n <= UINT32_MAX);
    uint64_t r = next_random(m);
    uint32_t height = 1;
    while (height < ORDMAP_HEIGHT_MAX && (r & 3) == 0) { /* a quarter of each level goes up */
        height++;
        r >>= 2;
    }
    struct ordmap_node *node = malloc(node_bytes(height, key.n, value.n));
    if (!node) {
        return NULL;
    }
    node->key_len = (uint32_t)key.n;
    node->value_len = (uint32_t)value.n;
    node->height = height;
    uint8_t *at = (uint8_t *)&node->next[height];
    if (key.n > 0) {
        memcpy(at, key.p, key.n);
    }
    if (value.n > 0) {
        memcpy(at + key.n, value.p, value.n);
    }
    return node;
}

void ordmap_node_free(struct ordmap_node *node)
{
    free(node);
}

int ordmap_compare(struct span a, struct span b)
{
    size_t n = MIN(a.n, b.n);
    int c = n == 0 ? 0 : memcmp(a.p, b.p, n);
    if (c != 0) {
        return c;
    }
    return a.n < b.n ? -1 : a.n > b.n;
}

/*
 * Descends to the last node with a key < key; `at[level]` becomes the link of that level which
 * leads to the first node that is not below. Returns the last node below, or NULL.
 */
static struct ordmap_node *descend(const struct ordmap *m, struct span key,
                                   struct ordmap_node **at[ORDMAP_HEIGHT_MAX])
{
    struct ordmap_node *below = NULL;
    for (int level = ORDMAP_HEIGHT_MAX - 1; level >= 0; level--) {
        /* The map is const to readers only; writers pass their own and use `at`. */
        struct ordmap_node **link =
            below ? &below->next[level] : (struct ordmap_node **)&m->head[level];
        while (*link && ordmap_compare(ordmap_key(*link), key) < 0) {
            below = *link;
            link = &below->next[level];
        }
        at[level] = link;
    }
    return below;
}

static struct ordmap_node *unlink_at(struct ordmap *m, struct span key,
                                     struct ordmap_node **at[ORDMAP_HEIGHT_MAX])
{
    struct ordmap_node *node = *at[0];
    if (!node || ordmap_compare(ordmap_key(node), key) != 0) {
        return NULL;
    }
    for (uint32_t level = 0; level < node->height; level++) {
        DCHECK(*at[level] == node);
        *at[level] = node->next[level];
    }
    m->count--;
    m->bytes -= node_bytes(node->height, node->key_len, node->value_len);
    return node;
}

struct ordmap_node *ordmap_link(struct ordmap *m, struct ordmap_node *node)
{
    struct ordmap_node **at[ORDMAP_HEIGHT_MAX];
    struct span key = ordmap_key(node);
    descend(m, key, at);
    struct ordmap_node *old = unlink_at(m, key, at);
    for (uint32_t level = 0; level < node->height; level++) {
        node->next[level] = *at[level];
        *at[level] = node;
    }
    m->count++;
    m->bytes += node_bytes(node->height, node->key_len, node->value_len);
    return old;
}

struct ordmap_node *ordmap_unlink(struct ordmap *m, struct span key)
{
    struct ordmap_node **at[ORDMAP_HEIGHT_MAX];
    descend(m, key, at);
    return unlink_at(m, key, at);
}

struct ordmap_node *ordmap_get(const struct ordmap *m, struct span key)
{
    struct ordmap_node *node = ordmap_from(m, key);
    return node && ordmap_compare(ordmap_key(node), key) == 0 ? node : NULL;
}

struct ordmap_node *ordmap_from(const struct ordmap *m, struct span key)
{
    struct ordmap_node **at[ORDMAP_HEIGHT_MAX];
    descend(m, key, at);
    return *at[0];
}

struct ordmap_node *ordmap_below(const struct ordmap *m, struct span key)
{
    struct ordmap_node **at[ORDMAP_HEIGHT_MAX];
    return descend(m, key, at);
}

bool ordmap_copy(struct ordmap *to, const struct ordmap *from)
{
    for (const struct ordmap_node *node = from->head[0]; node; node = ordmap_next(node)) {
        struct ordmap_node *same = ordmap_node_new(to, ordmap_key(node), ordmap_value(node));
        if (!same) {
            return false;
        }
        struct ordmap_node *old = ordmap_link(to, same);
        CHECK(!old);
    }
    return true;
}
