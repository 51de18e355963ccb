/*
 * Asking the server how many messages are unread, where this client cannot know: it has read further
 * than the server's cursor says, and what lies between was never here. The server is told how far that
 * is; when its cursor has come there, after about a second, its number is the one.
 *
 * One at a time and a moment later, so that scrolling through many messages costs few questions;
 * ever later while the answers do not fit or do not come.
 */
import { ApiError } from '../net/auth.js';
import type { Rest } from '../net/rest.js';
import type { Clock, Timer } from '../platform/platform.js';
import type { UnreadCount } from '../wire.js';
import { applyCount } from './model.js';
import type { State } from './state.js';

const DELAY_MS = 1000;
const DELAY_MAX_MS = 60_000;

export class Counts {
    private readonly due = new Set<string>();
    /* Answers that are ahead of the socket. */
    private readonly early = new Map<string, UnreadCount>();
    private delayMs = DELAY_MS;
    private timer: Timer | undefined;
    private running = false;

    constructor(
        private readonly state: State,
        private readonly clock: Clock,
        private readonly rest: Rest,
        private readonly isLive: () => boolean,
    ) {}

    want(conv: string): void {
        this.due.add(conv);
        this.schedule();
    }

    live(): void {
        this.delayMs = DELAY_MS;
        this.schedule();
    }

    /* What is due waits for the next connection. */
    linkDown(): void {
        this.timer?.cancel();
        this.timer = undefined;
        this.early.clear();
    }

    clear(): void {
        this.linkDown();
        this.due.clear();
    }

    private schedule(): void {
        if (this.due.size > 0 && !this.running && this.isLive()) {
            this.timer ??= this.clock.after(this.delayMs, () => {
                this.timer = undefined;
                void this.run();
            });
        }
    }

    private async run(): Promise<void> {
        this.running = true;
        let settled = true;
        for (const id of [...this.due]) {
            if (!this.isLive()) {
                break;
            }
            this.due.delete(id);
            try {
                settled = (await this.one(id)) && settled;
            } catch (e) {
                settled = false;
                if (!(e instanceof ApiError) || e.status === 429 || e.status >= 500) {
                    this.due.add(id);
                    break;
                }
                /* Not for this user any more: the next page or event says so. */
            }
        }
        this.running = false;
        this.delayMs = settled ? DELAY_MS : Math.min(this.delayMs * 2, DELAY_MAX_MS);
        this.schedule();
    }

    /* False when it has to be asked for again. */
    private async one(id: string): Promise<boolean> {
        const own = this.state.own;
        const kept = this.early.get(id);
        const told = kept ?? (await this.ask(id));
        this.early.delete(id);
        const c = this.state.convs.get(id);
        if (!told || !c || !c.unsure || c.left || this.state.own !== own) {
            return true;
        }
        const next = applyCount(c, told);
        if (typeof next !== 'string') {
            this.state.put(next);
            return true;
        }
        if (next === 'newer' && !kept) {
            this.early.set(id, told);
        }
        this.due.add(id);
        return false;
    }

    private async ask(id: string): Promise<UnreadCount | undefined> {
        const c = this.state.convs.get(id);
        if (!c || !c.unsure || c.left) {
            return undefined;
        }
        if (c.own.read > c.confirmed.read) {
            await this.rest.markRead(id, Math.min(c.own.read, c.head));
        }
        return this.rest.count(id);
    }
}
