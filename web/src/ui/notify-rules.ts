/* What this browser is to tell of, and when not. Kept in localStorage. */
import { readLocal, writeLocal } from '../platform/local.js';

export interface NotifySettings {
    on: boolean;
    sound: boolean;
    preview: boolean;
    quiet: boolean;
    /* "22:00", in local time; over midnight when `to` is the earlier one. */
    from: string;
    to: string;
}

const KEY = 'confab-notify';

const first: NotifySettings = { on: true, sound: true, preview: true, quiet: false, from: '22:00', to: '07:00' };

const clock = /^([01]\d|2[0-3]):[0-5]\d$/;

/* What is kept may be of another version, or broken: each part that fits is taken. */
export function parseNotify(kept: string | undefined): NotifySettings {
    let o: Record<string, unknown> = {};
    try {
        const value: unknown = JSON.parse(kept ?? '{}');
        o = typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
    } catch {
        /* As if nothing was kept. */
    }
    const flag = (key: 'on' | 'sound' | 'preview' | 'quiet'): boolean => {
        const v = o[key];
        return typeof v === 'boolean' ? v : first[key];
    };
    const time = (key: 'from' | 'to'): string => {
        const v = o[key];
        return typeof v === 'string' && clock.test(v) ? v : first[key];
    };
    return {
        on: flag('on'),
        sound: flag('sound'),
        preview: flag('preview'),
        quiet: flag('quiet'),
        from: time('from'),
        to: time('to'),
    };
}

export function readNotify(): NotifySettings {
    return parseNotify(readLocal(KEY));
}

export function writeNotify(s: NotifySettings): void {
    writeLocal(KEY, JSON.stringify(s));
}

/* Is it a time at which nothing is to be told? From `from` on, until `to`. */
export function disturbed(s: NotifySettings, now: Date): boolean {
    if (!s.quiet || s.from === s.to) {
        return false;
    }
    const at = `${String(now.getHours()).padStart(2, '0')}:${String(now.getMinutes()).padStart(2, '0')}`;
    return s.from < s.to ? at >= s.from && at < s.to : at >= s.from || at < s.to;
}
