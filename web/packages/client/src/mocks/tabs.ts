/* The tabs of one browser: what they share, and a tab that is gone without having said so. */
import type { Channels, Clock, Locks } from '../platform/platform.js';

interface Open {
    tab: number;
    name: string;
    onWord: (word: unknown) => void;
}

interface Wish {
    tab: number;
    name: string;
    onHeld: () => void;
}

export class FakeTabs {
    private count = 0;
    private channels: Open[] = [];
    /* By name, the first holds it. */
    private readonly wishes = new Map<string, Wish[]>();

    constructor(private readonly clock: Clock) {}

    /* `end` is what a browser does with a tab that is closed or reloaded: it does nothing any more. */
    open(): { clock: Clock; locks: Locks; channels: Channels; end: () => void } {
        const tab = ++this.count;
        let ended = false;
        return {
            clock: {
                now: () => this.clock.now(),
                after: (ms, fn) => this.clock.after(ms, () => ended || fn()),
            },
            locks: {
                hold: (name, onHeld) => {
                    const wish = { tab, name, onHeld };
                    const queue = this.wishes.get(name) ?? [];
                    this.wishes.set(name, queue);
                    queue.push(wish);
                    if (queue.length === 1) {
                        onHeld();
                    }
                    return () => this.giveUp((w) => w === wish);
                },
                free: (names) => Promise.resolve(names.filter((n) => (this.wishes.get(n) ?? []).length === 0)),
            },
            channels: {
                open: (name, onWord) => {
                    const own = { tab, name, onWord };
                    this.channels.push(own);
                    return {
                        say: (word) => {
                            for (const c of this.channels.filter((o) => o.name === name && o !== own)) {
                                /* A copy, and not at once. */
                                const copy: unknown = JSON.parse(JSON.stringify(word));
                                setImmediate(() => this.channels.includes(c) && c.onWord(copy));
                            }
                        },
                        close: () => (this.channels = this.channels.filter((c) => c !== own)),
                    };
                },
            },
            end: () => {
                ended = true;
                this.channels = this.channels.filter((c) => c.tab !== tab);
                this.giveUp((w) => w.tab === tab);
            },
        };
    }

    private giveUp(who: (w: Wish) => boolean): void {
        for (const [name, queue] of this.wishes) {
            const first = queue[0];
            const left = queue.filter((w) => !who(w));
            this.wishes.set(name, left);
            if (left[0] !== first) {
                left[0]?.onHeld();
            }
        }
    }
}
