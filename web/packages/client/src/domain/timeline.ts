/*
 * The messages of one open conversation: a window of its sequence without gaps, that grows in both
 * directions and is cut at the far end, so that a conversation of any length takes the same memory.
 *
 * What is covered in the store is read from there, the rest is fetched from history, and what comes
 * from history is covered from then on. Live events go on at the end of the window while it reaches
 * the head. When events were left out (a client that was away for long gets only the latest), what
 * was here before may miss edits: then nothing of it is covered any more, and it is fetched again.
 */
import type { HistoryPlace } from '../net/rest.js';
import type { Slice } from '../store/store.js';
import type { HistoryPage } from '../wire.js';
import { type Item, itemOf, itemOfHistory, newerItem, type Patch, patched } from './model.js';
import { rangeAt } from './ranges.js';

export const PAGE = 50;
const WINDOW_MAX = 300;
const FILL_MAX = 400;
const PATCHES_MAX = 500;

export interface TimelineHost {
    head(): number;
    read(from: number, to: number, limit: number, reverse: boolean): Promise<Slice>;
    history(place: HistoryPlace, limit: number): Promise<HistoryPage>;
    /* These are complete from `from` to `to`. */
    keep(items: Item[], from: number, to: number): void;
    changed(): void;
}

export class Timeline {
    /* In the window, rising. */
    items: readonly Item[] = [];
    atStart = false;
    opened = false;
    /* The last load did not succeed; the next scroll tries again. */
    failed = false;
    busy = false;
    private lo = 1;
    private hi = 0;
    private readonly patches: Patch[] = [];
    private closed = false;
    private queue: Promise<void> = Promise.resolve();
    /* The window shows the end, and is to go on doing so. */
    private following = false;
    private filling = false;

    constructor(private readonly host: TimelineHost) {}

    get atEnd(): boolean {
        return this.opened && this.hi >= this.host.head();
    }

    bounds(): readonly [number, number] {
        return [this.lo, this.hi];
    }

    close(): void {
        this.closed = true;
    }

    /* Shows the end, or the surroundings of a seq. */
    open(at: number | 'end'): Promise<void> {
        return this.run(() => this.load(at));
    }

    older(): Promise<void> {
        return this.run(() => this.extendDown());
    }

    newer(): Promise<void> {
        return this.run(() => this.extendUp());
    }

    /* ---- What happens ---- */

    /* These are complete from `from` to `to`: a live event, or the events of a page. */
    covered(items: Item[], from: number, to: number): void {
        const fits = this.opened && from <= this.hi + 1 && to >= this.lo;
        if (fits) {
            this.merge(items.filter((i) => i.seq >= this.lo));
            this.hi = Math.max(this.hi, to);
            this.follow();
            if (this.following && this.items.length > 2 * WINDOW_MAX) {
                this.cutLow();
            }
        } else {
            this.fillSoon();
        }
        this.host.changed();
    }

    patch(p: Patch): void {
        this.patches.push(p);
        if (this.patches.length > PATCHES_MAX) {
            this.patches.shift();
        }
        if (p.seq >= this.lo && p.seq <= this.hi) {
            this.items = this.items.map((i) => (i.seq === p.seq ? patched(i, p) : i));
            this.host.changed();
        }
    }

    hide(from: number, to: number): void {
        this.items = this.items.filter((i) => i.seq < from || i.seq > to);
        this.host.changed();
    }

    /* What is shown may be out of date: it stays until it has come again. */
    stale(): void {
        if (this.opened) {
            const middle = this.items[Math.floor(this.items.length / 2)]?.seq;
            void this.open(this.following || middle === undefined ? 'end' : middle);
        }
    }

    /* The server's history is another one. */
    forget(): void {
        this.reset();
        this.patches.length = 0;
        this.host.changed();
        void this.open('end');
    }

    /* The connection is back. */
    resumed(): void {
        if (this.failed && !this.opened) {
            void this.open('end');
        } else {
            this.fillSoon();
        }
    }

    /* ---- Loading; one at a time ---- */

    private run(work: () => Promise<void>): Promise<void> {
        this.queue = this.queue.then(async () => {
            if (this.closed) {
                return;
            }
            this.busy = true;
            this.host.changed();
            try {
                await work();
                this.failed = false;
            } catch {
                this.failed = true;
            }
            this.busy = false;
            this.host.changed();
        });
        return this.queue;
    }

    private reset(): void {
        this.items = [];
        this.lo = 1;
        this.hi = 0;
        this.atStart = false;
        this.opened = false;
        this.following = false;
    }

    private async load(at: number | 'end'): Promise<void> {
        const head = this.host.head();
        const middle = at === 'end' ? head : Math.min(Math.max(at, 1), head);
        if (head === 0) {
            this.opened = true;
            this.atStart = true;
            return;
        }
        const below = await this.host.read(1, middle, PAGE, true);
        const range = rangeAt(below.ranges, middle);
        if (range) {
            const low = below.items.filter((i) => i.seq >= range[0]);
            const lo = low.length < PAGE ? range[0] : (low[0]?.seq ?? range[0]);
            const above =
                at === 'end' ? [] : (await this.host.read(middle + 1, range[1], PAGE, false)).items;
            const hi = above.length < PAGE ? range[1] : (above.at(-1)?.seq ?? range[1]);
            this.show([...low, ...above], lo, hi, at === 'end' || hi >= head);
            if (this.items.length < PAGE / 2 && this.lo > 1) {
                try {
                    await this.extendDown();
                } catch {
                    this.failed = true; /* what is there can be read all the same */
                }
            }
            return;
        }
        const place: HistoryPlace = at === 'end' ? 'newest' : { around: middle };
        const page = await this.host.history(place, 2 * PAGE);
        this.take(page, at === 'end' ? head : page.coveredTo, !page.hasMore);
        const [from, to] = this.boundsOf(page, at === 'end' ? head : middle);
        this.show(this.itemsOf(page), from, to, at === 'end' || to >= head);
    }

    private show(items: Item[], lo: number, hi: number, end: boolean): void {
        this.items = [];
        this.lo = lo;
        this.hi = Math.max(hi, lo - 1);
        this.opened = true;
        this.atStart = lo <= 1;
        this.merge(items);
        this.following = end;
        this.fillSoon(); /* what has come meanwhile is covered, and in the store */
    }

    private async extendDown(): Promise<void> {
        if (!this.opened || this.lo <= 1) {
            return;
        }
        const got = await this.host.read(1, this.lo - 1, PAGE, true);
        const range = rangeAt(got.ranges, this.lo - 1);
        if (range) {
            const items = got.items.filter((i) => i.seq >= range[0]);
            this.lo = items.length < PAGE ? range[0] : (items[0]?.seq ?? range[0]);
            this.merge(items);
            this.atStart = this.lo <= 1;
            this.cutHigh();
            return;
        }
        const page = await this.host.history({ before: this.lo }, PAGE);
        this.take(page, this.lo - 1, !page.hasMore);
        this.lo = page.hasMore ? this.boundsOf(page, this.lo - 1)[0] : 1;
        this.merge(this.itemsOf(page));
        this.atStart = this.lo <= 1;
        this.cutHigh();
    }

    private async extendUp(): Promise<void> {
        if (!this.opened || this.hi >= this.host.head()) {
            return;
        }
        const head = this.host.head();
        const got = await this.host.read(this.hi + 1, head, PAGE, false);
        const range = rangeAt(got.ranges, this.hi + 1);
        if (range) {
            const items = got.items.filter((i) => i.seq <= range[1]);
            const end = Math.min(range[1], head);
            this.hi = items.length < PAGE ? end : (items.at(-1)?.seq ?? end);
            this.merge(items);
            this.follow();
            this.cutLow();
            return;
        }
        const page = await this.host.history({ after: this.hi }, PAGE);
        const to = Math.max(page.coveredTo, this.itemsOf(page).at(-1)?.seq ?? 0);
        if (to <= this.hi) {
            return;
        }
        this.keep(page, this.hi + 1, to);
        this.hi = to;
        this.merge(this.itemsOf(page));
        this.follow();
        this.cutLow();
    }

    /* Silently closes a gap between the window and the head. */
    private fillSoon(): void {
        const missing = this.host.head() - this.hi;
        if (!this.opened || !this.following || this.filling || missing <= 0) {
            return;
        }
        if (missing > FILL_MAX) {
            this.following = false; /* far: scrolling or a jump will do it */
            return;
        }
        this.filling = true;
        void this.run(async () => {
            try {
                let before = -1;
                while (!this.closed && this.hi < this.host.head() && this.hi > before) {
                    before = this.hi;
                    await this.extendUp();
                }
            } finally {
                this.filling = false;
            }
        });
    }

    private follow(): void {
        this.following = this.following || this.hi >= this.host.head();
    }

    /* ---- ---- */

    private itemsOf(page: HistoryPage): Item[] {
        const messages = page.messages.map((m) => this.withPatches(itemOfHistory(m)));
        const notes = page.changes.map(itemOf).filter((i): i is Item => i !== undefined);
        return notes.length === 0 ? messages : [...messages, ...notes].sort((a, b) => a.seq - b.seq);
    }

    private boundsOf(page: HistoryPage, to: number): [number, number] {
        if (page.coveredFrom > 0 && page.coveredTo >= page.coveredFrom) {
            const low = page.hasMore ? page.coveredFrom : 1;
            return [low, Math.max(page.coveredTo, page.messages.at(-1)?.seq ?? 0)];
        }
        const items = this.itemsOf(page);
        return [items[0]?.seq ?? to + 1, items.at(-1)?.seq ?? to];
    }

    private take(page: HistoryPage, to: number, first: boolean): void {
        const [from, end] = this.boundsOf(page, to);
        this.keep(page, first ? 1 : from, Math.max(Math.min(end, this.host.head()), from - 1));
    }

    private keep(page: HistoryPage, from: number, to: number): void {
        this.host.keep(this.itemsOf(page), from, to);
    }

    /* It may have been asked for before they came, of the server or of the store. */
    private withPatches(item: Item): Item {
        return this.patches.filter((p) => p.seq === item.seq).reduce(patched, item);
    }

    private merge(items: readonly Item[]): void {
        const all = new Map(this.items.map((i) => [i.seq, i]));
        for (const item of items.map((i) => this.withPatches(i))) {
            if (item.seq >= this.lo) {
                const old = all.get(item.seq);
                all.set(item.seq, old ? newerItem(old, item) : item);
            }
        }
        this.items = [...all.values()].sort((a, b) => a.seq - b.seq);
    }

    private cutHigh(): void {
        if (this.items.length > WINDOW_MAX) {
            this.items = this.items.slice(0, WINDOW_MAX);
            this.hi = this.items.at(-1)?.seq ?? this.hi;
            this.following = false;
        }
    }

    private cutLow(): void {
        if (this.items.length > WINDOW_MAX) {
            this.items = this.items.slice(-WINDOW_MAX);
            this.lo = this.items[0]?.seq ?? this.lo;
            this.atStart = false;
        }
    }
}
