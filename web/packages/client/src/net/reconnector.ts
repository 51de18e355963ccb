/*
 * When to try the connection again: full jitter, a wait that is drawn from [0, cap] with a cap that
 * doubles, so that the clients of a restarted server do not come all at once.
 *
 *     stopped ──start──► connecting ──up──► online
 *                          ▲   ▲              │
 *              wait is over│   └── wake ──┐   │ down
 *                          └────────── waiting ◄┘
 */
import type { Clock, Random, Timer } from '../platform/platform.js';

export type LinkState = 'stopped' | 'connecting' | 'online' | 'waiting';

export interface ReconnectorOptions {
    firstMs: number;
    maxMs: number;
    /* A connection that lived that long counts as good: the next wait starts from the first cap. */
    goodMs: number;
}

const defaults: ReconnectorOptions = { firstMs: 500, maxMs: 30_000, goodMs: 10_000 };

export class Reconnector {
    state: LinkState = 'stopped';
    /* While waiting: when the next attempt is due. */
    retryAt = 0;
    private attempt = 0;
    private upSince = 0;
    private timer: Timer | undefined;
    private readonly opt: ReconnectorOptions;

    constructor(
        private readonly clock: Clock,
        private readonly random: Random,
        private readonly connect: () => void,
        private readonly onChange: () => void,
        options: Partial<ReconnectorOptions> = {},
    ) {
        this.opt = { ...defaults, ...options };
    }

    start(): void {
        if (this.state === 'stopped') {
            this.go();
        }
    }

    stop(): void {
        this.timer?.cancel();
        this.timer = undefined;
        this.attempt = 0;
        this.move('stopped');
    }

    up(): void {
        if (this.state !== 'connecting') {
            return;
        }
        this.upSince = this.clock.now();
        this.move('online');
    }

    /* The connection ended. `atLeastMs`: what the server asked for. */
    down(atLeastMs = 0): void {
        if (this.state === 'stopped' || this.state === 'waiting') {
            return;
        }
        if (this.state === 'online' && this.clock.now() - this.upSince >= this.opt.goodMs) {
            this.attempt = 0;
        }
        const cap = Math.min(this.opt.maxMs, this.opt.firstMs * 2 ** Math.min(this.attempt, 16));
        this.attempt++;
        const wait = atLeastMs + Math.floor(this.random.fraction() * cap);
        this.retryAt = this.clock.now() + wait;
        this.timer?.cancel();
        this.timer = this.clock.after(wait, () => this.go());
        this.move('waiting');
    }

    /* The network came back, or a person asks: do not wait any longer. */
    wake(): void {
        if (this.state === 'waiting') {
            this.attempt = 0;
            this.go();
        }
    }

    private go(): void {
        this.timer?.cancel();
        this.timer = undefined;
        this.move('connecting');
        this.connect();
    }

    private move(state: LinkState): void {
        if (this.state !== state) {
            this.state = state;
            this.onChange();
        }
    }
}
