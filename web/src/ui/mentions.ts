/*
 * Mentions as they are written: `@` and a username, which is unique and has no spaces, so that the
 * text means the same to every client. Pure functions of texts and people.
 */
import type { User } from '@confab/client';

const name = /[\p{L}\p{N}._-]/u;

/* What is being written after an @ before the caret; undefined: no mention. */
export function mentionAt(text: string, caret: number): { from: number; query: string } | undefined {
    let from = caret;
    while (from > 0 && caret - from <= 40 && name.test(text.charAt(from - 1))) {
        from--;
    }
    if (from === 0 || text.charAt(from - 1) !== '@') {
        return undefined;
    }
    const before = text.charAt(from - 2);
    return before !== '' && name.test(before) ? undefined : { from: from - 1, query: text.slice(from, caret) };
}

function folded(s: string): string {
    return s.normalize('NFD').replace(/\p{M}/gu, '').toLocaleLowerCase();
}

/* People whose name, or a word of it, begins so; usernames that begin so first. */
export function matching(people: readonly User[], query: string, max: number): User[] {
    const q = folded(query);
    const rank = (u: User): number => {
        if (folded(u.username).startsWith(q)) {
            return 0;
        }
        const shown = folded(u.displayName);
        return shown.startsWith(q) ? 1 : shown.split(/\s+/).some((w) => w.startsWith(q)) ? 2 : 3;
    };
    return people
        .map((u) => ({ u, r: rank(u) }))
        .filter(({ r }) => r < 3)
        .sort((a, b) => a.r - b.r || a.u.displayName.localeCompare(b.u.displayName))
        .slice(0, max)
        .map(({ u }) => u);
}

/* The text with the mention put in, and where the caret goes. */
export function withMention(text: string, from: number, caret: number, username: string): { text: string; caret: number } {
    const after = text.slice(caret);
    const put = `@${username}${/^[\s.,;:!?)]/.test(after) ? '' : ' '}`;
    return { text: text.slice(0, from) + put + after, caret: from + put.length };
}

/* Whom a text mentions, of those who may be. */
export function mentionedIn(text: string, people: readonly User[]): string[] {
    const byName = new Map(people.map((u) => [u.username.toLowerCase(), u.userId]));
    const found = new Set<string>();
    for (const m of text.matchAll(/@([\p{L}\p{N}](?:[\p{L}\p{N}._-]{0,62}[\p{L}\p{N}_])?)/gu)) {
        const before = text.charAt(m.index - 1);
        const id = byName.get((m[1] ?? '').toLowerCase());
        if (id !== undefined && (before === '' || !name.test(before))) {
            found.add(id);
        }
    }
    return [...found];
}
