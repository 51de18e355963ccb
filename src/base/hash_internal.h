/*
 * For hash.c only, which includes this once per map. The table's algorithms, for
 *
 *     TABLE(x)        the name of function x
 *     TABLE_MAP       the map's struct, with slots, seed, bits
 *     TABLE_SLOT      the slot's struct, with key
 *     TABLE_KEY       the key's type
 *     TABLE_EMPTY(s)  whether the slot is free; a zeroed one is
 *     TABLE_EQ(a, b)  whether keys are the same
 *     TABLE_HASH      hash of (key, seed)
 *
 * INVARIANT: walking up from any entry's home to the entry, no slot is free, and no entry is nearer
 * to its own home than the walk is long at that point. At least one slot in eight is free.
 */

static size_t TABLE(cap)(const TABLE_MAP *m)
{
    return m->slots ? (size_t)1 << m->bits : 0;
}

static size_t TABLE(home)(const TABLE_MAP *m, TABLE_KEY key)
{
    return (size_t)(TABLE_HASH(key, m->seed) >> (64U - m->bits));
}

/* How far slot i's entry is from its home. */
static size_t TABLE(distance)(const TABLE_MAP *m, size_t i)
{
    size_t mask = ((size_t)1 << m->bits) - 1;
    return (i - TABLE(home)(m, m->slots[i].key)) & mask;
}

static TABLE_SLOT *TABLE(lookup)(const TABLE_MAP *m, TABLE_KEY key)
{
    if (!m->slots) {
        return NULL;
    }
    size_t mask = ((size_t)1 << m->bits) - 1;
    size_t i = TABLE(home)(m, key);
    for (size_t walked = 0;; walked++, i = (i + 1) & mask) {
        TABLE_SLOT *s = &m->slots[i];
        if (TABLE_EMPTY(s)) {
            return NULL;
        }
        if (TABLE_EQ(s->key, key)) {
            return s;
        }
        if (walked > 0 && TABLE(distance)(m, i) < walked) {
            return NULL;
        }
    }
}

/* The key is not there and a slot is free. */
static void TABLE(insert)(TABLE_MAP *m, TABLE_SLOT entry)
{
    size_t mask = ((size_t)1 << m->bits) - 1;
    size_t i = TABLE(home)(m, entry.key);
    for (size_t walked = 0; !TABLE_EMPTY(&m->slots[i]); walked++, i = (i + 1) & mask) {
        size_t distance = TABLE(distance)(m, i);
        if (distance < walked) {
            TABLE_SLOT out = m->slots[i];
            m->slots[i] = entry;
            entry = out;
            walked = distance;
        }
    }
    m->slots[i] = entry;
}

static void TABLE(remove)(TABLE_MAP *m, TABLE_SLOT *s)
{
    size_t mask = ((size_t)1 << m->bits) - 1;
    size_t i = (size_t)(s - m->slots);
    for (;;) {
        size_t next = (i + 1) & mask;
        if (TABLE_EMPTY(&m->slots[next]) || TABLE(distance)(m, next) == 0) {
            break;
        }
        m->slots[i] = m->slots[next];
        i = next;
    }
    memset(&m->slots[i], 0, sizeof(m->slots[i]));
}

/* Moves everything to a new table; the old order keeps writes to the new one near each other. */
static enum confab_err TABLE(resize)(TABLE_MAP *m, uint8_t bits)
{
    TABLE_SLOT *old = m->slots;
    size_t old_cap = TABLE(cap)(m);
    TABLE_SLOT *slots = calloc((size_t)1 << bits, sizeof(*slots));
    if (!slots) {
        return CONFAB_NOMEM;
    }
    m->slots = slots;
    m->bits = bits;
    for (size_t i = 0; i < old_cap; i++) {
        if (!TABLE_EMPTY(&old[i])) {
            TABLE(insert)(m, old[i]);
        }
    }
    free(old);
    return CONFAB_OK;
}

static enum confab_err TABLE(fit)(TABLE_MAP *m, size_t len)
{
    if (len <= room(TABLE(cap)(m))) {
        return CONFAB_OK;
    }
    uint8_t bits = m->slots ? m->bits : MIN_BITS;
    while (len > room((size_t)1 << bits)) {
        if (++bits > MAX_BITS) {
            return CONFAB_NOMEM;
        }
    }
    return TABLE(resize)(m, bits);
}

static void TABLE(compact)(TABLE_MAP *m, size_t len)
{
    if (len == 0) {
        free(m->slots);
        m->slots = NULL;
        return;
    }
    uint8_t bits = MIN_BITS;
    while (len > ((size_t)1 << bits) / 2) {
        bits++;
    }
    if (len < TABLE(cap)(m) / 4 && bits < m->bits) {
        /* Without memory for the smaller table the larger one stays. */
        (void)!TABLE(resize)(m, bits);
    }
}

/*
 * The next entry of a walk, NULL at its end. It starts at a free slot and goes down: deleting the
 * entry just visited pulls only visited ones over the gap, and none of them across the start.
 */
static TABLE_SLOT *TABLE(walk)(const TABLE_MAP *m, size_t *at, size_t *left, bool start)
{
    size_t cap = TABLE(cap)(m);
    if (start) {
        *at = 0;
        while (*at < cap && !TABLE_EMPTY(&m->slots[*at])) {
            (*at)++;
        }
        *left = cap;
    }
    while (*left > 0) {
        (*left)--;
        *at = (*at - 1) & (cap - 1);
        if (!TABLE_EMPTY(&m->slots[*at])) {
            return &m->slots[*at];
        }
    }
    return NULL;
}
