/* Time that passes when a test says so. */
import type { Clock, Timer } from '../platform/platform.js';

interface Due {
    at: number;
    order: number;
    fn: () => void;
}

export class FakeClock implements Clock {
    private time: number;
    private order = 0;
    private readonly timers = new Set<Due>();

    constructor(start = Date.UTC(2026, 0, 1)) {
        this.time = start;
    }

    now(): number {
        return this.time;
    }

    after(ms: number, fn: () => void): Timer {
        const due: Due = { at: this.time + Math.max(ms, 0), order: this.order++, fn };
        this.timers.add(due);
        return { cancel: () => void this.timers.delete(due) };
    }

    /* The device sleeps: time passes, and nothing is done. What was due is done with the next pass. */
    sleep(ms: number): void {
        this.time += ms;
    }

    /* Lets time pass, timer by timer; promises settle in between. */
    async pass(ms: number): Promise<void> {
        const end = this.time + ms;
        await settle();
        for (let next = this.next(end); next; next = this.next(end)) {
            this.timers.delete(next);
            this.time = Math.max(this.time, next.at);
            next.fn();
            await settle();
        }
        this.time = end;
    }

    private next(end: number): Due | undefined {
        let first: Due | undefined;
        for (const t of this.timers) {
            if (t.at <= end && (!first || t.at < first.at || (t.at === first.at && t.order < first.order))) {
                first = t;
            }
        }
        return first;
    }
}

/* Until everything that is only waiting for promises has happened. */
export async function settle(): Promise<void> {
    for (let i = 0; i < 3; i++) {
        await new Promise<void>((resolve) => setImmediate(resolve));
    }
}
