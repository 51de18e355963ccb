/*
 * For hash.c only, which includes this once per map. The tables' algorithms, for
 *
 *     TABLE(x)        the name of function x
 *     TABLE_MAP       the map's struct
 *     TABLE_ONE       the struct of one table, with slots and bits
 *     TABLE_SLOT      the slot's struct, with key
 *     TABLE_KEY       the key's type
 *     TABLE_EMPTY(s)  whether the slot is free; a zeroed one is
 *     TABLE_EQ(a, b)  whether keys are the same
 *     TABLE_HASH      hash of (key, seed)
 *
 * INVARIANT: walking up from any entry's home to the entry, no slot is free, and no entry is nearer
 * to its own home than the walk is long at that point. At least one slot in eight is free.
 *
 * A map that has grown keeps its old table until puts have moved everything to the new one. They
 * move whole runs (the entries between two free slots), so that both tables keep the invariant
 * meanwhile. A key is in one of them.
 */

static size_t TABLE(cap)(TABLE_ONE t)
{
    return t.slots ? (size_t)1 << t.bits : 0;
}

static size_t TABLE(home)(TABLE_ONE t, uint64_t seed, TABLE_KEY key)
{
    return (size_t)(TABLE_HASH(key, seed) >> (64U - t.bits));
}

/* How far slot i's entry is from its home. */
static size_t TABLE(distance)(TABLE_ONE t, uint64_t seed, size_t i)
{
    size_t mask = ((size_t)1 << t.bits) - 1;
    return (i - TABLE(home)(t, seed, t.slots[i].key)) & mask;
}

static TABLE_SLOT *TABLE(lookup_one)(TABLE_ONE t, uint64_t seed, TABLE_KEY key)
{
    if (!t.slots) {
        return NULL;
    }
    size_t mask = ((size_t)1 << t.bits) - 1;
    size_t i = TABLE(home)(t, seed, key);
    for (size_t walked = 0;; walked++, i = (i + 1) & mask) {
        TABLE_SLOT *s = &t.slots[i];
        if (TABLE_EMPTY(s)) {
            return NULL;
        }
        if (TABLE_EQ(s->key, key)) {
            return s;
        }
        if (walked > 0 && TABLE(distance)(t, seed, i) < walked) {
            return NULL;
        }
    }
}

static TABLE_SLOT *TABLE(lookup)(const TABLE_MAP *m, TABLE_KEY key)
{
    TABLE_SLOT *s = TABLE(lookup_one)(m->now, m->seed, key);
    if (!s && UNLIKELY(m->old.slots != NULL)) {
        s = TABLE(lookup_one)(m->old, m->seed, key);
    }
    return s;
}

/* The key is not there and a slot is free. */
static void TABLE(insert)(TABLE_ONE t, uint64_t seed, TABLE_SLOT entry)
{
    size_t mask = ((size_t)1 << t.bits) - 1;
    size_t i = TABLE(home)(t, seed, entry.key);
    for (size_t walked = 0; !TABLE_EMPTY(&t.slots[i]); walked++, i = (i + 1) & mask) {
        size_t distance = TABLE(distance)(t, seed, i);
        if (distance < walked) {
            TABLE_SLOT out = t.slots[i];
            t.slots[i] = entry;
            entry = out;
            walked = distance;
        }
    }
    t.slots[i] = entry;
}

/* Moves at least `slots` slots of the old table and what follows them up to a free one. */
static void TABLE(take_over)(TABLE_MAP *m, size_t slots)
{
    if (!m->old.slots) {
        return;
    }
    size_t mask = TABLE(cap)(m->old) - 1;
    bool in_run = false;
    for (; m->old_left > 0 && (slots > 0 || in_run); m->old_left--) {
        TABLE_SLOT *s = &m->old.slots[m->old_at];
        in_run = !TABLE_EMPTY(s);
        if (in_run) {
            TABLE(insert)(m->now, m->seed, *s);
            memset(s, 0, sizeof(*s));
        }
        m->old_at = (m->old_at + 1) & mask;
        slots -= slots > 0;
    }
    if (m->old_left == 0) {
        free(m->old.slots);
        m->old.slots = NULL;
    }
}

static void TABLE(add)(TABLE_MAP *m, TABLE_SLOT entry)
{
    TABLE(take_over)(m, TAKE_OVER);
    TABLE(insert)(m->now, m->seed, entry);
}

static void TABLE(remove)(const TABLE_MAP *m, TABLE_SLOT *s)
{
    uintptr_t from_now = (uintptr_t)s - (uintptr_t)m->now.slots;
    TABLE_ONE t = from_now < TABLE(cap)(m->now) * sizeof(*s) ? m->now : m->old;
    size_t mask = ((size_t)1 << t.bits) - 1;
    size_t i = (size_t)(s - t.slots);
    for (;;) {
        size_t next = (i + 1) & mask;
        if (TABLE_EMPTY(&t.slots[next]) || TABLE(distance)(t, m->seed, next) == 0) {
            break;
        }
        t.slots[i] = t.slots[next];
        i = next;
    }
    memset(&t.slots[i], 0, sizeof(t.slots[i]));
}

/* A free slot; there is always one. */
static size_t TABLE(find_free)(TABLE_ONE t)
{
    size_t i = 0;
    while (!TABLE_EMPTY(&t.slots[i])) {
        i++;
    }
    return i;
}

/* Begins to move everything to a new table. */
static enum confab_err TABLE(resize)(TABLE_MAP *m, uint8_t bits)
{
    TABLE(take_over)(m, SIZE_MAX);
    TABLE_ONE t = {calloc((size_t)1 << bits, sizeof(TABLE_SLOT)), bits};
    if (!t.slots) {
        return CONFAB_NOMEM;
    }
    if (m->now.slots) {
        m->old = m->now;
        m->old_left = TABLE(cap)(m->old);
        m->old_at = (TABLE(find_free)(m->old) + 1) & (m->old_left - 1);
    }
    m->now = t;
    return CONFAB_OK;
}

static enum confab_err TABLE(fit)(TABLE_MAP *m, size_t len)
{
    if (len <= room(TABLE(cap)(m->now))) {
        return CONFAB_OK;
    }
    uint8_t bits = m->now.slots ? m->now.bits : MIN_BITS;
    while (len > room((size_t)1 << bits)) {
        if (++bits > MAX_BITS) {
            return CONFAB_NOMEM;
        }
    }
    return TABLE(resize)(m, bits);
}

static void TABLE(free)(TABLE_MAP *m)
{
    free(m->now.slots);
    free(m->old.slots);
    m->now.slots = NULL;
    m->old.slots = NULL;
}

static void TABLE(compact)(TABLE_MAP *m, size_t len)
{
    if (len == 0) {
        TABLE(free)(m);
        return;
    }
    uint8_t bits = MIN_BITS;
    while (len > ((size_t)1 << bits) / 2) {
        bits++;
    }
    /* Without memory for the smaller table the larger one stays. */
    if (len < TABLE(cap)(m->now) / 4 && bits < m->now.bits && TABLE(resize)(m, bits) == CONFAB_OK) {
        TABLE(take_over)(m, SIZE_MAX);
    }
}

/*
 * The next entry of a walk through both tables, NULL at its end. In each it starts at a free slot
 * and goes down: deleting the entry just visited pulls only visited ones over the gap, and none of
 * them across the start.
 */
static TABLE_SLOT *TABLE(walk)(const TABLE_MAP *m, size_t *at, size_t *left, int *stage)
{
    for (;;) {
        if (*stage < WALK_IN_NOW) {
            *stage = WALK_IN_NOW;
            *left = TABLE(cap)(m->now);
            *at = m->now.slots ? TABLE(find_free)(m->now) : 0;
        }
        TABLE_ONE t = *stage == WALK_IN_NOW ? m->now : m->old;
        while (*left > 0) {
            (*left)--;
            *at = (*at - 1) & (TABLE(cap)(t) - 1);
            if (!TABLE_EMPTY(&t.slots[*at])) {
                return &t.slots[*at];
            }
        }
        if (*stage == WALK_IN_OLD) {
            return NULL;
        }
        *stage = WALK_IN_OLD;
        *left = TABLE(cap)(m->old);
        *at = m->old.slots ? TABLE(find_free)(m->old) : 0;
    }
}
