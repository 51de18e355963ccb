/*
 * Where a message list is, read from the DOM and put back into it: at its end, or at a message so
 * many pixels below the top. Rows stand one below the other, so the first and last that can be seen
 * are found by halving, however many there are.
 */
export type Place = 'end' | { seq: number; top: number };

/* How near to the end counts as there. */
const AT_END = 40;

function rowsOf(list: Element): HTMLElement[] {
    return [...list.children] as HTMLElement[];
}

/* The first row that is not `above`; as many as there are: none. */
function firstNot(rows: readonly HTMLElement[], above: (row: HTMLElement) => boolean): number {
    let lo = 0;
    let hi = rows.length;
    while (lo < hi) {
        const middle = (lo + hi) >> 1;
        const row = rows[middle];
        if (row && above(row)) {
            lo = middle + 1;
        } else {
            hi = middle;
        }
    }
    return lo;
}

export function seqOf(row: Element | undefined): number | undefined {
    const seq = row instanceof HTMLElement ? row.dataset['seq'] : undefined;
    return seq === undefined ? undefined : Number(seq);
}

export function rowOf(list: Element, seq: number): HTMLElement | null {
    return list.querySelector<HTMLElement>(`[data-seq="${seq}"]`);
}

/* The row of the first message that is no older. */
export function rowFrom(list: Element, seq: number): HTMLElement | undefined {
    return rowsOf(list).find((r) => (seqOf(r) ?? 0) >= seq);
}

/* `whole`: the messages go on to the end of the conversation. What was put there by keep() is not
 * read back with the error of a rounded pixel. */
export function placeIn(box: HTMLElement, list: Element, whole: boolean, old: Place): Place {
    if (whole && box.scrollHeight - box.scrollTop - box.clientHeight < AT_END) {
        return 'end';
    }
    const top = box.getBoundingClientRect().top;
    const rows = rowsOf(list);
    for (let i = firstNot(rows, (r) => r.getBoundingClientRect().bottom <= top); i < rows.length; i++) {
        const seq = seqOf(rows[i]);
        if (seq !== undefined) {
            const now = (rows[i]?.getBoundingClientRect().top ?? top) - top;
            return old !== 'end' && old.seq === seq && Math.abs(old.top - now) < 1 ? old : { seq, top: now };
        }
    }
    return old;
}

/* Puts the list back to where it was, whatever has come before or after it. */
export function keep(box: HTMLElement, list: Element, place: Place): void {
    if (place === 'end') {
        box.scrollTop = box.scrollHeight;
        return;
    }
    const row = rowOf(list, place.seq) ?? rowFrom(list, place.seq);
    if (row) {
        const moved = row.getBoundingClientRect().top - box.getBoundingClientRect().top - place.top;
        if (Math.abs(moved) >= 0.5) {
            box.scrollTop += moved;
        }
    }
}

/* The newest message that can be seen as a whole, or whose end can; 0: none. */
export function lastSeen(box: HTMLElement, list: Element): number {
    const bottom = box.getBoundingClientRect().bottom + 4;
    const rows = rowsOf(list);
    for (let i = firstNot(rows, (r) => r.getBoundingClientRect().bottom <= bottom) - 1; i >= 0; i--) {
        const seq = seqOf(rows[i]);
        if (seq !== undefined) {
            return seq;
        }
    }
    return 0;
}
