/*
 * What was begun and not sent, the same on all devices of a person. The server's draft is part of a
 * conversation's state; what is written here lies over it until the server has it: when writing
 * rests, when the conversation is left, and again after a connection that was lost. What is written
 * here wins over what comes from elsewhere meanwhile.
 */
import { ApiError } from '../net/auth.js';
import type { Clock, Timer } from '../platform/platform.js';
import type { State } from './state.js';

const REST_MS = 2000;
const DRAFT_BYTES_MAX = 16 * 1024;

interface Written {
    text: string;
    timer: Timer | undefined;
    /* On its way to the server, as this text. */
    under: string | undefined;
}

export interface DraftHost {
    live(): boolean;
    save(conv: string, text: string): Promise<void>;
}

export class Drafts {
    private readonly written = new Map<string, Written>();

    constructor(
        private readonly state: State,
        private readonly clock: Clock,
        private readonly host: DraftHost,
    ) {}

    /* The text to go on with; '' when there is none. */
    get(conv: string): string {
        return this.written.get(conv)?.text ?? this.state.convs.get(conv)?.draft ?? '';
    }

    /* Is there something that the server does not have yet? */
    pending(conv: string): boolean {
        return this.written.has(conv);
    }

    set(conv: string, text: string): void {
        const old = this.written.get(conv);
        old?.timer?.cancel();
        if (text === this.get(conv) && !old) {
            return;
        }
        const timer = this.clock.after(REST_MS, () => this.flush(conv));
        this.written.set(conv, { text, timer, under: old?.under });
        this.state.topics.touch('list');
    }

    /* The conversation is left. */
    flush(conv: string): void {
        const w = this.written.get(conv);
        if (!w) {
            return;
        }
        w.timer?.cancel();
        w.timer = undefined;
        const known = this.state.convs.get(conv);
        if (w.under === undefined && known && known.draft === w.text) {
            this.written.delete(conv);
            return;
        }
        /* Longer ones stay on this device. */
        const fits = new TextEncoder().encode(w.text).length <= DRAFT_BYTES_MAX;
        if (known && fits && w.under === undefined && this.host.live()) {
            void this.send(conv, w);
        }
    }

    /* One's own message in it, from whichever device: the server ends the draft with it. */
    sent(conv: string, content: string): void {
        const w = this.written.get(conv);
        if (w && (w.text === '' || w.text.trim() === content.trim())) {
            w.timer?.cancel();
            this.written.delete(conv);
        }
    }

    live(): void {
        for (const conv of [...this.written.keys()]) {
            this.flush(conv);
        }
    }

    clear(): void {
        for (const w of this.written.values()) {
            w.timer?.cancel();
        }
        this.written.clear();
    }

    private async send(conv: string, w: Written): Promise<void> {
        const text = w.text;
        w.under = text;
        let kept = true;
        try {
            await this.host.save(conv, text);
        } catch (e) {
            /* Refused: it stays on this device. No answer: again with the next connection. */
            kept = e instanceof ApiError && e.status < 500;
        }
        const now = this.written.get(conv);
        if (!now) {
            return;
        }
        now.under = undefined;
        if (!kept) {
            return;
        }
        if (now.text === text) {
            now.timer?.cancel();
            this.written.delete(conv);
            const c = this.state.convs.get(conv);
            if (c && c.draft !== text) {
                this.state.put({ ...c, draft: text });
            }
        } else if (!now.timer) {
            this.flush(conv);
        }
    }
}
