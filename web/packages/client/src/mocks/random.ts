/* Randomness from a seed (mulberry32), for the client and for tests that make up histories. */
import type { Random } from '../platform/platform.js';

export class SeededRandom implements Random {
    private state: number;

    constructor(seed: number) {
        this.state = seed >>> 0;
    }

    fraction(): number {
        this.state = (this.state + 0x6d2b79f5) >>> 0;
        let t = this.state;
        t = Math.imul(t ^ (t >>> 15), t | 1);
        t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
        return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
    }

    id(): string {
        let out = '';
        for (let i = 0; i < 32; i++) {
            out += this.below(16).toString(16);
        }
        return out;
    }

    below(n: number): number {
        return Math.floor(this.fraction() * n);
    }

    chance(p: number): boolean {
        return this.fraction() < p;
    }

    pick<T>(list: readonly T[]): T {
        const one = list[this.below(list.length)];
        if (one === undefined) {
            throw new Error('nothing to pick from');
        }
        return one;
    }
}
