/*
 * Messages that others are answers to, where they are not in the window that is shown: looked for in
 * the store, which has them by seq (ids rise with it), then asked of the server, a few at a time.
 * What was found is kept, bounded; edits and deletions reach it.
 */
import type { Slice } from '../store/store.js';
import { ApiError } from '../net/auth.js';
import { type Item, type MessageItem, type Patch, patched } from './model.js';

const KEPT_MAX = 300;
const AT_ONCE = 3;

export interface OriginalsHost {
    head(conv: string): number;
    read(conv: string, from: number, to: number, limit: number, reverse: boolean): Promise<Slice>;
    ask(conv: string, id: string): Promise<MessageItem>;
    changed(conv: string): void;
}

interface Wanted {
    conv: string;
    id: string;
}

/* Decimal numbers that may be larger than JavaScript's. */
function below(a: string, b: string): boolean {
    return a.length === b.length ? a < b : a.length < b.length;
}

export class Originals {
    /* The latest last. `gone`: not there, or not for this user. */
    private readonly known = new Map<string, MessageItem | 'gone'>();
    private readonly asked = new Set<string>();
    private waiting: Wanted[] = [];
    private running = 0;
    private generation = 0;

    constructor(private readonly host: OriginalsHost) {}

    /* Undefined at first, and while there is no connection; `changed` follows. */
    get(conv: string, id: string): MessageItem | 'gone' | undefined {
        const key = `${conv}/${id}`;
        const found = this.known.get(key);
        if (found === undefined && !this.asked.has(key)) {
            this.asked.add(key);
            this.waiting.push({ conv, id });
            while (this.waiting.length > KEPT_MAX) {
                const dropped = this.waiting.shift();
                this.asked.delete(`${dropped?.conv}/${dropped?.id}`);
            }
            this.pump();
        }
        return found;
    }

    patch(conv: string, p: Patch): void {
        for (const [key, item] of this.known) {
            if (item !== 'gone' && item.seq === p.seq && key.startsWith(`${conv}/`)) {
                const next = patched(item, p);
                if (next.kind === 'message') {
                    this.known.set(key, next);
                }
            }
        }
    }

    /* What is known of a conversation may be out of date. */
    forget(conv: string): void {
        for (const key of [...this.known.keys()]) {
            if (key.startsWith(`${conv}/`)) {
                this.known.delete(key);
            }
        }
    }

    /* The connection is back. */
    retry(): void {
        this.pump();
    }

    clear(): void {
        this.generation++;
        this.known.clear();
        this.asked.clear();
        this.waiting = [];
    }

    private pump(): void {
        while (this.running < AT_ONCE) {
            const next = this.waiting.shift();
            if (!next) {
                return;
            }
            this.running++;
            void this.one(next);
        }
    }

    private async one(wanted: Wanted): Promise<void> {
        const { conv, id } = wanted;
        const generation = this.generation;
        let found: MessageItem | 'gone' | undefined;
        try {
            found = await this.find(conv, id);
        } catch (e) {
            if (e instanceof ApiError && (e.status === 404 || e.status === 400)) {
                found = 'gone';
            }
        }
        this.running--;
        if (generation !== this.generation) {
            return;
        }
        if (found === undefined) {
            this.waiting.push(wanted); /* retry() comes with the connection */
            return;
        }
        this.asked.delete(`${conv}/${id}`);
        this.known.set(`${conv}/${id}`, found);
        for (const oldest of this.known.keys()) {
            if (this.known.size <= KEPT_MAX) {
                break;
            }
            this.known.delete(oldest);
        }
        this.host.changed(conv);
        this.pump();
    }

    private async find(conv: string, id: string): Promise<MessageItem> {
        let lo = 1;
        let hi = this.host.head(conv);
        while (lo <= hi) {
            const middle = Math.floor((lo + hi) / 2);
            const { items } = await this.host.read(conv, middle, hi, 1, false);
            const item: Item | undefined = items[0];
            if (item?.id === id && item.kind === 'message') {
                return item;
            }
            if (item && below(item.id, id)) {
                lo = item.seq + 1;
            } else {
                hi = middle - 1;
            }
        }
        return this.host.ask(conv, id);
    }
}
