/*
 * What was begun and not sent, by conversation, as long as the browser keeps it: the text, and which
 * message it answers or changes. The text of something new is also with the server (domain/drafts.ts).
 */
import { forgetLocal, readLocal, writeLocal } from '../platform/local.js';

/* What is done beside writing something new. */
export interface Begun {
    kind: 'reply' | 'edit';
    /* The message's. */
    id: string;
    /* Of an edit, once something was changed. */
    text?: string;
}

const PREFIX = 'confab-draft-';

function key(user: string | undefined, conv: string): string {
    return `${PREFIX}${user ?? ''}-${conv}`;
}

export function loadDraft(user: string | undefined, conv: string): string {
    return readLocal(key(user, conv)) ?? '';
}

export function saveDraft(user: string | undefined, conv: string, text: string): void {
    writeLocal(key(user, conv), text.trim() === '' ? undefined : text);
}

export function parseBegun(text: string): Begun | undefined {
    let v: unknown;
    try {
        v = JSON.parse(text);
    } catch {
        return undefined;
    }
    const { kind, id, text: written } = (v ?? {}) as { [k in keyof Begun]?: unknown };
    if ((kind !== 'reply' && kind !== 'edit') || typeof id !== 'string') {
        return undefined;
    }
    return { kind, id, ...(kind === 'edit' && typeof written === 'string' ? { text: written } : {}) };
}

export function loadBegun(user: string | undefined, conv: string): Begun | undefined {
    return parseBegun(readLocal(`${key(user, conv)}-begun`) ?? '');
}

export function saveBegun(user: string | undefined, conv: string, begun: Begun | undefined): void {
    writeLocal(`${key(user, conv)}-begun`, begun && JSON.stringify(begun));
}

/* Of everybody, in all conversations. */
export function forgetDrafts(): void {
    forgetLocal(PREFIX);
}
