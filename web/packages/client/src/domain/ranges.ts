/*
 * Sets of seqs as sorted, disjoint, non-touching closed ranges: what of a conversation is complete
 * here. Pure functions; a set is never changed in place.
 */
export type Range = readonly [from: number, to: number];
export type Ranges = readonly Range[];

/* An empty range (to below from) adds nothing. */
export function addRange(set: Ranges, from: number, to: number): Ranges {
    if (to < from) {
        return set;
    }
    const out: Range[] = [];
    let low = from;
    let high = to;
    let placed = false;
    for (const r of set) {
        if (r[1] + 1 < low) {
            out.push(r);
        } else if (r[0] > high + 1) {
            if (!placed) {
                out.push([low, high]);
                placed = true;
            }
            out.push(r);
        } else {
            low = Math.min(low, r[0]);
            high = Math.max(high, r[1]);
        }
    }
    if (!placed) {
        out.push([low, high]);
    }
    return out;
}

export function rangeAt(set: Ranges, seq: number): Range | undefined {
    return set.find((r) => r[0] <= seq && seq <= r[1]);
}

export function covers(set: Ranges, from: number, to: number): boolean {
    const r = rangeAt(set, from);
    return to < from || (r !== undefined && r[1] >= to);
}
