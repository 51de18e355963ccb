/*
 * The texts of the page in the language that is chosen (`t`), and its dates and times. Whoever
 * paints reads `t` while painting: changing the language paints everything anew (main.tsx).
 */
import { ApiError } from '@confab/client';
import { type Catalog, english, isLanguage, type LanguageCode, languageFor, languages, loadCatalog, localeOf } from '../i18n/index.js';

export type { Catalog, LanguageCode } from '../i18n/index.js';
export { isLanguage, languages } from '../i18n/index.js';

/* A live binding: importers see what setLanguage puts here. */
export let t: Catalog = english;

/* ---- Times ---- */

function formats(locale: string) {
    const format = (o: Intl.DateTimeFormatOptions) => new Intl.DateTimeFormat(locale, o);
    return {
        clock: format({ hour: '2-digit', minute: '2-digit' }),
        weekday: format({ weekday: 'long' }),
        weekdayShort: format({ weekday: 'short' }),
        dayMonth: format({ day: 'numeric', month: 'long' }),
        fullDate: format({ day: 'numeric', month: 'long', year: 'numeric' }),
        shortDate: format({ day: '2-digit', month: '2-digit', year: '2-digit' }),
        exact: format({ dateStyle: 'full', timeStyle: 'medium' }),
        relative: new Intl.RelativeTimeFormat(locale, { numeric: 'auto' }),
    };
}

let dates = formats('en');
let chosen: LanguageCode = 'en';

export function language(): LanguageCode {
    return chosen;
}

export function browserLanguage(browser: readonly string[]): LanguageCode {
    return languageFor(browser).code;
}

/* 'auto' is what the browser asks for. Resolves when `t` is the language's; rejects when it cannot be loaded. */
export async function setLanguage(wanted: LanguageCode | 'auto', browser: readonly string[]): Promise<void> {
    const { code, locale } =
        wanted === 'auto' ? languageFor(browser) : { code: wanted, locale: localeOf(wanted, browser) };
    t = await loadCatalog(code, locale);
    dates = formats(locale);
    chosen = isLanguage(code) ? code : 'en';
    document.documentElement.lang = code;
    document.documentElement.dir = languages[code].direction;
}

/* Whole days from a to b in local time. */
function daysBetween(a: number, b: number): number {
    const x = new Date(a).setHours(12, 0, 0, 0);
    const y = new Date(b).setHours(12, 0, 0, 0);
    return Math.round((y - x) / 86_400_000);
}

export function sameDay(a: number, b: number): boolean {
    return daysBetween(a, b) === 0;
}

export function timeText(at: number): string {
    return dates.clock.format(at);
}

export function exactText(at: number): string {
    return dates.exact.format(at);
}

export function dateText(at: number): string {
    return dates.fullDate.format(at);
}

export function dayText(at: number, now: number): string {
    const days = daysBetween(at, now);
    if (days === 0) {
        return t.today;
    }
    if (days === 1) {
        return t.yesterday;
    }
    if (days > 0 && days < 7) {
        return dates.weekday.format(at);
    }
    return new Date(at).getFullYear() === new Date(now).getFullYear() ? dates.dayMonth.format(at) : dates.fullDate.format(at);
}

/* For the list: short. */
export function whenText(at: number, now: number): string {
    const days = daysBetween(at, now);
    if (days <= 0) {
        return timeText(at);
    }
    return days === 1 ? t.yesterday : days < 7 ? dates.weekdayShort.format(at) : dates.shortDate.format(at);
}

/* "5 minutes ago", "yesterday"; older than a week: the date. */
export function agoText(at: number, now: number): string {
    const minutes = Math.max(Math.floor((now - at) / 60_000), 0);
    if (minutes < 60) {
        return dates.relative.format(-minutes, 'minute');
    }
    if (minutes < 24 * 60) {
        return dates.relative.format(-Math.floor(minutes / 60), 'hour');
    }
    const days = daysBetween(at, now);
    return days < 7 ? dates.relative.format(-days, 'day') : dateText(at);
}

/* ---- What went wrong ---- */

export function problemText(e: unknown): string {
    const p = t.problem;
    if (!(e instanceof ApiError)) {
        return p.unreachable;
    }
    switch (e.code) {
        case 'unauthenticated':
            return p.badSignIn;
        case 'exists':
            return p.nameTaken;
        case 'registration_closed':
            return p.registrationClosed;
        case 'invite_invalid':
            return p.inviteInvalid;
        case 'too_many_attempts':
        case 'limit_reached':
            return p.tooMany(Math.ceil(Math.max(e.retryAfterMs, 0) / 1000));
        case 'forbidden':
            return p.forbidden;
        case 'not_found':
            return p.notFound;
        case 'busy':
            return p.busy;
        default:
            return e.status >= 500 ? p.server : p.invalid(e.message);
    }
}
